//! What the program says of itself.

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
      listeners     The listeners of the cluster, and the history of that list
      classes       The classes that a node can run
      topology      What the broker ought to hold, what it holds, and the difference
      nodes         The nodes, and what does not run on them
      events        Send events, and follow those of some keys
      dead-letters  Events that somebody gave up on: list them, put them back, delete them
      tasks         Longer work that somebody asked for
      health        How everything is; fails when something is not well
      doctor        Check the settings of serve and everything they name
      completions   Print a script that completes commands in a shell

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Examples:
      hearken serve                                  run a node, everything embedded
      hearken listeners add --class log              have every event of mailboxEvent logged
      hearken events send mailboxEvent --type demo   send an event
      hearken topology drift                         what differs on the broker
      hearken health                                 how everything is

    Exit codes: 0 done, 1 failed, 2 usage, 3 refused by the server, 4 server unreachable.
    "#);
}

#[test]
fn removing_a_listener_explains_what_becomes_of_its_events() {
    insta::assert_snapshot!(help(&["listeners", "remove", "--help"]), @r#"
    Remove a listener

    Usage: hearken listeners remove [OPTIONS] <GROUP>

    Arguments:
      <GROUP>  The listener's group

    Options:
          --pending <WHAT>         What becomes of the events that wait for it [possible values: keep,
                                   drain, discard]
          --reason <TEXT>          Why; kept in the history
          --wait <TIME>            Wait until the broker follows, at most so long, such as 5s
          --idempotency-key <KEY>  Names the command, so that it can be sent again without being done
                                   twice
      -h, --help                   Print help

    Server and output:
          --url <URL>        Any node of the cluster [env: HEARKEN_URL=] [default:
                             http://127.0.0.1:8000]
          --token <TOKEN>    The bearer token; else the one in the data directory is used [env:
                             HEARKEN_TOKEN]
          --data-dir <DIR>   The data directory of a server on this machine, whose generated token is
                             used [default: ./hearken-data, for a server on this machine] [env:
                             HEARKEN_DATA_DIR=]
          --output <FORMAT>  A table for people, or the server's JSON unchanged [default: table]
                             [possible values: table, json]

    What becomes of the events that wait for the listener:
      keep     the queue is unbound and kept; adding the group again consumes it (the default)
      drain    the queue is unbound, consumed until it is empty, then deleted
      discard  the queue is unbound and deleted with what it holds
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
