//! `test` and `bench`: cargo's own, with servers to run on.

use super::{
    cargo, code,
    servers::{Commits, Servers},
    status,
};
use anyhow::Result;
use std::process::ExitCode;
use xtask::services::RabbitMqVersion;

/// Suites that run again on the other RabbitMQ: those that talk to a broker.
const BROKER_SUITES: [&str; 6] = ["--test", "it", "--", "broker::", "rabbit_bus::", "cluster::"];

/// Runs the tests. What the caller passes on replaces the choice of suites.
pub(super) fn test(version: RabbitMqVersion, passed_on: &[String]) -> Result<ExitCode> {
    let servers = Servers::start("test", version, Commits::Fast)?;
    // The end-to-end suites run an example as another version of the program, and choosing one test
    // leaves the examples out.
    let built = status(&mut cargo(&["build", "--quiet", "--examples"]))?;
    if !built.success() {
        return Ok(code(built));
    }
    let mut command = cargo(&["test"]);
    match (version, passed_on) {
        (RabbitMqVersion::System, []) => command.arg("--workspace"),
        (RabbitMqVersion::V4, []) => command.args(BROKER_SUITES),
        (_, passed_on) => command.args(passed_on),
    };
    status(servers.tell(&mut command)).map(code)
}

/// Runs one benchmark.
pub(super) fn bench(name: &str) -> Result<ExitCode> {
    let servers = Servers::start("bench", RabbitMqVersion::System, Commits::Durable)?;
    let mut command = cargo(&["bench", "--bench", name]);
    status(servers.tell(&mut command)).map(code)
}
