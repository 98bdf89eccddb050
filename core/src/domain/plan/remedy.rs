//! Step that repairs a drift, with the reason that an operator reads.

use super::{Action, Plan, Step, StepClass};
use crate::domain::{
    command::Pending,
    desired::Desired,
    drift::{Drift, DriftKind, Object, Remedy},
    roster::OrphanDecision,
};

/// Plans the repair of each drift.
#[must_use]
pub fn from_drift(drift: &[Drift], desired: &Desired) -> Plan {
    Plan::ordered(drift.iter().map(|drift| remedy(drift, desired)).collect())
}

fn remedy(drift: &Drift, desired: &Desired) -> Step {
    let object = drift.object().clone();
    match (drift.remedy, object) {
        (Remedy::Declare, Object::Exchange(exchange)) => {
            Step::new(Action::DeclareExchange(exchange), StepClass::Safe, "the exchange is missing")
        }
        (Remedy::Declare, Object::Queue(queue)) => {
            Step::new(Action::DeclareQueue(queue), StepClass::Safe, "the queue is missing")
        }
        (Remedy::Bind, Object::Binding(binding)) => {
            Step::new(Action::Bind(binding), StepClass::Safe, "the binding is missing")
        }
        (Remedy::Unbind, Object::Binding(binding)) => Step::new(
            Action::Unbind(binding),
            StepClass::Safe,
            "the binding leads to a queue of a listener that is not configured",
        ),
        (Remedy::Delete, Object::Queue(queue)) => {
            let how = match desired.fates.get(&queue.name).map(|fate| fate.pending) {
                _ if desired.orphan_decision(&queue.name) == Some(OrphanDecision::Released) => {
                    "an administrator released this orphan"
                }
                Some(Pending::Discard) => "its listener was removed with pending=discard",
                None => "its bus was removed: deleted once it has stayed empty",
                _ => {
                    "its listener was removed with pending=drain: deleted once it has stayed empty"
                }
            };
            Step::new(Action::DeleteQueue(queue.name), StepClass::Destructive, how)
        }
        (Remedy::Delete, Object::Exchange(exchange)) => Step::new(
            Action::DeleteExchange(exchange.name),
            StepClass::Safe,
            "its bus was removed, and no queue is bound to it",
        ),
        (Remedy::Migrate, object) => {
            let reason = format!(
                "its arguments differ, which RabbitMQ does not change in place: POST /topology/queues/{}?action=migrate",
                object.name()
            );
            Step::new(Action::Report(object), StepClass::Migrate, reason)
        }
        (_, object) => Step::new(Action::Report(object), StepClass::Report, report(drift)),
    }
}

fn report(drift: &Drift) -> &'static str {
    let policy = matches!(&drift.found, Some(Object::Queue(queue)) if queue.policy.is_some());
    match drift.kind {
        DriftKind::Foreign if drift.expected.is_some() => {
            "an object that hearken did not make has the name hearken needs: rename or delete it"
        }
        DriftKind::Foreign => "it has our prefix and is not ours: never touched",
        DriftKind::Orphan => {
            "the log knows nothing of this queue, which carries the marker of this cluster: the database may be older than the broker. The queue stays bound. Add its group again to take it over, or release it: POST /topology/queues/{name}?action=release"
        }
        DriftKind::Divergent if policy => {
            "a policy changes which events the queue keeps: remove the policy"
        }
        DriftKind::Divergent => {
            "its properties differ, which RabbitMQ does not change in place: delete it by hand when nothing needs it, and it is declared again"
        }
        _ => "it is ours and nothing asks for it: an administrator decides",
    }
}
