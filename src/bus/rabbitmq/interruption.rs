//! Outages of the bus's tasks.

use crate::{clock::Clock, outage::Outage};
use std::time::Duration;

/// How long an interruption lasts before it is worth a warning. A queue that the reconciler is
/// about to declare, and a broker that fails over, are back sooner.
const GRACE: Duration = Duration::from_secs(2);

/// Outage of a task. `activity` is a noun phrase that begins a sentence, as in "consuming for group
/// g".
pub(super) fn interruption(clock: &Clock, activity: &str) -> Outage {
    let failing = format!("{activity} is interrupted and tried again");
    Outage::new(clock, failing, format!("{activity} works again")).reported_after(GRACE)
}

/// Outage of the consumer of a group. The interruptions of all consumers are reported together, so
/// the outage itself reports nothing.
pub(super) fn interruption_of_group(clock: &Clock, group: &str) -> Outage {
    let activity = format!("consuming for group {group}");
    interruption(clock, &activity).reported_after(Duration::MAX)
}
