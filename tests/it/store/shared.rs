//! What nodes share besides the roster.

use super::{Bench, group};
use crate::support::wait;
use hearken::{
    domain::{
        event::NodeRef,
        name::ClassName,
        report::{
            ListenerState, ListenerStatus, NodeState, NodeStatus, PassRecord, PassState,
            TopologyState, TopologyStatus,
        },
        roster::QueueId,
    },
    store::{
        AppendError, LeaseName, Store, StoreError,
        nodes::{Heartbeat, NodeInstance},
    },
};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

fn by(id: &str) -> NodeRef {
    NodeRef { id: id.into(), host: format!("{id}.example") }
}

pub(crate) fn node(id: &str) -> NodeStatus {
    NodeStatus {
        id: id.into(),
        host: format!("{id}.example"),
        version: "0.1.0".into(),
        state: NodeState::Degraded,
        started_at: OffsetDateTime::UNIX_EPOCH,
        last_seen: OffsetDateTime::UNIX_EPOCH,
        roster_version: 7,
        differing_settings: Vec::new(),
        listeners: vec![ListenerStatus {
            group: group("g"),
            class: ClassName::parse("webhook").unwrap(),
            state: ListenerState::Failed,
            cause: Some("a cause\0 of another system".into()),
            since: OffsetDateTime::UNIX_EPOCH,
        }],
    }
}

/// Sends a heartbeat of a process that started now. Returns its first and its last heartbeat, or
/// the host of another process that uses the id.
pub(crate) async fn beat(
    store: &Store,
    status: &NodeStatus,
    id: Uuid,
) -> Result<(OffsetDateTime, OffsetDateTime), String> {
    let instance = NodeInstance { id, uptime: Duration::ZERO };
    match store.heartbeat(status, instance).await.unwrap() {
        Heartbeat::Written { started_at, last_seen, .. } => Ok((started_at, last_seen)),
        Heartbeat::IdInUse { host } => Err(host),
    }
}

pub(crate) async fn a_node_is_seen_as_it_reports_itself(bench: Bench) {
    let (store, instance) = (&bench.store, Uuid::new_v4());
    let (started, _) = beat(store, &node("n1"), instance).await.unwrap();
    assert!((OffsetDateTime::now_utc() - started).abs() < time::Duration::minutes(1));
    let mut later = NodeStatus { state: NodeState::Ready, roster_version: 8, ..node("n1") };
    let (again, last_seen) = beat(store, &later, instance).await.unwrap();
    assert_eq!(again, started);
    (later.started_at, later.last_seen) = (started, last_seen);
    later.listeners[0].cause = Some("a cause\u{fffd} of another system".into());
    assert_eq!(store.nodes().await.unwrap(), [later]);
}

pub(crate) async fn a_node_not_heard_of_is_gone(bench: Bench) {
    for id in ["n1", "n2", "n3"] {
        beat(&bench.store, &node(id), Uuid::new_v4()).await.unwrap();
    }
    bench
        .by_hand("UPDATE node SET last_seen = last_seen - 21000000 WHERE id = 'n2'")
        .await
        .unwrap();
    bench.store.forget_node("n3").await.unwrap();
    let states = async || {
        let nodes = bench.store.nodes().await.unwrap();
        nodes.into_iter().map(|node| (node.id, node.state)).collect::<Vec<_>>()
    };
    let expected = [("n1", NodeState::Degraded), ("n2", NodeState::Gone), ("n3", NodeState::Gone)];
    assert_eq!(states().await, expected.map(|(id, state)| (id.to_owned(), state)));
}

pub(crate) async fn a_second_process_with_the_same_id_is_told_of_its_twin(bench: Bench) {
    let (store, one, two) = (&bench.store, Uuid::new_v4(), Uuid::new_v4());
    let first = beat(store, &node("n1"), one).await.unwrap();
    assert_eq!(beat(store, &node("n1"), two).await.unwrap_err(), "n1.example");
    assert_eq!(beat(store, &node("n1"), one).await.unwrap().0, first.0, "the twin changed nothing");
    store.forget_node("n1").await.unwrap();
    let second = beat(store, &node("n1"), two).await.unwrap();
    assert!(second.0 > first.0);
    assert_eq!(beat(store, &node("n1"), one).await.unwrap_err(), "n1.example");
    bench.by_hand("UPDATE node SET last_seen = last_seen - 13000000").await.unwrap();
    let uptime = Duration::from_secs(30);
    let waited = store.heartbeat(&node("n1"), NodeInstance { id: one, uptime }).await.unwrap();
    let Heartbeat::Written { started_at, last_seen, .. } = waited else {
        panic!("the other process is silent, so its id is free");
    };
    let shown = (last_seen - started_at).unsigned_abs();
    assert!(shown.abs_diff(uptime) < Duration::from_secs(1), "it ran before it owned the id");
}

pub(crate) async fn an_event_waits_until_every_live_node_can_read_it(bench: Bench) {
    let store = &bench.store;
    beat(store, &node("n1"), Uuid::new_v4()).await.unwrap();
    super::append(store, 0, "a").await.unwrap();
    // As a node of an older hearken, which knows fewer forms of events.
    beat(store, &NodeStatus { version: "0.0.9".into(), ..node("n2") }, Uuid::new_v4())
        .await
        .unwrap();
    bench.by_hand("UPDATE node SET event_forms = 0 WHERE id = 'n2'").await.unwrap();
    let refused = super::append(store, 1, "b").await.unwrap_err();
    assert!(
        matches!(&refused, AppendError::Store(StoreError::OutdatedNode { node, software })
        if node == "n2" && software == "0.0.9"),
        "{refused:?}"
    );
    assert_eq!(store.head().await.unwrap(), 1, "nothing was written");
    bench
        .by_hand("UPDATE node SET last_seen = last_seen - 21000000 WHERE id = 'n2'")
        .await
        .unwrap();
    super::append(store, 1, "b").await.unwrap();
}

pub(crate) fn pass(version: u64) -> PassRecord {
    PassRecord {
        id: 0,
        node: by("n1"),
        started_at: OffsetDateTime::UNIX_EPOCH,
        state: PassState::Running,
        finished_at: None,
        version,
        steps: Vec::new(),
    }
}

pub(crate) async fn passes_are_numbered_upwards(bench: Bench) {
    let store = &bench.store;
    let lease = store.take(LeaseName::Passes, "n1").await.unwrap();
    let mut ids = Vec::new();
    for version in 0..5 {
        let mut pass = pass(version);
        lease.record_pass(&mut pass).await.unwrap();
        ids.push(pass.id);
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let page = store.passes(ids[1], 2).await.unwrap();
    assert_eq!(page, [PassRecord { id: ids[2], ..pass(2) }, PassRecord { id: ids[3], ..pass(3) }]);
}

pub(crate) async fn a_pass_without_an_end_is_known_to_the_next_holder(bench: Bench) {
    let store = &bench.store;
    let lease = store.take(LeaseName::Passes, "n1").await.unwrap();
    let [mut ended, mut changed_nothing, mut killed] = [1, 2, 3].map(pass);
    for pass in [&mut ended, &mut changed_nothing, &mut killed] {
        lease.record_pass(pass).await.unwrap();
    }
    ended.state = PassState::Finished;
    lease.record_pass(&mut ended).await.unwrap();
    lease.forget_pass(changed_nothing.id).await.unwrap();
    assert_eq!(lease.unfinished_passes().await.unwrap(), [], "the lease was taken before");
    lease.release().await;

    let next = store.take(LeaseName::Passes, "n2").await.unwrap();
    assert_eq!(next.unfinished_passes().await.unwrap(), [killed.clone()]);
    killed.state = PassState::Interrupted;
    next.record_pass(&mut killed).await.unwrap();
    next.release().await;

    let third = store.take(LeaseName::Passes, "n2").await.unwrap();
    assert_eq!(third.unfinished_passes().await.unwrap(), []);
    assert_eq!(store.passes(0, 9).await.unwrap(), [ended, killed]);
}

pub(crate) async fn the_status_is_kept_and_rings_the_doorbell(bench: Bench) {
    let store = &bench.store;
    assert_eq!(store.topology_status().await.unwrap(), TopologyStatus::default());
    let mut bell = store.doorbell();
    if bench.is_postgres() {
        wait::until("the doorbell is heard", async || (*bell.borrow() > 0).then_some(())).await;
    }
    bell.borrow_and_update();
    let status = TopologyStatus {
        reconciled_version: 4,
        state: TopologyState::Pending,
        observed_at: Some(OffsetDateTime::UNIX_EPOCH),
        node: "n1".into(),
        ..TopologyStatus::default()
    };
    let lease = store.take(LeaseName::Passes, "n1").await.unwrap();
    lease.save_topology_status(&TopologyStatus::default()).await.unwrap();
    lease.save_topology_status(&status).await.unwrap();
    assert_eq!(store.topology_status().await.unwrap(), status);
    tokio::time::timeout(Duration::from_secs(10), bell.changed()).await.expect("it rings").unwrap();
}

pub(crate) async fn a_retired_queue_and_the_marker_are_remembered(bench: Bench) {
    let store = &bench.store;
    assert!(store.retired().await.unwrap().is_empty());
    let lease = store.take(LeaseName::Passes, "n1").await.unwrap();
    lease.retire(&QueueId::new(group("a"), 1), 12).await.unwrap();
    lease.retire(&QueueId::new(group("a"), 1), 0).await.unwrap();
    lease.retire(&QueueId::new(group("a"), 2), 0).await.unwrap();
    let expected = [1, 2].map(|generation| QueueId::new(group("a"), generation)).into();
    assert_eq!(store.retired().await.unwrap(), expected);
    assert!(!store.marker_made().await.unwrap());
    lease.set_marker_made().await.unwrap();
    assert!(store.marker_made().await.unwrap());
}

pub(crate) async fn a_closed_store_says_that_it_is_out_of_reach(bench: Bench) {
    bench.store.close().await;
    assert!(bench.store.ping().await.unwrap_err().is_unavailable());
    assert!(bench.store.head().await.unwrap_err().is_unavailable());
}
