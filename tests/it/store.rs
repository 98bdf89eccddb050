//! The store, on both databases.

mod commands;
mod contract;
mod dead_letters;
mod dispatch_failures;
mod embedded;
mod faults;
mod leases;
mod log;
mod model;
mod opening;
mod retention;
mod shared;
mod tasks;

use crate::support::services;
use hearken::{
    domain::{
        command::Pending,
        event::{Audit, NodeRef, RecordedEvent, RosterEvent, Version},
        name::GroupName,
    },
    store::{AppendError, Store},
};
use sqlx::Connection as _;
use std::path::PathBuf;
use tempfile::TempDir;
use uuid::Uuid;

/// A store of a test's own, with a way past it.
pub(crate) struct Bench {
    pub(crate) store: Store,
    place: Place,
}

enum Place {
    Postgres { url: String },
    Sqlite { directory: TempDir },
}

impl Bench {
    pub(crate) async fn postgres() -> Self {
        let url = services::database().await;
        let store = Store::postgres(&url).await.expect("the database opens");
        Self { store, place: Place::Postgres { url } }
    }

    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let store = Store::sqlite(directory.path()).await.expect("the store opens");
        Self { store, place: Place::Sqlite { directory } }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres { .. })
    }

    pub(crate) fn url(&self) -> &str {
        match &self.place {
            Place::Postgres { url } => url,
            Place::Sqlite { .. } => panic!("SQLite has no URL"),
        }
    }

    fn file(directory: &TempDir) -> PathBuf {
        directory.path().join("hearken.db")
    }

    /// Runs statements as an administrator would by hand, past the store.
    pub(crate) async fn by_hand(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.place {
            Place::Postgres { url } => {
                let mut session = sqlx::PgConnection::connect(url).await?;
                sqlx::raw_sql(sql).execute(&mut session).await.map(drop)
            }
            Place::Sqlite { directory } => {
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(Self::file(directory));
                let mut session = sqlx::SqliteConnection::connect_with(&options).await?;
                sqlx::raw_sql(sql).execute(&mut session).await.map(drop)
            }
        }
    }

    /// Lets history be changed by hand.
    pub(crate) async fn disarm(&self) {
        let sql = if self.is_postgres() {
            "ALTER TABLE roster_event DISABLE TRIGGER ALL"
        } else {
            "DROP TRIGGER roster_event_no_update; DROP TRIGGER roster_event_no_delete"
        };
        self.by_hand(sql).await.expect("an administrator may do this");
    }
}

pub(crate) fn group(name: &str) -> GroupName {
    GroupName::parse(name).expect("a name")
}

/// An event that is told from others by its group.
pub(crate) fn event(name: &str) -> RosterEvent {
    RosterEvent::ListenerRemoved { group: group(name), pending: Pending::Drain }
}

/// An event with a listener in it.
pub(crate) fn added(name: &str) -> RosterEvent {
    let listener = serde_json::from_value(serde_json::json!({
        "group": name, "class": "log", "bus": "mailboxEvent", "configuration": {"level": 3, "é": ["x", null]},
    }));
    RosterEvent::ListenerAdded { listener: listener.expect("a listener"), generation: 2 }
}

pub(crate) fn audit(command_id: Uuid) -> Audit {
    Audit {
        actor: "alice".into(),
        node: NodeRef { id: "n1".into(), host: "host1".into() },
        reason: Some("because".into()),
        command_id,
        request_id: None,
    }
}

/// Appends one event as a command of its own.
pub(crate) async fn append(
    store: &Store,
    expected: Version,
    name: &str,
) -> Result<Vec<RecordedEvent>, AppendError> {
    store.append(expected, &[event(name)], &audit(Uuid::new_v4()), None).await
}

/// The whole history.
pub(crate) async fn history(store: &Store) -> Vec<RecordedEvent> {
    store.events_after(0, 1_000_000).await.expect("the history is whole")
}
