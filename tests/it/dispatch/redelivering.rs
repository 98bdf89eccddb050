//! Dead letters on their way back.

use super::scene::{Node, embedded};
use crate::{
    broker::contract::{bus, listener},
    local_bus::scene::{Calls, LONG, event},
    support::bus::keys,
};
use hearken::{
    bus::{
        DispatchError,
        codec::{CLOUDEVENTS_JSON, encode_cloudevent},
    },
    dispatch::RedeliverError,
    domain::{
        dead_letter::{DISPATCH_FAILURE, DeadLetter, PARKED},
        listener::{Delivery, ListenerSpec},
    },
};
use uuid::Uuid;

/// A dead letter of a group, kept.
async fn letter(node: &Node, group: &str, origin: Option<&str>) -> DeadLetter {
    let now = time::OffsetDateTime::UNIX_EPOCH;
    let letter = DeadLetter {
        id: Uuid::now_v7(),
        bus: bus(),
        group: group.parse().unwrap(),
        origin: origin.map(|origin| origin.parse().unwrap()),
        event_id: Some("1".into()),
        event_type: None,
        user: None,
        content_type: Some(CLOUDEVENTS_JSON.to_owned()),
        keys: keys([]),
        cause: "no".into(),
        attempts: 9,
        first_failed_at: now,
        last_failed_at: now,
        node: "gone".into(),
        previous: None,
    };
    assert!(node.store.keep_dead_letter(&letter, &encode_cloudevent(&event("1"))).await.unwrap());
    letter
}

async fn redeliver(node: &Node, letter: &DeadLetter) -> Result<(), RedeliverError> {
    let (_, body) = node.store.dead_letter(letter.id).await.unwrap().unwrap();
    node.dispatcher.redeliver(letter, body).await
}

#[tokio::test]
async fn a_dead_letter_goes_to_its_group_alone_and_its_entry_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (listener("a"), listener("b"));
    let (node, half) = embedded(folder.path(), &[a.clone(), b.clone()]).await;
    half.declare(&a).await;
    half.declare(&b).await;
    let (calls, others) = (Calls::succeeding(), Calls::succeeding());
    let consumers = [node.consume(&a, calls.clone()), node.consume(&b, others.clone())];
    let given_up = letter(&node, "a", None).await;
    redeliver(&node, &given_up).await.unwrap();
    node.letters(0).await;
    calls.are(&[("1", 0)]).await;
    // What was parked goes to the group that it was for.
    let parked = letter(&node, PARKED, Some("b")).await;
    redeliver(&node, &parked).await.unwrap();
    others.are(&[("1", 0)]).await;
    // What was never published goes to everybody.
    let failed = letter(&node, DISPATCH_FAILURE, None).await;
    redeliver(&node, &failed).await.unwrap();
    calls.are(&[("1", 0), ("1", 0)]).await;
    others.are(&[("1", 0), ("1", 0)]).await;
    node.letters(0).await;
    for consumer in consumers {
        consumer.stop.stop(LONG).await;
    }
}

#[tokio::test]
async fn a_dead_letter_that_can_go_nowhere_is_kept_and_the_refusal_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let everywhere = ListenerSpec { delivery: Delivery::EveryNode, ..listener("everywhere") };
    let unbuilt = listener("unbuilt");
    let (node, half) = embedded(folder.path(), &[everywhere, unbuilt]).await;
    half.declare_bus().await;
    let cases = [
        letter(&node, "nobody", None).await,
        letter(&node, "everywhere", None).await,
        letter(&node, PARKED, None).await,
        letter(&node, "unbuilt", None).await,
    ];
    let mut said = Vec::new();
    for letter in &cases {
        said.push(redeliver(&node, letter).await.unwrap_err());
    }
    assert!(
        matches!(&said[0], RedeliverError::NotConfigured { group } if group.as_str() == "nobody")
    );
    assert!(
        matches!(&said[1], RedeliverError::EveryNode { group } if group.as_str() == "everywhere")
    );
    assert!(matches!(&said[2], RedeliverError::NoDestination));
    assert!(matches!(&said[3], RedeliverError::Dispatch(DispatchError::Unroutable(_))));
    let elsewhere = DeadLetter { bus: "other".parse().unwrap(), ..cases[0].clone() };
    let refused = redeliver(&node, &elsewhere).await.unwrap_err();
    assert!(matches!(refused, RedeliverError::NoSuchBus(_)), "{refused}");
    node.letters(4).await;
}
