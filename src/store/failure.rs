//! Classification of the drivers' errors. No other module classifies them.

use super::{error::StoreError, postgres::ReadOnlySession};
use sqlx::{error::DatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};
use std::{error::Error, fmt, io, time::Duration};

type Source = Box<dyn Error + Send + Sync>;

/// SQLSTATE of a server that has no connection left (`too_many_connections`).
pub(super) const NO_CONNECTION_LEFT: &str = "53300";

/// PostgreSQL refused a connection, because it has as many as it allows.
#[derive(Debug, thiserror::Error)]
#[error(
    "PostgreSQL has no connection left ({0}); raise its max_connections, or lower --database-connections of the nodes. hearken connects again by itself"
)]
struct NoConnectionLeft(String);

/// Kind of a failure that a driver reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// A key exists already.
    Duplicate,
    /// The schema is newer than this program may write.
    SchemaTooNew(NewerSchema),
    /// Another transaction conflicted with this transaction, which was rolled back.
    Contention,
    Unavailable,
    Unstorable,
    Corrupt,
    Refused,
}

/// Steps of a schema that a newer hearken made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("writers of the schema must know its step {needed}, and this program knows step {known}")]
pub(super) struct NewerSchema {
    pub(super) known: i64,
    pub(super) needed: i64,
}

/// A driver's error with its kind.
#[derive(Debug)]
pub(super) struct DriverFailure {
    pub(super) kind: FailureKind,
    source: Source,
}

impl DriverFailure {
    pub(super) fn timeout(after: Duration) -> Self {
        let text = format!("no answer within {} seconds", after.as_secs());
        io_failure(io::Error::new(io::ErrorKind::TimedOut, text))
    }

    pub(super) fn schema_too_new(schema: NewerSchema) -> Self {
        Self { kind: FailureKind::SchemaTooNew(schema), source: schema.into() }
    }

    pub(super) fn unstorable() -> Self {
        let source = "a text holds the character NUL".into();
        Self { kind: FailureKind::Unstorable, source }
    }

    /// The failure of a statement that has a name.
    pub(super) fn during(self, name: &str) -> StoreError {
        match StoreError::from(self) {
            StoreError::Refused { source, .. } => {
                StoreError::Refused { statement: Some(name.to_owned()), source }
            }
            other => other,
        }
    }
}

fn io_failure(error: io::Error) -> DriverFailure {
    DriverFailure { kind: FailureKind::Unavailable, source: error.into() }
}

impl fmt::Display for DriverFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl From<sqlx::Error> for DriverFailure {
    fn from(source: sqlx::Error) -> Self {
        match source {
            sqlx::Error::Configuration(refusal) if refusal.is::<ReadOnlySession>() => {
                Self { kind: FailureKind::Unavailable, source: refusal }
            }
            sqlx::Error::Database(error) if error.code().as_deref() == Some(NO_CONNECTION_LEFT) => {
                let source = NoConnectionLeft(error.message().to_owned()).into();
                Self { kind: FailureKind::Unavailable, source }
            }
            sqlx::Error::PoolTimedOut => {
                let source = "no connection became free in time; --database-connections allows this node more".into();
                Self { kind: FailureKind::Unavailable, source }
            }
            source => Self { kind: kind(&source), source: source.into() },
        }
    }
}

impl From<DriverFailure> for StoreError {
    fn from(failure: DriverFailure) -> Self {
        let source = failure.source;
        match failure.kind {
            FailureKind::Unavailable | FailureKind::Contention => Self::Unavailable { source },
            FailureKind::SchemaTooNew(NewerSchema { known, needed }) => {
                Self::SchemaTooNew { known, needed }
            }
            FailureKind::Unstorable => Self::Unstorable,
            FailureKind::Corrupt => Self::Corrupt { what: source.to_string() },
            FailureKind::Duplicate | FailureKind::Refused => {
                Self::Refused { statement: None, source }
            }
        }
    }
}

fn kind(error: &sqlx::Error) -> FailureKind {
    use sqlx::Error as E;
    match error {
        E::Database(error) => database_kind(error.as_ref()),
        // A connection that is cut in the middle of an answer causes a protocol error.
        E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed => {
            FailureKind::Unavailable
        }
        E::WorkerCrashed | E::BeginFailed => FailureKind::Unavailable,
        E::ColumnDecode { .. } | E::Decode(_) | E::ColumnNotFound(_) | E::RowNotFound => {
            FailureKind::Corrupt
        }
        _ => FailureKind::Refused,
    }
}

fn database_kind(error: &dyn DatabaseError) -> FailureKind {
    if error.is_unique_violation() {
        return FailureKind::Duplicate;
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return postgres_kind(&code);
    }
    if error.try_downcast_ref::<SqliteError>().is_some() {
        return sqlite_kind(code.parse().unwrap_or_default());
    }
    FailureKind::Refused
}

/// Kind by SQLSTATE (PostgreSQL, appendix A).
fn postgres_kind(code: &str) -> FailureKind {
    match code {
        "40001" | "40P01" => FailureKind::Contention,
        "22021" | "22P05" => FailureKind::Unstorable,
        // Timeouts that hearken set, the timeout of an idle transaction, and a server that is now a
        // standby.
        "55P03" | "57014" | "25P03" | "25P04" | "25006" => FailureKind::Unavailable,
        // Connection, credentials, resources, operator intervention, system error.
        _ if ["08", "28", "3D", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
            FailureKind::Unavailable
        }
        _ => FailureKind::Refused,
    }
}

/// Kind by primary result code (sqlite.org/rescode.html), the low byte of the extended result code.
fn sqlite_kind(code: u32) -> FailureKind {
    match code & 0xff {
        // BUSY, LOCKED, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN. BUSY is not a conflict, because
        // another program holds the file.
        5 | 6 | 8 | 9 | 10 | 13 | 14 => FailureKind::Unavailable,
        // CORRUPT, NOTADB.
        11 | 26 => FailureKind::Corrupt,
        _ => FailureKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_of_passing_failures_differ_from_those_of_defects() {
        assert_eq!(postgres_kind("40001"), FailureKind::Contention);
        assert_eq!(postgres_kind("57P01"), FailureKind::Unavailable);
        assert_eq!(postgres_kind("53300"), FailureKind::Unavailable);
        assert_eq!(postgres_kind("25006"), FailureKind::Unavailable);
        assert_eq!(postgres_kind("42P01"), FailureKind::Refused);
        assert_eq!(postgres_kind("P0001"), FailureKind::Refused);
    }

    #[test]
    fn an_extended_result_code_counts_as_its_primary_code() {
        assert_eq!(sqlite_kind(517), FailureKind::Unavailable);
        assert_eq!(sqlite_kind(13), FailureKind::Unavailable);
        assert_eq!(sqlite_kind(267), FailureKind::Corrupt);
        assert_eq!(sqlite_kind(1811), FailureKind::Refused);
    }
}
