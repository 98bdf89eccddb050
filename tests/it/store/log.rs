//! The roster's history.

use super::{Bench, added, append, audit, event, group, history};
use crate::support::wait;
use hearken::{
    domain::{
        adoption::{LogAdoption, LogIdentity},
        event::{RecordedEvent, RosterEvent},
    },
    store::{AppendError, LeaseName, Store, StoreError},
};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) async fn every_statement_fits_the_schema(bench: Bench) {
    let checked = bench.store.check_statements().await.expect("each one is understood");
    assert!(checked > 30, "{checked}");
    bench.store.ping().await.expect("it is there");
}

pub(crate) async fn what_is_appended_reads_back_whole(bench: Bench) {
    let before = OffsetDateTime::now_utc() - Duration::from_mins(1);
    let mut audit = audit(Uuid::new_v4());
    audit.request_id = Some("r-1 é".into());
    let events = [added("a"), event("a"), added("b")];
    let recorded = bench.store.append(0, &events, &audit, None).await.unwrap();
    assert_eq!(recorded.iter().map(|e| e.version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        recorded.iter().map(|e| &e.event).collect::<Vec<_>>(),
        events.iter().collect::<Vec<_>>()
    );
    assert!(recorded.iter().all(|e| e.audit == audit));
    assert!(recorded[0].recorded_at > before);
    assert!(recorded[0].recorded_at < OffsetDateTime::now_utc() + Duration::from_mins(1));
    assert_eq!(history(&bench.store).await, recorded);
    assert_eq!(bench.store.events_after(1, 1).await.unwrap(), recorded[1..2]);
    assert_eq!(bench.store.head().await.unwrap(), 3);
    let command = bench.store.command(audit.command_id).await.unwrap().unwrap();
    assert_eq!((command.fingerprint, command.events), (None, recorded));
    assert_eq!(bench.store.command(Uuid::new_v4()).await.unwrap(), None);
}

pub(crate) async fn an_append_with_a_stale_or_a_future_version_is_a_conflict_and_changes_nothing(
    bench: Bench,
) {
    append(&bench.store, 0, "a").await.unwrap();
    append(&bench.store, 1, "b").await.unwrap();
    let before = history(&bench.store).await;
    let pair = [event("c"), event("d")];
    for expected in [0, 1, 3, 100] {
        let id = Uuid::new_v4();
        let refused = bench.store.append(expected, &pair, &audit(id), Some(&[1; 32])).await;
        assert!(matches!(refused, Err(AppendError::Conflict)), "{expected}: {refused:?}");
        assert_eq!(bench.store.command(id).await.unwrap(), None);
    }
    assert_eq!(history(&bench.store).await, before);
}

pub(crate) async fn of_racing_appends_with_one_expected_version_exactly_one_wins(bench: Bench) {
    for round in 0..5 {
        let attempts = (0..8).map(|writer| {
            let store = bench.store.clone();
            tokio::spawn(async move { append(&store, round, &format!("w{writer}")).await })
        });
        let mut won = Vec::new();
        for attempt in attempts.collect::<Vec<_>>() {
            match attempt.await.unwrap() {
                Ok(events) => won.extend(events),
                Err(error) => assert!(matches!(error, AppendError::Conflict), "{error:?}"),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(history(&bench.store).await.last(), won.last());
    }
}

/// Appends so many events of one writer, each after what it sees, again after a conflict.
pub(crate) async fn write(store: &Store, writer: usize, count: usize) {
    for number in 0..count {
        let name = format!("w{writer}-{number}");
        loop {
            let expected = store.head().await.unwrap();
            match append(store, expected, &name).await {
                Ok(_) => break,
                Err(AppendError::Conflict) => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// Follows the history by doorbell and poll until it has so many events.
pub(crate) async fn follow(store: Store, until: usize) -> Vec<RecordedEvent> {
    let mut bell = store.doorbell();
    let mut seen: Vec<RecordedEvent> = Vec::new();
    while seen.len() < until {
        let (mine, last) = seen.last().map_or((0, None), |e| (e.version, Some(e.event_id)));
        let page = store.catch_up(mine, last, 7).await.unwrap();
        if page.is_empty() {
            let _ = tokio::time::timeout(Duration::from_secs(1), bell.changed()).await;
        }
        seen.extend(page);
    }
    seen
}

pub(crate) async fn writers_that_retry_leave_dense_versions_and_a_follower_sees_each_once_in_order(
    bench: Bench,
) {
    let (writers, each) = (4, 15);
    let follower = tokio::spawn(follow(bench.store.clone(), writers * each));
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = bench.store.clone();
            tokio::spawn(async move { write(&store, writer, each).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let seen = tokio::time::timeout(Duration::from_secs(30), follower).await.unwrap().unwrap();
    assert_eq!(seen, history(&bench.store).await);
    assert!(seen.iter().map(|e| e.version).eq(1..=(writers * each) as u64));
    for writer in 0..writers {
        let mine = (0..each).map(|number| group(&format!("w{writer}-{number}")));
        let prefix = format!("w{writer}-");
        let theirs = seen.iter().map(|e| e.event.group().unwrap().clone());
        assert!(theirs.filter(|g| g.as_str().starts_with(&prefix)).eq(mine));
    }
}

pub(crate) async fn history_cannot_be_changed_or_deleted(bench: Bench) {
    append(&bench.store, 0, "a").await.unwrap();
    let mut attempts =
        vec!["UPDATE roster_event SET actor = 'mallory'", "DELETE FROM roster_event"];
    if bench.is_postgres() {
        attempts.push("TRUNCATE roster_event");
    }
    for attempt in attempts {
        let error = bench.by_hand(attempt).await.expect_err(attempt).to_string();
        assert!(error.contains("the roster's history is append-only"), "{attempt}: {error}");
    }
    assert_eq!(history(&bench.store).await[0].audit.actor, "alice");
}

pub(crate) async fn an_event_of_a_newer_hearken_is_refused_with_its_position(bench: Bench) {
    for version in 0..3 {
        append(&bench.store, version, "a").await.unwrap();
    }
    bench.disarm().await;
    bench
        .by_hand("UPDATE roster_event SET event_type = 'ListenerPaused', schema_version = 3 WHERE version = 2")
        .await
        .unwrap();
    for error in [
        bench.store.events_after(0, 10).await.unwrap_err(),
        bench.store.catch_up(1, None, 10).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, StoreError::UnknownEvent { version: 2, event_type, schema_version: 3 } if event_type == "ListenerPaused"),
            "{error:?}"
        );
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
    assert_eq!(bench.store.events_after(2, 10).await.unwrap().len(), 1);
}

pub(crate) async fn a_damaged_event_is_refused_with_its_position(bench: Bench) {
    append(&bench.store, 0, "a").await.unwrap();
    bench.disarm().await;
    bench
        .by_hand(
            "UPDATE roster_event SET payload = '{\"group\": \"no name\", \"pending\": \"keep\"}'",
        )
        .await
        .unwrap();
    let error = bench.store.events_after(0, 10).await.unwrap_err();
    let StoreError::Corrupt { what } = error else { panic!("{error:?}") };
    assert!(what.contains("version 1") && what.contains("no name"), "{what}");
}

pub(crate) async fn a_hole_is_refused_and_never_skipped(bench: Bench) {
    for version in 0..4 {
        append(&bench.store, version, "a").await.unwrap();
    }
    bench.disarm().await;
    bench.by_hand("DELETE FROM roster_event WHERE version = 3").await.unwrap();
    for error in [
        bench.store.events_after(0, 10).await.unwrap_err(),
        bench.store.catch_up(2, None, 10).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Hole { expected: 3, found: 4 }), "{error:?}");
    }
    assert_eq!(bench.store.events_after(0, 2).await.unwrap().len(), 2);
}

pub(crate) async fn a_follower_of_another_history_is_told(bench: Bench) {
    let store = &bench.store;
    assert_eq!(store.catch_up(0, None, 10).await.unwrap(), []);
    let first = append(store, 0, "a").await.unwrap().remove(0);
    let second = append(store, 1, "b").await.unwrap().remove(0);
    assert_eq!(
        store.catch_up(1, Some(first.event_id), 10).await.unwrap(),
        std::slice::from_ref(&second)
    );
    assert_eq!(store.catch_up(2, Some(second.event_id), 10).await.unwrap(), []);
    let diverged = |result: Result<_, StoreError>, at| {
        assert!(
            matches!(&result, Err(StoreError::Diverged { version }) if *version == at),
            "{result:?}"
        );
    };
    diverged(store.catch_up(1, Some(second.event_id), 10).await, 1);
    let shorter = store.catch_up(9, Some(second.event_id), 10).await;
    assert!(matches!(&shorter, Err(StoreError::Shorter { head: 2, version: 9 })), "{shorter:?}");
    let other = if bench.is_postgres() {
        "UPDATE identity SET log_id = gen_random_uuid()"
    } else {
        "UPDATE identity SET log_id = randomblob(16)"
    };
    bench.by_hand(other).await.unwrap();
    for known in [None, Some(second.event_id)] {
        let mine = known.map_or(0, |_| 2);
        let adopted = store.catch_up(mine, known, 10).await;
        assert!(matches!(&adopted, Err(StoreError::Adopted)), "{adopted:?}");
    }
    let replaced = store.catch_up(2, Some(first.event_id), 10).await;
    assert!(matches!(&replaced, Err(StoreError::AnotherLog { version: 2 })), "{replaced:?}");
}

pub(crate) async fn an_adoption_changes_the_identity_once_and_is_recorded(bench: Bench) {
    let store = &bench.store;
    append(store, 0, "a").await.unwrap();
    let former = store.identity();
    let identity = LogIdentity { cluster: Uuid::new_v4(), log: Uuid::new_v4() };
    let adoption = LogAdoption { identity, former };
    let lease = store.take(LeaseName::Passes, "adopt").await.unwrap();
    let late = lease.adopt(adoption, 0, &audit(Uuid::new_v4())).await;
    assert!(matches!(&late, Err(AppendError::Conflict)), "{late:?}");
    assert_eq!(store.head().await.unwrap(), 1, "nothing was changed");
    let recorded = lease.adopt(adoption, 1, &audit(Uuid::new_v4())).await.unwrap();
    assert_eq!((recorded.version, recorded.event), (2, RosterEvent::LogAdopted { adoption }));
    assert!(store.marker_made().await.unwrap(), "the marker that was taken over is there");
    let twice = lease.adopt(adoption, 2, &audit(Uuid::new_v4())).await;
    assert!(matches!(&twice, Err(AppendError::Conflict)), "{twice:?}");
    let noticed = store.catch_up(1, None, 10).await;
    assert!(matches!(&noticed, Err(StoreError::Adopted)), "{noticed:?}");
}

pub(crate) async fn a_text_with_nul_is_refused_by_name_on_both_databases(bench: Bench) {
    let mut reason = audit(Uuid::new_v4());
    reason.reason = Some("a\0b".into());
    let RosterEvent::ListenerAdded { mut listener, generation } = added("a") else { panic!() };
    listener.configuration.insert("deep".into(), serde_json::json!([{"x\0": 1}]));
    let deep = RosterEvent::ListenerAdded { listener, generation };
    for refused in [
        bench.store.append(0, &[event("a")], &reason, None).await,
        bench.store.append(0, &[deep], &audit(Uuid::new_v4()), None).await,
    ] {
        assert!(matches!(refused, Err(AppendError::Store(StoreError::Unstorable))), "{refused:?}");
    }
    assert_eq!(bench.store.head().await.unwrap(), 0);
}

pub(crate) async fn the_doorbell_rings_for_an_append_and_not_for_a_refused_one(bench: Bench) {
    let mut bell = bench.store.doorbell();
    if !bench.is_postgres() {
        append(&bench.store, 7, "a").await.unwrap_err();
        assert!(!bell.has_changed().unwrap());
        append(&bench.store, 0, "a").await.unwrap();
        assert!(bell.has_changed().unwrap());
        return;
    }
    let mut listener = sqlx::postgres::PgListener::connect(bench.url()).await.unwrap();
    listener.listen("hearken").await.unwrap();
    // It rings once when it is heard for the first time.
    wait::until("the doorbell is heard", async || (*bell.borrow() > 0).then_some(())).await;
    bell.borrow_and_update();
    append(&bench.store, 7, "a").await.unwrap_err();
    append(&bench.store, 0, "a").await.unwrap();
    bench.by_hand("NOTIFY hearken, 'last'").await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "");
    assert_eq!(listener.recv().await.unwrap().payload(), "last");
    tokio::time::timeout(Duration::from_secs(10), bell.changed()).await.expect("it rings").unwrap();
}
