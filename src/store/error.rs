//! What can go wrong with a database, in words for whoever can mend it.

use crate::domain::event::Version;
use std::{error::Error, io, path::PathBuf};

type Source = Box<dyn Error + Send + Sync>;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be reached, was too busy, or its connection went away. Whether a
    /// change took effect is unknown.
    #[error("the database is out of reach")]
    Unavailable {
        /// Why.
        #[source]
        source: Source,
    },
    /// The database holds something that hearken did not write.
    #[error("the database holds something that hearken did not write: {what}")]
    Corrupt {
        /// What, and where.
        what: String,
    },
    /// The database refused a statement: its schema was changed, or this is a defect of hearken.
    #[error("the database refused a statement{}", .statement.as_deref().map(|name| format!(" ({name})")).unwrap_or_default())]
    Refused {
        /// Its name, where it is known.
        statement: Option<String>,
        /// The database's own words.
        #[source]
        source: Source,
    },
    /// A text holds the character NUL, which PostgreSQL cannot keep.
    #[error("a text holds the character NUL (\\u0000), which cannot be stored; leave it out")]
    Unstorable,
    /// Versions of the roster are dense, and one is not there.
    #[error(
        "the roster's history has a hole: version {expected} should follow and version {found} does; somebody changed the database by hand or restored a part of it"
    )]
    Hole {
        /// What should come next.
        expected: Version,
        /// What does.
        found: Version,
    },
    /// The database's history is not the one that was followed up to this version.
    #[error(
        "the database holds another history than the one followed up to version {version}: it was restored or replaced"
    )]
    Diverged {
        /// The version up to which the other history was followed.
        version: Version,
    },
    /// An event that a newer hearken wrote.
    #[error(
        "version {version} of the roster is an event {event_type} of schema {schema_version}, which this hearken does not know; upgrade it"
    )]
    UnknownEvent {
        /// Its position.
        version: Version,
        /// Its stable name.
        event_type: String,
        /// Its schema's version.
        schema_version: i64,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not one.
    #[error(
        "the database URL is not valid; it looks like postgres://user:password@host:5432/database"
    )]
    InvalidUrl {
        /// What is wrong with it.
        #[source]
        source: Source,
    },
    /// The host has no address.
    #[error("the database host {host:?} is not known; check the host in the database URL")]
    UnknownHost {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing that speaks PostgreSQL answers there.
    #[error(
        "no database answers at {address}; check that PostgreSQL runs, and the host and port in the database URL"
    )]
    Unreachable {
        /// The address tried.
        address: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server does not let this user in.
    #[error(
        "the database at {address} does not accept user {user:?} with this password; check both in the database URL"
    )]
    Credentials {
        /// The address.
        address: String,
        /// The user.
        user: String,
        /// The server's words.
        #[source]
        source: Source,
    },
    /// The server has no such database.
    #[error(
        "the server at {address} has no database {database:?}; create it, or check the name in the database URL"
    )]
    UnknownDatabase {
        /// The address.
        address: String,
        /// The database.
        database: String,
    },
    /// The server is older than what hearken is tested with.
    #[error("the server runs PostgreSQL {found}; hearken needs PostgreSQL 15 or newer")]
    OldServer {
        /// Its version.
        found: String,
    },
    /// The schema is older than this hearken.
    #[error(
        "the database lacks {} of hearken's migrations ({}); run `hearken migrate --database-url …` first", .pending.len(), .pending.join(", ")
    )]
    PendingMigrations {
        /// Their names.
        pending: Vec<String>,
    },
    /// The schema is newer than this hearken.
    #[error(
        "the database was migrated by a newer hearken (it has {name}, version {found}; this one knows {known}); upgrade hearken"
    )]
    NewerSchema {
        /// The newest migration's name.
        name: String,
        /// Its version.
        found: i64,
        /// The newest version that this hearken knows.
        known: i64,
    },
    /// A migration failed. Nothing of it was kept.
    #[error("migration {name} failed, and nothing was changed")]
    Migration {
        /// Its name.
        name: String,
        /// The database's words.
        #[source]
        source: Source,
    },
    /// The data directory cannot be used.
    #[error("the data directory {} cannot be used", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has the data directory.
    #[error(
        "the data directory {} is in use by {holder}; stop that process, or choose another directory", .directory.display()
    )]
    DirectoryInUse {
        /// The directory.
        directory: PathBuf,
        /// The process, as it signed the lock.
        holder: String,
    },
    /// The file in the data directory is somebody else's.
    #[error(
        "{} is not a database of hearken's; move it away, or choose another data directory", .file.display()
    )]
    NotOurs {
        /// The file.
        file: PathBuf,
    },
    /// The database answered, and then failed.
    #[error("the database could not be read")]
    Store(#[from] StoreError),
}
