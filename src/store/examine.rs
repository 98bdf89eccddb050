//! Examining a cluster's database without changing it.

use super::{
    Store,
    error::OpenError,
    migrations::{self, IDENTITY, Schema},
    postgres::{Sessions, failed},
};
use crate::clock;
use sqlx::{Connection as _, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

/// Facts about a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Version of the server.
    pub server: String,
    /// State of the schema.
    pub schema: Schema,
    /// Identity of the cluster, once the schema exists.
    pub cluster: Option<Uuid>,
    /// Time by the server's clock.
    pub clock: OffsetDateTime,
}

impl Store {
    /// Examines a cluster's database. Changes nothing.
    ///
    /// # Errors
    /// As [`Store::postgres`], except that an old schema is not an error.
    pub async fn examine_postgres(url: &str) -> Result<Examined, OpenError> {
        crate::tls::init();
        let mut session = Sessions::parse(url)?.first().await?;
        let schema = migrations::examine(&mut session).await?;
        let look = "SELECT current_setting('server_version') AS server, \
                    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros";
        let row = sqlx::query(look).fetch_one(&mut session).await.map_err(failed)?;
        let cluster = match schema {
            Schema::Current => {
                let identity = sqlx::query(IDENTITY).fetch_one(&mut session).await;
                Some(identity.map_err(failed)?.get("cluster_id"))
            }
            Schema::Empty | Schema::Pending(_) => None,
        };
        let _ = session.close().await;
        let clock = clock::from_micros(row.get("micros"));
        Ok(Examined { server: row.get("server"), schema, cluster, clock })
    }
}
