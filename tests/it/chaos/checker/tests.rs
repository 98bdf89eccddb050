//! The judge finds each kind of broken guarantee.

use super::{super::groups::GROUPS, *};

const SEED: u64 = 3;

/// A run in which every group did what it should with ten events.
fn sound() -> Evidence {
    let now = Instant::now();
    let mut evidence = Evidence {
        seed: SEED,
        groups: GROUPS.to_vec(),
        posted: Vec::new(),
        executions: Vec::new(),
        dead: Vec::new(),
        away: Vec::new(),
        faults: Vec::new(),
    };
    for number in 0..10 {
        let event = format!("e{number}");
        let outcome = Outcome::Accepted;
        evidence.posted.push(Posted { event: event.clone(), sent: now, answered: now, outcome });
        for group in &GROUPS {
            let outcomes = (0..=group.attempts).map(|nth| group.works(SEED, &event, nth));
            let mut gave_up = true;
            for worked in outcomes {
                let (group, node) = (group.name.to_owned(), "n0".to_owned());
                let event = event.clone();
                evidence.executions.push(Execution { group, event, node, at: now, worked });
                if worked {
                    gave_up = false;
                    break;
                }
            }
            if gave_up {
                let (group, event) = (group.name.to_owned(), event.clone());
                evidence.dead.push(Dead { group, event, parked: false });
            }
        }
    }
    evidence
}

fn says(evidence: &Evidence, what: &str) {
    let wrong = evidence.judge().wrong;
    assert!(wrong.iter().any(|wrong| wrong.contains(what)), "{what}: {wrong:?}");
}

#[test]
fn a_sound_run_is_found_sound_and_counted() {
    let verdict = sound().judge();
    assert_eq!(verdict.wrong, Vec::<String>::new());
    let failing = Counts { required: 10, failed: 20, dead: 10, ..Counts::default() };
    assert_eq!(verdict.counts["failing"], failing);
    let poison = &verdict.counts["poison"];
    assert!(poison.dead > 0 && poison.worked > 0, "{poison}");
}

#[test]
fn what_was_accepted_and_is_nowhere_is_lost_unless_the_group_was_away() {
    let mut evidence = sound();
    evidence.executions.retain(|one| one.group != TRAVELLER || one.event != "e4");
    evidence.dead.retain(|dead| dead.group != TRAVELLER || dead.event != "e4");
    says(&evidence, "group traveller lost (1 events): e4");
    let sent = evidence.posted[4].sent;
    let second = Duration::from_secs(1);
    evidence.away = vec![(sent, sent + second)];
    assert_eq!(evidence.judge().wrong, Vec::<String>::new());
    evidence.away.clear();
    evidence.posted[4].outcome = Outcome::Unknown;
    assert_eq!(evidence.judge().wrong, Vec::<String>::new());
}

#[test]
fn an_event_that_only_failed_is_lost_without_its_dead_letter() {
    let mut evidence = sound();
    evidence.dead.retain(|dead| dead.group != "failing" || dead.event != "e7");
    says(&evidence, "group failing lost (1 events): e7");
}

#[test]
fn what_is_repeated_is_wrong_unless_the_event_met_a_fault_and_is_counted() {
    let mut evidence = sound();
    let again = evidence.executions.iter().find(|one| one.group == "healthy").cloned();
    evidence.executions.extend(again);
    let twice = evidence.dead.iter().find(|dead| dead.group == "failing").cloned();
    evidence.dead.extend(twice);
    let everywhere = "group everywhere repeated";
    assert!(!evidence.judge().wrong.iter().any(|wrong| wrong.contains(everywhere)));
    says(&evidence, "group healthy repeated more often than faults explain (1 events): e0");
    says(&evidence, "group failing repeated more often than faults explain (1 events): e0");
    let sent = evidence.posted[0].sent;
    let fault = |begun| FaultSpan { begun, mended: begun + Duration::from_secs(1) };
    evidence.faults = vec![fault(sent + Duration::from_secs(1))];
    says(&evidence, "group healthy repeated");
    evidence.faults = vec![fault(sent)];
    let verdict = evidence.judge();
    assert_eq!(verdict.wrong, Vec::<String>::new());
    assert_eq!((verdict.counts["healthy"].repeated, verdict.counts["healthy"].most), (1, 1));
}

#[test]
fn a_fault_explains_copies_by_its_length_and_not_any_number() {
    for (length, copies) in [(0, COPIES + 1), (3 * 60, COPIES + 19)] {
        let mut evidence = sound();
        let begun = evidence.posted[0].sent;
        evidence.faults = vec![FaultSpan { begun, mended: begun + Duration::from_secs(length) }];
        let again = evidence.executions.iter().find(|one| one.group == "everywhere").cloned();
        evidence.executions.extend(std::iter::repeat_n(again.unwrap(), copies));
        assert_eq!(evidence.judge().wrong, Vec::<String>::new());
        let once_more = evidence.executions.last().cloned();
        evidence.executions.extend(once_more);
        let everywhere = "group everywhere repeated more often than faults explain (1 events): e0";
        says(&evidence, everywhere);
    }
}

#[test]
fn dead_letters_of_what_works_and_events_from_nowhere_are_wrong() {
    let mut evidence = sound();
    let (group, event) = ("healthy".to_owned(), "e1".to_owned());
    evidence.dead.push(Dead { group, event, parked: false });
    says(&evidence, "group healthy gave up what works (1 events): e1");
    let (group, event) = ("chance".to_owned(), "e99".to_owned());
    evidence.dead.push(Dead { group, event, parked: true });
    says(&evidence, "these events were never sent (1 events): e99");
    says(&evidence, "group chance was there, and these were parked for it");
}
