//! What a machine can hold of the rules for language: `CONTRIBUTING.md` has all of them.

use super::{assert_none, source};

/// Words and phrases that make a reader guess, each with what to write instead.
const BANNED: &[(&str, &str)] = &[
    ("somebody", "name the consumer, operator, node or caller"),
    ("nobody", "say what is absent"),
    ("whoever", "name the consumer, operator, node or caller"),
    ("whatever", "name it, or write \"any\""),
    ("anew", "again"),
    ("in hand", "unacknowledged, running, or held by a consumer"),
    ("at most so", "give the bound"),
    ("that is none", "say what it is not valid as"),
    ("is no failure", "say that it is not an error"),
    ("is nothing", "say what happens"),
];

/// Decisions of James, whose numbers must not be taken for ours.
const JAMES: [&str; 6] = ["26", "27", "35", "36", "37", "47"];

/// The widest line of a comment, in characters.
const WIDTH: usize = 100;

/// The longest name of a test, in characters.
const TEST_NAME: usize = 80;

/// Where prose is: documentation, comments and messages.
fn prose() -> Vec<(String, String)> {
    let places = [
        ".ci",
        "benches",
        "core",
        "docs",
        "examples",
        "fuzz/src",
        "migrations",
        "src",
        "tests",
        "xtask",
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "openapi.yaml",
    ];
    let mut texts = source::texts(&places, &["rs", "md", "sql", "toml", "yaml"]);
    texts.retain(|(path, _)| !path.ends_with("architecture/prose.rs"));
    texts
}

/// The words of a line, in lower case. A name of a test counts as a sentence. A word that stands
/// alone between quotes is a literal, as the Unix user `nobody`, and is left out.
fn words(line: &str) -> Vec<String> {
    let mut line = line.to_owned();
    for (banned, _) in BANNED.iter().filter(|(banned, _)| !banned.contains(' ')) {
        for quote in ['"', '`'] {
            line = line.replace(&format!("{quote}{banned}{quote}"), "");
        }
    }
    let names_a_test = line.trim_start().starts_with("fn ") || line.contains("async fn ");
    let between = |c: char| !c.is_alphanumeric() && (names_a_test || c != '_');
    line.split(between).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// What is wrong with one line.
fn faults(line: &str) -> Vec<String> {
    let words = words(line);
    let mut faults = Vec::new();
    for (banned, instead) in BANNED {
        let phrase: Vec<&str> = banned.split(' ').collect();
        if words.windows(phrase.len()).any(|window| window == phrase) {
            faults.push(format!("\"{banned}\": {instead}"));
        }
    }
    let decision = words.windows(2).position(|pair| pair[0] == "adr" && JAMES.contains(&&*pair[1]));
    if decision.is_some_and(|at| at == 0 || words[at - 1] != "james") {
        faults.push("write \"James ADR n\" for a decision of James".to_owned());
    }
    let comment = line.trim_start().starts_with("//");
    if comment && line.chars().count() > WIDTH && !line.contains("://") {
        faults.push(format!("a comment is wider than {WIDTH} characters"));
    }
    faults
}

/// The names of the tests of a file.
fn test_names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(at) = line.find("fn ").filter(|_| marked) {
            names.extend(line[at + 3..].split('(').next());
            marked = false;
        }
    }
    names
}

#[test]
fn prose_names_its_subjects() {
    let mut broken = Vec::new();
    for (path, text) in prose() {
        for (number, line) in text.lines().enumerate() {
            let faults = faults(line);
            broken.extend(faults.iter().map(|fault| format!("{path}:{}: {fault}", number + 1)));
        }
    }
    assert_none(&broken);
}

#[test]
fn names_of_tests_can_be_read_at_a_glance() {
    let mut broken = Vec::new();
    for (path, text) in prose() {
        let long = test_names(&text).into_iter().filter(|name| name.len() > TEST_NAME);
        broken.extend(long.map(|name| format!("{path}: {name} has {} characters", name.len())));
    }
    assert_none(&broken);
}

#[test]
fn the_rules_for_prose_refuse_what_they_name() {
    for wrong in [
        "/// Whoever asks.",
        "// as Nobody knows",
        "    fn what_nobody_reads() {",
        "the event in hand",
        r#"it says "nobody knows""#,
        "(ADR 35)",
        "ADR 35, as James has it",
    ] {
        assert!(!faults(wrong).is_empty(), "{wrong}");
    }
    assert!(!faults(&format!("// {}", "x".repeat(100))).is_empty());
    for right in [
        "James ADR 35",
        "ADR 8",
        "let nobody_else = in_hand;",
        "James's ADR 5",
        r#"["postgres", "nobody"]"#,
        "the user `nobody`",
    ] {
        assert_eq!(faults(right), Vec::<String>::new(), "{right}");
    }
    assert_eq!(test_names("#[test]\nfn a_b() {}\nfn c() {}"), ["a_b"]);
}
