//! Conditions, each from a roster, a status and reports of nodes.

use super::{Condition, ConditionReason, ConditionStatus, ConditionType, ListenerEvidence};
use crate::domain::{
    command::Pending,
    drift::{Drift, DriftKind, Object, Remedy},
    event::RosterEvent,
    layout::Layout,
    name::{BusName, ClassName, GroupName},
    report::{
        DriftReport, ListenerState, ListenerStatus, NodeState, NodeStatus, PassFailure,
        TopologyState, TopologyStatus,
    },
    roster::tests::{added, changed, given, removed},
    topology::{Binding, Queue},
};
use time::{Duration, OffsetDateTime};

const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn layout() -> Layout {
    Layout { prefix: "hearken".into(), ..Layout::default() }
}

fn group() -> GroupName {
    GroupName::parse("a").unwrap()
}

fn work(generation: u32) -> String {
    format!("hearken.mailboxEvent.work.a.v{generation}")
}

/// Status of a pass that compared the broker with version 3.
fn status(drift: Vec<DriftReport>) -> TopologyStatus {
    let state = if drift.is_empty() { TopologyState::Converged } else { TopologyState::Drifted };
    TopologyStatus { reconciled_version: 3, state, drift, ..TopologyStatus::default() }
}

/// Missing binding of a queue, seen a minute after the start.
fn unbound(queue: &str) -> DriftReport {
    let expected = Some(Object::Binding(Binding::of_queue("hearken.mailboxEvent", queue, "")));
    let drift = Drift { kind: DriftKind::Missing, expected, found: None, remedy: Remedy::Bind };
    DriftReport::new(&drift, START + Duration::MINUTE)
}

/// Drift of a queue.
fn queue(name: String, kind: DriftKind, remedy: Remedy) -> DriftReport {
    let queue = layout().work_queue(&bus(), &group(), 1, 1);
    let found = Some(Object::Queue(Queue { name, ..queue }));
    DriftReport::new(&Drift { kind, expected: None, found, remedy }, START + Duration::MINUTE)
}

fn bus() -> BusName {
    BusName::parse("mailboxEvent").unwrap()
}

/// A node with the listener in this state.
fn node(id: &str, state: ListenerState, cause: Option<&str>) -> NodeStatus {
    let listener = ListenerStatus {
        group: group(),
        class: ClassName::parse("log").unwrap(),
        state,
        cause: cause.map(str::to_owned),
        since: START + Duration::HOUR,
    };
    NodeStatus {
        id: id.into(),
        host: "h".into(),
        version: "1".into(),
        state: NodeState::Ready,
        started_at: START,
        last_seen: START,
        roster_version: 3,
        differing_settings: Vec::new(),
        listeners: vec![listener],
    }
}

fn consuming() -> [NodeStatus; 1] {
    [node("n1", ListenerState::Running, None)]
}

/// Conditions of group `a` after these events.
fn conditions(
    events: &[RosterEvent],
    status: &TopologyStatus,
    nodes: &[NodeStatus],
) -> Vec<Condition> {
    let (layout, roster) = (layout(), given(events));
    let configured = roster.configured(&group()).unwrap();
    let evidence = ListenerEvidence::new(&layout, &roster, status, nodes);
    assert_eq!(evidence.has_topology(configured), status.has_listener(&layout, configured));
    evidence.conditions(configured)
}

/// Types of the conditions that hold.
fn held(conditions: &[Condition]) -> Vec<ConditionType> {
    let held = conditions.iter().filter(|condition| condition.status == ConditionStatus::True);
    held.map(|condition| condition.kind).collect()
}

fn ready(conditions: &[Condition]) -> (ConditionStatus, ConditionReason) {
    (conditions[0].status, conditions[0].reason)
}

#[test]
fn a_listener_is_ready_when_the_broker_has_it_and_a_node_consumes() {
    let found = conditions(&[added("a", 1)], &status(vec![]), &consuming());
    assert_eq!(held(&found), [ConditionType::Ready]);
    assert_eq!((found[0].version, found[0].since), (1, START + Duration::HOUR));
    assert_eq!(found[0].message, "1 of 1 nodes consume");
}

#[test]
fn a_listener_applies_until_a_pass_compared_its_version() {
    let events = [added("a", 1), added("b", 1), added("c", 1), changed("a", 5)];
    let found = conditions(&events, &status(vec![]), &consuming());
    assert_eq!(held(&found), [ConditionType::Applying]);
    assert_eq!(ready(&found), (ConditionStatus::False, ConditionReason::Applying));
    assert_eq!((found[1].reason, found[1].version), (ConditionReason::NotCompared, 4));
}

#[test]
fn a_lost_binding_is_a_condition_of_its_own_listener_alone() {
    let own = conditions(&[added("a", 1)], &status(vec![unbound(&work(1))]), &consuming());
    assert_eq!(held(&own), [ConditionType::Applying]);
    assert_eq!(own[1].reason, ConditionReason::Differs);
    assert!(own[1].message.contains(&work(1)), "{}", own[1].message);
    assert_eq!(own[1].since, START + Duration::MINUTE);
    let other = conditions(&[added("a", 1)], &status(vec![unbound(&work(2))]), &consuming());
    assert_eq!(held(&other), [ConditionType::Ready]);
}

#[test]
fn a_lost_wait_queue_concerns_the_listeners_that_use_its_level() {
    let status =
        |millis: u64| status(vec![unbound(&format!("hearken.mailboxEvent.wait.{millis}"))]);
    let used = conditions(&[added("a", 1)], &status(100), &consuming());
    assert_eq!(held(&used), [ConditionType::Applying]);
    let unused = conditions(&[added("a", 1)], &status(819_200), &consuming());
    assert_eq!(held(&unused), [ConditionType::Ready]);
}

#[test]
fn a_refused_object_blocks_with_the_words_of_the_broker() {
    let refusal = Some("PRECONDITION_FAILED - inequivalent arg".to_owned());
    let drift = DriftReport { refusal, ..unbound(&work(1)) };
    let found = conditions(&[added("a", 1)], &status(vec![drift]), &consuming());
    assert_eq!(held(&found), [ConditionType::Blocked]);
    assert_eq!(ready(&found), (ConditionStatus::False, ConditionReason::Blocked));
    assert_eq!(found[1].reason, ConditionReason::Refused);
    assert!(found[1].message.contains("PRECONDITION_FAILED"), "{}", found[1].message);
}

#[test]
fn a_queue_that_an_operator_must_migrate_blocks() {
    let drift = queue(work(1), DriftKind::Divergent, Remedy::Migrate);
    let found = conditions(&[added("a", 1)], &status(vec![drift]), &consuming());
    assert_eq!(found[1].reason, ConditionReason::NeedsDecision);
}

#[test]
fn a_broker_that_cannot_be_read_blocks_what_it_lacks_and_hides_the_others() {
    let failure = Some(PassFailure { since: START, cause: "no route to host".into() });
    let unknown = TopologyStatus { state: TopologyState::Unknown, failure, ..status(vec![]) };
    let had = conditions(&[added("a", 1)], &unknown, &consuming());
    assert_eq!(ready(&had), (ConditionStatus::Unknown, ConditionReason::PassFailed));
    assert_eq!((held(&had), had[0].message.as_str()), (vec![], "no route to host"));
    let never = TopologyStatus { reconciled_version: 0, ..unknown };
    let lacks = conditions(&[added("a", 1)], &never, &consuming());
    assert_eq!(held(&lacks), [ConditionType::Blocked]);
    assert_eq!(lacks[1].reason, ConditionReason::PassFailed);
}

#[test]
fn a_pause_is_since_its_own_version_also_after_a_change() {
    let events = [added("a", 1), RosterEvent::ListenerPaused { group: group() }, changed("a", 5)];
    let found = conditions(&events, &status(vec![]), &[]);
    assert_eq!(held(&found), [ConditionType::Paused]);
    assert_eq!(ready(&found), (ConditionStatus::False, ConditionReason::Paused));
    assert_eq!(found[1].version, 2);
    assert!(found[1].message.starts_with("alice paused"), "{}", found[1].message);
}

#[test]
fn a_listener_that_no_node_runs_is_not_ready_and_says_why() {
    let reason = |nodes: &[NodeStatus]| {
        let found = conditions(&[added("a", 1)], &status(vec![]), nodes);
        assert_eq!((held(&found), found[0].status), (vec![], ConditionStatus::False));
        (found[0].reason, found[0].message.clone())
    };
    assert_eq!(reason(&[]).0, ConditionReason::NoNode);
    let gone = NodeStatus { state: NodeState::Gone, ..consuming()[0].clone() };
    assert_eq!(reason(&[gone]).0, ConditionReason::NoNode);
    let starts = node("n1", ListenerState::Starting, Some("its queue is not there"));
    assert_eq!(reason(std::slice::from_ref(&starts)).0, ConditionReason::Starting);
    let failed = node("n2", ListenerState::Failed, Some("no url"));
    let (impaired, message) = reason(&[starts, failed]);
    assert_eq!((impaired, message.as_str()), (ConditionReason::Impaired, "node n2: no url"));
}

#[test]
fn earlier_queues_and_unknown_queues_are_told_beside_ready() {
    let events = [added("a", 1), removed("a", Pending::Drain), added("a", 2)];
    let drains = queue(work(1), DriftKind::Surplus, Remedy::Delete);
    let orphan = queue(work(9), DriftKind::Orphan, Remedy::Report);
    let found = conditions(&events, &status(vec![drains, orphan]), &consuming());
    let beside = [ConditionType::Ready, ConditionType::Draining, ConditionType::Orphan];
    assert_eq!(held(&found), beside);
    assert_eq!((found[1].version, found[2].version), (2, 3));
    assert!(found[1].message.contains(&work(1)) && found[2].message.contains(&work(9)));
}
