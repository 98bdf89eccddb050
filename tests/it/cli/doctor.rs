//! `hearken doctor` and `hearken migrate`, against real services.

use super::{Ended, end, hearken};
use crate::support::{
    node::{Setup, TOKEN},
    services::{database, virtual_host},
};
use reqwest::Method;
use serde_json::json;
use std::{net::TcpListener, path::Path};

/// Verdict and text of the first line about a check.
fn found<'a>(ended: &'a Ended, what: &str) -> (bool, &'a str) {
    let about = |line: &&str| line.get(6..).is_some_and(|rest| rest.starts_with(what));
    let line = ended.out.lines().find(about);
    let line = line.unwrap_or_else(|| panic!("nothing about {what} in {ended:?}"));
    (line.starts_with("ok"), &line[6 + what.len()..])
}

/// Asserts that a check failed with these words.
fn fails(ended: &Ended, what: &str, words: &str) {
    let (ok, text) = found(ended, what);
    assert!(!ok && text.contains(words), "{what}: {text}");
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}

fn doctor(directory: &Path, more: &[&str]) -> Ended {
    let address = free_address();
    end(&mut hearken(directory, &[&["doctor", "--listen", &address][..], more].concat()))
}

#[test]
fn before_the_first_start_all_checks_pass_and_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let ended = doctor(directory.path(), &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for what in ["settings", "node", "address", "data directory", "tokens", "classes"] {
        assert!(found(&ended, what).0, "{what}: {ended:?}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn every_trouble_of_this_machine_is_reported_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = free_address();
    let file = "data-dir = 'file/below'\nadmin-token-file = 'nowhere'\n\
        [[required]]\nclass = 'gone'\n\
        [[required]]\nclass = 'webhook'\nconfiguration = { url = { env = 'HEARKEN_SECRET_NOT_SET' } }\n";
    std::fs::write(directory.path().join("hearken.toml"), file).unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let url = format!("http://{port}");
    let arguments = ["doctor", "--listen", &address, "--url", &url];
    let ended = end(&mut hearken(directory.path(), &arguments));
    fails(&ended, "address", "choose another --listen");
    fails(&ended, "data directory", "cannot be written");
    fails(&ended, "tokens", "nowhere");
    fails(&ended, "required", "gone: class gone does not exist; the classes are log, webhook");
    let lines: Vec<_> =
        ended.out.lines().filter(|line| line.starts_with("FAIL  required")).collect();
    assert_eq!(lines.len(), 2, "{}", ended.out);
    assert!(lines[1].contains("NOT_SET"), "{}", lines[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_passes_all_checks_and_the_checks_change_nothing() {
    let (database, host) = (database().await, virtual_host().await);
    let directory = tempfile::tempdir().unwrap();
    let services = [
        "--database-url",
        &database,
        "--amqp-url",
        &host.amqp,
        "--management-url",
        &host.management,
    ];
    for _ in 0..2 {
        let ended = doctor(directory.path(), &services);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(
            found(&ended, "schema").1.contains("the first node that starts creates the schema")
        );
        assert!(found(&ended, "management").1.contains(" 0 objects"), "{ended:?}");
        assert!(found(&ended, "marker").1.contains("no marker yet"), "{ended:?}");
        assert!(found(&ended, "connections").1.contains("1 node needs 8 "), "{ended:?}");
        assert!(!format!("{ended:?}").contains("guest:guest"));
    }
    let migrate = || {
        let arguments = ["migrate", "--database-url", &database];
        let ended = end(&mut hearken(directory.path(), &arguments));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    };
    assert!(migrate().starts_with("applied 0001_start\n"));
    assert_eq!(migrate(), "nothing to do: the schema is up to date\n");
    let ended = doctor(directory.path(), &services);
    assert!(found(&ended, "schema").1.contains("up to date, of cluster "), "{ended:?}");
    let many =
        doctor(directory.path(), &[&services[..], &["--database-connections", "1000"]].concat());
    fails(&many, "connections", "raise its max_connections");

    let arguments = json!({"x-hearken-cluster": "00000000-0000-0000-0000-000000000007"});
    let marker =
        json!({"type": "direct", "durable": true, "internal": true, "arguments": arguments});
    let path = format!("exchanges/{}/hearken.meta", host.name);
    host.api(Method::PUT, &path, Some(marker)).await;
    let ended = doctor(directory.path(), &services);
    fails(&ended, "marker", "belongs to cluster 00000000-0000-0000-0000-000000000007");

    let none = json!({"configure": "^$", "write": ".*", "read": ".*"});
    host.api(Method::PUT, &format!("permissions/{}/guest", host.name), Some(none)).await;
    let ended = doctor(directory.path(), &services);
    fails(&ended, "amqp", "needs configure, write and read on ^hearken\\.");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_cannot_be_used_are_told_apart() {
    let (database, host) = (database().await, virtual_host().await);
    let directory = tempfile::tempdir().unwrap();
    let with = |database: &str, amqp: &str, management: &str| {
        let services =
            ["--database-url", database, "--amqp-url", amqp, "--management-url", management];
        let ended = doctor(directory.path(), &services);
        assert!(!format!("{ended:?}").contains("sesame"), "{ended:?}");
        ended
    };
    let unused = free_address();
    let ended = with(
        &format!("postgres://hearken:sesame@{unused}/x"),
        &host.amqp.replace("guest:guest", "guest:sesame"),
        &host.management.replace("guest:guest", "guest:sesame"),
    );
    fails(&ended, "database", "no database answers at");
    fails(&ended, "amqp", "the AMQP user or password is wrong");
    fails(&ended, "management", "refused user \"guest\"");
    let ended = with(
        &database,
        &host.amqp.replace(&host.name, "nowhere"),
        &format!("http://guest:guest@{unused}"),
    );
    assert!(found(&ended, "database").0, "{ended:?}");
    fails(&ended, "amqp", "does not let us use virtual host \"nowhere\"");
    fails(&ended, "management", "out of reach");
    let ended = with(&database, &format!("amqp://{unused}"), &host.management);
    fails(&ended, "amqp", "is out of reach");
    assert!(found(&ended, "broker version").0, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_is_found_with_its_version() {
    let node = Setup::embedded("patient").start().await;
    let directory = tempfile::tempdir().unwrap();
    let address = node.url.trim_start_matches("http://");
    let arguments = ["doctor", "--listen", address, "--token", TOKEN];
    let ended = end(&mut hearken(directory.path(), &arguments));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(found(&ended, "node").1.contains("is ready"), "{ended:?}");
    assert!(found(&ended, "address").1.contains("is taken, by the node that runs"), "{ended:?}");
    let version = format!("patient {}", env!("CARGO_PKG_VERSION"));
    assert!(found(&ended, "versions").1.contains(&version), "{ended:?}");
    let ended =
        end(&mut hearken(directory.path(), &["doctor", "--listen", address, "--token", "x"]));
    fails(&ended, "versions", "A token is needed");
}
