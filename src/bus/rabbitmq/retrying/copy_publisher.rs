//! Publishing the copy of a delivery.

use crate::{
    bus::rabbitmq::{
        held_delivery::{HeldDelivery, Settlement},
        publishing::{Publication, Published, Publisher},
        wake::Wake,
    },
    clock::Clock,
    domain::name::GroupName,
    outage::pauses,
};
use lapin::{BasicProperties, types::ShortString};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long an event is held whose copy no exchange takes, before it goes back to its queue. Going
/// back costs one of the few deliveries that the queue allows an event, so it is the last resort.
const HOLD: Duration = Duration::from_mins(10);

/// First and longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Publishes copies of the deliveries of one group.
pub(crate) struct CopyPublisher {
    /// Publishes.
    pub(crate) publisher: Arc<Publisher>,
    /// The group that the copies are for.
    pub(crate) group: GroupName,
    /// Stops trying.
    pub(crate) stop: CancellationToken,
    /// Ends pauses.
    pub(crate) wake: Wake,
    /// The clock.
    pub(crate) clock: Clock,
}

impl CopyPublisher {
    /// Publishes a copy until the broker has it. Meanwhile the original keeps its execution slot,
    /// so that a group whose events all fail pauses instead of spinning.
    pub(super) async fn publish(
        &self,
        original: &HeldDelivery,
        exchange: &str,
        body: Arc<[u8]>,
        properties: BasicProperties,
    ) -> Settlement {
        let group = self.group.as_str();
        let Ok(key) = ShortString::try_new(group) else { return Settlement::Requeue };
        // The broker delivers an original of a lost channel again: a copy would be one too many.
        if !original.is_open() {
            return Settlement::Requeue;
        }
        let copy = Publication::new(key, body, properties);
        let deadline = (self.clock.monotonic() + HOLD).min(original.deadline());
        let mut wake = self.wake.listen();
        let mut pauses = pauses(PAUSES.0, PAUSES.1);
        let mut warned = false;
        loop {
            let cause = match self.publisher.publish(exchange, copy.clone()).await {
                Ok(Published::Routed) => return Settlement::Acknowledge,
                Ok(Published::Returned) => format!("no queue is bound to exchange {exchange}"),
                Err(error) => error.to_string(),
            };
            if !std::mem::replace(&mut warned, true) {
                tracing::warn!(
                    group,
                    exchange,
                    cause,
                    "group {group} holds an event because exchange {exchange} does not take its copy, and tries again: {cause}"
                );
            }
            if self.clock.monotonic() >= deadline || !original.is_open() {
                return Settlement::Requeue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return Settlement::Requeue,
                () = sleep(pauses.next().unwrap_or(PAUSES.1)) => {}
                () = wake.called() => {}
            }
        }
    }
}
