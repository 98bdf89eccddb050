//! Health of the node and of the cluster, in James's three grades.
//!
//! A check changes nothing: it restarts, repairs and declares nothing. The checks run at most every
//! [`MAX_AGE`], for all callers together, because callers without a token may ask for health.

mod component;
mod events;
mod shared;
mod topology;

pub use component::{Component, UnknownComponent};

use crate::{
    broker::Broker,
    bus::EventBus,
    clock::Clock,
    domain::{cluster::ClusterSetting, layout::Flavor, roster::Roster},
    error_chain::error_chain,
    metrics::Metrics,
    node,
    roster::RosterService,
    store::{Store, StoreError},
};
use futures_util::{FutureExt, future::join_all};
use serde::Serialize;
use shared::SharedComputation;
use std::{sync::Arc, time::Duration};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// James's grades, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// The component works.
    Healthy,
    /// The component works in part, or will soon stop working.
    Degraded,
    /// The component does not work.
    Unhealthy,
}

/// Result of the check of one component.
#[derive(Debug, Clone)]
pub struct Check {
    /// The component.
    pub component: Component,
    /// Grade of the component.
    pub grade: Grade,
    /// Why the component is not healthy.
    pub cause: Option<String>,
}

/// Why a component is not healthy.
struct Impairment {
    grade: Grade,
    cause: String,
}

impl Impairment {
    fn degraded(cause: impl Into<String>) -> Self {
        Self { grade: Grade::Degraded, cause: cause.into() }
    }

    fn unhealthy(cause: impl Into<String>) -> Self {
        Self { grade: Grade::Unhealthy, cause: cause.into() }
    }
}

/// Without the database, nothing can be said of what is in it.
impl From<StoreError> for Impairment {
    fn from(error: StoreError) -> Self {
        Self::unhealthy(error_chain(&error))
    }
}

/// Time limit of one check. A check that takes longer counts as unhealthy.
const LIMIT: Duration = Duration::from_secs(5);

/// Age at which the checks run again.
pub const MAX_AGE: Duration = Duration::from_secs(5);

/// Largest number of listeners that a cause names.
const NAMED: usize = 10;

/// Health of the node, which all callers share.
pub struct HealthMonitor {
    health: Arc<Health>,
    checks: SharedComputation<Vec<Check>>,
}

impl HealthMonitor {
    /// Monitor of these components. Counts its checks in the metrics.
    #[must_use]
    pub fn new(health: Health, metrics: Arc<Metrics>) -> Self {
        let clock = health.clock.clone();
        let health = Arc::new(health);
        let checked = Arc::clone(&health);
        let checks = SharedComputation::new(MAX_AGE, clock, move || {
            metrics.health_checked();
            let health = Arc::clone(&checked);
            async move { health.check_all().await }.boxed()
        });
        Self { health, checks }
    }

    /// Components of this node, in the order in which they are shown.
    #[must_use]
    pub fn components(&self) -> [Component; 8] {
        self.health.components()
    }

    /// Component of this node that has a name.
    ///
    /// # Errors
    /// When no component of this node has the name.
    pub fn component(&self, name: &str) -> Result<Component, UnknownComponent> {
        self.health.component(name)
    }

    /// Results of components, at most [`MAX_AGE`] old.
    pub async fn check(&self, components: &[Component]) -> Vec<Check> {
        let all = self.checks.get().await;
        let result = |component: Component| {
            let found = all.iter().flat_map(|all| all.iter());
            let found = found.into_iter().find(|check| check.component == component).cloned();
            found.unwrap_or_else(|| Check {
                component,
                grade: Grade::Unhealthy,
                cause: Some("the check panicked; this is a defect of hearken".to_owned()),
            })
        };
        components.iter().map(|component| result(*component)).collect()
    }
}

/// Checks of the components.
pub struct Health {
    /// Database of the node.
    pub store: Store,
    /// Broker with the queues.
    pub broker: Arc<dyn Broker>,
    /// Event bus of the node.
    pub bus: Arc<dyn EventBus>,
    /// Roster of the cluster.
    pub roster: Arc<RosterService>,
    /// State of this node.
    pub node: node::ThisNode,
    /// Source of time.
    pub clock: Clock,
}

impl Health {
    fn components(&self) -> [Component; 8] {
        let broker = match self.roster.layout().flavor {
            Flavor::RabbitMq => Component::RabbitMq,
            Flavor::Local => Component::EmbeddedBroker,
        };
        [
            broker,
            Component::Database,
            Component::Topology,
            Component::Listeners,
            Component::Consumers,
            Component::Notifications,
            Component::DeadLetters,
            Component::Tail,
        ]
    }

    fn component(&self, name: &str) -> Result<Component, UnknownComponent> {
        let known = self.components();
        known.into_iter().find(|known| known.name() == name).ok_or_else(|| UnknownComponent {
            name: name.to_owned(),
            known: known.map(Component::name).to_vec(),
        })
    }

    /// Checks all components at the same time.
    async fn check_all(&self) -> Vec<Check> {
        join_all(self.components().map(|component| self.check_component(component))).await
    }

    /// Checks one component.
    async fn check_component(&self, component: Component) -> Check {
        let checked = tokio::time::timeout(LIMIT, async {
            match component {
                Component::RabbitMq | Component::EmbeddedBroker => self.check_broker().await,
                Component::Database => self.check_database().await,
                Component::Topology => self.check_topology().await,
                Component::Listeners => self.check_listeners(),
                Component::Consumers => self.check_consumers().await,
                Component::Notifications => self.check_notifications(),
                Component::DeadLetters => self.check_dead_letters().await,
                Component::Tail => self.check_tail().await,
            }
        });
        let late = || Err(Impairment::unhealthy(format!("no answer within {LIMIT:?}")));
        match checked.await.unwrap_or_else(|_| late()) {
            Ok(()) => Check { component, grade: Grade::Healthy, cause: None },
            Err(Impairment { grade, cause }) => Check { component, grade, cause: Some(cause) },
        }
    }

    async fn check_database(&self) -> Result<(), Impairment> {
        self.store.check_writable()?;
        Ok(self.store.ping().await?)
    }

    async fn check_broker(&self) -> Result<(), Impairment> {
        let reached = self.broker.version().await;
        reached.map_err(|error| Impairment::unhealthy(error_chain(&error)))?;
        let reached = self.bus.health().await;
        reached.map_err(|error| Impairment::unhealthy(error_chain(&error)))
    }

    fn check_listeners(&self) -> Result<(), Impairment> {
        let roster = self.roster.known();
        let mut required = self.roster.required().keys();
        if let Some(group) = required.find(|group| roster.configured(group).is_err()) {
            return Err(Impairment::degraded(format!(
                "{group}, which this node's configuration requires, is not in the roster: either this node could not add it when it started (its log says why), or it was removed later"
            )));
        }
        let listeners = self.node.listeners();
        let impaired = listeners.iter().filter(|listener| listener.state.is_impaired());
        let causes = impaired.map(|listener| {
            let cause = listener.cause.as_deref().unwrap_or_default();
            format!("{} ({}): {cause}", listener.group, listener.class)
        });
        let causes: Vec<_> = causes
            .chain(self.required_otherwise(&roster))
            .chain(self.buses_otherwise(&roster))
            .chain(self.settings_otherwise())
            .collect();
        if causes.is_empty() {
            return Ok(());
        }
        let total = causes.len();
        Err(Impairment::degraded(cut(causes.into_iter().take(NAMED), total, "; ")))
    }

    /// Required listeners that the roster has with other settings than this node's configuration.
    /// The roster's settings hold, and this node changes nothing by itself.
    fn required_otherwise(&self, roster: &Roster) -> Vec<String> {
        let required = self.roster.required().iter();
        let differing = required.filter_map(|(group, wanted)| {
            let settings = roster.configured(group).ok()?.listener.differences(wanted);
            (!settings.is_empty()).then(|| {
                let settings = settings.join(", ");
                format!(
                    "{group}: [[required]] of this node has other values than the roster for {settings}; the roster's values hold; change the listener (hearken listeners change) or [[required]]"
                )
            })
        });
        differing.collect()
    }

    /// Buses that the roster defines differently from this node's configuration. The roster's
    /// definition holds.
    fn buses_otherwise(&self, roster: &Roster) -> Vec<String> {
        let configured = self.roster.configured_buses();
        let differing = configured.filter(|bus| roster.buses().get(&bus.name) != Some(*bus));
        let causes = differing.map(|bus| {
            format!(
                "bus {}: [[bus]] of this node has another definition than the cluster; the cluster's definition holds (hearken buses list); correct [[bus]]",
                bus.name
            )
        });
        causes.collect()
    }

    /// Settings that the cluster has otherwise than this node's configuration. The value of the
    /// cluster holds.
    fn settings_otherwise(&self) -> Option<String> {
        let differing = self.roster.differing_settings();
        let names: Vec<_> = differing.into_iter().map(ClusterSetting::name).collect();
        (!names.is_empty()).then(|| {
            let names = names.join(", ");
            format!(
                "the configuration of this node has other values than the cluster for {names}; the cluster's values hold (hearken cluster show); change the cluster (hearken cluster set) or the configuration of this node"
            )
        })
    }

    async fn check_tail(&self) -> Result<(), Impairment> {
        if let Some(halt) = self.roster.halt() {
            return Err(Impairment::unhealthy(error_chain(&*halt)));
        }
        let behind = self.store.head().await?.saturating_sub(self.roster.known().version());
        if behind == 0 {
            return Ok(());
        }
        let cause = format!("this node is {behind} versions behind the log of the roster");
        Err(Impairment::degraded(cause))
    }
}

/// The named entries of a list, and the number of entries that are not named.
fn cut(named: impl Iterator<Item = String>, total: usize, separator: &str) -> String {
    let named: Vec<String> = named.collect();
    let more = total.saturating_sub(named.len());
    let named = named.join(separator);
    if more == 0 { named } else { format!("{named}{separator}and {more} more") }
}

/// Time in RFC 3339, as the REST interface shows times.
fn shown(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}
