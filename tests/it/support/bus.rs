//! Short forms of frequent calls in tests of buses.

use async_trait::async_trait;
use hearken::{
    bus::{
        DispatchError, EventBus, Outgoing,
        event::{Data, Event},
        rabbitmq::DiscardRule,
    },
    domain::{
        bus::{BusDefinition, Buses},
        name::{BusName, GroupName, RegistrationKey},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Drops returning events of one group, and keeps all others.
pub(crate) struct DiscardGroup(pub(crate) &'static str);

#[async_trait]
impl DiscardRule for DiscardGroup {
    async fn discards(&self, group: &GroupName) -> bool {
        group.as_str() == self.0
    }
}

/// A bus that hearken declares.
pub(crate) fn plain(bus: &BusName) -> BusDefinition {
    BusDefinition::plain(bus.clone())
}

/// A cluster with this bus alone.
pub(crate) fn only(bus: BusName) -> Buses {
    Buses::from([(bus.clone(), BusDefinition::plain(bus))])
}

/// An event of type `Added`, by a user.
pub(crate) fn event(id: &str) -> Event {
    Event {
        id: id.into(),
        kind: "Added".into(),
        source: "urn:test".into(),
        user: Some("anna".into()),
        time: None,
        noop: false,
        data: Data::Json(serde_json::value::RawValue::from_string("{\"n\":1.0}".into()).unwrap()),
        attributes: BTreeMap::new(),
    }
}

/// Registration keys.
pub(crate) fn keys<const N: usize>(keys: [&str; N]) -> BTreeSet<RegistrationKey> {
    keys.into_iter().map(|key| RegistrationKey::parse(key).expect("a key")).collect()
}

/// Publishing to a bus that hearken declares.
#[async_trait]
pub(crate) trait Dispatching {
    /// Publishes an event without keys.
    async fn dispatch(
        &self,
        bus: &BusName,
        event: &Event,
        must_route: bool,
    ) -> Result<(), DispatchError>;
}

#[async_trait]
impl<T: EventBus> Dispatching for T {
    async fn dispatch(
        &self,
        bus: &BusName,
        event: &Event,
        must_route: bool,
    ) -> Result<(), DispatchError> {
        let outgoing =
            Outgoing { event: event.clone(), keys: BTreeSet::new(), must_route, kept_by: None };
        self.publish(&plain(bus), &outgoing).await
    }
}
