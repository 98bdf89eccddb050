//! The schema's steps, forward only. Each is applied in one transaction with the note that it was.

use super::{error::OpenError, examine::Schema, postgres::failed};
use sqlx::{Connection, PgConnection, Row as _, SqliteConnection};
use uuid::Uuid;

/// A step. Never changed once released.
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

/// Any number that no other program is likely to lock: "hearken" in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(29382302398371182)";

/// When to migrate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Only a database without any table.
    Empty,
    /// Whatever is pending.
    Asked,
}

/// The steps that are not applied yet. Refuses a schema that knows more than this program.
fn pending<'a>(
    applied: &[(i64, String)],
    all: &'a [Migration],
) -> Result<Vec<&'a Migration>, OpenError> {
    let known = all.last().map_or(0, |migration| migration.version);
    if let Some((found, name)) = applied.last().filter(|(version, _)| *version > known) {
        return Err(OpenError::NewerSchema { name: name.clone(), found: *found, known });
    }
    let missing = |migration: &&Migration| !applied.iter().any(|(v, _)| *v == migration.version);
    Ok(all.iter().filter(missing).collect())
}

fn step_failed(name: &str) -> impl FnOnce(sqlx::Error) -> OpenError {
    let name = name.to_owned();
    |error| OpenError::Migration { name, source: error.into() }
}

/// Migrates PostgreSQL. Nodes that start together wait for each other. Returns what was applied.
pub(super) async fn postgres(
    session: &mut PgConnection,
    when: When,
) -> Result<Vec<String>, OpenError> {
    let mut tx = session.begin().await.map_err(failed)?;
    sqlx::raw_sql("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0")
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    sqlx::query(LOCK).execute(&mut *tx).await.map_err(failed)?;
    let Found { ours, tables, applied } = look(&mut tx).await?;
    let pending = pending(&applied, POSTGRES)?;
    let names: Vec<String> = pending.iter().map(|step| step.name.to_owned()).collect();
    if names.is_empty() {
        return Ok(names);
    }
    if when == When::Empty && tables > 0 {
        return Err(OpenError::PendingMigrations { pending: names });
    }
    if !ours {
        let made = sqlx::query(POSTGRES_NOTES).execute(&mut *tx).await;
        made.map_err(step_failed("of the list of migrations"))?;
    }
    for step in pending {
        let failed = || step_failed(step.name);
        sqlx::raw_sql(step.sql).execute(&mut *tx).await.map_err(failed())?;
        let note = sqlx::query(NOTE).bind(step.version).bind(step.name);
        note.execute(&mut *tx).await.map_err(failed())?;
    }
    if applied.is_empty() {
        let identity = sqlx::query(IDENTIFY).bind(Uuid::new_v4()).bind(Uuid::new_v4());
        identity.execute(&mut *tx).await.map_err(failed)?;
    }
    tx.commit().await.map_err(failed)?;
    Ok(names)
}

/// What a PostgreSQL database holds of ours.
struct Found {
    /// Whether it notes migrations.
    ours: bool,
    /// How many tables it has, whosever they are.
    tables: i64,
    applied: Vec<(i64, String)>,
}

async fn look(session: &mut PgConnection) -> Result<Found, OpenError> {
    let look = "SELECT to_regclass('hearken_migration') IS NOT NULL AS ours, \
                (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()) AS tables";
    let row = sqlx::query(look).fetch_one(&mut *session).await.map_err(failed)?;
    let (ours, tables): (bool, i64) = (row.get("ours"), row.get("tables"));
    let applied = if ours {
        let rows = sqlx::query(APPLIED).fetch_all(session).await.map_err(failed)?;
        rows.iter().map(|row| (row.get("version"), row.get("name"))).collect()
    } else {
        Vec::new()
    };
    Ok(Found { ours, tables, applied })
}

/// The state of PostgreSQL's schema, read without changing anything.
pub(super) async fn examine(session: &mut PgConnection) -> Result<Schema, OpenError> {
    let Found { tables, applied, .. } = look(session).await?;
    let pending = pending(&applied, POSTGRES)?;
    Ok(match pending.as_slice() {
        [] => Schema::Current,
        _ if tables == 0 => Schema::Empty,
        steps => Schema::Pending(steps.iter().map(|step| step.name.to_owned()).collect()),
    })
}

/// Migrates SQLite, which this process has to itself. Returns what was applied.
pub(super) async fn sqlite(session: &mut SqliteConnection) -> Result<Vec<String>, OpenError> {
    let mut tx = session.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let look = "SELECT count(*) AS tables FROM sqlite_schema WHERE name = 'hearken_migration'";
    let row = sqlx::query(look).fetch_one(&mut *tx).await.map_err(failed)?;
    let ours = row.get::<i64, _>("tables") > 0;
    let applied = if ours {
        let rows = sqlx::query(APPLIED).fetch_all(&mut *tx).await.map_err(failed)?;
        rows.iter().map(|row| (row.get("version"), row.get("name"))).collect()
    } else {
        sqlx::query(SQLITE_NOTES).execute(&mut *tx).await.map_err(failed)?;
        Vec::new()
    };
    let pending = pending(&applied, SQLITE)?;
    let names = pending.iter().map(|step| step.name.to_owned()).collect();
    for step in pending {
        let failed = || step_failed(step.name);
        sqlx::raw_sql(step.sql).execute(&mut *tx).await.map_err(failed())?;
        let note = sqlx::query(NOTE).bind(step.version).bind(step.name);
        note.execute(&mut *tx).await.map_err(failed())?;
    }
    if applied.is_empty() {
        let identity = sqlx::query(IDENTIFY).bind(Uuid::new_v4()).bind(Uuid::new_v4());
        identity.execute(&mut *tx).await.map_err(failed)?;
    }
    tx.commit().await.map_err(failed)?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_knows_more_is_refused_with_its_newest_step() {
        let applied = [(1, "0001_start".to_owned()), (7, "0007_later".to_owned())];
        let Err(OpenError::NewerSchema { name, found: 7, known: 2 }) = pending(&applied, POSTGRES)
        else {
            panic!("a newer schema was accepted");
        };
        assert_eq!(name, "0007_later");
    }

    #[test]
    fn both_databases_have_the_same_steps_in_order() {
        let names = |all: &[Migration]| all.iter().map(|m| (m.version, m.name)).collect::<Vec<_>>();
        assert_eq!(names(POSTGRES), names(SQLITE));
        assert!(POSTGRES.is_sorted_by(|a, b| a.version < b.version));
    }
}
