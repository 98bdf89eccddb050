//! The roster as a service of the node: it takes commands and serves the current roster.
//!
//! A node holds the folded roster in memory. Before it decides a command or answers a request, it
//! catches up with one indexed query for newer events. The log in the database is the only truth;
//! the roster in memory is folded from a beginning of that log.

mod execute;
mod tail;
mod turn;

pub use execute::{Audited, CommandOutcome, ExecuteError, Idempotency};
pub use tail::tail_log;

use crate::{
    clock::Clock,
    domain::{
        bus::{BusDefinition, Buses},
        cluster::{ClusterSetting, NodeSettings, RecordedSettings},
        event::{NodeRef, RecordedEvent, Version},
        layout::Layout,
        listener::ListenerSpec,
        name::GroupName,
        roster::Roster,
    },
    listeners::Catalog,
    metrics::Metrics,
    store::{Store, StoreError},
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;
use turn::Turns;

/// Number of events that one query reads. A thousand events fold in about ten milliseconds.
const PAGE: usize = 1_000;

/// Facts about this node that take part in deciding.
pub struct RosterConfig {
    /// The node's signature under its actions.
    pub node: NodeRef,
    /// The classes that the node knows.
    pub catalog: Catalog,
    /// Listeners that the node's configuration requires.
    pub required: BTreeMap<GroupName, ListenerSpec>,
    /// Buses that the node's configuration defines.
    pub buses: Vec<BusDefinition>,
    /// Settings with which the cluster begins.
    pub founding: RecordedSettings,
    /// Settings of the cluster, as the node's configuration has them.
    pub own_settings: NodeSettings,
    /// How groups and buses become queue names. Its queue type is that of the roster, not this one.
    pub layout: Layout,
    /// The clock of this node.
    pub clock: Clock,
}

/// Cause for which the tail does not advance; `None` while it advances.
pub type Halt = Option<Arc<StoreError>>;

/// The roster of this node.
pub struct RosterService {
    store: Store,
    config: RosterConfig,
    metrics: Arc<Metrics>,
    state: watch::Sender<Arc<Roster>>,
    halt: watch::Sender<Halt>,
    /// Held while folding, so that no event is folded twice.
    folding: Turns,
    /// Held while appending: commands of one node do not race each other for a version.
    appending: Turns,
}

impl RosterService {
    /// A service that has not folded any event yet.
    #[must_use]
    pub fn new(store: Store, config: RosterConfig, metrics: Arc<Metrics>) -> Self {
        let start = Arc::new(Roster::founded(config.founding.clone()));
        store.limit_dead_letters(start.settings().retention.dead_letter_quota);
        let (folding, appending) = (Turns::new(&config.clock), Turns::new(&config.clock));
        start.buses().keys().for_each(|bus| metrics.bus(bus));
        Self {
            store,
            config,
            metrics,
            state: watch::Sender::new(start),
            halt: watch::Sender::new(None),
            folding,
            appending,
        }
    }

    /// The current roster, read from the log.
    ///
    /// # Errors
    /// When the log cannot be read, or holds an event that this program does not know. No newer
    /// event is served then.
    pub async fn current(&self) -> Result<Arc<Roster>, StoreError> {
        let turn = self.folding.wait().await?;
        turn.end(self.catch_up().await)
    }

    /// Folds the events that the log has beyond the known roster.
    async fn catch_up(&self) -> Result<Arc<Roster>, StoreError> {
        let mut roster = self.known();
        loop {
            let events = match self
                .store
                .catch_up(roster.version(), roster.last_event(), PAGE)
                .await
            {
                // A log that is only shorter, or that has another identity, is an error: the roster
                // never goes back on its own log.
                Err(StoreError::Diverged { version }) if version > 0 => {
                    tracing::error!(
                        version,
                        "the log in the database is not the log that this node read up to version \
                             {version} (a restored backup, or a failover that lost commits); \
                             hearken reads the roster again from the start"
                    );
                    roster = Arc::new(self.start());
                    continue;
                }
                other => other?,
            };
            let full = events.len() == PAGE;
            if !events.is_empty() {
                roster = Arc::new(fold(&roster, &events));
                self.publish(&roster);
            } else if roster.version() != self.known().version() {
                self.publish(&roster);
            }
            if !full {
                return Ok(roster);
            }
        }
    }

    /// The roster before the first event.
    #[must_use]
    pub fn start(&self) -> Roster {
        Roster::founded(self.config.founding.clone())
    }

    fn publish(&self, roster: &Arc<Roster>) {
        self.metrics.roster(roster.version());
        if !Arc::ptr_eq(roster.buses(), self.known().buses()) {
            roster.buses().keys().for_each(|bus| self.metrics.bus(bus));
        }
        let settings = roster.cluster();
        if settings.settings != self.known().cluster().settings {
            self.store.limit_dead_letters(settings.settings.retention.dead_letter_quota);
            let RecordedSettings { version, by, .. } = &**settings;
            tracing::info!(version, %by, "the settings of the cluster are those of version {version}, by {by}");
        }
        self.state.send_replace(Arc::clone(roster));
    }

    /// Settings for which this node's configuration gives another value than the cluster has.
    pub fn differing_settings(&self) -> Vec<ClusterSetting> {
        self.config.own_settings.differing(self.known().settings()).collect()
    }

    /// The roster, as this node last read it.
    #[must_use]
    pub fn known(&self) -> Arc<Roster> {
        Arc::clone(&self.state.borrow())
    }

    /// Receiver of this node's roster. It wakes when the roster changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Roster>> {
        self.state.subscribe()
    }

    /// Cause for which the tail does not advance, if it does not.
    #[must_use]
    pub fn halt(&self) -> Halt {
        self.halt.borrow().clone()
    }

    /// Waits until a read of the log finds that an operator gave the log a new identity. The parts
    /// of this node know the former identity, so the node has to be assembled again.
    pub async fn adopted(&self) {
        let mut halt = self.halt.subscribe();
        let is_adopted = |halt: &Halt| matches!(halt.as_deref(), Some(StoreError::Adopted));
        // The sender lives as long as this roster.
        let _ = halt.wait_for(is_adopted).await;
    }

    /// The roster at a version; `None` when the log does not have that version yet.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn at(&self, version: Version) -> Result<Option<Roster>, StoreError> {
        let mut roster = self.start();
        while roster.version() < version {
            let left = usize::try_from(version - roster.version()).unwrap_or(PAGE).min(PAGE);
            let events = self.store.events_after(roster.version(), left).await?;
            if events.is_empty() {
                return Ok(None);
            }
            roster = fold(&roster, &events);
        }
        Ok(Some(roster))
    }

    /// Whether this node's configuration requires the group.
    #[must_use]
    pub fn is_required(&self, group: &GroupName) -> bool {
        self.config.required.contains_key(group)
    }

    /// The listeners that this node's configuration requires, with the settings that it gives them.
    #[must_use]
    pub fn required(&self) -> &BTreeMap<GroupName, ListenerSpec> {
        &self.config.required
    }

    /// The cluster's buses, as this node last read them.
    #[must_use]
    pub fn buses(&self) -> Arc<Buses> {
        Arc::clone(self.known().buses())
    }

    /// The buses that this node's configuration defines, without the buses that a cluster has from
    /// its start.
    pub fn configured_buses(&self) -> impl Iterator<Item = &BusDefinition> {
        self.config.buses.iter().filter(|bus| !bus.is_default())
    }

    /// The classes that this node knows.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.config.catalog
    }

    /// How groups and buses become queue names. [`RosterService::layout_at`] knows the type of the
    /// queues, too.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.config.layout
    }

    /// How the objects of a roster are named and declared.
    #[must_use]
    pub fn layout_at(&self, roster: &Roster) -> Layout {
        Layout { queue_type: roster.settings().queue_type, ..self.config.layout.clone() }
    }

    /// This node's signature under its actions.
    #[must_use]
    pub fn node(&self) -> &NodeRef {
        &self.config.node
    }
}

fn fold(roster: &Roster, events: &[RecordedEvent]) -> Roster {
    let mut roster = roster.clone();
    for event in events {
        roster.evolve(event);
    }
    roster
}
