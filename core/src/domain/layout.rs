//! The names and arguments of what hearken owns on a broker.
//!
//! A physical queue name carries its generation and is never used for something else. Ownership
//! is the name prefix **and** the marker argument, which RabbitMQ stores, returns and never
//! compares; either alone proves nothing.

mod object_name;

pub use object_name::ObjectName;
pub(crate) use object_name::{CLUSTER_WORDS, OBJECT_WORDS};

use super::{
    bus::BusDefinition,
    event::Generation,
    listener::ListenerSpec,
    name::{BusName, GroupName},
    topology::{Argument, Arguments, Exchange, ExchangeKind, Queue},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The argument that marks an object as ours and names the cluster.
pub const MARKER: &str = "x-hearken-cluster";
/// The argument that names the layout's version.
pub const LAYOUT: &str = "x-hearken-layout";
/// The version of this layout.
pub const LAYOUT_VERSION: i64 = 1;
/// AMQP's limit on names, in bytes (AMQP 0-9-1, short strings).
pub const MAX_QUEUE_NAME: usize = 255;

/// How often RabbitMQ hands an event out again before it parks it. Only a consumer that dies
/// with the event in hand counts here: a failed event travels through the wait queues instead.
/// Always explicit and finite, because the default was none before RabbitMQ 4 and 20 since, and
/// -1 means 0 on 3.x.
pub const DELIVERY_LIMIT: i64 = 20;

/// How many events `parked` holds before the oldest goes.
const PARKED_LENGTH: i64 = 100_000;

/// How often RabbitMQ hands out what is parked. Where it goes after that is nowhere, so this is
/// more often than anything is taken and given back while the database is away.
const PARKED_DELIVERY_LIMIT: i64 = 1_000_000;

/// The kind of queue that holds events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    /// Replicated.
    #[default]
    Quorum,
    /// On one broker node.
    Classic,
}

/// What the broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavor {
    /// RabbitMQ: everything of section 7 of the design.
    #[default]
    RabbitMq,
    /// The in-process broker. It delays a retry by itself, so it needs no return, wait and
    /// parked objects.
    Local,
}

/// How this cluster names and marks what it owns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The first part of every name.
    pub prefix: String,
    /// The cluster, as markers name it.
    pub cluster: Uuid,
    /// The kind of the work queues.
    pub queue_type: QueueType,
    /// What the broker is.
    pub flavor: Flavor,
}

/// A queue's name would not fit in AMQP's 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the queue of group {group} on bus {bus} would have a name of {bytes} bytes; RabbitMQ allows {MAX_QUEUE_NAME}: choose a shorter group"
)]
pub struct NameTooLong {
    /// The group.
    pub group: GroupName,
    /// The bus.
    pub bus: BusName,
    /// The name's length, with room for ten digits of generation.
    pub bytes: usize,
}

impl Layout {
    /// The exchange that events are published to.
    #[must_use]
    pub fn main(&self, bus: &BusName) -> String {
        format!("{}.{bus}", self.prefix)
    }

    /// The exchange that notifications are published to.
    #[must_use]
    pub fn keys(&self, bus: &BusName) -> String {
        format!("{}.{bus}.keys", self.prefix)
    }

    /// The exchange that a bus's events come from: its main exchange, or the foreign one of an
    /// attached bus.
    #[must_use]
    pub fn events(&self, bus: &BusDefinition) -> String {
        bus.foreign_exchange().map_or_else(|| self.main(&bus.name), str::to_owned)
    }

    /// The exchange that a bus's notifications come from. James sends them through the same
    /// exchange as its events.
    #[must_use]
    pub fn notifications(&self, bus: &BusDefinition) -> String {
        bus.foreign_exchange().map_or_else(|| self.keys(&bus.name), str::to_owned)
    }

    /// The exchange through which a retried event finds its group.
    #[must_use]
    pub fn returns(&self, bus: &BusName) -> String {
        format!("{}.{bus}.return", self.prefix)
    }

    /// The exchange and queue for events that nobody can take.
    #[must_use]
    pub fn parked(&self, bus: &BusName) -> String {
        format!("{}.{bus}.parked", self.prefix)
    }

    /// The exchange and queue in which an event waits so many milliseconds.
    #[must_use]
    pub fn wait(&self, bus: &BusName, millis: u64) -> String {
        format!("{}.{bus}.wait.{millis}", self.prefix)
    }

    /// A group's work queue.
    #[must_use]
    pub fn work(&self, bus: &BusName, group: &GroupName, generation: Generation) -> String {
        format!("{}.{bus}.work.{group}.v{generation}", self.prefix)
    }

    /// The exchange whose arguments name the cluster.
    #[must_use]
    pub fn marker(&self) -> String {
        format!("{}.meta", self.prefix)
    }

    /// A queue of one node's connection. A new name per attempt, because an exclusive name that
    /// a dead connection still holds is refused with 405.
    #[must_use]
    pub fn node_queue(&self, bus: &BusName, node: &str, attempt: Uuid) -> String {
        // Room for the prefix, the bus and the attempt; a longer node id is cut, the attempt
        // keeps the name unique.
        let room = MAX_QUEUE_NAME.saturating_sub(self.prefix.len() + bus.as_str().len() + 44);
        let node: String = node.bytes().take(room).map(char::from).filter(char::is_ascii).collect();
        format!("{}.{bus}.node.{node}.{attempt}", self.prefix)
    }

    /// Whether a name lies in our part of the namespace. Says nothing about ownership.
    #[must_use]
    pub fn has_prefix(&self, name: &str) -> bool {
        name.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whether an object is ours: the prefix and this cluster's marker.
    #[must_use]
    pub fn owns(&self, name: &str, arguments: &Arguments) -> bool {
        self.has_prefix(name)
            && arguments.get(MARKER) == Some(&Argument::Text(self.cluster.to_string()))
    }

    /// Whether a name is one of a bus's wait levels.
    #[must_use]
    pub fn is_wait(&self, bus: &BusName, name: &str) -> bool {
        matches!(self.read(name), Some(ObjectName::Wait { bus: found, .. }) if found == *bus)
    }

    /// Whether a queue is a node's own, which comes and goes with its connection.
    #[must_use]
    pub fn is_node_queue(&self, queue: &Queue) -> bool {
        queue.exclusive
            && self.owns(&queue.name, &queue.arguments)
            && matches!(self.read(&queue.name), Some(ObjectName::Node { .. }))
    }

    /// Checks that a listener's queue name fits.
    ///
    /// # Errors
    /// [`NameTooLong`] with the length it would have.
    pub fn fits(&self, listener: &ListenerSpec) -> Result<(), NameTooLong> {
        let bytes = self.work(&listener.bus, &listener.group, Generation::MAX).len();
        if bytes <= MAX_QUEUE_NAME {
            return Ok(());
        }
        Err(NameTooLong { group: listener.group.clone(), bus: listener.bus.clone(), bytes })
    }

    /// The markers that every object of ours carries.
    #[must_use]
    pub fn marked(&self) -> Arguments {
        Arguments::from([
            (MARKER.to_owned(), self.cluster.to_string().into()),
            (LAYOUT.to_owned(), LAYOUT_VERSION.into()),
        ])
    }

    /// A durable exchange of ours.
    #[must_use]
    pub fn exchange(&self, name: String, kind: ExchangeKind) -> Exchange {
        let arguments = self.marked();
        Exchange { name, kind, durable: true, auto_delete: false, internal: false, arguments }
    }

    fn queue<const N: usize>(&self, name: String, arguments: [(&str, Argument); N]) -> Queue {
        let mut all = self.marked();
        all.extend(arguments.map(|(name, value)| (name.to_owned(), value)));
        Queue {
            name,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: all,
            policy: None,
        }
    }

    /// The work queue of a group. `x-queue-type` is always said, since RabbitMQ puts in the
    /// virtual host's default where it is not.
    #[must_use]
    pub fn work_queue(&self, bus: &BusName, group: &GroupName, generation: Generation) -> Queue {
        let name = self.work(bus, group, generation);
        if self.flavor == Flavor::Local {
            return self.queue(name, []);
        }
        let parked = ("x-dead-letter-exchange", Argument::from(self.parked(bus)));
        match self.queue_type {
            QueueType::Classic => self.queue(name, [("x-queue-type", "classic".into()), parked]),
            QueueType::Quorum => self.queue(
                name,
                [
                    ("x-queue-type", "quorum".into()),
                    ("x-delivery-limit", DELIVERY_LIMIT.into()),
                    parked,
                ],
            ),
        }
    }

    /// The queue in which events wait before they return. `at-least-once` with `reject-publish`:
    /// the default strategy loses what is on its way when the broker dies, and silently takes
    /// over when the overflow is anything else.
    #[must_use]
    pub fn wait_queue(&self, bus: &BusName, millis: u64) -> Queue {
        self.queue(
            self.wait(bus, millis),
            [
                ("x-queue-type", "quorum".into()),
                ("x-message-ttl", i64::try_from(millis).unwrap_or(i64::MAX).into()),
                ("x-dead-letter-exchange", self.returns(bus).into()),
                ("x-dead-letter-strategy", "at-least-once".into()),
                ("x-overflow", "reject-publish".into()),
            ],
        )
    }

    /// The queue of events that nobody can take, bounded so that it cannot fill the broker.
    #[must_use]
    pub fn parked_queue(&self, bus: &BusName) -> Queue {
        let name = self.parked(bus);
        let length = ("x-max-length", Argument::from(PARKED_LENGTH));
        let overflow = ("x-overflow", Argument::from("drop-head"));
        match self.queue_type {
            QueueType::Classic => {
                self.queue(name, [("x-queue-type", "classic".into()), length, overflow])
            }
            QueueType::Quorum => {
                let limit = ("x-delivery-limit", PARKED_DELIVERY_LIMIT.into());
                self.queue(name, [("x-queue-type", "quorum".into()), length, overflow, limit])
            }
        }
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
    fn ours_is_the_prefix_and_the_marker_together() {
        let marked = layout().marked();
        assert!(layout().owns("hearken.a", &marked));
        assert!(!layout().owns("hearken.a", &Arguments::new()));
        assert!(!layout().owns("hearkenx.a", &marked));
        let other = Layout { cluster: Uuid::from_u128(7), ..layout() };
        assert!(!other.owns("hearken.a", &marked));
    }

    #[test]
    fn a_name_that_amqp_cannot_hold_is_refused_with_its_length() {
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
