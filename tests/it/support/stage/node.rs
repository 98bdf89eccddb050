//! A node of a stage, and what a program on it does.

use super::{
    Engine, Stage,
    calls::Calls,
    keys, roster,
    specs::{self, bus, event},
};
use crate::support::bus::plain;
use hearken::{
    bus::{EventBus, Registration, event::Event},
    clock::Clock,
    dispatch::{BatchError, Dispatcher, RedeliverError},
    domain::{
        dead_letter::DeadLetter,
        name::{BusName, RegistrationKey},
    },
    roster::RosterService,
    store::Store,
};
use std::{collections::BTreeSet, sync::Arc};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// A node of the cluster.
#[derive(Clone)]
pub(crate) struct StageNode {
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) dispatcher: Dispatcher,
    store: Store,
}

impl Stage {
    /// A node, which listens to every bus. On an embedded stage it is always the same.
    pub(crate) fn node(&self, name: &str) -> StageNode {
        self.node_keeping(name, &self.store)
    }

    /// Two nodes, or the only one.
    pub(crate) fn nodes(&self) -> Vec<StageNode> {
        match &self.engine {
            Engine::RabbitMq(_) => vec![self.node("n1"), self.node("n2")],
            Engine::Embedded(_) => vec![self.node("n1")],
        }
    }

    /// A node that keeps its dead letters in another store.
    pub(crate) fn node_keeping(&self, name: &str, store: &Store) -> StageNode {
        match &self.engine {
            Engine::RabbitMq(host) => self.node_at(name, &host.amqp, store),
            Engine::Embedded(bus) => StageNode::new(bus.clone(), store, &self.roster),
        }
    }

    /// A node that reaches RabbitMQ by another URL.
    pub(crate) fn node_at(&self, name: &str, amqp: &str, store: &Store) -> StageNode {
        let bus = self.bus_keeping(name, amqp, store);
        bus.set_buses(&self.roster.buses());
        StageNode::new(Arc::new(bus), store, &self.roster)
    }

    /// A node of the cluster with its own connections, by other URLs. It listens to no bus.
    pub(crate) async fn member_at(&self, name: &str, amqp: &str, database: &str) -> StageNode {
        let store = Store::postgres(database).await.unwrap();
        let roster = roster(name, &store, &self.layout).await;
        StageNode::new(Arc::new(self.bus_keeping(name, amqp, &store)), &store, &roster)
    }

    /// A node of the cluster with its own connections. It listens to no bus.
    pub(crate) async fn member(&self, name: &str) -> StageNode {
        self.member_at(name, &self.host().amqp, self.database()).await
    }
}

impl StageNode {
    fn new(bus: Arc<dyn EventBus>, store: &Store, roster: &Arc<RosterService>) -> Self {
        let (keeping, roster) = (store.clone(), Arc::clone(roster));
        let dispatcher =
            Dispatcher::new(Arc::clone(&bus), keeping, roster, Arc::default(), Clock::system());
        Self { bus, dispatcher, store: store.clone() }
    }

    /// Dispatches an event, which must be safe then.
    pub(crate) async fn dispatch(&self, event: &Event) {
        self.notify(event, []).await;
    }

    /// Dispatches an event with keys, which must be safe then.
    pub(crate) async fn notify<const N: usize>(&self, event: &Event, under: [&str; N]) {
        let outcome = self.try_dispatch(vec![(event.clone(), specs::keys(under))]).await;
        outcome.unwrap_or_else(|error| panic!("{}: {error:?}", event.id));
    }

    /// Dispatches events with their keys, as one batch.
    pub(crate) async fn try_dispatch(
        &self,
        events: Vec<(Event, BTreeSet<RegistrationKey>)>,
    ) -> Result<(), BatchError> {
        self.dispatcher.dispatch(&bus(), events).await
    }

    /// Dispatches events without keys, as one batch.
    pub(crate) async fn try_dispatch_all(&self, events: &[Event]) -> Result<(), BatchError> {
        let keyless = events.iter().map(|event| (event.clone(), BTreeSet::new())).collect();
        self.try_dispatch(keyless).await
    }

    /// Puts a dead letter back.
    pub(crate) async fn redeliver(&self, letter: &DeadLetter) -> Result<(), RedeliverError> {
        let (_, body) = self.store.dead_letter(letter.id).await.unwrap().expect("it is kept");
        self.dispatcher.redeliver(letter, body).await
    }

    /// Publishes what was kept as soon as that works, until the guard is dropped.
    pub(crate) fn redispatch(&self) -> DropGuard {
        let stop = CancellationToken::new();
        tokio::spawn(self.dispatcher.clone().run(stop.clone()));
        stop.drop_guard()
    }

    /// Follows keys, and waits until notifications arrive.
    pub(crate) async fn follow<const N: usize>(
        &self,
        under: [&str; N],
        calls: &Arc<Calls>,
    ) -> Registration {
        self.follow_on(&bus(), under, calls).await
    }

    /// Follows keys of a bus, and waits until notifications arrive.
    pub(crate) async fn follow_on<const N: usize>(
        &self,
        on: &BusName,
        under: [&str; N],
        calls: &Arc<Calls>,
    ) -> Registration {
        keys::follow_on(&self.bus, &plain(on), under, calls).await
    }

    /// Returns when every notification that was dispatched before on this bus and node has been
    /// handed over on `at`, because one that is dispatched after them has.
    pub(crate) async fn notified(&self, at: &Self) {
        let last = Calls::well();
        let key = format!("fence-{}", Uuid::new_v4());
        let _registration = at.follow([key.as_str()], &last).await;
        self.notify(&event("fence"), [key.as_str()]).await;
        last.saw("fence").await;
    }
}
