//! Decision of a pass: which drift is repaired, and by which plan.
//!
//! [`Comparison::repair`] is the one place where drift becomes a plan. A pass applies its plan, and
//! a dry run shows it, so a dry run shows what a pass that an administrator asks for would do.
//! [`accelerate`] is the same decision for a change of the roster that is applied before the broker
//! is observed.

mod last_seen;
mod restraint;

pub use last_seen::LastSeen;
pub use restraint::Restraint;

use super::{
    desired::Desired,
    drift::{self, Drift, DriftKey},
    layout::Layout,
    plan::{self, Action, Plan, Violation},
    topology::Topology,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whether the reconciler repairs drift by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepairMode {
    /// The reconciler repairs every drift whose repair loses nothing.
    #[default]
    Auto,
    /// The reconciler applies changes of the roster, which an administrator asked for, and only
    /// reports drift.
    Manual,
}

/// Reason for which a pass is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Occasion {
    /// The roster changed, the timer fired, or a consumer missed its queue.
    #[default]
    Routine,
    /// An administrator asked for a pass.
    Reconcile,
    /// An administrator asked for a pass that goes on although the breaker would block it.
    Rebuild,
}

/// Rule by which drift is chosen for repair.
#[derive(Debug, Clone, Copy)]
pub enum RepairChoice<'a> {
    /// Every repairable drift is repaired, even when it was seen only once, also in
    /// [`RepairMode::Manual`]: an administrator asked.
    Everything,
    /// Changes that the roster asks for are made at once. Other drift is repaired in
    /// [`RepairMode::Auto`], once it is believed.
    Routine {
        /// Whether drift is repaired at all.
        mode: RepairMode,
        /// What the broker was last seen to hold.
        last_seen: &'a LastSeen,
        /// Drift that was seen for long enough.
        believed: &'a BTreeSet<DriftKey>,
        /// Drift whose repair failed and is tried again later.
        postponed: &'a BTreeSet<DriftKey>,
    },
}

impl RepairChoice<'_> {
    fn chooses(&self, drift: &Drift) -> bool {
        drift.is_repairable()
            && match self {
                Self::Everything => true,
                Self::Routine { mode, last_seen, believed, postponed } => {
                    let key = drift.key();
                    !postponed.contains(&key)
                        && (last_seen.asks_for(drift)
                            || (*mode == RepairMode::Auto && believed.contains(&key)))
                }
            }
    }

    /// Whether drift that is not chosen now may be chosen when it is seen a second time.
    fn waits_for_belief(&self) -> bool {
        matches!(self, Self::Routine { mode: RepairMode::Auto, .. })
    }
}

/// The desired and the observed topology, with their drift.
#[derive(Debug)]
pub struct Comparison<'a> {
    layout: &'a Layout,
    desired: &'a Desired,
    observed: &'a Topology,
    drift: Vec<Drift>,
}

/// Plan of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The steps, including those that only report.
    pub plan: Plan,
    /// Whether drift was left out because it was seen only once.
    pub unconfirmed: bool,
}

impl<'a> Comparison<'a> {
    /// Compares the two topologies.
    #[must_use]
    pub fn new(layout: &'a Layout, desired: &'a Desired, observed: &'a Topology) -> Self {
        let drift = drift::between(layout, desired, observed);
        Self { layout, desired, observed, drift }
    }

    /// Everything that differs.
    #[must_use]
    pub fn drift(&self) -> &[Drift] {
        &self.drift
    }

    /// Everything that differs, without the topologies.
    #[must_use]
    pub fn into_drift(self) -> Vec<Drift> {
        self.drift
    }

    /// Plans the repair of the drift that is chosen. Drift that only an administrator can repair
    /// becomes a step that reports.
    ///
    /// # Errors
    /// What the plan must not do. This is a defect of hearken; the plan is not applied.
    pub fn repair(&self, choice: RepairChoice<'_>) -> Result<Repair, Violation> {
        let (planned, left): (Vec<_>, Vec<_>) = (self.drift.iter().cloned())
            .partition(|drift| !drift.is_repairable() || choice.chooses(drift));
        let plan = plan::from_drift(&planned, self.desired).without_stranding(
            self.layout,
            self.desired,
            &self.observed.bindings,
        );
        let plan = match Restraint::find(self.layout, self.desired, self.observed) {
            Some(restraint) => plan.without_removals(&restraint, self.observed),
            None => plan,
        };
        plan::check(&plan, self.layout, self.desired, self.observed)?;
        let unconfirmed = choice.waits_for_belief() && left.iter().any(Drift::is_wrong);
        Ok(Repair { plan, unconfirmed })
    }
}

/// Limits that an earlier observation sets to the accelerator, which changes the broker before the
/// broker is observed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Precautions {
    /// Names under our prefix that are not ours. Nothing is done to them.
    pub foreign: BTreeSet<String>,
    /// Sign that the broker knows a later history than the log.
    pub restraint: Option<Restraint>,
}

impl Precautions {
    /// Limits that follow from an observation.
    #[must_use]
    pub fn of(layout: &Layout, desired: &Desired, observed: &Topology) -> Self {
        Self {
            foreign: foreign_names(layout, observed),
            restraint: Restraint::find(layout, desired, observed),
        }
    }
}

/// Plans the change from one desired topology to the next without looking at the broker. Leaves out
/// every step on an object with a foreign name, and takes nothing away under a [`Restraint`].
///
/// # Errors
/// What the plan must not do. This is a defect of hearken; the plan is not applied.
pub fn accelerate(
    layout: &Layout,
    applied: &Desired,
    desired: &Desired,
    precautions: &Precautions,
) -> Result<Plan, Violation> {
    let mut plan = plan::between(applied, desired);
    plan.steps.retain(|step| !touches(&step.action, &precautions.foreign));
    if let Some(restraint) = &precautions.restraint {
        plan = plan.without_removals(restraint, &applied.topology);
    }
    let plan = plan.without_stranding(layout, desired, &applied.topology.bindings);
    match plan::check(&plan, layout, desired, &Topology::default()) {
        // A binding that leads to a foreign queue was left out on purpose.
        Ok(()) | Err(Violation::Unbound { .. }) => Ok(plan),
        Err(violation) => Err(violation),
    }
}

/// Names of observed objects under our prefix that this cluster did not make.
fn foreign_names(layout: &Layout, observed: &Topology) -> BTreeSet<String> {
    let exchanges = observed.exchanges.values().map(|e| (&e.name, &e.arguments));
    let queues = observed.queues.values().map(|q| (&q.name, &q.arguments));
    let foreign = exchanges.chain(queues).filter(|(name, arguments)| !layout.owns(name, arguments));
    foreign.map(|(name, _)| name.clone()).collect()
}

fn touches(action: &Action, names: &BTreeSet<String>) -> bool {
    match action {
        Action::Bind(binding) | Action::Unbind(binding) => names.contains(&binding.destination),
        action => names.contains(&action.name()),
    }
}

#[cfg(test)]
mod tests;
