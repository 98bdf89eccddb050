//! Which room may use which library.

use super::{Source, holds};

/// Libraries, each with the rooms that may name it. A library that is not listed is free.
const HOMES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("lapin", &["amqp", "broker", "bus"]),
    ("axum", &["http"]),
    ("axum_server", &["http", "cli"]),
    ("tower_http", &["http"]),
    ("utoipa", &["http"]),
    ("utoipa_axum", &["http"]),
    ("clap", &["cli", "config", "telemetry"]),
    ("comfy_table", &["cli"]),
    ("prometheus_client", &["metrics"]),
    ("rustls", &["amqp", "tls"]),
];

fn libraries_stay_at_home(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        for (library, rooms) in HOMES {
            let named = |path: &String| path.split("::").next() == Some(library);
            if !rooms.contains(&source.room()) && source.paths.iter().any(named) {
                broken.push(format!("{} names {library}", source.path));
            }
        }
    }
    broken
}

#[test]
fn a_library_is_named_only_in_its_rooms() {
    let violations: &[&[(&str, &str)]] = &[
        &[("src/node.rs", "use {std::fmt, sqlx::Row};")],
        &[("src/store.rs", "fn f() { lapin::Connection::connect() }")],
    ];
    holds(libraries_stay_at_home, violations);
}
