//! The contract against the embedded broker.

use super::contract;
use hearken::{
    broker::local::LocalBroker,
    domain::layout::{Flavor, Layout},
    store::embedded::Occupancy,
    store::{Store, embedded::Embedded},
};
use serde_json::json;
use tempfile::TempDir;

async fn with_store() -> (TempDir, Embedded, LocalBroker, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(folder.path()).await.unwrap();
    let (prefix, cluster) = ("hearken".to_owned(), store.cluster_id());
    let layout = Layout { prefix, cluster, flavor: Flavor::Local, ..Layout::default() };
    let embedded = store.embedded().unwrap();
    let broker = LocalBroker::new(embedded.clone(), layout.clone(), Occupancy::default());
    (folder, embedded, broker, layout)
}

async fn fresh() -> (TempDir, LocalBroker, Layout) {
    let (folder, _, broker, layout) = with_store().await;
    (folder, broker, layout)
}

#[tokio::test]
async fn what_is_desired_is_observed() {
    let (_folder, broker, layout) = fresh().await;
    contract::what_is_desired_is_observed(&broker, &layout).await;
}

#[tokio::test]
async fn the_marker_is_absent_or_names_its_cluster() {
    let (_folder, broker, layout) = fresh().await;
    contract::the_marker_is_absent_or_names_its_cluster(&broker, &layout).await;
}

#[tokio::test]
async fn a_bind_without_its_ends_is_missing() {
    let (_folder, broker, layout) = fresh().await;
    contract::a_bind_without_its_ends_is_missing(&broker, &layout).await;
}

#[tokio::test]
async fn unbinding_and_deleting_succeed_when_it_is_so_already() {
    let (_folder, broker, layout) = fresh().await;
    contract::unbinding_and_deleting_succeed_when_it_is_so_already(&broker, &layout).await;
}

#[tokio::test]
async fn a_deleted_group_comes_back_with_its_bindings() {
    let (_folder, broker, layout) = fresh().await;
    contract::a_deleted_group_comes_back_with_its_bindings(&broker, &layout).await;
}

#[tokio::test]
async fn the_depth_of_an_empty_queue_is_zero() {
    let (_folder, broker, layout) = fresh().await;
    contract::the_depth_of_an_empty_queue_is_zero(&broker, &layout).await;
}

#[tokio::test]
async fn the_oldest_event_that_waits_grows_older() {
    let (_folder, embedded, broker, layout) = with_store().await;
    let publish = async || {
        let main = layout.main(&contract::bus());
        embedded.publish(&main, "", None, &json!({}), b"x").await.unwrap();
    };
    contract::the_oldest_event_that_waits_grows_older(&broker, &layout, publish).await;
}

#[tokio::test]
async fn a_report_does_nothing() {
    let (_folder, broker, layout) = fresh().await;
    contract::a_report_does_nothing(&broker, &layout).await;
}

#[tokio::test]
async fn the_broker_introduces_itself() {
    let (_folder, broker, _) = fresh().await;
    contract::the_broker_introduces_itself(&broker).await;
}
