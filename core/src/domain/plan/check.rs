//! Invariants of every plan.

use super::{Action, Plan, Step};
use crate::domain::{
    command::Pending,
    desired::Desired,
    layout::Layout,
    topology::{Binding, Destination, Topology},
};
use std::collections::BTreeSet;

/// Reason why a plan must not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The plan touches an object that this cluster did not make.
    #[error("step {step:?} on {name} touches an object that this cluster did not make")]
    Foreign {
        /// Verb of the step.
        step: &'static str,
        /// Name of the object.
        name: String,
    },
    /// The plan deletes an object although the log does not say so: no tombstone says `drain` or
    /// `discard`, and the bus of the object was not removed.
    #[error("it deletes {0}, and the log gives no reason")]
    UnaskedDelete(String),
    /// The plan unbinds before it binds.
    #[error("it unbinds {0} before a later bind")]
    UnbindsFirst(String),
    /// The plan declares a queue and leaves out one of its bindings.
    #[error("it declares queue {queue} without its binding {binding}")]
    Unbound {
        /// Name of the queue.
        queue: String,
        /// Name of the binding.
        binding: String,
    },
}

/// Checks that the plan does nothing that no plan may do.
///
/// # Errors
/// The first violation. A plan with a violation is a defect of hearken and is not applied.
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
            Action::DeleteQueue(name) => {
                match desired.fate(layout, name).map(|fate| fate.pending) {
                    Some(Pending::Drain | Pending::Discard) => {}
                    _ => return Err(Violation::UnaskedDelete(name.clone())),
                }
            }
            Action::DeleteExchange(name) => {
                if desired.removed_bus(layout, name).is_none() {
                    return Err(Violation::UnaskedDelete(name.clone()));
                }
            }
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

/// Whether the action changes an object that this cluster did not make. An observed object must
/// carry our marker; an object that is not observed must have our prefix. A binding belongs to its
/// queue, and starts at an exchange with our prefix or at the exchange of an attached bus.
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
        Action::DeleteExchange(name) => match observed.exchanges.get(name) {
            Some(present) => !layout.owns(name, &present.arguments),
            None => !layout.has_prefix(name),
        },
        Action::Bind(binding) | Action::Unbind(binding) => {
            let source = layout.has_prefix(&binding.source) || desired.is_attached(&binding.source);
            !source || binding.destination_kind != Destination::Queue || queue(&binding.destination)
        }
        Action::Report(_) => false,
    }
}
