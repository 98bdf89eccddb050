//! Migrations of the schema, forward only. All pending migrations are applied in one transaction,
//! which also notes them.

use super::{error::OpenError, postgres::failed};
use sqlx::{Connection, PgConnection, Row as _, SqliteConnection};
use uuid::Uuid;

/// A migration. It is never changed once it is released.
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

pub(super) const POSTGRES: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_start",
        sql: include_str!("../../migrations/postgres/0001_start.sql"),
    },
    Migration {
        version: 2,
        name: "0002_dead_letters",
        sql: include_str!("../../migrations/postgres/0002_dead_letters.sql"),
    },
];

pub(super) const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_start",
        sql: include_str!("../../migrations/sqlite/0001_start.sql"),
    },
    Migration {
        version: 2,
        name: "0002_dead_letters",
        sql: include_str!("../../migrations/sqlite/0002_dead_letters.sql"),
    },
];

const APPLIED: &str = "SELECT version, name FROM hearken_migration ORDER BY version";
const NOTE: &str = "INSERT INTO hearken_migration (version, name) VALUES ($1, $2)";
const IDENTIFY: &str = "INSERT INTO identity (id, cluster_id, log_id) VALUES (1, $1, $2)";
pub(super) const IDENTITY: &str = "SELECT cluster_id, log_id FROM identity";

const POSTGRES_NOTES: &str = "CREATE TABLE hearken_migration (version bigint PRIMARY KEY, name text NOT NULL, \
     applied_at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)";
const SQLITE_NOTES: &str = "CREATE TABLE hearken_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, \
     applied_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))) STRICT";

/// Takes the advisory lock under which PostgreSQL is migrated. Its number is "hearken" in ASCII,
/// which no other program is likely to use.
const LOCK: &str = "SELECT pg_advisory_xact_lock(29382302398371182)";

/// The databases that are migrated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MigrationScope {
    /// Only a database without any table.
    EmptyOnly,
    /// Any database with pending migrations.
    Any,
}

/// A migration that the database notes as applied.
struct Applied {
    version: i64,
    name: String,
}

/// The migrations that are not applied yet. Refuses a schema that is newer than this program.
fn pending<'a>(applied: &[Applied], all: &'a [Migration]) -> Result<Vec<&'a Migration>, OpenError> {
    let known = all.last().map_or(0, |migration| migration.version);
    if let Some(newest) = applied.last().filter(|newest| newest.version > known) {
        let (name, found) = (newest.name.clone(), newest.version);
        return Err(OpenError::NewerSchema { name, found, known });
    }
    let missing =
        |migration: &&Migration| applied.iter().all(|noted| noted.version != migration.version);
    Ok(all.iter().filter(missing).collect())
}

fn names_of(migrations: &[&Migration]) -> Vec<String> {
    migrations.iter().map(|migration| migration.name.to_owned()).collect()
}

fn migration_failed(name: &str) -> impl FnOnce(sqlx::Error) -> OpenError {
    let name = name.to_owned();
    |error| OpenError::Migration { name, source: error.into() }
}

/// Reads the noted migrations of either database.
macro_rules! read_applied {
    ($session:expr) => {{
        let rows = sqlx::query(APPLIED).fetch_all($session).await.map_err(failed)?;
        rows.iter()
            .map(|row| Applied { version: row.get("version"), name: row.get("name") })
            .collect::<Vec<_>>()
    }};
}

/// Applies pending migrations in a transaction of either database, notes them, and gives a new
/// database its identity.
macro_rules! apply {
    ($tx:expr, $pending:expr, $applied:expr) => {{
        for migration in $pending {
            let failed = || migration_failed(migration.name);
            sqlx::raw_sql(migration.sql).execute(&mut *$tx).await.map_err(failed())?;
            let note = sqlx::query(NOTE).bind(migration.version).bind(migration.name);
            note.execute(&mut *$tx).await.map_err(failed())?;
        }
        if $applied.is_empty() {
            let identity = sqlx::query(IDENTIFY).bind(Uuid::new_v4()).bind(Uuid::new_v4());
            identity.execute(&mut *$tx).await.map_err(failed)?;
        }
    }};
}

/// Migrates PostgreSQL. Nodes that start together wait for each other. Returns the names of the
/// applied migrations.
pub(super) async fn postgres(
    session: &mut PgConnection,
    scope: MigrationScope,
) -> Result<Vec<String>, OpenError> {
    let mut tx = session.begin().await.map_err(failed)?;
    sqlx::raw_sql("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0")
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    sqlx::query(LOCK).execute(&mut *tx).await.map_err(failed)?;
    let FoundSchema { noted, tables, applied } = find_schema(&mut tx).await?;
    let pending = pending(&applied, POSTGRES)?;
    let names = names_of(&pending);
    if names.is_empty() {
        return Ok(names);
    }
    if scope == MigrationScope::EmptyOnly && tables > 0 {
        return Err(OpenError::PendingMigrations { pending: names });
    }
    if !noted {
        let made = sqlx::query(POSTGRES_NOTES).execute(&mut *tx).await;
        made.map_err(migration_failed("of the list of migrations"))?;
    }
    apply!(tx, pending, applied);
    tx.commit().await.map_err(failed)?;
    Ok(names)
}

/// State of a database's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// The database has no table. The first node that starts creates the schema.
    Empty,
    /// These migrations are missing.
    Pending(Vec<String>),
    /// The schema is the newest that this program knows.
    Current,
}

/// The schema that a PostgreSQL database has.
struct FoundSchema {
    /// Whether the database has the list of applied migrations.
    noted: bool,
    /// Number of tables, including those of other programs.
    tables: i64,
    applied: Vec<Applied>,
}

async fn find_schema(session: &mut PgConnection) -> Result<FoundSchema, OpenError> {
    let look = "SELECT to_regclass('hearken_migration') IS NOT NULL AS noted, \
                (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()) AS tables";
    let row = sqlx::query(look).fetch_one(&mut *session).await.map_err(failed)?;
    let (noted, tables): (bool, i64) = (row.get("noted"), row.get("tables"));
    let applied = if noted { read_applied!(session) } else { Vec::new() };
    Ok(FoundSchema { noted, tables, applied })
}

/// Reads the state of PostgreSQL's schema. Changes nothing.
pub(super) async fn examine(session: &mut PgConnection) -> Result<Schema, OpenError> {
    let FoundSchema { tables, applied, .. } = find_schema(session).await?;
    let pending = pending(&applied, POSTGRES)?;
    Ok(match pending.as_slice() {
        [] => Schema::Current,
        _ if tables == 0 => Schema::Empty,
        pending => Schema::Pending(names_of(pending)),
    })
}

/// Migrates SQLite, which no other process uses. Returns the names of the applied migrations.
pub(super) async fn sqlite(session: &mut SqliteConnection) -> Result<Vec<String>, OpenError> {
    let mut tx = session.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let look = "SELECT count(*) AS tables FROM sqlite_schema WHERE name = 'hearken_migration'";
    let row = sqlx::query(look).fetch_one(&mut *tx).await.map_err(failed)?;
    let noted = row.get::<i64, _>("tables") > 0;
    let applied = if noted {
        read_applied!(&mut *tx)
    } else {
        sqlx::query(SQLITE_NOTES).execute(&mut *tx).await.map_err(failed)?;
        Vec::new()
    };
    let pending = pending(&applied, SQLITE)?;
    let names = names_of(&pending);
    apply!(tx, pending, applied);
    tx.commit().await.map_err(failed)?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused_with_its_newest_migration() {
        let noted = |version, name: &str| Applied { version, name: name.to_owned() };
        let applied = [noted(1, "0001_start"), noted(7, "0007_later")];
        let Err(OpenError::NewerSchema { name, found: 7, known: 2 }) = pending(&applied, POSTGRES)
        else {
            panic!("a newer schema was accepted");
        };
        assert_eq!(name, "0007_later");
    }

    #[test]
    fn both_databases_have_the_same_migrations_in_order() {
        let names = |all: &[Migration]| all.iter().map(|m| (m.version, m.name)).collect::<Vec<_>>();
        assert_eq!(names(POSTGRES), names(SQLITE));
        assert!(POSTGRES.is_sorted_by(|a, b| a.version < b.version));
    }
}
