//! Where a parked message comes from, and why.
//!
//! A message is parked in one of three ways: a node put it aside because it is no event; it came
//! back from a wait queue, or was redelivered, for a group that has no queue, through the alternate
//! exchange of the return exchange; or the broker gave up handing it out and dead-lettered it from
//! its work queue.

use super::super::headers::{self, ERROR, GROUP};
use crate::domain::{
    layout::{DELIVERY_LIMIT, Layout, ObjectName},
    name::{BusName, GroupName},
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
    let left = || {
        let first = headers::text(properties, "x-first-death-queue");
        let died = latest_death(properties).and_then(|death| text(death, "queue"));
        first.into_iter().chain(died).find_map(|queue| worked(layout, bus, &queue))
    };
    stated.or_else(routed).or_else(left)
}

/// Why a message is parked, in words for an operator.
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
        (None, None) => "it was parked without a word why".to_owned(),
    }
}

/// When the broker gave up on a message, in seconds since the Unix epoch.
pub(super) fn died_at(properties: &BasicProperties) -> Option<u64> {
    match latest_death(properties)?.inner().get("time")? {
        AMQPValue::Timestamp(seconds) => Some(*seconds),
        _ => None,
    }
}

/// The broker's own reason, unless the message only ended a wait.
fn given_up(properties: &BasicProperties) -> Option<String> {
    let death = latest_death(properties)?;
    let queue = text(death, "queue").unwrap_or_default();
    match text(death, "reason")?.as_str() {
        "expired" => None,
        "delivery_limit" => Some(format!(
            "RabbitMQ gave up on it: queue {queue} handed it out {} times and never had an answer",
            DELIVERY_LIMIT + 1
        )),
        reason => Some(format!("RabbitMQ took it out of queue {queue}: {reason}")),
    }
}

/// The broker's note on the last time it dead-lettered the message: the first of the list.
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

/// The group whose work queue it is.
fn worked(layout: &Layout, bus: &BusName, queue: &str) -> Option<GroupName> {
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

    fn told(delivery: &Delivery) -> (Option<String>, String) {
        let group = group(&layout(), &bus(), delivery).map(String::from);
        (group, cause(&layout(), &bus(), delivery))
    }

    #[test]
    fn what_a_node_put_aside_says_whose_it_is_and_why() {
        let mut headers = FieldTable::default();
        headers.insert(GROUP.into(), long("g"));
        headers.insert(ERROR.into(), long("no event"));
        let (group, cause) = told(&delivery("hearken.m.parked", "g", headers));
        assert_eq!((group.as_deref(), cause.as_str()), (Some("g"), "no event"));
    }

    #[test]
    fn what_the_broker_gave_up_on_belongs_to_the_group_of_its_queue() {
        let headers = died("hearken.m.work.a.b-c.v12", "delivery_limit");
        let died = delivery("hearken.m.parked", "", headers);
        let (group, cause) = told(&died);
        assert_eq!(group.as_deref(), Some("a.b-c"));
        assert!(cause.contains("hearken.m.work.a.b-c.v12"), "{cause}");
        assert_eq!(died_at(&died.properties), Some(1_700_000_000));
    }

    #[test]
    fn what_came_back_for_a_group_that_is_gone_says_so_and_how_it_had_failed() {
        let mut headers = died("hearken.m.wait.100", "expired");
        let bare = delivery("hearken.m.return", "gone", headers.clone());
        assert_eq!(told(&bare).1, "it came back for group gone, which has no queue");
        headers.insert(ERROR.into(), long("it broke"));
        let (group, cause) = told(&delivery("hearken.m.return", "gone", headers));
        assert_eq!(group.as_deref(), Some("gone"));
        assert!(cause.ends_with("no queue; it had failed before: it broke"), "{cause}");
    }

    #[test]
    fn nonsense_is_kept_too() {
        for headers in [FieldTable::default(), died("elsewhere", "maxlen")] {
            let (group, cause) = told(&delivery("hearken.m.parked", "", headers));
            assert!(group.is_none() && !cause.is_empty());
        }
        let other = ["hearken.n.work.a.v1", "hearken.m.work.a.vx", "hearken.m.work..v1", ""];
        assert!(other.iter().all(|queue| worked(&layout(), &bus(), queue).is_none()));
    }
}
