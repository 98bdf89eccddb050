//! Repair as a value: ordered steps, each with its reason and its class.
//!
//! A plan leaves nothing to decide when it is applied. It can be shown (`dryRun`), stored
//! (`/topology/passes`) and checked against what must never happen ([`check`]).

mod check;
mod difference;
mod remedy;

pub use check::{Violation, check};
pub use difference::between;
pub use remedy::from_drift;

use super::{
    desired::Desired,
    drift::{Object, ObjectKind},
    layout::{Layout, ObjectName},
    name::BusName,
    repair::Restraint,
    topology::{Argument, Binding, Exchange, Queue, Topology},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Change that one step makes to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Declares an exchange.
    DeclareExchange(Exchange),
    /// Declares a queue.
    DeclareQueue(Queue),
    /// Binds a queue.
    Bind(Binding),
    /// Unbinds a queue.
    Unbind(Binding),
    /// Deletes a queue with the events in it. The rules of deletion are checked again when it is
    /// applied.
    DeleteQueue(String),
    /// Deletes an exchange of a removed bus, unless a queue is bound to it.
    DeleteExchange(String),
    /// Changes nothing: an administrator decides.
    Report(Object),
}

impl Action {
    /// Verb of the action, as it is shown.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::DeclareExchange(_) | Self::DeclareQueue(_) => "declare",
            Self::Bind(_) => "bind",
            Self::Unbind(_) => "unbind",
            Self::DeleteQueue(_) | Self::DeleteExchange(_) => "delete",
            Self::Report(_) => "report",
        }
    }

    /// Kind of the object that the action changes.
    #[must_use]
    pub fn object(&self) -> ObjectKind {
        match self {
            Self::DeclareExchange(_) | Self::DeleteExchange(_) => ObjectKind::Exchange,
            Self::DeclareQueue(_) | Self::DeleteQueue(_) => ObjectKind::Queue,
            Self::Bind(_) | Self::Unbind(_) => ObjectKind::Binding,
            Self::Report(object) => object.kind(),
        }
    }

    /// Name of the object that the action changes.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::DeclareExchange(exchange) => exchange.name.clone(),
            Self::DeclareQueue(queue) => queue.name.clone(),
            Self::Bind(binding) | Self::Unbind(binding) => binding.to_string(),
            Self::DeleteQueue(name) | Self::DeleteExchange(name) => name.clone(),
            Self::Report(object) => object.name(),
        }
    }

    /// The bus whose topology the action changes. A binding belongs to the bus of its queue: the
    /// exchange of an attached bus has a name of its own.
    #[must_use]
    pub fn bus(&self, layout: &Layout) -> Option<BusName> {
        let name = match self {
            Self::Bind(binding) | Self::Unbind(binding) => binding.destination.clone(),
            action => action.name(),
        };
        layout.read(&name)?.bus().cloned()
    }

    /// Whether the action is impossible after an earlier step on the object `name` failed.
    #[must_use]
    pub fn depends_on(&self, name: &str) -> bool {
        match self {
            Self::Bind(binding) => binding.source == name || binding.destination == name,
            Self::DeclareQueue(queue) => refers(queue.arguments.values(), name),
            Self::DeclareExchange(exchange) => refers(exchange.arguments.values(), name),
            _ => false,
        }
    }

    /// Whether the action deletes a queue or an exchange.
    #[must_use]
    pub fn deletes(&self) -> bool {
        matches!(self, Self::DeleteQueue(_) | Self::DeleteExchange(_))
    }

    fn rank(&self) -> u8 {
        match self {
            // Alternate exchanges and dead-letter targets come before the objects that name them.
            Self::DeclareExchange(exchange)
                if exchange.arguments.contains_key("alternate-exchange") =>
            {
                1
            }
            Self::DeclareExchange(_) => 0,
            Self::DeclareQueue(_) => 2,
            // Bind before unbinding. In the other order there is a moment without a binding, and
            // RabbitMQ drops the events that are published in that moment.
            Self::Bind(_) => 3,
            Self::Unbind(_) => 4,
            Self::DeleteQueue(_) => 5,
            Self::DeleteExchange(_) => 6,
            Self::Report(_) => 7,
        }
    }
}

fn refers<'a>(mut values: impl Iterator<Item = &'a Argument>, name: &str) -> bool {
    values.any(|value| matches!(value, Argument::Text(text) if text == name))
}

/// Cost of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepClass {
    /// The step loses nothing and may be repeated.
    Safe,
    /// The repair needs a new generation of the queue, for which an administrator must ask.
    Migrate,
    /// The step may destroy events.
    Destructive,
    /// The step only reports.
    Report,
}

/// One action of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Change to the broker.
    pub action: Action,
    /// Cost of the change.
    pub class: StepClass,
    /// Reason, in words for an operator.
    pub reason: String,
}

/// Ordered steps that repair a topology.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps, in the order in which they are applied.
    pub steps: Vec<Step>,
}

impl Step {
    /// Step with its class and reason.
    #[must_use]
    pub fn new(action: Action, class: StepClass, reason: impl Into<String>) -> Self {
        Self { action, class, reason: reason.into() }
    }
}

impl Plan {
    fn ordered(mut steps: Vec<Step>) -> Self {
        steps.sort_by_key(|step| (step.action.rank(), step.action.name()));
        Self { steps }
    }

    /// The steps that change the broker, except for deletions.
    #[must_use]
    pub fn changes(&self) -> Vec<Step> {
        let changes = |action: &Action| !action.deletes() && !matches!(action, Action::Report(_));
        self.steps.iter().filter(|step| changes(&step.action)).cloned().collect()
    }

    /// The steps that delete. A queue is deleted once it has been quiet for long enough.
    #[must_use]
    pub fn deletions(&self) -> Vec<Step> {
        self.steps.iter().filter(|step| step.action.deletes()).cloned().collect()
    }

    /// Turns each unbinding and each deletion into a report that names the reason for which nothing
    /// is taken away.
    #[must_use]
    pub fn without_removals(self, restraint: &Restraint, observed: &Topology) -> Self {
        let withheld = |step: Step| {
            let object = match &step.action {
                Action::Unbind(binding) => Some(Object::Binding(binding.clone())),
                Action::DeleteQueue(name) => observed.queues.get(name).cloned().map(Object::Queue),
                Action::DeleteExchange(name) => {
                    observed.exchanges.get(name).cloned().map(Object::Exchange)
                }
                _ => return step,
            };
            let Some(object) = object else { return step };
            let (verb, reason) = (step.action.verb(), &step.reason);
            let reason = format!("{reason}; hearken does not {verb} it while {restraint}");
            Step::new(Action::Report(object), StepClass::Report, reason)
        };
        Self::ordered(self.steps.into_iter().map(withheld).collect())
    }

    /// Leaves out each unbinding that would leave a group without a queue on an exchange: the queue
    /// that replaces the unbound queue is neither in `bound` nor bound by this plan. This happens
    /// when a foreign queue has the name of the new queue.
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

/// Whether two queues are the same queue, or work queues of one group on one bus.
fn serve_one_group(layout: &Layout, one: &str, other: &str) -> bool {
    let group = |name| match layout.read(name)? {
        ObjectName::Work { bus, queue } => Some((bus, queue.group)),
        _ => None,
    };
    one == other || group(one).is_some_and(|served| group(other) == Some(served))
}

#[cfg(test)]
pub(crate) mod tests;
