//! `deps`: refuses dependencies by source, by name, by licence, and in a second version.
//!
//! ADR 18 says what is checked here instead of by cargo-deny.

mod compiler;
mod duplicates;
mod licences;

use super::cargo;
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    fs,
    process::{ExitCode, Stdio},
};
use xtask::services::workspace_root;

/// Crates that must not be built, and why.
const BANNED: [(&str, &str); 6] = [
    ("aws-lc-rs", "a second crypto provider; ring is ours"),
    ("aws-lc-sys", "needs cmake, and is a second crypto provider"),
    ("openssl-sys", "ties the program to the machine's OpenSSL"),
    ("native-tls", "ties the program to the machine's OpenSSL"),
    ("rsa", "its timing leaks keys (RUSTSEC-2023-0071)"),
    ("rbase64", "replaces the allocator of the whole process"),
];

/// Crates that do cryptography for TLS. Only one may be built.
const PROVIDERS: [&str; 6] = ["ring", "aws-lc-rs", "openssl", "boring", "graviola", "mbedtls"];

/// The only registry, by the name that lock files give it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate that some build of the workspace compiles.
#[derive(Debug)]
struct BuiltCrate {
    name: String,
    version: String,
    licence: String,
}

impl BuiltCrate {
    fn new(name: &str, version: &str, licence: &str) -> Self {
        let [name, version, licence] = [name, version, licence].map(str::to_owned);
        Self { name, version, licence }
    }

    /// Reads a line of cargo tree: `name v1.2.3 (more)|licence`.
    fn parse(line: &str) -> Option<Self> {
        let (package, licence) = line.split_once('|')?;
        let mut words = package.split_whitespace();
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some(Self::new(name, version, licence.trim()))
    }
}

/// Runs every check and prints all refusals.
pub(super) fn run() -> Result<ExitCode> {
    let root = workspace_root();
    let lock = root.join("Cargo.lock");
    let lock =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let built = built()?;
    let mut refusals = foreign_sources(&lock);
    refusals.extend(refused(&built));
    refusals.extend(licences::refused(&built));
    refusals.extend(duplicates::refused(&built));
    refusals.extend(compiler::refused(&root)?);
    if refusals.is_empty() {
        println!("{} crates, none refused", built.len());
        return Ok(ExitCode::SUCCESS);
    }
    for refusal in &refusals {
        eprintln!("{refusal}");
    }
    bail!(
        "{} refusals; `cargo tree --invert CRATE` says which crate brings another in",
        refusals.len()
    )
}

/// Lists the crates that some build of the workspace compiles. The lock file names more: it also
/// has the optional crates that no feature turns on.
fn built() -> Result<Vec<BuiltCrate>> {
    let output = cargo(&["tree", "--workspace", "--locked", "--prefix=none", "--format={p}|{l}"])
        .args(["--edges=normal,build,dev", "--no-dedupe"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed ({})", output.status);
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let lines: BTreeSet<_> = listed.lines().filter(|line| !line.trim().is_empty()).collect();
    let parse = |line: &str| {
        BuiltCrate::parse(line).with_context(|| format!("cargo tree printed {line:?}"))
    };
    lines.into_iter().map(parse).collect()
}

fn refused(built: &[BuiltCrate]) -> Vec<String> {
    let names: BTreeSet<_> = built.iter().map(|each| each.name.as_str()).collect();
    let mut refusals: Vec<String> = BANNED
        .iter()
        .filter(|(name, _)| names.contains(*name))
        .map(|(name, reason)| format!("{name} is banned: {reason}"))
        .collect();
    let providers: Vec<_> = PROVIDERS.into_iter().filter(|name| names.contains(*name)).collect();
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
        let built = ["ring", "serde", "openssl", "rsa"];
        let built = built.map(|name| BuiltCrate::new(name, "1.0.0", "MIT"));
        let refusals = refused(&built);
        assert_eq!(refusals.len(), 2, "{refusals:?}");
        assert!(refusals[0].starts_with("rsa is banned"));
        assert!(refusals[1].ends_with("ring, openssl"));
    }

    #[test]
    fn a_line_of_cargo_tree_is_read_with_its_licence() {
        let read = BuiltCrate::parse("syn v2.0.1 (proc-macro)|MIT OR Apache-2.0").unwrap();
        assert_eq!(
            [&read.name, &read.version, &read.licence],
            ["syn", "2.0.1", "MIT OR Apache-2.0"]
        );
        assert!(BuiltCrate::parse("syn").is_none());
    }

    #[test]
    fn a_crate_from_a_repository_is_refused() {
        let lock = format!("source = \"{REGISTRY}\"\nsource = \"git+https://example/x#1\"\n");
        assert_eq!(foreign_sources(&lock).len(), 1);
    }
}
