//! `/events/deadLetter`: James's calls, and hearken's additions.

use crate::support::{receiver::Receiver, rest, wait};
use serde_json::{Value, json};

pub(super) const ABSENT: &str = "6e0dd59d-660e-4d9b-b22f-0354479f47b4";

pub(super) fn event(id: &str, kind: &str, user: &str) -> String {
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": kind, "user": user})
        .to_string()
}

/// A listener that gives every event up at once, until its receiver is told to answer otherwise.
pub(super) async fn failing(rest: &rest::Rest, receiver: &Receiver, group: &str) {
    receiver.answer(500);
    let mut listener = receiver.listener(group);
    listener["retry"] = json!({"attempts": 0});
    rest.add(listener).await;
}

pub(super) async fn send(rest: &rest::Rest, event: String) {
    let request = rest.ask("POST", "/events/mailboxEvent");
    let sent =
        request.header("content-type", "application/cloudevents+json").body(event).send().await;
    assert_eq!(sent.status, 202, "{}", sent.text);
}

/// Waits until a listing has so many entries.
pub(super) async fn entries(rest: &rest::Rest, query: &str, count: usize) -> Vec<Value> {
    wait::until(&format!("{count} dead letters{query}"), async || {
        let page = rest.get(&format!("/events/deadLetter{query}")).await.body;
        let entries = page["deadLetters"].as_array().expect("a list").clone();
        (entries.len() == count).then_some(entries)
    })
    .await
}

pub(super) fn id(entry: &Value) -> &str {
    entry["insertionId"].as_str().expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_groups_gave_up_on_is_listed_shown_and_deleted() {
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    assert_eq!(rest.get("/events/deadLetter/groups").await.body, json!([]));
    assert_eq!(rest.get("/events/deadLetter").await.body, json!({"deadLetters": []}));
    failing(&rest, &receiver, "b").await;
    failing(&rest, &receiver, "a").await;
    let sent = event("one", "Tested", "bob");
    send(&rest, sent.clone()).await;
    let all = entries(&rest, "", 2).await;
    assert_eq!(rest.get("/events/deadLetter/groups").await.body, json!(["a", "b"]));
    assert_eq!(rest.get("/events/deadLetter/groups/unknown").await.body, json!([]));
    let of_a = entries(&rest, "?group=a", 1).await.remove(0);
    assert!(all.contains(&of_a), "{all:?}");
    let a = id(&of_a);
    assert_eq!(rest.get("/events/deadLetter/groups/a").await.body, json!([a]));
    for (member, value) in [
        ("bus", json!("mailboxEvent")),
        ("group", json!("a")),
        ("eventId", json!("one")),
        ("eventType", json!("Tested")),
        ("user", json!("bob")),
        ("keys", json!([])),
        ("attempts", json!(1)),
        ("node", json!("solo")),
        ("previous", json!(null)),
    ] {
        assert_eq!(of_a[member], value, "{member}");
    }
    assert!(of_a["cause"].as_str().unwrap().contains("500"), "{of_a}");
    let path = format!("/events/deadLetter/groups/a/{a}");
    let raw = rest.get(&path).await;
    assert_eq!(raw.header("content-type"), "application/cloudevents+json");
    assert_eq!((&raw.body["id"], &raw.body["user"]), (&json!("one"), &json!("bob")));
    assert_eq!(rest.get(&format!("{path}/details")).await.body, of_a);
    assert_eq!(rest.get(&format!("/events/deadLetter/{a}")).await.body, of_a);
    for elsewhere in [
        format!("/events/deadLetter/groups/b/{a}"),
        format!("/events/deadLetter/groups/b/{a}/details"),
        format!("/events/deadLetter/groups/a/{ABSENT}"),
        format!("/events/deadLetter/{ABSENT}"),
    ] {
        let answer = rest.ask("GET", &elsewhere).send().await;
        assert_eq!((answer.status, answer.problem()), (404, "not-found"), "{elsewhere}");
    }
    let delete = async |path: &str| rest.ask("DELETE", path).send().await.status;
    assert_eq!(delete(&format!("/events/deadLetter/groups/b/{a}")).await, 204);
    entries(&rest, "", 2).await;
    assert_eq!((delete(&path).await, delete(&path).await), (204, 204));
    assert_eq!(rest.get("/events/deadLetter/groups").await.body, json!(["b"]));
    let group = "/events/deadLetter/groups/b";
    assert_eq!((delete(group).await, delete(group).await), (204, 204));
    assert_eq!(rest.get("/events/deadLetter/groups").await.body, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged_while_entries_go() {
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    failing(&rest, &receiver, "a").await;
    for (name, kind, user) in [
        ("1", "Added", "bob"),
        ("2", "Expunged", "bob"),
        ("3", "Added", "al&ice"),
        ("4", "Added", "bob"),
    ] {
        send(&rest, event(name, kind, user)).await;
        entries(
            &rest,
            &format!("?user={}", user.replace('&', "%26")),
            match name {
                "1" | "3" => 1,
                "2" => 2,
                _ => 3,
            },
        )
        .await;
    }
    let listed = async |query: &str| {
        let page = rest.get(&format!("/events/deadLetter?{query}")).await.body;
        let entries = page["deadLetters"].as_array().expect("a list").clone();
        entries
            .iter()
            .map(|entry| entry["eventId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed("").await, ["1", "2", "3", "4"]);
    assert_eq!(listed("type=Added&user=bob").await, ["1", "4"]);
    assert_eq!(listed("user=al%26ice&group=a&bus=mailboxEvent").await, ["3"]);
    assert_eq!(listed("bus=jmapEvent").await, [""; 0]);
    assert_eq!(listed("type=%00").await, [""; 0]);
    assert_eq!(listed("since=2020-01-01T00:00:00Z&limit=1000").await.len(), 4);
    assert_eq!(listed("before=2020-01-01T00:00:00Z").await, [""; 0]);
    let first = rest.get("/events/deadLetter?type=Added&limit=1").await.body;
    let next = first["next"].as_u64().expect("there is more");
    let (group, first) = ("/events/deadLetter/groups/a", &first["deadLetters"][0]);
    assert_eq!(rest.ask("DELETE", &format!("{group}/{}", id(first))).send().await.status, 204);
    assert_eq!(listed(&format!("type=Added&after={next}")).await, ["3", "4"]);
    let page = rest.get(&format!("{group}?limit=2&type=Added&user=al%26ice")).await;
    assert_eq!((page.body.as_array().unwrap().len(), page.header("link")), (1, ""));
    let page = rest.get(&format!("{group}?limit=2")).await;
    assert_eq!(page.body.as_array().unwrap().len(), 2);
    let link = page.header("link").strip_suffix(">; rel=\"next\"").expect("it leads on").to_owned();
    let last = rest.get(link.strip_prefix('<').unwrap()).await;
    assert_eq!((last.body.as_array().unwrap().len(), last.header("link")), (1, ""));
    assert_eq!(rest.get(&format!("{group}?limit=0")).await.body, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_entries_are_deleted_by_their_age_and_young_ones_stay() {
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    failing(&rest, &receiver, "a").await;
    failing(&rest, &receiver, "b").await;
    send(&rest, event("1", "Tested", "bob")).await;
    entries(&rest, "", 2).await;
    let delete = async |path: &str| {
        if path.starts_with('?') {
            let task = rest.task("DELETE", &format!("/events/deadLetter{path}")).await;
            assert_eq!(task["status"], "completed", "{path}: {task}");
            return task["additionalInformation"]["removedCount"].as_u64().unwrap();
        }
        let answer = rest.ask("DELETE", &format!("/events/deadLetter{path}")).send().await;
        assert_eq!(answer.status, 204, "{path}: {}", answer.text);
        0
    };
    for young in ["?olderThan=30day", "/groups/a?olderThan=1h", "?olderThan=1ms&bus=jmapEvent"] {
        delete(young).await;
        entries(&rest, "", 2).await;
    }
    assert_eq!(delete("?olderThan=1ms&group=a").await, 1);
    assert_eq!(rest.get("/events/deadLetter/groups").await.body, json!(["b"]));
    delete("/groups/b?olderThan=1ms").await;
    entries(&rest, "", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_refused_in_james_words() {
    let rest = rest::node().await;
    let actions = "Supported values are [reDeliver]";
    for (method, path, detail) in [
        ("POST", "", "'action' query parameter is compulsory"),
        ("POST", "/groups/a?action=", "'action' query parameter cannot be empty or blank"),
        ("POST", "?action=burn", "Invalid value supplied for query parameter 'action': burn"),
        ("POST", "?action=reDeliver&limit=abc", "Can not parse limit"),
        ("POST", "/groups/a?action=reDeliver&limit=-1", "limit can not be negative"),
        ("GET", "/groups/a?limit=-1", "limit can not be negative"),
        ("GET", "/groups/a?limit=1.5", "Can not parse limit"),
        ("GET", "/groups/a?limit=10001", "limit is 10001; it must be 10000 or less"),
        ("GET", "?limit=0", "limit"),
        ("GET", "?since=yesterday", "since"),
        ("GET", "/groups/a?after=x", "after"),
        ("GET", "/groups/a/x", "Can not deserialize the supplied insertionId: x"),
        ("DELETE", "/groups/a/x", "Can not deserialize the supplied insertionId: x"),
        ("GET", "/x", "Can not deserialize the supplied insertionId: x"),
        ("DELETE", "", "'olderThan' query parameter is compulsory"),
        ("DELETE", "?olderThan=0d", "olderThan"),
        ("DELETE", "?olderThan=30", "olderThan"),
        ("DELETE", "?olderThan=999999999999d", "olderThan"),
    ] {
        let answer = rest.ask(method, &format!("/events/deadLetter{path}")).send().await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "invalid-parameter"),
            "{path}: {}",
            answer.text
        );
        let said = answer.body["detail"].as_str().unwrap();
        assert!(said.contains(detail), "{said}");
        assert!(
            !path.contains("action=") || path.contains("limit") || said.contains(actions),
            "{said}"
        );
    }
    for (method, path) in
        [("GET", "/groups/%2Ex"), ("DELETE", "/groups/a%20b"), ("GET", "?bus=a%20b")]
    {
        let answer = rest.ask(method, &format!("/events/deadLetter{path}")).send().await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "invalid-name"),
            "{path}: {}",
            answer.text
        );
    }
}
