//! Events for the bus, and the reasons why the bus does not take an event.

use super::{codec::EncodeError, event::Event};
use crate::{
    amqp::AmqpError,
    domain::name::{BusName, GroupName, RegistrationKey},
};
use std::{collections::BTreeSet, error::Error};
use uuid::Uuid;

/// An event to publish.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The event.
    pub event: Event,
    /// The keys whose followers are notified of the event. Each event of a batch has its own keys.
    pub keys: BTreeSet<RegistrationKey>,
    /// Whether it is an error that the event reaches no work queue, because the roster has
    /// listeners on the bus.
    pub must_route: bool,
    /// The node that dispatched the event before and could not publish it. The synchronous
    /// listeners of that node have run already, so they do not run again.
    pub kept_by: Option<String>,
}

/// Redelivery of a dead letter to its group.
#[derive(Debug, Clone)]
pub struct Redelivery {
    /// The group.
    pub group: GroupName,
    /// The group's current work queue.
    pub queue: String,
    /// The content type of the body.
    pub content_type: Option<String>,
    /// The event, as it was stored.
    pub body: Vec<u8>,
    /// Id of the dead letter. If the event fails again, its next dead letter names this id.
    pub previous: Uuid,
}

/// Reason why an event was not accepted. The caller keeps the event and may send it again.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Neither the broker nor the store took the event, or it is not known whether the broker took
    /// it.
    #[error("the event was not accepted: {what}")]
    Unavailable {
        /// The attempted operation.
        what: String,
        /// Cause of the failure.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The bus has listeners, and the broker does not have their queues yet.
    #[error(
        "bus {0} has listeners and the broker routes to none of them; the topology is not converged"
    )]
    Unroutable(BusName),
    /// The bus can never carry the event. Sending it again does not help.
    #[error("the event cannot be written in the form of the bus")]
    Unwritable(#[from] EncodeError),
}

impl DispatchError {
    /// Whether the broker lacks an object that a pass of the reconciler may declare.
    pub(crate) fn wants_topology(&self) -> bool {
        match self {
            Self::Unroutable(_) => true,
            Self::Unavailable { source: Some(source), .. } => {
                matches!(source.downcast_ref(), Some(AmqpError::Missing(_)))
            }
            Self::Unavailable { .. } | Self::Unwritable(_) => false,
        }
    }
}
