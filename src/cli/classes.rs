//! `hearken classes`.

use super::{
    client::Remote,
    error::{CommandEnd, DONE},
    output::columns,
};
use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "The JSON schema of each class's configuration: hearken classes --output json"
)]
pub(super) struct ClassesCommand {
    #[command(flatten)]
    remote: Remote,
}

impl ClassesCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let server = self.remote.server()?;
        let answer = server.get(&["classes"]).send().await?;
        let shown = [("CLASS", "/class"), ("SOURCE", "/source"), ("DESCRIPTION", "/description")];
        server.show(&answer, |json| columns(&json["classes"], &shown, "no classes"))?;
        Ok(DONE)
    }
}
