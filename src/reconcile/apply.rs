//! Applying steps: in the plan's order, and several at a time where the order allows it.

use crate::{
    broker::{Broker, BrokerError},
    domain::{
        plan::{Action, Step},
        report::{StepOutcome, StepRecord},
    },
    error_chain::error_chain,
    metrics::Metrics,
    store::{Lease, StoreError},
};
use futures_util::{StreamExt, stream};
use std::{
    collections::BTreeSet,
    mem::{Discriminant, discriminant},
    sync::atomic::{AtomicBool, Ordering},
};

/// Operations that run at the same time. The broker works off the operations of one channel one
/// after the other. Eight channels had four times the throughput of one, and more had no more.
const AT_ONCE: usize = 8;

/// A step and its outcome.
pub(super) struct AppliedStep {
    /// The step.
    pub(super) step: Step,
    /// Outcome of the step.
    pub(super) outcome: StepOutcome,
}

impl AppliedStep {
    /// Whether the step changed the broker, or may have changed it.
    pub(super) fn was_tried(&self) -> bool {
        !matches!(self.outcome, StepOutcome::Skipped { .. })
    }
}

impl From<&AppliedStep> for StepRecord {
    fn from(applied: &AppliedStep) -> Self {
        Self { step: (&applied.step).into(), outcome: applied.outcome.clone() }
    }
}

/// Result of applying a sequence of steps.
#[derive(Default)]
pub(super) struct Applied {
    /// Each step with its outcome.
    pub(super) steps: Vec<AppliedStep>,
    /// The failure that says most. A failure that leaves the outcome unknown comes before a
    /// refusal.
    pub(super) failure: Option<BrokerError>,
}

impl Applied {
    /// Whether the broker was changed, or may have been changed.
    pub(super) fn changed_the_broker(&self) -> bool {
        self.steps.iter().any(AppliedStep::was_tried)
    }

    /// Whether every step was done.
    pub(super) fn is_done(&self) -> bool {
        self.steps.iter().all(|applied| matches!(applied.outcome, StepOutcome::Done { .. }))
    }

    /// Number of events that the steps destroyed, as the broker counts them.
    pub(super) fn destroyed(&self) -> u64 {
        let destroyed = self.steps.iter().map(|applied| match applied.outcome {
            StepOutcome::Done { destroyed } => destroyed,
            _ => 0,
        });
        destroyed.sum()
    }

    /// Adds the result of later steps.
    pub(super) fn extend(&mut self, later: Self) {
        self.steps.extend(later.steps);
        if let Some(failure) = later.failure {
            self.note_failure(failure);
        }
    }

    /// Whether the broker went out of reach before every step was tried.
    pub(super) fn is_cut_short(&self) -> bool {
        self.failure.as_ref().is_some_and(BrokerError::is_transient)
    }

    fn note_failure(&mut self, failure: BrokerError) {
        if self.failure.as_ref().is_none_or(|known| !known.is_transient()) {
            self.failure = Some(failure);
        }
    }
}

/// Logs a step that was done, so that the log tells what was done to the broker also when the
/// record of the pass cannot be stored.
fn log_done(step: &Step, outcome: &StepOutcome) {
    if let StepOutcome::Done { destroyed } = outcome
        && !matches!(step.action, Action::Report(_))
    {
        let (action, name, reason) = (step.action.verb(), step.action.name(), &step.reason);
        let object = step.action.object();
        tracing::info!(%name, action, ?object, reason, destroyed, "{action} {name}: {reason}");
    }
}

/// Applies the steps. A failed step fails the steps that need it and no other step. Once the broker
/// is out of reach, no further step is tried.
///
/// Before the first step, and right before each step that takes something away, the lease is
/// checked by a write. Declaring and binding twice does no harm, so the other steps need no check
/// of their own.
///
/// # Errors
/// When the lease is lost, or the database cannot be written, before the first step.
pub(super) async fn apply(
    broker: &dyn Broker,
    metrics: &Metrics,
    lease: &Lease,
    steps: &[Step],
) -> Result<Applied, StoreError> {
    let mut applied = Applied::default();
    if steps.is_empty() {
        return Ok(applied);
    }
    lease.check().await?;
    let mut failed = FailedSteps::default();
    let away = AtomicBool::new(false);
    for same_kind in steps.chunk_by(|a, b| kind(&a.action) == kind(&b.action)) {
        let operations: Vec<_> = same_kind
            .iter()
            .map(|step| try_step(broker, lease, step, failed.hindrance(&step.action), &away))
            .collect();
        let results: Vec<_> = stream::iter(operations).buffered(AT_ONCE).collect().await;
        for (step, result) in same_kind.iter().zip(results) {
            let outcome = match result {
                Ok(destroyed) => StepOutcome::Done { destroyed },
                Err(failure) => {
                    failed.note(&step.action);
                    match failure {
                        StepFailure::Hindered(hindrance) => {
                            StepOutcome::Skipped { error: error_chain(&hindrance) }
                        }
                        StepFailure::Broker(error) => {
                            let cause = error_chain(&error);
                            applied.note_failure(error);
                            StepOutcome::Failed { error: cause }
                        }
                    }
                }
            };
            log_done(step, &outcome);
            metrics.step(word(&outcome));
            applied.steps.push(AppliedStep { step: step.clone(), outcome });
        }
    }
    Ok(applied)
}

/// Reason why a step is not tried.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error("not every queue could be bound to {0}")]
    UnboundQueue(String),
    #[error("it needs {0}, which failed")]
    FailedNeed(String),
    #[error("the broker is out of reach")]
    BrokerAway,
    #[error(transparent)]
    NoLease(StoreError),
}

enum StepFailure {
    Hindered(Hindrance),
    Broker(BrokerError),
}

/// Steps that failed or were not tried.
#[derive(Default)]
struct FailedSteps {
    names: BTreeSet<String>,
    /// Exchanges to which some queue could not be bound.
    sources: BTreeSet<String>,
}

impl FailedSteps {
    fn note(&mut self, action: &Action) {
        self.names.insert(action.name());
        if let Action::Bind(binding) = action {
            self.sources.insert(binding.source.clone());
        }
    }

    /// Reason why an action cannot succeed. A queue stays bound to an exchange to which another
    /// queue could not be bound: the other queue may be the one that replaces it.
    fn hindrance(&self, action: &Action) -> Option<Hindrance> {
        if let Action::Unbind(binding) = action
            && self.sources.contains(&binding.source)
        {
            return Some(Hindrance::UnboundQueue(binding.source.clone()));
        }
        let name = self.names.iter().find(|name| action.depends_on(name))?;
        Some(Hindrance::FailedNeed(name.clone()))
    }
}

/// Applies one step, unless there is a reason not to try it. Returns how many events it destroyed.
async fn try_step(
    broker: &dyn Broker,
    lease: &Lease,
    step: &Step,
    hindrance: Option<Hindrance>,
    away: &AtomicBool,
) -> Result<u64, StepFailure> {
    if let Some(hindrance) = hindrance {
        return Err(StepFailure::Hindered(hindrance));
    }
    if away.load(Ordering::Relaxed) {
        return Err(StepFailure::Hindered(Hindrance::BrokerAway));
    }
    if step.action.deletes() || matches!(step.action, Action::Unbind(_)) {
        lease.check().await.map_err(|error| StepFailure::Hindered(Hindrance::NoLease(error)))?;
    }
    broker.apply(&step.action).await.map_err(|error| {
        away.fetch_or(error.is_transient(), Ordering::Relaxed);
        StepFailure::Broker(error)
    })
}

/// Outcome as a label of the metrics.
fn word(outcome: &StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Done { .. } => "done",
        StepOutcome::Failed { .. } => "failed",
        StepOutcome::Skipped { .. } | StepOutcome::Started => "skipped",
    }
}

/// Kind of a step. Steps of one kind may run at the same time.
#[derive(PartialEq)]
struct StepKind {
    action: Discriminant<Action>,
    /// An exchange that names an alternate exchange is declared after that exchange.
    names_alternate: bool,
}

fn kind(action: &Action) -> StepKind {
    let names_alternate = matches!(action, Action::DeclareExchange(exchange) if exchange.arguments.contains_key("alternate-exchange"));
    StepKind { action: discriminant(action), names_alternate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::Marker,
        domain::{
            depth::Depth,
            plan::StepClass,
            topology::{Binding, Topology},
        },
        store::{LeaseName, Store},
    };
    use async_trait::async_trait;
    use parking_lot::Mutex;
    use std::{collections::BTreeMap, sync::Arc, time::Duration};

    /// A broker whose node is paused for longer than its lease lasts while it binds.
    struct PausingBroker {
        lease: Arc<Lease>,
        applied: Mutex<Vec<&'static str>>,
    }

    #[async_trait]
    impl Broker for PausingBroker {
        async fn marker(&self) -> Result<Marker, BrokerError> {
            Ok(Marker::Absent)
        }

        async fn observe(&self) -> Result<Topology, BrokerError> {
            Ok(Topology::default())
        }

        async fn depth(&self, _: &str) -> Result<Option<Depth>, BrokerError> {
            Ok(None)
        }

        async fn depths(&self) -> Result<BTreeMap<String, Depth>, BrokerError> {
            Ok(BTreeMap::new())
        }

        async fn ready(&self, _: &str) -> Result<Option<u64>, BrokerError> {
            Ok(None)
        }

        async fn oldest(&self, _: &str) -> Result<Option<Duration>, BrokerError> {
            Ok(None)
        }

        async fn apply(&self, action: &Action) -> Result<u64, BrokerError> {
            self.applied.lock().push(action.verb());
            if matches!(action, Action::Bind(_)) {
                self.lease.expire().await;
            }
            Ok(0)
        }

        async fn version(&self) -> Result<String, BrokerError> {
            Ok("none".to_owned())
        }
    }

    #[tokio::test]
    async fn a_holder_whose_lease_expired_meanwhile_neither_unbinds_nor_deletes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(folder.path()).await.unwrap();
        let lease = Arc::new(store.take(LeaseName::Passes, "n1").await.unwrap());
        let broker = PausingBroker { lease: Arc::clone(&lease), applied: Mutex::default() };
        let bindings = ["new", "old"].map(|queue| Binding::of_queue("x", queue, ""));
        let [new, old] = bindings;
        let actions = [Action::Bind(new), Action::Unbind(old), Action::DeleteQueue("old".into())];
        let steps = actions.map(|action| Step::new(action, StepClass::Safe, "a test"));

        let applied = apply(&broker, &Metrics::default(), &lease, &steps).await.unwrap();
        assert_eq!(*broker.applied.lock(), ["bind"]);
        let skipped = applied.steps.iter().filter(|applied| !applied.was_tried()).count();
        assert_eq!(skipped, 2);
        let late = apply(&broker, &Metrics::default(), &lease, &steps).await;
        assert!(matches!(late, Err(StoreError::LeaseLost { .. })));
        assert_eq!(broker.applied.lock().len(), 1, "nothing more was changed");
    }
}
