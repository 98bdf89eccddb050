//! `hearken classes`.

use super::{
    client::Remote,
    error::{DONE, Outcome},
    output::columns,
};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "The schemas of their configurations are in: hearken classes --output json")]
pub(super) struct Classes {
    #[command(flatten)]
    remote: Remote,
}

impl Classes {
    pub(super) async fn run(self) -> Outcome {
        let server = self.remote.server()?;
        let answer = server.get(&["classes"]).send().await?;
        let shown = [("CLASS", "/class"), ("SOURCE", "/source"), ("DESCRIPTION", "/description")];
        server.show(&answer, |json| columns(&json["classes"], &shown, "no classes"))?;
        Ok(DONE)
    }
}
