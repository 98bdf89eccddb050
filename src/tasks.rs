//! Work that outlives the request that started it (James WebAdmin, `/tasks`).
//!
//! A task runs on the node that took the request, and every node shows it, because its record is in
//! the store. The task of a node that is gone is `failed`: no other node knows how far it came.

use crate::{
    clock::Clock,
    domain::{
        event::NodeRef,
        report::{Task, TaskState},
    },
    shared_read::SharedRead,
    store::{Store, StoreError},
};
use backon::{ExponentialBuilder, Retryable};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// Pause between two looks at the unfinished tasks: a delay that a waiting person does not notice.
/// All tasks that run here and all callers that wait share one query. Progress is recorded no more
/// often.
const POLL: Duration = Duration::from_millis(250);

/// Progress of a task: the way from its work to its record.
#[derive(Clone)]
pub struct Progress {
    store: Store,
    clock: Clock,
    id: Uuid,
    kind: &'static str,
    latest: Arc<Mutex<LatestReport>>,
}

struct LatestReport {
    information: Value,
    recorded: Option<Instant>,
}

impl Progress {
    fn new(tasks: &Tasks, id: Uuid, kind: &'static str) -> Self {
        let information = serde_json::json!({ "type": kind });
        let latest = Arc::new(Mutex::new(LatestReport { information, recorded: None }));
        Self { store: tasks.store.clone(), clock: tasks.clock.clone(), id, kind, latest }
    }

    /// Reports how far the work is. Written to the record of the task at most four times a second.
    /// The work continues when the record cannot be written.
    pub async fn report(&self, mut information: Value) {
        name_type(&mut information, self.kind);
        {
            let mut latest = self.latest.lock();
            latest.information = information.clone();
            if latest.recorded.is_some_and(|at| self.clock.elapsed(at) < POLL) {
                return;
            }
            latest.recorded = Some(self.clock.monotonic());
        }
        if let Err(error) = self.store.task_progress(self.id, &information).await {
            let id = self.id;
            tracing::warn!(%id, %error, "the progress of task {id} could not be recorded, and the task continues: {error}");
        }
    }

    fn latest(&self) -> Value {
        self.latest.lock().information.clone()
    }
}

/// Result of waiting for the end of a task.
pub enum Awaited {
    /// The task has ended.
    Ended(Box<Task>),
    /// The task did not end within the limit.
    TimedOut,
    /// No task has this id.
    Unknown,
}

/// Final state of a task, with its report.
struct TaskEnd {
    state: TaskState,
    information: Value,
}

/// States of unfinished tasks, by their ids.
type UnfinishedTasks = Arc<HashMap<Uuid, TaskState>>;

/// Tasks of the cluster: those of this node run here, those of all nodes are shown.
#[derive(Clone)]
pub struct Tasks {
    store: Store,
    node: NodeRef,
    clock: Clock,
    tracker: TaskTracker,
    running: Arc<Mutex<HashMap<Uuid, CancellationToken>>>,
    stopping: CancellationToken,
    /// States of the unfinished tasks of the cluster; `None` when they could not be read.
    unfinished: Arc<SharedRead<Option<UnfinishedTasks>>>,
    /// Changes when a task of this node has ended.
    ended: Arc<watch::Sender<()>>,
}

impl Tasks {
    /// Tasks of this node. None runs yet.
    #[must_use]
    pub fn new(store: Store, node: NodeRef, clock: Clock) -> Self {
        let unfinished = Arc::new(SharedRead::new(&clock));
        Self {
            store,
            node,
            clock,
            tracker: TaskTracker::new(),
            running: Arc::default(),
            stopping: CancellationToken::new(),
            unfinished,
            ended: Arc::new(watch::Sender::new(())),
        }
    }

    /// Starts a task and returns its id. The record of the task is in the store before this
    /// returns. The work's `Ok` is the report of a completed task, its `Err` the report of a failed
    /// one. The last [`Progress::report`] is the report of a task that is cancelled, or whose node
    /// is gone.
    ///
    /// # Errors
    /// When the store did not take the record; then nothing was started.
    pub async fn submit<W>(
        &self,
        kind: &'static str,
        actor: &str,
        begin: impl FnOnce(Progress) -> W + Send + 'static,
    ) -> Result<Uuid, StoreError>
    where
        W: Future<Output = Result<Value, Value>> + Send + 'static,
    {
        let task = self.waiting_task(kind, actor);
        let id = task.id;
        let cancel = self.stopping.child_token();
        let (inserted, answer) = oneshot::channel();
        let tasks = self.clone();
        // The task's own future inserts the record, so that a caller that goes away half way leaves
        // no record of a task that does not run.
        self.tracker.spawn(async move {
            let stored = tasks.store.insert_task(&task).await;
            let accepted = stored.is_ok();
            // The task runs even if its caller has gone away.
            let _ = inserted.send(stored);
            if !accepted {
                return;
            }
            tasks.running.lock().insert(id, cancel.clone());
            let progress = Progress::new(&tasks, id, kind);
            let work = begin(progress.clone());
            let end = tasks.run(&progress, cancel, work).await;
            tasks.running.lock().remove(&id);
            tasks.record_end(id, &end).await;
            tasks.ended.send_replace(());
        });
        // No answer comes only when the runtime ends, and then no caller asks for the task again.
        if let Ok(stored) = answer.await {
            stored?;
        }
        Ok(id)
    }

    /// Record of a task that has not begun.
    fn waiting_task(&self, kind: &'static str, actor: &str) -> Task {
        Task {
            id: Uuid::now_v7(),
            kind: kind.to_owned(),
            state: TaskState::Waiting,
            actor: actor.to_owned(),
            submitted_from: self.node.host.clone(),
            node: self.node.id.clone(),
            cancelled_from: None,
            submitted_at: self.clock.now(),
            started_at: None,
            ended_at: None,
            information: serde_json::json!({ "type": kind }),
        }
    }

    /// Records the end of a task. Tries again, with growing pauses, until the node stops.
    async fn record_end(&self, id: Uuid, end: &TaskEnd) {
        let pauses = ExponentialBuilder::default()
            .with_max_delay(Duration::from_secs(10))
            .without_max_times()
            .with_jitter();
        let record = || self.store.finish_task(id, end.state, &end.information);
        let recorded = record.retry(pauses).when(|_| !self.stopping.is_cancelled()).await;
        if let Err(error) = recorded {
            tracing::error!(%id, %error, "task {id} ended, and its end could not be recorded before this node stopped; it will be shown as failed: {error}");
        }
    }

    async fn run<W>(&self, progress: &Progress, cancel: CancellationToken, work: W) -> TaskEnd
    where
        W: Future<Output = Result<Value, Value>>,
    {
        let (id, kind) = (progress.id, progress.kind);
        let canceled = || TaskEnd { state: TaskState::Canceled, information: progress.latest() };
        match self.store.start_task(id).await {
            Ok(true) => {}
            // Cancelled before it began.
            Ok(false) => return canceled(),
            Err(error) => {
                tracing::warn!(%id, %error, "the start of task {id} could not be recorded, and the task runs: {error}");
            }
        }
        let mut end = tokio::select! {
            () = cancel.cancelled() => canceled(),
            () = self.cancelled_elsewhere(id) => canceled(),
            result = work => match result {
                Ok(information) => TaskEnd { state: TaskState::Completed, information },
                Err(information) => TaskEnd { state: TaskState::Failed, information },
            },
        };
        name_type(&mut end.information, kind);
        let state = end.state;
        if state == TaskState::Failed {
            let cause = end.information.get("error").and_then(Value::as_str);
            let cause = cause.unwrap_or("its report names no cause");
            tracing::warn!(%id, kind, cause, "task {id} ({kind}) failed: {cause}");
        } else {
            tracing::info!(%id, kind, ?state, "task {id} ({kind}) ended: {state:?}");
        }
        end
    }

    /// The states of the unfinished tasks, one pause after the call, or as soon as a task of this
    /// node has ended. `None` when they cannot be read.
    async fn next_unfinished(&self) -> Option<Arc<HashMap<Uuid, TaskState>>> {
        let mut ended = self.ended.subscribe();
        let mut since = self.clock.monotonic();
        if tokio::time::timeout(POLL, ended.changed()).await.is_ok() {
            since = self.clock.monotonic();
        }
        let read = async { self.store.unfinished_tasks().await.ok().map(Arc::new) };
        self.unfinished.since(since, read).await
    }

    /// Waits until another node has taken a request to cancel the task.
    async fn cancelled_elsewhere(&self, id: Uuid) {
        loop {
            let unfinished = self.next_unfinished().await;
            let state = unfinished.and_then(|states| states.get(&id).copied());
            if state == Some(TaskState::CanceledRequested) {
                return;
            }
        }
    }

    /// Waits for the end of a task, at most for `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn await_end(&self, id: Uuid, limit: Duration) -> Result<Awaited, StoreError> {
        let ended = async {
            loop {
                match self.store.task(id).await? {
                    None => return Ok(Awaited::Unknown),
                    Some(task) if has_ended(&task) => return Ok(Awaited::Ended(Box::new(task))),
                    Some(_) => {}
                }
                // The record is read again when the task has ended, or to learn why the tasks
                // cannot be read.
                while self.next_unfinished().await.is_some_and(|states| states.contains_key(&id)) {}
            }
        };
        tokio::time::timeout(limit, ended).await.unwrap_or(Ok(Awaited::TimedOut))
    }

    /// Requests the cancellation of a task, which may run on any node. A task that has ended stays
    /// as it is.
    ///
    /// # Errors
    /// When the store did not take the request.
    pub async fn cancel(&self, id: Uuid) -> Result<(), StoreError> {
        self.store.request_cancel(id, &self.node.host).await?;
        if let Some(token) = self.running.lock().get(&id) {
            token.cancel();
        }
        Ok(())
    }

    /// Cancels the tasks that run on this node, and waits until their ends are recorded.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Adds the member `type` to a report: James's clients choose its shape by the type.
fn name_type(information: &mut Value, kind: &'static str) {
    if let Value::Object(members) = information {
        members.insert("type".to_owned(), kind.into());
    }
}

fn has_ended(task: &Task) -> bool {
    matches!(task.state, TaskState::Completed | TaskState::Canceled | TaskState::Failed)
}
