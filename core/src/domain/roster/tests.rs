//! Decisions of the roster, each as given events, a command and its result.

use super::*;
use crate::domain::{event::Audit, listener::tests::listener};
use proptest::prelude::*;

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
    let events = decide(&given(&[added("a", 1)]), &Command::MigrateListener { group }).unwrap();
    assert_eq!(events, vec![removed("a", Pending::Drain), added("a", 2)]);
    let roster = given(&[&[added("a", 1)], &events[..]].concat());
    assert_eq!(roster.listeners().values().next().unwrap().generation, 2);
    assert_eq!(roster.tombstones().values().next().unwrap().pending, Pending::Drain);
}

#[derive(Debug, Clone)]
enum Ask {
    Add(u8),
    Remove(u8, Pending),
    Migrate(u8),
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let pending = prop_oneof![Just(Pending::Keep), Just(Pending::Drain), Just(Pending::Discard)];
    let ask = prop_oneof![
        (0..4u8).prop_map(Ask::Add),
        (0..4u8, pending).prop_map(|(group, pending)| Ask::Remove(group, pending)),
        (0..4u8).prop_map(Ask::Migrate),
    ];
    prop::collection::vec(ask, 0..60)
}

/// The history that these commands lead to, refusals left out.
pub(crate) fn history(asks: &[(u8, u8)]) -> Vec<RosterEvent> {
    let asks = asks.iter().map(|(kind, group)| match kind % 5 {
        0 | 1 => Ask::Add(*group),
        2 => Ask::Remove(*group, Pending::Keep),
        3 => Ask::Remove(*group, Pending::Drain),
        _ => Ask::Migrate(*group),
    });
    run(&asks.collect::<Vec<_>>())
}

fn run(asks: &[Ask]) -> Vec<RosterEvent> {
    let (mut roster, mut events) = (Roster::default(), Vec::new());
    for ask in asks {
        let command = match ask {
            Ask::Add(group) => add(&format!("g{group}")),
            Ask::Remove(group, pending) => remove(&format!("g{group}"), *pending),
            Ask::Migrate(group) => {
                let group = GroupName::parse(format!("g{group}")).unwrap();
                Command::MigrateListener { group }
            }
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
            }
        }
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
