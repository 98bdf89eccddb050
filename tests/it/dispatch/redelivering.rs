//! Dead letters on their way back.

use crate::support::stage::{
    PATIENCE, Stage,
    calls::Calls,
    letters::letter,
    specs::{event, listener},
};
use hearken::{
    bus::{DispatchError, codec::encode_cloudevent},
    dispatch::RedeliverError,
    domain::{
        dead_letter::{DISPATCH_FAILURE, DeadLetter, PARKED},
        listener::{Delivery, ListenerSpec},
    },
};

/// A dead letter of a group, kept.
async fn kept(stage: &Stage, group: &str, origin: Option<&str>) -> DeadLetter {
    let origin = origin.map(|origin| origin.parse().unwrap());
    let (event_id, attempts) = (Some("1".into()), 9);
    let letter = DeadLetter { origin, event_id, attempts, ..letter(group) };
    stage.keep(&letter, &encode_cloudevent(&event("1"))).await;
    letter
}

#[tokio::test]
async fn a_dead_letter_goes_to_its_group_alone_and_its_entry_goes() {
    let (a, b) = (listener("a"), listener("b"));
    let stage = Stage::embedded().await;
    stage.enroll([&a, &b]).await;
    let node = stage.node("solo");
    stage.converge().await;
    let (calls, others) = (Calls::well(), Calls::well());
    let consumers =
        [stage.consume(&*node.bus, &a, &calls).await, stage.consume(&*node.bus, &b, &others).await];
    let given_up = kept(&stage, "a", None).await;
    node.redeliver(&given_up).await.unwrap();
    stage.letters_are(0).await;
    calls.reach(&[("1", 0)]).await;
    // What was parked goes to the group that it was for.
    let parked = kept(&stage, PARKED, Some("b")).await;
    node.redeliver(&parked).await.unwrap();
    others.reach(&[("1", 0)]).await;
    // What was never published goes to everybody.
    let failed = kept(&stage, DISPATCH_FAILURE, None).await;
    node.redeliver(&failed).await.unwrap();
    calls.reach(&[("1", 0), ("1", 0)]).await;
    others.reach(&[("1", 0), ("1", 0)]).await;
    stage.letters_are(0).await;
    for consumer in consumers {
        consumer.stop.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_dead_letter_that_can_go_nowhere_is_kept_and_the_refusal_says_why() {
    let everywhere = ListenerSpec { delivery: Delivery::EveryNode, ..listener("everywhere") };
    let unbuilt = listener("unbuilt");
    let stage = Stage::embedded().await;
    stage.enroll([&everywhere, &unbuilt]).await;
    let node = stage.node("solo");
    let cases = [
        kept(&stage, "absent", None).await,
        kept(&stage, "everywhere", None).await,
        kept(&stage, PARKED, None).await,
        kept(&stage, "unbuilt", None).await,
    ];
    let mut said = Vec::new();
    for letter in &cases {
        said.push(node.redeliver(letter).await.unwrap_err());
    }
    assert!(
        matches!(&said[0], RedeliverError::NotConfigured { group } if group.as_str() == "absent")
    );
    assert!(
        matches!(&said[1], RedeliverError::EveryNode { group } if group.as_str() == "everywhere")
    );
    assert!(matches!(&said[2], RedeliverError::NoDestination));
    assert!(matches!(&said[3], RedeliverError::Dispatch(DispatchError::Unroutable(_))));
    let elsewhere = DeadLetter { bus: "other".parse().unwrap(), ..cases[0].clone() };
    let refused = node.redeliver(&elsewhere).await.unwrap_err();
    assert!(matches!(refused, RedeliverError::NoSuchBus(_)), "{refused}");
    stage.letters_are(4).await;
}
