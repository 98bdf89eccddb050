//! Consuming one local work queue.

use super::{
    ending::Ending,
    queue::LocalQueue,
    settle::{ExecutionOutcome, settle},
    waiting::PLACES,
};
use crate::{
    bus::{
        ConsumerState, Execution,
        codec::decode,
        contain::{contained, execute},
    },
    domain::listener::Mode,
    outage::pauses,
    store::{
        StoreError,
        embedded::{Attendance, Claim, LocalDelivery},
    },
};
use backon::ExponentialBackoff;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};

/// Longest pause between two reads of the queue. Repairs a missed bell.
const IDLE: Duration = Duration::from_secs(5);
/// First pause after the store or the queue was missing. The pauses grow from here.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause after the store or the queue was missing.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Time of the next read of the queue, unless something happens before.
enum NextRead {
    /// When an execution ends, because no place is free.
    WhenFree,
    /// After a pause.
    After(Duration),
}

/// Consumes the queue until it is told to end.
pub(super) async fn consume(
    queue: LocalQueue,
    mut bell: watch::Receiver<()>,
    state: watch::Sender<ConsumerState>,
    ending: Ending,
) {
    let spec = &queue.consumption.listener;
    let _sync = (spec.mode == Mode::Sync)
        .then(|| queue.waiting.attend(&queue.consumption.queue, spec.timeout.duration()));
    let mut consumer = QueueConsumer {
        queue,
        state,
        attendance: None,
        running: JoinSet::new(),
        claims: HashMap::new(),
        postponed: BinaryHeap::new(),
        pauses: pauses(FIRST_PAUSE, LONGEST_PAUSE),
    };
    loop {
        // Marked as seen first, so that a ring during the read is noticed afterwards.
        bell.borrow_and_update();
        let (full, pause) = match consumer.read_queue().await {
            NextRead::WhenFree => (true, IDLE),
            NextRead::After(pause) => (false, pause),
        };
        tokio::select! {
            biased;
            () = ending.finish.cancelled() => break,
            Some(ended) = consumer.running.join_next_with_id() => consumer.note_ended(ended),
            // Fails when the bus is gone. The bell also rings when a place is given away.
            rung = bell.changed() => match rung {
                Ok(()) => consumer.shorten_pauses(),
                Err(_) => break,
            },
            () = tokio::time::sleep(pause), if !full => {}
        }
    }
    ending.wait(std::mem::take(&mut consumer.running)).await;
}

struct QueueConsumer {
    queue: LocalQueue,
    state: watch::Sender<ConsumerState>,
    attendance: Option<Attendance>,
    /// Executions. Each returns the time at which its delivery is due again, if it is.
    running: JoinSet<Option<Instant>>,
    /// Claims of the running deliveries. A claim is dropped when the consumer notes the end of the
    /// execution, and never while the consumer reads the queue: otherwise it could claim a delivery
    /// that it read before the delivery was settled.
    claims: HashMap<Id, Claim>,
    /// Times at which postponed deliveries are due, the earliest first. The store cannot tell while
    /// a delivery runs, because a running delivery is due already.
    postponed: BinaryHeap<Reverse<Instant>>,
    pauses: ExponentialBackoff,
}

impl QueueConsumer {
    /// Whether as many executions run as the listener allows. An execution that waits for its own
    /// dispatch does not count.
    fn is_full(&self) -> bool {
        let busy = self.running.len().saturating_sub(self.queue.places.count());
        busy >= usize::from(self.queue.consumption.listener.concurrency)
    }

    fn shorten_pauses(&mut self) {
        self.pauses = pauses(FIRST_PAUSE, LONGEST_PAUSE);
    }

    /// Reads the queue and starts due deliveries while places are free.
    async fn read_queue(&mut self) -> NextRead {
        match self.start_due().await {
            Ok(Some(next)) => {
                self.shorten_pauses();
                self.publish_state(ConsumerState::Running);
                next
            }
            Ok(None) => {
                let queue = &self.queue.consumption.queue;
                self.pause(format!("there is no queue {queue} yet; the topology is not converged"))
            }
            Err(error) => self.pause(format!("its queue cannot be read: {error}")),
        }
    }

    fn pause(&mut self, cause: String) -> NextRead {
        self.attendance = None;
        self.publish_state(ConsumerState::Waiting(cause));
        NextRead::After(self.pauses.next().unwrap_or(LONGEST_PAUSE))
    }

    fn publish_state(&self, state: ConsumerState) {
        self.state.send_if_modified(|published| {
            let new = *published != state;
            *published = state;
            new
        });
    }

    /// Starts due deliveries while places are free. `None` when the queue does not exist.
    async fn start_due(&mut self) -> Result<Option<NextRead>, StoreError> {
        let LocalQueue { store, occupancy, consumption, .. } = &self.queue;
        let name = consumption.queue.as_str();
        let concurrency = usize::from(consumption.listener.concurrency);
        if self.is_full() {
            return Ok(Some(NextRead::WhenFree));
        }
        // Running deliveries are still in the queue and come first, so the limit has room for them.
        let limit = concurrency + self.running.len();
        let Some(due) = store.due(name, limit).await? else { return Ok(None) };
        if self.attendance.is_none() && !(consumption.draining && due.is_empty()) {
            self.attendance = Some(occupancy.attend(name));
        }
        let mut some_claimed_elsewhere = false;
        for delivery in due {
            if self.is_full() {
                return Ok(Some(NextRead::WhenFree));
            }
            if let Some(claim) = occupancy.claim(name, delivery.seq) {
                let task = self.running.spawn(run(self.queue.clone(), delivery));
                self.claims.insert(task.id(), claim);
            } else {
                some_claimed_elsewhere = true;
            }
        }
        // Another consumer of the queue, which is stopping, runs the due deliveries.
        if some_claimed_elsewhere && self.running.is_empty() {
            return Ok(Some(NextRead::After(FIRST_PAUSE)));
        }
        self.next_due().await.map(Some)
    }

    /// Time of the next due delivery, after every due delivery was started.
    async fn next_due(&mut self) -> Result<NextRead, StoreError> {
        let LocalQueue { store, consumption, clock, .. } = &self.queue;
        if !self.running.is_empty() {
            let now = clock.monotonic();
            while self.postponed.peek().is_some_and(|Reverse(due)| *due <= now) {
                self.postponed.pop();
            }
            let known = self.postponed.peek().map_or(IDLE, |Reverse(due)| *due - now);
            return Ok(NextRead::After(known.min(IDLE)));
        }
        self.postponed.clear();
        if consumption.draining && store.depth(&consumption.queue).await? == Some(0) {
            self.attendance = None;
        }
        let due = store.next_due(&consumption.queue).await?;
        Ok(NextRead::After(due.unwrap_or(IDLE).min(IDLE)))
    }

    fn note_ended(&mut self, first: Result<(Id, Option<Instant>), JoinError>) {
        let mut ended = Some(first);
        while let Some(execution) = ended {
            let (id, due) = match execution {
                Ok((id, due)) => (id, due),
                Err(error) => (error.id(), None),
            };
            self.claims.remove(&id);
            self.postponed.extend(due.map(Reverse));
            ended = self.running.try_join_next_with_id();
        }
    }
}

/// Runs one delivery and settles it. Returns the time at which it is due again, if it is.
async fn run(queue: LocalQueue, delivery: LocalDelivery) -> Option<Instant> {
    let outcome = match decode(delivery.content_type.as_deref(), &delivery.body) {
        // A noop event is delivered to no listener.
        Ok(event) if event.noop => ExecutionOutcome::Done,
        Ok(event) => {
            let spec = &queue.consumption.listener;
            let execution = Execution {
                published_at: delivery.published_at,
                first_failed_at: delivery.first_failed_at,
                cancelled: queue.abort.child_token(),
                ..Execution::begin(spec, delivery.attempt, queue.clock.monotonic())
            };
            let running = execute(queue.listener.as_ref(), &event, &execution);
            let running = contained(spec.timeout, running);
            let result = PLACES.scope(queue.places.clone(), running).await;
            ExecutionOutcome::judge(&queue, &delivery, &event, result)
        }
        Err(problem) => ExecutionOutcome::unreadable(&queue, &delivery, &problem.to_string()),
    };
    let due = settle(&queue, &delivery, outcome).await;
    queue.waiting.executed(&queue.consumption.queue, delivery.seq);
    due
}
