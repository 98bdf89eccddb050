//! The rules of the house, checked.

use std::{fs, path::Path};

/// What each layer must not name. A line here is an architecture decision: change it in the same
/// commit as the README's list of what holds.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "src/domain",
        &[
            "sqlx",
            "lapin",
            "axum",
            "tokio",
            "reqwest",
            "tracing",
            "crate::store",
            "crate::broker",
            "crate::bus",
            "crate::http",
            "crate::roster",
            "async fn",
            ".await",
            "now_utc",
            "::now()",
            "std::fs",
            "std::env",
        ],
    ),
    (
        "src/store",
        &["lapin", "axum", "reqwest", "crate::http", "crate::cli", "crate::broker", "crate::bus"],
    ),
    ("src/broker", &["sqlx", "axum", "crate::http", "crate::cli", "crate::roster"]),
    (
        "src/bus",
        &["sqlx", "axum", "crate::http", "crate::cli", "crate::roster", "crate::reconcile"],
    ),
    (
        "src/roster",
        &["sqlx", "lapin", "axum", "crate::http", "crate::cli", "crate::broker", "crate::bus"],
    ),
    ("src/reconcile", &["sqlx", "lapin", "axum", "crate::http", "crate::cli"]),
    ("src/node", &["sqlx", "lapin", "axum", "crate::http", "crate::cli", "crate::broker"]),
    ("src/http", &["sqlx", "lapin", "crate::broker", "crate::cli"]),
];

/// Concrete types that only the composition root names outside their own module.
const CONCRETE: &[(&str, &str)] = &[
    ("RabbitMqBroker", "src/broker"),
    ("LocalBroker", "src/broker"),
    ("RabbitMqBus", "src/bus"),
    ("LocalBus", "src/bus"),
];

/// The code lines of a module: `layer.rs` and everything below `layer/`, tests and comments left out.
fn code(layer: &str) -> Vec<(String, usize, String)> {
    let mut files = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    collect(&root.join(layer).with_extension("rs"), &mut files);
    collect(&root.join(layer), &mut files);
    let mut lines = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("#[cfg(test)]") {
                break;
            }
            let code = line.split("//").next().unwrap_or_default().to_owned();
            lines.push((file.display().to_string(), number + 1, code));
        }
    }
    lines
}

fn collect(path: &Path, files: &mut Vec<std::path::PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder can be read") {
            collect(&entry.expect("an entry can be read").path(), files);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs")
        && path.exists()
        && !path.ends_with("tests.rs")
    {
        files.push(path.to_owned());
    }
}

#[test]
fn no_layer_names_what_is_above_or_beside_it() {
    let mut broken = Vec::new();
    for (layer, forbidden) in FORBIDDEN {
        let code = code(layer);
        assert!(!code.is_empty(), "{layer} is not where this test looks");
        for (file, line, text) in code {
            for name in *forbidden {
                if text.contains(name) {
                    broken.push(format!("{file}:{line} names `{name}`"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn only_the_composition_root_names_every_concrete_type() {
    let mut broken = Vec::new();
    for (file, line, text) in code("src") {
        if file.ends_with("src/cli/serve.rs") || file.contains("src/cli/doctor") {
            continue;
        }
        for (name, home) in CONCRETE {
            if text.contains(name) && !file.contains(home) {
                broken.push(format!("{file}:{line} names `{name}`"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn no_file_has_more_than_five_hundred_lines_of_code() {
    let mut lines = std::collections::BTreeMap::<String, usize>::new();
    for (file, _, text) in code("src") {
        if !text.trim().is_empty() {
            *lines.entry(file).or_default() += 1;
        }
    }
    let long: Vec<_> = lines.into_iter().filter(|(_, lines)| *lines > 500).collect();
    assert!(long.is_empty(), "{long:?}");
}
