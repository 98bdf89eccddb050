//! A node, and what a program on it does.

use super::{PATIENCE, bus, event};
use crate::{
    bus::calls::Calls,
    support::bus::{keys, plain},
};
use hearken::{
    bus::{Consumer, ConsumerState, EventBus, Registration, event::Event},
    dispatch::{BatchError, Dispatcher, RedeliverError},
    domain::{
        dead_letter::DeadLetter,
        name::{BusName, RegistrationKey},
    },
    store::Store,
};
use std::{collections::BTreeSet, sync::Arc};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// A node of the cluster.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) dispatcher: Dispatcher,
    pub(super) store: Store,
}

impl Node {
    /// Dispatches an event, which must be safe then.
    pub(crate) async fn dispatch(&self, event: &Event) {
        self.notify(event, []).await;
    }

    /// Dispatches an event with keys, which must be safe then.
    pub(crate) async fn notify<const N: usize>(&self, event: &Event, of: [&str; N]) {
        let outcome = self.try_dispatch(vec![(event.clone(), keys(of))]).await;
        outcome.unwrap_or_else(|error| panic!("{}: {error:?}", event.id));
    }

    pub(crate) async fn try_dispatch(
        &self,
        events: Vec<(Event, BTreeSet<RegistrationKey>)>,
    ) -> Result<(), BatchError> {
        self.dispatcher.dispatch(&bus(), events).await
    }

    /// Puts a dead letter back.
    pub(crate) async fn redeliver(&self, letter: &DeadLetter) -> Result<(), RedeliverError> {
        let (letter, body) = self.store.dead_letter(letter.id).await.unwrap().expect("it is kept");
        self.dispatcher.redeliver(&letter, body).await
    }

    /// Publishes what was kept as soon as that works, until the answer is dropped.
    pub(crate) fn heal(&self) -> DropGuard {
        let stop = CancellationToken::new();
        tokio::spawn(self.dispatcher.clone().run(stop.clone()));
        stop.drop_guard()
    }

    /// Follows keys, and waits until it does.
    pub(crate) async fn follow<const N: usize>(
        &self,
        of: [&str; N],
        calls: &Arc<Calls>,
    ) -> Registration {
        self.follow_on(&bus(), of, calls).await
    }

    /// Follows keys of a bus, and waits until it does.
    pub(crate) async fn follow_on<const N: usize>(
        &self,
        on: &BusName,
        of: [&str; N],
        calls: &Arc<Calls>,
    ) -> Registration {
        let registration = self.bus.register(&plain(on), keys(of), calls.clone());
        established(&registration).await;
        registration
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

pub(crate) async fn established(registration: &Registration) {
    let within = tokio::time::timeout(PATIENCE, registration.established()).await;
    within.expect("the registration is established");
}

pub(crate) async fn running(consumer: &Consumer) {
    let mut state = consumer.state.clone();
    let runs = state.wait_for(|state| *state == ConsumerState::Running);
    tokio::time::timeout(PATIENCE, runs).await.expect("it runs").unwrap();
}
