//! Queues, channels and connections that go away.

use super::scene::{event, patient, recorder, running, scene, waiting};
use crate::support::bus::Dispatching as _;
use crate::{
    broker::contract::{bus, converge, listener},
    support::{
        connections,
        proxy::{Proxy, Wire, port_of},
        wait,
    },
};
use hearken::{
    amqp::{Amqp, AmqpUrl, Purpose},
    bus::EventBus,
};
use lapin::options::BasicConsumeOptions;
use reqwest::Method;
use std::sync::{Arc, Mutex};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_queue_deleted_under_its_consumer_is_waited_for_and_never_declared() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let handler = recorder();
    let consumer = scene.consume(&node, &listener("a"), handler.clone()).await;
    let queue = scene.queue(&listener("a"));
    scene.host.api(Method::DELETE, &format!("queues/{}/{queue}", scene.host.name), None).await;
    let cause = waiting(&consumer, "NOT_FOUND").await;
    assert!(cause.contains(&queue), "{cause}");
    converge(&scene.broker, &scene.layout, &[listener("a")]).await;
    node.wake();
    running(&consumer).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    consumer.stop.stop(patient()).await;
}

#[tokio::test]
async fn what_was_accepted_survives_connections_that_the_broker_closes() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let handler = recorder();
    let consumer = scene.consume(&node, &listener("a"), handler.clone()).await;
    let mut accepted = Vec::new();
    for n in 0..60 {
        if n == 20 || n == 40 {
            connections::close_all(&scene.host).await;
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
    consumer.stop.stop(patient()).await;
    assert_eq!(scene.count(&scene.queue(&listener("a"))).await, (0, 0));
}

#[tokio::test]
async fn a_consumer_whose_password_is_wrong_says_so() {
    let mut scene = scene(&[listener("a")]).await;
    scene.host.amqp = scene.host.amqp.replace("guest:guest@", "guest:secret@");
    let node = scene.bus("n1");
    let consumer = node.consume(scene.consumption(&listener("a")), recorder());
    let cause = waiting(&consumer, "--amqp-url").await;
    assert!(!cause.contains("secret"), "{cause}");
    consumer.stop.stop(patient()).await;
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
    let mut scene = scene(&[listener("a")]).await;
    let outside = scene.bus("outside");
    let (_, rest) = scene.host.amqp.split_once('@').unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    let (through, cut) = proxy(address.to_owned()).await;
    let direct = scene.host.amqp.clone();
    scene.host.amqp = format!("amqp://guest:guest@{through}/{path}?heartbeat=1");
    let node = scene.bus("n1");
    scene.host.amqp = direct;
    let handler = recorder();
    let consumer = scene.consume(&node, &listener("a"), handler.clone()).await;
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
    consumer.stop.stop(patient()).await;
    assert_eq!(scene.count(&scene.queue(&listener("a"))).await, (0, 0));
}

#[tokio::test]
async fn a_consumer_that_the_broker_grants_too_late_is_none() {
    let scene = scene(&[listener("a")]).await;
    let queue = scene.queue(&listener("a"));
    let wire = Proxy::before(port_of(&scene.host.amqp)).await;
    let url = AmqpUrl::parse(&wire.through(&scene.host.amqp)).unwrap();
    let amqp = Amqp::new(url, "n1", Purpose::Consume);
    let channel = amqp.channel().await.unwrap();
    wire.set(Wire::HalfOpen);
    let name = queue.as_str().into();
    let consuming = amqp.consume(&channel, name, BasicConsumeOptions::default());
    let granted = wait::until("the broker grants it", async || {
        (scene.count(&queue).await.1 == 1).then_some(())
    });
    let (refused, ()) = tokio::join!(consuming, granted);
    assert!(refused.is_err());
    drop(channel);
    // As long as the connection lasts it would be given events that no consumer runs.
    wire.set(Wire::Up);
    amqp.channel().await.unwrap();
    wait::until("it consumes no more", async || (scene.count(&queue).await.1 == 0).then_some(()))
        .await;
}
