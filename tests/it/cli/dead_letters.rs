//! `hearken dead-letters`.

use super::{fake::Fake, run, words};

const ID: &str = "0199c0de-0000-7000-8000-000000000001";
const TASK: &str = "6e0dd59d-660e-4d9b-b22f-0354479f47b4";

fn entry() -> String {
    format!(
        r#"{{"insertionId":"{ID}","bus":"mailboxEvent","group":"index","eventId":"e-1","eventType":"Added","user":"bob","keys":[],"cause":"the receiver\u001b answered 500","attempts":9,"firstFailedAt":"2026-11-21T05:00:00Z","lastFailedAt":"2026-11-21T05:01:00Z","node":"n1"}}"#
    )
}

fn task(status: &str, done: u32, failed: u32) -> String {
    format!(
        r#"{{"taskId":"{TASK}","type":"event-dead-letters-redeliver-group","status":"{status}","submitDate":"2026-11-21T05:00:00.000+0000","additionalInformation":{{"type":"event-dead-letters-redeliver-group","successfulRedeliveriesCount":{done},"failedRedeliveriesCount":{failed}}}}}"#
    )
}

fn unknown() -> String {
    format!(
        r#"{{"type":"/problems/not-found","title":"Nothing there","detail":"there is no dead letter {ID}"}}"#
    )
}

fn started() -> String {
    format!(r#"{{"taskId":"{TASK}"}}"#)
}

fn split(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_by_filters_and_to_the_end() {
    let first = format!(r#"{{"deadLetters":[{}],"next":7}}"#, entry());
    let query = "group=index&limit=1";
    let server = Fake::start()
        .await
        .json(
            "GET /events/deadLetter?bus=b&type=Added&user=bob&since=s&before=t",
            200,
            r#"{"deadLetters":[]}"#,
        )
        .json("GET /events/deadLetter?group=index&limit=1", 200, &first)
        .json("GET /events/deadLetter?group=index&limit=1", 200, &first)
        .json("GET /events/deadLetter?group=index&after=7&limit=1", 200, r#"{"deadLetters":[]}"#);
    let none = run(
        &server,
        &split("dead-letters list --bus b --type Added --user bob --since s --before t"),
    );
    assert_eq!((none.code, none.out.as_str()), (Some(0), "no dead letters\n"), "{none:?}");
    let page = run(&server, &split("dead-letters list --group index --limit 1"));
    let shown = words(&page.out);
    assert_eq!(shown[1][..4], [ID, "index", "Added", "9"], "{}", page.out);
    assert!(
        page.out.ends_with("continue with --after 7, or list everything with --all\n"),
        "{}",
        page.out
    );
    assert!(!page.out.contains('\u{1b}'), "a cause cannot drive the terminal");
    let all = run(&server, &split("dead-letters list --group index --limit 1 --all --output json"));
    assert_eq!((all.code, all.out), (Some(0), format!("{first}\n{{\"deadLetters\":[]}}\n")));
    assert_eq!(server.lines().iter().filter(|line| line.contains(query)).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_shown_with_its_event() {
    let (show, raw) = (
        format!("GET /events/deadLetter/{ID}"),
        format!("GET /events/deadLetter/groups/index/{ID}"),
    );
    let mut server = Fake::start().await;
    for _ in 0..3 {
        server = server.json(&show, 200, &entry());
    }
    for _ in 0..2 {
        server = server.answer(&raw, 200, "application/cloudevents+json", "{\"id\":\"e-1\"}");
    }
    let server = server.problem(&show, 404, &unknown());
    let shown = run(&server, &["dead-letters", "show", ID]);
    assert_eq!(words(&shown.out)[0], ["insertionId", ID], "{}", shown.out);
    assert!(shown.out.ends_with("\n\n{\"id\":\"e-1\"}\n"), "{}", shown.out);
    let json = run(&server, &["dead-letters", "show", ID, "--output", "json"]);
    assert_eq!(json.out, format!("{}\n", entry()));
    let event = run(&server, &["dead-letters", "show", ID, "--event"]);
    assert_eq!(event.out, "{\"id\":\"e-1\"}\n");
    let gone = run(&server, &["dead-letters", "show", ID]);
    assert_eq!(gone.code, Some(3), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_is_watched_to_its_end() {
    let path = "POST /events/deadLetter/groups/index?bus=b&limit=3&action=reDeliver";
    let wait = format!("GET /tasks/{TASK}/await?timeout=2000ms");
    let late = r#"{"type":"/problems/timeout","title":"Took too long","detail":"The timeout has been reached"}"#;
    let server = Fake::start()
        .await
        .json(path, 201, &started())
        .problem(&wait, 408, late)
        .json(&format!("GET /tasks/{TASK}"), 200, &task("inProgress", 2, 0))
        .json(&wait, 200, &task("completed", 3, 0));
    let ended = run(&server, &split("dead-letters redeliver --group index --bus b --limit 3"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err, "2 redelivered, 0 failed\n");
    assert!(words(&ended.out).contains(&vec!["status", "completed"]), "{}", ended.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivering_entries_by_id_fails_when_one_entry_fails() {
    let show = format!("GET /events/deadLetter/{ID}");
    let path = format!("POST /events/deadLetter/groups/index/{ID}?action=reDeliver");
    let wait = format!("GET /tasks/{TASK}/await?timeout=2000ms");
    let server = Fake::start()
        .await
        .json(&show, 200, &entry())
        .json(&path, 201, &started())
        .json(&wait, 200, &task("failed", 0, 1))
        .problem(&show, 404, &unknown())
        .json("POST /events/deadLetter?action=reDeliver", 201, &started());
    assert_eq!(run(&server, &["dead-letters", "redeliver", ID]).code, Some(1));
    let before = server.lines().len();
    assert_eq!(run(&server, &["dead-letters", "redeliver", ID]).code, Some(3));
    assert_eq!(server.lines().len(), before + 1, "nothing is redelivered when an entry is missing");
    let left = run(&server, &split("dead-letters redeliver --all --no-wait"));
    assert_eq!((left.code, left.out), (Some(0), format!("task {TASK}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_deleted_by_id_by_group_and_by_age() {
    let server = Fake::start()
        .await
        .json(&format!("GET /events/deadLetter/{ID}"), 200, &entry())
        .json(&format!("DELETE /events/deadLetter/groups/index/{ID}"), 204, "")
        .json("DELETE /events/deadLetter/groups/index", 204, "")
        .json("DELETE /events/deadLetter/groups/index?bus=b&olderThan=30d", 204, "")
        .json("DELETE /events/deadLetter?olderThan=12h", 201, &started())
        .json(&format!("GET /tasks/{TASK}/await?timeout=2000ms"), 200, &task("completed", 0, 0));
    for arguments in [
        format!("dead-letters delete {ID}"),
        "dead-letters delete --group index".into(),
        "dead-letters delete --group index --older-than 30d --bus b".into(),
    ] {
        let ended = run(&server, &split(&arguments));
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(0), "deleted\n"),
            "{arguments}: {ended:?}"
        );
    }
    let watched = run(&server, &split("dead-letters delete --older-than 12h"));
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(words(&watched.out).contains(&vec!["status", "completed"]), "{}", watched.out);
    assert_eq!(server.lines().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_chooses_no_entries_does_nothing() {
    let server = Fake::start().await;
    for arguments in [
        "dead-letters delete",
        "dead-letters delete --bus b",
        "dead-letters delete x",
        "dead-letters redeliver",
        "dead-letters redeliver --limit 3",
        "dead-letters redeliver --all --group a",
        "dead-letters show",
    ] {
        let ended = run(&server, &split(arguments));
        assert_eq!(ended.code, Some(2), "{arguments}: {ended:?}");
    }
    let mixed = format!("dead-letters redeliver {ID} --user bob");
    assert_eq!(run(&server, &split(&mixed)).code, Some(2));
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_with_its_keys() {
    let line = "POST /events/mailboxEvent?key=MailboxId%3A18&key=konto+%C3%A9";
    let server = Fake::start().await.json(line, 202, r#"{"eventId":"e-1"}"#);
    let keys = ["--key", "MailboxId:18", "--key", "konto é"];
    let ended =
        run(&server, &[&["events", "send", "mailboxEvent", "--type", "t"], &keys[..]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let wrong =
        run(&server, &["events", "send", "mailboxEvent", "--type", "t", "--key", "hearken:x"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
