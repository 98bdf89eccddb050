//! Making of listeners in threads of their own.
//!
//! A class may block, panic, or never return. None of these delays the supervisor or another
//! listener. A thread of the runtime's pool is not used, because the runtime waits for these when
//! the process ends.

use super::worker::CannotRun;
use crate::{
    background,
    clock::Clock,
    domain::listener::ListenerSpec,
    listeners::{Catalog, Listener, MakeError},
};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, oneshot},
};

/// Number of listeners that are made at the same time. A listener that is late no longer counts.
const AT_ONCE: usize = 16;
/// Time after which a listener that is not made yet counts as failed. The listener still starts
/// when its class returns it later.
const LIMIT: Duration = Duration::from_secs(10);

type Outcome = Result<Arc<dyn Listener>, CannotRun>;

/// Makes the listeners of a node. Cheap to clone.
#[derive(Clone)]
pub(super) struct ListenerMaker {
    catalog: Catalog,
    turns: Arc<Semaphore>,
    /// Rung after each listener that was made or failed.
    finished: Arc<Notify>,
}

/// A listener that is being made.
pub(super) struct UnfinishedListener {
    outcome: oneshot::Receiver<Outcome>,
    asked_at: Instant,
}

impl ListenerMaker {
    /// Maker of the listeners of a catalog.
    pub(super) fn new(catalog: Catalog) -> Self {
        Self { catalog, turns: Arc::new(Semaphore::new(AT_ONCE)), finished: Arc::default() }
    }

    /// Waits until a listener was made or failed.
    pub(super) async fn finished(&self) {
        self.finished.notified().await;
    }

    /// Starts to make a listener.
    pub(super) fn begin(&self, listener: ListenerSpec, clock: &Clock) -> UnfinishedListener {
        let (sender, outcome) = oneshot::channel();
        let maker = self.clone();
        background::spawn("making a listener", maker.make(listener, sender));
        UnfinishedListener { outcome, asked_at: clock.monotonic() }
    }

    async fn make(self, listener: ListenerSpec, sender: oneshot::Sender<Outcome>) {
        let turn = self.turns.acquire().await;
        let (catalog, runtime) = (self.catalog.clone(), Handle::current());
        let (done, mut made) = oneshot::channel();
        let name = format!("make {}", listener.group);
        let started = thread::Builder::new().name(name).spawn(move || {
            // Classes may start tasks.
            let _entered = runtime.enter();
            let unknown = || Err(CannotRun::UnknownClass(listener.class.clone()));
            let made = catalog.make(&listener);
            // Nothing waits for a listener that was removed meanwhile.
            let _ = done.send(made.map_or_else(unknown, |made| made.map_err(CannotRun::from)));
        });
        let outcome = if let Err(error) = started {
            Err(failed(format!("no thread can be started: {error}")))
        } else {
            let in_time = tokio::time::timeout(LIMIT, &mut made).await;
            drop(turn);
            let ended = match in_time {
                Ok(ended) => ended,
                Err(_) => made.await,
            };
            ended.unwrap_or_else(|_| Err(failed("the thread that made it ended".to_owned())))
        };
        let _ = sender.send(outcome);
        self.finished.notify_one();
    }
}

fn failed(cause: String) -> CannotRun {
    CannotRun::NotMade(MakeError::Failed(cause))
}

impl UnfinishedListener {
    /// The listener or the reason why there is none; `None` while its class has time left.
    pub(super) fn poll(&mut self, clock: &Clock) -> Option<Outcome> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) if clock.elapsed(self.asked_at) < LIMIT => {
                None
            }
            Err(oneshot::error::TryRecvError::Empty) => Some(Err(CannotRun::Late(LIMIT))),
            Err(oneshot::error::TryRecvError::Closed) => {
                Some(Err(failed("the task that made it ended".to_owned())))
            }
        }
    }
}
