//! Cases of drift that the plans of `plan/tests.rs` do not show.

use super::*;
use crate::domain::bus::{BusDefinition, Buses};
use crate::domain::{
    desired::{Desired, desired},
    layout::Layout,
    name::BusName,
    roster::tests::{added, given},
    topology::{AppliedPolicy, Argument, Topology},
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
