//! Which room may import which: never a room of the same floor or of a higher one.

use super::{Source, assert_none, holds, source};
use std::collections::BTreeSet;

/// The rooms of the program, floor by floor from the ground. Imports point downwards, so there is
/// no circle between rooms. A change here is a decision about the architecture: change the list of
/// rooms in `README.md` in the same commit.
const FLOORS: &[&[&str]] = &[
    &["domain", "json"],
    &["background", "clock", "error_chain", "shutdown", "tls"],
    &["config", "metrics", "outage", "shared_read"],
    &["amqp", "store", "telemetry"],
    &["broker", "bus", "tasks"],
    &["listeners", "retention"],
    &["roster"],
    &["dispatch", "node", "reconcile"],
    &["health"],
    &["http"],
    &["cli"],
];

/// Files that are no room: the root of the library and the binary.
const ROOTS: [&str; 2] = ["lib", "main"];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

fn imports_point_downwards(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("src/")) {
        if ROOTS.contains(&source.room()) {
            continue;
        }
        let Some(own) = floor(source.room()) else {
            broken.push(format!("{}: room {} has no floor", source.path, source.room()));
            continue;
        };
        for room in source.rooms() {
            match floor(room) {
                Some(other) if other < own => {}
                Some(_) => {
                    broken.push(format!("{} imports {room}, which is not below", source.path));
                }
                None => broken.push(format!("{} imports {room}, which has no floor", source.path)),
            }
        }
    }
    broken
}

/// A request changes nothing on the broker, and what it reads of the broker goes through
/// `reconcile`.
fn http_does_not_know_the_broker(sources: &[Source]) -> Vec<String> {
    let http = sources.iter().filter(|source| source.room() == "http");
    http.flat_map(|source| {
        let broker = |path: &&String| {
            ["crate::broker", "crate::bus::rabbitmq", "crate::amqp"]
                .iter()
                .any(|room| path.starts_with(room))
        };
        source.paths.iter().filter(broker).map(|path| format!("{} names {path}", source.path))
    })
    .collect()
}

/// Types of one of two implementations, with the room where they are made.
const CONCRETE: &[(&str, &str)] = &[
    ("RabbitMqBroker", "src/broker"),
    ("LocalBroker", "src/broker"),
    ("RabbitMqBus", "src/bus"),
    ("LocalBus", "src/bus"),
];

/// Only the composition root chooses an implementation. `hearken doctor` looks at a broker without
/// starting a node.
fn only_the_composition_root_names_implementations(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        // These local commands work on the services of `serve` without a node.
        let local = ["src/cli/serve", "src/cli/doctor", "src/cli/adopt"];
        if local.iter().any(|command| source.path.starts_with(command)) {
            continue;
        }
        for (name, home) in CONCRETE {
            let named = |path: &String| path.split("::").any(|segment| segment == *name);
            if !source.path.starts_with(home) && source.paths.iter().any(named) {
                broken.push(format!("{} names {name}", source.path));
            }
        }
    }
    broken
}

#[test]
fn no_import_points_upwards_or_sideways() {
    let late = "#[cfg(test)] mod tests {} fn f() { crate::cli::run() }";
    let violations: &[&[(&str, &str)]] = &[
        &[("src/store/log.rs", "use crate::{clock, http::{Problem}};")],
        &[("src/bus.rs", "pub use crate::broker::Broker;")],
        &[("src/attic.rs", "")],
        &[("src/node.rs", late)],
    ];
    holds(imports_point_downwards, violations);
}

#[test]
fn the_floors_name_every_room_and_no_other() {
    let tree = source::tree();
    let built: BTreeSet<&str> = tree.iter().map(Source::room).collect();
    let listed = FLOORS.iter().flat_map(|floor| floor.iter().copied());
    let missing = listed.filter(|room| !built.contains(room));
    assert_none(&missing.map(|room| format!("there is no room {room}")).collect::<Vec<_>>());
}

#[test]
fn http_reads_the_broker_through_the_reconciler_alone() {
    let text = "use crate::{bus::{event::Event, rabbitmq::RabbitMqBus}};";
    holds(http_does_not_know_the_broker, &[&[("src/http/events.rs", text)]]);
}

#[test]
fn only_the_composition_root_chooses_implementations() {
    let text = "use crate::bus::local::LocalBus;";
    holds(only_the_composition_root_names_implementations, &[&[("src/node.rs", text)]]);
}
