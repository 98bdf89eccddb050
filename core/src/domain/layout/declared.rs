//! Objects of hearken, as they are declared.

use super::{
    DELIVERY_LIMIT, Flavor, LAYOUT, LAYOUT_VERSION, LOG, Layout, MARKER, QueueType, VERSION,
};
use crate::domain::{
    event::{Generation, Version},
    name::{BusName, GroupName},
    topology::{Argument, Arguments, Exchange, ExchangeKind, Queue},
};

/// Number of messages that `parked` holds. The oldest message is lost when there are more.
const PARKED_LENGTH: i64 = 100_000;

/// Number of times that RabbitMQ delivers a parked message. A parked message over this limit is
/// lost, because `parked` dead-letters to no exchange. The limit is far above the number of
/// deliveries that an outage of the database can cause.
const PARKED_DELIVERY_LIMIT: i64 = 1_000_000;

impl Layout {
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

    /// The work queue of a group. `x-queue-type` is always set, because RabbitMQ otherwise uses the
    /// default of the virtual host. The queue names the log and the version that made it, so that a
    /// broker which knows a later history than the log is recognised.
    #[must_use]
    pub fn work_queue(
        &self,
        bus: &BusName,
        group: &GroupName,
        generation: Generation,
        version: Version,
    ) -> Queue {
        let name = self.work(bus, group, generation);
        let mut queue = self.plain_work_queue(bus, name);
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        queue.arguments.insert(LOG.to_owned(), self.log.to_string().into());
        queue.arguments.insert(VERSION.to_owned(), version.into());
        queue
    }

    fn plain_work_queue(&self, bus: &BusName, name: String) -> Queue {
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

    /// The queue in which events wait before they return. Its strategy is `at-least-once`: the
    /// default strategy loses an event that is being moved when the broker dies. The overflow is
    /// `reject-publish`, because with any other overflow RabbitMQ silently uses the default
    /// strategy.
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

    /// The queue of messages that no listener can take. Its length is bounded, so that it cannot
    /// fill the broker.
    #[must_use]
    pub fn parked_queue(&self, bus: &BusName) -> Queue {
        let name = self.parked(bus);
        let length = ("x-max-length", Argument::from(PARKED_LENGTH));
        let overflow = ("x-overflow", Argument::from("drop-head"));
        match self.parked_type {
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
