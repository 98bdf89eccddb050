//! Putting dead letters back by REST.

use super::dead_letters::{ABSENT, entries, event, failing, id, send};
use crate::support::{receiver::Receiver, rest, wait};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_event_is_handled_and_its_entry_gone() {
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    failing(&rest, &receiver, "a").await;
    for name in ["1", "2", "3"] {
        send(&rest, event(name, "Tested", "bob")).await;
    }
    let kept = entries(&rest, "", 3).await;
    let first = id(&kept[0]);
    let again =
        rest.task("POST", &format!("/events/deadLetter/groups/a/{first}?action=reDeliver")).await;
    assert_eq!(
        (&again["type"], &again["status"]),
        (&json!("event-dead-letters-redeliver-one"), &json!("completed"))
    );
    let information = &again["additionalInformation"];
    assert_eq!(information["successfulRedeliveriesCount"], 1, "{information}");
    assert_eq!((&information["group"], &information["insertionId"]), (&json!("a"), &json!(first)));
    // It failed again, which is a new entry that names the one before.
    wait::until("it has failed again", async || {
        let all = rest.get("/events/deadLetter").await.body["deadLetters"].as_array().cloned()?;
        all.iter().any(|entry| entry["previous"] == first && id(entry) != first).then_some(())
    })
    .await;
    entries(&rest, "", 3).await;
    receiver.answer(204);
    let some = rest.task("POST", "/events/deadLetter/groups/a?action=reDeliver&limit=1").await;
    assert_eq!(some["type"], "event-dead-letters-redeliver-group");
    assert_eq!(some["additionalInformation"]["runningOptions"], json!({"limit": 1}));
    entries(&rest, "", 2).await;
    let none = rest.task("POST", "/events/deadLetter?action=reDeliver&user=stranger").await;
    assert_eq!(none["additionalInformation"]["successfulRedeliveriesCount"], 0);
    let rest_of_them = rest.task("POST", "/events/deadLetter?action=reDeliver").await;
    assert_eq!(rest_of_them["type"], "event-dead-letters-redeliver-all");
    let information = &rest_of_them["additionalInformation"];
    assert_eq!(
        (&information["successfulRedeliveriesCount"], &information["failedRedeliveriesCount"]),
        (&json!(2), &json!(0))
    );
    assert!(
        information["timestamp"].is_string() && information["error"].is_null(),
        "{information}"
    );
    entries(&rest, "", 0).await;
    wait::until("each was handled", async || {
        (receiver.ids().values().sum::<usize>() == 7).then_some(())
    })
    .await;
    let unknown = format!("/events/deadLetter/groups/a/{ABSENT}?action=reDeliver");
    let nothing = rest.task("POST", &unknown).await;
    assert_eq!(nothing["status"], "completed", "as in James: {nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_back_is_kept_and_the_task_says_why() {
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    failing(&rest, &receiver, "a").await;
    send(&rest, event("1", "Tested", "bob")).await;
    let before = entries(&rest, "", 1).await;
    assert_eq!(rest.ask("DELETE", "/listeners/a?wait=30s").send().await.status, 204);
    let task = rest.task("POST", "/events/deadLetter?action=reDeliver").await;
    let information = &task["additionalInformation"];
    assert_eq!(
        (&task["status"], &information["failedRedeliveriesCount"]),
        (&json!("failed"), &json!(1))
    );
    let error = information["error"].as_str().expect("it says why");
    assert!(error.contains(id(&before[0])) && error.contains("group a"), "{error}");
    assert_eq!(entries(&rest, "", 1).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_redeliveries_at_once_put_each_event_back_once() {
    const EVENTS: usize = 60;
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    failing(&rest, &receiver, "a").await;
    for number in 0..EVENTS {
        send(&rest, event(&number.to_string(), "Tested", "bob")).await;
    }
    entries(&rest, "", EVENTS).await;
    receiver.answer(204);
    let of_group = rest.task("POST", "/events/deadLetter/groups/a?action=reDeliver");
    let of_all = rest.task("POST", "/events/deadLetter?action=reDeliver");
    let (one, other) = tokio::join!(of_group, of_all);
    let put_back = [&one, &other].map(|task| {
        task["additionalInformation"]["successfulRedeliveriesCount"].as_u64().expect("a number")
    });
    assert_eq!(put_back.iter().sum::<u64>(), EVENTS as u64, "{one} {other}");
    entries(&rest, "", 0).await;
    wait::until("each was handled", async || {
        let ids = receiver.ids();
        (ids.len() == EVENTS && ids.values().all(|times| *times >= 2)).then_some(())
    })
    .await;
    assert!(receiver.ids().values().all(|times| *times == 2), "{:?}", receiver.ids());
}
