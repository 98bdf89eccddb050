//! Tasks.

use super::{
    Bench,
    shared::{beat, node},
};
use hearken::{
    domain::report::{Task, TaskState},
    store::tasks::TaskFilter,
};
use serde_json::json;
use std::collections::BTreeSet;
use time::OffsetDateTime;
use uuid::Uuid;

fn task(kind: &str, node: &str) -> Task {
    Task {
        id: Uuid::new_v4(),
        kind: kind.into(),
        state: TaskState::Completed,
        actor: "alice".into(),
        submitted_from: "laptop".into(),
        node: node.into(),
        cancelled_from: None,
        submitted_at: OffsetDateTime::UNIX_EPOCH,
        started_at: None,
        ended_at: None,
        information: json!({"steps": 3}),
    }
}

pub(crate) async fn a_task_goes_its_way_once(bench: Bench) {
    let store = &bench.store;
    let given = task("reconcile", "n1");
    store.insert_task(&given).await.unwrap();
    let waiting = store.task(given.id).await.unwrap().unwrap();
    assert_eq!(waiting.state, TaskState::Waiting);
    assert!(waiting.submitted_at > OffsetDateTime::UNIX_EPOCH);
    assert_eq!(
        waiting,
        Task { state: TaskState::Waiting, submitted_at: waiting.submitted_at, ..given.clone() }
    );
    assert!(store.start_task(given.id).await.unwrap());
    assert!(!store.start_task(given.id).await.unwrap(), "it starts once");
    assert!(store.task_progress(given.id, &json!({"steps": 2})).await.unwrap());
    assert!(store.finish_task(given.id, TaskState::Completed, &json!({"steps": 0})).await.unwrap());
    assert!(!store.finish_task(given.id, TaskState::Failed, &json!({})).await.unwrap());
    assert!(!store.task_progress(given.id, &json!({})).await.unwrap());
    assert!(!store.request_cancel(given.id, "laptop").await.unwrap());
    let done = store.task(given.id).await.unwrap().unwrap();
    assert_eq!((done.state, &done.information), (TaskState::Completed, &json!({"steps": 0})));
    assert!(done.submitted_at <= done.started_at.unwrap() && done.started_at <= done.ended_at);
    assert_eq!(store.task(Uuid::new_v4()).await.unwrap(), None);
    assert!(store.insert_task(&given).await.is_err(), "an id names one task");
}

pub(crate) async fn a_cancelled_task_does_not_start(bench: Bench) {
    let store = &bench.store;
    let given = task("reconcile", "n1");
    store.insert_task(&given).await.unwrap();
    assert!(store.request_cancel(given.id, "laptop").await.unwrap());
    assert!(!store.request_cancel(given.id, "other").await.unwrap());
    assert!(!store.start_task(given.id).await.unwrap());
    let asked = store.task(given.id).await.unwrap().unwrap();
    assert_eq!(asked.state, TaskState::CanceledRequested);
    assert_eq!(asked.cancelled_from.as_deref(), Some("laptop"));
    assert!(store.finish_task(given.id, TaskState::Canceled, &json!({})).await.unwrap());
    assert!(!store.request_cancel(Uuid::new_v4(), "laptop").await.unwrap());
}

pub(crate) async fn tasks_are_filtered_and_listed_newest_first(bench: Bench) {
    let store = &bench.store;
    let tasks = [task("a", "n1"), task("b", "n1"), task("a", "n1"), task("c", "n1")];
    for (position, task) in tasks.iter().enumerate() {
        store.insert_task(task).await.unwrap();
        let minute = position * 60_000_000;
        bench
            .by_hand(&format!("UPDATE task SET submitted_at = 1000000000 + {minute} WHERE ended_at IS NULL AND started_at IS NULL"))
            .await
            .unwrap();
        store.start_task(task.id).await.unwrap();
    }
    store.finish_task(tasks[0].id, TaskState::Completed, &json!({})).await.unwrap();
    store.finish_task(tasks[1].id, TaskState::Failed, &json!({})).await.unwrap();
    let at = |minute: i64| OffsetDateTime::from_unix_timestamp(1000 + minute * 60).ok();
    let now = Some(OffsetDateTime::now_utc() - time::Duration::hours(1));
    let default = TaskFilter::default;
    for (filter, expected) in [
        (default(), vec![3, 2, 1, 0]),
        (TaskFilter { kind: Some("a".into()), ..default() }, vec![2, 0]),
        (TaskFilter { state: Some(TaskState::InProgress), ..default() }, vec![3, 2]),
        (TaskFilter { submitted_after: at(0), submitted_before: at(3), ..default() }, vec![2, 1]),
        (TaskFilter { started_after: now, ..default() }, vec![3, 2, 1, 0]),
        (TaskFilter { started_before: now, ..default() }, vec![]),
        (TaskFilter { completed_after: now, ..default() }, vec![0]),
        (TaskFilter { completed_before: now, ..default() }, vec![]),
        (TaskFilter { failed_after: now, ..default() }, vec![1]),
        (TaskFilter { failed_before: now, ..default() }, vec![]),
        (TaskFilter { offset: 1, limit: Some(2), ..default() }, vec![2, 1]),
        (TaskFilter { limit: Some(0), ..default() }, vec![]),
    ] {
        let found = store.tasks(&filter).await.unwrap();
        let ids: Vec<_> = found.iter().map(|task| task.id).collect();
        let expected: Vec<_> =
            expected.into_iter().map(|position: usize| tasks[position].id).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
}

pub(crate) async fn tasks_of_a_node_that_went_away_or_came_back_fail(bench: Bench) {
    let store = &bench.store;
    for id in ["alive", "silent", "restarted"] {
        beat(store, &node(id), Uuid::new_v4()).await.unwrap();
    }
    let tasks =
        [task("a", "alive"), task("a", "silent"), task("a", "restarted"), task("a", "never")];
    for task in &tasks {
        store.insert_task(task).await.unwrap();
    }
    // Submitted a moment ago, so that the next instance is later by any clock's resolution.
    bench.by_hand("UPDATE task SET submitted_at = submitted_at - 1000000").await.unwrap();
    bench.by_hand("UPDATE node SET started_at = started_at - 2000000").await.unwrap();
    bench
        .by_hand("UPDATE node SET last_seen = last_seen - 21000000 WHERE id = 'silent'")
        .await
        .unwrap();
    bench.store.forget_node("restarted").await.unwrap();
    beat(store, &node("restarted"), Uuid::new_v4()).await.unwrap();
    let failed: BTreeSet<_> = store.fail_tasks_of_gone_nodes().await.unwrap().into_iter().collect();
    assert_eq!(failed, tasks[1..].iter().map(|task| task.id).collect());
    let told = store.task(tasks[1].id).await.unwrap().unwrap();
    assert_eq!(told.state, TaskState::Failed);
    assert_eq!(told.information["steps"], 3);
    assert!(told.information["cause"].as_str().unwrap().contains("silent"));
    assert_eq!(store.task(tasks[0].id).await.unwrap().unwrap().state, TaskState::Waiting);
    assert!(store.fail_tasks_of_gone_nodes().await.unwrap().is_empty());
}
