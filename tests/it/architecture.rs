//! The rules of the house, checked on the source as the compiler sees it.
//!
//! [`source`] parses every file and lists what it imports; the other files hold one kind of rule
//! each. A rule is a function over sources, so that a test can feed it a violation and see it fail.

mod crates;
mod floors;
mod marks;
mod names;
mod papers;
mod prose;
mod purity;
mod source;

use source::Source;

/// Fails with every broken rule, one a line.
#[track_caller]
fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Checks that a rule refuses each of these trees of files, and that it holds for the real tree.
#[track_caller]
fn holds(rule: impl Fn(&[Source]) -> Vec<String>, violations: &[&[(&str, &str)]]) {
    for files in violations {
        let fed: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        assert!(!rule(&fed).is_empty(), "the rule accepts what it has to refuse: {files:?}");
    }
    assert_none(&rule(&source::tree()));
}
