//! Migrations of the schema, forward only. All pending migrations are applied in one transaction,
//! which also notes them.
//!
//! A version of hearken is known by the newest step that it knows. Each step notes the oldest
//! version that may read the schema after it, and the oldest that may write it. So an older version
//! goes on, and may start, beside a newer one as long as the newer steps allow it: a step first
//! only adds (expand), and a later step takes away once no version uses what goes (contract).

use super::{error::OpenError, postgres::failed};
use crate::outage::pauses;
use sqlx::{Connection, PgConnection, Row as _, SqliteConnection};
use std::{error::Error, time::Duration};
use uuid::Uuid;

/// A migration. It is never changed once it is released.
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    /// Oldest version of hearken that may read the schema after this step.
    pub(super) min_reader: i64,
    /// Oldest version of hearken that may write the schema after this step.
    pub(super) min_writer: i64,
}

pub(super) const POSTGRES: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_start",
        sql: include_str!("../../migrations/postgres/0001_start.sql"),
        min_reader: 1,
        min_writer: 1,
    },
    Migration {
        version: 2,
        name: "0002_dead_letters",
        sql: include_str!("../../migrations/postgres/0002_dead_letters.sql"),
        min_reader: 2,
        min_writer: 2,
    },
];

pub(super) const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_start",
        sql: include_str!("../../migrations/sqlite/0001_start.sql"),
        min_reader: 1,
        min_writer: 1,
    },
    Migration {
        version: 2,
        name: "0002_dead_letters",
        sql: include_str!("../../migrations/sqlite/0002_dead_letters.sql"),
        min_reader: 2,
        min_writer: 2,
    },
];

const APPLIED: &str =
    "SELECT version, name, min_reader, min_writer FROM hearken_migration ORDER BY version";
const NOTE: &str =
    "INSERT INTO hearken_migration (version, name, min_reader, min_writer) VALUES ($1, $2, $3, $4)";
const IDENTIFY: &str = "INSERT INTO identity (id, cluster_id, log_id) VALUES (1, $1, $2)";
pub(super) const IDENTITY: &str = "SELECT cluster_id, log_id FROM identity";

/// Live nodes that may not write a schema whose oldest writer is `$1`.
const OUTDATED: &str = "SELECT id, software FROM node CROSS JOIN clock WHERE state <> 'gone' \
     AND last_seen >= now - 20000000 AND schema_step < $1 ORDER BY id";

const POSTGRES_NOTES: &str = "CREATE TABLE hearken_migration (version bigint PRIMARY KEY, name text NOT NULL, \
     min_reader bigint NOT NULL, min_writer bigint NOT NULL, \
     applied_at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)";
const SQLITE_NOTES: &str = "CREATE TABLE hearken_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, \
     min_reader INTEGER NOT NULL, min_writer INTEGER NOT NULL, \
     applied_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))) STRICT";

/// Takes the advisory lock under which PostgreSQL is migrated. Its number is "hearken" in ASCII,
/// which no other program is likely to use.
const LOCK: &str = "SELECT pg_advisory_xact_lock(29382302398371182)";

/// Newest step of the schema that this program knows.
pub(super) fn known_step() -> i64 {
    POSTGRES.last().map_or(0, |migration| migration.version)
}

/// Treatment of nodes that run a hearken which may not write the schema after the migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutdatedNodes {
    /// While such a node lives, no migration is applied.
    Spare,
    /// Such nodes write nothing from now on.
    CutOff,
}

/// The databases that are migrated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MigrationScope {
    /// Only a database without any table.
    EmptyOnly,
    /// Any database with pending migrations.
    Any(OutdatedNodes),
}

/// What a program does with the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// A migration that the database notes as applied.
struct Applied {
    version: i64,
    name: String,
    min_reader: i64,
    min_writer: i64,
}

/// The migrations that are not applied yet. Refuses a schema whose steps do not allow this program.
fn pending<'a>(
    applied: &[Applied],
    all: &'a [Migration],
    access: Access,
) -> Result<Vec<&'a Migration>, OpenError> {
    let known = all.last().map_or(0, |migration| migration.version);
    let needs = |noted: &Applied| match access {
        Access::Read => noted.min_reader,
        Access::Write => noted.min_writer.max(noted.min_reader),
    };
    let needed = applied.iter().map(needs).max().unwrap_or(0);
    if let Some(newest) = applied.last().filter(|_| needed > known) {
        let (name, found) = (newest.name.clone(), newest.version);
        return Err(OpenError::NewerSchema { name, found, needed, known });
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
            .map(|row| Applied {
                version: row.get("version"),
                name: row.get("name"),
                min_reader: row.get("min_reader"),
                min_writer: row.get("min_writer"),
            })
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
            let note = note.bind(migration.min_reader).bind(migration.min_writer);
            note.execute(&mut *$tx).await.map_err(failed())?;
        }
        if $applied.is_empty() {
            let identity = sqlx::query(IDENTIFY).bind(Uuid::new_v4()).bind(Uuid::new_v4());
            identity.execute(&mut *$tx).await.map_err(failed)?;
        }
    }};
}

/// How often a migration is tried while other programs use the tables.
const TRIES: u32 = 30;

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Migrates PostgreSQL. Nodes that start together wait for each other. Returns the names of the
/// applied migrations.
///
/// A migration waits two seconds for a lock on a table, then lets the others go on, and tries
/// again: every statement of other programs on the table waits behind the migration meanwhile.
pub(super) async fn postgres(
    session: &mut PgConnection,
    scope: MigrationScope,
) -> Result<Vec<String>, OpenError> {
    let mut pauses = pauses(Duration::from_millis(200), LONGEST_PAUSE);
    for _ in 0..TRIES {
        match migrate_once(session, scope).await {
            Err(error) if lacks_lock(&error) => {
                let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
                tracing::info!("another program uses the tables; the migration tries again");
                tokio::time::sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
    Err(OpenError::TablesInUse { tries: TRIES })
}

/// Whether a migration failed because it did not get a lock in time.
fn lacks_lock(error: &OpenError) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(sqlx::Error::Database(error)) = error.downcast_ref::<sqlx::Error>() {
            return error.code().as_deref() == Some(LOCK_NOT_AVAILABLE);
        }
        next = error.source();
    }
    false
}

async fn migrate_once(
    session: &mut PgConnection,
    scope: MigrationScope,
) -> Result<Vec<String>, OpenError> {
    let mut tx = session.begin().await.map_err(failed)?;
    sqlx::raw_sql("SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = 0")
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    sqlx::query(LOCK).execute(&mut *tx).await.map_err(failed)?;
    let FoundSchema { noted, tables, applied } = find_schema(&mut tx).await?;
    let pending = pending(&applied, POSTGRES, Access::Write)?;
    let names = names_of(&pending);
    if names.is_empty() {
        return Ok(names);
    }
    if scope == MigrationScope::EmptyOnly && tables > 0 {
        return Err(OpenError::PendingMigrations { pending: names });
    }
    if scope == MigrationScope::Any(OutdatedNodes::Spare) && noted {
        spare_nodes(&mut tx, &pending).await?;
    }
    if !noted {
        let made = sqlx::query(POSTGRES_NOTES).execute(&mut *tx).await;
        made.map_err(migration_failed("of the list of migrations"))?;
    }
    apply!(tx, pending, applied);
    tx.commit().await.map_err(failed)?;
    Ok(names)
}

/// Refuses migrations after which a live node may not write any more.
async fn spare_nodes(session: &mut PgConnection, pending: &[&Migration]) -> Result<(), OpenError> {
    let needed = pending.iter().map(|migration| migration.min_writer).max().unwrap_or(0);
    let rows = sqlx::query(OUTDATED).bind(needed).fetch_all(session).await.map_err(failed)?;
    let nodes: Vec<String> = rows
        .iter()
        .map(|row| {
            format!("{} (hearken {})", row.get::<&str, _>("id"), row.get::<&str, _>("software"))
        })
        .collect();
    if nodes.is_empty() { Ok(()) } else { Err(OpenError::LiveNodes { nodes: nodes.join(", ") }) }
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
    let pending = pending(&applied, POSTGRES, Access::Read)?;
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
    let pending = pending(&applied, SQLITE, Access::Write)?;
    let names = names_of(&pending);
    apply!(tx, pending, applied);
    tx.commit().await.map_err(failed)?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(version: i64, name: &str, min_reader: i64, min_writer: i64) -> Applied {
        Applied { version, name: name.to_owned(), min_reader, min_writer }
    }

    #[test]
    fn a_newer_schema_is_used_as_far_as_its_steps_allow() {
        let (start, letters) = (noted(1, "0001_start", 1, 1), noted(2, "0002_dead_letters", 2, 2));
        let known = POSTGRES.last().unwrap().version;
        let may = |min_reader, min_writer, access| {
            let later = noted(known + 5, "0007_later", min_reader, min_writer);
            let start = noted(start.version, &start.name, 1, 1);
            let letters = noted(letters.version, &letters.name, 2, 2);
            pending(&[start, letters, later], POSTGRES, access)
        };
        for access in [Access::Read, Access::Write] {
            assert!(may(known, known, access).unwrap().is_empty());
        }
        assert!(may(known, known + 5, Access::Read).unwrap().is_empty());
        for (min_reader, access) in [(known, Access::Write), (known + 5, Access::Read)] {
            let Err(OpenError::NewerSchema { name, needed, .. }) =
                may(min_reader, known + 5, access)
            else {
                panic!("the schema was accepted");
            };
            assert_eq!((name.as_str(), needed), ("0007_later", known + 5));
        }
    }

    #[test]
    fn no_step_locks_out_the_version_that_makes_it() {
        for migration in POSTGRES.iter().chain(SQLITE) {
            let Migration { version, min_reader, min_writer, .. } = *migration;
            assert!(min_reader <= min_writer && min_writer <= version, "{}", migration.name);
        }
    }

    #[test]
    fn both_databases_have_the_same_migrations_in_order() {
        let names = |all: &[Migration]| all.iter().map(|m| (m.version, m.name)).collect::<Vec<_>>();
        assert_eq!(names(POSTGRES), names(SQLITE));
        assert!(POSTGRES.is_sorted_by(|a, b| a.version < b.version));
    }
}
