//! Where a parked message comes from, and why.
//!
//! A message is parked in one of three ways:
//! - a node parked it, because it cannot be read as an event;
//! - it came back from a wait queue, or was redelivered, for a group that has no queue; it arrived
//!   through the alternate exchange of the return exchange;
//! - the broker dead-lettered it from its work queue after too many deliveries.

use crate::{
    bus::rabbitmq::headers::{self, ERROR, GROUP},
    domain::{
        layout::{DELIVERY_LIMIT, Layout, ObjectName},
        name::{BusName, GroupName},
    },
};
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable},
};

/// The group that a message was for.
pub(super) fn group(layout: &Layout, bus: &BusName, delivery: &Delivery) -> Option<GroupName> {
    let properties = &delivery.properties;
    let stated = headers::text(properties, GROUP).and_then(|group| GroupName::parse(group).ok());
    let routed = || GroupName::parse(delivery.routing_key.as_str()).ok();
    let dead_lettered = || {
        let first = headers::text(properties, "x-first-death-queue");
        let died = latest_death(properties).and_then(|death| text(death, "queue"));
        first.into_iter().chain(died).find_map(|queue| group_of(layout, bus, &queue))
    };
    stated.or_else(routed).or_else(dead_lettered)
}

/// Why a message is parked, as a text for an operator.
pub(super) fn cause(layout: &Layout, bus: &BusName, delivery: &Delivery) -> String {
    let error = headers::text(&delivery.properties, ERROR).filter(|error| !error.is_empty());
    let how = if delivery.exchange.as_str() == layout.returns(bus) {
        Some(format!("it came back for group {}, which has no queue", delivery.routing_key))
    } else {
        given_up(&delivery.properties)
    };
    match (how, error) {
        (Some(how), Some(error)) => format!("{how}; it had failed before: {error}"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => "the message does not say why it was parked".to_owned(),
    }
}

/// Time at which the broker dead-lettered a message, in seconds since the Unix epoch.
pub(super) fn died_at(properties: &BasicProperties) -> Option<u64> {
    match latest_death(properties)?.inner().get("time")? {
        AMQPValue::Timestamp(seconds) => Some(*seconds),
        _ => None,
    }
}

/// The broker's reason for dead-lettering the message. `None` for a message whose wait ended.
fn given_up(properties: &BasicProperties) -> Option<String> {
    let death = latest_death(properties)?;
    let queue = text(death, "queue").unwrap_or_default();
    match text(death, "reason")?.as_str() {
        "expired" => None,
        "delivery_limit" => Some(format!(
            "RabbitMQ gave up the message: queue {queue} delivered it {} times and never got an answer",
            DELIVERY_LIMIT + 1
        )),
        reason => Some(format!("RabbitMQ took the message out of queue {queue}: {reason}")),
    }
}

/// The broker's record of the last time that it dead-lettered the message: the first of the list.
fn latest_death(properties: &BasicProperties) -> Option<&FieldTable> {
    match properties.headers().as_ref()?.inner().get("x-death")? {
        AMQPValue::FieldArray(deaths) => deaths.as_slice().iter().find_map(|death| match death {
            AMQPValue::FieldTable(death) => Some(death),
            _ => None,
        }),
        _ => None,
    }
}

fn text(table: &FieldTable, name: &str) -> Option<String> {
    match table.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The group whose work queue has this name.
fn group_of(layout: &Layout, bus: &BusName, queue: &str) -> Option<GroupName> {
    match layout.read(queue)? {
        ObjectName::Work { bus: of, queue } if of == *bus => Some(queue.group),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout { prefix: "hearken".into(), ..Layout::default() }
    }

    fn bus() -> BusName {
        BusName::parse("m").unwrap()
    }

    fn delivery(exchange: &str, key: &str, headers: FieldTable) -> Delivery {
        let mut delivery = Delivery::mock(1, exchange.into(), key.into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_headers(headers);
        delivery
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn died(queue: &str, reason: &str) -> FieldTable {
        let mut death = FieldTable::default();
        death.insert("queue".into(), long(queue));
        death.insert("reason".into(), long(reason));
        death.insert("time".into(), AMQPValue::Timestamp(1_700_000_000));
        let mut headers = FieldTable::default();
        let deaths = vec![AMQPValue::FieldTable(death)];
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
        headers
    }

    fn read(delivery: &Delivery) -> (Option<String>, String) {
        let group = group(&layout(), &bus(), delivery).map(String::from);
        (group, cause(&layout(), &bus(), delivery))
    }

    #[test]
    fn a_message_that_a_node_parked_says_its_group_and_the_cause() {
        let mut headers = FieldTable::default();
        headers.insert(GROUP.into(), long("g"));
        headers.insert(ERROR.into(), long("no event"));
        let (group, cause) = read(&delivery("hearken.m.parked", "g", headers));
        assert_eq!((group.as_deref(), cause.as_str()), (Some("g"), "no event"));
    }

    #[test]
    fn a_message_that_the_broker_gave_up_belongs_to_the_group_of_its_queue() {
        let headers = died("hearken.m.work.a.b-c.v12", "delivery_limit");
        let died = delivery("hearken.m.parked", "", headers);
        let (group, cause) = read(&died);
        assert_eq!(group.as_deref(), Some("a.b-c"));
        assert!(cause.contains("hearken.m.work.a.b-c.v12"), "{cause}");
        assert_eq!(died_at(&died.properties), Some(1_700_000_000));
    }

    #[test]
    fn an_event_back_for_a_removed_group_names_the_group_and_its_last_failure() {
        let mut headers = died("hearken.m.wait.100", "expired");
        let bare = delivery("hearken.m.return", "gone", headers.clone());
        assert_eq!(read(&bare).1, "it came back for group gone, which has no queue");
        headers.insert(ERROR.into(), long("it broke"));
        let (group, cause) = read(&delivery("hearken.m.return", "gone", headers));
        assert_eq!(group.as_deref(), Some("gone"));
        assert!(cause.ends_with("no queue; it had failed before: it broke"), "{cause}");
    }

    #[test]
    fn a_message_without_any_known_origin_still_has_a_cause() {
        for headers in [FieldTable::default(), died("elsewhere", "maxlen")] {
            let (group, cause) = read(&delivery("hearken.m.parked", "", headers));
            assert!(group.is_none() && !cause.is_empty());
        }
        let other = ["hearken.n.work.a.v1", "hearken.m.work.a.vx", "hearken.m.work..v1", ""];
        assert!(other.iter().all(|queue| group_of(&layout(), &bus(), queue).is_none()));
    }
}
