//! What the rest of the program asks of the reconciler.

use super::{Parts, PassError, driver::ReconcileRequest};
use crate::{
    domain::{
        deletion::{self, QueueContents, QueueRefusal},
        depth::Depth,
        desired::{Desired, desired},
        drift::{self, DriftKey},
        event::Version,
        layout::ObjectName,
        name::GroupName,
        plan::Plan,
        repair::{Comparison, Occasion, RepairChoice},
        report::{DriftReport, StepRecord, TopologyStatus},
        roster::Roster,
        topology::Topology,
    },
    error_chain::error_chain,
    store::StoreError,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// The time between the two looks at a queue that an administrator wants deleted.
const BETWEEN_SAMPLES: Duration = Duration::from_secs(6);

/// A request on its way to the loop.
pub struct Asked(pub(super) ReconcileRequest);

/// The way to the reconciler. Looking is done at once and beside any pass; changing is done by
/// the loop, one thing at a time.
#[derive(Clone)]
pub struct Reconciler {
    parts: Arc<Parts>,
    requests: mpsc::Sender<Asked>,
}

/// The topology as it is and as it should be, read now.
pub struct Look {
    /// The roster's version.
    pub roster_version: Version,
    /// What should be.
    pub desired: Desired,
    /// What is, or why that is not known.
    pub observed: Result<Topology, String>,
    /// What differs; what the last pass found, where the broker cannot be read.
    pub drift: Vec<DriftReport>,
    /// What the last pass saw.
    pub status: TopologyStatus,
}

impl Reconciler {
    /// A way to the reconciler, and the receiving end for [`super::run`].
    #[must_use]
    pub fn new(parts: Arc<Parts>) -> (Self, mpsc::Receiver<Asked>) {
        let (requests, receiver) = mpsc::channel(64);
        (Self { parts, requests }, receiver)
    }

    async fn desired(&self) -> Result<(Arc<Roster>, Desired), StoreError> {
        let service = &self.parts.roster;
        let roster = service.current().await?;
        let retired = self.parts.store.retired().await?;
        let buses = service.read_buses().await?;
        let desired = desired(service.layout(), &buses, &roster, &retired);
        Ok((roster, desired))
    }

    /// Looks at the broker and compares.
    ///
    /// # Errors
    /// When the database cannot be read. A broker that cannot be read is part of the answer.
    pub async fn look(&self) -> Result<Look, StoreError> {
        let (roster, desired) = self.desired().await?;
        let status = self.parts.store.topology_status().await?;
        let observed = self.parts.broker.observe().await.map_err(|error| error_chain(&error));
        let now = crate::clock::now();
        let drift = match &observed {
            Err(_) => status.drift.clone(),
            Ok(observed) => drift::between(self.parts.roster.layout(), &desired, observed)
                .iter()
                .map(|drift| {
                    let DriftKey { kind, object, name } = drift.key();
                    let known = status.drift.iter().find(|known| {
                        known.kind == kind && known.object == object && known.name == name
                    });
                    DriftReport::new(drift, known.map_or(now, |known| known.since))
                })
                .collect(),
        };
        Ok(Look { roster_version: roster.version(), desired, observed, drift, status })
    }

    /// The plan that a pass on request would apply now. Changes nothing. The breaker is not asked,
    /// so that the plan of a rebuild can be seen.
    ///
    /// # Errors
    /// When the broker or the database cannot be read.
    pub async fn plan(&self) -> Result<Plan, PassError> {
        let (_, desired) = self.desired().await?;
        let observed = self.parts.broker.observe().await?;
        let comparison = Comparison::new(self.parts.roster.layout(), &desired, &observed);
        Ok(comparison.repair(RepairChoice::Everything)?.plan)
    }

    /// Makes a pass that repairs every repairable drift at once, also in manual mode.
    ///
    /// # Errors
    /// Why the pass ended early.
    pub async fn reconcile(&self) -> Result<Vec<StepRecord>, PassError> {
        self.ask(|reply| ReconcileRequest::Pass { occasion: Occasion::Reconcile, reply }).await
    }

    /// Makes a pass like [`Reconciler::reconcile`], although the marker or much of the topology is
    /// gone.
    ///
    /// # Errors
    /// Why the pass ended early.
    pub async fn rebuild(&self) -> Result<Vec<StepRecord>, PassError> {
        self.ask(|reply| ReconcileRequest::Pass { occasion: Occasion::Rebuild, reply }).await
    }

    /// Deletes a queue of ours that no listener works on. A queue whose contents are spared must be
    /// empty twice, six seconds apart. Returns how many events the broker destroyed.
    ///
    /// # Errors
    /// Why it was not deleted.
    pub async fn delete_queue(
        &self,
        queue: &str,
        contents: QueueContents,
    ) -> Result<u64, PassError> {
        if contents == QueueContents::Spare {
            let depth = self.parts.broker.depth(queue).await?;
            let depth = depth.ok_or_else(|| QueueRefusal::Unknown(queue.to_owned()))?;
            deletion::check_empty(queue, depth)?;
            tokio::time::sleep(BETWEEN_SAMPLES).await;
        }
        let queue = queue.to_owned();
        self.ask(|reply| ReconcileRequest::Delete { queue, contents, reply }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, PassError>>) -> ReconcileRequest,
    ) -> Result<T, PassError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Asked(request(reply))).await.map_err(|_| PassError::Stopping)?;
        answer.await.map_err(|_| PassError::Stopping)?
    }

    /// Waits until the reconciler of this process has tried its first pass, successful or not.
    pub async fn first_pass(&self) {
        let mut tried = self.parts.tried.subscribe();
        let _ = tried.wait_for(|tried| *tried).await;
    }

    /// Waits until the broker was seen to follow a version. Returns whether it was, in time.
    pub async fn wait_for(&self, version: Version, limit: Duration) -> bool {
        let mut doorbell = self.parts.store.doorbell();
        let follows = async {
            loop {
                doorbell.mark_unchanged();
                let status = self.parts.store.topology_status().await;
                if status.is_ok_and(|status| status.reconciled_version >= version) {
                    return;
                }
                // The doorbell may be lost, so the status is also read now and then.
                let _ = tokio::time::timeout(Duration::from_millis(500), doorbell.changed()).await;
            }
        };
        tokio::time::timeout(limit, follows).await.is_ok()
    }

    /// What a queue holds, where the broker says.
    pub async fn depth(&self, queue: &str) -> Option<Depth> {
        self.parts.broker.depth(queue).await.ok().flatten()
    }

    /// For how long the oldest event that waits in a queue has waited at least, where the broker
    /// says.
    pub async fn oldest(&self, queue: &str) -> Option<Duration> {
        self.parts.broker.oldest(queue).await.ok().flatten()
    }

    /// The group whose current work queue this is.
    #[must_use]
    pub fn queue_group(&self, queue: &str) -> Option<GroupName> {
        let layout = self.parts.roster.layout();
        let roster = self.parts.roster.known();
        let Some(ObjectName::Work { bus, queue }) = layout.read(queue) else { return None };
        let configured = roster.listeners().get(&queue.group)?;
        let current = configured.generation == queue.generation && configured.listener.bus == bus;
        current.then_some(queue.group)
    }
}
