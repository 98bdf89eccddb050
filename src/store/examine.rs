//! Looking at a cluster's database without changing anything.

use super::{
    Store,
    error::OpenError,
    migrations::{self, IDENTITY},
    postgres::{Sessions, failed},
};
use crate::clock;
use sqlx::{Connection as _, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

/// How far a database's schema is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// There is no table; the first node that starts lays it out.
    Empty,
    /// These migrations are missing.
    Pending(Vec<String>),
    /// It is what this program knows.
    Current,
}

/// What a database is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The server's version.
    pub server: String,
    /// How far its schema is.
    pub schema: Schema,
    /// The cluster whose database it is, once its schema is laid out.
    pub cluster: Option<Uuid>,
    /// The server's clock.
    pub clock: OffsetDateTime,
}

impl Store {
    /// Looks at a cluster's database and changes nothing.
    ///
    /// # Errors
    /// As [`Store::postgres`]; a schema that is old is no error here.
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
