//! Stored form of roster events: a stable name, the version of the payload's schema, and a JSON
//! payload.
//!
//! Every event that was ever written can be read: a file in `golden/` pins each name and version.
//! When the schema of a payload changes, its version grows here, and [`decode`] reads both
//! versions.
//!
//! A new name or version is a new form of events: [`FORMS`] grows, and the form has the new number.
//! It is written once every live node of the cluster knows it.

use crate::domain::{
    bus::BusDefinition,
    cluster::ClusterSettings,
    command::Pending,
    event::{Generation, RosterEvent},
    listener::ListenerSpec,
    name::{BusName, GroupName},
    roster::{OrphanQueue, QueueId},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Number of the newest form of events that this program reads. Each node reports it with its
/// heartbeat.
pub(super) const FORMS: i64 = 2;

/// Stored form of an event.
pub(super) struct Stored {
    pub(super) event_type: &'static str,
    pub(super) schema_version: i64,
    pub(super) payload: Value,
}

/// Reason why a stored event cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PayloadError {
    /// A newer version of hearken wrote the event.
    Unknown,
    /// The payload does not have the schema of its name and version.
    Malformed(String),
}

#[derive(Serialize, Deserialize)]
struct Added {
    listener: ListenerSpec,
    generation: Generation,
}

#[derive(Serialize, Deserialize)]
struct Changed {
    listener: ListenerSpec,
}

/// Payload of an event that says nothing but its group: a pause or a resumption.
#[derive(Serialize, Deserialize)]
struct GroupOnly {
    group: GroupName,
}

#[derive(Serialize, Deserialize)]
struct RemovedV1 {
    group: GroupName,
    pending: Pending,
}

/// Payload of an event about a bus.
#[derive(Serialize, Deserialize)]
struct WholeBus {
    bus: BusDefinition,
}

#[derive(Serialize, Deserialize)]
struct ClusterChangedV1 {
    settings: ClusterSettings,
}

/// Payload of a decision about an orphan.
#[derive(Serialize, Deserialize)]
struct Orphan {
    bus: BusName,
    group: GroupName,
    generation: Generation,
}

impl From<OrphanQueue> for Orphan {
    fn from(queue: OrphanQueue) -> Self {
        let OrphanQueue { bus, id: QueueId { group, generation } } = queue;
        Self { bus, group, generation }
    }
}

impl From<Orphan> for OrphanQueue {
    fn from(Orphan { bus, group, generation }: Orphan) -> Self {
        Self { bus, id: QueueId { group, generation } }
    }
}

/// Writes an event in its newest schema.
pub(super) fn encode(event: &RosterEvent) -> Stored {
    let payload = match event {
        RosterEvent::ListenerAdded { listener, generation } => {
            json(&Added { listener: listener.clone(), generation: *generation })
        }
        RosterEvent::ListenerChanged { listener } => json(&Changed { listener: listener.clone() }),
        RosterEvent::ListenerPaused { group } | RosterEvent::ListenerResumed { group } => {
            json(&GroupOnly { group: group.clone() })
        }
        RosterEvent::ListenerRemoved { group, pending } => {
            json(&RemovedV1 { group: group.clone(), pending: *pending })
        }
        RosterEvent::BusAdded { bus }
        | RosterEvent::BusChanged { bus }
        | RosterEvent::BusRemoved { bus } => json(&WholeBus { bus: bus.clone() }),
        RosterEvent::ClusterChanged { settings } => {
            json(&ClusterChangedV1 { settings: settings.clone() })
        }
        RosterEvent::QueueTakenOver { queue } | RosterEvent::QueueReleased { queue } => {
            json(&Orphan::from(queue.clone()))
        }
        RosterEvent::LogAdopted { adoption } => json(adoption),
    };
    let (event_type, schema_version) = (event.type_name(), schema_version(event));
    Stored { event_type, schema_version, payload }
}

/// Number of the form in which an event is written. A program whose [`FORMS`] is lower cannot read
/// the event.
pub(super) fn form(event: &RosterEvent) -> i64 {
    match event {
        RosterEvent::ListenerAdded { .. } | RosterEvent::ListenerRemoved { .. } => 1,
        RosterEvent::ListenerChanged { .. }
        | RosterEvent::ListenerPaused { .. }
        | RosterEvent::ListenerResumed { .. }
        | RosterEvent::BusAdded { .. }
        | RosterEvent::BusChanged { .. }
        | RosterEvent::BusRemoved { .. }
        | RosterEvent::ClusterChanged { .. }
        | RosterEvent::QueueTakenOver { .. }
        | RosterEvent::QueueReleased { .. }
        | RosterEvent::LogAdopted { .. } => 2,
    }
}

fn schema_version(event: &RosterEvent) -> i64 {
    match event {
        RosterEvent::ListenerAdded { .. } => 2,
        RosterEvent::ListenerChanged { .. }
        | RosterEvent::ListenerPaused { .. }
        | RosterEvent::ListenerResumed { .. }
        | RosterEvent::ListenerRemoved { .. }
        | RosterEvent::BusAdded { .. }
        | RosterEvent::BusChanged { .. }
        | RosterEvent::BusRemoved { .. }
        | RosterEvent::ClusterChanged { .. }
        | RosterEvent::QueueTakenOver { .. }
        | RosterEvent::QueueReleased { .. }
        | RosterEvent::LogAdopted { .. } => 1,
    }
}

fn json(payload: &impl Serialize) -> Value {
    serde_json::to_value(payload).expect("an event's payload is plain JSON")
}

/// Reads an event of any schema that was ever written.
pub(super) fn decode(
    event_type: &str,
    schema_version: i64,
    payload: Value,
) -> Result<RosterEvent, PayloadError> {
    match (event_type, schema_version) {
        // Version 2 has the jitter of a retry. An event of version 1 is read with the default
        // jitter.
        ("ListenerAdded", 1 | 2) => read(payload).map(|Added { listener, generation }| {
            RosterEvent::ListenerAdded { listener, generation }
        }),
        ("ListenerChanged", 1) => {
            read(payload).map(|Changed { listener }| RosterEvent::ListenerChanged { listener })
        }
        ("ListenerPaused", 1) => {
            read(payload).map(|GroupOnly { group }| RosterEvent::ListenerPaused { group })
        }
        ("ListenerResumed", 1) => {
            read(payload).map(|GroupOnly { group }| RosterEvent::ListenerResumed { group })
        }
        ("ListenerRemoved", 1) => read(payload)
            .map(|RemovedV1 { group, pending }| RosterEvent::ListenerRemoved { group, pending }),
        ("BusAdded", 1) => read(payload).map(|WholeBus { bus }| RosterEvent::BusAdded { bus }),
        ("BusChanged", 1) => read(payload).map(|WholeBus { bus }| RosterEvent::BusChanged { bus }),
        ("BusRemoved", 1) => read(payload).map(|WholeBus { bus }| RosterEvent::BusRemoved { bus }),
        ("ClusterChanged", 1) => read(payload)
            .map(|ClusterChangedV1 { settings }| RosterEvent::ClusterChanged { settings }),
        ("QueueTakenOver", 1) => {
            read(payload).map(|queue: Orphan| RosterEvent::QueueTakenOver { queue: queue.into() })
        }
        ("QueueReleased", 1) => {
            read(payload).map(|queue: Orphan| RosterEvent::QueueReleased { queue: queue.into() })
        }
        ("LogAdopted", 1) => read(payload).map(|adoption| RosterEvent::LogAdopted { adoption }),
        _ => Err(PayloadError::Unknown),
    }
}

fn read<T: for<'de> Deserialize<'de>>(payload: Value) -> Result<T, PayloadError> {
    serde_json::from_value(payload).map_err(|error| PayloadError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests;
