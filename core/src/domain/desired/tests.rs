//! Attached bus: its exchange belongs to another program, the queues behind it are ours.

use super::*;
use crate::domain::{
    bus::Codec,
    drift::{self, DriftKind, Remedy},
    event::RosterEvent,
    listener::{ListenerSpec, tests::listener},
    name::GroupName,
    plan::{self, Action, Plan, Violation},
    roster::tests::{added, changed, given, removed},
    topology::Topology,
};
use uuid::Uuid;

const FOREIGN: &str = "mailboxEvent-exchange";
const WORK: &str = "hearken.mailboxEvent.work.a.v1";

fn layout() -> Layout {
    Layout { prefix: "hearken".into(), cluster: Uuid::from_u128(1), ..Layout::default() }
}

fn attached(events: &[crate::domain::event::RosterEvent]) -> Desired {
    let mut bus = BusDefinition::plain(BusName::parse("mailboxEvent").unwrap());
    (bus.attached, bus.exchange, bus.codec) = (true, Some(FOREIGN.into()), Codec::James);
    let buses = Buses::from([(bus.name.clone(), bus)]);
    desired(&layout(), &buses, &given(events), &BTreeSet::new())
}

fn remedies(desired: &Desired, observed: &Topology) -> (Vec<String>, Plan) {
    let drift = drift::between(&layout(), desired, observed);
    let plan = plan::from_drift(&drift, desired);
    plan::check(&plan, &layout(), desired, observed).unwrap();
    let shown = |step: &plan::Step| format!("{} {}", step.action.verb(), step.action.name());
    (plan.steps.iter().map(shown).collect(), plan)
}

#[test]
fn an_attached_exchange_is_bound_to_and_never_declared() {
    let desired = attached(&[added("a", 1)]);
    assert!(!desired.topology.exchanges.contains_key(FOREIGN));
    assert!(!desired.topology.exchanges.contains_key("hearken.mailboxEvent"));
    for own in ["keys", "return", "parked", "wait.100"] {
        let name = format!("hearken.mailboxEvent.{own}");
        assert!(desired.topology.exchanges.contains_key(&name), "{name}");
    }
    assert!(desired.topology.bindings.contains(&Binding::of_queue(FOREIGN, WORK, "")));
}

#[test]
fn a_queue_is_bound_again_to_an_attached_exchange_and_unbound_when_removed() {
    let desired = attached(&[added("a", 1)]);
    let mut observed = desired.topology.clone();
    assert_eq!(drift::between(&layout(), &desired, &observed), vec![]);
    let binding = Binding::of_queue(FOREIGN, WORK, "");
    observed.bindings.remove(&binding);
    assert_eq!(remedies(&desired, &observed).0, [format!("bind {binding}")]);

    observed.bindings.insert(binding.clone());
    let gone = attached(&[added("a", 1), removed("a", Pending::Keep)]);
    assert_eq!(remedies(&gone, &observed).0, [format!("unbind {binding}")]);
}

#[test]
fn foreign_bindings_of_an_attached_exchange_are_ignored_and_manual_ones_reported() {
    let desired = attached(&[added("a", 1)]);
    let mut observed = desired.topology.clone();
    observed.bindings.insert(Binding::of_queue(FOREIGN, "mailboxEvent-workQueue-x", ""));
    assert_eq!(drift::between(&layout(), &desired, &observed), vec![]);
    observed.bindings.insert(Binding::of_queue(FOREIGN, WORK, "by-hand"));
    let drift = drift::between(&layout(), &desired, &observed);
    assert_eq!(drift.len(), 1);
    assert_eq!((drift[0].kind, drift[0].remedy), (DriftKind::Surplus, Remedy::Report));
}

#[test]
fn a_plan_may_bind_our_queues_to_an_attached_exchange_and_nothing_else() {
    let desired = attached(&[added("a", 1)]);
    let observed = &desired.topology;
    let verdict = |action: Action| {
        let step = plan::Step { action, class: plan::StepClass::Safe, reason: String::new() };
        plan::check(&Plan { steps: vec![step] }, &layout(), &desired, observed)
    };
    let bind = |source: &str, queue: &str| Action::Bind(Binding::of_queue(source, queue, ""));
    assert_eq!(verdict(bind(FOREIGN, WORK)), Ok(()));
    let mut to_exchange = Binding::of_queue(FOREIGN, WORK, "");
    to_exchange.destination_kind = crate::domain::topology::Destination::Exchange;
    for action in [
        bind(FOREIGN, "mailboxEvent-workQueue-x"),
        Action::Unbind(Binding::of_queue(FOREIGN, "mailboxEvent-workQueue-x", "")),
        bind("another-exchange", WORK),
        Action::Bind(to_exchange),
        Action::DeclareExchange(layout().exchange(FOREIGN.into(), ExchangeKind::Direct)),
    ] {
        let refused = verdict(action.clone());
        assert!(matches!(refused, Err(Violation::Foreign { .. })), "{action:?}: {refused:?}");
    }
}

#[test]
fn an_added_or_removed_group_is_bound_or_unbound_before_observing() {
    let (with, without) =
        (attached(&[added("a", 1)]), attached(&[added("a", 1), removed("a", Pending::Keep)]));
    let binding = Binding::of_queue(FOREIGN, WORK, "");
    let binds = plan::between(&attached(&[]), &with);
    assert!(binds.steps.iter().any(|step| step.action == Action::Bind(binding.clone())));
    let unbinds = plan::between(&with, &without);
    assert!(unbinds.steps.iter().any(|step| step.action == Action::Unbind(binding.clone())));
    let unseen = Topology::default();
    for (plan, desired) in [(binds, &with), (unbinds, &without)] {
        assert_eq!(plan::check(&plan, &layout(), desired, &unseen), Ok(()));
    }
}

#[test]
fn a_change_and_a_pause_leave_the_desired_topology_as_it_was() {
    let history = [added("a", 1)];
    let pause = RosterEvent::ListenerPaused { group: GroupName::parse("a").unwrap() };
    let after = [&history[..], &[changed("a", 7), pause]].concat();
    assert_eq!(attached(&after).topology, attached(&history).topology);
}

#[test]
fn an_every_node_listener_leaves_the_kept_queue_of_its_group_its_retries() {
    let everywhere = ListenerSpec { delivery: Delivery::EveryNode, ..listener("a") };
    let again = RosterEvent::ListenerAdded { listener: everywhere, generation: 2 };
    let desired = attached(&[added("a", 1), removed("a", Pending::Keep), again]);
    assert_eq!(desired.fates[WORK].pending, Pending::Keep);
    let back = Binding::of_queue("hearken.mailboxEvent.return", WORK, "a");
    assert!(desired.permitted.contains(&back));
}
