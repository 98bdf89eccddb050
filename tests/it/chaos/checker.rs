//! Whether what happened may happen.

use super::{
    groups::{Execution, Group, Rule, TRAVELLER},
    load::{Outcome, Posted},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Instant,
};

/// A dead letter, as REST lists it.
#[derive(Debug, Clone)]
pub(super) struct Dead {
    /// The group that it goes back to.
    pub(super) group: String,
    pub(super) event: String,
    /// Whether nobody could take it, and not the group that gave it up.
    pub(super) parked: bool,
}

/// Everything that was seen of a run, when it had become quiet.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) seed: u64,
    pub(super) groups: Vec<Group>,
    pub(super) posted: Vec<Posted>,
    pub(super) executions: Vec<Execution>,
    pub(super) dead: Vec<Dead>,
    /// When [`TRAVELLER`] was perhaps not in the roster.
    pub(super) away: Vec<(Instant, Instant)>,
    /// How many executions and dead letters of a group may be there twice: what was in flight at
    /// the faults of the run.
    pub(super) repetitions: usize,
}

/// What came of one group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Events that it had to get.
    required: usize,
    worked: usize,
    failed: usize,
    dead: usize,
    /// Executions and dead letters beyond what one delivery costs.
    repeated: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { required, worked, failed, dead, repeated } = self;
        write!(
            out,
            "{required} required, {worked} worked, {failed} failed, {dead} dead, {repeated} repeated"
        )
    }
}

/// What is wrong, and what there is to count.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) wrong: Vec<String>,
    pub(super) counts: BTreeMap<&'static str, Counts>,
}

impl Evidence {
    /// Judges the run.
    pub(super) fn judge(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for group in &self.groups {
            let counts = if group.every_node {
                self.judge_every_node(group, &mut verdict.wrong)
            } else {
                self.judge_once(group, &mut verdict.wrong)
            };
            if counts.repeated > self.repetitions {
                let (found, most) = (counts.repeated, self.repetitions);
                verdict.wrong.push(format!(
                    "group {} repeated {found} executions; the faults explain {most}",
                    group.name
                ));
            }
            verdict.counts.insert(group.name, counts);
        }
        let known: BTreeSet<&str> = self.posted.iter().map(|posted| &*posted.event).collect();
        let seen = self.executions.iter().map(|one| &*one.event);
        let strange = seen.chain(self.dead.iter().map(|dead| &*dead.event));
        complain(
            &mut verdict.wrong,
            "these events were never sent",
            strange.filter(|event| !known.contains(event)),
        );
        verdict
    }

    fn judge_once(&self, group: &Group, wrong: &mut Vec<String>) -> Counts {
        let runs = self.runs(group);
        let mut dead: BTreeMap<&str, usize> = BTreeMap::new();
        for letter in self.dead.iter().filter(|letter| letter.group == group.name) {
            *dead.entry(&letter.event).or_default() += 1;
        }
        let required = self.required(group);
        let is_done = |event: &&str| {
            dead.contains_key(event) || runs.get(event).is_some_and(|runs| runs.contains(&true))
        };
        let lost = required.iter().copied().filter(|event| !is_done(event));
        complain(wrong, &format!("group {} lost", group.name), lost);

        let never = |event: &str| group.rule == Rule::Fails || group.is_poison(self.seed, event);
        let sound = |event: &&str| group.rule != Rule::Chance && !never(event);
        let given_up = dead.keys().copied().filter(sound);
        complain(wrong, &format!("group {} gave up what works", group.name), given_up);
        let parked = self.dead.iter().filter(|dead| dead.parked && dead.group == group.name);
        if group.name != TRAVELLER {
            let what = format!("group {} was there, and these were parked for it", group.name);
            complain(wrong, &what, parked.map(|dead| &*dead.event));
        }

        let mut counts = Counts { required: required.len(), ..Counts::default() };
        for runs in runs.values() {
            counts.worked += runs.iter().filter(|worked| **worked).count();
            counts.failed += runs.iter().filter(|worked| !**worked).count();
            let first = runs.iter().position(|worked| *worked).unwrap_or(usize::MAX);
            let allowed = first.saturating_add(1).min(group.attempts + 1);
            counts.repeated += runs.len().saturating_sub(allowed);
        }
        counts.dead = dead.values().sum();
        counts.repeated += dead.values().map(|count| count - 1).sum::<usize>();
        counts
    }

    /// At most once on each node, and nothing is promised.
    fn judge_every_node(&self, group: &Group, wrong: &mut Vec<String>) -> Counts {
        let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut counts = Counts::default();
        for one in self.executions.iter().filter(|one| one.group == group.name) {
            *times.entry((&one.event, &one.node)).or_default() += 1;
            counts.worked += 1;
        }
        counts.repeated = times.values().map(|times| times - 1).sum();
        let dead = self.dead.iter().filter(|dead| dead.group == group.name);
        let what = format!("group {} runs on every node and has dead letters", group.name);
        complain(wrong, &what, dead.map(|dead| &*dead.event));
        counts
    }

    /// The outcomes of a group's executions of each event, in order.
    fn runs(&self, group: &Group) -> BTreeMap<&str, Vec<bool>> {
        let mut runs: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        for one in self.executions.iter().filter(|one| one.group == group.name) {
            runs.entry(&one.event).or_default().push(one.worked);
        }
        runs
    }

    /// What was accepted while the group was in the roster.
    fn required(&self, group: &Group) -> BTreeSet<&str> {
        let away = |posted: &Posted| {
            let meets =
                |(from, to): &(Instant, Instant)| posted.answered >= *from && posted.sent <= *to;
            group.name == TRAVELLER && self.away.iter().any(meets)
        };
        let accepted = self.posted.iter().filter(|posted| posted.outcome == Outcome::Accepted);
        accepted.filter(|posted| !away(posted)).map(|posted| &*posted.event).collect()
    }

    /// All that is known of an event, for whoever looks for what went wrong.
    pub(super) fn story(&self, event: &str, begin: Instant) -> String {
        let at = |instant: Instant| instant.saturating_duration_since(begin).as_secs_f32();
        let mut lines = vec![format!("  {event}:")];
        for posted in self.posted.iter().filter(|posted| posted.event == event) {
            let (sent, answered) = (at(posted.sent), at(posted.answered));
            lines.push(format!(
                "    sent at {sent:.3} s, answered at {answered:.3} s: {:?}",
                posted.outcome
            ));
        }
        for one in self.executions.iter().filter(|one| one.event == event) {
            let (group, node, at) = (&one.group, &one.node, at(one.at));
            lines.push(format!("    {group} on {node} at {at:.3} s: worked {}", one.worked));
        }
        for dead in self.dead.iter().filter(|dead| dead.event == event) {
            let kind = if dead.parked { "parked" } else { "dead letter" };
            lines.push(format!("    {kind} of {}", dead.group));
        }
        lines.join("\n")
    }
}

/// Adds a sentence with the events, if there are any.
fn complain<'a>(wrong: &mut Vec<String>, what: &str, events: impl Iterator<Item = &'a str>) {
    let events: BTreeSet<&str> = events.collect();
    if !events.is_empty() {
        let shown: Vec<&str> = events.iter().copied().take(20).collect();
        wrong.push(format!("{what} ({} events): {}", events.len(), shown.join(" ")));
    }
}

mod tests {
    use super::{super::groups::GROUPS, *};
    use std::time::Duration;

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
            repetitions: 0,
        };
        for number in 0..10 {
            let event = format!("e{number}");
            let outcome = Outcome::Accepted;
            evidence.posted.push(Posted {
                event: event.clone(),
                sent: now,
                answered: now,
                outcome,
            });
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
    fn more_repetitions_than_the_faults_explain_are_wrong_and_fewer_are_counted() {
        let mut evidence = sound();
        let again = evidence.executions.iter().find(|one| one.group == "healthy").cloned();
        evidence.executions.extend(again);
        let twice = evidence.dead.iter().find(|dead| dead.group == "failing").cloned();
        evidence.dead.extend(twice);
        says(&evidence, "group healthy repeated 1 executions; the faults explain 0");
        says(&evidence, "group failing repeated 1 executions; the faults explain 0");
        evidence.repetitions = 1;
        let verdict = evidence.judge();
        assert_eq!(verdict.wrong, Vec::<String>::new());
        assert_eq!(verdict.counts["healthy"].repeated, 1);
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
}
