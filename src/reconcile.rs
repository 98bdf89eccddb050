//! Making the broker match the roster.
//!
//! Level-triggered: the reconciler takes no input. It is woken by the roster's tail, by a request,
//! or by a timer, and each turn (a pass) reads the whole roster and the whole broker. What
//! woke it carries no data, so nothing is lost when a wake-up is, and there is no rare path that
//! only a restart takes.
//!
//! Any node may make a pass; one at a time does, under a lock that the database holds for the
//! length of the pass. What the pass saw is stored, so that every node answers the same.

mod accelerate;
mod apply;
mod deletion;
mod driver;
mod intent;
mod pass;
mod reconciler;
mod request;
mod save;
mod sighting;

pub use driver::run;
pub use reconciler::{Look, Reconciler};

pub use crate::broker::BrokerError;

use crate::{
    broker::Broker,
    bus::EventBus,
    domain::{
        breaker::Blockage, deletion::QueueRefusal, plan::Violation, repair::RepairMode, span::Span,
    },
    metrics::Metrics,
    roster::RosterService,
    store::{Store, StoreError},
};
use std::sync::Arc;

/// What a pass works with.
pub struct Parts {
    /// The roster.
    pub roster: Arc<RosterService>,
    /// Status, passes, retired queues, the lock.
    pub store: Store,
    /// What is observed and changed.
    pub broker: Arc<dyn Broker>,
    /// Told when the topology changed.
    pub bus: Arc<dyn EventBus>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether drift is repaired without asking.
    pub mode: RepairMode,
    /// The pause between two looks at a broker that has not drifted.
    pub interval: Span,
    /// Rung when something here found the broker other than expected, such as a consumer whose
    /// queue vanished. Carries no data: the pass it wakes looks at everything.
    pub nudge: Arc<tokio::sync::Notify>,
    /// Whether a pass has been tried in this process.
    pub tried: tokio::sync::watch::Sender<bool>,
}

/// Why a pass ended early, or a request to the reconciler was refused.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Another node is making a pass.
    #[error("another node is reconciling")]
    Busy,
    /// Repair has stopped itself.
    #[error(transparent)]
    Blocked(#[from] Blockage),
    /// The broker did not do as asked.
    #[error("the broker could not be read or changed")]
    Broker(#[from] BrokerError),
    /// The database did not.
    #[error("the database could not be read or written")]
    Store(#[from] StoreError),
    /// The request about a queue is refused.
    #[error(transparent)]
    Refused(#[from] QueueRefusal),
    /// The plan would have done what no plan may. A defect of hearken's; nothing was applied.
    #[error("hearken made a plan that it must not apply: {0}")]
    Defect(#[from] Violation),
    /// The process is ending.
    #[error("this node is stopping")]
    Stopping,
}
