//! What is parked, on its way into the database.
//!
//! The broker's queue is bounded and drops its oldest, the database is not; and there what is
//! parked is listed, filtered, redelivered and purged as every other dead letter is. One message
//! at a time is fetched, kept and acknowledged, so a node that stops in the middle leaves nothing
//! behind but a message that is kept already, and keeping it again is nothing.

mod origin;

use super::{Shared, headers, interruption::interruption, letters};
use crate::{
    amqp::{AmqpError, name},
    bus::codec,
    clock::{self, Clock},
    domain::{
        dead_letter::{DeadLetter, PARKED},
        name::{BusName, GroupName},
    },
};
use lapin::{
    Channel,
    message::{BasicGetMessage, Delivery},
    options::{BasicAckOptions, BasicGetOptions},
    types::ShortString,
};
use std::{collections::BTreeSet, sync::Arc};
use time::OffsetDateTime;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// What one round moved.
#[derive(Default)]
struct Moved {
    kept: usize,
    dropped: usize,
}

/// Moves what is parked on a bus into the database, again and again, until told to stop.
pub(super) async fn collect(shared: Arc<Shared>, bus: BusName, stop: CancellationToken) {
    let mut outage =
        interruption(&Clock::system(), &format!("collecting what is parked on bus {bus}"));
    loop {
        let mut moved = Moved::default();
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = round(&shared, &bus, &mut moved) => outcome,
        };
        let Moved { kept, dropped } = moved;
        if kept > 0 {
            tracing::warn!(%bus, kept, "{kept} events that nobody could take were parked on bus {bus}; they are kept as dead letters of group {PARKED}");
        }
        if dropped > 0 {
            tracing::info!(%bus, dropped, "{dropped} events of bus {bus} came back for groups whose events are discarded; they are dropped");
        }
        let pause = match outcome {
            Ok(()) => {
                outage.over();
                shared.collect_every
            }
            Err(cause) => outage.failed(&cause).max(shared.collect_every),
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

/// Empties the queue, or says why it could not.
async fn round(shared: &Shared, bus: &BusName, moved: &mut Moved) -> Result<(), String> {
    // Asked first: each message that is fetched and given back counts as a delivery.
    shared.letters.ready().await?;
    let channel = shared.consuming.channel().await.map_err(|error| error.to_string())?;
    let outcome = empty(shared, bus, &channel, moved).await;
    // What is not acknowledged goes back with the channel. Refused only by one that is gone.
    let _ = shared.consuming.answer(channel.close(200, "done".into())).await;
    outcome
}

async fn empty(
    shared: &Shared,
    bus: &BusName,
    channel: &Channel,
    moved: &mut Moved,
) -> Result<(), String> {
    let said = |error: AmqpError| error.to_string();
    let queue = name(&shared.layout.parked(bus)).map_err(said)?;
    loop {
        let getting = channel.basic_get(queue.clone(), BasicGetOptions::default());
        let got = shared.consuming.answer(getting).await.map_err(said)?;
        let Some(BasicGetMessage { delivery, .. }) = got else { return Ok(()) };
        let parked = Parked::of(shared, bus, &delivery);
        let dropped = match &parked.origin {
            Some(group) => (shared.discards)(group.clone()).await,
            None => false,
        };
        if dropped {
            moved.dropped += 1;
        } else if shared.letters.keep(&parked.letter(shared), &delivery.data).await? {
            moved.kept += 1;
        }
        let acknowledging = delivery.acker.ack(BasicAckOptions::default());
        shared.consuming.answer(async { acknowledging.await.map(|_| ()) }).await.map_err(said)?;
    }
}

/// A message that nobody could take.
struct Parked<'a> {
    bus: &'a BusName,
    delivery: &'a Delivery,
    /// The group that it was for, where it was for one.
    origin: Option<GroupName>,
    cause: String,
}

impl<'a> Parked<'a> {
    fn of(shared: &Shared, bus: &'a BusName, delivery: &'a Delivery) -> Self {
        let origin = origin::group(&shared.layout, bus, delivery);
        let cause = origin::cause(&shared.layout, bus, delivery);
        Self { bus, delivery, origin, cause }
    }

    fn letter(&self, shared: &Shared) -> DeadLetter {
        let (properties, body) = (&self.delivery.properties, &self.delivery.data);
        let content_type = properties.content_type().as_ref().map(ShortString::as_str);
        let event = codec::decode(content_type, body).ok();
        let (first, previous) = letters::occasion(properties);
        let group = self.origin.as_ref().map_or("", GroupName::as_str).as_bytes();
        let message = properties.message_id().as_ref().map_or("", ShortString::as_str).as_bytes();
        let bus = self.bus.as_str().as_bytes();
        let now = clock::now();
        DeadLetter {
            id: letters::name([bus, group, message, body, &first, &previous]),
            bus: self.bus.clone(),
            group: GroupName::parse(PARKED).expect("it is a name"),
            origin: self.origin.clone(),
            event_id: event.as_ref().map(|event| event.id.clone()),
            event_type: event.as_ref().map(|event| event.kind.clone()),
            user: event.and_then(|event| event.user),
            content_type: content_type.map(str::to_owned),
            keys: BTreeSet::new(),
            cause: letters::bounded(&self.cause),
            attempts: headers::attempt(properties),
            first_failed_at: self.since().filter(|since| *since <= now).unwrap_or(now),
            last_failed_at: now,
            node: shared.node.clone(),
            previous: headers::id(properties, headers::PREVIOUS),
        }
    }

    /// Since when it is in trouble, where it says so.
    fn since(&self) -> Option<OffsetDateTime> {
        let properties = &self.delivery.properties;
        let seconds = origin::died_at(properties).or(*properties.timestamp());
        let known = || OffsetDateTime::from_unix_timestamp(i64::try_from(seconds?).ok()?).ok();
        headers::first_failed_at(properties).or_else(known)
    }
}
