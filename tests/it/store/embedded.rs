//! Tables of the embedded broker and bus.

use super::{Bench, Place};
use hearken::{
    domain::{
        plan::Action,
        topology::{Arguments, Binding, Destination, Exchange, ExchangeKind, Queue, Topology},
    },
    store::{
        Store,
        embedded::{Embedded, LocalError},
    },
};
use serde_json::json;
use std::time::Duration;

fn exchange(name: &str, kind: ExchangeKind) -> Exchange {
    let arguments = Arguments::from([("x-hearken-layout".to_owned(), 1.into())]);
    Exchange {
        name: name.into(),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    }
}

fn queue(name: &str) -> Queue {
    Queue {
        name: name.into(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: Arguments::new(),
        policy: None,
    }
}

async fn apply(embedded: &Embedded, actions: impl IntoIterator<Item = Action>) {
    for action in actions {
        embedded.apply(&action).await.unwrap();
    }
}

/// A direct exchange `d` with `a` and `b` under the key `k` and `a` under `l`, and a fanout `f`
/// with all three queues.
fn layout() -> Vec<Action> {
    let mut actions = vec![
        Action::DeclareExchange(exchange("d", ExchangeKind::Direct)),
        Action::DeclareExchange(exchange("f", ExchangeKind::Fanout)),
    ];
    actions.extend(["a", "b", "c"].map(|name| Action::DeclareQueue(queue(name))));
    for (source, queue, key) in [
        ("d", "a", "k"),
        ("d", "b", "k"),
        ("d", "a", "l"),
        ("f", "a", "x"),
        ("f", "a", "y"),
        ("f", "b", ""),
        ("f", "c", ""),
    ] {
        actions.push(Action::Bind(Binding::of_queue(source, queue, key)));
    }
    actions
}

async fn publish(embedded: &Embedded, exchange: &str, key: &str, body: &str) -> usize {
    let headers = json!({"id": body});
    embedded
        .publish(exchange, key, Some("text/plain"), &headers, body.as_bytes())
        .await
        .unwrap()
        .len()
}

async fn due(embedded: &Embedded, queue: &str) -> Vec<String> {
    let deliveries = embedded.due(queue, 100).await.unwrap().expect("the queue exists");
    deliveries.into_iter().map(|d| String::from_utf8(d.body).unwrap()).collect()
}

async fn bodies(bench: &Bench, expected: usize) {
    let sql = format!(
        "CREATE TEMP TABLE t (n INTEGER CHECK (n = {expected})); INSERT INTO t SELECT COUNT(*) FROM local_body"
    );
    bench.by_hand(&sql).await.unwrap_or_else(|error| panic!("not {expected} bodies: {error}"));
}

#[tokio::test]
async fn what_was_declared_is_observed_and_declaring_again_changes_nothing() {
    let Bench { store, place } = Bench::sqlite().await;
    let embedded = store.embedded().unwrap();
    apply(&embedded, layout()).await;
    let mut expected = Topology::default();
    for action in layout() {
        match action {
            Action::DeclareExchange(exchange) => expected.add_exchange(exchange),
            Action::DeclareQueue(queue) => expected.add_queue(queue),
            Action::Bind(binding) => drop(expected.bindings.insert(binding)),
            _ => panic!("not in the layout"),
        }
    }
    assert_eq!(embedded.topology().await.unwrap(), expected);
    apply(&embedded, layout()).await;
    assert_eq!(embedded.topology().await.unwrap(), expected);
    drop(place);
}

#[tokio::test]
async fn what_the_embedded_broker_cannot_do_is_named() {
    let Bench { store, place } = Bench::sqlite().await;
    let embedded = store.embedded().unwrap();
    apply(&embedded, layout()).await;
    let refuse = async |action: Action| embedded.apply(&action).await.unwrap_err();
    let bind = |source, queue| Action::Bind(Binding::of_queue(source, queue, ""));
    assert!(
        matches!(refuse(bind("none", "a")).await, LocalError::NoExchange(name) if name == "none")
    );
    assert!(matches!(refuse(bind("d", "none")).await, LocalError::NoQueue(name) if name == "none"));
    let mut other = queue("a");
    other.arguments.insert("x-max-length".into(), 3.into());
    assert!(
        matches!(refuse(Action::DeclareQueue(other)).await, LocalError::Differs { kind: "queue", name } if name == "a")
    );
    let kind = ExchangeKind::Other("topic".into());
    let topic = Action::DeclareExchange(exchange("t", kind));
    assert!(matches!(refuse(topic).await, LocalError::Unsupported(_)));
    let mut between = Binding::of_queue("d", "f", "");
    between.destination_kind = Destination::Exchange;
    assert!(matches!(refuse(Action::Bind(between)).await, LocalError::Unsupported(_)));
    let lost = embedded.publish("none", "", None, &json!({}), b"").await.unwrap_err();
    assert!(matches!(lost, LocalError::NoExchange(name) if name == "none"));
    assert_eq!(embedded.due("none", 1).await.unwrap(), None);
    assert_eq!(embedded.depth("none").await.unwrap(), None);
    drop(place);
}

#[tokio::test]
async fn an_event_reaches_each_queue_once_and_one_body_serves_them_all() {
    let bench = Bench::sqlite().await;
    let embedded = &bench.store.embedded().unwrap();
    apply(embedded, layout()).await;
    assert_eq!(publish(embedded, "d", "k", "one").await, 2);
    assert_eq!(publish(embedded, "d", "l", "two").await, 1);
    assert_eq!(publish(embedded, "f", "ignored", "three").await, 3);
    assert_eq!(publish(embedded, "d", "unbound", "four").await, 0);
    bodies(&bench, 3).await;
    assert_eq!(due(embedded, "a").await, ["one", "two", "three"]);
    assert_eq!(due(embedded, "b").await, ["one", "three"]);
    let first = embedded.due("a", 1).await.unwrap().unwrap().remove(0);
    assert_eq!((first.attempt, first.content_type.as_deref()), (0, Some("text/plain")));
    assert_eq!((first.headers, first.body.as_slice()), (json!({"id": "one"}), b"one".as_slice()));
    embedded.done(first.seq).await.unwrap();
    embedded.done(first.seq).await.unwrap();
    bodies(&bench, 3).await;
    let other = embedded.due("b", 1).await.unwrap().unwrap().remove(0);
    embedded.done(other.seq).await.unwrap();
    bodies(&bench, 2).await;
    assert_eq!(embedded.depth("a").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_postponed_delivery_waits_its_time_and_comes_with_its_attempt() {
    let Bench { store, place } = Bench::sqlite().await;
    let embedded = store.embedded().unwrap();
    apply(&embedded, layout()).await;
    assert_eq!(embedded.next_due("a").await.unwrap(), None);
    publish(&embedded, "d", "l", "one").await;
    publish(&embedded, "d", "l", "two").await;
    assert_eq!(embedded.next_due("a").await.unwrap(), Some(Duration::ZERO));
    let both = embedded.due("a", 10).await.unwrap().unwrap();
    embedded.postpone(both[0].seq, Duration::from_hours(1), 3).await.unwrap();
    assert_eq!(due(&embedded, "a").await, ["two"]);
    embedded.postpone(both[1].seq, Duration::MAX, 1).await.unwrap();
    assert_eq!(due(&embedded, "a").await, Vec::<String>::new());
    assert_eq!(embedded.depth("a").await.unwrap(), Some(2));
    let pause = embedded.next_due("a").await.unwrap().unwrap();
    assert!(pause > Duration::from_secs(3500) && pause <= Duration::from_hours(1), "{pause:?}");
    embedded.postpone(both[0].seq, Duration::ZERO, 4).await.unwrap();
    let back = embedded.due("a", 10).await.unwrap().unwrap();
    assert_eq!((back.len(), back[0].seq, back[0].attempt), (1, both[0].seq, 4));
    drop(place);
}

#[tokio::test]
async fn a_deleted_queue_says_what_it_destroyed_and_takes_its_bindings_along() {
    let bench = Bench::sqlite().await;
    let embedded = &bench.store.embedded().unwrap();
    apply(embedded, layout()).await;
    for body in ["one", "two"] {
        publish(embedded, "d", "k", body).await;
    }
    publish(embedded, "d", "l", "three").await;
    let delete = Action::DeleteQueue("a".into());
    assert_eq!(embedded.apply(&delete).await.unwrap(), 3);
    assert_eq!(embedded.apply(&delete).await.unwrap(), 0);
    bodies(&bench, 2).await;
    let left = embedded.topology().await.unwrap();
    assert!(!left.queues.contains_key("a"));
    assert!(left.bindings.iter().all(|binding| binding.destination != "a"));
    assert_eq!(publish(embedded, "d", "l", "four").await, 0);
    let unbind = Action::Unbind(Binding::of_queue("d", "b", "k"));
    apply(embedded, [unbind.clone(), unbind]).await;
    assert_eq!(publish(embedded, "d", "k", "five").await, 0);
    assert_eq!(due(embedded, "b").await, ["one", "two"]);
}

#[tokio::test]
async fn a_restart_keeps_topology_and_deliveries() {
    let bench = Bench::sqlite().await;
    let embedded = bench.store.embedded().unwrap();
    apply(&embedded, layout()).await;
    publish(&embedded, "f", "", "one").await;
    let before = embedded.topology().await.unwrap();
    bench.store.close().await;
    let Place::Sqlite { directory } = &bench.place else { panic!() };
    let store = Store::sqlite(directory.path()).await.unwrap();
    let embedded = store.embedded().unwrap();
    assert_eq!(embedded.topology().await.unwrap(), before);
    for queue in ["a", "b", "c"] {
        assert_eq!(due(&embedded, queue).await, ["one"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_publication_is_kept_whole_or_not_at_all() {
    let bench = Bench::sqlite().await;
    let embedded = &bench.store.embedded().unwrap();
    apply(embedded, layout()).await;
    let mut answered = 0;
    for round in 0..50_u64 {
        let headers = json!({});
        let publication = embedded.publish("f", "", None, &headers, b"x");
        let patience = Duration::from_micros(round * 60);
        answered += u64::from(tokio::time::timeout(patience, publication).await.is_ok());
    }
    publish(embedded, "f", "", "last").await;
    let depth = embedded.depth("a").await.unwrap().unwrap();
    assert!(depth > answered, "{depth} of {answered}");
    for queue in ["b", "c"] {
        assert_eq!(embedded.depth(queue).await.unwrap(), Some(depth));
    }
    bodies(&bench, usize::try_from(depth).unwrap()).await;
}
