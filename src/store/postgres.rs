//! Opening PostgreSQL.

use super::error::{OpenError, StoreError};
use sqlx::{
    Connection, PgConnection, PgPool, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{str::FromStr, time::Duration};
use tokio::time::timeout;

/// The oldest server that is tested, as `server_version_num` has it.
const OLDEST: i64 = 150_000;
const CONNECTIONS: u32 = 10;
const ACQUIRE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(10);

/// What every session promises. A statement gives up before the caller does, a lock sooner, and a
/// transaction whose program went away is undone. The keep-alives free what a dead host holds,
/// such as the lock on passes, within half a minute. Read committed, since an append relies on
/// seeing what was committed before its statement, not before its transaction.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; \
     SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '30s'; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// How sessions are opened.
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

    /// A session of its own.
    pub(super) async fn one(&self) -> Result<PgConnection, sqlx::Error> {
        let mut session = PgConnection::connect_with(&self.options).await?;
        sqlx::raw_sql(SESSION).execute(&mut session).await?;
        Ok(session)
    }

    /// Sessions to share. Nothing is connected yet.
    pub(super) fn pool(&self) -> PgPool {
        pool_options(CONNECTIONS).connect_lazy_with(self.options.clone())
    }

    /// A pool of one, for what keeps its session.
    pub(super) fn single(&self) -> PgPool {
        pool_options(1).connect_lazy_with(self.options.clone())
    }

    /// A first session, with a diagnosis when there is none.
    pub(super) async fn first(&self) -> Result<PgConnection, OpenError> {
        let host = self.options.get_host();
        if self.options.get_socket().is_none() && !host.starts_with('/') {
            let found = tokio::net::lookup_host((host, self.options.get_port())).await;
            if let Err(source) = found {
                return Err(OpenError::UnknownHost { host: host.to_owned(), source });
            }
        }
        let mut session = match timeout(CONNECT, self.one()).await {
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
        // The pool asks a returned session whether it still works, and would wait for the answer
        // for as long as TCP does: every session would be taken when a network goes silent.
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

/// A driver's error while opening.
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
