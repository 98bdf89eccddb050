//! Rules by which a queue may be deleted.
//!
//! Two callers delete queues: an administrator, who names a queue ([`check_request`],
//! [`check_empty`]), and a pass, which deletes the queue of a removed listener
//! ([`QuietQueues::check`]).
//!
//! RabbitMQ has no compare-and-delete, its counters lag by seconds, and its conditional deletes
//! either destroy unacknowledged events (classic queues) or close the connection (quorum queues).
//! So hearken gathers evidence itself before a pass deletes: a queue that is drained must have been
//! seen empty and without a consumer twice, its quiet time apart. A queue whose events are
//! discarded must only have no consumer.

use super::{
    command::Pending,
    depth::Depth,
    desired::{Desired, Fate},
    layout::{Layout, ObjectName},
    plan::{Action, Plan, Step, StepClass},
    roster::{OrphanDecision, OrphanQueue},
    span::Span,
    topology::{Destination, Queue, Topology},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Treatment of the events in a queue that an administrator wants deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueContents {
    /// The queue is deleted only when it holds no event and has no consumer.
    #[default]
    Spare,
    /// The queue is deleted with the events in it.
    Destroy,
}

/// Reason why an administrator's request about a queue is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueRefusal {
    /// The broker has no queue of this name.
    #[error("the broker has no queue {0}; GET /topology lists the queues")]
    Unknown(String),
    /// The queue was not made by this cluster.
    #[error(
        "queue {0} was not made by this hearken cluster: it lacks the prefix or the marker of the cluster; hearken changes only its own queues"
    )]
    Foreign(String),
    /// The log knows the queue.
    #[error(
        "queue {0} is not an orphan: the log knows it; GET /topology shows under drift which queues are orphans"
    )]
    NotOrphan(String),
    /// The queue is an orphan that belongs to no group.
    #[error(
        "queue {0} is an orphan, but not the work queue of a group, so the log cannot release it; delete it instead: DELETE /topology/queues/{0}?force=true"
    )]
    WithoutGroup(String),
    /// The bus, a node or a configured listener needs the queue.
    #[error(
        "queue {0} is in use by a bus, a node or a consumer; remove the listener that works on it first"
    )]
    InUse(String),
    /// The queue holds events.
    #[error(
        "queue {queue} holds {ready} waiting and {unacked} unacknowledged events; add force=true to destroy them"
    )]
    NotEmpty {
        /// Name of the queue.
        queue: String,
        /// Events that wait for a consumer.
        ready: u64,
        /// Events that were delivered to a consumer and not acknowledged.
        unacked: u64,
    },
}

/// Finds the queue that an administrator wants deleted, and refuses a queue that is foreign or that
/// is still needed.
///
/// # Errors
/// Why the queue stays. Whether it holds events is checked by [`check_empty`].
pub fn check_request<'a>(
    layout: &Layout,
    desired: &Desired,
    observed: &'a Topology,
    name: &str,
) -> Result<&'a Queue, QueueRefusal> {
    let queue = observed.queues.get(name).ok_or_else(|| QueueRefusal::Unknown(name.to_owned()))?;
    if !layout.owns(name, &queue.arguments) {
        return Err(QueueRefusal::Foreign(name.to_owned()));
    }
    if desired.topology.queues.contains_key(name) || layout.is_node_queue(queue) {
        return Err(QueueRefusal::InUse(name.to_owned()));
    }
    Ok(queue)
}

/// Finds the orphan that an administrator wants released. A released orphan that is not deleted yet
/// may be released again.
///
/// # Errors
/// Why the queue is not released.
pub fn check_release(
    layout: &Layout,
    desired: &Desired,
    observed: &Topology,
    name: &str,
) -> Result<OrphanQueue, QueueRefusal> {
    let queue = observed.queues.get(name).ok_or_else(|| QueueRefusal::Unknown(name.to_owned()))?;
    if !layout.owns(name, &queue.arguments) {
        return Err(QueueRefusal::Foreign(name.to_owned()));
    }
    let is_released = desired.orphan_decision(name) == Some(OrphanDecision::Released);
    if !desired.is_orphan(layout, queue) && !is_released {
        return Err(QueueRefusal::NotOrphan(name.to_owned()));
    }
    match layout.read(name) {
        Some(ObjectName::Work { bus, queue: id }) => Ok(OrphanQueue { bus, id }),
        _ => Err(QueueRefusal::WithoutGroup(name.to_owned())),
    }
}

/// Refuses a queue that holds events or has a consumer.
///
/// # Errors
/// Why the queue stays.
pub fn check_empty(queue: &str, depth: Depth) -> Result<(), QueueRefusal> {
    let Depth { ready, unacked, consumers } = depth;
    if depth.holds_events() {
        return Err(QueueRefusal::NotEmpty { queue: queue.to_owned(), ready, unacked });
    }
    if consumers > 0 {
        return Err(QueueRefusal::InUse(queue.to_owned()));
    }
    Ok(())
}

/// Steps that unbind a queue from every exchange and delete it.
#[must_use]
pub fn plan_request(observed: &Topology, queue: &str) -> Plan {
    let reason = "an administrator asked for it";
    let unbind = |binding| Action::Unbind(binding);
    let bindings = observed.bindings.iter().filter(|binding| {
        binding.destination_kind == Destination::Queue && binding.destination == queue
    });
    let mut steps: Vec<Step> = bindings
        .map(|binding| Step::new(unbind(binding.clone()), StepClass::Safe, reason))
        .collect();
    let delete = Action::DeleteQueue(queue.to_owned());
    steps.push(Step::new(delete, StepClass::Destructive, reason));
    Plan { steps }
}

/// Reason why a pass does not delete a removed listener's queue yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// The queue holds events that must not be lost, or has a consumer.
    #[error(
        "the queue has {} waiting and {} unacknowledged events and {} consumers",
        .0.ready, .0.unacked, .0.consumers
    )]
    Occupied(Depth),
    /// The queue has not been quiet for long enough.
    #[error("the queue must stay empty and without consumers for {0}")]
    MustStayQuiet(Span),
}

/// Longest time between two samples that still count as one observation. Another node may make the
/// passes in between, and what a queue held meanwhile is unknown.
const LONGEST_GAP: Duration = Duration::from_secs(15);

/// Evidence about the queues of removed listeners: since when each has been quiet.
#[derive(Debug, Default)]
pub struct QuietQueues(BTreeMap<String, Quiet>);

/// Observation of a queue that was quiet in each sample.
#[derive(Debug, Clone, Copy)]
struct Quiet {
    since: Instant,
    last_sample: Instant,
}

impl QuietQueues {
    /// Takes in one sample of a queue, and says whether the queue may be deleted now.
    ///
    /// # Errors
    /// What the deletion waits for.
    pub fn check(
        &mut self,
        queue: &str,
        fate: &Fate,
        depth: Depth,
        now: Instant,
    ) -> Result<(), NotYet> {
        let keeps_events = fate.pending != Pending::Discard && depth.holds_events();
        if depth.consumers > 0 || keeps_events {
            self.forget(queue);
            return Err(NotYet::Occupied(depth));
        }
        let sampled = Quiet { since: now, last_sample: now };
        let quiet = self.0.entry(queue.to_owned()).or_insert(sampled);
        if now.saturating_duration_since(quiet.last_sample) > LONGEST_GAP {
            *quiet = sampled;
        }
        quiet.last_sample = now;
        let required = match fate.pending {
            // The events are discarded, so only a consumer that the counters do not show yet could
            // matter.
            Pending::Discard => Duration::ZERO,
            Pending::Keep | Pending::Drain => fate.quiet.duration(),
        };
        if now.saturating_duration_since(quiet.since) >= required {
            return Ok(());
        }
        Err(NotYet::MustStayQuiet(fate.quiet))
    }

    /// Whether a queue is quiet, so that its deletion comes due.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Forgets the evidence about a queue: it is gone, or its counters could not be read.
    pub fn forget(&mut self, queue: &str) {
        self.0.remove(queue);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "each test reads one time and adds to it")]
mod tests;
