//! The status that a pass leaves behind. Every node serves it.

use super::{
    baseline::Baseline, context::ReconcileContext, error::PassError, intent::Intent, memory::Memory,
};
use crate::{
    broker::BrokerError,
    domain::{
        desired::desired,
        drift::{Drift, DriftKind},
        repair::LastSeen,
        report::{DriftReport, PassFailure, TopologyState, TopologyStatus},
        roster::Roster,
    },
    error_chain::error_chain,
    store::{Lease, StoreError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use time::OffsetDateTime;

/// What a pass found at its end.
pub(super) struct Findings {
    /// Drift that is left.
    pub(super) drift: Vec<Drift>,
    /// Failure of a step.
    pub(super) failure: Option<BrokerError>,
    /// Pause until the next pass, if it must be shorter than the interval.
    pub(super) next_pass: Option<Duration>,
}

/// Stores what a pass found.
pub(super) async fn save_status(
    context: &ReconcileContext,
    memory: &mut Memory,
    lease: &Lease,
    intent: &Intent,
    baseline: &Baseline,
    findings: &Findings,
) -> Result<(), StoreError> {
    let now = context.clock.now();
    let Findings { drift, failure, .. } = findings;
    let state = grade(&baseline.last_seen, drift);
    let mut drift_reports = memory.reports(&baseline.last_seen, drift, now);
    carry_since(&mut drift_reports, &baseline.status.drift);
    // An object that is tried again later fails still.
    let cause = failure.as_ref().map(|error| error_chain(error));
    let cause = cause.or_else(|| memory.setbacks().cause().map(str::to_owned));
    let failure = cause.map(|cause| since_first(baseline, now, cause));
    let status = TopologyStatus {
        reconciled_version: intent.roster.version(),
        observed_at: Some(now),
        state,
        failure,
        restraint: memory.restraint().map(ToString::to_string),
        drift: drift_reports,
        node: context.roster.node().id.clone(),
        buses: Some(intent.buses.keys().cloned().collect()),
    };
    arm_breaker(context, lease, intent, baseline, drift).await?;
    lease.save_topology_status(&status).await?;
    memory.remember_roster(&intent.roster);
    Ok(())
}

/// Stores why a pass failed, and keeps what the last successful pass found. A pass that another
/// node prevented stores nothing. A failure that another node stored already is not stored again.
pub(super) async fn save_failure(
    context: &ReconcileContext,
    lease: &Lease,
    baseline: &Baseline,
    error: &PassError,
) {
    let state = match error {
        PassError::Busy | PassError::LeaseLost(_) => return,
        PassError::Blocked(_) => TopologyState::Blocked,
        _ => TopologyState::Unknown,
    };
    let failure = since_first(baseline, context.clock.now(), error_chain(error));
    let before = &baseline.status;
    let mut status = TopologyStatus { state, failure: Some(failure), ..before.clone() };
    if status == *before {
        return;
    }
    status.node.clone_from(&context.roster.node().id);
    if let Err(error) = lease.save_topology_status(&status).await {
        let error = error_chain(&error);
        tracing::warn!(
            error,
            "the database could not store the status of the topology; it shows the status of an earlier pass: {error}"
        );
    }
}

/// Gives each drift the time of its first observation by any process: this process may have started
/// later, or may have looked later.
fn carry_since(reports: &mut [DriftReport], known: &[DriftReport]) {
    let known: BTreeMap<_, _> = known.iter().map(|report| (report.key(), report.since)).collect();
    for report in reports {
        if let Some(since) = known.get(&report.key()) {
            report.since = report.since.min(*since);
        }
    }
}

/// Failure that began with the first failed pass after the last successful pass.
fn since_first(baseline: &Baseline, now: OffsetDateTime, cause: String) -> PassFailure {
    let since = baseline.status.failure.as_ref().map_or(now, |failure| failure.since);
    PassFailure { since, cause }
}

/// Arms the breaker once the base layout (everything except listeners) is on the broker. A refused
/// queue of one listener does not delay that.
async fn arm_breaker(
    context: &ReconcileContext,
    lease: &Lease,
    intent: &Intent,
    baseline: &Baseline,
    drift: &[Drift],
) -> Result<(), StoreError> {
    if baseline.marker_made {
        return Ok(());
    }
    let layout = context.roster.layout();
    let base = desired(layout, &intent.buses, &Roster::default(), &BTreeSet::new());
    let is_lacking =
        |drift: &Drift| drift.kind == DriftKind::Missing && base.contains(drift.object());
    if !drift.iter().any(is_lacking) {
        lease.set_marker_made().await?;
    }
    Ok(())
}

/// State in one word. A change that the roster asks for and that is not made yet is pending; any
/// other difference is drift.
fn grade(last_seen: &LastSeen, drift: &[Drift]) -> TopologyState {
    let is_unfinished = |drift: &Drift| drift.is_repairable() && last_seen.asks_for(drift);
    if drift.iter().any(|drift| drift.is_wrong() && !is_unfinished(drift)) {
        TopologyState::Drifted
    } else if drift.iter().any(is_unfinished) {
        TopologyState::Pending
    } else {
        TopologyState::Converged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        desired::Desired,
        drift::{Object, Remedy},
        topology::Binding,
    };

    fn missing(binding: &Binding) -> Drift {
        Drift {
            kind: DriftKind::Missing,
            expected: Some(Object::Binding(binding.clone())),
            found: None,
            remedy: Remedy::Bind,
        }
    }

    fn last_seen(bindings: &[&Binding]) -> LastSeen {
        let mut desired = Desired::default();
        desired.topology.bindings.extend(bindings.iter().copied().cloned());
        LastSeen { desired, ..LastSeen::default() }
    }

    #[test]
    fn a_new_binding_is_pending_and_a_lost_binding_is_drift() {
        let binding = Binding::of_queue("x", "q", "");
        let drift = [missing(&binding)];
        assert_eq!(grade(&last_seen(&[]), &drift), TopologyState::Pending);
        assert_eq!(grade(&last_seen(&[&binding]), &drift), TopologyState::Drifted);
        let unfinished = LastSeen { unfinished: [drift[0].key()].into(), ..last_seen(&[&binding]) };
        assert_eq!(grade(&unfinished, &drift), TopologyState::Pending);
    }

    #[test]
    fn a_drift_keeps_the_time_at_which_another_process_saw_it_first() {
        let drift = ["a", "b"].map(|key| missing(&Binding::of_queue("x", "q", key)));
        let at = |seconds| OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut reports = drift.each_ref().map(|drift| DriftReport::new(drift, at(9)));
        carry_since(&mut reports, &[DriftReport::new(&drift[0], at(5))]);
        assert_eq!(reports.map(|report| report.since), [at(5), at(9)]);
    }

    #[test]
    fn a_queue_that_drains_is_pending() {
        let mut drift = missing(&Binding::of_queue("x", "q", ""));
        drift.remedy = Remedy::Delete;
        assert_eq!(grade(&last_seen(&[]), &[drift]), TopologyState::Pending);
    }

    #[test]
    fn a_topology_without_drift_is_converged() {
        assert_eq!(grade(&last_seen(&[]), &[]), TopologyState::Converged);
    }
}
