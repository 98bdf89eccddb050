//! The broker, as the reconciler needs it: observe the topology, and apply one action.
//!
//! There are two brokers: RabbitMQ, and the embedded broker, which keeps its queues in the store.

pub mod local;
pub mod rabbitmq;

use crate::domain::{
    depth::Depth,
    layout::{LAYOUT, MARKER},
    plan::Action,
    topology::{Argument, Exchange, Topology},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, error::Error, time::Duration};
use uuid::Uuid;

/// Reason why a call to a broker failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The broker refused the call. Repeating the call does not help.
    #[error("the broker refused {what}: {reply}")]
    Refused {
        /// The attempted operation.
        what: String,
        /// Answer of the broker.
        reply: String,
    },
    /// The object does not exist.
    #[error("the broker has no {0}")]
    Missing(String),
    /// The broker could not be reached, or the connection was lost. It is not known whether the
    /// operation took effect; only another observation shows it.
    #[error("the broker is out of reach ({what})")]
    Unreachable {
        /// The attempted operation, and the address of the broker.
        what: String,
        /// Cause of the failure.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The broker has the queue and has not counted its events yet. RabbitMQ counts the events of a
    /// new queue for the first time within some seconds.
    #[error("the broker has not counted the events of queue {0} yet")]
    Uncounted(String),
    /// One broker is read, and another broker would be changed.
    #[error(
        "the management API at {management} does not show a queue that this node declared at {amqp}: the two addresses lead to different brokers, and hearken changes nothing; check --management-url and --amqp-url"
    )]
    Divided {
        /// Address of the broker that would be changed, without credentials.
        amqp: String,
        /// Address of the broker that is read, without credentials.
        management: String,
    },
    /// The broker's answer cannot be read, such as HTML from a proxy.
    #[error("the broker's answer cannot be read: {0}")]
    Protocol(String),
}

impl BrokerError {
    /// Whether the same call may succeed later by itself.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Uncounted(_))
    }
}

/// Content of the marker exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// The broker has no marker exchange.
    Absent,
    /// The broker has the marker exchange.
    Present {
        /// Cluster that the exchange names; `None` when its name cannot be read.
        cluster: Option<Uuid>,
        /// Version of the layout that the exchange names; `None` when the version cannot be read.
        layout: Option<i64>,
    },
}

impl Marker {
    /// Reads the arguments of the marker exchange.
    #[must_use]
    pub fn read(exchange: Option<&Exchange>) -> Self {
        let Some(exchange) = exchange else { return Self::Absent };
        let cluster = match exchange.arguments.get(MARKER) {
            Some(Argument::Text(cluster)) => cluster.parse().ok(),
            _ => None,
        };
        let layout = match exchange.arguments.get(LAYOUT) {
            Some(Argument::Int(layout)) => Some(*layout),
            _ => None,
        };
        Self::Present { cluster, layout }
    }
}

/// A broker. Other programs may use it too.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Checks that the broker that is read is the broker that is changed.
    ///
    /// # Errors
    /// [`BrokerError::Divided`], or when the broker cannot be reached.
    async fn check_undivided(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    /// Reads the marker exchange.
    ///
    /// # Errors
    /// When the broker cannot be read.
    async fn marker(&self) -> Result<Marker, BrokerError>;

    /// Reads every exchange and queue with our prefix, and every binding that starts or ends at one
    /// of them. Bindings of the default exchange are left out.
    ///
    /// # Errors
    /// When the topology cannot be read completely. A part of it is never returned.
    async fn observe(&self) -> Result<Topology, BrokerError>;

    /// Counts of a queue; `None` when the queue does not exist. Counts may lag by seconds.
    ///
    /// # Errors
    /// When the broker cannot be read, or with [`BrokerError::Uncounted`].
    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError>;

    /// Counts of the queues with our prefix, by name, read at once. A queue that the broker has not
    /// counted yet is left out. Counts may lag by seconds.
    ///
    /// # Errors
    /// When the broker cannot be read.
    async fn depths(&self) -> Result<BTreeMap<String, Depth>, BrokerError>;

    /// Number of events that wait in a queue at this moment, by the queue itself; `None` when the
    /// queue does not exist. Unacknowledged events are not counted.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    async fn ready(&self, queue: &str) -> Result<Option<u64>, BrokerError>;

    /// Shortest time that the oldest event in a queue can have waited, from the history that the
    /// broker keeps. `None` when no event waits, or when the broker has no history. Takes no event
    /// out of the queue.
    ///
    /// # Errors
    /// When the broker cannot be read.
    async fn oldest(&self, queue: &str) -> Result<Option<Duration>, BrokerError>;

    /// Applies one action. Succeeds when nothing is left to do. Returns the number of destroyed
    /// events, as the broker counts them. Several calls may run at the same time.
    ///
    /// # Errors
    /// [`BrokerError::Unreachable`] leaves the outcome unknown.
    async fn apply(&self, action: &Action) -> Result<u64, BrokerError>;

    /// Product and version of the broker.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn version(&self) -> Result<String, BrokerError>;
}
