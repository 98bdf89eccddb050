//! Events that no listener could handle, kept (James: `EventDeadLettersContract`).

use super::{Bench, group};
use futures_util::future::join_all;
use hearken::{
    domain::{
        dead_letter::DeadLetter,
        name::{BusName, RegistrationKey},
        retention::DeadLetterQuota,
    },
    store::{
        StoreError,
        dead_letters::{DeadLetterCount, DeadLetterFilter, DeadLetterId, PurgeWindow},
    },
};
use std::collections::BTreeSet;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

fn bus(name: &str) -> BusName {
    BusName::parse(name).expect("a name")
}

/// A second after the epoch, and so many more.
fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds)
}

fn letter(of: &str) -> DeadLetter {
    DeadLetter {
        id: Uuid::now_v7(),
        bus: bus("mailboxEvent"),
        group: group(of),
        origin: None,
        event_id: Some("e-1".into()),
        event_type: Some("Added".into()),
        user: Some("bob".into()),
        content_type: Some("application/cloudevents+json".into()),
        keys: BTreeSet::new(),
        cause: "it did not work".into(),
        attempts: 9,
        first_failed_at: at(10),
        last_failed_at: at(20),
        node: "n1".into(),
        previous: None,
    }
}

fn of(name: &str) -> DeadLetterFilter {
    DeadLetterFilter { group: Some(group(name)), ..DeadLetterFilter::default() }
}

/// Keeps an entry and returns its id.
async fn keep(bench: &Bench, letter: &DeadLetter) -> Uuid {
    assert!(bench.store.keep_dead_letter(letter, b"{}").await.unwrap());
    letter.id
}

/// Purges the entries that a filter lets through. Returns their number.
pub(super) async fn purge(bench: &Bench, filter: &DeadLetterFilter) -> u64 {
    let last = bench.store.last_dead_letter().await.unwrap();
    let (mut rest, mut removed) = (Some(PurgeWindow { after: 0, last }), 0);
    while let Some(window) = rest {
        let step = bench.store.purge_dead_letters(filter, window).await.unwrap();
        (rest, removed) = (step.rest, removed + step.removed);
    }
    removed
}

/// The ids that a filter lets through.
async fn ids(bench: &Bench, filter: &DeadLetterFilter) -> Vec<Uuid> {
    let all = bench.store.dead_letter_ids(filter, 0, 1000).await.unwrap();
    let entries = bench.store.dead_letters_from(filter, 0, 1000).await.unwrap();
    let listed = entries.iter().map(|(seq, letter)| DeadLetterId { seq: *seq, id: letter.id });
    let places: Vec<_> = listed.collect();
    assert_eq!(all, places, "ids and entries are listed alike");
    assert_eq!(bench.store.count_dead_letters(filter).await.unwrap(), all.len() as u64);
    all.into_iter().map(|entry| entry.id).collect()
}

pub(crate) async fn an_entry_reads_back_whole_and_stays(bench: Bench) {
    let full = DeadLetter {
        origin: Some(group("a")),
        keys: ["MailboxId:1", "konto é"].map(|k| RegistrationKey::parse(k).unwrap()).into(),
        previous: Some(Uuid::now_v7()),
        first_failed_at: at(1) + Duration::microseconds(7),
        ..letter("parked")
    };
    let bare = DeadLetter {
        event_id: None,
        event_type: None,
        user: None,
        content_type: None,
        ..letter("a")
    };
    for entry in [&full, &bare] {
        let body = entry.group.as_str().as_bytes();
        assert!(bench.store.keep_dead_letter(entry, body).await.unwrap());
        for _ in 0..2 {
            let found = bench.store.dead_letter(entry.id).await.unwrap();
            assert_eq!(found, Some((entry.clone(), body.to_vec())), "reading consumes nothing");
        }
    }
    assert_eq!(bench.store.dead_letter(Uuid::now_v7()).await.unwrap(), None);
}

pub(crate) async fn the_same_failure_is_one_entry_and_the_same_event_may_be_several(bench: Bench) {
    let first = letter("a");
    assert!(bench.store.keep_dead_letter(&first, b"one").await.unwrap());
    let again = DeadLetter { cause: "another".into(), ..first.clone() };
    assert!(!bench.store.keep_dead_letter(&again, b"two").await.unwrap());
    assert_eq!(bench.store.dead_letter(first.id).await.unwrap(), Some((first, b"one".to_vec())));
    keep(&bench, &letter("a")).await;
    assert_eq!(ids(&bench, &of("a")).await.len(), 2);
}

pub(crate) async fn removing_takes_what_was_named_and_nothing_else(bench: Bench) {
    let (one, two, other) = (letter("a"), letter("a"), letter("b"));
    for entry in [&one, &two, &other] {
        keep(&bench, entry).await;
    }
    let groups = async || {
        let groups = bench.store.dead_letter_groups().await.unwrap();
        groups.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(groups().await, ["a", "b"]);
    assert!(bench.store.remove_dead_letter(one.id).await.unwrap());
    assert!(!bench.store.remove_dead_letter(one.id).await.unwrap());
    assert!(!bench.store.remove_dead_letter(Uuid::now_v7()).await.unwrap());
    assert_eq!(ids(&bench, &of("a")).await, [two.id]);
    assert_eq!(purge(&bench, &of("unknown")).await, 0);
    assert_eq!(purge(&bench, &of("a")).await, 1);
    assert_eq!(groups().await, ["b"]);
    assert!(ids(&bench, &of("a")).await.is_empty());
    assert!(bench.store.remove_dead_letter(other.id).await.unwrap());
    assert!(groups().await.is_empty());
}

pub(crate) async fn each_filter_lets_through_what_it_says(bench: Bench) {
    let plain = keep(&bench, &letter("a")).await;
    let elsewhere = keep(&bench, &DeadLetter { bus: bus("other"), ..letter("a") }).await;
    let removed = DeadLetter { event_type: Some("Expunged".into()), ..letter("a") };
    let removed = keep(&bench, &removed).await;
    let alices = keep(&bench, &DeadLetter { user: Some("alice".into()), ..letter("a") }).await;
    let without_user =
        keep(&bench, &DeadLetter { user: None, event_type: None, ..letter("b") }).await;
    let late = keep(&bench, &DeadLetter { last_failed_at: at(30), ..letter("b") }).await;
    let all = DeadLetterFilter::default();
    assert_eq!(ids(&bench, &all).await, [plain, elsewhere, removed, alices, without_user, late]);
    for (filter, expected) in [
        (DeadLetterFilter { bus: Some(bus("other")), ..all.clone() }, vec![elsewhere]),
        (of("b"), vec![without_user, late]),
        (DeadLetterFilter { event_type: Some("Expunged".into()), ..all.clone() }, vec![removed]),
        (DeadLetterFilter { user: Some("alice".into()), ..all.clone() }, vec![alices]),
        (DeadLetterFilter { user: Some("stranger\0".into()), ..all.clone() }, vec![]),
        (DeadLetterFilter { since: Some(at(30)), ..all.clone() }, vec![late]),
        (DeadLetterFilter { before: Some(at(20)), ..all.clone() }, vec![]),
        (DeadLetterFilter { before: Some(at(30)), ..of("b") }, vec![without_user]),
        (DeadLetterFilter { user: Some("bob".into()), ..of("b") }, vec![late]),
    ] {
        assert_eq!(ids(&bench, &filter).await, expected, "{filter:?}");
    }
    let old = DeadLetterFilter { before: Some(at(21)), ..of("a") };
    assert_eq!(purge(&bench, &old).await, 4);
    assert_eq!(ids(&bench, &all).await, [without_user, late]);
}

pub(crate) async fn pages_go_on_where_they_ended_although_entries_are_removed(bench: Bench) {
    let store = &bench.store;
    let mut kept = Vec::new();
    for _ in 0..5 {
        kept.push(keep(&bench, &letter("a")).await);
    }
    assert_eq!(store.last_dead_letter().await.unwrap(), {
        let last = store.dead_letters_from(&of("a"), 0, 5).await.unwrap().pop();
        last.unwrap().0
    });
    let page = store.dead_letters_from(&of("a"), 0, 2).await.unwrap();
    assert_eq!(page.iter().map(|(_, l)| l.id).collect::<Vec<_>>(), kept[..2]);
    let (place, last) = (page[1].0, page[1].1.id);
    store.remove_dead_letter(last).await.unwrap();
    store.remove_dead_letter(kept[3]).await.unwrap();
    let rest = store.dead_letters_from(&of("a"), place, 10).await.unwrap();
    assert_eq!(rest.iter().map(|(_, l)| l.id).collect::<Vec<_>>(), [kept[2], kept[4]]);
    let newest = store.last_dead_letter().await.unwrap();
    purge(&bench, &DeadLetterFilter::default()).await;
    keep(&bench, &letter("a")).await;
    assert!(store.last_dead_letter().await.unwrap() > newest, "a place is never used again");
}

pub(crate) async fn counts_are_by_group_and_bus_and_say_since_when(bench: Bench) {
    assert!(bench.store.dead_letter_counts().await.unwrap().is_empty());
    assert_eq!(bench.store.last_dead_letter().await.unwrap(), 0);
    keep(&bench, &DeadLetter { first_failed_at: at(5), ..letter("a") }).await;
    keep(&bench, &letter("a")).await;
    keep(&bench, &DeadLetter { bus: bus("other"), ..letter("a") }).await;
    keep(&bench, &letter("b")).await;
    let expected =
        [("a", "mailboxEvent", 2, 5), ("a", "other", 1, 10), ("b", "mailboxEvent", 1, 10)];
    let expected = expected.map(|(of, on, count, oldest)| DeadLetterCount {
        bus: bus(on),
        group: group(of),
        count,
        bytes: count * 2,
        oldest: at(oldest),
    });
    assert_eq!(bench.store.dead_letter_counts().await.unwrap(), expected);
}

pub(crate) async fn a_full_group_keeps_no_further_entry_and_others_do(bench: Bench) {
    let store = &bench.store;
    for quota in [
        DeadLetterQuota { entries: 2, ..DeadLetterQuota::default() },
        DeadLetterQuota { bytes: 3, ..DeadLetterQuota::default() },
    ] {
        store.limit_dead_letters(quota);
        let (first, second) = (letter("a"), letter("a"));
        keep(&bench, &first).await;
        keep(&bench, &second).await;
        let refused = store.keep_dead_letter(&letter("a"), b"{}").await.unwrap_err();
        assert!(matches!(refused, StoreError::DeadLettersFull { .. }), "{refused}");
        assert!(refused.to_string().contains("group a has as many dead letters on bus mailbox"));
        // An entry that exists is told from a refused one.
        assert!(!store.keep_dead_letter(&first, b"{}").await.unwrap());
        keep(&bench, &letter("b")).await;
        keep(&bench, &DeadLetter { bus: bus("other"), ..letter("a") }).await;
        store.remove_dead_letter(second.id).await.unwrap();
        keep(&bench, &letter("a")).await;
        purge(&bench, &DeadLetterFilter::default()).await;
        assert!(store.dead_letter_counts().await.unwrap().is_empty());
    }
}

pub(crate) async fn nul_in_a_text_loses_no_event_and_a_large_body_is_kept(bench: Bench) {
    let odd = DeadLetter {
        event_id: Some("e\0".into()),
        event_type: Some("t\0".into()),
        user: Some("u\0".into()),
        content_type: Some("c\0".into()),
        cause: "broke at \0".into(),
        node: "n\0".into(),
        ..letter("a")
    };
    let body: Vec<u8> = (0..1024 * 1024).map(|i: u32| i.to_le_bytes()[i as usize % 4]).collect();
    assert!(bench.store.keep_dead_letter(&odd, &body).await.unwrap());
    let (found, read) = bench.store.dead_letter(odd.id).await.unwrap().unwrap();
    assert_eq!(read, body);
    assert_eq!(
        (found.cause.as_str(), found.user.as_deref()),
        ("broke at \u{fffd}", Some("u\u{fffd}"))
    );
    let by_user = DeadLetterFilter { user: odd.user.clone(), ..DeadLetterFilter::default() };
    assert_eq!(ids(&bench, &by_user).await, [odd.id], "it is found by what it was kept with");
}

pub(crate) async fn keeping_and_removing_at_once_loses_and_invents_nothing(bench: Bench) {
    let one = async |index: usize| {
        let group = format!("g{}", index % 10);
        let (stays, goes) = (letter(&group), letter(&group));
        keep(&bench, &stays).await;
        keep(&bench, &goes).await;
        assert!(bench.store.remove_dead_letter(goes.id).await.unwrap());
        stays.id
    };
    let mut kept = join_all((0..500).map(one)).await;
    let mut found = ids(&bench, &DeadLetterFilter::default()).await;
    kept.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, kept);
    for count in bench.store.dead_letter_counts().await.unwrap() {
        assert_eq!(count.count, 50, "{}", count.group);
    }
}
