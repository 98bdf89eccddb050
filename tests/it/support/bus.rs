//! Shorter words for what tests of buses do all the time.

use async_trait::async_trait;
use futures_util::{FutureExt as _, future::ready};
use hearken::{
    amqp::AmqpUrl,
    bus::{
        DispatchError, EventBus, Outgoing,
        event::{Data, Event},
        rabbitmq::{COLLECT_EVERY, RabbitMqBusConfig},
    },
    domain::{
        bus::{BusDefinition, Buses},
        layout::Layout,
        name::{BusName, RegistrationKey},
    },
    store::Store,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a bus over RabbitMQ needs to know.
pub(crate) fn over_rabbitmq(
    amqp: &str,
    layout: &Layout,
    node: &str,
    store: &Store,
) -> RabbitMqBusConfig {
    RabbitMqBusConfig {
        amqp_url: AmqpUrl::parse(amqp).expect("a URL"),
        layout: layout.clone(),
        node: node.to_owned(),
        store: store.clone(),
        collect_every: COLLECT_EVERY,
        discards: Arc::new(|_| ready(false).boxed()),
        metrics: Arc::default(),
    }
}

/// A bus of our own.
pub(crate) fn plain(bus: &BusName) -> BusDefinition {
    BusDefinition::plain(bus.clone())
}

/// The cluster has this bus alone.
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
        data: Data::Json(serde_json::value::RawValue::from_string("{\"n\":1}".into()).unwrap()),
        attributes: BTreeMap::new(),
    }
}

/// Registration keys.
pub(crate) fn keys<const N: usize>(keys: [&str; N]) -> BTreeSet<RegistrationKey> {
    keys.into_iter().map(|key| RegistrationKey::parse(key).expect("a key")).collect()
}

/// Publishing to a bus of our own.
#[async_trait]
pub(crate) trait Dispatching {
    /// Without keys.
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
