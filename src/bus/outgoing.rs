//! Events on their way to the bus, and why the bus does not take one.

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
    /// The keys that are notified of the event. Each event of a batch has keys of its own.
    pub keys: BTreeSet<RegistrationKey>,
    /// Whether reaching no work queue is a failure, because the roster has listeners on the bus.
    pub must_route: bool,
    /// The node that dispatched the event before and could not publish it. That node's synchronous
    /// listeners have run: they run neither inline nor when the event comes back to the node.
    pub kept_by: Option<String>,
}

/// A dead letter on its way back to its group.
#[derive(Debug, Clone)]
pub struct Redelivery {
    /// The group.
    pub group: GroupName,
    /// The group's current work queue.
    pub queue: String,
    /// The content type of the body.
    pub content_type: Option<String>,
    /// The event as it travelled.
    pub body: Vec<u8>,
    /// Id of the dead letter. The next dead letter names it, if the event fails again.
    pub previous: Uuid,
}

/// Why an event was not accepted. The caller keeps the event and may send it again.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Neither the broker nor the store took the event, or it is not known whether the broker did.
    #[error("the event was not accepted: {what}")]
    Unavailable {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The bus has listeners, and the broker has no queue for any of them yet.
    #[error(
        "bus {0} has listeners and the broker routes to none of them; the topology is not converged"
    )]
    Unroutable(BusName),
    /// The bus can never carry the event: sending it again changes nothing.
    #[error("the event cannot be written in the form of the bus")]
    Unwritable(#[from] EncodeError),
}

impl DispatchError {
    /// Whether the broker lacks something that a pass of the reconciler may bring.
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
