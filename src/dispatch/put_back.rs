//! Putting a dead letter back where it belongs.

use super::{Dispatcher, NoSuchBus};
use crate::{
    bus::{
        DispatchError, Outgoing, Redelivery,
        codec::{DecodeError, decode},
    },
    domain::{
        bus::BusDefinition,
        dead_letter::{DISPATCH_FAILURE, DeadLetter},
        listener::Delivery,
        name::{BusName, GroupName},
    },
    store::StoreError,
};

/// Why a dead letter was not put back. It is kept.
#[derive(Debug, thiserror::Error)]
pub enum RedeliverError {
    /// The group has no listener, so no consumer would take its events.
    #[error("no listener of group {group} is configured; add it, and its dead letters can go back")]
    NotConfigured {
        /// The group.
        group: GroupName,
    },
    /// The group listens to another bus than the one that the event is from.
    #[error("group {group} listens to another bus than {bus}, which the event is from")]
    OtherBus {
        /// The group.
        group: GroupName,
        /// The event's bus.
        bus: BusName,
    },
    /// The group has no queue: each node gets each event once, and none again.
    #[error("group {group} runs on every node and has no queue that an event could go back to")]
    EveryNode {
        /// The group.
        group: GroupName,
    },
    /// It was parked, and nothing says for whom it was.
    #[error("nothing says which group the event was for")]
    NoDestination,
    /// Its bus is not there any more.
    #[error(transparent)]
    NoSuchBus(#[from] NoSuchBus),
    /// The event was to be published again, but its stored form cannot be read.
    #[error("the event cannot be read")]
    Unreadable(#[from] DecodeError),
    /// The bus did not take it, or it is not known whether it did.
    #[error("the event was not put back")]
    Dispatch(#[from] DispatchError),
    /// The database did not answer. The event may have been put back, and is kept all the same.
    #[error("the database could not be read or written")]
    Store(#[from] StoreError),
}

impl Dispatcher {
    /// Puts an event back where [`DeadLetter::destination`] says, with all its attempts before it:
    /// into the work queue of its group, or, when it was never published, to everybody, with its
    /// keys. The entry is removed once the event is safe there, so a crash in between leaves both.
    ///
    /// # Errors
    /// [`RedeliverError`]: the entry is kept.
    pub async fn redeliver(
        &self,
        letter: &DeadLetter,
        body: Vec<u8>,
    ) -> Result<(), RedeliverError> {
        let bus = self.bus_of(&letter.bus).await?;
        match letter.destination() {
            Some(group) => {
                let queue = self.queue_of(group, &letter.bus).await?;
                let redelivery = Redelivery {
                    group: group.clone(),
                    queue,
                    content_type: letter.content_type.clone(),
                    body,
                    previous: letter.id,
                };
                self.bus.redeliver(&bus, &redelivery).await?;
            }
            None if letter.group.as_str() == DISPATCH_FAILURE => {
                let event = decode(letter.content_type.as_deref(), &body)?;
                let must_route = self.has_listeners(&bus.name);
                let keys = letter.keys.clone();
                let kept_by = Some(letter.node.clone());
                let outgoing = Outgoing { event, keys, must_route, kept_by };
                self.bus.publish(&bus, &outgoing).await?;
            }
            None => return Err(RedeliverError::NoDestination),
        }
        self.store.remove_dead_letter(letter.id).await?;
        Ok(())
    }

    /// The definition of a bus. A bus that this node does not know was added by another node, so
    /// the definitions are read again from the store.
    pub(super) async fn bus_of(&self, bus: &BusName) -> Result<BusDefinition, RedeliverError> {
        if let Some(known) = self.roster.buses().get(bus) {
            return Ok(known.clone());
        }
        let buses = self.roster.read_buses().await?;
        Ok(buses.get(bus).cloned().ok_or_else(|| NoSuchBus(bus.clone()))?)
    }

    /// The work queue that a group has now.
    async fn queue_of(&self, group: &GroupName, bus: &BusName) -> Result<String, RedeliverError> {
        let roster = self.roster.current().await?;
        let configured = roster
            .configured(group)
            .map_err(|_| RedeliverError::NotConfigured { group: group.clone() })?;
        if configured.listener.bus != *bus {
            return Err(RedeliverError::OtherBus { group: group.clone(), bus: bus.clone() });
        }
        if configured.listener.delivery == Delivery::EveryNode {
            return Err(RedeliverError::EveryNode { group: group.clone() });
        }
        Ok(self.roster.layout().work(bus, group, configured.generation))
    }
}
