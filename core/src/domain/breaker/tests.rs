//! Limits of the breaker, over the topology of a whole cluster.

use super::*;
use crate::domain::{
    bus::{BusDefinition, Buses},
    command::Pending,
    desired::desired,
    drift::{self, Remedy},
    event::RosterEvent,
    layout::LOG,
    name::BusName,
    plan::tests::{desired_of, layout},
    roster::tests::{added, given, orphan, removed},
    topology::{Binding, Topology},
};

const EXCHANGE: &str = "hearken.mailboxEvent";

fn cluster_of(listeners: usize) -> Desired {
    let events: Vec<RosterEvent> =
        (0..listeners).map(|number| added(&format!("g{number}"), 1)).collect();
    desired_of(&events)
}

fn seen(desired: &Desired) -> LastSeen {
    LastSeen { desired: desired.clone(), unfinished: BTreeSet::new() }
}

fn verdict(desired: &Desired, baseline: &Desired, observed: &Topology) -> Result<(), Blockage> {
    let drift = drift::between(&layout(), desired, observed);
    check_drift(&layout(), desired, &seen(baseline), &drift)
}

#[test]
fn a_mass_is_more_than_a_fifth_and_more_than_ten() {
    assert!(!is_mass(20, 10));
    assert!(is_mass(20, 11));
    assert!(!is_mass(1000, 200));
    assert!(is_mass(1000, 201));
}

#[test]
fn one_deleted_exchange_is_one_loss_however_many_listeners_it_served() {
    for listeners in [1, 20, 200] {
        let desired = cluster_of(listeners);
        let mut observed = desired.topology.clone();
        observed.exchanges.remove(EXCHANGE);
        observed.bindings.retain(|binding| binding.source != EXCHANGE);
        assert_eq!(verdict(&desired, &desired, &observed), Ok(()), "{listeners} listeners");
    }
}

#[test]
fn a_wiped_broker_is_a_mass_loss() {
    for listeners in [10, 100, 1_000] {
        let desired = cluster_of(listeners);
        let refused = verdict(&desired, &desired, &Topology::default());
        assert!(matches!(refused, Err(Blockage::MassLoss { .. })), "{listeners}: {refused:?}");
    }
}

#[test]
fn only_what_was_there_before_counts_as_lost() {
    let desired = cluster_of(100);
    assert_eq!(verdict(&desired, &Desired::default(), &Topology::default()), Ok(()));
}

#[test]
fn what_could_not_be_made_yet_is_no_loss() {
    let desired = cluster_of(100);
    let drift = drift::between(&layout(), &desired, &Topology::default());
    let unfinished = drift.iter().map(Drift::key).collect();
    let last_seen = LastSeen { desired: desired.clone(), unfinished };
    assert_eq!(check_drift(&layout(), &desired, &last_seen, &drift), Ok(()));
    assert!(drift.iter().all(|drift| last_seen.asks_for(drift)));
}

#[test]
fn many_lost_bindings_between_objects_that_are_there_are_a_mass_loss() {
    let desired = cluster_of(100);
    let mut observed = desired.topology.clone();
    observed.bindings.clear();
    let refused = verdict(&desired, &desired, &observed);
    assert!(matches!(refused, Err(Blockage::MassLoss { .. })), "{refused:?}");
}

#[test]
fn many_orphans_are_a_mass_surplus() {
    let (small, large) = (cluster_of(5), cluster_of(50));
    let refused = verdict(&small, &small, &large.topology);
    assert!(matches!(refused, Err(Blockage::MassSurplus { surplus: 45, .. })), "{refused:?}");
}

#[test]
fn many_orphans_of_a_log_before_an_adoption_are_no_mass_surplus() {
    let (small, mut large) = (cluster_of(5), cluster_of(50));
    for queue in large.topology.queues.values_mut() {
        queue.arguments.insert(LOG.to_owned(), uuid::Uuid::from_u128(7).to_string().into());
    }
    assert_eq!(verdict(&small, &small, &large.topology), Ok(()));
}

#[test]
fn many_released_orphans_are_no_mass_surplus() {
    let (small, large) = (cluster_of(5), cluster_of(50));
    let mut events: Vec<RosterEvent> =
        (0..5).map(|number| added(&format!("g{number}"), 1)).collect();
    let release = |number| RosterEvent::QueueReleased { queue: orphan(&format!("g{number}"), 1) };
    events.extend((5..50).map(release));
    assert_eq!(verdict(&desired_of(&events), &small, &large.topology), Ok(()));
}

#[test]
fn many_listeners_that_were_just_removed_are_no_mass_surplus() {
    let before = cluster_of(50);
    let mut events: Vec<RosterEvent> =
        (0..50).map(|number| added(&format!("g{number}"), 1)).collect();
    events.extend((5..50).map(|number| removed(&format!("g{number}"), Pending::Keep)));
    assert_eq!(verdict(&desired_of(&events), &before, &before.topology), Ok(()));
}

#[test]
fn the_deleted_exchange_of_an_attached_bus_is_no_loss() {
    let lost = |queue: &str| Drift {
        kind: DriftKind::Missing,
        expected: Some(Object::Binding(Binding::of_queue("theirs", queue, ""))),
        found: None,
        remedy: Remedy::Bind,
    };
    let queues: Vec<String> = (0..30).map(|number| format!("q{number}")).collect();
    let drift: Vec<Drift> = queues.iter().map(|queue| lost(queue)).collect();
    let mut baseline = Desired::default();
    let bindings: BTreeSet<Binding> =
        queues.iter().map(|queue| Binding::of_queue("theirs", queue, "")).collect();
    baseline.topology.bindings = bindings;
    let refused = check_drift(&layout(), &Desired::default(), &seen(&baseline), &drift);
    assert_eq!(refused, Err(Blockage::MassLoss { lost: 30, owned: 30 }));
    let mut bus = BusDefinition::plain(BusName::parse("mailboxEvent").unwrap());
    (bus.attached, bus.exchange) = (true, Some("theirs".into()));
    let buses = Buses::from([(bus.name.clone(), bus)]);
    let attached = desired(&layout(), &buses, &given(&[]), &BTreeSet::new());
    assert_eq!(check_drift(&layout(), &attached, &seen(&baseline), &drift), Ok(()));
}
