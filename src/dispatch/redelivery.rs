//! Redelivery of one dead letter.

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

/// Reason why a dead letter was not redelivered. The dead letter is kept.
#[derive(Debug, thiserror::Error)]
pub enum RedeliverError {
    /// The group has no listener, so no consumer would take its events.
    #[error(
        "no listener of group {group} is configured; add the listener, and its dead letters can be redelivered"
    )]
    NotConfigured {
        /// The group of the dead letter.
        group: GroupName,
    },
    /// The group listens to another bus than the bus of the event.
    #[error("group {group} does not listen to bus {bus}, which the event is from")]
    OtherBus {
        /// The group of the dead letter.
        group: GroupName,
        /// The bus of the event.
        bus: BusName,
    },
    /// The group has no queue, because each node runs each event once.
    #[error(
        "group {group} runs on every node and has no queue, so no event can be redelivered to it"
    )]
    EveryNode {
        /// The group of the dead letter.
        group: GroupName,
    },
    /// The parked message does not say which group it was for.
    #[error("the parked message does not say which group it was for")]
    NoDestination,
    /// The cluster no longer has the event's bus.
    #[error(transparent)]
    NoSuchBus(#[from] NoSuchBus),
    /// The stored form of an event that was never published cannot be read.
    #[error("the event cannot be read")]
    Unreadable(#[from] DecodeError),
    /// The bus did not take the event, or it is not known whether the bus took it.
    #[error("the event was not redelivered")]
    Dispatch(#[from] DispatchError),
    /// The database did not answer. The dead letter is kept, although the event may have been
    /// redelivered.
    #[error("the database could not be read or written")]
    Store(#[from] StoreError),
}

impl Dispatcher {
    /// Redelivers a dead letter with a full number of attempts. Its event goes to the work queue of
    /// the group that [`DeadLetter::destination`] names. An event that was never published goes to
    /// every group of its bus, and its keys are notified.
    ///
    /// The dead letter is removed once the event is safe, so a crash in between leaves both.
    ///
    /// # Errors
    /// [`RedeliverError`]: the dead letter is kept.
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

    /// The definition of a bus. Another node may have added a bus that this node does not know, so
    /// the roster is read then.
    pub(super) async fn bus_of(&self, bus: &BusName) -> Result<BusDefinition, RedeliverError> {
        if let Some(known) = self.roster.buses().get(bus) {
            return Ok(known.clone());
        }
        let roster = self.roster.current().await?;
        Ok(roster.buses().get(bus).cloned().ok_or_else(|| NoSuchBus(bus.clone()))?)
    }

    /// The current work queue of a group.
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
