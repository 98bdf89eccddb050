//! Health of events: consumers of the groups, dead letters, and the arrival of notifications.

use super::{Health, Impairment, NAMED, cut, shown};
use crate::domain::{
    command::Pending,
    depth::Depth,
    listener::Delivery,
    name::GroupName,
    report::{NodeState, NodeStatus},
    roster::QueueId,
    span::Span,
};
use futures_util::future::join_all;
use std::collections::{BTreeSet, HashSet};

/// Largest number of requests to the broker that a check makes at the same time.
const AT_ONCE: usize = 8;
/// Largest number of queues of each kind whose oldest event is looked up. The broker computes the
/// age from its history, which costs more than a count.
const DATED: usize = 2;

/// A group that no node consumes for.
struct UnconsumedQueue {
    group: GroupName,
    /// Work queue of the group, if it has one.
    queue: Option<String>,
    /// Whether the age of the oldest event in the queue is looked up.
    dated: bool,
}

impl Health {
    /// Checks that each listener runs on a node of the cluster, by what the nodes report, and that
    /// a queue that is to be drained has a consumer.
    pub(super) async fn check_consumers(&self) -> Result<(), Impairment> {
        let mut without = self.listeners_without_consumer().await?;
        without.extend(self.drained_without_consumer().await?);
        if without.is_empty() {
            return Ok(());
        }
        Err(Impairment::degraded(format!("no consumer for {}", without.join(", "))))
    }

    /// Listeners that run on no node and are not paused. The first ones are named, with the events
    /// that wait for them.
    async fn listeners_without_consumer(&self) -> Result<Vec<String>, Impairment> {
        let nodes = self.store.nodes().await?;
        let idle = self.idle_listeners(&nodes);
        let total = idle.len();
        let mut named = Vec::with_capacity(NAMED + 1);
        for some in idle[..total.min(NAMED)].chunks(AT_ONCE) {
            let looking: Vec<_> = some.iter().map(|idle| self.idle_in_words(idle)).collect();
            named.extend(join_all(looking).await);
        }
        if total > NAMED {
            named.push(format!("and {} more", total - NAMED));
        }
        Ok(named)
    }

    /// Listeners that no living node consumes, without the paused ones.
    fn idle_listeners(&self, nodes: &[NodeStatus]) -> Vec<UnconsumedQueue> {
        let here = self.node.listeners();
        let alive = nodes.iter().filter(|node| node.state != NodeState::Gone);
        let reported = alive.flat_map(|node| &node.listeners).chain(&here);
        let consuming = reported.filter(|listener| listener.state.consumes());
        let consumed: HashSet<&GroupName> = consuming.map(|listener| &listener.group).collect();
        let (roster, layout) = (self.roster.known(), self.roster.layout());
        let awake = roster.listeners().iter().filter(|(_, configured)| !configured.paused);
        let idle = awake.filter(|(group, _)| !consumed.contains(group));
        let idle = idle.enumerate().map(|(position, (group, configured))| {
            let listener = &configured.listener;
            let once = listener.delivery == Delivery::Once;
            let queue = once.then(|| layout.work(&listener.bus, group, configured.generation));
            UnconsumedQueue { group: group.clone(), queue, dated: position < DATED }
        });
        idle.collect()
    }

    async fn idle_in_words(&self, idle: &UnconsumedQueue) -> String {
        let depth = match &idle.queue {
            Some(queue) => self.depth(queue).await.filter(|depth| depth.ready > 0),
            None => None,
        };
        match depth {
            Some(depth) => format!("{} ({})", idle.group, self.waiting(idle, depth).await),
            None => idle.group.to_string(),
        }
    }

    /// Queues of removed listeners that are to be drained and that no node consumes. Looks at the
    /// first ones only, because each queue costs a request to the broker.
    async fn drained_without_consumer(&self) -> Result<Vec<String>, Impairment> {
        let retired = self.store.retired().await?;
        let draining = self.draining_queues(&retired);
        let mut found = Vec::new();
        for some in draining.chunks(AT_ONCE) {
            let looking: Vec<_> = some.iter().map(|queue| self.drained_in_words(queue)).collect();
            found.extend(join_all(looking).await.into_iter().flatten());
        }
        Ok(found)
    }

    fn draining_queues(&self, retired: &BTreeSet<QueueId>) -> Vec<UnconsumedQueue> {
        let (roster, layout) = (self.roster.known(), self.roster.layout());
        let draining = roster.tombstones().iter().filter(|(id, tombstone)| {
            tombstone.pending == Pending::Drain
                && tombstone.listener.delivery == Delivery::Once
                && !retired.contains(*id)
                && !roster.is_paused(&id.group)
        });
        let draining = draining.take(NAMED).enumerate().map(|(position, (id, tombstone))| {
            let queue = layout.work(&tombstone.listener.bus, &id.group, id.generation);
            let (group, dated) = (id.group.clone(), position < DATED);
            UnconsumedQueue { group, queue: Some(queue), dated }
        });
        draining.collect()
    }

    async fn drained_in_words(&self, drained: &UnconsumedQueue) -> Option<String> {
        let depth = self.depth(drained.queue.as_deref()?).await?;
        if depth.ready == 0 || depth.consumers > 0 {
            return None;
        }
        let waiting = self.waiting(drained, depth).await;
        Some(format!("{} ({waiting}; it was removed and is to be drained)", drained.group))
    }

    /// Depth of a queue, if the broker answers and has the queue.
    async fn depth(&self, queue: &str) -> Option<Depth> {
        self.broker.depth(queue).await.ok().flatten()
    }

    /// Number of waiting events in words, with the age of the oldest one if the age is wanted and
    /// the broker knows it.
    async fn waiting(&self, unconsumed: &UnconsumedQueue, depth: Depth) -> String {
        let events = if depth.ready == 1 { "event waits" } else { "events wait" };
        let oldest = match unconsumed.queue.as_deref().filter(|_| unconsumed.dated) {
            Some(queue) => self.broker.oldest(queue).await.ok().flatten(),
            None => None,
        };
        match oldest {
            Some(oldest) => {
                let oldest = Span::from_secs(oldest.as_secs());
                format!("{} {events}, the oldest for at least {oldest}", depth.ready)
            }
            None => format!("{} {events}", depth.ready),
        }
    }

    /// Checks that notifications arrive on this node.
    pub(super) fn check_notifications(&self) -> Result<(), Impairment> {
        let buses = self.roster.buses();
        let causes = buses.keys().filter_map(|bus| {
            let cause = self.bus.notifications(bus).err()?;
            Some(format!("{bus}: {cause}"))
        });
        let causes: Vec<_> = causes.collect();
        if causes.is_empty() {
            return Ok(());
        }
        let total = causes.len();
        let named = causes.into_iter().take(NAMED);
        Err(Impairment::degraded(cut(named, total, "; ")))
    }

    /// Checks that there are no dead letters.
    pub(super) async fn check_dead_letters(&self) -> Result<(), Impairment> {
        let groups = self.store.dead_letter_counts().await?;
        let total: u64 = groups.iter().map(|group| group.count).sum();
        if total == 0 {
            return Ok(());
        }
        let named = groups.iter().take(NAMED).map(|entry| {
            let (count, group, bus) = (entry.count, &entry.group, &entry.bus);
            format!("{count} of {group} on {bus} since {}", shown(entry.oldest))
        });
        let mut named = cut(named, groups.len(), ", ");
        let quota = self.store.dead_letter_quota();
        let full = groups.iter().filter(|entry| quota.is_reached(entry.count, entry.bytes));
        let full: Vec<_> = full.map(|entry| entry.group.to_string()).collect();
        if !full.is_empty() {
            let total = full.len();
            let full = cut(full.into_iter().take(NAMED), total, ", ");
            named = format!(
                "{named}; {full} reached the quota, so failed events stay in the queue and run \
                 again until entries are redelivered or deleted"
            );
        }
        let letters = if total == 1 { "dead letter" } else { "dead letters" };
        Err(Impairment::degraded(format!(
            "{total} {letters}: {named}; hearken dead-letters list shows the causes"
        )))
    }
}
