//! The record of what was done to the broker, and the broadcast about it.

use super::{
    apply::{Applied, AppliedStep},
    context::ReconcileContext,
    intent::Intent,
    setbacks::Setbacks,
};
use crate::{
    bus::TopologyChanged,
    domain::{
        event::Version,
        name::{BusName, GroupName},
        plan::Step,
        report::{PassRecord, PassState, StepOutcome, StepRecord},
    },
    error_chain::error_chain,
    store::{Lease, StoreError},
};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Records the steps of one pass or of one requested deletion, and broadcasts each change once.
///
/// The record is in the database before the first step is applied, so a pass that is killed, or
/// whose end cannot be recorded, leaves a trace.
pub(super) struct PassRecorder<'a> {
    context: &'a ReconcileContext,
    started_at: OffsetDateTime,
    /// Number of the record; 0 before the record is stored.
    id: u64,
    steps: Vec<StepRecord>,
    /// Whether a step changed the broker, or may have changed it.
    changed: bool,
}

impl<'a> PassRecorder<'a> {
    /// A recorder without steps, for a pass that starts now.
    pub(super) fn start(context: &'a ReconcileContext) -> Self {
        let started_at = context.clock.now();
        Self { context, started_at, id: 0, steps: Vec::new(), changed: false }
    }

    /// Records that steps are about to be applied. To be called before the steps are applied.
    ///
    /// # Errors
    /// When the lease is lost, or the database cannot be written. Then no step may be applied.
    pub(super) async fn intend(
        &mut self,
        lease: &Lease,
        version: Version,
        steps: &[Step],
    ) -> Result<(), StoreError> {
        if steps.is_empty() {
            return Ok(());
        }
        let started = |step: &Step| StepRecord { step: step.into(), outcome: StepOutcome::Started };
        let mut record = self.record(PassState::Running, version);
        record.steps.extend(steps.iter().map(started));
        lease.record_pass(&mut record).await?;
        self.id = record.id;
        Ok(())
    }

    fn record(&self, state: PassState, version: Version) -> PassRecord {
        let finished_at = (state != PassState::Running).then(|| self.context.clock.now());
        PassRecord {
            id: self.id,
            node: self.context.roster.node().clone(),
            started_at: self.started_at,
            state,
            finished_at,
            version,
            steps: self.steps.clone(),
        }
    }

    /// Appends applied steps to the record. If the steps changed the broker, wakes the consumers of
    /// this node and tells every node which buses changed, with the listeners that were added to
    /// and removed from each bus since version `since`.
    ///
    /// To be called as soon as the steps are applied, so that a new queue gets its consumers.
    /// A failure that is known changes nothing, and alone it makes no record.
    pub(super) async fn note(
        &mut self,
        intent: &Intent,
        since: Version,
        applied: &Applied,
        setbacks: &Setbacks,
    ) {
        self.steps.extend(applied.steps.iter().map(StepRecord::from));
        let is_news = |step: &AppliedStep| step.was_tried() && !setbacks.is_known(step);
        if !applied.steps.iter().any(is_news) {
            return;
        }
        self.changed = true;
        self.context.bus.wake();
        let layout = self.context.roster.layout();
        let tried = applied.steps.iter().filter(|applied| applied.was_tried());
        let buses: BTreeSet<BusName> = tried
            .filter_map(|AppliedStep { step, .. }| step.action.bus(layout))
            .filter(|bus| intent.buses.contains_key(bus))
            .collect();
        for bus in buses {
            self.context.bus.announce(&change(intent, since, bus)).await;
        }
    }

    /// Stores the outcomes, if a step changed the broker or may have changed it. Otherwise removes
    /// the record.
    pub(super) async fn store(&self, lease: &Lease, version: Version) -> Result<(), StoreError> {
        if !self.changed {
            return match self.id {
                0 => Ok(()),
                id => lease.forget_pass(id).await,
            };
        }
        let steps = self.steps.len();
        tracing::info!(
            steps,
            version,
            "the topology was changed to match version {version} of the roster; steps: {steps}"
        );
        let mut record = self.record(PassState::Finished, version);
        if let Err(error) = lease.record_pass(&mut record).await {
            let cause = error_chain(&error);
            let done = &record.steps;
            tracing::warn!(
                cause,
                ?done,
                "the topology was changed, and the outcomes of the steps could not be recorded; the record shows the steps as started, and this line is the only record of their outcomes: {cause}"
            );
            return Err(error);
        }
        Ok(())
    }

    /// The steps so far, with their outcomes.
    pub(super) fn into_steps(self) -> Vec<StepRecord> {
        self.steps
    }
}

/// Broadcast about one bus.
fn change(intent: &Intent, since: Version, bus: BusName) -> TopologyChanged {
    let listeners = intent.roster.listeners().values();
    let added: Vec<GroupName> = listeners
        .filter(|configured| configured.added_in > since && configured.listener.bus == bus)
        .map(|configured| configured.listener.group.clone())
        .collect();
    let removed: Vec<GroupName> = (intent.roster.tombstones().iter())
        .filter(|(_, tombstone)| tombstone.version > since && tombstone.listener.bus == bus)
        .map(|(id, _)| id.group.clone())
        .collect();
    TopologyChanged { bus, version: intent.roster.version(), added, removed }
}
