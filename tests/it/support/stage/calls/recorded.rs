//! What a recorder of calls recorded, and waiting for calls.

use super::{Calls, RecordedCall};
use crate::support::wait;
use hearken::domain::name::RegistrationKey;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

impl Calls {
    pub(crate) fn seen(&self) -> Vec<RecordedCall> {
        self.seen.lock().unwrap().clone()
    }

    /// The events' ids in the order of the calls.
    pub(crate) fn order(&self) -> Vec<String> {
        self.seen().into_iter().map(|call| call.event.id).collect()
    }

    /// How often it was called with each event.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for id in self.order() {
            *counts.entry(id).or_insert(0) += 1;
        }
        counts
    }

    /// The events' ids, sorted.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids = self.order();
        ids.sort();
        ids
    }

    /// The events' ids and attempts in the order of the calls.
    pub(crate) fn attempts(&self) -> Vec<(String, u32)> {
        self.seen().into_iter().map(|call| (call.id().to_owned(), call.attempt())).collect()
    }

    /// The keys of each call.
    pub(crate) fn keys(&self) -> Vec<BTreeSet<RegistrationKey>> {
        self.seen().into_iter().map(|call| call.keys).collect()
    }

    /// Fails unless it was called with these events, once each.
    pub(crate) fn are<const N: usize>(&self, ids: [&str; N]) {
        let mut seen = self.order();
        seen.sort();
        assert_eq!(seen, ids);
    }

    /// Executions that run now.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// The most executions there were at the same time.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// How many executions ended by themselves, well or not.
    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }

    /// How often it was told that it may have missed something.
    pub(crate) fn resynchronised(&self) -> usize {
        self.resynchronised.load(Ordering::SeqCst)
    }

    /// Waits until so many executions began.
    pub(crate) async fn began(&self, count: usize) -> Vec<RecordedCall> {
        let what = format!("it is called {count} times");
        wait::until(&what, async || Some(self.seen()).filter(|seen| seen.len() >= count)).await
    }

    /// Waits until so many executions began, and returns the events' ids in the order of the calls.
    pub(crate) async fn called(&self, count: usize) -> Vec<String> {
        self.began(count).await.into_iter().map(|call| call.event.id).collect()
    }

    /// Waits until the calls are these events with these attempts, in any order.
    pub(crate) async fn reach(&self, expected: &[(&str, u32)]) {
        let mut expected: Vec<_> = expected.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        expected.sort();
        wait::until(&format!("the calls are {expected:?}"), async || {
            let mut calls = self.attempts();
            calls.sort();
            (calls == expected).then_some(())
        })
        .await;
    }

    /// Waits until so many executions ended.
    pub(crate) async fn finished(&self, count: usize) {
        let what = format!("{count} of its calls end");
        wait::until(&what, async || (self.ended() >= count).then_some(())).await;
    }

    /// Waits until it was called with this event.
    pub(crate) async fn saw(&self, id: &str) {
        let what = format!("it is called with {id}");
        wait::until(&what, async || self.order().iter().any(|seen| seen == id).then_some(())).await;
    }
}
