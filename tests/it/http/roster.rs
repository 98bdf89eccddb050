//! `/listeners`.

use crate::support::rest;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_names_only_its_class_gets_the_defaults() {
    let rest = rest::node().await;
    let answer = rest.add(json!({"class": "log", "reason": "CHG-1"})).await;
    assert_eq!(answer.header("location"), "/listeners/log");
    assert_eq!(answer.header("etag"), "\"1\"");
    let body = &answer.body;
    for (field, value) in [
        ("group", json!("log")),
        ("bus", json!("mailboxEvent")),
        ("delivery", json!("once")),
        ("mode", json!("async")),
        ("concurrency", json!(10)),
        ("timeout", json!("10m")),
        ("retry", json!({"attempts": 8, "first": "100ms", "max": "10s", "jitter": 0.5})),
        ("generation", json!(1)),
        ("required", json!(false)),
        ("addedBy", json!("admin")),
        ("reason", json!("CHG-1")),
        ("topology", json!("converged")),
    ] {
        assert_eq!(body[field], value, "{field}");
    }
    assert_eq!(body["addedOn"]["id"], "solo");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_and_shows_the_past() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    rest.add(json!({"class": "log", "group": "b", "bus": "jmapEvent"})).await;
    assert_eq!(rest.ask("DELETE", "/listeners/a").send().await.status, 204);
    let groups = async |path: &str| {
        let answer = rest.get(path).await;
        let listeners = answer.body["listeners"].as_array().unwrap().clone();
        let groups: Vec<_> =
            listeners.iter().map(|l| l["group"].as_str().unwrap().to_owned()).collect();
        (answer.header("etag").to_owned(), groups.join(" "))
    };
    assert_eq!(groups("/listeners").await, ("\"3\"".into(), "b".into()));
    assert_eq!(groups("/listeners?bus=jmapEvent&class=log").await.1, "b");
    assert_eq!(groups("/listeners?bus=mailboxEvent").await.1, "");
    assert_eq!(groups("/listeners?atVersion=2").await, ("\"2\"".into(), "a b".into()));
    assert_eq!(groups("/listeners?atVersion=0").await, ("\"0\"".into(), String::new()));
    let future = rest.ask("GET", "/listeners?atVersion=4").send().await;
    assert_eq!((future.status, future.problem()), (404, "not-found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_shows_how_it_does_on_each_node_and_what_waits_for_it() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    rest.node.wait_listener("a", "running").await;
    let answer = rest.get("/listeners/a").await;
    assert_eq!(answer.body["nodes"][0]["id"], "solo");
    assert_eq!(answer.body["nodes"][0]["state"], "running");
    assert_eq!(answer.body["backlog"]["ready"], 0);
    let none = rest.ask("GET", "/listeners/absent").send().await;
    assert_eq!((none.status, none.problem()), (404, "not-configured"));
    assert_eq!(none.body["group"], "absent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_says_who_when_where_and_why() {
    let rest = rest::node().await;
    let listener = json!({"class": "log", "group": "a"});
    let ask = rest.ask("POST", "/listeners").json(&listener).header("x-request-id", "my-request");
    assert_eq!(ask.send().await.status, 201);
    let path = "/listeners/a?pending=discard&reason=not%20needed+now";
    assert_eq!(rest.ask("DELETE", path).send().await.status, 204);
    let history = rest.get("/listeners/history").await.body;
    let (added, removed) = (&history["events"][0], &history["events"][1]);
    assert_eq!((&added["version"], &added["type"]), (&json!(1), &json!("ListenerAdded")));
    assert_eq!(added["listener"]["class"], "log");
    assert_eq!((&added["requestId"], &added["reason"]), (&json!("my-request"), &json!(null)));
    assert_eq!(
        (&removed["pending"], &removed["reason"]),
        (&json!("discard"), &json!("not needed now"))
    );
    assert_eq!((&removed["actor"], &removed["node"]["id"]), (&json!("admin"), &json!("solo")));
    assert!(history.get("next").is_none(), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_read_in_pages() {
    let rest = rest::node().await;
    for group in ["a", "b", "c"] {
        rest.add(json!({"class": "log", "group": group})).await;
    }
    let first = rest.get("/listeners/history?limit=2").await.body;
    assert_eq!(first["next"], 2);
    let second = rest.get("/listeners/history?limit=2&after=2").await.body;
    assert_eq!(second["events"][0]["version"], 3);
    assert!(second.get("next").is_none(), "{second}");
    assert_eq!(rest.get("/listeners/history?after=9").await.body["events"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_roster_or_the_node_refuses_says_what_would_be_right() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    for (listener, status, problem, member, value) in [
        (json!({"class": "log", "group": "a"}), 409, "group-in-use", "class", json!("log")),
        (json!({"class": "nope"}), 422, "unknown-class", "class", json!("nope")),
        (
            json!({"class": "log", "bus": "nope"}),
            422,
            "unknown-bus",
            "known",
            json!(["jmapEvent", "mailboxEvent"]),
        ),
        (
            json!({"class": "log", "concurrency": 0}),
            422,
            "invalid-setting",
            "field",
            json!("concurrency"),
        ),
        (
            json!({"class": "log", "timeout": "2h"}),
            422,
            "invalid-setting",
            "field",
            json!("timeout"),
        ),
        (json!({"class": "webhook"}), 422, "invalid-configuration", "class", json!("webhook")),
        (json!({"class": "log", "group": "a b"}), 400, "invalid-name", "value", json!("a b")),
        (
            json!({"class": "log", "group": "history"}),
            400,
            "invalid-name",
            "value",
            json!("history"),
        ),
    ] {
        let answer = rest.ask("POST", "/listeners").json(&listener).send().await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{}", answer.text);
        assert_eq!(answer.body[member], value, "{}", answer.text);
    }
    let unknown = rest.ask("POST", "/listeners").json(&json!({"class": "nope"})).send().await;
    assert!(unknown.body["known"].as_array().unwrap().contains(&json!("log")), "{}", unknown.text);
    assert_eq!(rest.get("/listeners").await.body["version"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_bus_name_is_refused_with_what_is_wrong_and_what_would_be_right() {
    let rest = rest::node().await;
    for (bus, wrong, right) in [
        (
            "a.work.b",
            "\"work\" between its dots is reserved",
            "choose a name without the parts keys",
        ),
        ("x.keys", "\"keys\" between its dots is reserved", "choose a name without the parts keys"),
        ("meta", "\"meta\" at its beginning is reserved", "begins with another word than meta"),
    ] {
        let listener = rest.ask("POST", "/listeners").json(&json!({"class": "log", "bus": bus}));
        let event = rest.ask("POST", &format!("/events/{bus}")).json(&json!({}));
        for answer in [listener.send().await, event.send().await] {
            assert_eq!((answer.status, answer.problem()), (400, "invalid-name"), "{}", answer.text);
            assert_eq!(answer.body["value"], bus, "{}", answer.text);
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains(wrong) && detail.contains(right), "{detail}");
        }
    }
    assert_eq!(rest.get("/listeners").await.body["version"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_listener_is_shown_as_such_and_not_removed_here() {
    let file = "[[required]]\nclass = \"log\"\ngroup = \"needed\"\n";
    let rest = rest::Rest::new(rest::setup().with_file(file).start().await);
    let shown = rest.get("/listeners/needed").await.body;
    assert_eq!((&shown["required"], &shown["addedBy"]), (&json!(true), &json!("node:solo")));
    let answer = rest.ask("DELETE", "/listeners/needed").send().await;
    assert_eq!((answer.status, answer.problem()), (409, "required-here"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_shows_each_class_with_its_schema() {
    let rest = rest::node().await;
    let classes = rest.get("/classes").await.body;
    let classes = classes["classes"].as_array().unwrap().clone();
    let webhook =
        classes.iter().find(|class| class["class"] == "webhook").expect("webhook is built in");
    assert_eq!(webhook["source"], "built-in");
    assert!(webhook["configuration"]["properties"]["url"].is_object(), "{webhook}");
}
