//! What only RabbitMQ does.

use super::{broker, fresh, layout, publish};
use crate::broker::contract::{self, bus, converge, listener};
use crate::support::{
    services::{VirtualHost, virtual_host},
    wait,
};
use hearken::{
    broker::{Broker, BrokerError, Marker},
    domain::{
        drift::{self, DriftKind},
        layout::{LAYOUT_VERSION, Layout},
        plan::Action,
        topology::{Argument, Exchange, ExchangeKind},
    },
};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn a_virtual_host_with_a_slash_in_its_name_is_found() {
    let host = virtual_host().await;
    let name = format!("{}/x %", host.name);
    let encoded = format!("{}%2Fx%20%25", host.name);
    host.api(Method::PUT, &format!("vhosts/{encoded}"), Some(json!({}))).await;
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    host.api(Method::PUT, &format!("permissions/{encoded}/guest"), Some(all)).await;
    let amqp = host.amqp.replace(&host.name, &encoded);
    let odd = VirtualHost { name, amqp, management: host.management.clone() };
    contract::what_is_desired_is_observed(&broker(&odd, &layout()), &layout()).await;
    host.api(Method::DELETE, &format!("vhosts/{encoded}"), None).await;
}

#[tokio::test]
async fn what_others_made_is_seen_and_theirs() {
    let (host, broker, layout) = fresh().await;
    let name = layout.work(&bus(), &listener("a").group, 1);
    let queue = |name: &str| format!("queues/{}/{name}", host.name);
    host.api(Method::PUT, &queue(&name), Some(json!({"durable": true}))).await;
    host.api(Method::PUT, &queue("other"), Some(json!({"durable": true}))).await;
    let desired = contract::desire(&layout, &[listener("a")]);
    let main = layout.exchange(layout.main(&bus()), ExchangeKind::Direct);
    broker.apply(&Action::DeclareExchange(main.clone())).await.unwrap();
    let bind = format!("bindings/{}/e/{}/q/other", host.name, main.name);
    host.api(Method::POST, &bind, Some(json!({"routing_key": "k"}))).await;
    let observed = broker.observe().await.unwrap();
    assert!(!observed.queues.contains_key("other"));
    assert!(observed.bindings.iter().any(|b| b.destination == "other"));
    let drift = drift::between(&layout, &desired, &observed);
    let foreign: Vec<String> = drift
        .iter()
        .filter(|drift| drift.kind == DriftKind::Foreign)
        .map(|drift| drift.object().name())
        .collect();
    assert_eq!(foreign, [name]);
}

#[tokio::test]
async fn a_marker_of_another_cluster_or_of_no_cluster_is_told_apart() {
    let (_, broker, layout) = fresh().await;
    let other = Layout { cluster: Uuid::from_u128(8), ..layout.clone() };
    converge(&broker, &other, &[]).await;
    assert_eq!(
        broker.marker().await.unwrap(),
        Marker::Present { cluster: Some(other.cluster), layout: Some(LAYOUT_VERSION) }
    );
    let (_, broker, layout) = fresh().await;
    let mut bare = layout.exchange(layout.marker(), ExchangeKind::Direct);
    bare.arguments.clear();
    broker.apply(&Action::DeclareExchange(bare)).await.unwrap();
    assert_eq!(broker.marker().await.unwrap(), Marker::Present { cluster: None, layout: None });
}

#[tokio::test]
async fn a_redeclaration_with_other_arguments_is_refused_in_the_brokers_words() {
    let (_, broker, layout) = fresh().await;
    converge(&broker, &layout, &[listener("a")]).await;
    let mut queue = layout.work_queue(&bus(), &listener("a").group, 1, 1);
    queue.arguments.insert("x-delivery-limit".into(), Argument::Int(3));
    let error = broker.apply(&Action::DeclareQueue(queue)).await.unwrap_err();
    let BrokerError::Refused { reply, .. } = &error else { panic!("{error:?}") };
    assert!(reply.contains("PRECONDITION_FAILED") && reply.contains("x-delivery-limit"), "{reply}");
    // The channel that was lost with it is not used again.
    converge(&broker, &layout, &[listener("a")]).await;
}

#[tokio::test]
async fn an_exchange_of_a_kind_that_the_broker_lacks_is_refused() {
    let (_, broker, layout) = fresh().await;
    let odd = layout.exchange("hearken.odd".into(), ExchangeKind::Other("no-such".into()));
    let error = broker.apply(&Action::DeclareExchange(odd)).await.unwrap_err();
    assert!(matches!(error, BrokerError::Refused { .. }), "{error:?}");
    let topic: Exchange =
        layout.exchange("hearken.topic".into(), ExchangeKind::Other("topic".into()));
    broker.apply(&Action::DeclareExchange(topic.clone())).await.unwrap();
    assert_eq!(broker.observe().await.unwrap().exchanges["hearken.topic"], topic);
}

#[tokio::test]
async fn a_name_that_amqp_cannot_hold_is_refused() {
    let (_, broker, _) = fresh().await;
    let error = broker.apply(&Action::DeleteQueue("q".repeat(256))).await.unwrap_err();
    assert!(error.to_string().contains("256"), "{error}");
}

#[tokio::test]
async fn deleting_a_queue_says_how_much_it_destroyed() {
    let (host, broker, layout) = fresh().await;
    converge(&broker, &layout, &[listener("a")]).await;
    let queue = layout.work(&bus(), &listener("a").group, 1);
    publish(&host, &layout, 3).await;
    wait::until("the events are counted", async || {
        broker.depth(&queue).await.ok().flatten().filter(|depth| depth.ready == 3)
    })
    .await;
    assert_eq!(broker.apply(&Action::DeleteQueue(queue.clone())).await.unwrap(), 3);
    assert_eq!(broker.depth(&queue).await.unwrap(), None);
}

#[tokio::test]
async fn a_policy_that_decides_what_is_kept_is_seen() {
    let (host, broker, layout) = fresh().await;
    converge(&broker, &layout, &[listener("a")]).await;
    let policy = json!({"pattern": ".*work.*", "definition": {"max-length": 5}, "priority": 1});
    host.api(Method::PUT, &format!("policies/{}/cap", host.name), Some(policy)).await;
    let queue = layout.work(&bus(), &listener("a").group, 1);
    let applied = wait::until("the policy is applied", async || {
        broker.observe().await.unwrap().queues[&queue].policy.clone()
    });
    let applied = applied.await;
    assert_eq!((applied.name.as_str(), applied.keys), ("cap", vec!["max-length".to_owned()]));
}

#[tokio::test]
async fn a_policy_that_has_wait_queues_drop_events_is_drift() {
    let (host, broker, layout) = fresh().await;
    let listeners = [listener("a")];
    converge(&broker, &layout, &listeners).await;
    let desired = contract::desire(&layout, &listeners);
    let wait = layout.wait(&bus(), 100);
    assert!(desired.topology.queues.contains_key(&wait));
    let policy = json!({"pattern": ".*wait.*", "definition": {"overflow": "drop-head"}});
    host.api(Method::PUT, &format!("policies/{}/drop", host.name), Some(policy)).await;
    wait::until("the policy is drift of the wait queues", async || {
        let drift = drift::between(&layout, &desired, &broker.observe().await.unwrap());
        let divergent: Vec<_> = drift.iter().filter(|d| d.kind == DriftKind::Divergent).collect();
        let named = divergent.iter().any(|d| d.object().name() == wait && d.is_wrong());
        (named && divergent.len() == drift.len()).then_some(())
    })
    .await;
    host.api(Method::DELETE, &format!("policies/{}/drop", host.name), None).await;
    wait::until("without the policy nothing differs", async || {
        let observed = broker.observe().await.unwrap();
        drift::between(&layout, &desired, &observed).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_changes_at_once_all_take_effect() {
    let (_, broker, layout) = fresh().await;
    let groups: Vec<_> = (0..40).map(|n| listener(&format!("g{n}"))).collect();
    let desired = contract::desire(&layout, &groups);
    let declare = desired.topology.exchanges.values().cloned().map(Action::DeclareExchange);
    for action in declare {
        broker.apply(&action).await.unwrap();
    }
    let queues: Vec<Action> =
        desired.topology.queues.values().cloned().map(Action::DeclareQueue).collect();
    let binds: Vec<Action> = desired.topology.bindings.iter().cloned().map(Action::Bind).collect();
    for actions in [queues, binds] {
        let applied = actions.iter().map(|action| broker.apply(action));
        for outcome in futures_util::future::join_all(applied).await {
            outcome.unwrap();
        }
    }
    assert_eq!(drift::between(&layout, &desired, &broker.observe().await.unwrap()), []);
}

#[tokio::test]
async fn the_admin_connection_comes_back_after_the_broker_closed_it() {
    let (host, broker, layout) = fresh().await;
    converge(&broker, &layout, &[]).await;
    crate::support::connections::close_all(&host).await;
    wait::until("the broker is changed again", async || {
        match broker.apply(&Action::DeleteQueue("hearken.none".into())).await {
            Ok(_) => Some(()),
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                None
            }
        }
    })
    .await;
}
