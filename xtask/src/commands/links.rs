//! `links`: refuses dead links between the papers of the repository.

use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};
use xtask::services::workspace_root;

/// Checks every link of the papers and prints the dead ones.
pub(super) fn run() -> Result<ExitCode> {
    let root = workspace_root();
    let papers = papers(&root)?;
    let mut dead = Vec::new();
    for paper in &papers {
        let shown = paper.strip_prefix(&root).unwrap_or(paper).display();
        let links = dead_links(paper)?;
        dead.extend(links.into_iter().map(|link| format!("{shown}: dead link {link}")));
    }
    if dead.is_empty() {
        println!("{} papers, no dead link", papers.len());
        return Ok(ExitCode::SUCCESS);
    }
    for link in &dead {
        eprintln!("{link}");
    }
    bail!("dead links: {}", dead.len())
}

/// The Markdown files of the root, and of `docs` with all its folders.
fn papers(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("docs")];
    let mut entries = list(root)?;
    while let Some(folder) = folders.pop() {
        for entry in list(&folder)? {
            if entry.is_dir() { folders.push(entry) } else { entries.push(entry) }
        }
    }
    found
        .extend(entries.into_iter().filter(|path| path.extension().is_some_and(|end| end == "md")));
    found.sort();
    Ok(found)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn read(paper: &Path) -> Result<String> {
    fs::read_to_string(paper).with_context(|| format!("cannot read {}", paper.display()))
}

/// Links of a paper that lead to no file, or to no heading of a paper. Links to other hosts are not
/// looked at.
fn dead_links(paper: &Path) -> Result<Vec<String>> {
    let text = read(paper)?;
    let folder = paper.parent().context("a file is in a folder")?;
    let mut dead = Vec::new();
    for link in links(&text).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = if path.is_empty() { paper.to_owned() } else { folder.join(path) };
        let is_paper = target.extension().is_some_and(|end| end == "md");
        let alive = target.exists()
            && (anchor.is_empty() || !is_paper || has_heading(&read(&target)?, anchor));
        if !alive {
            dead.push(link.to_owned());
        }
    }
    Ok(dead)
}

/// Lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Targets of the links in a text: `[words](target)`, and `[words]: target` at the start of a line.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let defined = prose(text)
        .filter(|line| line.starts_with('['))
        .filter_map(|line| line.split_once("]: ").map(|(_, target)| target.trim()));
    prose(text).flat_map(inline_targets).chain(defined)
}

fn inline_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|after| after.split([')', ' ']).next())
}

/// Tells whether a heading of a text has this anchor, by the rules of GitHub.
fn has_heading(text: &str, anchor: &str) -> bool {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let mut anchors = headings.map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    });
    anchors.any(|known| known == anchor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let paper = folder.path().join("paper.md");
        fs::write(&paper, text).unwrap();
        fs::write(folder.path().join("other.md"), "# Other\n\n## `Two` words, here\n").unwrap();
        dead_links(&paper).unwrap()
    }

    #[test]
    fn a_link_to_a_missing_file_or_heading_is_dead() {
        let text = "# A\n[a](gone.md), [b](other.md#gone) and [c](#b)\n[d]: gone/too.md\n";
        assert_eq!(dead(text), ["gone.md", "other.md#gone", "#b", "gone/too.md"]);
    }

    #[test]
    fn links_that_lead_somewhere_are_alive() {
        let text = "# A\n[a](other.md) [b](other.md#two-words-here) [c](#a) [d](https://a.example/x)\n\
                    ```\n[e](gone.md)\n```\n";
        assert_eq!(dead(text), Vec::<String>::new());
    }
}
