//! `fuzz`: random bytes for everything that reads bytes from outside.
//!
//! The engine is libFuzzer without a sanitizer, which stable Rust can do: the readers have no
//! `unsafe`, so what is looked for are panics, hangs, endless memory, and events that do not read
//! back as they were written.

mod hostile;
mod seeds;

use super::{cargo, code, status};
use crate::arguments::FuzzFor;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command as Process, ExitCode},
};
use xtask::services::{install_cpp, workspace_root};

/// What is fuzzed: a program of `fuzz/src/bin` each.
const TARGETS: [&str; 5] =
    ["decode_event", "decode_msgpack", "decode_james", "binary_headers", "names"];

/// What makes the compiler count which code was reached: what `cargo fuzz --sanitizer none` says.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The most memory a program may take, in MiB, its own counters included.
const MEMORY: u32 = 512;

/// Fuzzes each target for so long, then feeds the largest hostile bodies.
pub(super) fn run(length: FuzzFor) -> Result<ExitCode> {
    // libFuzzer comes as C++.
    install_cpp()?;
    let directory = workspace_root().join("target/fuzz");
    let host = host()?;
    let manifest = workspace_root().join("fuzz/Cargo.toml");
    let mut build = cargo(&["build", "--quiet", "--release", "--locked", "--target", &host]);
    build.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(&directory);
    // With a target named, what runs on the way (build scripts) is built without the counters.
    build.env("RUSTFLAGS", COVERAGE).env_remove("CARGO_ENCODED_RUSTFLAGS");
    let outcome = status(&mut build)?;
    if !outcome.success() {
        return Ok(code(outcome));
    }
    let programs = directory.join(host).join("release");
    for target in TARGETS {
        let seeds = seeds::write(target, &directory.join("seeds").join(target))?;
        fuzz(&programs, target, &seeds, &directory, length)?;
    }
    hostile::measure(&programs.join("decode_event"), &directory.join("hostile"))?;
    println!("{} targets: nothing found", TARGETS.len());
    Ok(ExitCode::SUCCESS)
}

fn fuzz(
    programs: &Path,
    target: &str,
    seeds: &Path,
    directory: &Path,
    length: FuzzFor,
) -> Result<()> {
    let [corpus, found] = ["corpus", "found"].map(|kind| directory.join(kind).join(target));
    for made in [&corpus, &found] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let log = directory.join(format!("{target}.log"));
    let output =
        fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Process::new(programs.join(target));
    command.args([&corpus, seeds]);
    match length {
        FuzzFor::Seconds(seconds) => command.arg(format!("-max_total_time={seconds}")),
        FuzzFor::Runs(runs) => command.arg(format!("-runs={runs}")).arg("-seed=1"),
    };
    command.arg(format!("-rss_limit_mb={MEMORY}"));
    command.arg(format!("-artifact_prefix={}/", found.display()));
    command.args(["-timeout=10", "-max_len=65536", "-print_final_stats=1"]);
    command.stdout(output.try_clone()?).stderr(output);
    let ended = status(&mut command)?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    if !ended.success() {
        let last: Vec<&str> = said.lines().rev().take(40).collect();
        let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        bail!("{target} failed; the input is in {}\n{last}", found.display());
    }
    let runs = statistic(&said, "number_of_executed_units").unwrap_or_default();
    let peak = statistic(&said, "peak_rss_mb").unwrap_or_default();
    println!("{target}: {runs} inputs, at most {peak} MiB");
    if runs == 0 {
        bail!("{target} tried nothing; see {}", log.display());
    }
    Ok(())
}

/// A number of libFuzzer's closing lines.
fn statistic(said: &str, name: &str) -> Option<u64> {
    let rest = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))?;
    rest.trim_start_matches(':').trim().parse().ok()
}

/// This machine, as the compiler calls it.
fn host() -> Result<String> {
    let compiler = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let output = Process::new(compiler).arg("-vV").output().context("cannot run rustc")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV does not say what machine this is")
}

#[cfg(test)]
mod tests {
    use super::statistic;

    #[test]
    fn a_closing_line_is_read() {
        let said =
            "Done 5 runs\nstat::number_of_executed_units: 5\nstat::peak_rss_mb:              41\n";
        assert_eq!(statistic(said, "number_of_executed_units"), Some(5));
        assert_eq!(statistic(said, "peak_rss_mb"), Some(41));
        assert_eq!(statistic(said, "average_exec_per_sec"), None);
    }
}
