//! Dead letters on their way into the database.

use crate::{
    clock::Clock,
    domain::{dead_letter::DeadLetter, name::GroupName},
    metrics::Metrics,
    outage::Outage,
    store::{Store, StoreError},
};
use parking_lot::Mutex;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// How long the database may take to keep an entry. The entry holds an execution slot meanwhile.
const LIMIT: Duration = Duration::from_secs(5);

/// Why a dead letter is not known to be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// The database was away before, and another entry is being tried.
    #[error("the database is away")]
    Away,
    /// The database refused or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database did not answer. The entry may be kept.
    #[error("the database did not answer within {} s", LIMIT.as_secs())]
    Silent,
}

/// A dead letter that the database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The entry was added now.
    Now,
    /// The same failure was kept earlier.
    Before,
}

/// Keeps dead letters, and reports each outage of the database once.
///
/// During an outage one entry at a time is tried and the others fail at once: a group's execution
/// slots are for events that can run.
pub(crate) struct DeadLetterKeeper {
    store: Store,
    metrics: Arc<Metrics>,
    outage: Mutex<Outage>,
    trying: Semaphore,
    /// Groups whose last entry was refused because of the quota.
    full: Mutex<BTreeSet<GroupName>>,
}

impl DeadLetterKeeper {
    /// Keeps dead letters in a store.
    pub(crate) fn new(store: Store, metrics: Arc<Metrics>, clock: &Clock) -> Self {
        let failing = "dead letters cannot be kept, and their events run again until they can be";
        let outage = Mutex::new(Outage::new(clock, failing, "dead letters can be kept again"));
        Self { store, metrics, outage, trying: Semaphore::new(1), full: Mutex::default() }
    }

    /// Keeps an entry. After [`KeepError::Silent`] the entry may be kept or not.
    pub(crate) async fn keep(&self, letter: &DeadLetter, body: &[u8]) -> Result<Kept, KeepError> {
        let lasts = self.outage.lock().lasts();
        let turn = lasts.then(|| self.trying.try_acquire());
        let _turn = turn.transpose().map_err(|_| KeepError::Away)?;
        let outcome = within_limit(self.store.keep_dead_letter(letter, body)).await;
        match &outcome {
            Ok(_) => {
                self.outage.lock().over();
                self.note_room(&letter.group);
            }
            // The database works, and another group's entries are kept.
            Err(KeepError::Store(error @ StoreError::DeadLettersFull { .. })) => {
                self.note_full(&letter.group, error);
            }
            // Events that run again have pauses of their own.
            Err(error) => drop(self.outage.lock().failed(&error.to_string())),
        }
        if !outcome? {
            return Ok(Kept::Before);
        }
        self.metrics.dead_lettered(&letter.bus, &letter.group);
        Ok(Kept::Now)
    }

    /// Reports once that a group has reached its quota.
    fn note_full(&self, group: &GroupName, error: &StoreError) {
        if self.full.lock().insert(group.clone()) {
            tracing::warn!(
                %group,
                %error,
                "failed events of group {group} stay with RabbitMQ and run again at the longest pause of the listener: {error}"
            );
        }
    }

    /// Notes that an entry of a group was kept.
    fn note_room(&self, group: &GroupName) {
        if self.full.lock().remove(group) {
            tracing::info!(%group, "dead letters of group {group} are kept again");
        }
    }

    /// Checks that the database answers. Does not end an outage: only an entry that is kept shows
    /// that the database can be written.
    pub(crate) async fn ready(&self) -> Result<(), KeepError> {
        within_limit(self.store.ping()).await
    }
}

async fn within_limit<T>(
    request: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, KeepError> {
    match timeout(LIMIT, request).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(KeepError::Silent),
    }
}
