//! What every broker does: a suite of functions over the trait. The tests of each implementation
//! run the whole suite.

pub(crate) use crate::support::stage::specs::{bus, listener};
use crate::support::{bus::only, wait};
use hearken::{
    broker::{Broker, BrokerError, Marker},
    domain::{
        depth::Depth,
        desired::{Desired, desired},
        drift,
        event::{Audit, NodeRef, RecordedEvent, RosterEvent},
        layout::{LAYOUT_VERSION, Layout},
        listener::ListenerSpec,
        plan::{self, Action, Plan},
        roster::Roster,
        topology::{Binding, ExchangeKind},
    },
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use uuid::Uuid;

/// What the broker should hold for these listeners.
pub(crate) fn desire(layout: &Layout, listeners: &[ListenerSpec]) -> Desired {
    let node = NodeRef { id: "n".into(), host: "h".into() };
    let mut state = Roster::default();
    for (version, listener) in (1..).zip(listeners) {
        let audit = Audit {
            actor: "test".into(),
            node: node.clone(),
            reason: None,
            command_id: Uuid::nil(),
            request_id: None,
        };
        let event = RosterEvent::ListenerAdded { listener: listener.clone(), generation: 1 };
        let recorded_at = OffsetDateTime::UNIX_EPOCH;
        let event_id = Uuid::from_u128(version.into());
        state.evolve(&RecordedEvent { version, event_id, event, audit, recorded_at });
    }
    desired(layout, &only(bus()), &state, &BTreeSet::new())
}

pub(crate) async fn apply(broker: &dyn Broker, plan: &Plan) {
    for step in &plan.steps {
        let applied = broker.apply(&step.action).await;
        applied.unwrap_or_else(|error| panic!("{:?}: {error}", step.action));
    }
}

/// Makes the broker hold what these listeners need.
pub(crate) async fn converge(
    broker: &dyn Broker,
    layout: &Layout,
    listeners: &[ListenerSpec],
) -> Desired {
    let desired = desire(layout, listeners);
    apply(broker, &plan::between(&Desired::default(), &desired)).await;
    desired
}

pub(crate) async fn what_is_desired_is_observed(broker: &dyn Broker, layout: &Layout) {
    assert!(broker.observe().await.unwrap().is_empty());
    let desired = converge(broker, layout, &[listener("a"), listener("b")]).await;
    let observed = broker.observe().await.unwrap();
    assert_eq!(drift::between(layout, &desired, &observed), []);
    assert_eq!(observed, desired.topology);
    converge(broker, layout, &[listener("a"), listener("b")]).await;
    assert_eq!(broker.observe().await.unwrap(), observed);
}

pub(crate) async fn the_marker_is_absent_or_names_its_cluster(
    broker: &dyn Broker,
    layout: &Layout,
) {
    assert_eq!(broker.marker().await.unwrap(), Marker::Absent);
    converge(broker, layout, &[]).await;
    assert_eq!(
        broker.marker().await.unwrap(),
        Marker::Present { cluster: Some(layout.cluster), layout: Some(LAYOUT_VERSION) }
    );
}

pub(crate) async fn a_bind_without_its_ends_is_missing(broker: &dyn Broker, layout: &Layout) {
    let main = layout.main(&bus());
    let binding = Binding::of_queue(&main, &layout.work(&bus(), &listener("a").group, 1), "");
    let error = broker.apply(&Action::Bind(binding.clone())).await.unwrap_err();
    assert!(matches!(error, BrokerError::Missing(_)), "{error:?}");
    assert!(!error.is_transient());
    let exchange = layout.exchange(main.clone(), ExchangeKind::Direct);
    broker.apply(&Action::DeclareExchange(exchange)).await.unwrap();
    let error = broker.apply(&Action::Bind(binding.clone())).await.unwrap_err();
    assert!(error.to_string().contains(&binding.destination), "{error}");
}

pub(crate) async fn unbinding_and_deleting_succeed_when_it_is_so_already(
    broker: &dyn Broker,
    layout: &Layout,
) {
    let desired = converge(broker, layout, &[listener("a")]).await;
    let queue = layout.work(&bus(), &listener("a").group, 1);
    let binding = Binding::of_queue(&layout.main(&bus()), &queue, "");
    assert!(desired.topology.bindings.contains(&binding));
    for _ in 0..2 {
        broker.apply(&Action::Unbind(binding.clone())).await.unwrap();
        assert!(!broker.observe().await.unwrap().bindings.contains(&binding));
    }
    for _ in 0..2 {
        assert_eq!(broker.apply(&Action::DeleteQueue(queue.clone())).await.unwrap(), 0);
        assert!(!broker.observe().await.unwrap().queues.contains_key(&queue));
        broker.apply(&Action::Unbind(binding.clone())).await.unwrap();
    }
    assert_eq!(broker.depth(&queue).await.unwrap(), None);
}

pub(crate) async fn a_deleted_group_comes_back_with_its_bindings(
    broker: &dyn Broker,
    layout: &Layout,
) {
    let desired = converge(broker, layout, &[listener("a"), listener("b")]).await;
    let queue = layout.work(&bus(), &listener("a").group, 1);
    broker.apply(&Action::DeleteQueue(queue)).await.unwrap();
    let observed = broker.observe().await.unwrap();
    let drift = drift::between(layout, &desired, &observed);
    let repair = plan::from_drift(&drift, &desired);
    assert_eq!(plan::check(&repair, layout, &desired, &observed), Ok(()));
    apply(broker, &repair).await;
    assert_eq!(drift::between(layout, &desired, &broker.observe().await.unwrap()), []);
}

pub(crate) async fn the_depth_of_an_empty_queue_is_zero(broker: &dyn Broker, layout: &Layout) {
    converge(broker, layout, &[listener("a")]).await;
    let queue = layout.work(&bus(), &listener("a").group, 1);
    // Counters come late; until then they are unknown, never zero.
    let depth = wait::until("the queue is counted", async || match broker.depth(&queue).await {
        Ok(depth) => Some(depth),
        Err(error) => {
            assert!(error.is_transient(), "{error:?}");
            None
        }
    });
    assert_eq!(depth.await, Some(Depth::default()));
    assert_eq!(broker.ready(&queue).await.unwrap(), Some(0));
    let absent = layout.work(&bus(), &listener("z").group, 1);
    assert_eq!(broker.ready(&absent).await.unwrap(), None);
    assert_eq!(broker.depth(&layout.work(&bus(), &listener("z").group, 1)).await.unwrap(), None);
}

pub(crate) async fn the_oldest_event_that_waits_grows_older(
    broker: &dyn Broker,
    layout: &Layout,
    publish: impl AsyncFnOnce(),
) {
    converge(broker, layout, &[listener("a")]).await;
    let queue = layout.work(&bus(), &listener("a").group, 1);
    assert_eq!(broker.oldest(&queue).await.unwrap(), None);
    let before = Instant::now();
    publish().await;
    wait::until("the queue says that an event waits", async || {
        broker.ready(&queue).await.unwrap().filter(|ready| *ready > 0)
    })
    .await;
    let beyond = async |age: Duration| {
        wait::until("the event grows older", async || {
            broker.oldest(&queue).await.unwrap().filter(|oldest| *oldest > age)
        })
        .await
    };
    let first = beyond(Duration::ZERO).await;
    let second = beyond(first).await;
    let limit = before.elapsed();
    assert!(second <= limit, "{second:?} of {limit:?}");
    assert_eq!(broker.oldest(&layout.work(&bus(), &listener("z").group, 1)).await.unwrap(), None);
}

pub(crate) async fn a_report_does_nothing(broker: &dyn Broker, layout: &Layout) {
    let exchange = layout.exchange(layout.main(&bus()), ExchangeKind::Direct);
    let report = Action::Report(drift::Object::Exchange(exchange));
    assert_eq!(broker.apply(&report).await.unwrap(), 0);
    assert!(broker.observe().await.unwrap().is_empty());
}

pub(crate) async fn the_broker_introduces_itself(broker: &dyn Broker) {
    let version = broker.version().await.unwrap();
    assert!(version.contains(' ') && version.contains('.'), "{version}");
}
