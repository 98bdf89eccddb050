//! Commands that are repeated, abandoned or mixed up.

use super::{Bench, append, audit, event, group, history};
use hearken::store::AppendError;
use std::time::Duration;
use uuid::Uuid;

pub(crate) async fn a_command_delivered_many_times_at_once_takes_effect_once(bench: Bench) {
    let audit = audit(Uuid::new_v4());
    let deliveries: Vec<_> = (0..8)
        .map(|_| {
            let (store, audit) = (bench.store.clone(), audit.clone());
            tokio::spawn(async move {
                store.append(0, &[event("a"), event("b")], &audit, Some(&[7; 32])).await
            })
        })
        .collect();
    let mut fresh = 0;
    for delivery in deliveries {
        let events = match delivery.await.unwrap() {
            Ok(events) => {
                fresh += 1;
                events
            }
            Err(AppendError::Replayed(events)) => events,
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(events, history(&bench.store).await);
    }
    assert_eq!((fresh, history(&bench.store).await.len()), (1, 2));
    let command = bench.store.command(audit.command_id).await.unwrap().unwrap();
    assert_eq!(command.fingerprint.as_deref(), Some([7; 32].as_slice()));
}

pub(crate) async fn a_command_id_with_another_fingerprint_is_refused_and_nothing_is_written(
    bench: Bench,
) {
    let audit = audit(Uuid::new_v4());
    bench.store.append(0, &[event("a")], &audit, Some(&[1; 32])).await.unwrap();
    let refused = bench.store.append(1, &[event("b")], &audit, Some(&[2; 32])).await;
    assert!(matches!(refused, Err(AppendError::CommandReused)), "{refused:?}");
    assert_eq!(bench.store.head().await.unwrap(), 1);
}

pub(crate) async fn a_command_without_fingerprint_that_is_repeated_is_told_its_own_events(
    bench: Bench,
) {
    let audit = audit(Uuid::new_v4());
    let first = bench.store.append(0, &[event("a")], &audit, None).await.unwrap();
    append(&bench.store, 1, "b").await.unwrap();
    // As after a commit whose answer was lost: the caller reloads and appends again.
    let again = bench.store.append(2, &[event("a")], &audit, None).await;
    assert!(matches!(&again, Err(AppendError::Replayed(events)) if *events == first), "{again:?}");
    assert_eq!(bench.store.head().await.unwrap(), 2);
}

pub(crate) async fn an_append_that_failed_leaves_its_command_id_unused(bench: Bench) {
    let audit = audit(Uuid::new_v4());
    let refused = bench.store.append(5, &[event("a")], &audit, Some(&[1; 32])).await;
    assert!(matches!(refused, Err(AppendError::Conflict)), "{refused:?}");
    bench.store.append(0, &[event("b")], &audit, Some(&[2; 32])).await.unwrap();
}

pub(crate) async fn appending_nothing_does_nothing(bench: Bench) {
    let id = Uuid::new_v4();
    let none = bench.store.append(0, &[], &audit(id), Some(&[1; 32])).await.unwrap();
    assert_eq!((none, bench.store.command(id).await.unwrap()), (Vec::new(), None));
    bench.store.append(0, &[event("a")], &audit(id), Some(&[2; 32])).await.unwrap();
}

pub(crate) async fn an_abandoned_append_leaves_all_or_nothing_and_the_store_usable(bench: Bench) {
    let store = &bench.store;
    let mut sure = 0;
    for round in 0..60_u64 {
        let expected = store.head().await.unwrap();
        let pair = [event(&format!("r{round}")), event(&format!("s{round}"))];
        let audit = audit(Uuid::new_v4());
        let append = store.append(expected, &pair, &audit, Some(&[3; 32]));
        let patience = Duration::from_micros(round * 120);
        if let Ok(result) = tokio::time::timeout(patience, append).await {
            assert_eq!(result.expect("no other node writes").len(), 2);
            sure += 1;
        } else {
            // The answer is not known; asking again with the same command settles it.
            let expected = store.head().await.unwrap();
            match store.append(expected, &pair, &audit, Some(&[3; 32])).await {
                Ok(events) | Err(AppendError::Replayed(events)) => assert_eq!(events.len(), 2),
                // The abandoned one was still on its way to the end when the version was read.
                Err(AppendError::Conflict) => {
                    let command = store.command(audit.command_id).await.unwrap();
                    assert_eq!(command.expect("it took effect").events.len(), 2);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    let groups: Vec<_> =
        history(store).await.iter().map(|e| e.event.group().unwrap().clone()).collect();
    let all = (0..60).flat_map(|r| [group(&format!("r{r}")), group(&format!("s{r}"))]);
    assert_eq!(groups, all.collect::<Vec<_>>(), "{sure} of 60 were answered");
}
