//! One interface to both databases, with the same statements and values.

use super::{error::StoreError, failure::DriverFailure, postgres::DatabaseServer, row::Row};
use crate::metrics::DatabaseConnections;
use serde_json::Value;
use sqlx::{Postgres, Sqlite, SqlitePool, Transaction};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Longest time of a statement. The server gives up by itself after ten seconds; the rest is for a
/// connection that is lost without an error.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// A statement. Only [`statements!`] makes statements, so that each is checked against both
/// schemas.
#[derive(Clone, Copy)]
pub(super) struct Sql(pub(super) &'static str);

/// Defines statements, and the list `STATEMENTS` of all statements with their names.
///
/// A statement names the columns of its result. PostgreSQL refuses a prepared `SELECT *` in a
/// running process once a newer program has added a column.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* const $name: $crate::store::engine::Sql = $crate::store::engine::Sql($sql);)+
        pub(in crate::store) const STATEMENTS: &[(&str, $crate::store::engine::Sql)] =
            &[$((stringify!($name), $name)),+];
    };
}
pub(super) use statements;

statements! {
    /// Wakes every listening process when the transaction commits.
    RING = "SELECT pg_notify('hearken', '')";
}

/// The channel that [`RING`] names.
pub(super) const CHANNEL: &str = "hearken";

/// A value for a placeholder.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    Int(i64),
    Text(String),
    Uuid(Uuid),
    Bytes(Vec<u8>),
    Json(Value),
    OptInt(Option<i64>),
    OptText(Option<String>),
    OptUuid(Option<Uuid>),
}

macro_rules! arg_from {
    ($($type:ty => |$value:ident| $arg:expr;)+) => {
        $(impl From<$type> for Arg {
            fn from($value: $type) -> Self {
                $arg
            }
        })+
    };
}
arg_from! {
    i64 => |value| Self::Int(value);
    u32 => |value| Self::Int(value.into());
    u64 => |value| Self::Int(i64::try_from(value).unwrap_or(i64::MAX));
    usize => |value| Self::Int(i64::try_from(value).unwrap_or(i64::MAX));
    &str => |value| Self::Text(value.to_owned());
    String => |value| Self::Text(value);
    Uuid => |value| Self::Uuid(value);
    &[u8] => |value| Self::Bytes(value.to_vec());
    Value => |value| Self::Json(value);
    Option<i64> => |value| Self::OptInt(value);
    Option<Uuid> => |value| Self::OptUuid(value);
    Option<String> => |value| Self::OptText(value);
    Option<&str> => |value| Self::OptText(value.map(str::to_owned));
}

/// The values of a statement's placeholders, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::store::engine::Arg::from($value)),*] };
}
pub(super) use args;

macro_rules! query {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql.0);
        for arg in $args {
            query = match arg {
                Arg::Int(value) => query.bind(*value),
                Arg::Text(value) => query.bind(value.as_str()),
                Arg::Uuid(value) => query.bind(*value),
                Arg::Bytes(value) => query.bind(value.as_slice()),
                Arg::Json(value) => query.bind(sqlx::types::Json(value)),
                Arg::OptInt(value) => query.bind(*value),
                Arg::OptText(value) => query.bind(value.as_deref()),
                Arg::OptUuid(value) => query.bind(*value),
            };
        }
        query
    }};
}

/// A database and its connections.
pub(super) enum Engine {
    Postgres(Box<DatabaseServer>),
    /// SQLite allows one writer. Readers never wait for it.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
}

/// A transaction. It is rolled back when it is dropped.
pub(super) struct Tx {
    open: Open,
    bell: watch::Sender<u64>,
    rings: bool,
}

enum Open {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

async fn bounded<T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DriverFailure> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(DriverFailure::from),
        Err(_) => Err(DriverFailure::timeout(PATIENCE)),
    }
}

/// Runs a statement on a session of the pool. Says why when the pool has no session.
async fn pooled<T>(
    server: &DatabaseServer,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DriverFailure> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Err(sqlx::Error::PoolTimedOut)) => Err(server.explain().await),
        Ok(result) => result.map_err(DriverFailure::from),
        Err(_) => Err(DriverFailure::timeout(PATIENCE)),
    }
}

impl Engine {
    /// Runs one statement that changes nothing.
    pub(super) async fn read(&self, sql: Sql, args: &[Arg]) -> Result<Vec<Row>, DriverFailure> {
        check(args)?;
        match self {
            Self::Postgres(server) => {
                let rows = pooled(server, query!(sql, args).fetch_all(&server.pool)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite { readers, .. } => {
                let rows = bounded(query!(sql, args).fetch_all(readers)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Runs one statement as a transaction of its own. Returns the number of changed rows.
    pub(super) async fn write(&self, sql: Sql, args: &[Arg]) -> Result<u64, DriverFailure> {
        check(args)?;
        match self {
            Self::Postgres(server) => {
                Ok(pooled(server, query!(sql, args).execute(&server.pool)).await?.rows_affected())
            }
            Self::Sqlite { writer, .. } => {
                Ok(bounded(query!(sql, args).execute(writer)).await?.rows_affected())
            }
        }
    }

    /// Runs one statement that writes, as a transaction of its own. Returns the rows that the
    /// statement returns.
    pub(super) async fn write_returning(
        &self,
        sql: Sql,
        args: &[Arg],
    ) -> Result<Vec<Row>, DriverFailure> {
        check(args)?;
        match self {
            Self::Postgres(server) => {
                let rows = pooled(server, query!(sql, args).fetch_all(&server.pool)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite { writer, .. } => {
                let rows = bounded(query!(sql, args).fetch_all(writer)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Begins a transaction that writes. On SQLite it takes the writer at once: a deferred
    /// transaction that begins to write later fails immediately, without waiting for the busy
    /// timeout.
    pub(super) async fn begin(&self, bell: &watch::Sender<u64>) -> Result<Tx, DriverFailure> {
        let open = match self {
            Self::Postgres(server) => Open::Postgres(
                pooled(server, server.pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED"))
                    .await?,
            ),
            Self::Sqlite { writer, .. } => {
                Open::Sqlite(bounded(writer.begin_with("BEGIN IMMEDIATE")).await?)
            }
        };
        Ok(Tx { open, bell: bell.clone(), rings: false })
    }

    /// Prepares a statement, and does not run it.
    pub(super) async fn prepare(&self, name: &str, sql: Sql) -> Result<(), StoreError> {
        use sqlx::{Executor as _, SqlSafeStr as _};
        let text = sql.0.into_sql_str();
        let prepared = match self {
            Self::Postgres(server) => pooled(server, server.pool.prepare(text)).await.map(drop),
            Self::Sqlite { writer, .. } => bounded(writer.prepare(text)).await.map(drop),
        };
        prepared.map_err(|failure| failure.during(name))
    }

    /// Use of the pooled connections. SQLite has one connection that writes, and others that read.
    pub(super) fn connections(&self) -> DatabaseConnections {
        let idle = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let (open, idle, most) = match self {
            Self::Postgres(server) => {
                let pool = &server.pool;
                (pool.size(), idle(pool.num_idle()), pool.options().get_max_connections())
            }
            Self::Sqlite { writer, readers } => (
                writer.size() + readers.size(),
                idle(writer.num_idle()) + idle(readers.num_idle()),
                writer.options().get_max_connections() + readers.options().get_max_connections(),
            ),
        };
        let used = u64::from(open).saturating_sub(idle);
        DatabaseConnections { used, idle, most: most.into() }
    }

    /// Closes every connection. Waits at most as long as for a statement.
    pub(super) async fn close(&self) {
        let closed = async {
            match self {
                Self::Postgres(server) => server.pool.close().await,
                Self::Sqlite { writer, readers } => {
                    readers.close().await;
                    writer.close().await;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, closed).await.is_err() {
            tracing::warn!(
                "some connections to the database did not close in time; hearken abandons them"
            );
        }
    }
}

impl Tx {
    /// Runs a statement and returns its rows.
    pub(super) async fn fetch(
        &mut self,
        sql: Sql,
        args: &[Arg],
    ) -> Result<Vec<Row>, DriverFailure> {
        check(args)?;
        match &mut self.open {
            Open::Postgres(tx) => {
                let rows = bounded(query!(sql, args).fetch_all(&mut **tx)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Open::Sqlite(tx) => {
                let rows = bounded(query!(sql, args).fetch_all(&mut **tx)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Runs a statement and returns the number of changed rows.
    pub(super) async fn execute(&mut self, sql: Sql, args: &[Arg]) -> Result<u64, DriverFailure> {
        check(args)?;
        match &mut self.open {
            Open::Postgres(tx) => {
                Ok(bounded(query!(sql, args).execute(&mut **tx)).await?.rows_affected())
            }
            Open::Sqlite(tx) => {
                Ok(bounded(query!(sql, args).execute(&mut **tx)).await?.rows_affected())
            }
        }
    }

    /// Rings the doorbell if the transaction commits.
    pub(super) async fn ring(&mut self) -> Result<(), DriverFailure> {
        if matches!(self.open, Open::Postgres(_)) {
            self.fetch(RING, &[]).await?;
        }
        self.rings = true;
        Ok(())
    }

    /// Commits the transaction. After a failure that is not an answer of the database, the outcome
    /// is unknown.
    pub(super) async fn commit(self) -> Result<(), DriverFailure> {
        match self.open {
            Open::Postgres(tx) => bounded(tx.commit()).await?,
            Open::Sqlite(tx) => bounded(tx.commit()).await?,
        }
        if self.rings {
            // Also on PostgreSQL: the process's own notification may not arrive while its
            // connection is lost.
            self.bell.send_modify(|rings| *rings = rings.wrapping_add(1));
        }
        Ok(())
    }

    /// Rolls the transaction back, and waits until it is rolled back.
    pub(super) async fn rollback(self) -> Result<(), DriverFailure> {
        match self.open {
            Open::Postgres(tx) => bounded(tx.rollback()).await,
            Open::Sqlite(tx) => bounded(tx.rollback()).await,
        }
    }
}

/// Refuses values with the character NUL, which PostgreSQL cannot store. SQLite refuses them too,
/// so that both databases accept the same values.
fn check(args: &[Arg]) -> Result<(), DriverFailure> {
    let unfit = args.iter().any(|arg| match arg {
        Arg::Text(text) | Arg::OptText(Some(text)) => text.contains('\0'),
        Arg::Json(value) => has_nul(value),
        _ => false,
    });
    if unfit { Err(DriverFailure::unstorable()) } else { Ok(()) }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Writes a record as JSON for a column. Some texts in records come from brokers and operating
/// systems, so a NUL is replaced instead of refused: a node must always be able to report its
/// state.
pub(super) fn json(record: &impl serde::Serialize) -> Value {
    fn scrub(value: &mut Value) {
        match value {
            Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
            Value::Array(values) => values.iter_mut().for_each(scrub),
            Value::Object(map) => map.values_mut().for_each(scrub),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(record).expect("records are plain JSON");
    scrub(&mut value);
    value
}
