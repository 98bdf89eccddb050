//! The remedy as a value: ordered steps, each with its reason and its class.
//!
//! A plan leaves nothing to choose when it is applied. It can be shown (`dryRun`), stored
//! (`/topology/passes`) and checked against what must never happen ([`check`]).

use super::{
    command::Pending,
    desired::Desired,
    drift::{Drift, DriftKind, Object, ObjectKind, Remedy},
    layout::{Layout, ObjectName},
    topology::{Binding, Destination, Exchange, Queue, Topology},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What one step does to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Declares an exchange.
    DeclareExchange(Exchange),
    /// Declares a queue.
    DeclareQueue(Queue),
    /// Binds a queue.
    Bind(Binding),
    /// Unbinds one.
    Unbind(Binding),
    /// Deletes a queue with what it holds. Guarded again when it is applied.
    DeleteQueue(String),
    /// Does nothing: an administrator decides.
    Report(Object),
}

impl Action {
    /// The action's name, as it is shown.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::DeclareExchange(_) | Self::DeclareQueue(_) => "declare",
            Self::Bind(_) => "bind",
            Self::Unbind(_) => "unbind",
            Self::DeleteQueue(_) => "delete",
            Self::Report(_) => "report",
        }
    }

    /// The kind of object it is about.
    #[must_use]
    pub fn object(&self) -> ObjectKind {
        match self {
            Self::DeclareExchange(_) => ObjectKind::Exchange,
            Self::DeclareQueue(_) | Self::DeleteQueue(_) => ObjectKind::Queue,
            Self::Bind(_) | Self::Unbind(_) => ObjectKind::Binding,
            Self::Report(object) => object.kind(),
        }
    }

    /// The name of the object it is about.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::DeclareExchange(exchange) => exchange.name.clone(),
            Self::DeclareQueue(queue) => queue.name.clone(),
            Self::Bind(binding) | Self::Unbind(binding) => binding.to_string(),
            Self::DeleteQueue(name) => name.clone(),
            Self::Report(object) => object.name(),
        }
    }

    /// Whether it comes to nothing when an earlier step on `name` failed.
    #[must_use]
    pub fn depends_on(&self, name: &str) -> bool {
        match self {
            Self::Bind(binding) => binding.source == name || binding.destination == name,
            Self::DeclareQueue(queue) => refers(queue.arguments.values(), name),
            Self::DeclareExchange(exchange) => refers(exchange.arguments.values(), name),
            _ => false,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            // Alternate exchanges and dead-letter targets before those that name them.
            Self::DeclareExchange(exchange)
                if exchange.arguments.contains_key("alternate-exchange") =>
            {
                1
            }
            Self::DeclareExchange(_) => 0,
            Self::DeclareQueue(_) => 2,
            // Bind before unbinding. In the other order there is a moment with no binding, and
            // RabbitMQ drops what is published in it.
            Self::Bind(_) => 3,
            Self::Unbind(_) => 4,
            Self::DeleteQueue(_) => 5,
            Self::Report(_) => 6,
        }
    }
}

fn refers<'a>(mut values: impl Iterator<Item = &'a super::topology::Argument>, name: &str) -> bool {
    values.any(|value| matches!(value, super::topology::Argument::Text(text) if text == name))
}

/// How much a step may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepClass {
    /// Loses nothing and is repeated without harm.
    Safe,
    /// Needs a new generation of the queue; on request.
    Migrate,
    /// Takes something away.
    Destructive,
    /// Only said.
    Report,
}

/// One action of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// What it may cost.
    pub class: StepClass,
    /// Why, in words for an operator.
    pub reason: String,
}

/// Ordered steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps, in the order in which they are applied.
    pub steps: Vec<Step>,
}

/// A plan that must not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It touches what is not ours.
    #[error("step {step:?} on {name} touches an object that is not ours")]
    Foreign {
        /// The step's verb.
        step: &'static str,
        /// The object.
        name: String,
    },
    /// It deletes a queue that no tombstone gives up.
    #[error("it deletes queue {0}, which no tombstone gives up")]
    UnaskedDelete(String),
    /// It unbinds before it binds.
    #[error("it unbinds {0} before a later bind")]
    UnbindsFirst(String),
    /// A queue it declares lacks a binding.
    #[error("it declares queue {queue} without its binding {binding}")]
    Unbound {
        /// The queue.
        queue: String,
        /// The binding.
        binding: String,
    },
}

fn step(action: Action, class: StepClass, reason: impl Into<String>) -> Step {
    Step { action, class, reason: reason.into() }
}

fn ordered(mut steps: Vec<Step>) -> Plan {
    steps.sort_by_key(|step| (step.action.rank(), step.action.name()));
    Plan { steps }
}

/// The remedy for a drift.
#[must_use]
pub fn from_drift(drift: &[Drift], desired: &Desired) -> Plan {
    ordered(drift.iter().map(|drift| remedy(drift, desired)).collect())
}

fn remedy(drift: &Drift, desired: &Desired) -> Step {
    let object = drift.object().clone();
    match (drift.remedy, object) {
        (Remedy::Declare, Object::Exchange(exchange)) => {
            step(Action::DeclareExchange(exchange), StepClass::Safe, "the exchange is missing")
        }
        (Remedy::Declare, Object::Queue(queue)) => {
            step(Action::DeclareQueue(queue), StepClass::Safe, "the queue is missing")
        }
        (Remedy::Bind, Object::Binding(binding)) => {
            step(Action::Bind(binding), StepClass::Safe, "the binding is missing")
        }
        (Remedy::Unbind, Object::Binding(binding)) => step(
            Action::Unbind(binding),
            StepClass::Safe,
            "the binding leads to a queue of a listener that is not configured",
        ),
        (Remedy::Delete, Object::Queue(queue)) => {
            let how = match desired.fates.get(&queue.name).map(|fate| fate.pending) {
                Some(Pending::Discard) => "its listener was removed with pending=discard",
                _ => {
                    "its listener was removed with pending=drain: deleted once it has stayed empty"
                }
            };
            step(Action::DeleteQueue(queue.name), StepClass::Destructive, how)
        }
        (Remedy::Migrate, object) => {
            let reason = format!(
                "its arguments differ, which RabbitMQ does not change in place: POST /topology/queues/{}?action=migrate",
                object.name()
            );
            step(Action::Report(object), StepClass::Migrate, reason)
        }
        (_, object) => step(Action::Report(object), StepClass::Report, report(drift)),
    }
}

fn report(drift: &Drift) -> &'static str {
    let policy = matches!(&drift.found, Some(Object::Queue(queue)) if queue.policy.is_some());
    match drift.kind {
        DriftKind::Foreign if drift.expected.is_some() => {
            "an object that hearken did not make has the name hearken needs: rename or delete it, or choose another --prefix"
        }
        DriftKind::Foreign => "it has our prefix and is not ours: never touched",
        DriftKind::Divergent if policy => {
            "a policy changes which events the queue keeps: remove the policy"
        }
        DriftKind::Divergent => {
            "its properties differ, which RabbitMQ does not change in place: delete it by hand when nothing needs it, and it is declared again"
        }
        _ => "it is ours and nothing asks for it: an administrator decides",
    }
}

/// What a change of the desired topology asks for, without looking at the broker.
///
/// Declares and binds are repeated without harm, so the difference between what was applied and
/// what is desired can be applied at once; the observation that follows finds whatever is left.
#[must_use]
pub fn between(applied: &Desired, desired: &Desired) -> Plan {
    let (old, new) = (&applied.topology, &desired.topology);
    let mut steps = Vec::new();
    for (name, exchange) in &new.exchanges {
        if old.exchanges.get(name) != Some(exchange) {
            let action = Action::DeclareExchange(exchange.clone());
            steps.push(step(action, StepClass::Safe, "the roster asks for it"));
        }
    }
    for (name, queue) in &new.queues {
        if old.queues.get(name) != Some(queue) {
            let action = Action::DeclareQueue(queue.clone());
            steps.push(step(action, StepClass::Safe, "the roster asks for it"));
        }
    }
    for binding in new.bindings.difference(&old.bindings) {
        steps.push(step(Action::Bind(binding.clone()), StepClass::Safe, "the roster asks for it"));
    }
    for binding in old.bindings.difference(&new.bindings) {
        // Wait levels keep their bindings: events may still wait in them.
        if !desired.permitted.contains(binding) && desired.fates.contains_key(&binding.destination)
        {
            let action = Action::Unbind(binding.clone());
            steps.push(step(action, StepClass::Safe, "its listener was removed"));
        }
    }
    ordered(steps)
}

impl Plan {
    /// Leaves out each unbinding that would leave a group with no queue on that exchange: the one
    /// that takes its place is neither bound, as far as is known, nor bound by this plan. That
    /// happens where the new queue's name is taken by somebody else.
    #[must_use]
    pub fn without_stranding(
        mut self,
        layout: &Layout,
        desired: &Desired,
        bound: &BTreeSet<Binding>,
    ) -> Self {
        let binds: BTreeSet<Binding> = (self.steps.iter())
            .filter_map(|step| match &step.action {
                Action::Bind(binding) => Some(binding.clone()),
                _ => None,
            })
            .collect();
        let replaced = |old: &Binding| {
            let mut successors = desired.topology.bindings.iter().filter(|new| {
                new.source == old.source
                    && serve_one_group(layout, &new.destination, &old.destination)
            });
            successors.all(|new| bound.contains(new) || binds.contains(new))
        };
        self.steps.retain(|step| match &step.action {
            Action::Unbind(binding) => replaced(binding),
            _ => true,
        });
        self
    }
}

/// Whether two queues are one, or are work queues of one group on one bus.
fn serve_one_group(layout: &Layout, one: &str, other: &str) -> bool {
    let group = |name| match layout.read(name)? {
        ObjectName::Work { bus, queue } => Some((bus, queue.group)),
        _ => None,
    };
    one == other || group(one).is_some_and(|served| group(other) == Some(served))
}

/// Checks what no plan may do.
///
/// # Errors
/// The first violation. A plan that has one is a defect of ours and is not applied.
pub fn check(
    plan: &Plan,
    layout: &Layout,
    desired: &Desired,
    observed: &Topology,
) -> Result<(), Violation> {
    let mut unbound = None;
    let binds: BTreeSet<&Binding> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Bind(binding) => Some(binding),
            _ => None,
        })
        .collect();
    for Step { action, .. } in &plan.steps {
        if touches_foreign(action, layout, desired, observed) {
            return Err(Violation::Foreign { step: action.verb(), name: action.name() });
        }
        match action {
            Action::DeleteQueue(name) => match desired.fates.get(name).map(|fate| fate.pending) {
                Some(Pending::Drain | Pending::Discard) => {}
                _ => return Err(Violation::UnaskedDelete(name.clone())),
            },
            Action::Unbind(binding) => unbound = Some(binding.to_string()),
            Action::Bind(_) => {
                if let Some(unbound) = unbound {
                    return Err(Violation::UnbindsFirst(unbound));
                }
            }
            Action::DeclareQueue(queue) => {
                let mut wanted =
                    desired.topology.bindings.iter().filter(|b| b.destination == queue.name);
                if let Some(lacking) =
                    wanted.find(|b| !binds.contains(b) && !observed.bindings.contains(b))
                {
                    let (queue, binding) = (queue.name.clone(), lacking.to_string());
                    return Err(Violation::Unbound { queue, binding });
                }
            }
            Action::DeclareExchange(_) | Action::Report(_) => {}
        }
    }
    Ok(())
}

/// An object that is there must carry our marker; one that is not there must have our prefix. A
/// binding is its queue's, and starts at an exchange with our prefix or at that of an attached bus.
fn touches_foreign(
    action: &Action,
    layout: &Layout,
    desired: &Desired,
    observed: &Topology,
) -> bool {
    let queue = |name: &String| match observed.queues.get(name) {
        Some(queue) => !layout.owns(name, &queue.arguments),
        None => !layout.has_prefix(name),
    };
    match action {
        Action::DeclareExchange(exchange) => match observed.exchanges.get(&exchange.name) {
            Some(present) => !layout.owns(&present.name, &present.arguments),
            None => !layout.has_prefix(&exchange.name),
        },
        Action::DeclareQueue(declared) => queue(&declared.name),
        Action::DeleteQueue(name) => queue(name),
        Action::Bind(binding) | Action::Unbind(binding) => {
            let source = layout.has_prefix(&binding.source) || desired.is_attached(&binding.source);
            !source || binding.destination_kind != Destination::Queue || queue(&binding.destination)
        }
        Action::Report(_) => false,
    }
}

#[cfg(test)]
mod tests;
