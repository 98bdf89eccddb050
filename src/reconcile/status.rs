//! The status that a pass leaves behind. Every node serves it.

use super::{
    baseline::Baseline, context::ReconcileContext, error::PassError, intent::Intent, memory::Memory,
};
use crate::{
    broker::BrokerError,
    domain::{
        desired::desired,
        drift::{Drift, DriftKind, Remedy},
        report::{PassFailure, TopologyState, TopologyStatus},
        roster::Roster,
    },
    error_chain::error_chain,
    store::{Lease, StoreError},
};
use std::{collections::BTreeSet, time::Duration};
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
    let progress = progress(baseline, drift);
    let state = grade(baseline, drift, progress);
    let (reconciled_version, buses) = match progress {
        Progress::Behind => (baseline.status.reconciled_version, baseline.status.buses.clone()),
        Progress::Complete => {
            (intent.roster.version(), Some(intent.buses.keys().cloned().collect()))
        }
    };
    let drift_reports = memory.reports(drift, now);
    let oldest = drift_reports.iter().map(|report| now - report.since).max().unwrap_or_default();
    let kinds = drift.iter().map(|drift| drift.kind);
    context.metrics.drift(kinds, oldest.try_into().unwrap_or_default());
    let failure = failure.as_ref().map(|error| since_first(baseline, now, error_chain(error)));
    let status = TopologyStatus {
        reconciled_version,
        observed_at: Some(now),
        state,
        failure,
        drift: drift_reports,
        node: context.roster.node().id.clone(),
        buses,
    };
    arm_breaker(context, lease, intent, baseline, drift).await?;
    lease.save_topology_status(&status).await?;
    if progress == Progress::Complete {
        memory.remember_roster(&intent.roster);
    }
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

/// Whether the broker has every change that the roster asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// A change is left to make.
    Behind,
    /// Every change is made.
    Complete,
}

fn progress(baseline: &Baseline, drift: &[Drift]) -> Progress {
    let is_left = |drift: &Drift| {
        // The queue of a removed listener may need days to drain.
        let may_wait = drift.remedy == Remedy::Delete;
        drift.is_repairable() && !may_wait && baseline.asks_for(drift)
    };
    if drift.iter().any(is_left) { Progress::Behind } else { Progress::Complete }
}

fn grade(baseline: &Baseline, drift: &[Drift], progress: Progress) -> TopologyState {
    let is_lost =
        |drift: &Drift| drift.is_wrong() && (!baseline.asks_for(drift) || !drift.is_repairable());
    if drift.iter().any(is_lost) {
        TopologyState::Drifted
    } else if progress == Progress::Behind
        || drift.iter().any(|drift| drift.remedy == Remedy::Delete)
    {
        TopologyState::Pending
    } else {
        TopologyState::Converged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{desired::Desired, drift::Object, topology::Binding};

    fn missing(binding: &Binding) -> Drift {
        Drift {
            kind: DriftKind::Missing,
            expected: Some(Object::Binding(binding.clone())),
            found: None,
            remedy: Remedy::Bind,
        }
    }

    fn baseline(bindings: &[&Binding]) -> Baseline {
        let mut desired = Desired::default();
        desired.topology.bindings.extend(bindings.iter().copied().cloned());
        Baseline { status: TopologyStatus::default(), desired, marker_made: true }
    }

    fn graded(baseline: &Baseline, drift: &[Drift]) -> (TopologyState, Progress) {
        let progress = progress(baseline, drift);
        (grade(baseline, drift, progress), progress)
    }

    #[test]
    fn a_new_binding_is_pending_and_a_lost_binding_is_drift() {
        let binding = Binding::of_queue("x", "q", "");
        let drift = [missing(&binding)];
        let pending = graded(&baseline(&[]), &drift);
        assert_eq!(pending, (TopologyState::Pending, Progress::Behind));
        let drifted = graded(&baseline(&[&binding]), &drift);
        assert_eq!(drifted, (TopologyState::Drifted, Progress::Complete));
    }

    #[test]
    fn a_queue_that_drains_is_pending_and_holds_no_version_back() {
        let mut drift = missing(&Binding::of_queue("x", "q", ""));
        drift.remedy = Remedy::Delete;
        let graded = graded(&baseline(&[]), &[drift]);
        assert_eq!(graded, (TopologyState::Pending, Progress::Complete));
    }

    #[test]
    fn a_topology_without_drift_is_converged() {
        let graded = graded(&baseline(&[]), &[]);
        assert_eq!(graded, (TopologyState::Converged, Progress::Complete));
    }
}
