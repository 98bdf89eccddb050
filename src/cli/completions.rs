//! `hearken completions`.

use super::{
    Cli,
    error::{CommandEnd, DONE},
    output::print,
};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  hearken completions bash > /etc/bash_completion.d/hearken
  hearken completions zsh > ~/.zfunc/_hearken";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsCommand {
    /// Shell to complete commands in
    shell: Shell,
}

impl CompletionsCommand {
    pub(super) fn run(&self) -> CommandEnd {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "hearken", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(DONE)
    }
}
