//! Errors of the databases, in words for the operator who can repair the cause.

use super::lease::LeaseName;
use crate::domain::{
    event::Version,
    name::{BusName, GroupName},
};
use std::{error::Error, io, path::PathBuf};

type Source = Box<dyn Error + Send + Sync>;

/// Reason why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be reached, was too busy, or its connection was lost. It is not known
    /// whether a change took effect.
    #[error("the database is out of reach")]
    Unavailable {
        /// Cause.
        #[source]
        source: Source,
    },
    /// This process does not hold the lease any more. Nothing was written.
    #[error(
        "this node lost its lease on {lease}, because it was not renewed in time; another node may do this work by now"
    )]
    LeaseLost {
        /// The lease.
        lease: LeaseName,
    },
    /// The server that was read does not know what this node wrote before. Nothing was decided.
    #[error(
        "the database that was read does not know what this node has just written: a standby that lags, or another server; point the database URL at the primary server alone"
    )]
    StaleRead,
    /// The database holds something that hearken did not write.
    #[error("the database holds something that hearken did not write: {what}")]
    Corrupt {
        /// The unexpected content, and its place.
        what: String,
    },
    /// The database refused a statement: its schema was changed, or this is a defect of hearken.
    #[error("the database refused a statement{}", .statement.as_deref().map(|name| format!(" ({name})")).unwrap_or_default())]
    Refused {
        /// Name of the statement, if it is known.
        statement: Option<String>,
        /// Error of the database.
        #[source]
        source: Source,
    },
    /// A newer hearken migrated the database, and this program may not write it any more.
    #[error(
        "a newer hearken migrated the database to a schema that this program may not write (it knows step {known} of the schema, and writers must know step {needed}); this node writes nothing any more: upgrade hearken on this node"
    )]
    SchemaTooNew {
        /// Newest step that this program knows.
        known: i64,
        /// Step that a program must know to write.
        needed: i64,
    },
    /// A text contains the character NUL, which PostgreSQL cannot store.
    #[error("a text contains the character NUL (\\u0000), which cannot be stored; leave it out")]
    Unstorable,
    /// A live node runs a version of hearken that cannot read the event of the command.
    #[error(
        "node {node} runs hearken {software}, which does not know this command; nothing was changed: upgrade or stop that node, and send the command again"
    )]
    OutdatedNode {
        /// The node.
        node: String,
        /// Its version of hearken.
        software: String,
    },
    /// A group has as many dead letters as the quota allows.
    #[error(
        "group {group} has as many dead letters on bus {bus} as the quota allows; redeliver or delete some, or raise --dead-letter-quota"
    )]
    DeadLettersFull {
        /// Bus of the entries.
        bus: BusName,
        /// Group of the entries.
        group: GroupName,
    },
    /// A version is missing in the roster's history.
    #[error(
        "the roster's history has a hole: version {expected} is missing before version {found}; the database was changed by hand, or only a part of it was restored"
    )]
    Hole {
        /// The missing version.
        expected: Version,
        /// The version that was found instead.
        found: Version,
    },
    /// The database holds another history than the history that this node read.
    #[error(
        "the database holds another history than the history that this node read up to version {version}: the database was restored or replaced"
    )]
    Diverged {
        /// Version up to which this node read the other history.
        version: Version,
    },
    /// The log got another identity, and still holds what this node has read.
    #[error(
        "an operator gave the log a new identity (hearken adopt); this node closes its connections and starts again with that identity, by itself"
    )]
    Adopted,
    /// The database belongs to another cluster, or to another history of this cluster.
    #[error(
        "the database has another identity than before, and does not hold the history that this node read up to version {version}: it was replaced; this node stays at version {version} and changes nothing; if the database is the right one, restart this node"
    )]
    AnotherLog {
        /// Version up to which this node read the other history.
        version: Version,
    },
    /// The database holds the beginning of the history that this node read.
    #[error(
        "the roster's history in the database ends at version {head}, and this node has read it up to version {version}: the database is a standby that lags, or an old copy was restored; this node stays at version {version} and changes nothing until the database has that version again"
    )]
    Shorter {
        /// Newest version in the database.
        head: Version,
        /// Version up to which this node read the history.
        version: Version,
    },
    /// The roster has an event that a newer version of hearken wrote.
    #[error(
        "version {version} of the roster is an event {event_type} of schema {schema_version}, which this version of hearken does not know; upgrade hearken"
    )]
    UnknownEvent {
        /// Version of the event.
        version: Version,
        /// Stable name of the event's type.
        event_type: String,
        /// Version of the payload's schema.
        schema_version: i64,
    },
}

impl StoreError {
    /// Whether the same call may succeed later by itself.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Reason why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server takes no changes.
    #[error(
        "the database at {address} takes no changes: the server is a standby, or default_transaction_read_only is on; use the URL of the primary server"
    )]
    ReadOnly {
        /// Host and port.
        address: String,
    },
    /// The server has no connection left.
    #[error(
        "PostgreSQL at {address} has no connection left; raise its max_connections, or lower --database-connections of the nodes"
    )]
    NoConnectionLeft {
        /// Host and port.
        address: String,
        /// Error of the server.
        #[source]
        source: Source,
    },
    /// Nodes live that may not write the migrated schema.
    #[error(
        "after the pending migrations, these nodes could not write any more: {nodes}; upgrade or stop them first, or give --yes to cut them off. Nothing was changed"
    )]
    LiveNodes {
        /// The nodes, with their versions of hearken.
        nodes: String,
    },
    /// The URL is not a database URL.
    #[error(
        "the database URL is not valid; it looks like postgres://user:password@host:5432/database"
    )]
    InvalidUrl {
        /// What is wrong with the URL.
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
    /// No PostgreSQL server answers at the address.
    #[error(
        "no database answers at {address}; check that PostgreSQL runs, and the host and port in the database URL"
    )]
    Unreachable {
        /// The address of the server.
        address: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// The server does not accept the user.
    #[error(
        "the database at {address} does not accept user {user:?} with this password; check both in the database URL"
    )]
    Credentials {
        /// The address of the server.
        address: String,
        /// The user.
        user: String,
        /// Error of the server.
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
    /// The server is older than the oldest version that hearken is tested with.
    #[error("the server runs PostgreSQL {found}; hearken needs PostgreSQL 15 or newer")]
    OldServer {
        /// Version of the server.
        found: String,
    },
    /// The schema is older than this version of hearken.
    #[error(
        "the database lacks {} of hearken's migrations ({}); run `hearken migrate --database-url …` first", .pending.len(), .pending.join(", ")
    )]
    PendingMigrations {
        /// Names of the missing migrations.
        pending: Vec<String>,
    },
    /// The schema is newer than this version of hearken can use.
    #[error(
        "a newer version of hearken migrated the database (it has {name}, step {found}); that schema is for versions that know step {needed} or later, and this version knows {known}; upgrade hearken"
    )]
    NewerSchema {
        /// Name of the newest migration.
        name: String,
        /// Step of the newest migration.
        found: i64,
        /// Oldest step that a version must know to use the schema.
        needed: i64,
        /// Newest step that this version of hearken knows.
        known: i64,
    },
    /// A lock on a table could not be taken in time, because another program used the table.
    #[error(
        "the tables of the database are in use by another program, so migrations could not be applied in {tries} attempts, and nothing was changed; end long transactions, and try again"
    )]
    TablesInUse {
        /// Number of attempts.
        tries: u32,
    },
    /// A migration failed. Nothing was changed.
    #[error("migration {name} failed, and nothing was changed")]
    Migration {
        /// Name of the migration.
        name: String,
        /// Error of the database.
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
    /// Another process uses the data directory.
    #[error(
        "the data directory {} is in use by {holder}; stop that process, or choose another directory", .directory.display()
    )]
    DirectoryInUse {
        /// The directory.
        directory: PathBuf,
        /// The process that holds the lock.
        holder: String,
    },
    /// The file in the data directory belongs to another program.
    #[error(
        "{} is not a database of hearken; move it away, or choose another data directory", .file.display()
    )]
    NotOurs {
        /// The file.
        file: PathBuf,
    },
    /// The database answered first, and then failed.
    #[error("the database could not be read")]
    Store(#[from] StoreError),
}
