//! One key listener with its queue and its executions.

use crate::{
    background::spawn,
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

/// Largest number of events that wait for one listener. Newer events are lost to the listener.
pub(super) const WAITING: usize = 1024;

/// Largest number of executions of one listener at the same time (James: `maxConcurrency`).
pub(super) const EXECUTIONS: usize = 10;

/// Longest time of one execution. James has the same limit.
const LIMIT: Span = Span::from_secs(600);

/// A listener with its waiting events.
pub(super) struct Follower {
    listener: Arc<dyn KeyListener>,
    pub(super) mode: Mode,
    slots: Semaphore,
    queue: Mutex<FollowerQueue>,
    more: Notify,
}

#[derive(Default)]
struct FollowerQueue {
    waiting: VecDeque<Notification>,
    /// Whether a task runs the waiting events. The task exists only while events wait or run.
    driven: bool,
    /// Whether events were lost since the queue was last empty.
    lost: bool,
    /// Whether the listener no longer follows any key.
    gone: bool,
}

struct Notification {
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

    /// Identity of the listener.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.listener).cast::<()>().addr()
    }

    fn queue(&self) -> MutexGuard<'_, FollowerQueue> {
        self.queue.lock()
    }

    /// Adds an event to the queue, or drops it when too many events wait. Returns whether the event
    /// was added.
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
                    "a listener of {} is too slow: {WAITING} events wait for it, and newer events are lost to it until it has caught up",
                    list(&keys)
                );
            }
            return false;
        }
        queue.waiting.push_back(Notification { event, keys });
        if std::mem::replace(&mut queue.driven, true) {
            self.more.notify_one();
        } else {
            drop(queue);
            spawn("key-listener", self.drive());
        }
        true
    }

    /// Drops the waiting events, because the listener no longer follows any key.
    pub(super) fn forget(&self) {
        let mut queue = self.queue();
        queue.gone = true;
        queue.waiting.clear();
    }

    /// Runs the waiting events. One task begins all executions, so that they begin in the order in
    /// which the events arrived.
    async fn drive(self: Arc<Self>) {
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < EXECUTIONS
                && let Some(next) = self.next()
            {
                let this = Arc::clone(&self);
                running.push(async move { this.call(&next.event, &next.keys).await });
            }
            if running.is_empty() {
                if self.stop_driving() {
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

    /// The next waiting event. A listener that has caught up after it lost events is told to
    /// resynchronise.
    fn next(&self) -> Option<Notification> {
        let mut queue = self.queue();
        let next = queue.waiting.pop_front();
        let lost = queue.waiting.is_empty() && std::mem::take(&mut queue.lost);
        drop(queue);
        if lost {
            self.resynchronise();
        }
        next
    }

    /// Notes that the task ends, unless events wait. Returns whether it ends.
    fn stop_driving(&self) -> bool {
        let mut queue = self.queue();
        queue.driven = !queue.waiting.is_empty();
        !queue.driven
    }

    /// Runs the listener. A failure, a panic and an execution over its time are logged.
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
            "a listener of {} failed on event {id}; a key listener gets an event only once, so the event does not run again: {cause}",
            list(keys)
        );
    }

    /// Tells the listener that it may have missed events.
    pub(super) fn resynchronise(&self) {
        if catch_unwind(AssertUnwindSafe(|| self.listener.resynchronise())).is_err() {
            tracing::warn!("a listener of keys panicked when it was told to resynchronise");
        }
    }
}

/// Keys, for log lines.
fn list(keys: &BTreeSet<RegistrationKey>) -> String {
    let first = keys.first().map(ToString::to_string).unwrap_or_default();
    match keys.len() {
        0 | 1 => format!("key {first}"),
        more => format!("key {first} and {} more", more - 1),
    }
}
