//! Applying steps: in the plan's order, many at a time where the order allows.

use crate::{
    broker::{Broker, BrokerError},
    domain::{
        plan::{Action, Step},
        report::{StepOutcome, StepRecord},
    },
    error_chain::error_chain,
    metrics::Metrics,
};
use futures_util::{StreamExt, stream};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

/// Operations under way at once. The broker works one channel's operations off one after the
/// other; eight channels got four times the throughput of one, and more got no more.
const AT_ONCE: usize = 8;

/// What became of a sequence of steps.
#[derive(Default)]
pub(super) struct Applied {
    /// Each step with its outcome.
    pub(super) records: Vec<StepRecord>,
    /// The failure that says most: an outcome that is not known before a refusal.
    pub(super) failure: Option<BrokerError>,
}

impl Applied {
    /// Whether the broker was changed, or may have been.
    pub(super) fn touched(&self) -> bool {
        self.records.iter().any(|record| !matches!(record.outcome, StepOutcome::Skipped { .. }))
    }

    /// Whether every step was done.
    pub(super) fn all_done(&self) -> bool {
        self.records.iter().all(|record| matches!(record.outcome, StepOutcome::Done { .. }))
    }
}

/// Applies the steps. A failed step fails those that need it and no other; but once the broker is
/// out of reach, no further step is tried.
pub(super) async fn apply(broker: &dyn Broker, metrics: &Metrics, steps: &[Step]) -> Applied {
    let mut applied = Applied::default();
    let mut failed = Failed::default();
    let away = AtomicBool::new(false);
    for same_kind in steps.chunk_by(|a, b| kind(&a.action) == kind(&b.action)) {
        let intent: Vec<_> = same_kind
            .iter()
            .map(|step| one(broker, step, failed.needed_by(&step.action), &away))
            .collect();
        let results: Vec<_> = stream::iter(intent).buffered(AT_ONCE).collect().await;
        for (step, result) in same_kind.iter().zip(results) {
            let outcome = match result {
                Ok(destroyed) => StepOutcome::Done { destroyed },
                Err(Trouble::Needs(error)) => {
                    failed.note(&step.action);
                    StepOutcome::Skipped { error }
                }
                Err(Trouble::Broker(error)) => {
                    failed.note(&step.action);
                    let said = error_chain(&error);
                    let (action, name) = (step.action.verb(), step.action.name());
                    tracing::warn!(%name, error = %said, "could not {action} {name}: {said}");
                    if applied.failure.as_ref().is_none_or(|known| !known.is_transient()) {
                        applied.failure = Some(error);
                    }
                    StepOutcome::Failed { error: said }
                }
            };
            metrics.step(word(&outcome));
            applied.records.push(StepRecord { step: step.into(), outcome });
        }
    }
    applied
}

/// What went wrong so far.
#[derive(Default)]
struct Failed {
    names: BTreeSet<String>,
    /// Exchanges that some queue could not be bound to.
    sources: BTreeSet<String>,
}

impl Failed {
    fn note(&mut self, action: &Action) {
        self.names.insert(action.name());
        if let Action::Bind(binding) = action {
            self.sources.insert(binding.source.clone());
        }
    }

    /// Why a step comes to nothing. Nothing is unbound from an exchange to which something could
    /// not be bound: that may be what takes its place.
    fn needed_by(&self, action: &Action) -> Option<String> {
        if let Action::Unbind(binding) = action
            && self.sources.contains(&binding.source)
        {
            return Some(format!("not every queue could be bound to {}", binding.source));
        }
        let name = self.names.iter().find(|name| action.depends_on(name))?;
        Some(format!("it needs {name}, which failed"))
    }
}

async fn one(
    broker: &dyn Broker,
    step: &Step,
    needs: Option<String>,
    away: &AtomicBool,
) -> Result<u64, Trouble> {
    if let Some(needs) = needs {
        return Err(Trouble::Needs(needs));
    }
    if away.load(Ordering::Relaxed) {
        return Err(Trouble::Needs("the broker is out of reach".to_owned()));
    }
    broker.apply(&step.action).await.map_err(|error| {
        away.fetch_or(error.is_transient(), Ordering::Relaxed);
        Trouble::Broker(error)
    })
}

enum Trouble {
    Needs(String),
    Broker(BrokerError),
}

fn word(outcome: &StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Done { .. } => "done",
        StepOutcome::Failed { .. } => "failed",
        StepOutcome::Skipped { .. } => "skipped",
    }
}

/// Steps of one kind may run side by side. An exchange that names an alternate comes after it.
fn kind(action: &Action) -> (std::mem::Discriminant<Action>, bool) {
    let refers = matches!(action, Action::DeclareExchange(exchange) if exchange.arguments.contains_key("alternate-exchange"));
    (std::mem::discriminant(action), refers)
}
