//! The contract against RabbitMQ.

mod only;

use super::contract::{self, bus};
use crate::support::services::{VirtualHost, virtual_host};
use hearken::{
    amqp::AmqpUrl,
    broker::{
        Broker,
        rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    },
    domain::layout::{Layout, QueueType},
};
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use uuid::Uuid;

pub(crate) fn layout() -> Layout {
    Layout { prefix: "hearken".into(), cluster: Uuid::from_u128(7), ..Layout::default() }
}

pub(crate) fn broker(host: &VirtualHost, layout: &Layout) -> RabbitMqBroker {
    RabbitMqBroker::new(RabbitMqConfig {
        amqp_url: AmqpUrl::parse(&host.amqp).unwrap(),
        management_url: Some(host.management.clone()),
        layout: layout.clone(),
        node: "test".into(),
    })
    .unwrap()
}

async fn fresh() -> (VirtualHost, RabbitMqBroker, Layout) {
    let host = virtual_host().await;
    let broker = broker(&host, &layout());
    (host, broker, layout())
}

/// Publishes events to the main exchange.
async fn publish(host: &VirtualHost, layout: &Layout, count: usize) {
    let plain = lapin::Connection::connect(&host.amqp, lapin::ConnectionProperties::default());
    let channel = plain.await.unwrap().create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for _ in 0..count {
        let options = BasicPublishOptions::default();
        let main = layout.main(&bus()).into();
        let properties = BasicProperties::default();
        let confirm = channel.basic_publish(main, "".into(), options, b"x", properties).await;
        assert!(confirm.unwrap().await.unwrap().is_ack());
    }
}

#[tokio::test]
async fn what_is_desired_is_observed() {
    let (_, broker, layout) = fresh().await;
    contract::what_is_desired_is_observed(&broker, &layout).await;
}

#[tokio::test]
async fn what_is_desired_of_classic_queues_is_observed() {
    let host = virtual_host().await;
    let layout = Layout { queue_type: QueueType::Classic, ..layout() };
    contract::what_is_desired_is_observed(&broker(&host, &layout), &layout).await;
}

#[tokio::test]
async fn the_marker_is_absent_or_names_its_cluster() {
    let (_, broker, layout) = fresh().await;
    contract::the_marker_is_absent_or_names_its_cluster(&broker, &layout).await;
}

#[tokio::test]
async fn a_bind_without_its_ends_is_missing() {
    let (_, broker, layout) = fresh().await;
    contract::a_bind_without_its_ends_is_missing(&broker, &layout).await;
}

#[tokio::test]
async fn unbinding_and_deleting_succeed_when_it_is_so_already() {
    let (_, broker, layout) = fresh().await;
    contract::unbinding_and_deleting_succeed_when_it_is_so_already(&broker, &layout).await;
}

#[tokio::test]
async fn a_deleted_group_comes_back_with_its_bindings() {
    let (_, broker, layout) = fresh().await;
    contract::a_deleted_group_comes_back_with_its_bindings(&broker, &layout).await;
}

#[tokio::test]
async fn the_depth_of_an_empty_queue_is_zero() {
    let (_, broker, layout) = fresh().await;
    contract::the_depth_of_an_empty_queue_is_zero(&broker, &layout).await;
}

#[tokio::test]
async fn the_oldest_event_that_waits_grows_older() {
    let (host, broker, layout) = fresh().await;
    let publish = async || publish(&host, &layout, 1).await;
    contract::the_oldest_event_that_waits_grows_older(&broker, &layout, publish).await;
}

#[tokio::test]
async fn a_report_does_nothing() {
    let (_, broker, layout) = fresh().await;
    contract::a_report_does_nothing(&broker, &layout).await;
}

#[tokio::test]
async fn the_broker_introduces_itself() {
    let (_, broker, _) = fresh().await;
    contract::the_broker_introduces_itself(&broker).await;
    assert!(broker.version().await.unwrap().starts_with("RabbitMQ "));
}
