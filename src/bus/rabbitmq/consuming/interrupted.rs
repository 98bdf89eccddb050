//! The consumers of this node that do not consume, reported together.
//!
//! A lost broker interrupts every consumer of the node at once. One line in the log names the first
//! consumers and counts the others.

use crate::{
    background, bus::rabbitmq::interruption::interruption_of_group, clock::Clock, outage::Outage,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long a consumer is interrupted before that is worth a warning. A queue that the reconciler
/// is about to declare, and a broker that fails over, are back sooner.
const GRACE: Duration = Duration::from_secs(2);

/// Largest number of consumers that one line names.
const NAMED: usize = 5;

/// The interrupted consumers of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InterruptedConsumers {
    shared: Arc<Mutex<Interruptions>>,
    clock: Clock,
}

#[derive(Default)]
struct Interruptions {
    /// By the number of the consumer.
    consumers: BTreeMap<u64, InterruptedConsumer>,
    /// Number of consumers that were ever started.
    started: u64,
    /// Groups that consume again, and whose interruption was reported.
    recovered: Vec<String>,
    /// Whether a task reports.
    reporting: bool,
}

struct InterruptedConsumer {
    group: String,
    cause: String,
    since: Instant,
    reported: bool,
}

/// The interruption of one consumer.
pub(super) struct ConsumerInterruption {
    consumers: InterruptedConsumers,
    number: u64,
    group: String,
    outage: Outage,
}

impl InterruptedConsumers {
    /// No consumer is interrupted.
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { shared: Arc::default(), clock: clock.clone() }
    }

    /// The interruption of a consumer that is not interrupted yet.
    pub(super) fn consumer(&self, group: &str) -> ConsumerInterruption {
        let mut interruptions = self.shared.lock();
        interruptions.started += 1;
        ConsumerInterruption {
            consumers: self.clone(),
            number: interruptions.started,
            group: group.to_owned(),
            outage: interruption_of_group(&self.clock, group),
        }
    }

    /// Reports after each grace until no consumer is interrupted.
    async fn report(self) {
        loop {
            sleep(GRACE).await;
            let mut interruptions = self.shared.lock();
            interruptions.report(self.clock.monotonic());
            if interruptions.consumers.is_empty() {
                interruptions.reporting = false;
                return;
            }
        }
    }
}

impl Interruptions {
    fn report(&mut self, now: Instant) {
        if let Some(line) = self.interruptions(now) {
            tracing::warn!("consuming is interrupted and tried again for {line}");
        }
        let recovered = std::mem::take(&mut self.recovered);
        if !recovered.is_empty() {
            let groups = shortened(&recovered, recovered.len(), ", ");
            tracing::info!("consuming works again for {groups}");
        }
    }

    /// Consumers whose grace is over and whose interruption was not reported yet.
    fn interruptions(&mut self, now: Instant) -> Option<String> {
        let (mut named, mut count) = (Vec::new(), 0);
        for consumer in self.consumers.values_mut() {
            if consumer.reported || now.duration_since(consumer.since) < GRACE {
                continue;
            }
            consumer.reported = true;
            count += 1;
            if named.len() < NAMED {
                named.push(format!("group {}: {}", consumer.group, consumer.cause));
            }
        }
        (count > 0).then(|| shortened(&named, count, "; "))
    }
}

impl ConsumerInterruption {
    /// Notes a failure. Returns the pause until the next try.
    pub(super) fn failed(&mut self, cause: &str) -> Duration {
        let clock = &self.consumers.clock;
        let mut interruptions = self.consumers.shared.lock();
        let consumer = interruptions.consumers.entry(self.number);
        let consumer = consumer.or_insert_with(|| InterruptedConsumer {
            group: self.group.clone(),
            cause: String::new(),
            since: clock.monotonic(),
            reported: false,
        });
        cause.clone_into(&mut consumer.cause);
        if !std::mem::replace(&mut interruptions.reporting, true) {
            background::spawn("report of interrupted consumers", self.consumers.clone().report());
        }
        drop(interruptions);
        self.outage.failed(cause)
    }

    /// Notes a success, which ends the interruption.
    pub(super) fn over(&mut self) {
        self.outage.over();
        let mut interruptions = self.consumers.shared.lock();
        if interruptions.consumers.remove(&self.number).is_some_and(|consumer| consumer.reported) {
            interruptions.recovered.push(self.group.clone());
        }
    }
}

impl Drop for ConsumerInterruption {
    fn drop(&mut self) {
        self.consumers.shared.lock().consumers.remove(&self.number);
    }
}

/// The first entries of a list, and the number of the others.
fn shortened(entries: &[String], count: usize, separator: &str) -> String {
    let named: Vec<_> = entries.iter().take(NAMED).map(String::as_str).collect();
    let more = count - named.len();
    let named = named.join(separator);
    if more == 0 { named } else { format!("{named}{separator}and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_interrupted_consumers_are_one_line_that_counts_them() {
        let (clock, hand) = Clock::turnable();
        let node = InterruptedConsumers::new(&clock);
        let mut consumers: Vec<_> =
            (0..1_000).map(|number| node.consumer(&format!("g{number:03}"))).collect();
        for consumer in &mut consumers {
            consumer.failed("no channel");
        }
        let lines =
            |node: &InterruptedConsumers| node.shared.lock().interruptions(clock.monotonic());
        assert_eq!(lines(&node), None);
        hand.forward(GRACE);
        let line = lines(&node).unwrap();
        assert!(line.starts_with("group g000: no channel; group g001"), "{line}");
        assert!(line.ends_with("; and 995 more"), "{line}");
        assert_eq!(lines(&node), None);
        consumers[0].over();
        consumers.pop();
        let interruptions = node.shared.lock();
        assert_eq!((interruptions.consumers.len(), interruptions.recovered.len()), (998, 1));
    }
}
