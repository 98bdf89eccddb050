//! The judge of a run: were the guarantees kept.

mod tests;

use super::{
    groups::{Execution, Group, Rule, TRAVELLER},
    load::{Outcome, Posted},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

/// Time after the end of a fault in which the fault may still cause repeated events: the longest
/// wait for an answer, and some seconds in which queues find their leaders.
const RECOVERY: Duration = Duration::from_secs(15);

/// Copies of one event that the shortest fault may cause. Nodes publish the first kept event again
/// until the broker takes the event: three tries at once, then one after each growing pause. Each
/// of the copies may be in a queue although no answer said so.
const COPIES: usize = 12;

/// Time of a fault in which one more copy of an event may be published. The pauses of a node grow
/// to a minute, but several nodes take turns, and a sign that the broker takes events ends a pause.
const PER_COPY: Duration = Duration::from_secs(10);

/// A fault of the system, with its beginning and its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct FaultSpan {
    pub(super) begun: Instant,
    pub(super) mended: Instant,
}

impl FaultSpan {
    /// End of the time in which the fault may still cause repeated events.
    fn felt_until(&self) -> Instant {
        self.mended + RECOVERY
    }

    /// Copies of one event that the fault may cause. A slow machine mends a fault late, so the
    /// number grows with the time that the fault is felt.
    fn copies(&self) -> usize {
        let felt = self.felt_until().saturating_duration_since(self.begun);
        COPIES + usize::try_from(felt.as_secs() / PER_COPY.as_secs()).expect("not that long")
    }
}

/// A dead letter, as REST lists it.
#[derive(Debug, Clone)]
pub(super) struct Dead {
    /// The group that the dead letter goes back to.
    pub(super) group: String,
    pub(super) event: String,
    /// Whether the event was parked because no consumer could take it. Otherwise its group gave up.
    pub(super) parked: bool,
}

/// Everything that was recorded of a run, once it had become quiet.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) seed: u64,
    pub(super) groups: Vec<Group>,
    pub(super) posted: Vec<Posted>,
    pub(super) executions: Vec<Execution>,
    pub(super) dead: Vec<Dead>,
    /// Times at which [`TRAVELLER`] was perhaps not in the roster.
    pub(super) away: Vec<(Instant, Instant)>,
    /// Faults of the run. Only an event that was on its way during a fault may run again.
    pub(super) faults: Vec<FaultSpan>,
}

/// Outcome of one group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Events that the group had to get.
    required: usize,
    worked: usize,
    failed: usize,
    dead: usize,
    /// Executions and dead letters beyond what one delivery costs.
    repeated: usize,
    /// The most executions and dead letters that one event had beyond that.
    most: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { required, worked, failed, dead, repeated, most } = self;
        write!(
            out,
            "{required} required, {worked} worked, {failed} failed, {dead} dead, {repeated} repeated, of one event {most} at most"
        )
    }
}

/// Broken guarantees, and counts of the run.
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
        let mut repeated: BTreeMap<&str, usize> = BTreeMap::new();
        for (event, runs) in &runs {
            counts.worked += runs.iter().filter(|worked| **worked).count();
            counts.failed += runs.iter().filter(|worked| !**worked).count();
            let first = runs.iter().position(|worked| *worked).unwrap_or(usize::MAX);
            let allowed = first.saturating_add(1).min(group.attempts + 1);
            repeated.insert(event, runs.len().saturating_sub(allowed));
        }
        counts.dead = dead.values().sum();
        for (event, count) in dead {
            *repeated.entry(event).or_default() += count - 1;
        }
        self.explain(group, repeated, &mut counts, wrong);
        counts
    }

    /// Checks that each event ran at most once on each node. Nothing more is promised there.
    fn judge_every_node(&self, group: &Group, wrong: &mut Vec<String>) -> Counts {
        let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut counts = Counts::default();
        for one in self.executions.iter().filter(|one| one.group == group.name) {
            *times.entry((&one.event, &one.node)).or_default() += 1;
            counts.worked += 1;
        }
        let mut repeated: BTreeMap<&str, usize> = BTreeMap::new();
        for ((event, _), times) in times {
            *repeated.entry(event).or_default() += times - 1;
        }
        self.explain(group, repeated, &mut counts, wrong);
        let dead = self.dead.iter().filter(|dead| dead.group == group.name);
        let what = format!("group {} runs on every node and has dead letters", group.name);
        complain(wrong, &what, dead.map(|dead| &*dead.event));
        counts
    }

    /// Counts the repetitions of each event in a group, and reports those that no fault explains.
    fn explain(
        &self,
        group: &Group,
        repeated: BTreeMap<&str, usize>,
        counts: &mut Counts,
        wrong: &mut Vec<String>,
    ) {
        counts.repeated = repeated.values().sum();
        counts.most = repeated.values().copied().max().unwrap_or_default();
        let nodes: BTreeSet<&str> = self.executions.iter().map(|one| &*one.node).collect();
        let places = if group.every_node { nodes.len() } else { 1 };
        let each = (group.attempts + 1) * places;
        let unexplained = repeated.into_iter().filter(|(event, repeated)| {
            *repeated > 0 && *repeated > each * self.copies_explained(group, event)
        });
        complain(
            wrong,
            &format!("group {} repeated more often than faults explain", group.name),
            unexplained.map(|(event, _)| event),
        );
    }

    /// Copies of an event that the faults between its sending and its last execution explain.
    fn copies_explained(&self, group: &Group, event: &str) -> usize {
        let of_event = |one: &&Execution| one.group == group.name && one.event == event;
        let last = self.executions.iter().filter(of_event).map(|one| one.at).max();
        let Some(posted) = self.posted.iter().find(|posted| posted.event == event) else {
            return 0;
        };
        let last = last.map_or(posted.answered, |last| last.max(posted.answered));
        let meets = |fault: &&FaultSpan| fault.begun <= last && posted.sent <= fault.felt_until();
        self.faults.iter().filter(meets).map(FaultSpan::copies).sum()
    }

    /// The outcomes of a group's executions of each event, in order.
    fn runs(&self, group: &Group) -> BTreeMap<&str, Vec<bool>> {
        let mut runs: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        for one in self.executions.iter().filter(|one| one.group == group.name) {
            runs.entry(&one.event).or_default().push(one.worked);
        }
        runs
    }

    /// Events that were accepted while the group was in the roster.
    fn required(&self, group: &Group) -> BTreeSet<&str> {
        let away = |posted: &Posted| {
            let meets =
                |(from, to): &(Instant, Instant)| posted.answered >= *from && posted.sent <= *to;
            group.name == TRAVELLER && self.away.iter().any(meets)
        };
        let accepted = self.posted.iter().filter(|posted| posted.outcome == Outcome::Accepted);
        accepted.filter(|posted| !away(posted)).map(|posted| &*posted.event).collect()
    }

    /// Everything that was recorded of an event, for a reader who looks for the cause.
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
