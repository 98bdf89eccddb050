//! Help texts and completions.

use super::{end, hearken};

fn help(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let ended = end(hearken(directory.path(), arguments).env("COLUMNS", "100"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.lines().all(|line| line.chars().count() <= 100), "{}", ended.out);
    ended.out
}

#[test]
fn the_program_lists_its_commands() {
    insta::assert_snapshot!(help(&["--help"]), @r#"
    Keeps one audited list of a cluster's event listeners, makes RabbitMQ match it, and runs them

    Usage: hearken <COMMAND>

    Commands:
      serve         Run a node
      migrate       Bring the schema of a PostgreSQL database up to date
      adopt         Give the log a new identity, after a restore or a loss of the database
      listeners     List, add and remove the listeners of the cluster
      buses         List, add, change and remove the buses of the cluster
      cluster       Show and change the settings of the cluster
      classes       List the classes that the node can run
      topology      Compare the broker with the roster, and repair the broker
      nodes         List the nodes, and the listeners that do not run on them
      events        Send events, and follow the events of registration keys
      dead-letters  List, redeliver and delete events whose retries are used up
      tasks         List, show and cancel tasks: work that outlives its request
      health        Show the state of every component; fails when a component is unhealthy
      doctor        Check the settings of serve and everything that they name
      completions   Print a script that completes commands in a shell

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Examples:
      hearken serve                                  run a node with everything embedded
      hearken listeners add --class log              log every event of mailboxEvent
      hearken events send mailboxEvent --type demo   send an event
      hearken topology drift                         show what differs on the broker
      hearken health                                 show the state of every component

    Exit codes: 0 done, 1 failed, 2 usage, 3 refused by the server, 4 server unreachable,
    5 done, but the broker did not have the change within the time of --wait.
    "#);
}

#[test]
fn the_help_of_remove_explains_what_happens_to_pending_events() {
    insta::assert_snapshot!(help(&["listeners", "remove", "--help"]), @r#"
    Remove a listener

    Usage: hearken listeners remove [OPTIONS] <GROUP>

    Arguments:
      <GROUP>  Group of the listener

    Options:
          --pending <WHAT>         What happens to the pending events of the listener [possible values:
                                   keep, drain, discard]
          --reason <TEXT>          Reason for the change, kept in the history
          --wait <TIME>            Wait at most this long, such as 5s or 1h, until the broker has the
                                   change
          --idempotency-key <KEY>  Key of the command: the server executes commands with the same key
                                   only once
      -h, --help                   Print help

    Server and output:
          --url <URL>        Address of any node of the cluster [env: HEARKEN_URL=] [default:
                             http://127.0.0.1:8000]
          --token <TOKEN>    Bearer token [default: the generated token in the data directory] [env:
                             HEARKEN_TOKEN]
          --data-dir <DIR>   Data directory of a server on this machine, which holds the generated token
                             [default: ./hearken-data, for a server on this machine] [env:
                             HEARKEN_DATA_DIR=]
          --output <FORMAT>  Form of the output: a table for people, or the server's JSON unchanged
                             [default: table] [possible values: table, json]

    Pending events of a removed listener:
      keep     the queue is unbound and kept; adding the group again consumes it (the default)
      drain    the queue is unbound, consumed until it is empty, then deleted
      discard  the queue is unbound and deleted with its events

    With drain or discard, --wait ends when the queue is deleted. With exit code 5 it was not deleted
    in time, and hearken goes on by itself.
    "#);
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = help_free(&["completions", shell]);
        assert!(script.contains("topology") && script.contains("reconcile"), "{shell}");
    }
}

fn help_free(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let ended = end(&mut hearken(directory.path(), arguments));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.out
}
