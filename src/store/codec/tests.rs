use super::*;
use crate::domain::{
    adoption::{LogAdoption, LogIdentity},
    layout::QueueType,
    listener::{Delivery, Mode},
    repair::RepairMode,
    retention::{DeadLetterQuota, HistoryLimit, Retention},
    retry::Retry,
    span::Span,
};
use serde_json::json;
use uuid::Uuid;

const ADDED_V1: &str = include_str!("../golden/ListenerAdded.v1.json");
const ADDED_V2: &str = include_str!("../golden/ListenerAdded.v2.json");
const CHANGED_V1: &str = include_str!("../golden/ListenerChanged.v1.json");
const PAUSED_V1: &str = include_str!("../golden/ListenerPaused.v1.json");
const RESUMED_V1: &str = include_str!("../golden/ListenerResumed.v1.json");
const BUS_ADDED_V1: &str = include_str!("../golden/BusAdded.v1.json");
const BUS_CHANGED_V1: &str = include_str!("../golden/BusChanged.v1.json");
const BUS_REMOVED_V1: &str = include_str!("../golden/BusRemoved.v1.json");
const CLUSTER_CHANGED_V1: &str = include_str!("../golden/ClusterChanged.v1.json");
const REMOVED_V1: &str = include_str!("../golden/ListenerRemoved.v1.json");
const TAKEN_OVER_V1: &str = include_str!("../golden/QueueTakenOver.v1.json");
const RELEASED_V1: &str = include_str!("../golden/QueueReleased.v1.json");
const ADOPTED_V1: &str = include_str!("../golden/LogAdopted.v1.json");

fn listener() -> ListenerSpec {
    let mut listener: ListenerSpec = serde_json::from_value(
        json!({"group": "search-index", "class": "webhook", "bus": "mailboxEvent"}),
    )
    .unwrap();
    listener.delivery = Delivery::EveryNode;
    listener.mode = Mode::Sync;
    listener.concurrency = 3;
    listener.timeout = Span::from_secs(90);
    listener.retry = Retry {
        attempts: 2,
        first: Span::from_millis(250),
        max: Span::from_secs(30),
        ..Retry::default()
    };
    listener.configuration.insert("url".into(), json!("http://indexer.internal/events"));
    listener.configuration.insert("token".into(), json!({"env": "INDEXER_TOKEN"}));
    listener
}

fn added() -> RosterEvent {
    RosterEvent::ListenerAdded { listener: listener(), generation: 4 }
}

fn group() -> GroupName {
    GroupName::parse("search-index").unwrap()
}

fn removed() -> RosterEvent {
    RosterEvent::ListenerRemoved { group: group(), pending: Pending::Drain }
}

fn bus() -> BusDefinition {
    let bus = json!({"name": "james", "codec": "james", "attached": true, "exchange": "e"});
    serde_json::from_value(bus).unwrap()
}

fn bus_added() -> RosterEvent {
    RosterEvent::BusAdded { bus: bus() }
}

fn bus_changed() -> RosterEvent {
    RosterEvent::BusChanged { bus: bus() }
}

fn bus_removed() -> RosterEvent {
    RosterEvent::BusRemoved { bus: bus() }
}

fn cluster_changed() -> RosterEvent {
    let day = |days: u64, count| HistoryLimit { age: Span::from_secs(days * 86_400), count };
    let settings = ClusterSettings {
        prefix: "mail".into(),
        queue_type: QueueType::Classic,
        reconcile: RepairMode::Manual,
        reconcile_interval: Span::from_secs(60),
        retention: Retention {
            dead_letters: Span::from_secs(7 * 86_400),
            dead_letter_quota: DeadLetterQuota { entries: 1_000, bytes: 65_536 },
            tasks: day(1, 10),
            commands: day(2, 20),
            passes: day(3, 30),
        },
    };
    RosterEvent::ClusterChanged { settings }
}

fn changed() -> RosterEvent {
    RosterEvent::ListenerChanged { listener: listener() }
}

fn paused() -> RosterEvent {
    RosterEvent::ListenerPaused { group: group() }
}

fn resumed() -> RosterEvent {
    RosterEvent::ListenerResumed { group: group() }
}

fn orphan() -> OrphanQueue {
    let bus = BusName::parse("mailboxEvent").unwrap();
    OrphanQueue { bus, id: QueueId::new(group(), 4) }
}

fn taken_over() -> RosterEvent {
    RosterEvent::QueueTakenOver { queue: orphan() }
}

fn released() -> RosterEvent {
    RosterEvent::QueueReleased { queue: orphan() }
}

fn adopted() -> RosterEvent {
    let identity =
        |cluster, log| LogIdentity { cluster: Uuid::from_u128(cluster), log: Uuid::from_u128(log) };
    let adoption = LogAdoption { identity: identity(5, 9), former: identity(1, 2) };
    RosterEvent::LogAdopted { adoption }
}

#[test]
fn every_event_ever_written_can_be_read() {
    for (name, version, golden, event) in [
        ("ListenerAdded", 1, ADDED_V1, added()),
        ("ListenerAdded", 2, ADDED_V2, added()),
        ("ListenerChanged", 1, CHANGED_V1, changed()),
        ("ListenerPaused", 1, PAUSED_V1, paused()),
        ("ListenerResumed", 1, RESUMED_V1, resumed()),
        ("ListenerRemoved", 1, REMOVED_V1, removed()),
        ("BusAdded", 1, BUS_ADDED_V1, bus_added()),
        ("BusChanged", 1, BUS_CHANGED_V1, bus_changed()),
        ("BusRemoved", 1, BUS_REMOVED_V1, bus_removed()),
        ("ClusterChanged", 1, CLUSTER_CHANGED_V1, cluster_changed()),
        ("QueueTakenOver", 1, TAKEN_OVER_V1, taken_over()),
        ("QueueReleased", 1, RELEASED_V1, released()),
        ("LogAdopted", 1, ADOPTED_V1, adopted()),
    ] {
        let payload = serde_json::from_str(golden).unwrap();
        assert_eq!(decode(name, version, payload), Ok(event));
    }
}

#[test]
fn an_event_is_written_as_its_golden_file_has_it() {
    for (golden, version, event) in [
        (ADDED_V2, 2, added()),
        (CHANGED_V1, 1, changed()),
        (PAUSED_V1, 1, paused()),
        (RESUMED_V1, 1, resumed()),
        (REMOVED_V1, 1, removed()),
        (BUS_ADDED_V1, 1, bus_added()),
        (BUS_CHANGED_V1, 1, bus_changed()),
        (BUS_REMOVED_V1, 1, bus_removed()),
        (CLUSTER_CHANGED_V1, 1, cluster_changed()),
        (TAKEN_OVER_V1, 1, taken_over()),
        (RELEASED_V1, 1, released()),
        (ADOPTED_V1, 1, adopted()),
    ] {
        assert!((1..=FORMS).contains(&form(&event)), "this program reads what it writes");
        let stored = encode(&event);
        assert_eq!(stored.payload, serde_json::from_str::<Value>(golden).unwrap());
        assert_eq!((stored.event_type, stored.schema_version), (event.type_name(), version));
    }
}

#[test]
fn an_event_of_a_newer_hearken_is_told_from_a_damaged_one() {
    assert_eq!(decode("ListenerAdded", 3, json!({})), Err(PayloadError::Unknown));
    assert_eq!(decode("ListenerPaused", 2, json!({})), Err(PayloadError::Unknown));
    assert!(matches!(
        decode("ListenerRemoved", 1, json!({"group": "a"})),
        Err(PayloadError::Malformed(cause)) if cause.contains("pending")
    ));
}
