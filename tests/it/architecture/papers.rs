//! What every paper of the project has.

use super::{assert_none, source};
use std::path::Path;

/// The most lines of the README: what a stranger reads in five minutes.
const README: usize = 150;

#[test]
fn the_readme_is_read_in_five_minutes() {
    let [(_, text)] = &source::texts(&["README.md"], &["md"])[..] else { panic!("no README") };
    let lines = text.lines().count();
    assert!(lines <= README, "README.md has {lines} lines; move the rest to docs/");
}

/// What a decision lacks.
fn lacks(path: &str, text: &str, index: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for part in ["Status: ", "Date: 20", "## Context", "## Decision", "## Consequences"] {
        if !text.lines().any(|line| line.starts_with(part)) {
            broken.push(format!("{path} has no line that begins with {part:?}"));
        }
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    if !index.contains(&format!("({name})")) {
        broken.push(format!("{path} is not in the index, docs/adr/README.md"));
    }
    broken
}

#[test]
fn every_decision_has_a_status_a_date_and_a_place_in_the_index() {
    let all = source::texts(&["docs/adr"], &["md"]);
    let index = all.iter().find(|(path, _)| path.ends_with("README.md"));
    let (_, index) = index.expect("docs/adr has an index");
    let decisions = all.iter().filter(|(path, _)| !path.ends_with("README.md"));
    let broken: Vec<_> = decisions.flat_map(|(path, text)| lacks(path, text, index)).collect();
    assert_none(&broken);
    assert!(!lacks("docs/adr/1.md", "# A title", index).is_empty());
}

/// The targets of the relative links of a page, without anchors.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    files.filter(|file| !file.is_empty() && !file.contains("://")).collect()
}

/// The links of a page that lead nowhere.
fn dead_links(path: &str, text: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let folder = folder.parent().expect("a page lies in a folder");
    let dead = links(text).into_iter().filter(|link| !folder.join(link).exists());
    dead.map(|link| format!("{path} links to {link}, which does not exist")).collect()
}

#[test]
fn no_link_between_papers_is_dead() {
    let places = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs"];
    let pages = source::texts(&places, &["md"]);
    let broken: Vec<_> = pages.iter().flat_map(|(path, text)| dead_links(path, text)).collect();
    assert_none(&broken);
    assert_eq!(dead_links("docs/a.md", "[b](gone.md#b), [c](../README.md)").len(), 1);
}

/// The source files that a page names between backticks and that do not exist. A bare name is a
/// file beside the one that was named before.
fn missing_files(text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut missing, mut folder) = (Vec::new(), String::new());
    let is_source = |name: &&str| Path::new(name).extension().is_some_and(|kind| kind == "rs");
    for file in text.split('`').skip(1).step_by(2).filter(is_source) {
        let places = [file.to_owned(), format!("src/{file}"), format!("{folder}/{file}")];
        match places.iter().find(|place| exists(place)) {
            Some(place) => {
                place.rsplit_once('/').map_or("", |(dir, _)| dir).clone_into(&mut folder);
            }
            None => missing.push(file.to_owned()),
        }
    }
    missing
}

#[test]
fn every_file_that_the_walkthrough_names_exists() {
    let [(_, text)] = &source::texts(&["docs/walkthrough.md"], &["md"])[..] else {
        panic!("no walkthrough")
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_none(&missing_files(text, |place| root.join(place).is_file()));
    let exists = |place: &str| ["src/a/b.rs", "src/a/c.rs"].contains(&place);
    assert_eq!(missing_files("`a/b.rs` and `c.rs`, `gone.rs`", exists), ["gone.rs"]);
}
