//! Opening PostgreSQL.

use super::error::{OpenError, StoreError};
use sqlx::{
    Connection, PgConnection, PgPool, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{str::FromStr, time::Duration};
use tokio::time::timeout;

/// Oldest version of PostgreSQL that hearken is tested with, as a `server_version_num`.
const OLDEST: i64 = 150_000;
const CONNECTIONS: u32 = 10;
const ACQUIRE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(10);

/// Settings of every session.
///
/// A statement ends before its caller gives up, and a wait for a lock ends sooner. A transaction
/// whose program is gone is undone. The keep-alives free locks of a dead host, such as the lock on
/// passes, within half a minute. The isolation is read committed, because an append relies on
/// seeing all events that were committed before its statement, and not only before its transaction.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; \
     SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '30s'; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

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
        sqlx::raw_sql(SESSION).execute(&mut session).await?;
        Ok(session)
    }

    /// A pool of sessions. No session is open yet.
    pub(super) fn pool(&self) -> PgPool {
        pool_options(CONNECTIONS).connect_lazy_with(self.options.clone())
    }

    /// A pool of one session, for a listener on notifications, which keeps its session.
    pub(super) fn single(&self) -> PgPool {
        pool_options(1).connect_lazy_with(self.options.clone())
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
        let code = match &error {
            sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
            _ => String::new(),
        };
        match code.as_str() {
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

fn pool_options(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .after_connect(|session, _| {
            Box::pin(async move { sqlx::raw_sql(SESSION).execute(session).await.map(drop) })
        })
        // The pool checks each returned session, and would wait for the answer as long as TCP does.
        // Without this limit, a silent network would take every session.
        .after_release(|session, _| {
            Box::pin(async move {
                match timeout(ACQUIRE, session.ping()).await {
                    Ok(answer) => answer.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
}

fn check_version(number: i64, found: String) -> Result<(), OpenError> {
    if number < OLDEST { Err(OpenError::OldServer { found }) } else { Ok(()) }
}

/// Classifies a driver's error while a store is opened.
pub(super) fn failed(error: sqlx::Error) -> OpenError {
    OpenError::Store(StoreError::from(super::failure::DriverFailure::from(error)))
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
