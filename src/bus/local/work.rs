//! Consuming one local work queue.

use super::{
    ending::Ending,
    settle::{ExecutionOutcome, settle},
    waiting::{PLACE, Places, Waiting},
};
use crate::{
    bus::{
        ConsumerState, Consumption, Execution, Listener,
        codec::decode,
        contain::{contained, execute},
    },
    clock::Clock,
    domain::listener::Mode,
    metrics::Metrics,
    store::{
        StoreError,
        embedded::{Attendance, Claim, Embedded, LocalDelivery, Occupancy},
    },
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

/// The poll that repairs a missed bell.
const IDLE: Duration = Duration::from_secs(5);
/// The first pause after the store or the queue was not there; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What it takes to work on a queue.
#[derive(Clone)]
pub(super) struct LocalQueue {
    pub(super) store: Embedded,
    pub(super) occupancy: Occupancy,
    pub(super) consumption: Arc<Consumption>,
    pub(super) handler: Arc<dyn Listener>,
    pub(super) waiting: Waiting,
    /// Those of the listener's executions that wait for their own dispatches.
    pub(super) places: Places,
    /// Cancelled when executions are not waited for any longer.
    pub(super) abort: CancellationToken,
    /// This node's id.
    pub(super) node: Arc<str>,
    pub(super) metrics: Arc<Metrics>,
}

/// When to look again, unless something happens before.
enum Next {
    /// When a handler ends: all hands are full.
    Free,
    /// After a pause.
    After(Duration),
}

/// Works on the queue until it is told to end.
pub(super) async fn consume(
    queue: LocalQueue,
    mut bell: watch::Receiver<()>,
    state: watch::Sender<ConsumerState>,
    ending: Ending,
) {
    let listener = &queue.consumption.listener;
    let _attending = (listener.mode == Mode::Sync)
        .then(|| queue.waiting.attend(&queue.consumption.queue, listener.timeout.duration()));
    let mut worker = Worker {
        queue,
        state,
        attendance: None,
        hands: JoinSet::new(),
        claims: HashMap::new(),
        postponed: BinaryHeap::new(),
        pause: FIRST_PAUSE,
    };
    loop {
        // Before looking, so that what rings while it looks is heard after.
        bell.borrow_and_update();
        let next = worker.look().await;
        let (full, pause) = match next {
            Next::Free => (true, IDLE),
            Next::After(pause) => (false, pause),
        };
        tokio::select! {
            biased;
            () = ending.finish.cancelled() => break,
            Some(ended) = worker.hands.join_next_with_id() => worker.ended(ended),
            // The bus is gone when nobody can ring. Rung too when a hand is lent.
            rung = bell.changed() => match rung {
                Ok(()) => worker.pause = FIRST_PAUSE,
                Err(_) => break,
            },
            () = tokio::time::sleep(pause), if !full => {}
        }
    }
    ending.wait(std::mem::take(&mut worker.hands)).await;
}

struct Worker {
    queue: LocalQueue,
    state: watch::Sender<ConsumerState>,
    attendance: Option<Attendance>,
    hands: JoinSet<Option<Instant>>,
    /// Given back when the worker sees that the handler ended, never while it looks at the queue:
    /// otherwise it could take up a delivery that it read before the delivery was settled.
    claims: HashMap<Id, Claim>,
    /// When what this worker postponed is due, the earliest first. The store cannot tell while
    /// something is in hand, because that is due already.
    postponed: BinaryHeap<Reverse<Instant>>,
    pause: Duration,
}

impl Worker {
    /// Whether as many run as may. Those that only wait for their own dispatches do not count.
    fn is_full(&self) -> bool {
        let busy = self.hands.len().saturating_sub(self.queue.places.lent());
        busy >= usize::from(self.queue.consumption.listener.concurrency)
    }

    /// Takes what is due, as far as hands are free.
    async fn look(&mut self) -> Next {
        match self.take().await {
            Ok(Some(next)) => {
                self.pause = FIRST_PAUSE;
                self.say(ConsumerState::Running);
                next
            }
            Ok(None) => {
                let queue = &self.queue.consumption.queue;
                self.wait_for(format!(
                    "there is no queue {queue} yet; the topology is not converged"
                ))
            }
            Err(error) => self.wait_for(format!("its queue cannot be read: {error}")),
        }
    }

    fn wait_for(&mut self, what: String) -> Next {
        self.attendance = None;
        self.say(ConsumerState::Waiting(what));
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Next::After(pause)
    }

    fn say(&self, state: ConsumerState) {
        self.state.send_if_modified(|said| {
            let new = *said != state;
            *said = state;
            new
        });
    }

    async fn take(&mut self) -> Result<Option<Next>, StoreError> {
        let LocalQueue { store, occupancy, consumption, .. } = &self.queue;
        let name = consumption.queue.as_str();
        let concurrency = usize::from(consumption.listener.concurrency);
        if self.is_full() {
            return Ok(Some(Next::Free));
        }
        // What is in hand is still in the queue and comes first, so room is made for it.
        let limit = concurrency + self.hands.len();
        let Some(due) = store.due(name, limit).await? else { return Ok(None) };
        if self.attendance.is_none() && !(consumption.draining && due.is_empty()) {
            self.attendance = Some(occupancy.attend(name));
        }
        let mut taken = false;
        for delivery in due {
            if self.is_full() {
                return Ok(Some(Next::Free));
            }
            if let Some(claim) = occupancy.claim(name, delivery.seq) {
                let task = self.hands.spawn(work(self.queue.clone(), delivery));
                self.claims.insert(task.id(), claim);
            } else {
                taken = true;
            }
        }
        // Another consumer of the queue, on its way out, has what is due.
        if taken && self.hands.is_empty() {
            return Ok(Some(Next::After(FIRST_PAUSE)));
        }
        self.rest().await.map(Some)
    }

    /// When something is due next, after everything that is due was taken.
    async fn rest(&mut self) -> Result<Next, StoreError> {
        let LocalQueue { store, consumption, .. } = &self.queue;
        if !self.hands.is_empty() {
            let now = Instant::now();
            while self.postponed.peek().is_some_and(|Reverse(due)| *due <= now) {
                self.postponed.pop();
            }
            let known = self.postponed.peek().map_or(IDLE, |Reverse(due)| *due - now);
            return Ok(Next::After(known.min(IDLE)));
        }
        self.postponed.clear();
        if consumption.draining && store.depth(&consumption.queue).await? == Some(0) {
            self.attendance = None;
        }
        let due = store.next_due(&consumption.queue).await?;
        Ok(Next::After(due.unwrap_or(IDLE).min(IDLE)))
    }

    fn ended(&mut self, ended: Result<(Id, Option<Instant>), JoinError>) {
        let mut one = |ended: Result<(Id, Option<Instant>), JoinError>| {
            let (id, due) = match ended {
                Ok((id, due)) => (id, due),
                Err(error) => (error.id(), None),
            };
            self.claims.remove(&id);
            self.postponed.extend(due.map(Reverse));
        };
        one(ended);
        while let Some(ended) = self.hands.try_join_next_with_id() {
            one(ended);
        }
    }
}

/// Runs one delivery and settles it. Returns when it is due again, if it is.
async fn work(queue: LocalQueue, delivery: LocalDelivery) -> Option<Instant> {
    let outcome = match decode(delivery.content_type.as_deref(), &delivery.body) {
        // It says nothing, so it is for nobody.
        Ok(event) if event.noop => ExecutionOutcome::Done,
        Ok(event) => {
            let listener = &queue.consumption.listener;
            let execution = Execution {
                published_at: delivery.published_at,
                first_failed_at: delivery.first_failed_at,
                cancelled: queue.abort.child_token(),
                ..Execution::begin(listener, delivery.attempt, Clock::system().monotonic())
            };
            let running = execute(queue.handler.as_ref(), &event, &execution);
            let running = contained(listener.timeout, running);
            let result = PLACE.scope(queue.places.clone(), running).await;
            ExecutionOutcome::of(&queue, &delivery, &event, result)
        }
        Err(problem) => ExecutionOutcome::unreadable(&queue, &delivery, &problem.to_string()),
    };
    let due = settle(&queue, &delivery, outcome).await;
    queue.waiting.executed(&queue.consumption.queue, delivery.seq);
    due
}
