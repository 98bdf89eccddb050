//! Notifications over the broker, from hearken and from other programs.

use crate::support::{
    bus::{only, plain},
    connections,
    stage::{
        Stage,
        calls::Calls,
        keys::{established, follow, publish, send},
        specs::{bus, event, keys, listener},
    },
    wait,
};
use hearken::{
    bus::{EventBus, KeyListener, Outgoing},
    domain::{
        layout::Layout,
        listener::{Delivery, Mode},
        name::RegistrationKey,
    },
};
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, ExchangeDeleteOptions},
    types::{AMQPValue, FieldArray, FieldTable},
};
use std::sync::Arc;

/// Publishes an event of James to the keys exchange.
async fn notify(stage: &Stage, key: &str, properties: BasicProperties) {
    stage.publish_to(&stage.layout.keys(&bus()), key, JAMES, properties).await;
}

const JAMES: &[u8] =
    br#"{"MailboxAdded":{"eventId":"6e0dd59d-660e-4d9b-b22f-0354479f47b4","user":"bob"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_published_again_skips_synchronous_listeners_where_it_was_dispatched() {
    let stage = Stage::rabbitmq().await;
    let [one, two] = stage.pair();
    let (here, there) = (Calls::follower(Mode::Sync), Calls::follower(Mode::Sync));
    let _here = follow(&one, ["a"], &here).await;
    let _there = follow(&two, ["a"], &there).await;
    let lazy = Calls::follower(Mode::Async);
    let _lazy = follow(&one, ["a"], &lazy).await;
    // It ran inline on `n1` when it was dispatched there, and any node may publish it again.
    let kept_by = Some("n1".to_owned());
    let outgoing = Outgoing { event: event("kept"), keys: keys(["a"]), must_route: false, kept_by };
    for node in [&one, &two] {
        node.publish(&plain(&bus()), &outgoing).await.unwrap();
    }
    send(&two, "next", ["a"]).await;
    let mut heard = there.called(3).await;
    heard.sort();
    assert_eq!(heard, ["kept", "kept", "next"]);
    assert_eq!(lazy.called(3).await.len(), 3);
    assert_eq!(here.called(1).await, ["next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_under_a_key_harms_no_later_event_on_the_way_over_the_broker() {
    let stage = Stage::rabbitmq().await;
    let [one, _two] = stage.pair();
    let (sync, lazy) = (Calls::follower(Mode::Sync), Calls::follower(Mode::Async));
    let _sync = follow(&one, ["a"], &sync).await;
    let _lazy = follow(&one, ["a"], &lazy).await;
    let mut expected = Vec::new();
    for poisons in [1, 100] {
        let (_connection, channel) = stage.plain().await;
        for number in 0..poisons {
            let mut headers = FieldTable::default();
            headers.insert("CC".into(), AMQPValue::FieldArray(FieldArray::default()));
            headers.insert("x-hearken-from".into(), AMQPValue::Boolean(true));
            let (body, kind): (&[u8], _) = match number % 4 {
                0 => (b"{", "application/cloudevents+json"),
                1 => (b"\xff\x00", "text/plain"),
                2 => (b"{}", "application/nonsense"),
                _ => (b"", "application/cloudevents+json"),
            };
            let properties =
                BasicProperties::default().with_content_type(kind.into()).with_headers(headers);
            let exchange = stage.layout.keys(&bus()).into();
            let options = BasicPublishOptions::default();
            let confirm =
                channel.basic_publish(exchange, "a".into(), options, body, properties).await;
            assert!(confirm.unwrap().await.unwrap().is_ack());
        }
        // No header says that this node published it: it came over the broker.
        notify(&stage, "a", BasicProperties::default()).await;
        expected.push("6e0dd59d-660e-4d9b-b22f-0354479f47b4");
        for listener in [&sync, &lazy] {
            assert_eq!(listener.called(expected.len()).await, expected);
        }
    }
    assert_eq!(sync.resynchronised() + lazy.resynchronised(), 0, "the queue is still the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_several_keys_reaches_a_listener_once_with_those_it_follows() {
    let stage = Stage::rabbitmq().await;
    let [one, _two] = stage.pair();
    let listener = Calls::follower(Mode::Async);
    let _registration = follow(&one, ["a", "b", "c"], &listener).await;
    let mut headers = FieldTable::default();
    let more = ["b", "other", ""].map(|key| AMQPValue::LongString(key.into()));
    headers.insert("CC".into(), AMQPValue::FieldArray(FieldArray::from(more.to_vec())));
    notify(&stage, "a", BasicProperties::default().with_headers(headers)).await;
    notify(&stage, "c", BasicProperties::default()).await;
    listener.called(2).await;
    assert_eq!(listener.keys(), [keys(["a", "b"]), keys(["c"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_fill_the_headers_travel_in_several_messages() {
    let stage = Stage::rabbitmq().await;
    let [one, two] = stage.pair();
    let listener = Calls::follower(Mode::Async);
    let names: Vec<String> = (0..1000).map(|n| format!("{n:04}{}", "k".repeat(240))).collect();
    let first = [names[0].as_str(), names[999].as_str()];
    let _registration = follow(&one, first, &listener).await;
    let all = names.iter().map(|key| RegistrationKey::parse(key).unwrap()).collect();
    publish(&two, &plain(&bus()), event("1"), all).await;
    listener.called(2).await;
    assert_eq!(listener.keys(), [keys([first[0]]), keys([first[1]])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_every_node_listener_runs_once_per_node_and_inline_where_dispatched() {
    let stage = Stage::rabbitmq().await;
    let mut everywhere = listener("g");
    (everywhere.delivery, everywhere.mode) = (Delivery::EveryNode, Mode::Sync);
    let (one, two) = (stage.bus("n1"), stage.bus("n2"));
    let (here, there) = (Calls::well(), Calls::well());
    let _here = stage.consume(&one, &everywhere, &here).await;
    let _there = stage.consume(&two, &everywhere, &there).await;
    let (one, two): (Arc<dyn EventBus>, Arc<dyn EventBus>) = (Arc::new(one), Arc::new(two));
    send(&one, "1", []).await;
    assert_eq!(here.order(), ["1"], "it has run when dispatch returns");
    there.began(1).await;
    send(&two, "2", []).await;
    here.began(2).await;
    send(&one, "3", []).await;
    there.began(3).await;
    assert_eq!((here.order(), there.order()), (here.order(), here.order()));
    assert_eq!(here.order(), ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_healthy_while_probes_come_back() {
    let stage = Stage::rabbitmq().await;
    let node = stage.bus("n1");
    assert!(node.notifications(&bus()).unwrap_err().to_string().contains("does not listen"));
    node.set_buses(&only(bus()));
    let healthy = async || node.notifications(&bus()).ok();
    wait::until("the first probe is back", healthy).await;
    connections::close_all(stage.host()).await;
    wait::until("the loss is noticed", async || node.notifications(&bus()).err()).await;
    wait::until("probes come back again", healthy).await;
    node.set_buses(&std::collections::BTreeMap::new());
    wait::until("it has stopped", async || {
        node.notifications(&bus())
            .err()
            .map(|fault| fault.to_string())
            .filter(|cause| cause.contains("stopped listening"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_before_the_exchange_is_there_is_established_when_it_is() {
    let layout = Layout { prefix: "late".into(), ..Layout::default() };
    let stage = Stage::rabbitmq_laid_out(&layout).await;
    let exchange = stage.layout.keys(&bus());
    let (_connection, channel) = stage.plain().await;
    let options = ExchangeDeleteOptions::default();
    channel.exchange_delete(exchange.into(), options).await.unwrap();
    let node: Arc<dyn EventBus> = Arc::new(stage.bus("n1"));
    let listener = Calls::follower(Mode::Async);
    let following: Arc<dyn KeyListener> = Arc::clone(&listener) as _;
    let registration = node.register(&plain(&bus()), keys(["a"]), following);
    let cause = wait::until("the cause is known", async || {
        node.notifications(&bus())
            .err()
            .map(|fault| fault.to_string())
            .filter(|cause| cause.contains("late.mailboxEvent.keys"))
    })
    .await;
    assert!(cause.starts_with("no notifications arrive"), "{cause}");
    stage.redeclare().await;
    node.wake();
    established(&registration).await;
    send(&node, "1", ["a"]).await;
    assert_eq!(listener.called(1).await, ["1"]);
    assert_eq!(listener.resynchronised(), 0, "nothing was missed before the first time");
}
