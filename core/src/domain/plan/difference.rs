//! Plan for a change of the desired topology.

use super::{Action, Plan, Step, StepClass};
use crate::domain::desired::Desired;

/// Plans the change from the topology that was applied to the desired topology, without looking at
/// the broker.
///
/// Declares and binds may be repeated, so the difference can be applied at once. The observation
/// that follows finds the rest. A queue that was applied with other arguments is left to the
/// observation, because RabbitMQ refuses to declare a queue that exists with other arguments.
#[must_use]
pub fn between(applied: &Desired, desired: &Desired) -> Plan {
    let (old, new) = (&applied.topology, &desired.topology);
    let mut steps = Vec::new();
    for (name, exchange) in &new.exchanges {
        if old.exchanges.get(name) != Some(exchange) {
            let action = Action::DeclareExchange(exchange.clone());
            steps.push(Step::new(action, StepClass::Safe, "the roster asks for it"));
        }
    }
    for (name, queue) in &new.queues {
        if !old.queues.contains_key(name) {
            let action = Action::DeclareQueue(queue.clone());
            steps.push(Step::new(action, StepClass::Safe, "the roster asks for it"));
        }
    }
    for binding in new.bindings.difference(&old.bindings) {
        steps.push(Step::new(
            Action::Bind(binding.clone()),
            StepClass::Safe,
            "the roster asks for it",
        ));
    }
    for binding in old.bindings.difference(&new.bindings) {
        // Wait levels keep their bindings: events may still wait in them.
        if !desired.permitted.contains(binding) && desired.fates.contains_key(&binding.destination)
        {
            let action = Action::Unbind(binding.clone());
            steps.push(Step::new(action, StepClass::Safe, "its listener was removed"));
        }
    }
    Plan::ordered(steps)
}
