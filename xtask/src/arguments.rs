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
        Start the servers and a cluster of three nodes, print how to reach them, and
        keep them until Ctrl-C.
  chaos [--minutes N] [--seed S] [--cluster] [--rabbitmq 4]
        Run nodes under load on servers of their own and break them at random for N
        minutes (5). The seed is printed; the same one draws the same faults.
        With --cluster, three nodes on a cluster of three brokers.
  bench NAME
        Run a benchmark on private servers that write to disk as in production.
  check
        Format, lints and documentation, with warnings denied.
  deps
        Check sources, licences, versions and bans of the dependencies, and the compiler.
  links
        Check the links between the papers: README.md and the others, docs/**/*.md.
  openapi
        Write openapi.yaml from the code.
  fuzz [--seconds N | --runs N]
        Feed random bytes to everything that reads bytes from outside, to each reader
        for N seconds (20) or with the same N inputs each time, and the largest
        hostile bodies. Installs g++ if it is missing, which needs root and a Debian.
  install [--rabbitmq 4]
        Fetch PostgreSQL and RabbitMQ if they are missing. `test`, `up` and `bench`
        do so by themselves. Needs root and a Debian.

Servers keep their files and logs in target/services.
";

/// How long each target is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FuzzFor {
    Seconds(u32),
    /// A number of inputs from one seed, so that each run has the same inputs.
    Runs(u32),
}

/// A command of xtask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Test { version: RabbitMqVersion, arguments: Vec<String> },
    Up(RabbitMqVersion),
    Chaos(Chaos),
    Bench(String),
    Check,
    Deps,
    Links,
    Fuzz(FuzzFor),
    OpenApi,
    Install(RabbitMqVersion),
    Help,
}

/// A chaos run: its servers, its length and its seed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chaos {
    pub(crate) version: RabbitMqVersion,
    pub(crate) minutes: u64,
    pub(crate) seed: Option<u64>,
    pub(crate) cluster: bool,
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
        ("chaos", options) => Command::Chaos(chaos(options)?),
        ("bench", [bench]) => Command::Bench(bench.clone()),
        ("bench", _) => bail!("bench takes the name of one benchmark"),
        ("check", []) => Command::Check,
        ("deps", []) => Command::Deps,
        ("links", []) => Command::Links,
        ("fuzz", options) => Command::Fuzz(fuzz_for(options)?),
        ("openapi", []) => Command::OpenApi,
        ("help", []) => Command::Help,
        ("check" | "deps" | "links" | "openapi", _) => bail!("{name} takes no arguments"),
        _ => bail!("there is no command {name}"),
    })
}

fn fuzz_for(options: &[String]) -> Result<FuzzFor> {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let (name, text) = match options[..] {
        [] => return Ok(FuzzFor::Seconds(20)),
        [name, text] => (name, text),
        [option] => option.split_once('=').context("fuzz takes --seconds N or --runs N")?,
        _ => bail!("expected --seconds N, --runs N or nothing, not: {}", options.join(" ")),
    };
    let number = text.parse().ok().filter(|number| *number > 0);
    let number = number.with_context(|| format!("{name} is a whole number from 1, not {text}"))?;
    match name {
        "--seconds" => Ok(FuzzFor::Seconds(number)),
        "--runs" => Ok(FuzzFor::Runs(number)),
        _ => bail!("fuzz takes --seconds N or --runs N, not {name}"),
    }
}

fn version(options: &[String]) -> Result<RabbitMqVersion> {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    match options[..] {
        [] => Ok(RabbitMqVersion::System),
        ["--rabbitmq", "4"] | ["--rabbitmq=4"] => Ok(RabbitMqVersion::V4),
        _ => bail!("expected --rabbitmq 4 or nothing, not: {}", options.join(" ")),
    }
}

fn chaos(options: &[String]) -> Result<Chaos> {
    let mut chaos =
        Chaos { version: RabbitMqVersion::System, minutes: 5, seed: None, cluster: false };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut number = || -> Result<u64> {
            let text = options.next().with_context(|| format!("{option} takes a number"))?;
            text.parse().with_context(|| format!("{option} takes a number, not {text}"))
        };
        match option.as_str() {
            "--minutes" => chaos.minutes = number()?,
            "--seed" => chaos.seed = Some(number()?),
            "--rabbitmq" if number()? == 4 => chaos.version = RabbitMqVersion::V4,
            "--cluster" => chaos.cluster = true,
            _ => bail!("expected --minutes N, --seed S, --cluster or --rabbitmq 4, not: {option}"),
        }
    }
    Ok(chaos)
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
    fn fuzzing_has_a_time() {
        assert_eq!(parsed("fuzz").unwrap(), Command::Fuzz(FuzzFor::Seconds(20)));
        assert_eq!(parsed("fuzz --seconds 5").unwrap(), Command::Fuzz(FuzzFor::Seconds(5)));
        assert_eq!(parsed("fuzz --runs 9").unwrap(), Command::Fuzz(FuzzFor::Runs(9)));
        assert_eq!(parsed("fuzz --seconds=5").unwrap(), Command::Fuzz(FuzzFor::Seconds(5)));
    }

    #[test]
    fn chaos_takes_its_options_in_any_order() {
        let expected =
            Chaos { version: RabbitMqVersion::V4, minutes: 9, seed: Some(7), cluster: true };
        let parsed = parsed("chaos --seed 7 --cluster --rabbitmq 4 --minutes 9").unwrap();
        assert_eq!(parsed, Command::Chaos(expected));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "tset",
            "test --rabbitmq 3",
            "bench",
            "bench a b",
            "check now",
            "up -- x",
            "fuzz 5",
            "fuzz --seconds 0",
            "chaos 5",
            "chaos --seed",
            "chaos --minutes x",
            "chaos --rabbitmq 3",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
