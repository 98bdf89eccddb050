//! Queues, channels and connections that go away.

use crate::support::{
    bus::Dispatching as _,
    connections,
    proxy::{Proxy, Wire, port_of},
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        running,
        specs::{bus, event, listener},
        waiting,
    },
    wait,
};
use hearken::{
    amqp::{Amqp, AmqpUrl, Purpose},
    bus::EventBus,
};
use lapin::options::BasicConsumeOptions;
use std::sync::{Arc, Mutex};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_queue_deleted_under_its_consumer_is_waited_for_and_never_declared() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let handler = Calls::well();
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    let queue = stage.queue(&listener("a"));
    stage.delete_queue(&queue).await;
    let cause = waiting(&consumer, "NOT_FOUND").await;
    assert!(cause.contains(&queue), "{cause}");
    stage.redeclare().await;
    node.wake();
    running(&consumer).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn what_was_accepted_survives_connections_that_the_broker_closes() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let handler = Calls::well();
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    let mut accepted = Vec::new();
    for n in 0..60 {
        if n == 20 || n == 40 {
            connections::close_all(stage.host()).await;
        }
        let id = format!("e{n:02}");
        wait::until("the event is accepted", async || {
            node.dispatch(&bus(), &event(&id), true).await.ok()
        })
        .await;
        accepted.push(id);
    }
    wait::until("every accepted event has run", async || {
        let ids = handler.ids();
        accepted.iter().all(|id| ids.contains(id)).then_some(())
    })
    .await;
    running(&consumer).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(stage.count_of(&listener("a")).await, (0, 0));
}

#[tokio::test]
async fn a_consumer_whose_password_is_wrong_says_so() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus_at("n1", &stage.host().amqp.replace("guest:guest@", "guest:secret@"));
    let consumer = node.consume(stage.consumption(&listener("a")), Calls::well());
    let cause = waiting(&consumer, "--amqp-url").await;
    assert!(!cause.contains("secret"), "{cause}");
    consumer.stop.stop(PATIENCE).await;
}

/// Forwards to an address. Cancelling the token silences the connections there are, without
/// closing them, as a cut cable does.
async fn proxy(to: String) -> (String, Arc<Mutex<CancellationToken>>) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let cut = Arc::new(Mutex::new(CancellationToken::new()));
    let current = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = server.accept().await {
            let mut far = TcpStream::connect(&to).await.unwrap();
            let cut = current.lock().unwrap().clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    () = cut.cancelled() => std::future::pending().await,
                }
            });
        }
    });
    (address, cut)
}

#[tokio::test]
async fn a_cut_network_is_noticed_by_its_silence_and_nothing_is_lost() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let outside = stage.bus("outside");
    let (_, rest) = stage.host().amqp.split_once('@').unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    let (through, cut) = proxy(address.to_owned()).await;
    let node = stage.bus_at("n1", &format!("amqp://guest:guest@{through}/{path}?heartbeat=1"));
    let handler = Calls::well();
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    node.dispatch(&bus(), &event("before"), true).await.unwrap();
    handler.began(1).await;
    cut.lock().unwrap().cancel();
    *cut.lock().unwrap() = CancellationToken::new();
    outside.dispatch(&bus(), &event("meanwhile"), true).await.unwrap();
    // Both connections were cut; both come back by themselves.
    wait::until("events are accepted again", async || {
        node.dispatch(&bus(), &event("after"), true).await.ok()
    })
    .await;
    wait::until("every accepted event has run", async || {
        let ids = handler.ids();
        ["before", "meanwhile", "after"]
            .iter()
            .all(|id| ids.contains(&(*id).to_owned()))
            .then_some(())
    })
    .await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(stage.count_of(&listener("a")).await, (0, 0));
}

#[tokio::test]
async fn a_consumer_that_the_broker_grants_too_late_is_closed() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let queue = stage.queue(&listener("a"));
    let wire = Proxy::before(port_of(&stage.host().amqp)).await;
    let url = AmqpUrl::parse(&wire.through(&stage.host().amqp)).unwrap();
    let amqp = Amqp::new(url, "n1", Purpose::Consume);
    let channel = amqp.channel().await.unwrap();
    wire.set(Wire::HalfOpen);
    let name = queue.as_str().into();
    let consuming = amqp.consume(&channel, name, BasicConsumeOptions::default());
    let granted = wait::until("the broker grants it", async || {
        (stage.count(&queue).await.1 == 1).then_some(())
    });
    let (refused, ()) = tokio::join!(consuming, granted);
    assert!(refused.is_err());
    drop(channel);
    // As long as the connection lasts it would be given events that no consumer runs.
    wire.set(Wire::Up);
    amqp.channel().await.unwrap();
    wait::until("it consumes no more", async || (stage.count(&queue).await.1 == 0).then_some(()))
        .await;
}
