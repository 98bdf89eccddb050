//! The health of events: whether their groups have consumers, which events were given up, and
//! whether notifications arrive.

use super::{Health, Status, shown};
use crate::{
    domain::{
        command::Pending,
        depth::Depth,
        listener::Delivery,
        name::GroupName,
        report::{ListenerState, NodeState},
        span::Span,
    },
    error_chain::error_chain,
};
use futures_util::future::join_all;

/// The most groups that a cause names.
const NAMED: usize = 10;

impl Health {
    /// Whether each listener runs on some node of the cluster, by what the nodes say, and whether
    /// a queue that is on its way out is being emptied.
    pub(super) async fn consumers(&self) -> Result<(), (Status, String)> {
        let nodes =
            self.store.nodes().await.map_err(|error| (Status::Unhealthy, error_chain(&error)))?;
        let retired =
            self.store.retired().await.map_err(|error| (Status::Unhealthy, error_chain(&error)))?;
        let (roster, here, layout) =
            (self.roster.known(), self.node.listeners(), self.roster.layout());
        let lives = nodes.iter().filter(|node| node.state != NodeState::Gone);
        let everywhere: Vec<_> = lives.flat_map(|node| &node.listeners).chain(&here).collect();
        let runs = |group: &GroupName| {
            let mut of_group = everywhere.iter().filter(|listener| listener.group == *group);
            of_group.any(|listener| listener.state == ListenerState::Running)
        };
        let idle = roster.listeners().iter().filter(|(group, _)| !runs(group));
        let idle = idle.map(async |(group, configured)| {
            let listener = &configured.listener;
            let queue = layout.work(&listener.bus, group, configured.generation);
            let once = listener.delivery == Delivery::Once;
            let depth = if once { self.depth(&queue).await } else { None };
            let waiting = match depth.filter(|depth| depth.ready > 0) {
                Some(depth) => format!(" ({})", self.waiting(&queue, depth).await),
                None => String::new(),
            };
            Some(format!("{group}{waiting}"))
        });
        let draining = roster.tombstones().iter().filter(|(id, tombstone)| {
            tombstone.pending == Pending::Drain
                && tombstone.listener.delivery == Delivery::Once
                && !retired.contains(*id)
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
        let mut wrong: Vec<_> = join_all(idle).await.into_iter().flatten().collect();
        wrong.extend(join_all(draining).await.into_iter().flatten());
        if wrong.is_empty() {
            return Ok(());
        }
        Err((Status::Degraded, format!("no consumer for {}", wrong.join(", "))))
    }

    /// What a queue holds, where the broker says.
    async fn depth(&self, queue: &str) -> Option<Depth> {
        self.broker.depth(queue).await.ok().flatten()
    }

    /// How much waits in a queue, and for how long where that is known.
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

    /// Whether notifications arrive on this node.
    pub(super) fn notifications(&self) -> Result<(), (Status, String)> {
        let buses = self.roster.buses();
        let causes = buses.keys().filter_map(|bus| {
            let cause = self.bus.notifications(bus).err()?;
            Some(format!("{bus}: {cause}"))
        });
        let causes: Vec<_> = causes.collect();
        if causes.is_empty() { Ok(()) } else { Err((Status::Degraded, causes.join("; "))) }
    }

    /// Whether every event was handled.
    pub(super) async fn dead_letters(&self) -> Result<(), (Status, String)> {
        let counts = self.store.dead_letter_counts().await;
        let counts = counts.map_err(|error| (Status::Unhealthy, error_chain(&error)))?;
        let all: u64 = counts.iter().map(|of| of.count).sum();
        if all == 0 {
            return Ok(());
        }
        let shown = counts.iter().take(NAMED).map(|of| {
            format!("{} of {} on {} since {}", of.count, of.group, of.bus, shown(of.oldest))
        });
        let mut cause = shown.collect::<Vec<_>>().join(", ");
        if counts.len() > NAMED {
            cause.push_str(", and more");
        }
        let them = if all == 1 { "1 event was" } else { &format!("{all} events were") };
        Err((Status::Degraded, format!("{them} given up and kept: {cause}")))
    }
}
