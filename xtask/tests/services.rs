//! The servers are what they promise: private, killable, and the same again
//! after a restart.

use std::{net::TcpListener, process::Command, thread};
use xtask::services::{Postgres, RabbitMq, RabbitMqVersion, Slot, default_dir, http_get};

#[test]
fn what_postgres_committed_survives_a_kill() {
    let dir = scratch("postgres");
    let mut server = Postgres::start(dir.dir()).unwrap();
    psql(&server, "CREATE TABLE kept AS SELECT 42 AS answer");

    server.kill();
    assert!(port_is_free(server.port()));

    server.restart().unwrap();
    assert_eq!(psql(&server, "SELECT answer FROM kept"), "42");
    server.stop();
    assert!(port_is_free(server.port()));
}

#[test]
fn a_broker_is_killed_and_restarted_beside_another() {
    let (dir, other_dir) = (scratch("broker"), scratch("broker"));
    let version = RabbitMqVersion::from_env();
    let (mut broker, other) = thread::scope(|threads| {
        let broker = threads.spawn(|| RabbitMq::start(dir.dir(), version).unwrap());
        let other = RabbitMq::start(other_dir.dir(), version).unwrap();
        (broker.join().unwrap(), other)
    });
    broker.ctl(&["add_vhost", "kept"]).unwrap();

    broker.kill();
    assert!(port_is_free(broker.amqp_port()));
    assert!(broker.ctl(&["list_vhosts"]).is_err());
    let answer = http_get(other.management_port(), "/api/vhosts").unwrap();
    assert!(answer.0 == 200 && !answer.1.contains("kept"), "{answer:?}");

    broker.restart().unwrap();
    assert!(broker.ctl(&["list_vhosts"]).unwrap().contains("kept"));
    broker.stop();
    assert!(port_is_free(broker.amqp_port()));
}

#[test]
fn a_node_of_a_cluster_is_killed_the_others_go_on_and_it_comes_back_to_them() {
    let dir = scratch("cluster");
    let mut nodes = RabbitMq::start_cluster(dir.dir(), RabbitMqVersion::from_env(), 3).unwrap();
    nodes[0].kill();
    nodes[1].ctl(&["add_vhost", "kept"]).unwrap();
    nodes[0].restart().unwrap();
    assert!(nodes[0].ctl(&["list_vhosts"]).unwrap().contains("kept"));
}

fn scratch(name: &str) -> Slot {
    Slot::acquire(&default_dir(), &format!("xtask-{name}")).expect("a scratch directory")
}

fn port_is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn psql(server: &Postgres, sql: &str) -> String {
    let output = Command::new("psql")
        .args([&server.url(), "-v", "ON_ERROR_STOP=1", "-qAtc", sql])
        .output()
        .expect("psql comes with PostgreSQL");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
