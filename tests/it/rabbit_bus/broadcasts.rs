//! Changes of the topology, told to every node.

use crate::support::{
    bus::only,
    connections,
    stage::{Stage, specs::bus},
};
use hearken::{
    bus::{EventBus, TopologyChanged, rabbitmq::RabbitMqBus},
    domain::name::GroupName,
};
use std::time::Duration;

fn change(version: u64) -> TopologyChanged {
    let added = vec![GroupName::parse("a").unwrap()];
    TopologyChanged { bus: bus(), version, added, removed: Vec::new() }
}

async fn listening(node: &RabbitMqBus, times: u64) {
    let mut resyncs = node.resyncs();
    let listens = resyncs.wait_for(|count| *count >= times);
    tokio::time::timeout(Duration::from_secs(30), listens).await.expect("it listens").unwrap();
}

#[tokio::test]
async fn a_change_reaches_every_node_again_after_its_connection_was_lost() {
    let stage = Stage::rabbitmq().await;
    let (one, two) = (stage.bus("n1"), stage.bus("n2"));
    let (mut first, mut second) = (one.changes(), two.changes());
    for node in [&one, &two] {
        node.set_buses(&only(bus()));
        listening(node, 1).await;
    }
    one.announce(&change(1)).await;
    for changes in [&mut first, &mut second] {
        let heard = tokio::time::timeout(Duration::from_secs(30), changes.recv()).await;
        assert_eq!(heard.expect("it is heard").unwrap(), change(1));
    }
    connections::close_all(stage.host()).await;
    for node in [&one, &two] {
        listening(node, 2).await;
    }
    two.announce(&change(2)).await;
    for changes in [&mut first, &mut second] {
        let heard = tokio::time::timeout(Duration::from_secs(30), changes.recv()).await;
        assert_eq!(heard.expect("it is heard").unwrap(), change(2));
    }
}

#[tokio::test]
async fn a_node_listens_once_the_exchange_is_there_and_announcing_before_harms_nothing() {
    let stage = Stage::bare_rabbitmq().await;
    let node = stage.bus("n1");
    let mut changes = node.changes();
    node.set_buses(&only(bus()));
    node.announce(&change(1)).await;
    stage.redeclare().await;
    node.wake();
    listening(&node, 1).await;
    node.announce(&change(2)).await;
    let heard = tokio::time::timeout(Duration::from_secs(30), changes.recv()).await;
    assert_eq!(heard.expect("it is heard").unwrap(), change(2));
}
