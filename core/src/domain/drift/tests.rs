//! Cases of drift that the plans of `plan/tests.rs` do not show.

use super::*;
use crate::domain::bus::{BusDefinition, Buses};
use crate::domain::{
    desired::{Desired, desired},
    event::RosterEvent,
    layout::Layout,
    name::BusName,
    repair::{Comparison, RepairChoice},
    roster::tests::{added, given},
    topology::{AppliedPolicy, Argument, ExchangeKind, Topology},
};
use std::collections::BTreeSet;
use uuid::Uuid;

const WORK: &str = "hearken.mailboxEvent.work.a.v1";

fn setup() -> (Layout, Desired, Topology) {
    let layout =
        Layout { prefix: "hearken".into(), cluster: Uuid::from_u128(1), ..Layout::default() };
    let bus = BusDefinition::plain(BusName::parse("mailboxEvent").unwrap());
    let buses = Buses::from([(bus.name.clone(), bus)]);
    let desired = desired(&layout, &buses, &given(&[added("a", 1)]), &BTreeSet::new());
    let observed = desired.topology.clone();
    (layout, desired, observed)
}

#[test]
fn a_policy_over_a_queue_is_divergent_although_the_arguments_agree() {
    let (layout, desired, mut observed) = setup();
    observed.queues.get_mut(WORK).unwrap().policy =
        Some(AppliedPolicy { name: "trim".into(), keys: vec!["max-length".into()] });
    let drift = between(&layout, &desired, &observed);
    assert_eq!(drift.len(), 1);
    assert_eq!((drift[0].kind, drift[0].remedy), (DriftKind::Divergent, Remedy::Report));
}

#[test]
fn an_argument_that_rabbitmq_ignores_is_not_drift_and_one_it_acts_on_is() {
    let (layout, desired, mut observed) = setup();
    let queue = observed.queues.get_mut(WORK).unwrap();
    queue.arguments.insert("note".into(), "by hand".into());
    assert_eq!(between(&layout, &desired, &observed), vec![]);
    let queue = observed.queues.get_mut(WORK).unwrap();
    queue.arguments.insert("x-max-length".into(), Argument::Int(5));
    assert_eq!(between(&layout, &desired, &observed)[0].remedy, Remedy::Migrate);
}

#[test]
fn the_queue_of_a_node_is_not_drift() {
    let (layout, desired, mut observed) = setup();
    let bus = BusName::parse("mailboxEvent").unwrap();
    let mut queue = desired.topology.queues[WORK].clone();
    queue.name = layout.node_queue(&bus, "n1", Uuid::nil());
    queue.exclusive = true;
    observed.bindings.insert(Binding::of_queue(&layout.keys(&bus), &queue.name, "topology"));
    observed.add_queue(queue);
    assert_eq!(between(&layout, &desired, &observed), vec![]);
}

#[test]
fn another_clusters_objects_are_foreign() {
    let (layout, desired, mut observed) = setup();
    let other = Layout { cluster: Uuid::from_u128(2), ..layout.clone() };
    let bus = BusName::parse("mailboxEvent").unwrap();
    let group = super::super::name::GroupName::parse("b").unwrap();
    observed.add_queue(other.work_queue(&bus, &group, 1, 1));
    let drift = between(&layout, &desired, &observed);
    assert_eq!((drift[0].kind, drift[0].is_wrong()), (DriftKind::Foreign, false));
}

/// The broker still has everything of a bus that was removed, with the queue of a wait level.
fn removed_bus() -> (Layout, Desired, Topology) {
    let (layout, ..) = setup();
    let bus = BusDefinition::plain(BusName::parse("billing").unwrap());
    let mut events = vec![RosterEvent::BusAdded { bus: bus.clone() }];
    let before = given(&events);
    let mut observed = desired(&layout, before.buses(), &before, &BTreeSet::new()).topology;
    let wait = layout.wait(&bus.name, 100);
    observed.add_exchange(layout.exchange(wait.clone(), ExchangeKind::Fanout));
    observed.add_queue(layout.wait_queue(&bus.name, 100));
    observed.bindings.insert(Binding::of_queue(&wait, &wait, ""));
    events.push(RosterEvent::BusRemoved { bus });
    let after = given(&events);
    (layout.clone(), desired(&layout, after.buses(), &after, &BTreeSet::new()), observed)
}

fn found(layout: &Layout, desired: &Desired, observed: &Topology) -> Vec<(String, Remedy)> {
    let comparison = Comparison::new(layout, desired, observed);
    comparison.repair(RepairChoice::Everything).unwrap();
    comparison.drift().iter().map(|drift| (drift.object().name(), drift.remedy)).collect()
}

#[test]
fn a_removed_bus_gives_up_its_waits_then_its_parked_queue_then_its_exchanges() {
    let (layout, desired, mut observed) = removed_bus();
    for queue in ["hearken.billing.wait.100", "hearken.billing.parked"] {
        let expected = vec![(queue.to_owned(), Remedy::Delete)];
        assert_eq!(found(&layout, &desired, &observed), expected);
        observed.queues.remove(queue);
        observed.bindings.retain(|binding| binding.destination != queue);
    }
    let exchanges = ["", ".keys", ".parked", ".return", ".wait.100"];
    let expected: Vec<_> =
        exchanges.iter().map(|kind| (format!("hearken.billing{kind}"), Remedy::Delete)).collect();
    assert_eq!(found(&layout, &desired, &observed), expected);
}

#[test]
fn an_exchange_of_a_removed_bus_stays_while_another_program_uses_it() {
    let (layout, desired, mut observed) = removed_bus();
    observed.queues.retain(|name, _| !name.starts_with("hearken.billing"));
    observed.bindings.retain(|binding| !binding.source.starts_with("hearken.billing"));
    observed.bindings.insert(Binding::of_queue("hearken.billing", "of-another", ""));
    let drift = found(&layout, &desired, &observed);
    assert_eq!(drift[0], ("hearken.billing".to_owned(), Remedy::Report));
    assert!(drift[1..].iter().all(|(_, remedy)| *remedy == Remedy::Delete), "{drift:?}");
}

#[test]
fn a_work_queue_on_a_removed_bus_that_the_log_does_not_know_is_an_orphan() {
    let (layout, desired, mut observed) = removed_bus();
    let group = super::super::name::GroupName::parse("b").unwrap();
    let queue = layout.work_queue(&BusName::parse("billing").unwrap(), &group, 1, 1);
    observed.add_queue(queue);
    let comparison = Comparison::new(&layout, &desired, &observed);
    assert!(comparison.drift().iter().any(|drift| drift.kind == DriftKind::Orphan));
    let repair = comparison.repair(RepairChoice::Everything).unwrap();
    assert!(repair.plan.deletions().is_empty(), "{:?}", repair.plan);
}
