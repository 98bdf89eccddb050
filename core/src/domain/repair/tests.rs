//! Laws of a repair, over random histories and random damage.

use super::*;
use crate::domain::{
    command::Pending,
    drift::{DriftKind, Remedy},
    event::RosterEvent,
    plan::tests::{apply, damaged, desired_of, foreign_queue, layout},
    roster::tests::{added, given, orphan},
    topology::Binding,
};
use proptest::prelude::*;

const WORK: &str = "hearken.mailboxEvent.work.a.v1";

static NOTHING_POSTPONED: BTreeSet<DriftKey> = BTreeSet::new();

fn routine<'a>(
    mode: RepairMode,
    last_seen: &'a LastSeen,
    believed: &'a BTreeSet<DriftKey>,
) -> RepairChoice<'a> {
    RepairChoice::Routine { mode, last_seen, believed, postponed: &NOTHING_POSTPONED }
}

fn seen(desired: &Desired) -> LastSeen {
    LastSeen { desired: desired.clone(), unfinished: BTreeSet::new() }
}

fn shown(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{} {}", step.action.verb(), step.action.name())).collect()
}

fn migrated() -> Vec<RosterEvent> {
    let group = crate::domain::name::GroupName::parse("a").unwrap();
    let queue = crate::domain::roster::QueueId::new(group, 1);
    let migrate = crate::domain::command::Command::MigrateListener { queue };
    let mut events = vec![added("a", 1)];
    events.extend(
        crate::domain::roster::decide(&given(&events), &migrate, &BTreeSet::new()).unwrap(),
    );
    events
}

proptest! {
    #[test]
    fn a_repair_by_an_administrator_leaves_only_what_it_reports((desired, observed) in damaged()) {
        let layout = layout();
        let comparison = Comparison::new(&layout, &desired, &observed);
        let repair = comparison.repair(RepairChoice::Everything).unwrap();
        prop_assert!(!repair.unconfirmed);
        let mut repaired = observed.clone();
        for step in &repair.plan.steps {
            apply(&mut repaired, &step.action);
        }
        let left = Comparison::new(&layout, &desired, &repaired);
        prop_assert!(left.drift().iter().all(|drift| !drift.is_repairable()), "{:?}", left);
    }

    /// A pass accelerates before it repairs; a dry run does not. Both lead to one topology.
    #[test]
    fn a_dry_run_leads_to_the_same_topology_as_a_pass(
        (desired, observed) in damaged(),
        asks in prop::collection::vec((0..8u8, 0..4u8), 0..10),
    ) {
        let layout = layout();
        let baseline = desired_of(&crate::domain::roster::tests::history(&asks));
        let dry = Comparison::new(&layout, &desired, &observed);
        let dry = dry.repair(RepairChoice::Everything).unwrap();
        let mut predicted = observed.clone();
        dry.plan.steps.iter().for_each(|step| apply(&mut predicted, &step.action));

        let mut made = observed.clone();
        let foreign = Precautions::of(&layout, &desired, &observed);
        let first = accelerate(&layout, &baseline, &desired, &foreign).unwrap();
        first.steps.iter().for_each(|step| apply(&mut made, &step.action));
        let seen = made.clone();
        let then = Comparison::new(&layout, &desired, &seen);
        let then = then.repair(RepairChoice::Everything).unwrap();
        then.plan.steps.iter().for_each(|step| apply(&mut made, &step.action));
        prop_assert_eq!(made, predicted);
    }

    #[test]
    fn manual_mode_changes_nothing_that_the_roster_does_not_ask_for((desired, observed) in damaged()) {
        let layout = layout();
        let comparison = Comparison::new(&layout, &desired, &observed);
        let believed = comparison.drift().iter().map(Drift::key).collect();
        let last_seen = seen(&desired);
        let choice = routine(RepairMode::Manual, &last_seen, &believed);
        let plan = comparison.repair(choice).unwrap().plan;
        let declares = |step: &&plan::Step| matches!(step.action.verb(), "declare" | "bind");
        prop_assert_eq!(plan.steps.iter().filter(declares).count(), 0, "{:?}", plan);
    }
}

proptest! {
    /// The database was restored from before the last events: the broker knows a later history.
    #[test]
    fn a_restored_log_with_orphans_removes_nothing(
        asks in prop::collection::vec((0..5u8, 0..4u8), 0..30), cut in 0usize..30,
    ) {
        let events = crate::domain::roster::tests::history(&asks);
        let (layout, restored) = (layout(), desired_of(&events[..cut.min(events.len())]));
        let observed = desired_of(&events).topology;
        let comparison = Comparison::new(&layout, &restored, &observed);
        let known = |name: &str| restored.topology.queues.contains_key(name) || restored.fates.contains_key(name);
        let unknown = observed.queues.keys().find(|name| name.contains(".work.") && !known(name));
        let restraint = Restraint::find(&layout, &restored, &observed);
        let is_orphan = matches!(restraint, Some(Restraint::Orphan { .. }));
        prop_assert_eq!(is_orphan, unknown.is_some());
        let plan = comparison.repair(RepairChoice::Everything).unwrap().plan;
        let removes = |step: &plan::Step| matches!(step.action.verb(), "unbind" | "delete");
        if restraint.is_some() {
            prop_assert!(!plan.steps.iter().any(removes), "{:?}", plan);
        }
    }
}

#[test]
fn an_orphan_stays_bound_and_holds_back_every_removal() {
    let removed = crate::domain::roster::tests::removed("a", Pending::Discard);
    let restored = desired_of(&[added("a", 1), removed]);
    let observed = desired_of(&[added("a", 1), added("b", 1)]).topology;
    let layout = layout();
    let comparison = Comparison::new(&layout, &restored, &observed);
    let orphan = "hearken.mailboxEvent.work.b.v1".to_owned();
    let restraint = Restraint::find(&layout, &restored, &observed);
    assert_eq!(restraint, Some(Restraint::Orphan { queue: orphan }));
    let repair = comparison.repair(RepairChoice::Everything).unwrap();
    let steps = repair.plan.steps;
    assert!(steps.iter().all(|step| step.action.verb() == "report"), "{steps:?}");
    let reason = |name: &str| {
        let found = steps.iter().find(|step| step.action.name() == name);
        found.map(|step| step.reason.clone()).unwrap_or_default()
    };
    let held_back = reason(WORK);
    assert!(
        held_back.contains("does not delete it while queue hearken.mailboxEvent.work.b.v1 is"),
        "{held_back}"
    );
    let orphan = reason("hearken.mailboxEvent.work.b.v1");
    assert!(orphan.contains("release"), "{orphan}");
    let bound: Vec<&Drift> =
        comparison.drift().iter().filter(|d| d.object().name().contains("work.b.v1 [")).collect();
    assert_eq!(bound, Vec::<&Drift>::new(), "the bindings of an orphan are left alone");
}

#[test]
fn a_dry_run_shows_no_unbinding_that_a_pass_would_withhold() {
    let desired = desired_of(&migrated());
    let mut observed = desired_of(&[added("a", 1)]).topology;
    observed.add_queue(foreign_queue("hearken.mailboxEvent.work.a.v2"));
    let layout = layout();
    let comparison = Comparison::new(&layout, &desired, &observed);
    let unbinds = |drift: &Drift| drift.remedy == Remedy::Unbind;
    assert!(comparison.drift().iter().any(unbinds), "the old queue is bound");
    let repair = comparison.repair(RepairChoice::Everything).unwrap();
    let shown = shown(&repair.plan);
    assert!(!shown.iter().any(|step| step.starts_with("unbind")), "{shown:?}");
    assert!(shown.contains(&"report hearken.mailboxEvent.work.a.v2".to_owned()), "{shown:?}");
}

#[test]
fn the_accelerator_leaves_foreign_names_and_their_predecessors_alone() {
    let (before, after) = (desired_of(&[added("a", 1)]), desired_of(&migrated()));
    let free = accelerate(&layout(), &before, &after, &Precautions::default()).unwrap();
    assert!(shown(&free).iter().any(|step| step.starts_with("unbind")));
    let taken = Precautions {
        foreign: BTreeSet::from(["hearken.mailboxEvent.work.a.v2".to_owned()]),
        restraint: None,
    };
    let plan = accelerate(&layout(), &before, &after, &taken).unwrap();
    assert_eq!(shown(&plan), Vec::<String>::new());
}

#[test]
fn a_lost_queue_is_repaired_when_it_is_believed_and_a_new_queue_at_once() {
    let desired = desired_of(&[added("a", 1)]);
    let mut observed = desired.topology.clone();
    apply(&mut observed, &Action::DeleteQueue(WORK.into()));
    let layout = layout();
    let comparison = Comparison::new(&layout, &desired, &observed);
    let unseen = BTreeSet::new();
    let lost = comparison.repair(routine(RepairMode::Auto, &seen(&desired), &unseen)).unwrap();
    assert_eq!((lost.plan.steps.len(), lost.unconfirmed), (0, true));
    let new =
        comparison.repair(routine(RepairMode::Manual, &LastSeen::default(), &unseen)).unwrap();
    assert_eq!((new.plan.steps.len(), new.unconfirmed), (3, false));
    let believed = comparison.drift().iter().map(Drift::key).collect();
    let twice = comparison.repair(routine(RepairMode::Auto, &seen(&desired), &believed)).unwrap();
    assert_eq!((twice.plan, twice.unconfirmed), (new.plan, false));
    let manual =
        comparison.repair(routine(RepairMode::Manual, &seen(&desired), &believed)).unwrap();
    assert_eq!((manual.plan.steps.len(), manual.unconfirmed), (0, false));
}

#[test]
fn a_change_that_could_not_be_made_is_asked_for_again_and_is_no_loss() {
    let desired = desired_of(&[added("a", 1)]);
    let mut observed = desired.topology.clone();
    apply(&mut observed, &Action::DeleteQueue(WORK.into()));
    let layout = layout();
    let comparison = Comparison::new(&layout, &desired, &observed);
    let unfinished: BTreeSet<DriftKey> = comparison.drift().iter().map(Drift::key).collect();
    let last_seen = LastSeen { desired: desired.clone(), unfinished: unfinished.clone() };
    let (unseen, mode) = (BTreeSet::new(), RepairMode::Manual);
    let again = comparison.repair(routine(mode, &last_seen, &unseen)).unwrap();
    assert_eq!(again.plan.steps.len(), 3);
    let believed = &unseen;
    let later =
        RepairChoice::Routine { mode, last_seen: &last_seen, believed, postponed: &unfinished };
    assert_eq!(comparison.repair(later).unwrap().plan.steps, []);
    let now = comparison.repair(RepairChoice::Everything).unwrap();
    assert_eq!(now.plan.steps.len(), 3, "an administrator asked");
}

#[test]
fn foreign_names_are_those_without_our_marker() {
    let mut observed = desired_of(&[added("a", 1)]).topology;
    assert_eq!(foreign_names(&layout(), &observed), BTreeSet::new());
    observed.add_queue(foreign_queue("hearken.x"));
    observed.bindings.insert(Binding::of_queue("hearken.mailboxEvent", "hearken.x", ""));
    assert_eq!(foreign_names(&layout(), &observed), BTreeSet::from(["hearken.x".to_owned()]));
    let desired = desired_of(&[added("a", 1)]);
    let layout = layout();
    let comparison = Comparison::new(&layout, &desired, &observed);
    assert_eq!(comparison.drift()[0].kind, DriftKind::Foreign);
}

#[test]
fn a_released_orphan_is_unbound_and_deleted_and_holds_nothing_back() {
    let observed = desired_of(&[added("a", 1), added("b", 4)]).topology;
    let released = RosterEvent::QueueReleased { queue: orphan("b", 4) };
    let restored = desired_of(&[released]);
    let layout = layout();
    // The queue of group a is still an orphan, so nothing is taken away.
    let held = Comparison::new(&layout, &restored, &observed);
    let steps = held.repair(RepairChoice::Everything).unwrap().plan.steps;
    assert!(steps.iter().all(|step| step.action.verb() != "delete"), "{steps:?}");
    let released = RosterEvent::QueueReleased { queue: orphan("b", 4) };
    let decided = desired_of(&[added("a", 1), released]);
    assert_eq!(Restraint::find(&layout, &decided, &observed), None);
    let comparison = Comparison::new(&layout, &decided, &observed);
    let steps = comparison.repair(RepairChoice::Everything).unwrap().plan.steps;
    let done: Vec<_> = steps.iter().map(|step| step.action.verb()).collect();
    assert_eq!(done, ["unbind", "unbind", "delete"]);
    assert_eq!(steps[2].reason, "an administrator released this orphan");
}

#[test]
fn an_orphan_that_was_taken_over_is_no_sign_of_a_later_history() {
    let lost = [added("x", 1), added("y", 1), added("z", 1), added("a", 4)];
    let mut observed = desired_of(&lost).topology;
    observed.queues.retain(|name, _| name.contains(".a."));
    let layout = layout();
    let by_chance = desired_of(&[added("a", 4)]);
    let sign = Restraint::find(&layout, &by_chance, &observed);
    assert!(matches!(sign, Some(Restraint::LaterHistory { made: 4, .. })), "{sign:?}");
    let taken_over = RosterEvent::QueueTakenOver { queue: orphan("a", 4) };
    let decided = desired_of(&[taken_over, added("a", 4)]);
    assert_eq!(Restraint::find(&layout, &decided, &observed), None);
}
