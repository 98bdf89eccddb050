//! One key listener: its queue, and its executions.

use crate::{
    bus::{
        KeyListener,
        contain::{contained, nested},
        event::Event,
    },
    domain::{listener::Mode, name::RegistrationKey, span::Span},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use tokio::sync::{Notify, Semaphore};

/// How many events wait for one listener before the newest are lost to it.
pub(super) const WAITING: usize = 1024;

/// How many executions one listener has at the same time (James: `maxConcurrency`).
pub(super) const EXECUTIONS: usize = 10;

/// How long one execution may take, as James has it.
const LIMIT: Span = Span::from_secs(600);

/// A listener with what waits for it.
pub(super) struct Follower {
    listener: Arc<dyn KeyListener>,
    pub(super) mode: Mode,
    slots: Semaphore,
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Whether a task works the queue off. It exists only while there is something to do.
    driven: bool,
    /// Whether events were lost since the queue was empty the last time.
    lost: bool,
    /// Whether the listener follows nothing any more.
    gone: bool,
}

struct Job {
    event: Arc<Event>,
    keys: BTreeSet<RegistrationKey>,
}

impl Follower {
    pub(super) fn new(listener: Arc<dyn KeyListener>) -> Self {
        Self {
            mode: listener.mode(),
            listener,
            slots: Semaphore::new(EXECUTIONS),
            queue: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// What tells listeners apart.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.listener).cast::<()>().addr()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Adds an event to what waits, or loses it when too much does. Returns whether it is in.
    pub(super) fn enqueue(
        self: Arc<Self>,
        event: Arc<Event>,
        keys: BTreeSet<RegistrationKey>,
    ) -> bool {
        let mut queue = self.queue();
        if queue.gone {
            return false;
        }
        if queue.waiting.len() >= WAITING {
            if !std::mem::replace(&mut queue.lost, true) {
                tracing::warn!(
                    waiting = WAITING,
                    "a listener of {} is too slow: {WAITING} events wait for it, newer ones are lost to it until it has caught up",
                    several(&keys)
                );
            }
            return false;
        }
        queue.waiting.push_back(Job { event, keys });
        if std::mem::replace(&mut queue.driven, true) {
            self.more.notify_one();
        } else {
            drop(queue);
            tokio::spawn(self.drive());
        }
        true
    }

    /// Drops what waits: the listener follows nothing any more.
    pub(super) fn forget(&self) {
        let mut queue = self.queue();
        queue.gone = true;
        queue.waiting.clear();
    }

    /// Works the queue off. One task begins every execution, so that they begin in the order in
    /// which events came.
    async fn drive(self: Arc<Self>) {
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < EXECUTIONS
                && let Some(job) = self.next()
            {
                let this = Arc::clone(&self);
                running.push(async move { this.call(&job.event, &job.keys).await });
            }
            if running.is_empty() {
                if self.rest() {
                    return;
                }
                continue;
            }
            tokio::select! {
                _ = running.next() => {}
                () = self.more.notified(), if running.len() < EXECUTIONS => {}
            }
        }
    }

    /// The next event. A listener that has caught up is told what it lost meanwhile.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        let job = queue.waiting.pop_front();
        let lost = queue.waiting.is_empty() && std::mem::take(&mut queue.lost);
        drop(queue);
        if lost {
            self.resynchronise();
        }
        job
    }

    /// Ends the task's work unless something came in.
    fn rest(&self) -> bool {
        let mut queue = self.queue();
        queue.driven = !queue.waiting.is_empty();
        !queue.driven
    }

    /// Runs the listener. A failure, a panic and an execution without end are logged.
    pub(super) async fn call(&self, event: &Event, keys: &BTreeSet<RegistrationKey>) {
        let nested = nested();
        let running = async {
            // The semaphore is never closed.
            let _slot = if nested { None } else { self.slots.acquire().await.ok() };
            if !self.listener.is_handling(event) {
                return Ok(());
            }
            self.listener.on_notification(event, keys).await
        };
        let Err(failure) = contained(LIMIT, running).await else { return };
        let (id, cause) = (event.id.as_str(), failure.to_string());
        tracing::warn!(
            event = id,
            cause,
            "a listener of {} failed on event {id}, of which it is notified once: {cause}",
            several(keys)
        );
    }

    /// Tells the listener that it may have missed something.
    pub(super) fn resynchronise(&self) {
        if catch_unwind(AssertUnwindSafe(|| self.listener.resynchronise())).is_err() {
            tracing::warn!("a listener of keys panicked when it was told to resynchronise");
        }
    }
}

/// Keys in words, for log lines.
fn several(keys: &BTreeSet<RegistrationKey>) -> String {
    let first = keys.first().map(ToString::to_string).unwrap_or_default();
    match keys.len() {
        0 | 1 => format!("key {first}"),
        more => format!("key {first} and {} more", more - 1),
    }
}
