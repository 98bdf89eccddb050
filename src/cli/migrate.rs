//! `hearken migrate`.

use super::{
    error::{CliError, CommandEnd, DONE},
    output::print,
};
use crate::{
    config,
    store::{OutdatedNodes, Store},
};
use clap::Args;

const EXAMPLES: &str = "\
Only PostgreSQL needs this command. The embedded store updates its schema when it is opened.

Examples:
  hearken migrate --database-url postgres://hearken@db/hearken";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MigrateCommand {
    #[arg(
        long,
        value_name = "URL",
        help = "Database [env: HEARKEN_DATABASE_URL] [default: database-url of the configuration file]"
    )]
    database_url: Option<String>,
    /// Configuration file [default: hearken.toml in the working directory, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Migrate although nodes live that may not write the new schema; they write nothing any more
    #[arg(long)]
    yes: bool,
}

impl MigrateCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let url = config::database_url(self.database_url.as_deref(), self.config.as_deref())?;
        let url = url.ok_or_else(|| {
            CliError::Usage(
                "no database is named; write --database-url postgres://user@host/database".into(),
            )
        })?;
        let outdated = if self.yes { OutdatedNodes::CutOff } else { OutdatedNodes::Spare };
        let applied = Store::migrate_postgres(url.expose(), outdated).await;
        let applied = applied.map_err(anyhow::Error::from)?;
        for name in &applied {
            print(&format!("applied {name}"))?;
        }
        if applied.is_empty() {
            print("nothing to do: the schema is up to date")?;
        }
        Ok(DONE)
    }
}
