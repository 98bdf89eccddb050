//! `deps`: what the dependencies are and where they come from.

use std::collections::BTreeSet;
use std::fs;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use xtask::services::workspace_root;

use super::cargo;

/// Crates that must not be built, and why.
const BANNED: [(&str, &str); 6] = [
    ("aws-lc-rs", "a second crypto provider; ring is ours"),
    ("aws-lc-sys", "needs cmake, and is a second crypto provider"),
    ("openssl-sys", "ties the program to the machine's OpenSSL"),
    ("native-tls", "ties the program to the machine's OpenSSL"),
    ("rsa", "its timing leaks keys (RUSTSEC-2023-0071)"),
    ("rbase64", "replaces the allocator of the whole process"),
];

/// Crates that do cryptography for TLS. There is to be one of them.
const PROVIDERS: [&str; 6] = ["ring", "aws-lc-rs", "openssl", "boring", "graviola", "mbedtls"];

/// The only registry, by the name that lock files give it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn run() -> Result<ExitCode> {
    let lock = workspace_root().join("Cargo.lock");
    let lock =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let built = built()?;
    let mut refusals = foreign_sources(&lock);
    refusals.extend(refused(&built));
    if refusals.is_empty() {
        println!("{} crates, none refused", built.len());
        return Ok(ExitCode::SUCCESS);
    }
    for refusal in &refusals {
        eprintln!("{refusal}");
    }
    bail!(
        "dependencies refused: {}; `cargo tree --invert CRATE` says who brings one in",
        refusals.len()
    )
}

/// The crates that some build of the workspace compiles. The lock file names
/// more: it has the optional ones that nobody turned on.
fn built() -> Result<BTreeSet<String>> {
    let output = cargo(&["tree", "--workspace", "--locked", "--prefix=none", "--format={p}"])
        .args(["--edges=normal,build,dev", "--no-dedupe"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed ({})", output.status);
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    Ok(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn refused(built: &BTreeSet<String>) -> Vec<String> {
    let mut refusals: Vec<String> = BANNED
        .iter()
        .filter(|(name, _)| built.contains(*name))
        .map(|(name, reason)| format!("{name} is banned: {reason}"))
        .collect();
    let providers: Vec<_> = PROVIDERS.into_iter().filter(|name| built.contains(*name)).collect();
    if providers.len() > 1 {
        refusals.push(format!("more than one TLS provider: {}", providers.join(", ")));
    }
    refusals
}

fn foreign_sources(lock: &str) -> Vec<String> {
    lock.lines()
        .filter_map(|line| line.strip_prefix("source = "))
        .map(|source| source.trim_matches('"'))
        .filter(|source| *source != REGISTRY)
        .map(|source| format!("Cargo.lock takes a crate from {source}, not from crates.io"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_crates_and_second_providers_are_refused() {
        let built = ["ring", "serde", "openssl", "rsa"].map(str::to_owned).into();
        let refusals = refused(&built);
        assert_eq!(refusals.len(), 2, "{refusals:?}");
        assert!(refusals[0].starts_with("rsa is banned"));
        assert!(refusals[1].ends_with("ring, openssl"));
    }

    #[test]
    fn a_crate_from_a_repository_is_refused() {
        let lock = format!("source = \"{REGISTRY}\"\nsource = \"git+https://example/x#1\"\n");
        assert_eq!(foreign_sources(&lock).len(), 1);
    }
}
