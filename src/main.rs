//! The `hearken` program.

use hearken::cli;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(cli::serve::Extras::default()).await
}
