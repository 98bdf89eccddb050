//! Decisions of the roster, each as given events, a command and its result.

use super::*;
use crate::domain::{
    adoption::{LogAdoption, LogIdentity},
    event::{Audit, NodeRef},
    listener::{Delivery, tests::listener},
    name::BusName,
};
use proptest::prelude::*;
use time::OffsetDateTime;

/// A roster in which these events happened, in this order.
pub(crate) fn given(events: &[RosterEvent]) -> Roster {
    let mut roster = Roster::default();
    for (index, event) in events.iter().enumerate() {
        roster.evolve(&recorded(index as u64 + 1, event.clone()));
    }
    roster
}

/// The event at a version, with an audit of no importance.
pub(crate) fn recorded(version: Version, event: RosterEvent) -> RecordedEvent {
    let audit = Audit {
        actor: "alice".into(),
        node: NodeRef { id: "n1".into(), host: "host".into() },
        reason: None,
        command_id: Uuid::nil(),
        request_id: None,
    };
    let event_id = Uuid::from_u128(u128::from(version));
    RecordedEvent { version, event_id, event, audit, recorded_at: OffsetDateTime::UNIX_EPOCH }
}

/// The group was added with this generation.
pub(crate) fn added(group: &str, generation: Generation) -> RosterEvent {
    RosterEvent::ListenerAdded { listener: listener(group), generation }
}

/// The group was removed.
pub(crate) fn removed(group: &str, pending: Pending) -> RosterEvent {
    RosterEvent::ListenerRemoved { group: GroupName::parse(group).unwrap(), pending }
}

/// The listener of the group got this concurrency.
pub(crate) fn changed(group: &str, concurrency: u16) -> RosterEvent {
    RosterEvent::ListenerChanged { listener: ListenerSpec { concurrency, ..listener(group) } }
}

/// The decision while the broker has no orphan.
fn decide(roster: &Roster, command: &Command) -> Result<Vec<RosterEvent>, Refusal> {
    super::decide(roster, command, &BTreeSet::new())
}

/// The orphan of this group and generation on the bus that listeners of tests have.
pub(crate) fn orphan(group: &str, generation: Generation) -> OrphanQueue {
    let ListenerSpec { bus, group, .. } = listener(group);
    OrphanQueue { bus, id: QueueId::new(group, generation) }
}

fn paused(group: &str) -> RosterEvent {
    RosterEvent::ListenerPaused { group: GroupName::parse(group).unwrap() }
}

fn resumed(group: &str) -> RosterEvent {
    RosterEvent::ListenerResumed { group: GroupName::parse(group).unwrap() }
}

fn change(group: &str, concurrency: u16) -> Command {
    Command::ChangeListener(ListenerSpec { concurrency, ..listener(group) })
}

fn pause(group: &str) -> Command {
    Command::PauseListener { group: GroupName::parse(group).unwrap() }
}

fn resume(group: &str) -> Command {
    Command::ResumeListener { group: GroupName::parse(group).unwrap() }
}

fn add(group: &str) -> Command {
    Command::AddListener(listener(group))
}

fn remove(group: &str, pending: Pending) -> Command {
    Command::RemoveListener { group: GroupName::parse(group).unwrap(), pending }
}

#[test]
fn given_an_empty_roster_when_adding_then_the_first_generation_is_added() {
    assert_eq!(decide(&given(&[]), &add("a")), Ok(vec![added("a", 1)]));
}

#[test]
fn given_a_used_group_when_adding_it_again_then_it_is_refused_with_its_class() {
    let refusal = decide(&given(&[added("a", 1)]), &add("a")).unwrap_err();
    let listener = listener("a");
    assert_eq!(refusal, Refusal::GroupInUse { group: listener.group, class: listener.class });
}

#[test]
fn given_no_listener_when_removing_then_it_is_refused() {
    let history = [added("a", 1), removed("a", Pending::Keep)];
    assert!(matches!(
        decide(&given(&history), &remove("a", Pending::Keep)),
        Err(Refusal::NotConfigured { .. })
    ));
}

#[test]
fn given_a_kept_queue_when_adding_the_group_again_then_it_takes_the_queue_up() {
    let history = [added("a", 1), removed("a", Pending::Keep)];
    assert_eq!(decide(&given(&history), &add("a")), Ok(vec![added("a", 1)]));
    assert!(given(&[&history[..], &[added("a", 1)]].concat()).tombstones().is_empty());
}

#[test]
fn given_a_drained_or_discarded_queue_when_adding_its_group_then_its_name_is_new() {
    for pending in [Pending::Drain, Pending::Discard] {
        let history = [added("a", 1), removed("a", pending)];
        assert_eq!(decide(&given(&history), &add("a")), Ok(vec![added("a", 2)]));
    }
}

#[test]
fn given_a_queue_kept_on_another_bus_when_adding_the_group_then_its_name_is_new() {
    let mut elsewhere = listener("a");
    elsewhere.bus = BusName::parse("jmapEvent").unwrap();
    let roster = given(&[added("a", 1), removed("a", Pending::Keep)]);
    let events = decide(&roster, &Command::AddListener(elsewhere)).unwrap();
    assert!(matches!(events[..], [RosterEvent::ListenerAdded { generation: 2, .. }]));
}

#[test]
fn when_migrating_then_the_old_queue_drains_while_the_new_one_works() {
    let group = GroupName::parse("a").unwrap();
    let migrate = Command::MigrateListener { queue: QueueId::new(group, 1) };
    let events = decide(&given(&[added("a", 1)]), &migrate).unwrap();
    assert_eq!(events, vec![removed("a", Pending::Drain), added("a", 2)]);
    let roster = given(&[&[added("a", 1)], &events[..]].concat());
    assert_eq!(roster.listeners().values().next().unwrap().generation, 2);
    assert_eq!(roster.tombstones().values().next().unwrap().pending, Pending::Drain);
    assert_eq!(decide(&roster, &migrate), Ok(Vec::new()), "a queue is migrated once");
}

#[test]
fn a_change_keeps_the_queue_and_the_audit_of_the_addition() {
    let roster = given(&[added("a", 3)]);
    let events = decide(&roster, &change("a", 7)).unwrap();
    assert_eq!(events, vec![changed("a", 7)]);
    let roster = given(&[&[added("a", 3)], &events[..]].concat());
    let configured = roster.listeners().values().next().unwrap();
    assert_eq!((configured.generation, configured.listener.concurrency), (3, 7));
    assert_eq!((configured.version, configured.added_by.as_str()), (2, "alice"));
    assert_eq!(configured.amended.as_ref().unwrap().by, "alice");
    assert!(roster.tombstones().is_empty());
}

#[test]
fn a_command_whose_effect_is_there_already_records_no_event() {
    let awake = given(&[added("a", 1), changed("a", 7)]);
    assert_eq!(decide(&awake, &change("a", 7)), Ok(vec![]));
    assert_eq!(decide(&awake, &resume("a")), Ok(vec![]));
    let asleep = given(&[added("a", 1), paused("a")]);
    assert_eq!(decide(&asleep, &pause("a")), Ok(vec![]));
}

#[test]
fn no_listener_is_changed_paused_or_resumed_without_being_configured() {
    let roster = given(&[added("a", 1), removed("a", Pending::Keep)]);
    for command in [change("a", 7), pause("a"), resume("a")] {
        assert!(matches!(decide(&roster, &command), Err(Refusal::NotConfigured { .. })));
    }
}

#[test]
fn the_bus_and_the_delivery_of_a_listener_cannot_change() {
    let roster = given(&[added("a", 1)]);
    let mut elsewhere = listener("a");
    elsewhere.bus = BusName::parse("jmapEvent").unwrap();
    let everywhere = ListenerSpec { delivery: Delivery::EveryNode, ..listener("a") };
    for (wanted, name) in [(elsewhere, "bus"), (everywhere, "delivery")] {
        let refusal = decide(&roster, &Command::ChangeListener(wanted)).unwrap_err();
        assert!(refusal.to_string().contains("add a listener of another group"), "{refusal}");
        let Refusal::CannotChange { setting, .. } = refusal else { panic!("{refusal}") };
        assert_eq!(setting.name(), name);
    }
}

#[test]
fn a_pause_lasts_until_the_listener_is_resumed_or_removed() {
    let group = GroupName::parse("a").unwrap();
    let mut events = vec![added("a", 1), paused("a"), changed("a", 2)];
    assert!(given(&events).is_paused(&group));
    events.push(resumed("a"));
    assert!(!given(&events).is_paused(&group));
    events.extend([paused("a"), removed("a", Pending::Keep), added("a", 1)]);
    assert!(!given(&events).is_paused(&group));
}

#[test]
fn a_paused_listener_whose_queue_is_migrated_stays_paused() {
    let history = [added("a", 1), paused("a")];
    let group = GroupName::parse("a").unwrap();
    let migrate = Command::MigrateListener { queue: QueueId::new(group.clone(), 1) };
    let events = decide(&given(&history), &migrate).unwrap();
    assert!(given(&[&history[..], &events[..]].concat()).is_paused(&group));
}

#[test]
fn a_queue_kept_for_one_delivery_is_not_taken_up_by_the_other() {
    let everywhere = ListenerSpec { delivery: Delivery::EveryNode, ..listener("a") };
    let mut history = vec![added("a", 1), removed("a", Pending::Keep)];
    let events = decide(&given(&history), &Command::AddListener(everywhere.clone())).unwrap();
    assert_eq!(events, vec![RosterEvent::ListenerAdded { listener: everywhere, generation: 2 }]);
    history.extend(events);
    let kept = QueueId::new(GroupName::parse("a").unwrap(), 1);
    assert!(given(&history).tombstones().contains_key(&kept));
    history.push(removed("a", Pending::Keep));
    assert_eq!(decide(&given(&history), &add("a")), Ok(vec![added("a", 1)]));
}

#[derive(Debug, Clone)]
enum Ask {
    Add(u8),
    Remove(u8, Pending),
    Migrate(u8),
    Change(u8),
    Pause(u8),
    Resume(u8),
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let pending = prop_oneof![Just(Pending::Keep), Just(Pending::Drain), Just(Pending::Discard)];
    let ask = prop_oneof![
        (0..4u8).prop_map(Ask::Add),
        (0..4u8, pending).prop_map(|(group, pending)| Ask::Remove(group, pending)),
        (0..4u8).prop_map(Ask::Migrate),
        (0..4u8).prop_map(Ask::Change),
        (0..4u8).prop_map(Ask::Pause),
        (0..4u8).prop_map(Ask::Resume),
    ];
    prop::collection::vec(ask, 0..60)
}

/// The history that these commands lead to, refusals left out.
pub(crate) fn history(asks: &[(u8, u8)]) -> Vec<RosterEvent> {
    let asks = asks.iter().map(|(kind, group)| match kind % 8 {
        0 | 1 => Ask::Add(*group),
        2 => Ask::Remove(*group, Pending::Keep),
        3 => Ask::Remove(*group, Pending::Drain),
        4 => Ask::Change(*group),
        5 => Ask::Pause(*group),
        6 => Ask::Resume(*group),
        _ => Ask::Migrate(*group),
    });
    run(&asks.collect::<Vec<_>>())
}

fn run(asks: &[Ask]) -> Vec<RosterEvent> {
    let (mut roster, mut events) = (Roster::default(), Vec::new());
    for (concurrency, ask) in (1..).zip(asks) {
        let command = match ask {
            Ask::Add(group) => add(&format!("g{group}")),
            Ask::Remove(group, pending) => remove(&format!("g{group}"), *pending),
            Ask::Migrate(group) => {
                let group = GroupName::parse(format!("g{group}")).unwrap();
                let current = roster.listeners().get(&group).map_or(1, |found| found.generation);
                Command::MigrateListener { queue: QueueId::new(group, current) }
            }
            Ask::Change(group) => change(&format!("g{group}"), concurrency),
            Ask::Pause(group) => pause(&format!("g{group}")),
            Ask::Resume(group) => resume(&format!("g{group}")),
        };
        for event in decide(&roster, &command).unwrap_or_default() {
            roster.evolve(&recorded(events.len() as u64 + 1, event.clone()));
            events.push(event);
        }
    }
    events
}

proptest! {
    #[test]
    fn a_queue_name_is_used_twice_only_when_it_was_kept(asks in asks()) {
        let mut discarded = std::collections::BTreeSet::new();
        let mut current = BTreeMap::new();
        for event in run(&asks) {
            match event {
                RosterEvent::ListenerAdded { listener, generation } => {
                    prop_assert!(!discarded.contains(&(listener.group.clone(), generation)));
                    current.insert(listener.group, generation);
                }
                RosterEvent::ListenerRemoved { group, pending } => {
                    let generation = current.remove(&group).expect("only the configured is removed");
                    if pending != Pending::Keep {
                        discarded.insert((group, generation));
                    }
                }
                RosterEvent::ListenerChanged { .. }
                | RosterEvent::ListenerPaused { .. }
                | RosterEvent::ListenerResumed { .. }
                | RosterEvent::BusAdded { .. }
                | RosterEvent::BusChanged { .. }
                | RosterEvent::BusRemoved { .. }
                | RosterEvent::ClusterChanged { .. }
                | RosterEvent::QueueTakenOver { .. }
                | RosterEvent::QueueReleased { .. }
                | RosterEvent::LogAdopted { .. } => {}
            }
        }
    }

    #[test]
    fn an_adoption_is_a_version_and_changes_nothing_else(asks in asks()) {
        let events = run(&asks);
        let (before, identity) = (given(&events), LogIdentity { cluster: Uuid::nil(), log: Uuid::nil() });
        let adoption = LogAdoption { identity, former: identity };
        let after = given(&[&events[..], &[RosterEvent::LogAdopted { adoption }]].concat());
        prop_assert_eq!(after.version(), before.version() + 1);
        prop_assert_eq!(after.listeners(), before.listeners());
        prop_assert_eq!(after.tombstones(), before.tombstones());
        prop_assert_eq!(after.orphans(), before.orphans());
    }

    #[test]
    fn no_queue_of_a_configured_listener_has_a_tombstone(asks in asks()) {
        let roster = given(&run(&asks));
        for (group, configured) in roster.listeners() {
            prop_assert!(!roster.tombstones().contains_key(&QueueId::new(group.clone(), configured.generation)));
        }
    }
}

#[test]
fn a_returning_event_is_dropped_if_the_last_removal_said_so_and_stands() {
    let group = GroupName::parse("a").unwrap();
    let mut events = vec![added("a", 1), removed("a", Pending::Discard)];
    assert!(given(&events).discards(&group));
    events.push(added("a", 2));
    assert!(!given(&events).discards(&group));
    events.push(removed("a", Pending::Keep));
    assert!(!given(&events).discards(&group));
    let never = [added("a", 1), removed("a", Pending::Drain), added("b", 1)];
    assert!(!given(&never).discards(&group));
}
