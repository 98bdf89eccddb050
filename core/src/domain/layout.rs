//! Names and arguments of the objects that hearken owns on a broker.
//!
//! The name of a work queue carries the queue's generation, and is never used for another queue. An
//! object is ours when it has the name prefix **and** the marker argument, which RabbitMQ stores,
//! returns and never compares. The prefix or the marker alone proves nothing.

mod declared;
mod object_name;

pub use object_name::ObjectName;
pub(crate) use object_name::{CLUSTER_WORDS, OBJECT_WORDS};

use super::{
    bus::BusDefinition,
    event::{Generation, Version},
    listener::ListenerSpec,
    name::{BusName, GroupName},
    topology::{Argument, Arguments, Queue},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Name of the argument that marks an object as ours. Its value names the cluster.
pub const MARKER: &str = "x-hearken-cluster";
/// Name of the argument that holds the version of the layout.
pub const LAYOUT: &str = "x-hearken-layout";
/// Name of the argument of a work queue that names the log which made the queue.
pub const LOG: &str = "x-hearken-log";
/// Name of the argument of a work queue that holds the version of the log which made the queue.
pub const VERSION: &str = "x-hearken-version";
/// Version of this layout.
pub const LAYOUT_VERSION: i64 = 1;
/// Longest name on the broker, in bytes (AMQP 0-9-1, short strings).
pub const MAX_QUEUE_NAME: usize = 255;

/// Number of times that RabbitMQ delivers an event of a work queue again before it parks the event.
/// Only a consumer that dies before it acknowledges the event counts here: a failed event travels
/// through the wait queues instead. The limit is always set and finite, because RabbitMQ's default
/// was no limit before version 4 and is 20 since, and -1 means 0 on 3.x.
pub const DELIVERY_LIMIT: i64 = 20;

/// Kind of the queues that hold events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    /// Replicated on several broker nodes.
    #[default]
    Quorum,
    /// Stored on one broker node.
    Classic,
}

/// Kind of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavor {
    /// RabbitMQ.
    #[default]
    RabbitMq,
    /// The in-process broker. It delays a retry by itself, so it needs no return, wait and parked
    /// objects.
    Local,
}

/// Rules by which this cluster names and marks its objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// First part of every name.
    pub prefix: String,
    /// Identity of the cluster, as markers name it.
    pub cluster: Uuid,
    /// Identity of the log, as work queues name it.
    pub log: Uuid,
    /// Kind of the work queues.
    pub queue_type: QueueType,
    /// Kind of the queues of parked messages: the kind with which the cluster began. Their names
    /// have no generation, so they cannot be replaced by a queue of another kind.
    pub parked_type: QueueType,
    /// Kind of the broker.
    pub flavor: Flavor,
}

/// Refusal of a listener whose work queue would have a name longer than AMQP's 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the queue of group {group} on bus {bus} would have a name of {bytes} bytes; RabbitMQ allows {MAX_QUEUE_NAME}: choose a shorter group"
)]
pub struct NameTooLong {
    /// The listener's group.
    pub group: GroupName,
    /// The listener's bus.
    pub bus: BusName,
    /// Length of the name, with room for ten digits of the generation.
    pub bytes: usize,
}

impl Layout {
    /// Name of the exchange that events are published to.
    #[must_use]
    pub fn main(&self, bus: &BusName) -> String {
        format!("{}.{bus}", self.prefix)
    }

    /// Name of the exchange that notifications are published to.
    #[must_use]
    pub fn keys(&self, bus: &BusName) -> String {
        format!("{}.{bus}.keys", self.prefix)
    }

    /// Name of the exchange that the events of a bus come from: its main exchange, or the foreign
    /// exchange of an attached bus.
    #[must_use]
    pub fn events(&self, bus: &BusDefinition) -> String {
        bus.foreign_exchange().map_or_else(|| self.main(&bus.name), str::to_owned)
    }

    /// Name of the exchange that the notifications of a bus come from. James sends notifications
    /// through the same exchange as events.
    #[must_use]
    pub fn notifications(&self, bus: &BusDefinition) -> String {
        bus.foreign_exchange().map_or_else(|| self.keys(&bus.name), str::to_owned)
    }

    /// Name of the exchange through which a retried event returns to the queue of its group.
    #[must_use]
    pub fn returns(&self, bus: &BusName) -> String {
        format!("{}.{bus}.return", self.prefix)
    }

    /// Name of the exchange and the queue for messages that no listener can take.
    #[must_use]
    pub fn parked(&self, bus: &BusName) -> String {
        format!("{}.{bus}.parked", self.prefix)
    }

    /// Name of the exchange and the queue in which an event waits for `millis` milliseconds.
    #[must_use]
    pub fn wait(&self, bus: &BusName, millis: u64) -> String {
        format!("{}.{bus}.wait.{millis}", self.prefix)
    }

    /// Name of a group's work queue.
    #[must_use]
    pub fn work(&self, bus: &BusName, group: &GroupName, generation: Generation) -> String {
        format!("{}.{bus}.work.{group}.v{generation}", self.prefix)
    }

    /// Name of the exchange whose arguments name the cluster.
    #[must_use]
    pub fn marker(&self) -> String {
        format!("{}.meta", self.prefix)
    }

    /// Name of a queue that belongs to one connection of a node. Each attempt to connect has its
    /// own name: RabbitMQ refuses with 405 to declare an exclusive queue whose name a dead
    /// connection still holds.
    #[must_use]
    pub fn node_queue(&self, bus: &BusName, node: &str, attempt: Uuid) -> String {
        // Leaves room for the prefix, the bus and the attempt. A longer node id is cut; the
        // attempt keeps the name unique.
        let room = MAX_QUEUE_NAME.saturating_sub(self.prefix.len() + bus.as_str().len() + 44);
        let node: String = node.bytes().take(room).map(char::from).filter(char::is_ascii).collect();
        format!("{}.{bus}.node.{node}.{attempt}", self.prefix)
    }

    /// Whether a name begins with our prefix. This does not show that the object is ours.
    #[must_use]
    pub fn has_prefix(&self, name: &str) -> bool {
        name.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whether an object is ours: it has the prefix and the marker of this cluster.
    #[must_use]
    pub fn owns(&self, name: &str, arguments: &Arguments) -> bool {
        self.has_prefix(name)
            && arguments.get(MARKER) == Some(&Argument::Text(self.cluster.to_string()))
    }

    /// Whether a name is that of a wait level of the bus.
    #[must_use]
    pub fn is_wait(&self, bus: &BusName, name: &str) -> bool {
        matches!(self.read(name), Some(ObjectName::Wait { bus: found, .. }) if found == *bus)
    }

    /// Whether a queue belongs to a connection of a node, and is deleted with that connection.
    #[must_use]
    pub fn is_node_queue(&self, queue: &Queue) -> bool {
        queue.exclusive
            && self.owns(&queue.name, &queue.arguments)
            && matches!(self.read(&queue.name), Some(ObjectName::Node { .. }))
    }

    /// Version of this log that made a queue. `None` when another log made the queue.
    #[must_use]
    pub fn made_at(&self, queue: &Queue) -> Option<Version> {
        let ours = Argument::Text(self.log.to_string());
        match (queue.arguments.get(LOG), queue.arguments.get(VERSION)) {
            (Some(log), Some(Argument::Int(version))) if *log == ours => {
                Version::try_from(*version).ok()
            }
            _ => None,
        }
    }

    /// Checks that the name of a listener's work queue is not too long.
    ///
    /// # Errors
    /// [`NameTooLong`] with the length that the name would have.
    pub fn fits(&self, listener: &ListenerSpec) -> Result<(), NameTooLong> {
        let bytes = self.work(&listener.bus, &listener.group, Generation::MAX).len();
        if bytes <= MAX_QUEUE_NAME {
            return Ok(());
        }
        Err(NameTooLong { group: listener.group.clone(), bus: listener.bus.clone(), bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::listener::tests::listener;

    fn layout() -> Layout {
        Layout { prefix: "hearken".into(), ..Layout::default() }
    }

    #[test]
    fn an_object_is_ours_when_it_has_the_prefix_and_the_marker() {
        let marked = layout().marked();
        assert!(layout().owns("hearken.a", &marked));
        assert!(!layout().owns("hearken.a", &Arguments::new()));
        assert!(!layout().owns("hearkenx.a", &marked));
        let other = Layout { cluster: Uuid::from_u128(7), ..layout() };
        assert!(!other.owns("hearken.a", &marked));
    }

    #[test]
    fn a_queue_name_that_is_too_long_for_amqp_is_refused_with_its_length() {
        let mut long = listener(&"g".repeat(200));
        assert_eq!(layout().fits(&long), Ok(()));
        long.bus = BusName::parse("b".repeat(60)).unwrap();
        assert_eq!(layout().fits(&long).unwrap_err().bytes, 7 + 1 + 60 + 6 + 200 + 2 + 10);
    }

    #[test]
    fn a_node_queue_name_fits_for_any_node_name() {
        let bus = BusName::parse("b".repeat(200)).unwrap();
        assert!(layout().node_queue(&bus, &"é".repeat(300), Uuid::nil()).len() <= MAX_QUEUE_NAME);
    }
}
