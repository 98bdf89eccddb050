//! A listener that remembers its calls, for groups and for keys.

use crate::support::wait;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use hearken::{
    bus::{Execution, Failure, KeyListener, Listener, event::Event},
    domain::{listener::Mode, name::RegistrationKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::sync::Semaphore;

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) event: Event,
    pub(crate) at: Instant,
    /// What the group's listener was told. Nothing for a key listener.
    pub(crate) execution: Option<Execution>,
    /// What the key listener was told. Nothing for a group's.
    pub(crate) keys: BTreeSet<RegistrationKey>,
}

impl Call {
    pub(crate) fn attempt(&self) -> u32 {
        self.execution.as_ref().expect("a group's call").attempt
    }
}

type Rule = dyn Fn(Call) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;

/// Remembers its calls and does as it is told.
pub(crate) struct Calls {
    seen: Mutex<Vec<Call>>,
    rule: Box<Rule>,
    mode: Mode,
    handling: fn(&Event) -> bool,
    /// Executions take one of these and never give it back.
    pub(crate) gate: Arc<Semaphore>,
    running: AtomicUsize,
    most: AtomicUsize,
    ended: AtomicUsize,
    resynchronised: AtomicUsize,
}

impl Calls {
    pub(crate) fn new<F>(rule: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        Self {
            seen: Mutex::default(),
            rule: Box::new(move |call| Box::pin(rule(call))),
            mode: Mode::Async,
            handling: |_| true,
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            resynchronised: AtomicUsize::new(0),
        }
    }

    /// Does well with every event.
    pub(crate) fn well() -> Arc<Self> {
        Self::new(|_| async { Ok(()) }).arc()
    }

    /// Does well with every event, before dispatch returns.
    pub(crate) fn well_at_once() -> Arc<Self> {
        Self { mode: Mode::Sync, ..Self::new(|_| async { Ok(()) }) }.arc()
    }

    /// Fails with every event.
    pub(crate) fn failing() -> Arc<Self> {
        Self::new(|_| async { Err(Failure::new("it broke")) }).arc()
    }

    /// Fails so often with each event, by what it was told of the attempt.
    pub(crate) fn failing_at_first(times: u32) -> Arc<Self> {
        Self::new(move |call| async move {
            if call.attempt() < times { Err(Failure::new("it broke")) } else { Ok(()) }
        })
        .arc()
    }

    /// Holds every execution until `gate` lets it pass.
    pub(crate) fn held() -> Arc<Self> {
        let closed = Arc::new(Semaphore::new(0));
        Self { gate: closed, ..Self::new(|_| async { Ok(()) }) }.arc()
    }

    /// Runs before dispatch returns, where it is on the same node.
    pub(crate) fn at_once(self) -> Self {
        Self { mode: Mode::Sync, ..self }
    }

    /// Says which events concern it.
    pub(crate) fn handling(self, handling: fn(&Event) -> bool) -> Self {
        Self { handling, ..self }
    }

    pub(crate) fn arc(self) -> Arc<Self> {
        Arc::new(self)
    }

    pub(crate) fn seen(&self) -> Vec<Call> {
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

    /// Fails unless it was called with these events, once each.
    pub(crate) fn are<const N: usize>(&self, ids: [&str; N]) {
        let mut seen = self.order();
        seen.sort();
        assert_eq!(seen, ids);
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
    pub(crate) async fn began(&self, count: usize) -> Vec<Call> {
        wait::until("it is called", async || Some(self.seen()).filter(|seen| seen.len() >= count))
            .await
    }

    /// Waits until so many executions ended.
    pub(crate) async fn finished(&self, count: usize) {
        wait::until("its calls end", async || (self.ended() >= count).then_some(())).await;
    }

    /// Waits until it was called with this event.
    pub(crate) async fn saw(&self, id: &str) {
        let what = format!("it is called with {id}");
        wait::until(&what, async || self.order().iter().any(|seen| seen == id).then_some(())).await;
    }

    async fn call(&self, call: Call) -> Result<(), Failure> {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(&self.running);
        self.most.fetch_max(now, Ordering::SeqCst);
        self.seen.lock().unwrap().push(call.clone());
        self.gate.acquire().await.unwrap().forget();
        let outcome = (self.rule)(call).await;
        self.ended.fetch_add(1, Ordering::SeqCst);
        outcome
    }
}

/// Counts an execution out however it ends.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Listener for Calls {
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        let (event, execution) = (event.clone(), Some(execution.clone()));
        self.call(Call { event, at: Instant::now(), execution, keys: BTreeSet::new() }).await
    }
}

#[async_trait]
impl KeyListener for Calls {
    fn mode(&self) -> Mode {
        self.mode
    }

    fn is_handling(&self, event: &Event) -> bool {
        (self.handling)(event)
    }

    async fn on_notification(
        &self,
        event: &Event,
        keys: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure> {
        let (event, keys) = (event.clone(), keys.clone());
        self.call(Call { event, at: Instant::now(), execution: None, keys }).await
    }

    fn resynchronise(&self) {
        self.resynchronised.fetch_add(1, Ordering::SeqCst);
    }
}
