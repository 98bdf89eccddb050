//! The oldest compiler (MSRV): every manifest names it, and the compiler that runs is not older.

use anyhow::{Context, Result};
use std::{fs, path::Path, process::Command};

/// Manifests of the members, below the root of the workspace.
const MEMBERS: [&str; 3] = ["Cargo.toml", "core/Cargo.toml", "xtask/Cargo.toml"];

/// Refuses a workspace whose manifests do not name the MSRV, and a compiler that is older.
pub(super) fn refused(root: &Path) -> Result<Vec<String>> {
    let read = |member: &&'static str| {
        let path = root.join(member);
        let text = fs::read_to_string(&path);
        text.with_context(|| format!("cannot read {}", path.display())).map(|text| (*member, text))
    };
    let manifests: Vec<_> = MEMBERS.iter().map(read).collect::<Result<_>>()?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {}", rustc.display()))?;
    Ok(check(&manifests, &String::from_utf8_lossy(&output.stdout)))
}

fn check(manifests: &[(&str, String)], rustc: &str) -> Vec<String> {
    let silent =
        manifests.iter().filter(|(_, text)| !text.contains("\nrust-version.workspace = true\n"));
    let mut refusals: Vec<String> = silent
        .map(|(path, _)| format!("{path} lacks the line rust-version.workspace = true"))
        .collect();
    let named = manifests
        .iter()
        .find_map(|(_, text)| text.lines().find_map(|line| line.strip_prefix("rust-version = \"")));
    match (named.map(minor), rustc.strip_prefix("rustc ").map(minor)) {
        (Some(Some(named)), Some(Some(running))) if running < named => refusals.push(format!(
            "this compiler is Rust 1.{running}; the manifests name 1.{named} as the oldest"
        )),
        (Some(Some(_)), Some(Some(_))) => {}
        (_, Some(Some(_))) => refusals.push("no manifest names a rust-version".into()),
        _ => refusals.push(format!("the compiler's version cannot be read: {rustc:?}")),
    }
    refusals
}

/// The number behind `1.`.
fn minor(version: &str) -> Option<u32> {
    let minor = version.strip_prefix("1.")?;
    minor.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str =
        "[workspace.package]\nrust-version = \"1.95\"\n[package]\nrust-version.workspace = true\n";

    #[test]
    fn an_older_compiler_is_refused() {
        let manifests = [("Cargo.toml", ROOT.to_owned())];
        for rustc in ["rustc 1.95.0 (x 2026-04-14)", "rustc 1.100.0-nightly"] {
            assert_eq!(check(&manifests, rustc), Vec::<String>::new(), "{rustc}");
        }
        assert_eq!(check(&manifests, "rustc 1.94.2").len(), 1);
        assert_eq!(check(&manifests, "").len(), 1);
    }

    #[test]
    fn a_manifest_without_a_version_is_refused() {
        let manifests =
            [("Cargo.toml", ROOT.to_owned()), ("core/Cargo.toml", "[package]\n".into())];
        let refusals = check(&manifests, "rustc 1.95.0");
        assert_eq!(refusals, ["core/Cargo.toml lacks the line rust-version.workspace = true"]);
        let unnamed = ROOT.replace("rust-version = \"1.95\"\n", "");
        assert_eq!(check(&[("Cargo.toml", unnamed)], "rustc 1.95.0").len(), 1);
    }
}
