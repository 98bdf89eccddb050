//! Buses, listeners and events that tests share, each under one name.

pub(crate) use crate::support::bus::{event, keys};
use hearken::{
    bus::event::Event,
    domain::{listener::ListenerSpec, name::BusName, retry::Jitter, span::Span},
};
use serde_json::json;

pub(crate) fn bus() -> BusName {
    BusName::parse("mailboxEvent").unwrap()
}

/// A second bus of the cluster.
pub(crate) fn other_bus() -> BusName {
    BusName::parse("jmapEvent").unwrap()
}

/// A listener with the default retry.
pub(crate) fn listener(group: &str) -> ListenerSpec {
    serde_json::from_value(json!({"group": group, "class": "log", "bus": "mailboxEvent"})).unwrap()
}

/// A listener with three retries and growing pauses of at most 200 ms.
pub(crate) fn quick(group: &str) -> ListenerSpec {
    let mut listener = listener(group);
    listener.retry.max = Span::from_millis(200);
    listener.retry.attempts = 3;
    listener
}

/// A listener with three retries, each after exactly 100 ms.
pub(crate) fn steady(group: &str) -> ListenerSpec {
    let mut listener = listener(group);
    listener.retry.attempts = 3;
    listener.retry.first = Span::from_millis(100);
    listener.retry.max = Span::from_millis(100);
    listener.retry.jitter = Jitter::try_from(0.0).unwrap();
    listener
}

/// A listener with eight retries and growing pauses of at most 200 ms.
pub(crate) fn persistent(group: &str) -> ListenerSpec {
    let mut listener = listener(group);
    listener.retry.attempts = 8;
    listener.retry.first = Span::from_millis(100);
    listener.retry.max = Span::from_millis(200);
    listener
}

/// An event that concerns no listener.
pub(crate) fn noop(id: &str) -> Event {
    Event { noop: true, ..event(id) }
}
