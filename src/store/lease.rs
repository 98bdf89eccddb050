//! Leases: work that one node of the cluster does at a time.
//!
//! A lease is a row with its holder, a token that only grows, and a time of expiry by the
//! database's clock. Every statement about a lease stands alone, so each may run on another
//! session: a pooler that gives each transaction another server connection does no harm.

use super::{
    Inner, Store,
    engine::{Arg, Engine, PATIENCE, Sql, Tx, args, statements},
    error::StoreError,
    failure::DriverFailure,
    row::Row,
};
use crate::{background, domain::event::Version, error_chain::error_chain};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

statements! {
    /// Takes a lease that is free. An expiry that no holder can have set, because it is further
    /// away than two terms, comes from a clock that was set back: that lease is free too.
    TAKE = "INSERT INTO lease (name, holder, token, expires_at) SELECT $1, $2, 1, now + $3 FROM clock WHERE 1 = 1 \
            ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = lease.token + 1, expires_at = excluded.expires_at \
            WHERE lease.expires_at <= (SELECT now FROM clock) OR lease.expires_at > excluded.expires_at + $3 \
            RETURNING token, (SELECT COALESCE(MAX(version), 0) FROM roster_event) AS head, \
            (SELECT COUNT(*) FROM pass WHERE open = 1) AS open_passes";
    /// The holder is compared beside the token: a failover that loses commits can give a token
    /// twice.
    RENEW = "UPDATE lease SET expires_at = (SELECT now FROM clock) + $4 \
             WHERE name = $1 AND token = $2 AND holder = $3 AND expires_at > (SELECT now FROM clock)";
    RELEASE = "UPDATE lease SET expires_at = (SELECT now FROM clock) \
               WHERE name = $1 AND token = $2 AND holder = $3 AND expires_at > (SELECT now FROM clock)";
    RELEASE_ALL = "UPDATE lease SET expires_at = 0";
}

/// Time for which a lease is held without a renewal. A node that dies keeps others from its work
/// for at most this long.
const TERM: Duration = Duration::from_secs(10);

/// Pause between two renewals: a third of the term, so that two renewals may fail.
const RENEWAL: Duration = Duration::from_millis(3_300);

/// Pause after a renewal that the database did not answer.
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// Pause between two attempts to take a lease that another node holds.
const TAKE_AGAIN: Duration = Duration::from_secs(1);

/// Work that only one node of the cluster may do at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseName {
    /// Making the broker match the roster.
    Passes,
    /// Redispatch: publishing events that could not be published at first.
    Redispatch,
    /// Redelivering dead letters because an administrator asked for it.
    Redelivery,
    /// Removing old records.
    Sweep,
}

impl LeaseName {
    /// Name of the lease in its table.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Redispatch => "redispatch",
            Self::Redelivery => "redelivery",
            Self::Sweep => "sweep",
        }
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// A lease that this process took. It is renewed until it is dropped or lost.
///
/// Dropping a lease releases it a little later. A process that dies keeps its lease until the lease
/// expires.
pub struct Lease {
    tenure: Tenure,
    /// Newest version of the roster when the lease was taken.
    head: Version,
    /// Number of passes without an end when the lease was taken.
    open_passes: u64,
    renewal: JoinHandle<()>,
    /// Whether dropping the lease has nothing left to release.
    released: bool,
}

/// One take of a lease.
#[derive(Clone)]
struct Tenure {
    inner: Arc<Inner>,
    name: LeaseName,
    /// Node and a number of this take, which no other take has.
    holder: String,
    token: i64,
}

impl Store {
    /// Takes a lease for a node. `None` while another take of the lease holds it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn try_take(&self, name: LeaseName, node: &str) -> Result<Option<Lease>, StoreError> {
        let holder = format!("{node}/{}", Uuid::new_v4().simple());
        let values = args![name.key(), holder.as_str(), term()];
        let rows = self.inner.engine.write_returning(TAKE, values).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (token, head) = (row.int("token")?, row.count("head")?);
        let open_passes = row.count("open_passes")?;
        let tenure = Tenure { inner: Arc::clone(&self.inner), name, holder, token };
        let renewal = background::spawn("lease renewal", renew(tenure.clone()));
        Ok(Some(Lease { tenure, head, open_passes, renewal, released: false }))
    }

    /// Takes a lease for a node. Waits until the current holder releases the lease, or dies.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn take(&self, name: LeaseName, node: &str) -> Result<Lease, StoreError> {
        loop {
            if let Some(lease) = self.try_take(name, node).await? {
                return Ok(lease);
            }
            sleep(TAKE_AGAIN).await;
        }
    }
}

impl Lease {
    /// Token of this take. A later take of the same lease has a greater token.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.tenure.token
    }

    pub(super) fn head(&self) -> Version {
        self.head
    }

    /// Makes sure, by a write to the database, that this process still holds the lease. Callers ask
    /// right before each action that two nodes must not do at the same time.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the lease expired, and the error of a database that cannot be
    /// written.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.tenure.renew().await
    }

    pub(super) fn open_passes(&self) -> u64 {
        self.open_passes
    }

    /// Inserts a row, while this process holds the lease, with one statement. The last three values
    /// of the statement are the lease's name, token and holder.
    pub(super) async fn insert(&self, sql: Sql, values: &[Arg]) -> Result<Vec<Row>, StoreError> {
        let values = [values, &self.tenure.args()].concat();
        let rows = self.tenure.inner.engine.write_returning(sql, &values).await?;
        if rows.is_empty() { Err(self.tenure.lost()) } else { Ok(rows) }
    }

    pub(super) async fn read(&self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        Ok(self.tenure.inner.engine.read(sql, &[]).await?)
    }

    /// Begins a transaction that fails when this process does not hold the lease any more. Until
    /// the transaction ends, no other process can take the lease.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        let Inner { engine, bell, .. } = &*self.tenure.inner;
        let mut tx = engine.begin(bell).await?;
        if tx.execute(RENEW, &self.tenure.renewal_args()).await? == 0 {
            tx.rollback().await?;
            return Err(self.tenure.lost());
        }
        Ok(tx)
    }

    /// Releases the lease, and returns when another node can take it.
    pub async fn release(mut self) {
        self.released = true;
        self.renewal.abort();
        self.tenure.release().await;
    }
}

#[cfg(test)]
impl Lease {
    /// Lets the lease expire, as if its holder had been paused for longer than the term.
    pub(crate) async fn expire(&self) {
        self.tenure.release().await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
        if !self.released && Handle::try_current().is_ok() {
            let tenure = self.tenure.clone();
            background::spawn("lease release", async move { tenure.release().await });
        }
    }
}

impl Tenure {
    fn args(&self) -> [Arg; 3] {
        [self.name.key().into(), self.token.into(), self.holder.as_str().into()]
    }

    fn renewal_args(&self) -> [Arg; 4] {
        let [name, token, holder] = self.args();
        [name, token, holder, term().into()]
    }

    fn lost(&self) -> StoreError {
        StoreError::LeaseLost { lease: self.name }
    }

    async fn renew(&self) -> Result<(), StoreError> {
        match self.inner.engine.write(RENEW, &self.renewal_args()).await? {
            0 => Err(self.lost()),
            _ => Ok(()),
        }
    }

    /// Releases the lease, unless it was lost. A lease that the database does not release expires.
    async fn release(&self) {
        let released = timeout(PATIENCE / 3, self.inner.engine.write(RELEASE, &self.args())).await;
        let released = released.unwrap_or_else(|_| Err(DriverFailure::timeout(PATIENCE / 3)));
        if let Err(failure) = released {
            let (lease, error) = (self.name, failure.to_string());
            tracing::debug!(%lease, error, "lease {lease} was not released and expires by itself: {error}");
        }
    }
}

/// Renews a lease until it is lost or the task is aborted.
async fn renew(tenure: Tenure) {
    let mut pause = RENEWAL;
    loop {
        sleep(pause).await;
        pause = match tenure.renew().await {
            Ok(()) => RENEWAL,
            Err(StoreError::LeaseLost { lease }) => {
                tracing::debug!(%lease, "lease {lease} expired before it was renewed");
                return;
            }
            Err(error) => {
                let (lease, error) = (tenure.name, error_chain(&error));
                tracing::debug!(%lease, error, "lease {lease} could not be renewed; hearken tries again: {error}");
                RENEW_AGAIN
            }
        };
    }
}

/// Node that a holder names.
pub(super) fn node_of(holder: &str) -> &str {
    holder.rsplit_once('/').map_or(holder, |(node, _)| node)
}

/// Releases every lease of an embedded store that opens. Its directory is locked, so every holder
/// is a process that died.
pub(super) async fn release_all(engine: &Engine) -> Result<(), StoreError> {
    engine.write(RELEASE_ALL, &[]).await?;
    Ok(())
}

/// The term in the unit of the database's clock.
fn term() -> i64 {
    i64::try_from(TERM.as_micros()).unwrap_or(i64::MAX)
}
