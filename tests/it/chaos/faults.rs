//! Inflicting and mending the faults of a schedule.

use super::{
    groups::{GROUPS, TRAVELLER},
    schedule::{Fault, Step},
    world::{PATIENCE, World},
};
use crate::support::{proxy::Wire, wait};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use std::time::{Duration, Instant};
use xtask::services::{Postgres, RabbitMq};

/// Time that a fault waits until no event is kept as a dispatch failure, when the fault must not
/// meet such an event.
const KEPT: Duration = Duration::from_secs(20);

impl World {
    /// Inflicts the faults of a step, all at once, and returns when they are mended. Returns the
    /// times between which a group was away.
    pub(super) async fn suffer(&self, step: &Step) -> Vec<(Instant, Instant)> {
        let suffering = step.faults.iter().map(|fault| self.inflict(fault, step.lasts));
        join_all(suffering).await.into_iter().flatten().collect()
    }

    async fn inflict(&self, fault: &Fault, lasts: Duration) -> Option<(Instant, Instant)> {
        match *fault {
            Fault::Wire { node, link, wire } => {
                let proxy = self.link(node, link);
                proxy.set(wire);
                wait::pace(lasts).await;
                proxy.set(Wire::Up);
            }
            Fault::KillNode { node } => {
                self.node(node).await.kill();
                wait::pace(lasts).await;
                self.revive(node).await;
            }
            Fault::KillBroker { broker } => {
                self.broker(broker, RabbitMq::kill).await;
                wait::pace(lasts).await;
                self.broker(broker, |broker| broker.restart().expect("RabbitMQ starts again"))
                    .await;
            }
            Fault::KillDatabase => {
                self.postgres(Postgres::kill).await;
                wait::pace(lasts).await;
                self.postgres(|postgres| postgres.restart().expect("PostgreSQL starts again"))
                    .await;
            }
            Fault::Remove { group } => return self.remove(group, lasts).await,
        }
        None
    }

    /// Removes a group and adds it again. No event may be kept as a dispatch failure then: the
    /// event would be published while the group is away, and the group would rightly not get it.
    async fn remove(&self, group: &str, lasts: Duration) -> Option<(Instant, Instant)> {
        let deadline = Instant::now() + KEPT;
        let begin = loop {
            let begin = Instant::now();
            if self.dead_letters("dispatch-failure").await.is_some_and(|kept| kept.is_empty()) {
                break begin;
            }
            if Instant::now() > deadline {
                println!(
                    "chaos: skipped, because events are still kept that could not be published"
                );
                return None;
            }
            wait::look_again().await;
        };
        let path = format!("/listeners/{group}?pending=keep&wait=10s");
        self.insist(Method::DELETE, &path, false, StatusCode::NOT_FOUND).await;
        wait::pace(lasts).await;
        self.insist(Method::POST, "/listeners?wait=10s", true, StatusCode::CONFLICT).await;
        let node = self.node(0).await;
        wait::within(PATIENCE, "the group is bound again", async || {
            let state = node.try_call(Method::GET, "/topology", None).await.ok()?;
            (state.body["status"]["state"] == "converged").then_some(())
        })
        .await;
        node.wait_listener(group, "running").await;
        Some((begin, Instant::now()))
    }

    /// Asks one node after the other until the change is made or was made before.
    async fn insist(&self, method: Method, path: &str, adds: bool, made: StatusCode) {
        let traveller = GROUPS.iter().find(|group| group.name == TRAVELLER).expect("is there");
        let body = adds.then(|| traveller.listener(&self.receiver));
        let deadline = Instant::now() + PATIENCE;
        for turn in 0.. {
            let node = self.node(turn % self.nodes()).await;
            let answer = node.try_call(method.clone(), path, body.clone()).await;
            match answer {
                Ok(answer) if answer.status.is_success() || answer.status == made => return,
                answer => assert!(Instant::now() < deadline, "{method} {path}: {answer:?}"),
            }
            drop(node);
            wait::look_again().await;
        }
    }
}
