//! What the rest of the program asks of the reconciler.

use super::{
    context::ReconcileContext,
    driver::ReconcileLoop,
    error::PassError,
    intent::Intent,
    request::{ReconcileRequest, Reply},
    situation::Situation,
};
use crate::{
    broker::BrokerError,
    domain::{
        deletion::{self, QueueContents, QueueRefusal},
        depth::Depth,
        desired::Desired,
        drift::{self, Drift, DriftKey},
        event::Version,
        layout::ObjectName,
        plan::Plan,
        repair::{Comparison, Occasion, RepairChoice},
        report::{DriftReport, StepRecord, TopologyStatus},
        roster::{QueueId, Roster},
        topology::Topology,
    },
    shared_read::SharedRead,
    store::StoreError,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

/// Time between the two looks at a queue that an administrator wants deleted. The counters of the
/// management API lag by up to five seconds.
const BETWEEN_SAMPLES: Duration = Duration::from_secs(6);

/// Longest wait for the first count of a queue. RabbitMQ counts a new queue within five seconds,
/// and a busy broker is late.
const FIRST_COUNT: Duration = Duration::from_secs(20);

/// Pause between two looks at a queue that the broker has not counted yet.
const COUNT_POLL: Duration = Duration::from_millis(500);

/// Longest time between two looks at the status while callers wait for it. The doorbell tells a
/// change at once; this poll finds what a lost ring would have told.
const STATUS_POLL: Duration = Duration::from_secs(2);

/// Requests that may wait for the loop. A caller of the next request waits until there is room.
const WAITING_REQUESTS: usize = 64;

/// Way to the reconciler. A look at the broker happens at once, beside any pass. A change is left
/// to the loop, which makes one change at a time.
#[derive(Clone)]
pub struct Reconciler {
    context: Arc<ReconcileContext>,
    requests: mpsc::Sender<ReconcileRequest>,
    tried: watch::Receiver<bool>,
    /// Status as callers that wait read it; `None` when it could not be read.
    status: Arc<SharedRead<Option<Arc<TopologyStatus>>>>,
    /// Topology as callers that look read it. Callers that come together share one observation.
    observed: Arc<SharedRead<Arc<Result<Topology, BrokerError>>>>,
    /// Counts of the queues, shared like the topology.
    depths: Arc<SharedRead<Arc<Result<QueueDepths, BrokerError>>>>,
}

/// Counts of queues, by name.
pub type QueueDepths = BTreeMap<String, Depth>;

/// The topology as it is and as it should be, read now.
pub struct Look {
    /// Version of the roster.
    pub roster_version: Version,
    /// Topology that the roster asks for.
    pub desired: Desired,
    /// Roster of this version.
    pub roster: Arc<Roster>,
    observed: Arc<Result<Topology, BrokerError>>,
    /// Differences. If the broker cannot be read, the differences that the last pass left.
    pub drift: Vec<DriftReport>,
    /// Result of the last pass.
    pub status: TopologyStatus,
}

impl Look {
    /// Topology that the broker holds, or the reason why the broker cannot be read.
    ///
    /// # Errors
    /// The failure of the broker.
    pub fn observed(&self) -> Result<&Topology, &BrokerError> {
        (*self.observed).as_ref()
    }
}

impl Reconciler {
    /// A way to the reconciler, and the loop that it leads to.
    #[must_use]
    pub fn new(context: Arc<ReconcileContext>) -> (Self, ReconcileLoop) {
        let (requests, receiver) = mpsc::channel(WAITING_REQUESTS);
        let passes = ReconcileLoop::new(Arc::clone(&context), receiver);
        let status = Arc::new(SharedRead::new(&context.clock));
        let observed = Arc::new(SharedRead::new(&context.clock));
        let depths = Arc::new(SharedRead::new(&context.clock));
        let tried = passes.tried();
        (Self { context, requests, tried, status, observed, depths }, passes)
    }

    /// Looks at the broker and compares. The observation began after the call did; callers that
    /// come together share it.
    ///
    /// # Errors
    /// When the database cannot be read. A broker that cannot be read is part of the answer.
    pub async fn look(&self) -> Result<Look, StoreError> {
        let ReconcileContext { roster, broker, clock, .. } = &*self.context;
        let Situation { intent, status, .. } = Situation::load(&self.context).await?;
        let Intent { roster: asked, desired, .. } = intent;
        let reading = async { Arc::new(broker.observe().await) };
        let observed = self.observed.since(clock.monotonic(), reading).await;
        let drift = match &*observed {
            Ok(observed) => {
                let drift = drift::between(roster.layout(), &desired, observed);
                reports(&drift, &status, clock.now())
            }
            Err(_) => status.drift.clone(),
        };
        let roster_version = asked.version();
        Ok(Look { roster_version, desired, roster: asked, observed, drift, status })
    }

    /// Counts of the queues, read like the topology of [`Reconciler::look`].
    pub async fn depths(&self) -> Arc<Result<QueueDepths, BrokerError>> {
        let ReconcileContext { broker, clock, .. } = &*self.context;
        let reading = async { Arc::new(broker.depths().await) };
        self.depths.since(clock.monotonic(), reading).await
    }

    /// The plan that [`Reconciler::reconcile`] would apply now. Changes nothing. The breaker is not
    /// asked, so the plan of a rebuild can be shown.
    ///
    /// # Errors
    /// When the broker or the database cannot be read.
    pub async fn plan(&self) -> Result<Plan, PassError> {
        let Situation { intent, .. } = Situation::load(&self.context).await?;
        let observed = self.context.broker.observe().await?;
        let layout = self.context.roster.layout();
        let comparison = Comparison::new(layout, &intent.desired, &observed);
        Ok(comparison.repair(RepairChoice::Everything)?.plan)
    }

    /// Makes a pass that repairs every repairable drift at once, also in manual mode. Returns its
    /// steps.
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
    /// Why the queue was not deleted.
    pub async fn delete_queue(
        &self,
        queue: &str,
        contents: QueueContents,
    ) -> Result<u64, PassError> {
        if contents == QueueContents::Spare {
            let depth = self.counted_depth(queue).await?;
            let depth = depth.ok_or_else(|| QueueRefusal::Unknown(queue.to_owned()))?;
            deletion::check_empty(queue, depth)?;
            sleep(BETWEEN_SAMPLES).await;
        }
        let queue = queue.to_owned();
        self.ask(|reply| ReconcileRequest::DeleteQueue { queue, contents, reply }).await
    }

    /// Counts of a queue. Waits for the first count of a queue that is younger than the broker's
    /// statistics.
    async fn counted_depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let deadline = self.context.clock.monotonic() + FIRST_COUNT;
        loop {
            match self.context.broker.depth(queue).await {
                Err(BrokerError::Uncounted(_)) if self.context.clock.monotonic() < deadline => {
                    sleep(COUNT_POLL).await;
                }
                depth => return depth,
            }
        }
    }

    /// Hands a request to the loop and waits for the answer.
    async fn ask<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> ReconcileRequest,
    ) -> Result<T, PassError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| PassError::Stopping)?;
        answer.await.map_err(|_| PassError::Stopping)?
    }

    /// Waits until the loop of this process has tried its first pass, successful or not.
    pub async fn first_pass(&self) {
        let _ = self.tried.clone().wait_for(|tried| *tried).await;
    }

    /// Waits until a pass compared the broker with a version. Returns whether one did within the
    /// limit.
    pub async fn wait_for(&self, version: Version, limit: Duration) -> bool {
        self.wait_until(limit, |status| status.reconciled_version >= version).await
    }

    /// Waits until the stored status meets a condition. Returns whether it did within the limit.
    pub async fn wait_until(
        &self,
        limit: Duration,
        condition: impl Fn(&TopologyStatus) -> bool,
    ) -> bool {
        let ReconcileContext { store, clock, .. } = &*self.context;
        let mut doorbell = store.doorbell();
        let followed = async {
            let mut since = clock.monotonic();
            loop {
                doorbell.mark_unchanged();
                let reading = async { store.topology_status().await.ok().map(Arc::new) };
                let status = self.status.since(since, reading).await;
                if status.is_some_and(|status| condition(&status)) {
                    return;
                }
                // A ring of the doorbell may be lost, so the status is read without a ring too. All
                // callers that wait share a read that is younger than the poll.
                let asked = clock.monotonic();
                since = match timeout(STATUS_POLL, doorbell.changed()).await {
                    Ok(_) => clock.monotonic(),
                    Err(_) => asked,
                };
            }
        };
        timeout(limit, followed).await.is_ok()
    }

    /// Number of events and consumers of a queue, if the broker knows them.
    pub async fn depth(&self, queue: &str) -> Option<Depth> {
        self.context.broker.depth(queue).await.ok().flatten()
    }

    /// The shortest time that the oldest event in a queue can have waited, if the broker knows it.
    pub async fn oldest(&self, queue: &str) -> Option<Duration> {
        self.context.broker.oldest(queue).await.ok().flatten()
    }

    /// The listener's current work queue that has this name.
    #[must_use]
    pub fn current_queue(&self, queue: &str) -> Option<QueueId> {
        let layout = self.context.roster.layout();
        let roster = self.context.roster.known();
        let Some(ObjectName::Work { bus, queue }) = layout.read(queue) else { return None };
        let configured = roster.listeners().get(&queue.group)?;
        let current = configured.generation == queue.generation && configured.listener.bus == bus;
        current.then_some(queue)
    }
}

/// Reports of a drift. Drift that the last pass reported keeps the time, the cause and the refusal
/// of that report; other drift is new.
fn reports(drift: &[Drift], status: &TopologyStatus, now: OffsetDateTime) -> Vec<DriftReport> {
    let report = |drift: &Drift| {
        let DriftKey { kind, object, name } = drift.key();
        let known = status
            .drift
            .iter()
            .find(|known| known.kind == kind && known.object == object && known.name == name);
        let Some(DriftReport { since, unfinished, refusal, .. }) = known else {
            return DriftReport::new(drift, now);
        };
        let (unfinished, refusal) = (*unfinished, refusal.clone());
        DriftReport { unfinished, refusal, ..DriftReport::new(drift, *since) }
    };
    drift.iter().map(report).collect()
}
