//! Drivers' errors, classified here and nowhere else.

use super::error::StoreError;
use sqlx::{error::DatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};
use std::{fmt, io, time::Duration};

/// What kind of failure a driver reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A key is taken.
    Duplicate,
    /// Another transaction was in the way, and this one was undone.
    Contention,
    Unavailable,
    Unstorable,
    Corrupt,
    Refused,
}

/// A driver's error, classified.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    source: sqlx::Error,
}

impl Failure {
    pub(super) fn timeout(after: Duration) -> Self {
        let text = format!("no answer within {} seconds", after.as_secs());
        io_failure(io::Error::new(io::ErrorKind::TimedOut, text))
    }

    pub(super) fn unstorable() -> Self {
        let source = sqlx::Error::Encode("a text holds the character NUL".into());
        Self { kind: Kind::Unstorable, source }
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

fn io_failure(error: io::Error) -> Failure {
    Failure { kind: Kind::Unavailable, source: sqlx::Error::Io(error) }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(source: sqlx::Error) -> Self {
        Self { kind: kind(&source), source }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let source = failure.source;
        match failure.kind {
            Kind::Unavailable | Kind::Contention => Self::Unavailable { source: source.into() },
            Kind::Unstorable => Self::Unstorable,
            Kind::Corrupt => Self::Corrupt { what: source.to_string() },
            Kind::Duplicate | Kind::Refused => {
                Self::Refused { statement: None, source: source.into() }
            }
        }
    }
}

fn kind(error: &sqlx::Error) -> Kind {
    use sqlx::Error as E;
    match error {
        E::Database(error) => database_kind(error.as_ref()),
        // A connection that is cut in the middle of an answer shows as a protocol error.
        E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed => {
            Kind::Unavailable
        }
        E::WorkerCrashed | E::BeginFailed => Kind::Unavailable,
        E::ColumnDecode { .. } | E::Decode(_) | E::ColumnNotFound(_) | E::RowNotFound => {
            Kind::Corrupt
        }
        _ => Kind::Refused,
    }
}

fn database_kind(error: &dyn DatabaseError) -> Kind {
    if error.is_unique_violation() {
        return Kind::Duplicate;
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return postgres_kind(&code);
    }
    if error.try_downcast_ref::<SqliteError>().is_some() {
        return sqlite_kind(code.parse().unwrap_or_default());
    }
    Kind::Refused
}

/// By SQLSTATE (PostgreSQL, appendix A).
fn postgres_kind(code: &str) -> Kind {
    match code {
        "40001" | "40P01" => Kind::Contention,
        "22021" | "22P05" => Kind::Unstorable,
        // Time-outs of ours, of an idle transaction, and a server that fell back to standby.
        "55P03" | "57014" | "25P03" | "25P04" | "25006" => Kind::Unavailable,
        // Connection, credentials, resources, operator intervention, system error.
        _ if ["08", "28", "3D", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
            Kind::Unavailable
        }
        _ => Kind::Refused,
    }
}

/// By primary result code (sqlite.org/rescode.html), the low byte of the extended one.
fn sqlite_kind(code: u32) -> Kind {
    match code & 0xff {
        // BUSY, LOCKED, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN. Busy is out of reach, not a
        // conflict: some other program holds the file.
        5 | 6 | 8 | 9 | 10 | 13 | 14 => Kind::Unavailable,
        // CORRUPT, NOTADB.
        11 | 26 => Kind::Corrupt,
        _ => Kind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_that_pass_by_themselves_are_told_from_defects() {
        assert_eq!(postgres_kind("40001"), Kind::Contention);
        assert_eq!(postgres_kind("57P01"), Kind::Unavailable);
        assert_eq!(postgres_kind("53300"), Kind::Unavailable);
        assert_eq!(postgres_kind("25006"), Kind::Unavailable);
        assert_eq!(postgres_kind("42P01"), Kind::Refused);
        assert_eq!(postgres_kind("P0001"), Kind::Refused);
    }

    #[test]
    fn an_extended_result_code_counts_as_its_primary_one() {
        assert_eq!(sqlite_kind(517), Kind::Unavailable);
        assert_eq!(sqlite_kind(13), Kind::Unavailable);
        assert_eq!(sqlite_kind(267), Kind::Corrupt);
        assert_eq!(sqlite_kind(1811), Kind::Refused);
    }
}
