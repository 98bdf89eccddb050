//! The command line. One file per subcommand; [`serve`] puts a node together, the others ask one.

mod classes;
mod client;
mod completions;
mod dead_letters;
mod doctor;
mod error;
mod events;
mod health;
mod listeners;
mod migrate;
mod nodes;
mod output;
mod problem;
pub mod serve;
mod sse;
mod tasks;
mod topology;

use crate::{clock::Clock, config, telemetry};
use clap::{Parser, Subcommand};
use error::{DONE, Outcome};
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  hearken serve                                  run a node, everything embedded
  hearken listeners add --class log              have every event of mailboxEvent logged
  hearken events send mailboxEvent --type demo   send an event
  hearken topology drift                         what differs on the broker
  hearken health                                 how everything is

Exit codes: 0 done, 1 failed, 2 usage, 3 refused by the server, 4 server unreachable.";

/// Keeps one audited list of a cluster's event listeners, makes RabbitMQ match it, and runs them
#[derive(Debug, Parser)]
#[command(name = "hearken", version, after_help = AFTER_HELP, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, infer_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node
    #[command(after_help = SERVE_HELP)]
    Serve(config::Flags),
    /// Bring the schema of a PostgreSQL database up to date
    Migrate(migrate::Migrate),
    /// The listeners of the cluster, and the history of that list
    Listeners(listeners::Listeners),
    /// The classes that a node can run
    Classes(classes::Classes),
    /// What the broker ought to hold, what it holds, and the difference
    Topology(topology::Topology),
    /// The nodes, and what does not run on them
    Nodes(nodes::Nodes),
    /// Send events, and follow those of some keys
    Events(events::Events),
    /// Events that somebody gave up on: list them, put them back, delete them
    DeadLetters(dead_letters::DeadLetters),
    /// Longer work that somebody asked for
    Tasks(tasks::Tasks),
    /// How everything is; fails when something is not well
    Health(health::Health),
    /// Check the settings of serve and everything they name
    Doctor(doctor::Doctor),
    /// Print a script that completes commands in a shell
    Completions(completions::Completions),
    /// Print the description of the REST interface
    #[command(hide = true)]
    Openapi,
}

const SERVE_HELP: &str = "\
Every setting can also be given in the environment, or in the configuration file by its flag's
name without dashes in front. The flag comes first, then the environment, then the file:

  listen = \"0.0.0.0:8000\"
  database-url = \"postgres://hearken@db/hearken\"
  amqp-url = \"amqp://hearken@mq/events\"

  [[bus]]                  # beside mailboxEvent and jmapEvent
  name = \"orders\"

  [[required]]             # a listener that this node demands
  class = \"webhook\"
  group = \"search-index\"
  configuration = { url = \"http://indexer.internal/events\" }

Examples:
  hearken serve
  hearken serve --database-url postgres://hearken@db/hearken --amqp-url amqp://hearken@mq/events
  HEARKEN_LISTEN=0.0.0.0:8000 hearken serve --config /etc/hearken.toml

Logs go to standard error; HEARKEN_LOG=debug shows more of them.";

/// Runs the command that this process was started with, and returns its exit code. `extras` is
/// what a program that uses the library adds to its nodes.
pub async fn run(extras: serve::Extras) -> ExitCode {
    let command = Cli::parse().command;
    error::finish(Box::pin(execute(command, extras, Clock::system())).await)
}

async fn execute(command: Command, extras: serve::Extras, clock: Clock) -> Outcome {
    match command {
        Command::Serve(flags) => {
            let settings = config::Serve::load(&flags)?;
            telemetry::init(settings.log_format)?;
            serve::serve(settings, extras, clock).await?;
            Ok(DONE)
        }
        Command::Migrate(command) => command.run().await,
        Command::Listeners(command) => command.run().await,
        Command::Classes(command) => command.run().await,
        Command::Topology(command) => command.run().await,
        Command::Nodes(command) => command.run().await,
        Command::Events(command) => command.run().await,
        Command::DeadLetters(command) => command.run().await,
        Command::Tasks(command) => command.run().await,
        Command::Health(command) => command.run().await,
        Command::Doctor(command) => command.run(&extras).await,
        Command::Completions(command) => command.run(),
        Command::Openapi => {
            output::print(&crate::http::openapi_yaml())?;
            Ok(DONE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_coherent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_people_see_says_what_it_does() {
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let name = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {name}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
