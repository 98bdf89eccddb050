//! The broker, as far as reconciling needs it: look, and do one thing.
//!
//! Two brokers exist: RabbitMQ, and the embedded one that keeps its queues in the store.

pub mod local;
pub mod rabbitmq;

use crate::domain::{depth::Depth, plan::Action, topology::Topology};
use async_trait::async_trait;
use std::{error::Error, time::Duration};
use uuid::Uuid;

/// What a broker said or did when it could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The broker answered no. Repeating it changes nothing.
    #[error("the broker refused {what}: {reply}")]
    Refused {
        /// What was asked.
        what: String,
        /// The broker's own words.
        reply: String,
    },
    /// The object does not exist.
    #[error("the broker has no {0}")]
    Missing(String),
    /// The broker could not be reached, or the connection went away. Whether the operation took
    /// effect is unknown: observe again, never assume.
    #[error("the broker is out of reach ({what})")]
    Unreachable {
        /// What was asked, and of which address.
        what: String,
        /// Why.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The broker answered in a way that cannot be understood, such as HTML from a proxy.
    #[error("the broker's answer makes no sense: {0}")]
    Protocol(String),
}

impl BrokerError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// What the marker exchange says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// There is none.
    Absent,
    /// It names a cluster, or nothing that can be read.
    Cluster(Option<Uuid>),
}

/// Other people's system, seen from the reconciler.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// What the marker exchange says, read now.
    ///
    /// # Errors
    /// When the broker cannot be read.
    async fn marker(&self) -> Result<Marker, BrokerError>;

    /// Every exchange and queue under our prefix, and every binding that starts or ends at one,
    /// read now. Bindings of the default exchange are left out.
    ///
    /// # Errors
    /// When the broker cannot be read whole; never a part of it.
    async fn observe(&self) -> Result<Topology, BrokerError>;

    /// What a queue holds, or nothing when it does not exist. Counters may lag by seconds.
    ///
    /// # Errors
    /// When the broker cannot be read.
    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError>;

    /// For how long the oldest event that waits in a queue has waited at least, as far as the
    /// broker remembers: nothing when none waits, or when it remembers nothing. Takes no event out
    /// of its queue to find out.
    ///
    /// # Errors
    /// When the broker cannot be read.
    async fn oldest(&self, queue: &str) -> Result<Option<Duration>, BrokerError>;

    /// Makes one action true; succeeds when it already is. Returns how many events were destroyed,
    /// by the broker's own count. Several may run at the same time.
    ///
    /// # Errors
    /// [`BrokerError::Unreachable`] leaves the outcome unknown.
    async fn apply(&self, action: &Action) -> Result<u64, BrokerError>;

    /// The broker's product and version, as it introduces itself.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn version(&self) -> Result<String, BrokerError>;
}
