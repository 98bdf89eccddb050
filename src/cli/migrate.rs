//! `hearken migrate`.

use super::{
    error::{CliError, DONE, Outcome},
    output::print,
};
use crate::{config, store::Store};
use clap::Args;

const EXAMPLES: &str = "\
The embedded store brings itself up to date when it is opened; only PostgreSQL is asked for.

Examples:
  hearken migrate --database-url postgres://hearken@db/hearken";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Migrate {
    #[arg(
        long,
        value_name = "URL",
        help = "The database [env: HEARKEN_DATABASE_URL; else the configuration file's]"
    )]
    database_url: Option<String>,
    /// The configuration file; hearken.toml in the working directory is read when it exists
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

impl Migrate {
    pub(super) async fn run(self) -> Outcome {
        let url = config::database_url(self.database_url.as_deref(), self.config.as_deref())?;
        let url = url.ok_or_else(|| {
            CliError::Usage(
                "no database is given; write --database-url postgres://user@host/database".into(),
            )
        })?;
        let applied = Store::migrate_postgres(url.expose()).await.map_err(anyhow::Error::from)?;
        for name in &applied {
            print(&format!("applied {name}"))?;
        }
        if applied.is_empty() {
            print("nothing to do: the schema is up to date")?;
        }
        Ok(DONE)
    }
}
