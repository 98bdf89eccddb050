//! Redelivery of many dead letters, as a task (James WebAdmin, `event-dead-letters-redeliver-*`).
//!
//! An entry is removed once the bus has the event, and kept when the redelivery fails. An event
//! that fails again while the task runs becomes a new entry, and the task skips entries that are
//! newer than itself. One task of the cluster runs at a time, as in James, so that no two tasks
//! redeliver the same entry.

use super::Dispatcher;
use crate::{
    domain::{
        dead_letter::{DISPATCH_FAILURE, is_reserved},
        name::GroupName,
    },
    error_chain::error_chain,
    store::{
        Lease, LeaseName, Store, StoreError,
        dead_letters::{DeadLetterFilter, DeadLetterId},
    },
    tasks::Progress,
};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// Number of entries that are redelivered at the same time.
const WIDTH: usize = 16;

/// The entries that a run redelivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedeliveryScope {
    /// The entries of every group: first the groups of listeners, then parked messages, then events
    /// that were never published.
    All,
    /// The entries of one group.
    Group(GroupName),
    /// A single entry of a group. A missing entry is not an error.
    One(GroupName, Uuid),
}

/// A request to redeliver dead letters.
#[derive(Debug, Clone)]
pub struct RedeliveryRun {
    /// The entries to redeliver.
    pub scope: RedeliveryScope,
    /// Filter for the entries of the scope. Its group is ignored.
    pub filter: DeadLetterFilter,
    /// Largest number of entries to redeliver.
    pub limit: Option<usize>,
}

/// Counts of a run.
#[derive(Debug, Default)]
struct Tally {
    redelivered: u64,
    failed: u64,
    first_failure: Option<String>,
}

/// State of a run.
struct RunState<'a> {
    asked: &'a RedeliveryRun,
    store: &'a Store,
    dispatcher: &'a Dispatcher,
    progress: &'a Progress,
    left: usize,
    tally: Tally,
}

/// Outcome of the redelivery of one entry.
enum EntryOutcome {
    Redelivered,
    /// The entry does not exist any more.
    Missing,
    /// The entry is kept, for this cause.
    Failed(String),
}

/// The right to redeliver entries, held by one task of the cluster.
struct Turn<'a> {
    store: &'a Store,
    node: &'a str,
    lease: Lease,
}

impl Turn<'_> {
    /// Makes sure that this task still holds the lease. A lease that was lost is taken again.
    async fn keep(&mut self) -> Result<(), StoreError> {
        match self.lease.check().await {
            Err(StoreError::LeaseLost { lease }) => {
                self.lease = self.store.take(lease, self.node).await?;
                Ok(())
            }
            checked => checked,
        }
    }
}

impl RedeliveryRun {
    /// Type of the task.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.scope {
            RedeliveryScope::All => "event-dead-letters-redeliver-all",
            RedeliveryScope::Group(_) => "event-dead-letters-redeliver-group",
            RedeliveryScope::One(..) => "event-dead-letters-redeliver-one",
        }
    }

    /// Redelivers the entries, and returns the task's report.
    ///
    /// # Errors
    /// The report with a member `error`, when an entry could not be redelivered. The entry is kept.
    pub async fn run(
        self,
        store: Store,
        dispatcher: Dispatcher,
        progress: Progress,
    ) -> Result<Value, Value> {
        let mut state = RunState {
            asked: &self,
            store: &store,
            dispatcher: &dispatcher,
            progress: &progress,
            left: self.limit.unwrap_or(usize::MAX),
            tally: Tally::default(),
        };
        progress.report(state.report()).await;
        let read = state.take_turn().await;
        let mut report = state.report();
        let tally = state.tally;
        let error = match (read, tally.first_failure) {
            (Ok(()), None) => return Ok(report),
            (Ok(()), Some(first)) => {
                format!("{} entries could not be redelivered; the first: {first}", tally.failed)
            }
            (Err(error), _) => format!("the entries cannot be read: {}", error_chain(&error)),
        };
        report["error"] = error.into();
        Err(report)
    }

    /// The task's report, in the form of James.
    fn report(&self, tally: &Tally, at: OffsetDateTime) -> Value {
        let mut options = Map::new();
        let mut option = |name: &str, value: Option<Value>| {
            options.extend(value.map(|value| (name.to_owned(), value)));
        };
        let shown = |at: OffsetDateTime| at.format(&Rfc3339).ok().map(Value::from);
        option("limit", self.limit.map(Value::from));
        option("bus", self.filter.bus.as_ref().map(|bus| bus.as_str().into()));
        option("type", self.filter.event_type.clone().map(Value::from));
        option("user", self.filter.user.clone().map(Value::from));
        option("since", self.filter.since.and_then(shown));
        option("before", self.filter.before.and_then(shown));
        let mut report = json!({
            "type": self.kind(),
            "successfulRedeliveriesCount": tally.redelivered,
            "failedRedeliveriesCount": tally.failed,
            "timestamp": shown(at),
            "runningOptions": options,
        });
        match &self.scope {
            RedeliveryScope::All => {}
            RedeliveryScope::Group(group) => report["group"] = group.as_str().into(),
            RedeliveryScope::One(group, id) => {
                report["group"] = group.as_str().into();
                report["insertionId"] = id.to_string().into();
            }
        }
        report
    }
}

impl<'a> RunState<'a> {
    fn node(&self) -> &'a str {
        &self.dispatcher.roster.node().id
    }

    /// Redelivers the entries once no other task of the cluster does.
    async fn take_turn(&mut self) -> Result<(), StoreError> {
        let (store, node) = (self.store, self.node());
        let lease = store.take(LeaseName::Redelivery, node).await?;
        let mut turn = Turn { store, node, lease };
        let outcome = self.redeliver_scope(&mut turn).await;
        turn.lease.release().await;
        outcome
    }

    fn report(&self) -> Value {
        self.asked.report(&self.tally, self.dispatcher.clock.now())
    }

    async fn redeliver_scope(&mut self, turn: &mut Turn<'_>) -> Result<(), StoreError> {
        let last = self.store.last_dead_letter().await?;
        match &self.asked.scope {
            RedeliveryScope::All => {
                let mut groups: Vec<_> =
                    self.store.dead_letter_groups().await?.into_iter().collect();
                // Events that were never published come last: they are new work for every group.
                groups
                    .sort_by_key(|group| (is_reserved(group), group.as_str() == DISPATCH_FAILURE));
                for group in groups {
                    self.redeliver_group(group, last, turn).await?;
                }
                Ok(())
            }
            RedeliveryScope::Group(group) => self.redeliver_group(group.clone(), last, turn).await,
            RedeliveryScope::One(group, id) => {
                if self.left > 0 {
                    self.redeliver_entries(group, &[*id]).await?;
                }
                Ok(())
            }
        }
    }

    /// Redelivers the entries of a group up to the place `last`.
    async fn redeliver_group(
        &mut self,
        group: GroupName,
        last: i64,
        turn: &mut Turn<'_>,
    ) -> Result<(), StoreError> {
        let filter = DeadLetterFilter { group: Some(group.clone()), ..self.asked.filter.clone() };
        // Events that were never published keep the order in which they were dispatched.
        let width = if group.as_str() == DISPATCH_FAILURE { 1 } else { WIDTH };
        let mut after = 0;
        while self.left > 0 && after < last {
            let wanted = width.min(self.left);
            let page = self.store.dead_letter_ids(&filter, after, wanted).await?;
            let Some(DeadLetterId { seq, .. }) = page.last() else { return Ok(()) };
            after = *seq;
            let ids: Vec<_> =
                page.iter().filter(|entry| entry.seq <= last).map(|entry| entry.id).collect();
            turn.keep().await?;
            self.redeliver_entries(&group, &ids).await?;
        }
        Ok(())
    }

    async fn redeliver_entries(
        &mut self,
        group: &GroupName,
        ids: &[Uuid],
    ) -> Result<(), StoreError> {
        // No node may publish these events by itself at the same time.
        let lease = match group.as_str() {
            DISPATCH_FAILURE => Some(self.store.take(LeaseName::Redispatch, self.node()).await?),
            _ => None,
        };
        self.left = self.left.saturating_sub(ids.len());
        for outcome in join_all(ids.iter().map(|id| self.redeliver_entry(group, *id))).await {
            match outcome {
                EntryOutcome::Redelivered => self.tally.redelivered += 1,
                EntryOutcome::Missing => {}
                EntryOutcome::Failed(cause) => {
                    self.tally.failed += 1;
                    self.tally.first_failure.get_or_insert(cause);
                }
            }
        }
        if let Some(lease) = lease {
            lease.release().await;
        }
        self.progress.report(self.report()).await;
        Ok(())
    }

    async fn redeliver_entry(&self, group: &GroupName, id: Uuid) -> EntryOutcome {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            EntryOutcome::Failed(format!("{id}: {}", error_chain(error)))
        };
        let (letter, body) = match self.store.dead_letter(id).await {
            Ok(Some((letter, body))) if letter.group == *group => (letter, body),
            Ok(_) => return EntryOutcome::Missing,
            Err(error) => return failed(&error),
        };
        let Err(error) = self.dispatcher.redeliver(&letter, body).await else {
            return EntryOutcome::Redelivered;
        };
        let cause = error_chain(&error);
        tracing::warn!(%id, %group, cause, "dead letter {id} could not be redelivered, and is kept: {cause}");
        failed(&error)
    }
}
