//! What could not be published, in the order in which it was kept.

use super::{Bench, group};
use hearken::domain::{
    dead_letter::{DISPATCH_FAILURE, DeadLetter},
    name::{BusName, RegistrationKey},
};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use uuid::Uuid;

fn bus(name: &str) -> BusName {
    BusName::parse(name).expect("a name")
}

/// Keeps a body as a dead letter of a group and bus.
async fn keep(bench: &Bench, of: &str, on: &str, body: &[u8]) -> Uuid {
    let letter = DeadLetter {
        id: Uuid::new_v4(),
        bus: bus(on),
        group: group(of),
        origin: None,
        event_id: None,
        event_type: None,
        user: None,
        content_type: Some("application/cloudevents+json".into()),
        keys: [RegistrationKey::parse("MailboxId:1").unwrap()].into(),
        cause: "RabbitMQ was away".into(),
        attempts: 1,
        first_failed_at: OffsetDateTime::UNIX_EPOCH,
        last_failed_at: OffsetDateTime::UNIX_EPOCH,
        node: "n1".into(),
        previous: None,
    };
    assert!(bench.store.keep_dead_letter(&letter, body).await.unwrap());
    letter.id
}

pub(crate) async fn what_could_not_be_published_comes_by_bus_in_its_order(bench: Bench) {
    let store = &bench.store;
    assert_eq!(store.dispatch_failure_buses().await.unwrap(), []);
    keep(&bench, "index", "mailboxEvent", b"given up").await;
    assert_eq!(store.dispatch_failure_buses().await.unwrap(), []);
    let mut kept = Vec::new();
    for n in 0..7_u8 {
        kept.push(keep(&bench, DISPATCH_FAILURE, "mailboxEvent", &[n]).await);
        keep(&bench, DISPATCH_FAILURE, "jmapEvent", b"").await;
    }
    let buses = store.dispatch_failure_buses().await.unwrap();
    assert_eq!(buses, [bus("jmapEvent"), bus("mailboxEvent")]);
    let (mut after, mut read) = (0, Vec::new());
    loop {
        let window = store.dispatch_failures(&bus("mailboxEvent"), after, 3).await.unwrap();
        assert!(window.len() <= 3);
        let Some(last) = window.last() else { break };
        after = last.seq;
        read.extend(window);
    }
    assert_eq!(read.iter().map(|failure| failure.id).collect::<Vec<_>>(), kept);
    let keys: BTreeSet<_> = [RegistrationKey::parse("MailboxId:1").unwrap()].into();
    for (n, failure) in (0..).zip(&read) {
        assert_eq!((failure.body.as_slice(), &failure.keys), (&[n][..], &keys));
        assert_eq!(failure.content_type.as_deref(), Some("application/cloudevents+json"));
    }
    assert_eq!(store.dispatch_failures(&bus("jmapEvent"), 0, 100).await.unwrap().len(), 7);
}

pub(crate) async fn a_window_of_large_events_is_shorter_and_never_empty(bench: Bench) {
    const MIB: usize = 1024 * 1024;
    for size in [17 * MIB, 9 * MIB, 9 * MIB, 1] {
        keep(&bench, DISPATCH_FAILURE, "mailboxEvent", &vec![0; size]).await;
    }
    let (mut after, mut windows) = (0, Vec::new());
    loop {
        let window = bench.store.dispatch_failures(&bus("mailboxEvent"), after, 100).await.unwrap();
        let Some(last) = window.last() else { break };
        after = last.seq;
        windows.push(window.iter().map(|failure| failure.body.len()).collect::<Vec<_>>());
    }
    assert_eq!(windows, [vec![17 * MIB], vec![9 * MIB, 9 * MIB], vec![1]]);
}
