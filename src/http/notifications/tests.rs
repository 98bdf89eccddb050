use super::*;
use crate::bus::event::Data;
use std::collections::BTreeMap;

fn event(data: &str) -> Event {
    Event {
        id: "1".into(),
        kind: "Added".into(),
        source: "urn:test".into(),
        user: None,
        time: None,
        noop: false,
        data: Data::Json(RawValue::from_string(data.to_owned()).unwrap()),
        attributes: BTreeMap::new(),
    }
}

fn client() -> (Client, mpsc::Receiver<String>) {
    let (sender, waiting) = mpsc::channel(WAITING);
    (Client { sender, bytes: AtomicUsize::new(0), missed: Notify::new() }, waiting)
}

async fn missed(client: &Client) -> bool {
    timeout(Duration::ZERO, client.missed.notified()).await.is_ok()
}

#[tokio::test]
async fn a_notification_names_the_followed_keys_and_has_the_event() {
    let (client, mut waiting) = client();
    let keys = BTreeSet::from([RegistrationKey::parse("a:1").unwrap()]);
    client.on_notification(&event("{\"n\": 1.0}"), &keys).await.unwrap();
    let frame = waiting.try_recv().unwrap();
    assert!(frame.contains("\"keys\":[\"a:1\"]"), "{frame}");
    assert!(frame.contains("{\"n\": 1.0}"), "byte for byte: {frame}");
    assert!(!missed(&client).await);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_told_that_it_misses_events() {
    let keys = BTreeSet::new();
    let (many, _waiting) = client();
    for _ in 0..WAITING {
        many.on_notification(&event("1"), &keys).await.unwrap();
    }
    assert!(!missed(&many).await);
    many.on_notification(&event("1"), &keys).await.unwrap();
    assert!(missed(&many).await);

    let (large, mut waiting) = client();
    let half = format!("\"{}\"", "x".repeat(WAITING_BYTES * 2 / 3));
    large.on_notification(&event(&half), &keys).await.unwrap();
    large.on_notification(&event(&half), &keys).await.unwrap();
    assert!(missed(&large).await);
    assert!(waiting.try_recv().is_ok() && waiting.try_recv().is_err());
}
