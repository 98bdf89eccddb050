//! Two processes with one node id.

use crate::support::{
    node::{Services, Setup},
    wait,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_with_a_nodes_id_does_not_become_ready_while_the_first_lives() {
    let (services, _host) = Services::fresh().await;
    let mut first = Setup::cluster("same", &services).start().await;
    let mut second = Setup::cluster("same", &services).launch();
    second.wait_status("/livez", 200).await;
    wait::until("the second process says why it is not ready", async || {
        second.log().contains("uses the node id same").then_some(())
    })
    .await;
    second.wait_status("/readyz", 503).await;
    assert!(second.log().contains("give each node its own --node-id"), "{}", second.log());
    first.wait_status("/readyz", 200).await;
    first.terminate().await;
    second.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_followed_by_a_process_with_its_id() {
    let (services, _host) = Services::fresh().await;
    let mut first = Setup::cluster("same", &services).start().await;
    first.kill();
    let mut second = Setup::cluster("same", &services).launch();
    second.wait_ready().await;
}
