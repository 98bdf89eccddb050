//! What a pass leaves behind: the status that every node serves, and the record of its steps.

use super::{Parts, PassError, pass::Passes, work::Work};
use crate::{
    clock,
    domain::{
        desired::desired,
        drift::{Drift, DriftKind, Remedy},
        report::{
            DriftReport, PassFailure, PassRecord, StepOutcome, StepRecord, TopologyState,
            TopologyStatus,
        },
        roster::Roster,
    },
    error_chain::error_chain,
};
use std::{collections::BTreeSet, sync::Arc};
use time::OffsetDateTime;

impl Passes {
    /// Stores how the topology is.
    pub(super) async fn save(
        &mut self,
        work: &Work,
        drift: &[Drift],
        failure: Option<String>,
    ) -> Result<TopologyState, PassError> {
        let now = clock::now();
        let undone = |drift: &Drift| {
            let repairable = drift.is_repairable() && drift.remedy != Remedy::Delete;
            repairable && work.asked_for(drift)
        };
        let behind = drift.iter().any(undone);
        let reconciled_version =
            if behind { work.before.reconciled_version } else { work.roster.version() };
        let state = grade(work, drift, behind);
        let reports: Vec<_> = drift
            .iter()
            .map(|drift| DriftReport::new(drift, self.sightings.since(drift, now)))
            .collect();
        let failure = failure.map(|cause| {
            let since = work.before.failure.as_ref().map_or(now, |failure| failure.since);
            PassFailure { since, cause }
        });
        let oldest = reports.iter().map(|report| now - report.since).max().unwrap_or_default();
        let kinds = drift.iter().map(|drift| drift.kind);
        self.parts.metrics.drift(kinds, oldest.try_into().unwrap_or_default());
        let status = TopologyStatus {
            reconciled_version,
            observed_at: Some(now),
            state,
            failure,
            drift: reports,
            node: self.parts.roster.node().id.clone(),
            buses: if behind {
                work.before.buses.clone()
            } else {
                Some(work.buses.keys().cloned().collect())
            },
        };
        self.note_first_pass(work, drift).await?;
        self.parts.store.save_topology_status(&status).await?;
        if reconciled_version == work.roster.version() {
            self.applied = Some(Arc::clone(&work.roster));
        }
        Ok(state)
    }

    /// The cluster has a broker from when the layout without any listener is on it. A listener whose
    /// queue the broker refuses does not keep the breaker from being armed.
    async fn note_first_pass(&self, work: &Work, drift: &[Drift]) -> Result<(), PassError> {
        let Parts { store, roster, .. } = &*self.parts;
        if store.marker_made().await? {
            return Ok(());
        }
        let base = desired(roster.layout(), &work.buses, &Roster::default(), &BTreeSet::new());
        let lacks =
            |drift: &Drift| drift.kind == DriftKind::Missing && base.contains(drift.object());
        if !drift.iter().any(lacks) {
            store.set_marker_made().await?;
        }
        Ok(())
    }

    /// Keeps what is known and says that nothing newer is.
    pub(super) async fn save_failure(&self, work: &Work, error: &PassError) {
        let state = match error {
            PassError::Blocked(_) => TopologyState::Blocked,
            PassError::Busy => return,
            _ => TopologyState::Unknown,
        };
        let since = work.before.failure.as_ref().map_or_else(clock::now, |failure| failure.since);
        let failure = Some(PassFailure { since, cause: error_chain(error) });
        let node = self.parts.roster.node().id.clone();
        let status = TopologyStatus { state, failure, node, ..work.before.clone() };
        if status != work.before
            && let Err(error) = self.parts.store.save_topology_status(&status).await
        {
            let error = error_chain(&error);
            tracing::warn!(error, "could not store the topology's status: {error}");
        }
    }

    /// Keeps what was done, where something was, and tells every node.
    pub(super) async fn record(
        &self,
        work: &Work,
        started_at: OffsetDateTime,
        records: &[StepRecord],
    ) -> Result<(), PassError> {
        if !records.iter().any(|record| !matches!(record.outcome, StepOutcome::Skipped { .. })) {
            return Ok(());
        }
        let (steps, version) = (records.len(), work.roster.version());
        tracing::info!(
            steps,
            version,
            "the topology was changed to follow version {version} of the roster; steps: {steps}"
        );
        let record = PassRecord {
            id: 0,
            node: self.parts.roster.node().clone(),
            started_at,
            finished_at: clock::now(),
            version,
            steps: records.to_vec(),
        };
        self.parts.store.record_pass(&record).await?;
        self.announce(work, records).await;
        Ok(())
    }
}

fn grade(work: &Work, drift: &[Drift], behind: bool) -> TopologyState {
    let lost =
        |drift: &Drift| drift.is_wrong() && (!work.asked_for(drift) || !drift.is_repairable());
    if drift.iter().any(lost) {
        TopologyState::Drifted
    } else if behind || drift.iter().any(|drift| drift.remedy == Remedy::Delete) {
        TopologyState::Pending
    } else {
        TopologyState::Converged
    }
}
