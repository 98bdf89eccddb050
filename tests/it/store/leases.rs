//! Leases: what two nodes must not do at the same time.

use super::Bench;
use crate::support::wait;
use hearken::{
    domain::report::{TopologyState, TopologyStatus},
    store::{Lease, LeaseName, Store, StoreError},
};
use std::time::{Duration, Instant};

async fn take(store: &Store, node: &str) -> Lease {
    store.try_take(LeaseName::Passes, node).await.unwrap().expect("no node holds it")
}

/// Lets every lease expire, as if its holder had been paused for longer than the term.
async fn expire(bench: &Bench) {
    bench.by_hand("UPDATE lease SET expires_at = 1").await.unwrap();
}

fn status(version: u64) -> TopologyStatus {
    TopologyStatus {
        reconciled_version: version,
        state: TopologyState::Converged,
        ..TopologyStatus::default()
    }
}

fn lost(result: &Result<(), StoreError>) {
    assert!(
        matches!(result, Err(StoreError::LeaseLost { lease: LeaseName::Passes })),
        "{result:?}"
    );
}

pub(crate) async fn a_lease_has_one_holder_and_its_token_grows(bench: Bench) {
    let store = &bench.store;
    let first = take(store, "n1").await;
    first.check().await.unwrap();
    assert!(store.try_take(LeaseName::Passes, "n1").await.unwrap().is_none(), "not even to itself");
    // Another lease is another matter.
    let other = store.try_take(LeaseName::Redispatch, "n2").await.unwrap().expect("it is free");
    assert!(store.try_take(LeaseName::Redispatch, "n1").await.unwrap().is_none());
    other.release().await;
    assert!(store.try_take(LeaseName::Passes, "n2").await.unwrap().is_none());
    let token = first.token();
    first.release().await;
    let second = take(store, "n2").await;
    assert!(second.token() > token);
    drop(second);
    wait::until("a dropped lease is free", async || {
        store.try_take(LeaseName::Passes, "n1").await.unwrap()
    })
    .await;
}

pub(crate) async fn a_late_holder_writes_nothing_and_frees_nothing(bench: Bench) {
    let store = &bench.store;
    let late = take(store, "n1").await;
    late.save_topology_status(&status(1)).await.unwrap();
    expire(&bench).await;
    lost(&late.check().await);
    lost(&late.save_topology_status(&status(0)).await);
    let next = take(store, "n2").await;
    next.save_topology_status(&status(2)).await.unwrap();
    lost(&late.check().await);
    lost(&late.save_topology_status(&status(1)).await);
    lost(&late.set_marker_made().await);
    late.release().await;
    next.check().await.expect("the late holder released nothing");
    assert_eq!(store.topology_status().await.unwrap(), status(2));
    assert!(!store.marker_made().await.unwrap());
}

pub(crate) async fn a_lease_that_is_held_is_renewed_before_it_expires(bench: Bench) {
    let lease = take(&bench.store, "n1").await;
    // Less is left than the term, and more than the pause between two renewals.
    let bound = "UPDATE lease SET expires_at = (SELECT now FROM clock) + 5000000";
    bench.by_hand(bound).await.unwrap();
    let began = Instant::now();
    wait::until("the bound is over", async || {
        (began.elapsed() > Duration::from_secs(6)).then_some(())
    })
    .await;
    lease.check().await.unwrap();
}

pub(crate) async fn a_lease_of_a_clock_that_was_set_back_is_free(bench: Bench) {
    let held = take(&bench.store, "n1").await;
    bench.by_hand("UPDATE lease SET expires_at = expires_at + 3600000000").await.unwrap();
    let next = take(&bench.store, "n2").await;
    assert!(next.token() > held.token());
    lost(&held.check().await);
}

pub(crate) async fn a_token_given_twice_by_a_failover_serves_its_last_holder(bench: Bench) {
    let before = take(&bench.store, "n1").await;
    // The new primary server lacks the commit of the first take.
    bench.by_hand("UPDATE lease SET token = token - 1, expires_at = 1").await.unwrap();
    let after = take(&bench.store, "n2").await;
    assert_eq!(before.token(), after.token());
    lost(&before.check().await);
    after.check().await.unwrap();
}

pub(crate) async fn a_read_that_is_older_than_the_lease_is_refused(bench: Bench) {
    let store = &bench.store;
    let version = super::append(store, 0, "a").await.unwrap().len() as u64;
    let stale = store.topology_snapshot().await.unwrap();
    let lease = take(store, "n1").await;
    let current = store.topology_snapshot().await.unwrap();
    lease.check_read(version, &current).unwrap();
    let refused = [lease.check_read(version, &stale), lease.check_read(version - 1, &current)];
    for read in refused {
        assert!(matches!(read, Err(StoreError::StaleRead)), "{read:?}");
    }
}
