//! Laws of drift and plan, over random histories and random damage, and snapshots of what an
//! operator reads.

use super::*;
use crate::domain::bus::{BusDefinition, Buses};
use crate::domain::{
    command::Pending,
    desired::{Desired, desired},
    drift::{self, DriftKind, Remedy},
    event::RosterEvent,
    layout::Layout,
    name::BusName,
    roster::tests::{added, given, history, removed},
    topology::{Arguments, ExchangeKind, Topology},
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;

pub(crate) fn layout() -> Layout {
    Layout { prefix: "hearken".into(), cluster: Uuid::from_u128(1), ..Layout::default() }
}

pub(crate) fn desired_of(events: &[RosterEvent]) -> Desired {
    let bus = BusDefinition::plain(BusName::parse("mailboxEvent").unwrap());
    let buses = Buses::from([(bus.name.clone(), bus)]);
    desired(&layout(), &buses, &given(events), &BTreeSet::new())
}

/// What a broker would hold after the action.
pub(crate) fn apply(topology: &mut Topology, action: &Action) {
    match action {
        Action::DeclareExchange(exchange) => topology.add_exchange(exchange.clone()),
        // RabbitMQ does not change a queue that exists.
        Action::DeclareQueue(queue) if topology.queues.contains_key(&queue.name) => {}
        Action::DeclareQueue(queue) => topology.add_queue(queue.clone()),
        Action::Bind(binding) => drop(topology.bindings.insert(binding.clone())),
        Action::Unbind(binding) => drop(topology.bindings.remove(binding)),
        Action::DeleteQueue(name) => {
            topology.queues.remove(name);
            topology.bindings.retain(|binding| binding.destination != *name);
        }
        Action::DeleteExchange(name) => {
            topology.exchanges.remove(name);
        }
        Action::Report(_) => {}
    }
}

pub(crate) fn foreign_queue(name: &str) -> Queue {
    let arguments = Arguments::from([("x-queue-type".to_owned(), "classic".into())]);
    Queue {
        name: name.to_owned(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
        policy: None,
    }
}

/// A desired topology, and one that was right for an earlier roster and was damaged since.
pub(crate) fn damaged() -> impl Strategy<Value = (Desired, Topology)> {
    let asks = prop::collection::vec((0..8u8, 0..4u8), 0..30);
    (asks, 0..30usize, any::<u64>()).prop_map(|(asks, cut, damage)| {
        let events = history(&asks);
        let earlier = cut.min(events.len());
        let mut observed = desired_of(&events[..earlier]).topology;
        let mut bit = 0u32;
        let mut hit = || {
            bit = (bit + 7) % 64;
            damage.rotate_left(bit).trailing_zeros() >= 2
        };
        observed.exchanges.retain(|_, _| !hit());
        observed.queues.retain(|_, _| !hit());
        let (exchanges, queues) = (observed.exchanges.clone(), observed.queues.clone());
        observed.bindings.retain(|b| {
            exchanges.contains_key(&b.source) && queues.contains_key(&b.destination) && !hit()
        });
        observed.add_queue(foreign_queue("hearken.not.ours"));
        observed.bindings.insert(Binding::of_queue("hearken.mailboxEvent", "hearken.not.ours", ""));
        (desired_of(&events), observed)
    })
}

proptest! {
    #[test]
    fn what_is_as_desired_has_no_drift_and_an_empty_plan(asks in prop::collection::vec((0..8u8, 0..4u8), 0..30)) {
        let desired = desired_of(&history(&asks));
        let drift = drift::between(&layout(), &desired, &desired.topology);
        prop_assert_eq!(&drift, &vec![]);
        prop_assert_eq!(from_drift(&drift, &desired), Plan::default());
    }

    #[test]
    fn applying_a_plan_removes_its_drift((desired, mut observed) in damaged()) {
        let plan = from_drift(&drift::between(&layout(), &desired, &observed), &desired);
        prop_assert_eq!(check(&plan, &layout(), &desired, &observed), Ok(()));
        for step in &plan.steps {
            apply(&mut observed, &step.action);
        }
        let left = drift::between(&layout(), &desired, &observed);
        prop_assert!(left.iter().all(|drift| drift.kind == DriftKind::Foreign), "{:?}", left);
    }

    #[test]
    fn no_step_touches_a_foreign_object((desired, mut observed) in damaged()) {
        let foreign = observed.queues["hearken.not.ours"].clone();
        for step in from_drift(&drift::between(&layout(), &desired, &observed), &desired).steps {
            apply(&mut observed, &step.action);
        }
        prop_assert_eq!(&observed.queues["hearken.not.ours"], &foreign);
        prop_assert!(observed.bindings.iter().any(|b| b.destination == foreign.name));
    }

    #[test]
    fn the_accelerator_leads_to_what_is_desired_up_to_deletions(
        asks in prop::collection::vec((0..8u8, 0..4u8), 0..30), cut in 0usize..30,
    ) {
        let events = history(&asks);
        let earlier = desired_of(&events[..cut.min(events.len())]);
        let later = desired_of(&events);
        let mut observed = earlier.topology.clone();
        for step in between(&earlier, &later).steps {
            apply(&mut observed, &step.action);
        }
        let left = drift::between(&layout(), &later, &observed);
        prop_assert!(left.iter().all(|drift| drift.remedy == Remedy::Delete), "{:?}", left);
    }
}

fn shown(plan: &Plan) -> String {
    let line = |step: &Step| {
        let Step { action, class, reason } = step;
        format!("{} {:?} {} ({class:?}): {reason}\n", action.verb(), action.object(), action.name())
    };
    plan.steps.iter().map(line).collect()
}

fn plan_for(events: &[RosterEvent], damage: impl FnOnce(&mut Topology)) -> String {
    let desired = desired_of(events);
    let mut observed = desired_of(&[added("a", 1)]).topology;
    damage(&mut observed);
    shown(&from_drift(&drift::between(&layout(), &desired, &observed), &desired))
}

const WORK: &str = "hearken.mailboxEvent.work.a.v1";

#[test]
fn plan_for_a_deleted_queue_brings_back_all_its_bindings() {
    insta::assert_snapshot!(plan_for(&[added("a", 1)], |observed| {
        apply(observed, &Action::DeleteQueue(WORK.into()));
    }), @r"
    declare Queue hearken.mailboxEvent.work.a.v1 (Safe): the queue is missing
    bind Binding hearken.mailboxEvent -> hearken.mailboxEvent.work.a.v1 [] (Safe): the binding is missing
    bind Binding hearken.mailboxEvent.return -> hearken.mailboxEvent.work.a.v1 [a] (Safe): the binding is missing
    ");
}

#[test]
fn plan_for_a_kept_queue_only_unbinds_it() {
    insta::assert_snapshot!(plan_for(&[added("a", 1), removed("a", Pending::Keep)], |_| ()), @"unbind Binding hearken.mailboxEvent -> hearken.mailboxEvent.work.a.v1 [] (Safe): the binding leads to a queue of a listener that is not configured");
}

#[test]
fn plan_for_a_discarded_queue_unbinds_and_deletes_it() {
    insta::assert_snapshot!(plan_for(&[added("a", 1), removed("a", Pending::Discard)], |_| ()), @r"
    unbind Binding hearken.mailboxEvent -> hearken.mailboxEvent.work.a.v1 [] (Safe): the binding leads to a queue of a listener that is not configured
    unbind Binding hearken.mailboxEvent.return -> hearken.mailboxEvent.work.a.v1 [a] (Safe): the binding leads to a queue of a listener that is not configured
    delete Queue hearken.mailboxEvent.work.a.v1 (Destructive): its listener was removed with pending=discard
    ");
}

#[test]
fn plan_for_divergent_foreign_and_surplus_objects_only_reports() {
    insta::assert_snapshot!(plan_for(&[added("a", 1)], |observed| {
        let queue = observed.queues.get_mut(WORK).unwrap();
        queue.arguments.insert("x-delivery-limit".into(), 5.into());
        observed.queues.insert("hearken.mailboxEvent.parked".into(), foreign_queue("hearken.mailboxEvent.parked"));
        observed.add_exchange(layout().exchange("hearken.gone".into(), ExchangeKind::Direct));
        observed.bindings.insert(Binding::of_queue("hearken.mailboxEvent", WORK, "by-hand"));
    }), @r"
    report Exchange hearken.gone (Report): it is ours and nothing asks for it: an administrator decides
    report Binding hearken.mailboxEvent -> hearken.mailboxEvent.work.a.v1 [by-hand] (Report): it is ours and nothing asks for it: an administrator decides
    report Queue hearken.mailboxEvent.parked (Report): an object that hearken did not make has the name hearken needs: rename or delete it
    report Queue hearken.mailboxEvent.work.a.v1 (Migrate): its arguments differ, which RabbitMQ does not change in place: POST /topology/queues/hearken.mailboxEvent.work.a.v1?action=migrate
    ");
}

#[test]
fn a_group_whose_new_queue_cannot_be_bound_keeps_its_old_one() {
    let group = crate::domain::name::GroupName::parse("a").unwrap();
    let mut events = vec![added("a", 1)];
    let queue = crate::domain::roster::QueueId::new(group, 1);
    let migrate = crate::domain::command::Command::MigrateListener { queue };
    events.extend(
        crate::domain::roster::decide(&given(&events), &migrate, &BTreeSet::new()).unwrap(),
    );
    let desired = desired_of(&events);
    let mut observed = desired_of(&events[..1]).topology;
    let unbinds = |observed: &Topology| {
        let drift = drift::between(&layout(), &desired, observed);
        let plan =
            from_drift(&drift, &desired).without_stranding(&layout(), &desired, &observed.bindings);
        plan.steps.iter().filter(|step| step.action.verb() == "unbind").count()
    };
    assert_eq!(unbinds(&observed), 2, "the old queue gives way to the new one");
    observed.add_queue(foreign_queue("hearken.mailboxEvent.work.a.v2"));
    assert_eq!(unbinds(&observed), 0, "a foreign queue has the name of the new queue");
}

#[test]
fn a_plan_that_deletes_what_no_tombstone_gives_up_is_a_violation() {
    let desired = desired_of(&[added("a", 1)]);
    let plan = Plan {
        steps: vec![Step::new(
            Action::DeleteQueue(WORK.into()),
            StepClass::Destructive,
            "a defect",
        )],
    };
    assert_eq!(
        check(&plan, &layout(), &desired, &desired.topology),
        Err(Violation::UnaskedDelete(WORK.into()))
    );
}

#[test]
fn a_plan_that_binds_to_a_foreign_queue_is_a_violation() {
    let desired = desired_of(&[]);
    let mut observed = desired.topology.clone();
    observed.add_queue(foreign_queue("hearken.x"));
    let binding = Binding::of_queue("hearken.mailboxEvent", "hearken.x", "");
    let plan = Plan { steps: vec![Step::new(Action::Bind(binding), StepClass::Safe, "a defect")] };
    let violation = check(&plan, &layout(), &desired, &observed).unwrap_err();
    assert!(matches!(violation, Violation::Foreign { step: "bind", .. }));
}

#[test]
fn a_plan_that_unbinds_before_it_binds_is_a_violation() {
    let desired = desired_of(&[added("a", 1)]);
    let binding = Binding::of_queue("hearken.mailboxEvent", WORK, "");
    let plan = Plan {
        steps: vec![
            Step::new(Action::Unbind(binding.clone()), StepClass::Safe, "a defect"),
            Step::new(Action::Bind(binding), StepClass::Safe, "a defect"),
        ],
    };
    let violation = check(&plan, &layout(), &desired, &desired.topology).unwrap_err();
    assert!(matches!(violation, Violation::UnbindsFirst(_)));
}

#[test]
fn an_action_changes_the_bus_of_its_queue_or_exchange() {
    let bus = |action: &Action| action.bus(&layout()).map(|bus| bus.to_string());
    let attached = Binding::of_queue("elsewhere", "hearken.james.work.a.v1", "");
    assert_eq!(bus(&Action::Bind(attached)).as_deref(), Some("james"));
    let delete = Action::DeleteQueue("hearken.mailboxEvent.work.a.v1".into());
    assert_eq!(bus(&delete).as_deref(), Some("mailboxEvent"));
    let marker = layout().exchange(layout().marker(), ExchangeKind::Direct);
    assert_eq!(bus(&Action::DeclareExchange(marker)), None);
}
