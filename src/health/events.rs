//! Health of events: consumers of the groups, dead letters, and the arrival of notifications.

use super::{Health, Impairment, shown};
use crate::domain::{
    command::Pending,
    depth::Depth,
    listener::Delivery,
    name::GroupName,
    report::{ListenerStatus, NodeState},
    span::Span,
};
use futures_util::future::join_all;

/// Largest number of groups that a cause names.
const NAMED: usize = 10;

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

    /// Listeners that run on no node and are not paused, each with the events that wait for it.
    async fn listeners_without_consumer(&self) -> Result<Vec<String>, Impairment> {
        let nodes = self.store.nodes().await?;
        let here = self.node.listeners();
        let alive = nodes.iter().filter(|node| node.state != NodeState::Gone);
        let reported: Vec<&ListenerStatus> =
            alive.flat_map(|node| &node.listeners).chain(&here).collect();
        let runs = |group: &GroupName| {
            let mut of_group = reported.iter().filter(|listener| listener.group == *group);
            of_group.any(|listener| listener.state.consumes())
        };
        let (roster, layout) = (self.roster.known(), self.roster.layout());
        let awake = roster.listeners().iter().filter(|(_, configured)| !configured.paused);
        let idle = awake.filter(|(group, _)| !runs(group));
        let idle = idle.map(async |(group, configured)| {
            let listener = &configured.listener;
            let queue = layout.work(&listener.bus, group, configured.generation);
            let once = listener.delivery == Delivery::Once;
            let depth = if once { self.depth(&queue).await } else { None };
            match depth.filter(|depth| depth.ready > 0) {
                Some(depth) => format!("{group} ({})", self.waiting(&queue, depth).await),
                None => group.to_string(),
            }
        });
        Ok(join_all(idle).await)
    }

    /// Queues of removed listeners that are to be drained and that no node consumes.
    async fn drained_without_consumer(&self) -> Result<Vec<String>, Impairment> {
        let retired = self.store.retired().await?;
        let (roster, layout) = (self.roster.known(), self.roster.layout());
        let draining = roster.tombstones().iter().filter(|(id, tombstone)| {
            tombstone.pending == Pending::Drain
                && tombstone.listener.delivery == Delivery::Once
                && !retired.contains(*id)
                && !roster.is_paused(&id.group)
        });
        let draining = draining.map(async |(id, tombstone)| {
            let queue = layout.work(&tombstone.listener.bus, &id.group, id.generation);
            let depth = self.depth(&queue).await?;
            if depth.ready == 0 || depth.consumers > 0 {
                return None;
            }
            let waiting = self.waiting(&queue, depth).await;
            Some(format!("{} ({waiting}; it was removed and is to be drained)", id.group))
        });
        Ok(join_all(draining).await.into_iter().flatten().collect())
    }

    /// Depth of a queue, if the broker answers and has the queue.
    async fn depth(&self, queue: &str) -> Option<Depth> {
        self.broker.depth(queue).await.ok().flatten()
    }

    /// Number of waiting events in words, with the age of the oldest one if the broker knows it.
    async fn waiting(&self, queue: &str, depth: Depth) -> String {
        let events = if depth.ready == 1 { "event waits" } else { "events wait" };
        match self.broker.oldest(queue).await.ok().flatten() {
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
        if causes.is_empty() { Ok(()) } else { Err(Impairment::degraded(causes.join("; "))) }
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
        let mut named = named.collect::<Vec<_>>().join(", ");
        if groups.len() > NAMED {
            named.push_str(", and more");
        }
        let letters = if total == 1 { "dead letter" } else { "dead letters" };
        Err(Impairment::degraded(format!(
            "{total} {letters}: {named}; hearken dead-letters list shows the causes"
        )))
    }
}
