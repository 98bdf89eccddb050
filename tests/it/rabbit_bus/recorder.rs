//! A handler that remembers.

use crate::support::wait;
use async_trait::async_trait;
use hearken::bus::{Execution, Failure, Listener, event::Event};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::sync::Semaphore;

/// What a handler saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) at: Instant,
}

type Rule = Box<dyn Fn(&Event, &Execution) -> Result<(), Failure> + Send + Sync>;

/// Remembers what it saw and does as it is told.
pub(crate) struct Recorder {
    seen: Mutex<Vec<Seen>>,
    rule: Rule,
    /// Executions take one of these and never give it back.
    pub(crate) gate: Semaphore,
    running: AtomicUsize,
    most: AtomicUsize,
    pub(crate) done: AtomicUsize,
}

/// Does well with every event.
pub(crate) fn recorder() -> Arc<Recorder> {
    ruled(|_, _| Ok(()))
}

pub(crate) fn ruled(
    rule: impl Fn(&Event, &Execution) -> Result<(), Failure> + Send + Sync + 'static,
) -> Arc<Recorder> {
    gated(rule, Semaphore::MAX_PERMITS)
}

/// Lets so many executions pass; more with `gate.add_permits`.
pub(crate) fn gated(
    rule: impl Fn(&Event, &Execution) -> Result<(), Failure> + Send + Sync + 'static,
    passes: usize,
) -> Arc<Recorder> {
    Arc::new(Recorder {
        seen: Mutex::default(),
        rule: Box::new(rule),
        gate: Semaphore::new(passes),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
    })
}

impl Recorder {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.seen().into_iter().map(|seen| seen.id).collect();
        ids.sort();
        ids
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Waits until so many executions began.
    pub(crate) async fn began(&self, count: usize) -> Vec<Seen> {
        wait::until("the handler is called", async || {
            Some(self.seen()).filter(|seen| seen.len() >= count)
        })
        .await
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
impl Listener for Recorder {
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(&self.running);
        self.most.fetch_max(now, Ordering::SeqCst);
        let seen = Seen { id: event.id.clone(), attempt: execution.attempt, at: Instant::now() };
        self.seen.lock().unwrap().push(seen);
        self.gate.acquire().await.unwrap().forget();
        let outcome = (self.rule)(event, execution);
        self.done.fetch_add(1, Ordering::SeqCst);
        outcome
    }
}
