//! The command line. One file per subcommand: [`serve`] runs a node, the others talk to a node.

mod adopt;
mod buses;
mod classes;
mod client;
mod cluster;
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
mod terminal;
mod topology;

use crate::{clock::Clock, config, telemetry};
use clap::{Parser, Subcommand};
use error::{CommandEnd, DONE};
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  hearken serve                                  run a node with everything embedded
  hearken listeners add --class log              log every event of mailboxEvent
  hearken events send mailboxEvent --type demo   send an event
  hearken topology drift                         show what differs on the broker
  hearken health                                 show the state of every component

Exit codes: 0 done, 1 failed, 2 usage, 3 refused by the server, 4 server unreachable,
5 done, but the broker did not have the change within the time of --wait.";

/// Keeps one audited list of a cluster's event listeners, makes RabbitMQ match it, and runs them
#[derive(Debug, Parser)]
#[command(name = "hearken", version, after_help = AFTER_HELP, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, infer_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run a node
    #[command(after_help = SERVE_HELP)]
    Serve(config::Flags),
    /// Bring the schema of a PostgreSQL database up to date
    Migrate(migrate::MigrateCommand),
    /// Give the log a new identity, after a restore or a loss of the database
    Adopt(adopt::AdoptCommand),
    /// List, add and remove the listeners of the cluster
    Listeners(listeners::ListenersCommand),
    /// List, add, change and remove the buses of the cluster
    Buses(buses::BusesCommand),
    /// Show and change the settings of the cluster
    Cluster(cluster::ClusterCommand),
    /// List the classes that the node can run
    Classes(classes::ClassesCommand),
    /// Compare the broker with the roster, and repair the broker
    Topology(topology::TopologyCommand),
    /// List the nodes, and the listeners that do not run on them
    Nodes(nodes::NodesCommand),
    /// Send events, and follow the events of registration keys
    Events(events::EventsCommand),
    /// List, redeliver and delete events whose retries are used up
    DeadLetters(dead_letters::DeadLettersCommand),
    /// List, show and cancel tasks: work that outlives its request
    Tasks(tasks::TasksCommand),
    /// Show the state of every component; fails when a component is unhealthy
    Health(health::HealthCommand),
    /// Check the settings of serve and everything that they name
    Doctor(doctor::DoctorCommand),
    /// Print a script that completes commands in a shell
    Completions(completions::CompletionsCommand),
    /// Print the description of the REST interface
    #[command(hide = true)]
    Openapi,
}

const SERVE_HELP: &str = "\
A setting can also be given in the environment, or in the configuration file under the name of its
flag without the leading dashes. The flag wins over the environment, the environment over the file:

  listen = \"0.0.0.0:8000\"
  database-url = \"postgres://hearken@db/hearken\"
  amqp-url = \"amqp://hearken@mq/events\"

  [[bus]]                  # in addition to mailboxEvent and jmapEvent
  name = \"orders\"

  [[required]]             # a listener that this node demands
  class = \"webhook\"
  group = \"search-index\"
  configuration = { url = \"http://indexer.internal/events\" }

Examples:
  hearken serve
  hearken serve --database-url postgres://hearken@db/hearken --amqp-url amqp://hearken@mq/events
  HEARKEN_LISTEN=0.0.0.0:8000 hearken serve --config /etc/hearken.toml

Logs go to standard error; HEARKEN_LOG=debug logs more.";

/// Runs the command that this process was started with, and returns its exit code. A program that
/// uses the library adds its `extras` to the nodes that it runs.
pub async fn run(extras: serve::Extras) -> ExitCode {
    let command = Cli::parse().command;
    error::finish(Box::pin(execute(command, extras, Clock::system())).await)
}

async fn execute(command: CliCommand, extras: serve::Extras, clock: Clock) -> CommandEnd {
    match command {
        CliCommand::Serve(flags) => {
            let settings = config::Serve::load(&flags)?;
            telemetry::init(settings.log_format)?;
            serve::serve(settings, extras, clock).await?;
            Ok(DONE)
        }
        CliCommand::Migrate(command) => command.run().await,
        CliCommand::Adopt(command) => Box::pin(command.run()).await,
        CliCommand::Listeners(command) => command.run().await,
        CliCommand::Buses(command) => command.run().await,
        CliCommand::Cluster(command) => command.run().await,
        CliCommand::Classes(command) => command.run().await,
        CliCommand::Topology(command) => command.run().await,
        CliCommand::Nodes(command) => command.run().await,
        CliCommand::Events(command) => command.run(&clock).await,
        CliCommand::DeadLetters(command) => command.run().await,
        CliCommand::Tasks(command) => command.run().await,
        CliCommand::Health(command) => command.run().await,
        CliCommand::Doctor(command) => command.run(&extras, &clock).await,
        CliCommand::Completions(command) => command.run(),
        CliCommand::Openapi => {
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
    fn every_visible_command_and_argument_has_help() {
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
