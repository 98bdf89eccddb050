//! Health of events: consumers of the groups, dead letters, and the arrival of notifications.

use super::{Health, Impairment, NAMED, cut, shown};
use crate::domain::{
    command::Pending,
    depth::Depth,
    listener::Delivery,
    name::GroupName,
    report::{ListenerState, NodeState},
    span::Span,
};
use futures_util::{StreamExt, stream};
use std::collections::HashSet;

/// Largest number of requests to the broker that a check makes at the same time.
const AT_ONCE: usize = 8;
/// Largest number of queues of each kind whose oldest event is looked up. The broker computes the
/// age from its history, which costs more than a count.
const DATED: usize = 2;

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

    /// Listeners that run on no node. The first ones are named, with the events that wait for them.
    async fn listeners_without_consumer(&self) -> Result<Vec<String>, Impairment> {
        let nodes = self.store.nodes().await?;
        let here = self.node.listeners();
        let alive = nodes.iter().filter(|node| node.state != NodeState::Gone);
        let reported = alive.flat_map(|node| &node.listeners).chain(&here);
        let running = reported.filter(|listener| listener.state == ListenerState::Running);
        let running: HashSet<&GroupName> = running.map(|listener| &listener.group).collect();
        let (roster, layout) = (self.roster.known(), self.roster.layout());
        let idle = roster.listeners().iter().filter(|(group, _)| !running.contains(group));
        let total = idle.clone().count();
        let named = idle.take(NAMED).enumerate().map(async |(position, (group, configured))| {
            let listener = &configured.listener;
            if listener.delivery != Delivery::Once {
                return group.to_string();
            }
            let queue = layout.work(&listener.bus, group, configured.generation);
            match self.depth(&queue).await.filter(|depth| depth.ready > 0) {
                Some(depth) => {
                    format!("{group} ({})", self.waiting(&queue, depth, position).await)
                }
                None => group.to_string(),
            }
        });
        let mut named: Vec<_> = stream::iter(named).buffered(AT_ONCE).collect().await;
        if total > named.len() {
            named.push(format!("and {} more", total - named.len()));
        }
        Ok(named)
    }

    /// Queues of removed listeners that are to be drained and that no node consumes. Looks at the
    /// first ones only, because each queue costs a request to the broker.
    async fn drained_without_consumer(&self) -> Result<Vec<String>, Impairment> {
        let retired = self.store.retired().await?;
        let (roster, layout) = (self.roster.known(), self.roster.layout());
        let draining = roster.tombstones().iter().filter(|(id, tombstone)| {
            tombstone.pending == Pending::Drain
                && tombstone.listener.delivery == Delivery::Once
                && !retired.contains(*id)
        });
        let looked_at = draining.take(NAMED).enumerate();
        let looked_at = looked_at.map(async |(position, (id, tombstone))| {
            let queue = layout.work(&tombstone.listener.bus, &id.group, id.generation);
            let depth = self.depth(&queue).await?;
            if depth.ready == 0 || depth.consumers > 0 {
                return None;
            }
            let waiting = self.waiting(&queue, depth, position).await;
            Some(format!("{} ({waiting}; it was removed and is to be drained)", id.group))
        });
        let found: Vec<_> = stream::iter(looked_at).buffered(AT_ONCE).collect().await;
        Ok(found.into_iter().flatten().collect())
    }

    /// Depth of a queue, if the broker answers and has the queue.
    async fn depth(&self, queue: &str) -> Option<Depth> {
        self.broker.depth(queue).await.ok().flatten()
    }

    /// Number of waiting events in words, with the age of the oldest one if the queue is one of the
    /// first and the broker knows the age.
    async fn waiting(&self, queue: &str, depth: Depth, position: usize) -> String {
        let events = if depth.ready == 1 { "event waits" } else { "events wait" };
        let dated = position < DATED;
        let oldest = if dated { self.broker.oldest(queue).await.ok().flatten() } else { None };
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
        let named = causes.into_iter().take(NAMED).collect();
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
        let named = cut(named.collect(), groups.len(), ", ");
        let letters = if total == 1 { "dead letter" } else { "dead letters" };
        Err(Impairment::degraded(format!(
            "{total} {letters}: {named}; hearken dead-letters list shows the causes"
        )))
    }
}
