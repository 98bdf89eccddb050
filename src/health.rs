//! How the node and the cluster are, in words and in James's three grades.
//!
//! Reading health changes nothing: no restart, no repair, no declared queue.

mod events;

use crate::{
    broker::Broker,
    bus::EventBus,
    clock,
    domain::report::{ListenerState, NodeState, TopologyState},
    error_chain::error_chain,
    node,
    roster::RosterService,
    store::Store,
};
use futures_util::future::join_all;
use std::{sync::Arc, time::Duration};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// James's grades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It works.
    Healthy,
    /// It works in part, or will not for long.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// The state of one component.
#[derive(Debug, Clone)]
pub struct Check {
    /// The component.
    pub name: &'static str,
    /// Its grade.
    pub status: Status,
    /// Why it is not healthy.
    pub cause: Option<String>,
}

/// A check that takes longer than this is a failed one.
const LIMIT: Duration = Duration::from_secs(5);

const BROKER: &str = "RabbitMQ backend";
const DATABASE: &str = "Database";
const TOPOLOGY: &str = "Listener topology";
const LISTENERS: &str = "Listeners on this node";
const CONSUMERS: &str = "Event bus consumers";
const NOTIFICATIONS: &str = "Notification queue";
const DEAD_LETTERS: &str = "Event dead letters";
const TAIL: &str = "Roster tail";
const EMBEDDED: &str = "Embedded broker";

/// Looks at every component.
#[derive(Clone)]
pub struct Health {
    /// The database.
    pub store: Store,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The bus.
    pub bus: Arc<dyn EventBus>,
    /// The roster.
    pub roster: Arc<RosterService>,
    /// This node.
    pub node: node::ThisNode,
    /// Whether the broker is RabbitMQ.
    pub cluster: bool,
    /// How old the last look at the broker may be.
    pub stale: Duration,
}

impl Health {
    /// The components, in the order in which they are shown.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let broker = if self.cluster { BROKER } else { EMBEDDED };
        vec![broker, DATABASE, TOPOLOGY, LISTENERS, CONSUMERS, NOTIFICATIONS, DEAD_LETTERS, TAIL]
    }

    /// Checks the named components, all at once.
    pub async fn check(&self, names: &[&'static str]) -> Vec<Check> {
        join_all(names.iter().map(|name| self.one(name))).await
    }

    async fn one(&self, name: &'static str) -> Check {
        let graded = tokio::time::timeout(LIMIT, async {
            match name {
                DATABASE => self.database().await,
                TOPOLOGY => self.topology().await,
                LISTENERS => self.listeners(),
                CONSUMERS => self.consumers().await,
                NOTIFICATIONS => self.notifications(),
                DEAD_LETTERS => self.dead_letters().await,
                TAIL => self.tail().await,
                _ => self.backend().await,
            }
        });
        let late = || Err((Status::Unhealthy, format!("no answer within {LIMIT:?}")));
        match graded.await.unwrap_or_else(|_| late()) {
            Ok(()) => Check { name, status: Status::Healthy, cause: None },
            Err((status, cause)) => Check { name, status, cause: Some(cause) },
        }
    }

    async fn backend(&self) -> Result<(), (Status, String)> {
        self.broker.version().await.map_err(|error| (Status::Unhealthy, error_chain(&error)))?;
        self.bus.health().await.map_err(|cause| (Status::Unhealthy, cause))
    }

    async fn database(&self) -> Result<(), (Status, String)> {
        self.store.ping().await.map_err(|error| (Status::Unhealthy, error_chain(&error)))
    }

    async fn topology(&self) -> Result<(), (Status, String)> {
        let status = self.store.topology_status().await;
        let status = status.map_err(|error| (Status::Unhealthy, error_chain(&error)))?;
        // A row that no node renews does not describe the present state.
        let age = status.observed_at.map(|at| clock::now() - at);
        if let Some(age) = age.filter(|age| *age > self.stale && status.failure.is_none()) {
            let cause = format!("no pass has ended for {} s", age.whole_seconds());
            return Err((Status::Degraded, cause));
        }
        let failure = status
            .failure
            .map(|failure| format!("{}, since {}", failure.cause, shown(failure.since)));
        let wrong = status
            .drift
            .iter()
            .filter(|drift| drift.remedy != crate::domain::drift::Remedy::Delete);
        let oldest = wrong.clone().map(|drift| drift.since).min();
        match status.state {
            TopologyState::Converged => Ok(()),
            TopologyState::Pending => {
                let version = self.roster.known().version();
                let behind = version.saturating_sub(status.reconciled_version);
                // A queue that drains is pending for as long as that takes, and well.
                if behind == 0 && failure.is_none() {
                    return Ok(());
                }
                let cause = format!("the broker is {behind} versions behind the roster");
                Err((Status::Degraded, failure.unwrap_or(cause)))
            }
            TopologyState::Drifted => {
                let names: Vec<_> = wrong.take(5).map(|drift| drift.name.as_str()).collect();
                let since = oldest.unwrap_or_else(clock::now);
                let cause = format!(
                    "RabbitMQ differs from the roster since {}: {}",
                    shown(since),
                    names.join(", ")
                );
                Err((Status::Degraded, cause))
            }
            TopologyState::Blocked => Err((Status::Unhealthy, failure.unwrap_or_default())),
            TopologyState::Unknown => {
                let cause = failure.unwrap_or_else(|| "no pass has been made yet".to_owned());
                Err((Status::Unhealthy, cause))
            }
        }
    }

    fn listeners(&self) -> Result<(), (Status, String)> {
        let roster = self.roster.known();
        let mut required = self.roster.required().iter();
        if let Some(group) = required.find(|group| roster.configured(group).is_err()) {
            let cause = format!(
                "{group}, which this node's configuration requires, is not in the roster; the log of the node's start says why it was not added, or it was removed later"
            );
            return Err((Status::Degraded, cause));
        }
        if self.node.state() != NodeState::Degraded {
            return Ok(());
        }
        let cannot = |state| matches!(state, ListenerState::UnknownClass | ListenerState::Failed);
        let listeners = self.node.listeners();
        let causes = listeners.iter().filter(|listener| cannot(listener.state)).map(|listener| {
            format!(
                "{} ({}): {}",
                listener.group,
                listener.class,
                listener.cause.as_deref().unwrap_or_default()
            )
        });
        Err((Status::Degraded, causes.collect::<Vec<_>>().join("; ")))
    }

    async fn tail(&self) -> Result<(), (Status, String)> {
        if let Some(halt) = self.roster.halt() {
            return Err((Status::Unhealthy, error_chain(&*halt)));
        }
        let head =
            self.store.head().await.map_err(|error| (Status::Unhealthy, error_chain(&error)))?;
        let behind = head.saturating_sub(self.roster.known().version());
        if behind == 0 {
            return Ok(());
        }
        Err((Status::Degraded, format!("this node is {behind} versions behind the log")))
    }
}

/// A time as everything else shows it (RFC 3339).
fn shown(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}
