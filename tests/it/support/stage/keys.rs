//! Following keys on a bus, and publishing under keys.

use super::{
    PATIENCE,
    calls::Calls,
    specs::{bus, event, keys},
};
use crate::support::bus::plain;
use hearken::{
    bus::{EventBus, Outgoing, Registration, event::Event},
    domain::{bus::BusDefinition, name::RegistrationKey},
};
use std::{collections::BTreeSet, sync::Arc};

/// Publishes an event with keys.
pub(crate) async fn send<const N: usize>(node: &Arc<dyn EventBus>, id: &str, under: [&str; N]) {
    publish(node, &plain(&bus()), event(id), keys(under)).await;
}

/// Publishes an event with keys on a bus.
pub(crate) async fn publish(
    node: &Arc<dyn EventBus>,
    bus: &BusDefinition,
    event: Event,
    keys: BTreeSet<RegistrationKey>,
) {
    let outgoing = Outgoing { event, keys, must_route: false, kept_by: None };
    node.publish(bus, &outgoing).await.expect("the bus takes it");
}

/// Registers a key listener, and waits until notifications arrive.
pub(crate) async fn follow<const N: usize>(
    node: &Arc<dyn EventBus>,
    under: [&str; N],
    calls: &Arc<Calls>,
) -> Registration {
    follow_on(node, &plain(&bus()), under, calls).await
}

/// Registers a key listener on a bus, and waits until notifications arrive.
pub(crate) async fn follow_on<const N: usize>(
    node: &Arc<dyn EventBus>,
    bus: &BusDefinition,
    under: [&str; N],
    calls: &Arc<Calls>,
) -> Registration {
    let registration = node.register(bus, keys(under), calls.clone());
    established(&registration).await;
    registration
}

/// Waits until the notifications of a registration arrive.
pub(crate) async fn established(registration: &Registration) {
    let within = tokio::time::timeout(PATIENCE * 3, registration.established()).await;
    within.expect("the registration is established");
}
