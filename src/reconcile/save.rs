//! What a pass leaves behind: the status that every node serves, and the record of its steps.

use super::{Parts, PassError, intent::Intent, pass::Passes};
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
        intent: &Intent,
        drift: &[Drift],
        failure: Option<String>,
    ) -> Result<TopologyState, PassError> {
        let now = clock::now();
        let undone = |drift: &Drift| {
            let repairable = drift.is_repairable() && drift.remedy != Remedy::Delete;
            repairable && intent.asked_for(drift)
        };
        let behind = drift.iter().any(undone);
        let reconciled_version =
            if behind { intent.before.reconciled_version } else { intent.roster.version() };
        let state = grade(intent, drift, behind);
        let reports: Vec<_> = drift
            .iter()
            .map(|drift| DriftReport::new(drift, self.sightings.since(drift, now)))
            .collect();
        let failure = failure.map(|cause| {
            let since = intent.before.failure.as_ref().map_or(now, |failure| failure.since);
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
                intent.before.buses.clone()
            } else {
                Some(intent.buses.keys().cloned().collect())
            },
        };
        self.note_first_pass(intent, drift).await?;
        self.parts.store.save_topology_status(&status).await?;
        if reconciled_version == intent.roster.version() {
            self.applied = Some(Arc::clone(&intent.roster));
        }
        Ok(state)
    }

    /// Notes that the cluster has a broker, once the layout without any listener is on it. A
    /// listener whose queue the broker refuses does not keep the breaker from being armed.
    async fn note_first_pass(&self, intent: &Intent, drift: &[Drift]) -> Result<(), PassError> {
        let Parts { store, roster, .. } = &*self.parts;
        if store.marker_made().await? {
            return Ok(());
        }
        let base = desired(roster.layout(), &intent.buses, &Roster::default(), &BTreeSet::new());
        let lacks =
            |drift: &Drift| drift.kind == DriftKind::Missing && base.contains(drift.object());
        if !drift.iter().any(lacks) {
            store.set_marker_made().await?;
        }
        Ok(())
    }

    /// Keeps what is known and says that nothing newer is.
    pub(super) async fn save_failure(&self, intent: &Intent, error: &PassError) {
        let state = match error {
            PassError::Blocked(_) => TopologyState::Blocked,
            PassError::Busy => return,
            _ => TopologyState::Unknown,
        };
        let since = intent.before.failure.as_ref().map_or_else(clock::now, |failure| failure.since);
        let failure = Some(PassFailure { since, cause: error_chain(error) });
        let node = self.parts.roster.node().id.clone();
        let status = TopologyStatus { state, failure, node, ..intent.before.clone() };
        if status != intent.before
            && let Err(error) = self.parts.store.save_topology_status(&status).await
        {
            let error = error_chain(&error);
            tracing::warn!(error, "could not store the topology's status: {error}");
        }
    }

    /// Keeps what was done, where something was, and tells every node.
    pub(super) async fn record(
        &self,
        intent: &Intent,
        started_at: OffsetDateTime,
        records: &[StepRecord],
    ) -> Result<(), PassError> {
        if !records.iter().any(|record| !matches!(record.outcome, StepOutcome::Skipped { .. })) {
            return Ok(());
        }
        let (steps, version) = (records.len(), intent.roster.version());
        tracing::info!(
            steps,
            version,
            "the topology was changed to accelerate version {version} of the roster; steps: {steps}"
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
        self.announce(intent, records).await;
        Ok(())
    }
}

fn grade(intent: &Intent, drift: &[Drift], behind: bool) -> TopologyState {
    let lost =
        |drift: &Drift| drift.is_wrong() && (!intent.asked_for(drift) || !drift.is_repairable());
    if drift.iter().any(lost) {
        TopologyState::Drifted
    } else if behind || drift.iter().any(|drift| drift.remedy == Remedy::Delete) {
        TopologyState::Pending
    } else {
        TopologyState::Converged
    }
}
