//! A node's bus and broker over a store of its own, and a handler that remembers.

use crate::support::{
    bus::{Dispatching as _, plain},
    wait,
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use hearken::{
    broker::{Broker, local::LocalBroker},
    bus::{
        Consumer, ConsumerState, Consumption, DispatchError, EventBus, Execution, Failure,
        Listener, Redelivery, codec::decode, event::Event, local::LocalBus,
    },
    domain::{
        dead_letter::DeadLetter,
        depth::Depth,
        layout::{Flavor, Layout},
        listener::ListenerSpec,
        name::BusName,
        plan::Action,
        topology::{Binding, ExchangeKind},
    },
    store::embedded::Occupancy,
    store::{Store, dead_letters::DeadLetterFilter, embedded::Embedded},
};
use serde_json::json;
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A node's half of the bus and the broker, over a store of its own.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) embedded: Embedded,
    pub(crate) layout: Layout,
    pub(crate) broker: LocalBroker,
    pub(crate) bus: Arc<LocalBus>,
}

impl Node {
    pub(crate) async fn open(folder: &Path) -> Self {
        let store = Store::sqlite(folder).await.unwrap();
        let cluster = store.cluster_id();
        let prefix = "hearken".to_owned();
        let layout = Layout { prefix, cluster, flavor: Flavor::Local, ..Layout::default() };
        let occupancy = Occupancy::default();
        let embedded = store.embedded().unwrap();
        let broker = LocalBroker::new(embedded.clone(), layout.clone(), occupancy.clone());
        let bus = Arc::new(LocalBus::new(
            embedded.clone(),
            layout.clone(),
            occupancy,
            "solo",
            Arc::default(),
        ));
        Self { store, embedded, layout, broker, bus }
    }

    pub(crate) async fn close(self) {
        self.bus.close().await;
        self.store.close().await;
    }

    pub(crate) async fn apply(&self, action: Action) -> u64 {
        self.broker.apply(&action).await.unwrap()
    }

    pub(crate) async fn declare_bus(&self) {
        let main = self.layout.exchange(self.layout.main(&bus()), ExchangeKind::Direct);
        self.apply(Action::DeclareExchange(main)).await;
    }

    pub(crate) fn queue(&self, listener: &ListenerSpec) -> String {
        self.layout.work(&listener.bus, &listener.group, 1)
    }

    pub(crate) async fn declare(&self, listener: &ListenerSpec) {
        self.declare_bus().await;
        let queue = self.layout.work_queue(&listener.bus, &listener.group, 1);
        let binding = Binding::of_queue(&self.layout.main(&bus()), &queue.name, "");
        self.apply(Action::DeclareQueue(queue)).await;
        self.apply(Action::Bind(binding)).await;
    }

    pub(crate) fn consume(&self, listener: &ListenerSpec, calls: &Arc<Calls>) -> Consumer {
        let queue = self.queue(listener);
        let consumption = Consumption {
            listener: listener.clone(),
            bus: plain(&listener.bus),
            queue,
            draining: false,
        };
        self.bus.consume(consumption, calls.clone())
    }

    pub(crate) async fn dispatch(&self, id: &str) {
        self.bus.dispatch(&bus(), &event(id), true).await.unwrap();
    }

    pub(crate) async fn depth(&self, listener: &ListenerSpec) -> Depth {
        self.broker.depth(&self.queue(listener)).await.unwrap().unwrap()
    }

    /// The dead letters, once there are so many.
    pub(crate) async fn letters(&self, count: usize) -> Vec<DeadLetter> {
        wait::until(&format!("there are {count} dead letters"), || async {
            let filter = DeadLetterFilter::default();
            let letters = self.store.dead_letters_from(&filter, 0, 100).await.unwrap();
            let letters: Vec<_> = letters.into_iter().map(|(_, letter)| letter).collect();
            (letters.len() == count).then_some(letters)
        })
        .await
    }

    /// Puts a dead letter back into its group's queue.
    pub(crate) async fn redeliver(
        &self,
        listener: &ListenerSpec,
        letter: &DeadLetter,
    ) -> Result<(), DispatchError> {
        let (_, body) = self.store.dead_letter(letter.id).await.unwrap().unwrap();
        let redelivery = Redelivery {
            group: listener.group.clone(),
            queue: self.queue(listener),
            content_type: letter.content_type.clone(),
            body,
            previous: letter.id,
        };
        self.bus.redeliver(&plain(&bus()), &redelivery).await
    }

    pub(crate) async fn is_left_with(&self, listener: &ListenerSpec, ready: u64, unacked: u64) {
        wait::until("the queue holds what is expected", || async {
            let depth = self.depth(listener).await;
            (depth.ready == ready && depth.unacked == unacked).then_some(())
        })
        .await;
    }
}

type Behaviour = dyn Fn(Event, Execution) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;

/// A handler that remembers its calls as (id, attempt).
pub(crate) struct Calls {
    seen: Mutex<Vec<(String, u32)>>,
    behaviour: Box<Behaviour>,
}

impl Calls {
    pub(crate) fn doing<F>(
        behaviour: impl Fn(Event, Execution) -> F + Send + Sync + 'static,
    ) -> Arc<Self>
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let behaviour = Box::new(move |event, execution| -> BoxFuture<'static, _> {
            Box::pin(behaviour(event, execution))
        });
        Arc::new(Self { seen: Mutex::default(), behaviour })
    }

    pub(crate) fn succeeding() -> Arc<Self> {
        Self::doing(|_, _| async { Ok(()) })
    }

    pub(crate) fn seen(&self) -> Vec<(String, u32)> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) async fn are(&self, expected: &[(&str, u32)]) {
        let mut expected: Vec<_> = expected.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        expected.sort();
        wait::until(&format!("the calls are {expected:?}"), || async {
            let mut seen = self.seen();
            seen.sort();
            (seen == expected).then_some(())
        })
        .await;
    }
}

#[async_trait]
impl Listener for Calls {
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        self.seen.lock().unwrap().push((event.id.clone(), execution.attempt));
        (self.behaviour)(event.clone(), execution.clone()).await
    }
}

pub(crate) fn bus() -> BusName {
    BusName::parse("mailboxEvent").unwrap()
}

pub(crate) fn listener(group: &str) -> ListenerSpec {
    let json = json!({"group": group, "class": "test", "bus": "mailboxEvent",
                      "retry": {"attempts": 8, "first": "100ms", "max": "200ms"}});
    serde_json::from_value(json).unwrap()
}

pub(crate) fn body(id: &str) -> String {
    format!(r#"{{"Added": {{"eventId":"{id}","user":"bob","n":1.0}}}}"#)
}

pub(crate) fn event(id: &str) -> Event {
    decode(None, body(id).as_bytes()).unwrap()
}

pub(crate) async fn reaches(
    consumer: &mut Consumer,
    what: &str,
    wanted: impl Fn(&ConsumerState) -> bool,
) {
    let reached = consumer.state.wait_for(|state| wanted(state));
    tokio::time::timeout(Duration::from_secs(30), reached).await.expect(what).expect(what);
}

pub(crate) const LONG: Duration = Duration::from_secs(30);
