//! Putting dead letters back, as a task (James WebAdmin, `event-dead-letters-redeliver-*`).
//!
//! An entry is gone once the broker has the event, and kept when anything is in the way. What fails
//! again while the task runs is a new entry, newer than everything the task looks at. One task of
//! the cluster is at it at a time, as in James, so that two do not put the same entry back.

use super::Dispatcher;
use crate::{
    clock,
    domain::{
        dead_letter::{DISPATCH_FAILURE, is_reserved},
        name::GroupName,
    },
    error_chain::error_chain,
    store::{HeldLock, Lock, Store, StoreError, dead_letters::DeadLetterFilter},
    tasks::Progress,
};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// How many entries are put back at a time.
const WIDTH: usize = 16;

/// Which entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedeliveryScope {
    /// Of every group: first those of listeners, then what was parked or never published.
    All,
    /// Of one group.
    Group(GroupName),
    /// One entry of a group. An entry that does not exist does not count as a failure.
    One(GroupName, Uuid),
}

/// What a redelivery is asked to do.
#[derive(Debug, Clone)]
pub struct RedeliveryRun {
    /// Which entries.
    pub scope: RedeliveryScope,
    /// Which of them. Its group is the scope's.
    pub filter: DeadLetterFilter,
    /// How many at most.
    pub limit: Option<usize>,
}

/// What came of it so far.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failed: u64,
    first_failure: Option<String>,
}

/// A redelivery at work.
struct RunState<'a> {
    asked: &'a RedeliveryRun,
    store: &'a Store,
    dispatcher: &'a Dispatcher,
    progress: &'a Progress,
    left: usize,
    tally: Tally,
}

/// The right to put entries back.
struct Turn<'a> {
    store: &'a Store,
    held: HeldLock,
}

impl Turn<'_> {
    /// Makes sure that it is this task's turn still: the lock goes with its database session.
    async fn keep(&mut self) -> Result<(), StoreError> {
        if !self.held.still_held().await {
            self.held = self.store.lock(Lock::Redelivery).await?;
        }
        Ok(())
    }
}

impl RedeliveryRun {
    /// The type of its task.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.scope {
            RedeliveryScope::All => "event-dead-letters-redeliver-all",
            RedeliveryScope::Group(_) => "event-dead-letters-redeliver-group",
            RedeliveryScope::One(..) => "event-dead-letters-redeliver-one",
        }
    }

    /// Puts the entries back, and returns the task's report.
    ///
    /// # Errors
    /// The report as well, when some entry could not be put back: it is kept, and `error` says why.
    pub async fn run(
        self,
        store: Store,
        dispatcher: Dispatcher,
        progress: Progress,
    ) -> Result<Value, Value> {
        let mut work = RunState {
            asked: &self,
            store: &store,
            dispatcher: &dispatcher,
            progress: &progress,
            left: self.limit.unwrap_or(usize::MAX),
            tally: Tally::default(),
        };
        progress.say(self.report(&work.tally)).await;
        let read = work.take_turn().await;
        let tally = work.tally;
        let mut report = self.report(&tally);
        let error = match (read, tally.first_failure) {
            (Ok(()), None) => return Ok(report),
            (Ok(()), Some(first)) => {
                format!("{} entries could not be put back; the first: {first}", tally.failed)
            }
            (Err(error), _) => format!("the entries cannot be read: {}", error_chain(&error)),
        };
        report["error"] = error.into();
        Err(report)
    }

    /// The task's report, as James has it.
    fn report(&self, tally: &Tally) -> Value {
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
            "successfulRedeliveriesCount": tally.done,
            "failedRedeliveriesCount": tally.failed,
            "timestamp": shown(clock::now()),
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

impl RunState<'_> {
    /// Puts the entries back once it is this task's turn.
    async fn take_turn(&mut self) -> Result<(), StoreError> {
        let mut turn = Turn { store: self.store, held: self.store.lock(Lock::Redelivery).await? };
        let outcome = self.all(&mut turn).await;
        turn.held.release().await;
        outcome
    }

    async fn all(&mut self, turn: &mut Turn<'_>) -> Result<(), StoreError> {
        let last = self.store.last_dead_letter().await?;
        match &self.asked.scope {
            RedeliveryScope::All => {
                let mut groups: Vec<_> =
                    self.store.dead_letter_groups().await?.into_iter().collect();
                // What was never published goes out last: it is new work for every group.
                groups
                    .sort_by_key(|group| (is_reserved(group), group.as_str() == DISPATCH_FAILURE));
                for group in groups {
                    self.group(group, last, turn).await?;
                }
                Ok(())
            }
            RedeliveryScope::Group(group) => self.group(group.clone(), last, turn).await,
            RedeliveryScope::One(group, id) => {
                if self.left > 0 {
                    self.some(group, &[*id]).await?;
                }
                Ok(())
            }
        }
    }

    /// The entries of a group up to a place.
    async fn group(
        &mut self,
        group: GroupName,
        last: i64,
        turn: &mut Turn<'_>,
    ) -> Result<(), StoreError> {
        let filter = DeadLetterFilter { group: Some(group.clone()), ..self.asked.filter.clone() };
        // What was never published goes out in the order in which it came.
        let width = if group.as_str() == DISPATCH_FAILURE { 1 } else { WIDTH };
        let mut after = 0;
        while self.left > 0 && after < last {
            let wanted = width.min(self.left);
            let page = self.store.dead_letter_ids(&filter, after, wanted).await?;
            let Some((place, _)) = page.last() else { return Ok(()) };
            after = *place;
            let ids: Vec<_> =
                page.iter().filter(|(place, _)| *place <= last).map(|(_, id)| *id).collect();
            turn.keep().await?;
            self.some(&group, &ids).await?;
        }
        Ok(())
    }

    async fn some(&mut self, group: &GroupName, ids: &[Uuid]) -> Result<(), StoreError> {
        // A node that publishes them by itself must not be at it too.
        let alone = match group.as_str() {
            DISPATCH_FAILURE => Some(self.store.lock(Lock::Redispatch).await?),
            _ => None,
        };
        self.left = self.left.saturating_sub(ids.len());
        for outcome in join_all(ids.iter().map(|id| self.one(group, *id))).await {
            match outcome {
                Ok(true) => self.tally.done += 1,
                Ok(false) => {}
                Err(cause) => {
                    self.tally.failed += 1;
                    self.tally.first_failure.get_or_insert(cause);
                }
            }
        }
        if let Some(alone) = alone {
            alone.release().await;
        }
        self.progress.say(self.asked.report(&self.tally)).await;
        Ok(())
    }

    /// Puts one entry back. `false` when it is not there any more.
    async fn one(&self, group: &GroupName, id: Uuid) -> Result<bool, String> {
        let named =
            |error: &(dyn std::error::Error + 'static)| format!("{id}: {}", error_chain(error));
        let found = self.store.dead_letter(id).await.map_err(|error| named(&error))?;
        match found.filter(|(letter, _)| letter.group == *group) {
            None => Ok(false),
            Some((letter, body)) => {
                let put = self.dispatcher.redeliver(&letter, body).await;
                put.map(|()| true).map_err(|error| {
                    let cause = named(&error);
                    tracing::warn!(%id, %group, cause, "a dead letter could not be put back, and is kept: {cause}");
                    cause
                })
            }
        }
    }
}
