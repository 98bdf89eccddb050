//! Which queues may be deleted, on whose request, and when.

use super::*;
use crate::domain::{
    bus::{BusDefinition, Buses},
    desired::desired,
    event::RosterEvent,
    name::{BusName, GroupName},
    plan::tests::{desired_of, foreign_queue, layout},
    roster::{
        QueueId,
        tests::{added, given, orphan},
    },
    topology::{Arguments, Binding},
};
use std::collections::BTreeSet;
use uuid::Uuid;

const WORK: &str = "hearken.mailboxEvent.work.a.v1";
const EMPTY: Depth = Depth { ready: 0, unacked: 0, consumers: 0 };

fn fate(pending: Pending) -> Fate {
    let id = QueueId::new(GroupName::parse("a").unwrap(), 1);
    Fate { id: Some(id), pending, quiet: Span::from_secs(6) }
}

fn seconds_after(start: Instant) -> impl Fn(u64) -> Instant {
    move |seconds| start + Duration::from_secs(seconds)
}

#[test]
fn a_drained_queue_is_deleted_after_two_empty_samples_its_quiet_time_apart() {
    let (mut quiet, fate, at) =
        (QuietQueues::default(), fate(Pending::Drain), seconds_after(Instant::now()));
    let wait = Err(NotYet::MustStayQuiet(fate.quiet));
    assert_eq!(quiet.check("q", &fate, EMPTY, at(0)), wait);
    assert_eq!(quiet.check("q", &fate, EMPTY, at(5)), wait);
    assert_eq!(quiet.check("q", &fate, EMPTY, at(6)), Ok(()));
}

#[test]
fn an_event_or_a_consumer_in_between_restarts_the_quiet_time() {
    let fate = fate(Pending::Drain);
    for busy in [Depth { unacked: 1, ..EMPTY }, Depth { consumers: 1, ..EMPTY }] {
        let (mut quiet, at) = (QuietQueues::default(), seconds_after(Instant::now()));
        assert!(quiet.check("q", &fate, EMPTY, at(0)).is_err());
        assert_eq!(quiet.check("q", &fate, busy, at(5)), Err(NotYet::Occupied(busy)));
        assert!(quiet.check("q", &fate, EMPTY, at(7)).is_err());
    }
}

#[test]
fn two_samples_far_apart_say_nothing_of_the_time_between() {
    let (mut quiet, fate, at) =
        (QuietQueues::default(), fate(Pending::Drain), seconds_after(Instant::now()));
    let wait = Err(NotYet::MustStayQuiet(fate.quiet));
    assert_eq!(quiet.check("q", &fate, EMPTY, at(0)), wait);
    assert_eq!(quiet.check("q", &fate, EMPTY, at(60)), wait);
    assert_eq!(quiet.check("q", &fate, EMPTY, at(66)), Ok(()));
}

#[test]
fn a_discarded_queue_waits_for_its_consumers_only() {
    let (mut quiet, now) = (QuietQueues::default(), Instant::now());
    let fate = fate(Pending::Discard);
    let consumed = Depth { ready: 5, unacked: 0, consumers: 1 };
    assert_eq!(quiet.check("q", &fate, consumed, now), Err(NotYet::Occupied(consumed)));
    let left = Depth { ready: 5, unacked: 0, consumers: 0 };
    assert_eq!(quiet.check("q", &fate, left, now), Ok(()));
}

#[test]
fn evidence_about_a_queue_that_is_gone_is_forgotten() {
    let (mut quiet, fate, at) =
        (QuietQueues::default(), fate(Pending::Drain), seconds_after(Instant::now()));
    assert!(!quiet.any());
    assert!(quiet.check("q", &fate, EMPTY, at(0)).is_err());
    assert!(quiet.any());
    quiet.forget("q");
    assert!(!quiet.any());
    assert!(quiet.check("q", &fate, EMPTY, at(60)).is_err());
}

#[test]
fn only_an_own_queue_that_nothing_needs_is_deleted_on_request() {
    let layout =
        Layout { prefix: "hearken".into(), cluster: Uuid::from_u128(1), ..Layout::default() };
    let bus = BusDefinition::plain(BusName::parse("mailboxEvent").unwrap());
    let buses = Buses::from([(bus.name.clone(), bus.clone())]);
    let desired = desired(&layout, &buses, &given(&[added("a", 1)]), &BTreeSet::new());
    let mut observed = desired.topology.clone();
    let mut foreign = observed.queues[WORK].clone();
    (foreign.name, foreign.arguments) = ("hearken.mine".into(), Arguments::new());
    observed.add_queue(foreign);
    let mut node = observed.queues[WORK].clone();
    node.name = layout.node_queue(&bus.name, "n1", Uuid::nil());
    node.exclusive = true;
    let node_queue = node.name.clone();
    observed.add_queue(node);
    let kept = layout.work_queue(&bus.name, &GroupName::parse("b").unwrap(), 1, 1);
    let kept_name = kept.name.clone();
    observed.add_queue(kept);

    let check = |name: &str| check_request(&layout, &desired, &observed, name).map(|q| &q.name);
    assert_eq!(check("hearken.none"), Err(QueueRefusal::Unknown("hearken.none".into())));
    assert_eq!(check("hearken.mine"), Err(QueueRefusal::Foreign("hearken.mine".into())));
    assert_eq!(check(WORK), Err(QueueRefusal::InUse(WORK.into())));
    assert_eq!(check(&node_queue), Err(QueueRefusal::InUse(node_queue.clone())));
    assert_eq!(check(&kept_name), Ok(&kept_name));
}

#[test]
fn a_queue_with_events_or_consumers_is_not_empty() {
    assert_eq!(check_empty("q", EMPTY), Ok(()));
    let refusal = QueueRefusal::NotEmpty { queue: "q".into(), ready: 2, unacked: 1 };
    assert_eq!(check_empty("q", Depth { ready: 2, unacked: 1, consumers: 1 }), Err(refusal));
    let consumed = check_empty("q", Depth { consumers: 1, ..EMPTY });
    assert_eq!(consumed, Err(QueueRefusal::InUse("q".into())));
}

#[test]
fn a_requested_deletion_unbinds_the_queue_before_deleting_it() {
    let mut observed = Topology::default();
    observed.bindings.insert(Binding::of_queue("x", "q", ""));
    observed.bindings.insert(Binding::of_queue("x", "other", ""));
    let plan = plan_request(&observed, "q");
    let verbs: Vec<_> = plan.steps.iter().map(|step| step.action.verb()).collect();
    assert_eq!(verbs, ["unbind", "delete"]);
    assert_eq!(plan.steps[0].action.name(), "x -> q []");
}

#[test]
fn only_a_work_queue_that_the_log_does_not_know_is_released() {
    let layout = layout();
    let mut observed = desired_of(&[added("a", 1), added("b", 4)]).topology;
    let mut odd = observed.queues["hearken.mailboxEvent.work.b.v4"].clone();
    odd.name = "hearken.gone.parked".into();
    observed.add_queue(odd);
    observed.add_queue(foreign_queue("hearken.mailboxEvent.work.c.v1"));
    let check = |desired: &Desired, name: &str| {
        check_release(&layout, desired, &observed, &format!("hearken.{name}"))
    };
    let desired = desired_of(&[added("a", 1)]);
    let work = "mailboxEvent.work.b.v4";
    assert_eq!(check(&desired, work), Ok(orphan("b", 4)));
    for (name, expected) in [
        ("mailboxEvent.work.d.v1", "the broker has no queue"),
        ("mailboxEvent.work.c.v1", "not made by this hearken cluster"),
        ("mailboxEvent.work.a.v1", "is not an orphan"),
        ("gone.parked", "not the work queue of a group"),
    ] {
        let refusal = check(&desired, name).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
    let released = RosterEvent::QueueReleased { queue: orphan("b", 4) };
    assert_eq!(check(&desired_of(&[released]), work), Ok(orphan("b", 4)), "released again");
}
