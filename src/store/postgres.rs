//! Opening PostgreSQL.

use super::{
    doubt::Doubt,
    error::{OpenError, StoreError},
    failure::{DriverFailure, NO_CONNECTION_LEFT},
    schema_fence::SchemaFence,
};
use sqlx::{
    Connection, PgConnection, PgPool, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{str::FromStr, time::Duration};
use tokio::{sync::Mutex, time::timeout};

/// Oldest version of PostgreSQL that hearken is tested with, as a `server_version_num`.
const OLDEST: i64 = 150_000;

/// Connections of a node to PostgreSQL, when no setting says otherwise. Eight nodes then have 64,
/// and PostgreSQL allows 100 by default.
pub(super) const DEFAULT_CONNECTIONS: u32 = 8;

/// Fewest connections that a node can work with.
const FEWEST_CONNECTIONS: u32 = 4;

/// Connections that are not in the pool: one listens for the doorbell, and one finds out why the
/// pool could not open a connection.
const OUTSIDE_POOL: u32 = 2;

/// Longest wait for a session of the pool. With [`EXPLAIN`] it is shorter than the limit of a
/// health check, so that health shows the cause.
const POOL_WAIT: Duration = Duration::from_secs(3);

/// Longest time for the check of a session.
const ACQUIRE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(10);

/// Settings of every session.
///
/// A statement ends before its caller gives up, and a wait for a lock ends sooner. A transaction
/// whose program is gone is undone. The keep-alives free the row locks of a dead host within half a
/// minute. The isolation is read committed, because an append relies on
/// seeing all events that were committed before its statement, and not only before its transaction.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; \
     SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '30s'; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// Whether the session may write. It is `on` on a standby, and where an administrator made the
/// server, the database or the role read-only.
const READ_ONLY: &str = "SHOW transaction_read_only";

/// Idle time after which a session must answer before it is used. A session that was used a moment
/// ago answered when it was returned.
const UNCHECKED: Duration = Duration::from_secs(1);

/// Idle time after which a session must show that it may write before it is used. Each look is one
/// statement.
const UNPROVEN: Duration = Duration::from_secs(30);

/// Longest time for finding out why no session can be opened.
const EXPLAIN: Duration = Duration::from_secs(1);

/// Reason why hearken does not use a session that could be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server takes no changes: it is a standby, or default_transaction_read_only is on; point the database URL at the primary server. hearken changes nothing on the broker until it can write, and connects again by itself"
)]
pub(super) struct ReadOnlySession;

/// A node's connections to its PostgreSQL server.
pub(super) struct DatabaseServer {
    pub(super) pool: PgPool,
    pub(super) doubt: Doubt,
    pub(super) schema_fence: SchemaFence,
    sessions: Sessions,
    /// Held while one caller finds out why the pool could not open a session.
    explaining: Mutex<()>,
}

impl DatabaseServer {
    /// Server with at most this number of connections in all. No connection is open yet.
    pub(super) fn new(sessions: Sessions, connections: u32) -> Self {
        let pooled = connections.max(FEWEST_CONNECTIONS) - OUTSIDE_POOL;
        let doubt = Doubt::default();
        let pool = pool_options(pooled, &doubt).connect_lazy_with(sessions.options.clone());
        Self {
            pool,
            doubt,
            schema_fence: SchemaFence::default(),
            sessions,
            explaining: Mutex::new(()),
        }
    }

    /// Why the pool gave no session in time. The pool itself does not tell why it could not
    /// connect.
    pub(super) async fn explain(&self) -> DriverFailure {
        let Ok(_alone) = self.explaining.try_lock() else {
            return sqlx::Error::PoolTimedOut.into();
        };
        match timeout(EXPLAIN, self.sessions.open()).await {
            Ok(Ok(session)) => {
                let _ = session.close().await;
                sqlx::Error::PoolTimedOut.into()
            }
            Ok(Err(error)) => error.into(),
            Err(_) => DriverFailure::timeout(EXPLAIN),
        }
    }
}

/// Opens sessions of one database.
#[derive(Clone)]
pub(super) struct Sessions {
    options: PgConnectOptions,
    address: String,
}

impl Sessions {
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            let source = "it does not start with postgres:// or postgresql://".into();
            return Err(OpenError::InvalidUrl { source });
        }
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| OpenError::InvalidUrl { source: error.into() })?
            .application_name("hearken");
        let address = match options.get_socket() {
            Some(path) => path.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Ok(Self { options, address })
    }

    /// Opens a single session.
    pub(super) async fn open(&self) -> Result<PgConnection, sqlx::Error> {
        let mut session = PgConnection::connect_with(&self.options).await?;
        prepare(&mut session).await?;
        Ok(session)
    }

    /// A pool of one session, for a listener on notifications, which keeps its session.
    pub(super) fn single(&self) -> PgPool {
        pool_options(1, &Doubt::default()).connect_lazy_with(self.options.clone())
    }

    /// Opens the first session. An error says what to check.
    pub(super) async fn first(&self) -> Result<PgConnection, OpenError> {
        let host = self.options.get_host();
        if self.options.get_socket().is_none() && !host.starts_with('/') {
            let found = tokio::net::lookup_host((host, self.options.get_port())).await;
            if let Err(source) = found {
                return Err(OpenError::UnknownHost { host: host.to_owned(), source });
            }
        }
        let mut session = match timeout(CONNECT, self.open()).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return Err(self.diagnose(error)),
            Err(_) => {
                let source = format!("no answer within {} seconds", CONNECT.as_secs()).into();
                return Err(OpenError::Unreachable { address: self.address.clone(), source });
            }
        };
        let row = sqlx::query("SELECT current_setting('server_version_num')::bigint AS number, current_setting('server_version') AS version")
            .fetch_one(&mut session)
            .await
            .map_err(|error| self.diagnose(error))?;
        check_version(row.get("number"), row.get("version"))?;
        Ok(session)
    }

    fn diagnose(&self, error: sqlx::Error) -> OpenError {
        let address = self.address.clone();
        if let sqlx::Error::Configuration(refusal) = &error
            && refusal.is::<ReadOnlySession>()
        {
            return OpenError::ReadOnly { address };
        }
        let code = match &error {
            sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
            _ => String::new(),
        };
        match code.as_str() {
            NO_CONNECTION_LEFT => OpenError::NoConnectionLeft { address, source: error.into() },
            "28P01" | "28000" => OpenError::Credentials {
                address,
                user: self.options.get_username().to_owned(),
                source: error.into(),
            },
            "3D000" => OpenError::UnknownDatabase {
                address,
                database: self.options.get_database().unwrap_or_default().to_owned(),
            },
            _ => OpenError::Unreachable { address, source: error.into() },
        }
    }
}

/// Options of a pool that hands out only sessions that answer and may write.
///
/// Most checks are a `Sync` of the protocol, which the server answers without running a statement.
fn pool_options(connections: u32, doubt: &Doubt) -> PgPoolOptions {
    let doubt = doubt.clone();
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(POOL_WAIT)
        .after_connect(|session, _| Box::pin(prepare(session)))
        .test_before_acquire(false)
        .before_acquire(move |session, session_age| {
            let idle = session_age.idle_for;
            let must_prove = idle >= UNPROVEN || doubt.stands();
            Box::pin(async move {
                if must_prove {
                    in_time(is_writable(session)).await
                } else if idle >= UNCHECKED {
                    in_time(answers(session)).await
                } else {
                    Ok(true)
                }
            })
        })
        // The caller does not wait for this check.
        .after_release(|session, _| Box::pin(in_time(answers(session))))
}

/// Sets a new session up. Refuses a session that cannot write.
async fn prepare(session: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SESSION).execute(&mut *session).await?;
    if is_writable(session).await? {
        Ok(())
    } else {
        Err(sqlx::Error::Configuration(Box::new(ReadOnlySession)))
    }
}

async fn is_writable(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = sqlx::raw_sql(READ_ONLY).fetch_one(session).await?;
    Ok(row.try_get::<String, _>(0)? == "off")
}

/// Makes the session answer, without a statement.
async fn answers(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    session.ping().await?;
    Ok(true)
}

/// Limits a check of a session. The limit is shorter than TCP's: otherwise a silent network would
/// take every session.
async fn in_time(
    check: impl Future<Output = Result<bool, sqlx::Error>>,
) -> Result<bool, sqlx::Error> {
    timeout(ACQUIRE, check).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn check_version(number: i64, found: String) -> Result<(), OpenError> {
    if number < OLDEST { Err(OpenError::OldServer { found }) } else { Ok(()) }
}

/// Classifies a driver's error while a store is opened.
pub(super) fn failed(error: sqlx::Error) -> OpenError {
    OpenError::Store(StoreError::from(DriverFailure::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_older_than_fifteen_is_refused_by_its_version() {
        let error = check_version(140_012, "14.12".into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server runs PostgreSQL 14.12; hearken needs PostgreSQL 15 or newer"
        );
        assert!(check_version(150_000, "15.0".into()).is_ok());
    }

    #[test]
    fn an_invalid_url_is_refused_without_its_password() {
        for url in ["mysql://u:sesame@h/d", "postgres://u:sesame@h:port/d", "u:sesame@h"] {
            let Err(error) = Sessions::parse(url) else { panic!("{url} was accepted") };
            let text = format!("{error} {:?}", std::error::Error::source(&error));
            assert!(!text.contains("sesame"), "{text}");
        }
    }
}
