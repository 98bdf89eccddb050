//! The task that collects parked messages.
//!
//! One message at a time is fetched, kept and acknowledged. A node that stops in between leaves at
//! most one message that is kept and still in the queue. Keeping that message again changes
//! nothing.

use super::{DiscardRule, parked::Parked};
use crate::{
    amqp::{Amqp, AmqpError, name},
    bus::rabbitmq::{
        interruption::interruption,
        keeping::{DeadLetterKeeper, KeepError, Kept},
    },
    clock::Clock,
    domain::{dead_letter::PARKED, layout::Layout, name::BusName},
};
use lapin::{
    Channel,
    message::BasicGetMessage,
    options::{BasicAckOptions, BasicGetOptions},
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Moves parked messages into the database.
pub(crate) struct Collector {
    /// The connection that consumes.
    pub(crate) amqp: Arc<Amqp>,
    /// The layout.
    pub(crate) layout: Layout,
    /// Keeps the dead letters.
    pub(crate) keeper: Arc<DeadLetterKeeper>,
    /// Which messages are dropped instead.
    pub(crate) discards: Arc<dyn DiscardRule>,
    /// Pause between two rounds.
    pub(crate) every: Duration,
    /// This node.
    pub(crate) node: String,
    /// The clock.
    pub(crate) clock: Clock,
}

/// Messages that one round moved.
#[derive(Default)]
struct Moved {
    kept: usize,
    dropped: usize,
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error(transparent)]
    Broker(#[from] AmqpError),
    #[error(transparent)]
    Database(#[from] KeepError),
}

impl Collector {
    /// Empties the queue of parked messages of a bus at regular intervals, until told to stop.
    pub(crate) async fn run(self: Arc<Self>, bus: BusName, stop: CancellationToken) {
        let activity = format!("collecting parked messages of bus {bus}");
        let mut outage = interruption(&self.clock, &activity);
        loop {
            let mut moved = Moved::default();
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.round(&bus, &mut moved) => outcome,
            };
            moved.report(&bus);
            let pause = match outcome {
                Ok(()) => {
                    outage.over();
                    self.every
                }
                Err(error) => outage.failed(&error.to_string()).max(self.every),
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Empties the queue once.
    async fn round(&self, bus: &BusName, moved: &mut Moved) -> Result<(), CollectError> {
        // The database is asked first: each message that is fetched and given back counts as a
        // delivery.
        self.keeper.ready().await?;
        let channel = self.amqp.channel().await?;
        let outcome = self.empty(bus, &channel, moved).await;
        // Messages that are not acknowledged go back with the channel. Closing fails only on a
        // channel that is closed already.
        let _ = self.amqp.answer(channel.close(200, "done".into())).await;
        outcome
    }

    async fn empty(
        &self,
        bus: &BusName,
        channel: &Channel,
        moved: &mut Moved,
    ) -> Result<(), CollectError> {
        let queue = name(&self.layout.parked(bus))?;
        loop {
            let fetching = channel.basic_get(queue.clone(), BasicGetOptions::default());
            let fetched = self.amqp.answer(fetching).await?;
            let Some(BasicGetMessage { delivery, .. }) = fetched else { return Ok(()) };
            let parked = Parked::read(&self.layout, bus, &delivery);
            let discarded = match parked.origin() {
                Some(group) => self.discards.discards(group).await,
                None => false,
            };
            if discarded {
                moved.dropped += 1;
            } else {
                let letter = parked.dead_letter(&self.node, self.clock.now());
                let kept = self.keeper.keep(&letter, &delivery.data).await?;
                moved.kept += usize::from(kept == Kept::Now);
            }
            let acknowledging = delivery.acker.ack(BasicAckOptions::default());
            self.amqp.answer(async { acknowledging.await.map(drop) }).await?;
        }
    }
}

impl Moved {
    fn report(&self, bus: &BusName) {
        let Self { kept, dropped } = *self;
        if kept > 0 {
            tracing::warn!(
                %bus,
                kept,
                "{kept} messages that no listener could take were parked on bus {bus}; they are kept as dead letters of group {PARKED}"
            );
        }
        if dropped > 0 {
            tracing::info!(
                %bus,
                dropped,
                "{dropped} events of bus {bus} came back for groups whose events are discarded; they are dropped"
            );
        }
    }
}
