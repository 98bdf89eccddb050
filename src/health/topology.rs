//! Health of the topology: whether the broker matches the roster, by the last comparison.

use super::{Health, Impairment, cut, shown};
use crate::domain::{
    drift::Remedy,
    report::{DriftReport, TopologyState, TopologyStatus},
};

/// Largest number of objects that a cause names.
const NAMED: usize = 5;

/// Number of intervals without a pass after which the last comparison of broker and roster is out
/// of date.
const MISSED_INTERVALS: u32 = 4;

impl Health {
    /// Checks that the broker was seen to match the roster, and lately.
    pub(super) async fn check_topology(&self) -> Result<(), Impairment> {
        let status = self.store.topology_status().await?;
        // A status that no node renews does not describe the present.
        let age = status.observed_at.map(|at| self.clock.now() - at);
        let stale = self.roster.known().settings().reconcile_interval.duration() * MISSED_INTERVALS;
        if let Some(age) = age.filter(|age| *age > stale && status.failure.is_none()) {
            let cause = format!("no pass has ended for {} s", age.whole_seconds());
            return Err(Impairment::degraded(cause));
        }
        let failure = status
            .failure
            .as_ref()
            .map(|failure| format!("{}, since {}", failure.cause, shown(failure.since)));
        if let Some(restraint) = &status.restraint
            && !matches!(status.state, TopologyState::Blocked | TopologyState::Unknown)
        {
            return Err(Impairment::degraded(restraint_cause(restraint)));
        }
        match status.state {
            TopologyState::Converged => Ok(()),
            TopologyState::Pending => {
                let version = self.roster.known().version();
                let behind = version.saturating_sub(status.reconciled_version);
                // A queue that drains keeps the topology pending until it is empty. That is
                // healthy.
                if behind == 0 && failure.is_none() {
                    return Ok(());
                }
                let cause = format!("the broker is {behind} versions behind the roster");
                Err(Impairment::degraded(failure.unwrap_or(cause)))
            }
            TopologyState::Drifted => Err(Impairment::degraded(self.drift_cause(&status))),
            TopologyState::Blocked => Err(Impairment::unhealthy(failure.unwrap_or_default())),
            TopologyState::Unknown => {
                let cause = failure.unwrap_or_else(|| "no pass has been made yet".to_owned());
                Err(Impairment::unhealthy(cause))
            }
        }
    }

    /// What differs, and since when. A queue that is to be deleted is left out: the roster asked
    /// for that difference.
    fn drift_cause(&self, status: &TopologyStatus) -> String {
        let wrong = |drift: &&DriftReport| drift.remedy != Remedy::Delete;
        let oldest = status.drift.iter().filter(wrong).map(|drift| drift.since).min();
        let since = shown(oldest.unwrap_or_else(|| self.clock.now()));
        let names = status.drift.iter().filter(wrong).map(|drift| drift.name.clone());
        let total = names.clone().count();
        let names = cut(names.take(NAMED), total, ", ");
        format!("the broker has differed from the roster since {since}: {names}")
    }
}

/// Why nothing is unbound or deleted, and what an operator can do.
fn restraint_cause(restraint: &str) -> String {
    format!(
        "{restraint}: the broker knows a later history than the database, as after a restore; hearken unbinds and deletes nothing until an operator decides (docs/operations.md)"
    )
}
