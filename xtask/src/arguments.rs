//! The command line.

use anyhow::{Context, Result, bail};
use xtask::services::RabbitMqVersion;

pub(crate) const HELP: &str = "\
Usage: cargo xtask <command>

  test [--rabbitmq 4] [-- ARGUMENTS]
        Start private PostgreSQL and RabbitMQ servers, run the tests on them, stop
        them. With --rabbitmq 4, run only the suites that talk to a broker, on
        RabbitMQ 4. ARGUMENTS go to cargo test: `cargo xtask test -- --test it roster::`
  up [--rabbitmq 4]
        Start the servers and a cluster of three nodes, say how to reach them, and
        keep them until Ctrl-C.
  bench NAME
        Run a benchmark on private servers that write to disk as in production.
  check
        Format, lints and documentation, with warnings denied.
  deps
        Check what the dependencies are and where they come from.
  openapi
        Write openapi.yaml from the code.
  install [--rabbitmq 4]
        Fetch PostgreSQL and RabbitMQ if they are missing. `test`, `up` and `bench`
        do so by themselves. Needs root and a Debian.

Servers keep their files and logs in target/services.
";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Test { version: RabbitMqVersion, arguments: Vec<String> },
    Up(RabbitMqVersion),
    Bench(String),
    Check,
    Deps,
    OpenApi,
    Install(RabbitMqVersion),
    Help,
}

pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command> {
    let arguments: Vec<String> = arguments.collect();
    let (ours, passed_on) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], arguments[at + 1..].to_vec()),
        None => (&arguments[..], Vec::new()),
    };
    if ours.is_empty() || ours.iter().any(|argument| argument == "--help" || argument == "-h") {
        return Ok(Command::Help);
    }
    let (name, options) = ours.split_first().context("no command")?;
    if name != "test" && !passed_on.is_empty() {
        bail!("only test passes arguments on");
    }
    Ok(match (name.as_str(), options) {
        ("test", options) => Command::Test { version: version(options)?, arguments: passed_on },
        ("up", options) => Command::Up(version(options)?),
        ("install", options) => Command::Install(version(options)?),
        ("bench", [bench]) => Command::Bench(bench.clone()),
        ("bench", _) => bail!("bench takes the name of one benchmark"),
        ("check", []) => Command::Check,
        ("deps", []) => Command::Deps,
        ("openapi", []) => Command::OpenApi,
        ("help", []) => Command::Help,
        ("check" | "deps" | "openapi", _) => bail!("{name} takes no arguments"),
        _ => bail!("there is no command {name}"),
    })
}

fn version(options: &[String]) -> Result<RabbitMqVersion> {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    match options[..] {
        [] => Ok(RabbitMqVersion::System),
        ["--rabbitmq", "4"] | ["--rabbitmq=4"] => Ok(RabbitMqVersion::V4),
        _ => bail!("expected --rabbitmq 4 or nothing, not: {}", options.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_follows_two_dashes_is_passed_on() {
        let expected = Command::Test {
            version: RabbitMqVersion::V4,
            arguments: vec!["--test".into(), "it".into(), "--".into(), "--help".into()],
        };
        assert_eq!(parsed("test --rabbitmq 4 -- --test it -- --help").unwrap(), expected);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["tset", "test --rabbitmq 3", "bench", "bench a b", "check now", "up -- x"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
