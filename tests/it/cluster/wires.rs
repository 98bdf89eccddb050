//! Wires to the broker and the database that break at a bad moment.

use super::faults::{groups, log};
use crate::support::{
    node::{Services, Setup},
    proxy::{Proxy, Wire, port_of},
    wait,
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

/// Services behind a proxy each.
pub(super) async fn behind_proxies() -> (Services, Proxy, Proxy, Services) {
    let (direct, _host) = Services::fresh().await;
    let database = Proxy::before(port_of(&direct.database)).await;
    let broker = Proxy::before(port_of(&direct.amqp)).await;
    let services = Services {
        database: database.through(&direct.database),
        amqp: broker.through(&direct.amqp),
        management: direct.management.clone(),
    };
    (services, database, broker, direct)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_cut_during_a_pass_costs_nothing_but_time() {
    let (services, _, broker, _) = behind_proxies().await;
    let node = Setup::cluster("one", &services).start().await;
    let add =
        |number: usize| node.call(Method::POST, "/listeners", Some(log(&format!("g{number}"))));
    let adding = join_all((0..60).map(add));
    let breaking = async {
        for wire in [Wire::Cut, Wire::Up, Wire::BlackHole, Wire::Cut, Wire::Up] {
            broker.set(wire);
            // Some steps of the pass get through, or fail, between two changes of the wire.
            broker.used(3).await;
        }
    };
    let (answers, ()) = tokio::join!(adding, breaking);
    assert!(answers.iter().all(|answer| answer.status == 201));
    wait::within(Duration::from_mins(1), "it converges", async || {
        (node.topology_state().await == "converged").then_some(())
    })
    .await;
    for number in 0..60 {
        node.wait_listener(&format!("g{number}"), "running").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_cut_during_a_command_is_a_clear_503_and_leaves_no_half_state() {
    let (services, database, _, direct) = behind_proxies().await;
    let node = Setup::cluster("one", &services).start().await;
    let witness = Setup::cluster("witness", &direct).start().await;
    node.add(json!({"class": "log", "group": "before"})).await;

    let mut unclear = 0;
    for round in 0..6 {
        let wire = if round % 2 == 0 { Wire::Cut } else { Wire::BlackHole };
        let group = format!("g{round}");
        let command = node.call(Method::POST, "/listeners", Some(log(&group)));
        let cut = async {
            database.used(round).await;
            database.set(wire);
        };
        let (answer, ()) = tokio::join!(command, cut);
        match answer.status.as_u16() {
            201 => {}
            503 => {
                unclear += 1;
                let problem = &answer.body;
                assert!(problem["type"].as_str().unwrap().contains("unavailable"), "{problem}");
                assert!(answer.headers.contains_key("retry-after"));
            }
            status => panic!("{status}: {}", answer.body),
        }
        // Whole or not at all, with any answer; and a success is never taken back.
        let there = groups(&witness).await.contains(&group);
        assert!(there || answer.status == 503, "{group} was acknowledged and is gone");
        database.set(Wire::Up);
        wait::until("the node answers again", async || {
            (node.call(Method::GET, "/listeners", None).await.status == 200).then_some(())
        })
        .await;
        assert_eq!(groups(&node).await, groups(&witness).await);
    }
    assert!(unclear > 0, "the database was never missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_repeated_with_its_idempotency_key_after_a_lost_answer_happens_once() {
    let (services, _host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    let client = reqwest::Client::new();
    let send = async |group: &str| {
        let request = client.post(format!("{}/listeners", node.url));
        let request =
            request.bearer_auth(crate::support::node::TOKEN).header("Idempotency-Key", "once");
        request.json(&log(group)).send().await.unwrap()
    };
    let answers = join_all((0..8).map(|_| send("a"))).await;
    for answer in answers {
        assert_eq!(answer.status(), 201);
    }
    assert_eq!(send("b").await.status(), 409);
    let history = node.get("/listeners/history").await;
    assert_eq!(history["events"].as_array().unwrap().len(), 1);
}
