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
    /// Prefix of the cluster, once a node has started.
    pub prefix: Option<String>,
    /// Time by the server's clock.
    pub clock: OffsetDateTime,
    /// Number of connections that the server has for users without special rights.
    pub connections: i64,
    /// Ids of the nodes that live, once the schema exists.
    pub live_nodes: Vec<String>,
}

const LOOK: &str = "SELECT current_setting('server_version') AS server, \
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros, \
    current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint \
    - COALESCE(current_setting('reserved_connections', true)::bigint, 0) AS connections";
const PREFIX: &str = "SELECT settings->>'prefix' AS prefix FROM identity";
const LIVE: &str = "SELECT id FROM node CROSS JOIN clock \
    WHERE state <> 'gone' AND last_seen >= now - 20000000 ORDER BY id";

impl Store {
    /// Examines a cluster's database. Changes nothing.
    ///
    /// # Errors
    /// As [`Store::postgres`], except that an old schema is not an error.
    pub async fn examine_postgres(url: &str) -> Result<Examined, OpenError> {
        crate::tls::init();
        let mut session = Sessions::parse(url)?.first().await?;
        let schema = migrations::examine(&mut session).await?;
        let row = sqlx::query(LOOK).fetch_one(&mut session).await.map_err(failed)?;
        let (mut cluster, mut prefix, mut live_nodes) = (None, None, Vec::new());
        if schema == Schema::Current {
            let identity = sqlx::query(IDENTITY).fetch_one(&mut session).await;
            cluster = Some(identity.map_err(failed)?.get("cluster_id"));
            let settings = sqlx::query(PREFIX).fetch_one(&mut session).await;
            prefix = settings.map_err(failed)?.get("prefix");
            let live = sqlx::query(LIVE).fetch_all(&mut session).await.map_err(failed)?;
            live_nodes = live.iter().map(|row| row.get("id")).collect();
        }
        let _ = session.close().await;
        let clock = clock::from_micros(row.get("micros"));
        let (server, connections) = (row.get("server"), row.get("connections"));
        Ok(Examined { server, schema, cluster, prefix, clock, connections, live_nodes })
    }
}
