//! The recorder of calls: one listener for groups and for keys.

mod recorded;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, pending, ready};
use hearken::{
    bus::{Execution, Failure, KeyListener, Listener, event::Event},
    domain::{listener::Mode, name::RegistrationKey},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::sync::Semaphore;

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct RecordedCall {
    pub(crate) event: Event,
    pub(crate) at: Instant,
    /// What the group's listener was told. Nothing for a key listener.
    pub(crate) execution: Option<Execution>,
    /// What the key listener was told. Nothing for a group's.
    pub(crate) keys: BTreeSet<RegistrationKey>,
}

impl RecordedCall {
    pub(crate) fn id(&self) -> &str {
        &self.event.id
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.execution().attempt
    }

    /// What the group's listener was told.
    pub(crate) fn execution(&self) -> &Execution {
        self.execution.as_ref().expect("a group's call")
    }
}

type CallRule = dyn Fn(RecordedCall) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;

/// A listener that records its calls and ends each as its rule says.
pub(crate) struct Calls {
    seen: Mutex<Vec<RecordedCall>>,
    rule: Box<CallRule>,
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
    pub(crate) fn new<F>(rule: impl Fn(RecordedCall) -> F + Send + Sync + 'static) -> Self
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
        Self::new(|_| ready(Ok(()))).arc()
    }

    /// Does well with every event, before dispatch returns.
    pub(crate) fn well_at_once() -> Arc<Self> {
        Self { mode: Mode::Sync, ..Self::new(|_| ready(Ok(()))) }.arc()
    }

    /// Ends each call of a group as the rule says of the event and the execution.
    pub(crate) fn answering(
        rule: impl Fn(&Event, &Execution) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::deciding(rule).arc()
    }

    /// Holds every execution until `gate` lets it pass, then ends it as the rule says.
    pub(crate) fn held_answering(
        rule: impl Fn(&Event, &Execution) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::deciding(rule).behind(0).arc()
    }

    fn deciding(
        rule: impl Fn(&Event, &Execution) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        let rule = Arc::new(rule);
        Self::new(move |call| {
            let rule = Arc::clone(&rule);
            async move { rule(&call.event, call.execution()) }
        })
    }

    /// A key listener of a mode, which every event concerns except `Unsupported` ones. Event
    /// `fails` fails, and event `panics` panics.
    pub(crate) fn follower(mode: Mode) -> Arc<Self> {
        Self::following(mode).arc()
    }

    /// The same key listener, which holds every execution until `gate` lets it pass.
    pub(crate) fn held_follower(mode: Mode) -> Arc<Self> {
        Self::following(mode).behind(0).arc()
    }

    fn following(mode: Mode) -> Self {
        let rule = |call: RecordedCall| async move {
            match call.id() {
                "fails" => Err(Failure::new("on purpose")),
                "panics" => panic!("on purpose"),
                _ => Ok(()),
            }
        };
        Self { mode, handling: |event| event.kind != "Unsupported", ..Self::new(rule) }
    }

    /// Fails with every event.
    pub(crate) fn failing() -> Arc<Self> {
        Self::new(|_| ready(Err(Failure::new("it broke")))).arc()
    }

    /// Fails so often with each event, by what it was told of the attempt.
    pub(crate) fn failing_at_first(times: u32) -> Arc<Self> {
        Self::new(move |call| async move {
            if call.attempt() < times { Err(Failure::new("it broke")) } else { Ok(()) }
        })
        .arc()
    }

    /// Never ends an execution.
    pub(crate) fn endless() -> Arc<Self> {
        Self::new(|_| pending()).arc()
    }

    /// Holds every execution until `gate` lets it pass.
    pub(crate) fn held() -> Arc<Self> {
        Self::new(|_| ready(Ok(()))).behind(0).arc()
    }

    /// Runs before dispatch returns, where it is on the same node.
    pub(crate) fn at_once(self) -> Self {
        Self { mode: Mode::Sync, ..self }
    }

    /// Says which events concern it.
    pub(crate) fn handling(self, handling: fn(&Event) -> bool) -> Self {
        Self { handling, ..self }
    }

    /// Lets so many executions pass; `gate` lets more pass later.
    fn behind(self, passes: usize) -> Self {
        Self { gate: Arc::new(Semaphore::new(passes)), ..self }
    }

    pub(crate) fn arc(self) -> Arc<Self> {
        Arc::new(self)
    }

    async fn call(&self, call: RecordedCall) -> Result<(), Failure> {
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
        self.call(RecordedCall { event, at: Instant::now(), execution, keys: BTreeSet::new() })
            .await
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
        self.call(RecordedCall { event, at: Instant::now(), execution: None, keys }).await
    }

    fn resynchronise(&self) {
        self.resynchronised.fetch_add(1, Ordering::SeqCst);
    }
}
