//! `hearken events tail`.

use super::{Fake, hearken, run};
use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

const LINE: &str = "GET /events/mailboxEvent/notifications?key=a%3A1&key=b";

fn notification(id: &str) -> String {
    format!(
        "event: notification\ndata: {{\"keys\":[\"a:1\",\"b\"],\"event\":{{\"id\":\"{id}\",\"type\":\"Added\",\"user\":\"bob\"}}}}\n\n"
    )
}

async fn server() -> Fake {
    let stream = "text/event-stream";
    let first =
        format!("retry: 100\n\n: \n\n{}event: resynchronise\ndata: {{}}\n\n", notification("1"));
    Fake::start()
        .await
        .answer(LINE, 200, stream, &first)
        .answer(LINE, 503, "text/plain", "away")
        .answer(LINE, 200, stream, &notification("2"))
}

/// The first lines on standard output, and the text on standard error.
fn tail(server: &Fake, more: &[&str], lines: usize) -> (Vec<String>, String) {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["events", "tail", "mailboxEvent", "--key", "a:1", "--key", "b"];
    let arguments = [&arguments[..], &["--url", server.url.as_str()], more].concat();
    let mut command = hearken(directory.path(), &arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines = out.lines().take(lines).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (lines, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_printed_for_each_notification_and_gaps_are_reported() {
    let (lines, said) = tail(&server().await, &[], 2);
    assert_eq!(lines, ["a:1, b  Added  1  bob", "a:1, b  Added  2  bob"]);
    assert!(said.contains("events may have been missed"), "{said}");
    assert!(said.contains("connecting again; events may be missed until then"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_json_a_line_is_the_notification() {
    let (lines, _) = tail(&server().await, &["--output", "json"], 1);
    let json: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&json["keys"][1], &json["event"]["id"]), (&"b".into(), &"1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_key_is_required() {
    let server = Fake::start().await;
    for (arguments, words) in [
        (vec!["events", "tail", "b"], "--key"),
        (vec!["events", "tail", "b", "--key", ""], "it is empty"),
        (vec!["events", "tail", "b", "--key", "hearken:x"], "one of hearken's own"),
    ] {
        let ended = run(&server, &arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(words), "{}", ended.err);
    }
    assert_eq!(server.lines(), Vec::<String>::new());
}
