//! Longer work that an administrator starts and comes back for (James WebAdmin, `/tasks`).
//!
//! A task runs on the node that took the request and is shown by all. Its record is in the store;
//! one whose node is gone is `failed`, since no other node knows how far it came.

use crate::{
    domain::{
        event::NodeRef,
        report::{Task, TaskState},
    },
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
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// How often a task that runs elsewhere is looked at.
const POLL: Duration = Duration::from_millis(250);

/// How far a task is, as its work says it.
#[derive(Clone)]
pub struct Progress {
    store: Store,
    id: Uuid,
    kind: &'static str,
    said: Arc<Mutex<Said>>,
}

struct Said {
    information: Value,
    written: Option<Instant>,
}

impl Progress {
    fn new(store: Store, id: Uuid, kind: &'static str) -> Self {
        let information = serde_json::json!({ "type": kind });
        let said = Arc::new(Mutex::new(Said { information, written: None }));
        Self { store, id, kind, said }
    }

    /// Says how far the work is. Written to the task's record, at most every quarter of a second.
    /// A record that cannot be written is no reason to stop working.
    pub async fn say(&self, mut information: Value) {
        if let Value::Object(members) = &mut information {
            members.insert("type".to_owned(), self.kind.into());
        }
        {
            let mut said = self.said.lock();
            said.information = information.clone();
            if said.written.is_some_and(|written| written.elapsed() < POLL) {
                return;
            }
            said.written = Some(Instant::now());
        }
        if let Err(error) = self.store.task_progress(self.id, &information).await {
            let id = self.id;
            tracing::warn!(%id, %error, "the progress of task {id} could not be recorded: {error}");
        }
    }

    fn last(&self) -> Value {
        self.said.lock().information.clone()
    }
}

/// What came of waiting for a task.
pub enum Awaited {
    /// It ended.
    Ended(Box<Task>),
    /// It has not, in time.
    TimedOut,
    /// There is no such task.
    Unknown,
}

/// The tasks of the cluster, as this node runs and shows them.
#[derive(Clone)]
pub struct Tasks {
    store: Store,
    node: NodeRef,
    tracker: TaskTracker,
    running: Arc<Mutex<HashMap<Uuid, CancellationToken>>>,
    stopping: CancellationToken,
}

impl Tasks {
    /// Tasks of this node; none runs yet.
    #[must_use]
    pub fn new(store: Store, node: NodeRef) -> Self {
        Self {
            store,
            node,
            tracker: TaskTracker::new(),
            running: Arc::default(),
            stopping: CancellationToken::new(),
        }
    }

    /// Starts a task. It is in the store before this returns. `Err` of the work is what the report
    /// says of a failure. What the work said of its [`Progress`] is the report of a task that is
    /// cancelled, or whose node goes away.
    ///
    /// # Errors
    /// When the store did not take it; then nothing was started.
    pub async fn submit<W>(
        &self,
        kind: &'static str,
        actor: &str,
        begin: impl FnOnce(Progress) -> W + Send + 'static,
    ) -> Result<Uuid, StoreError>
    where
        W: Future<Output = Result<Value, Value>> + Send + 'static,
    {
        let id = Uuid::now_v7();
        let task = Task {
            id,
            kind: kind.to_owned(),
            state: TaskState::Waiting,
            actor: actor.to_owned(),
            submitted_from: self.node.host.clone(),
            node: self.node.id.clone(),
            cancelled_from: None,
            submitted_at: crate::clock::now(),
            started_at: None,
            ended_at: None,
            information: serde_json::json!({ "type": kind }),
        };
        let cancel = self.stopping.child_token();
        let (inserted, answer) = oneshot::channel();
        let tasks = self.clone();
        // All of it in the task's own future: a caller that goes away half way leaves no record
        // of a task that does not run.
        self.tracker.spawn(async move {
            let stored = tasks.store.insert_task(&task).await;
            let accepted = stored.is_ok();
            // A caller that has gone away does not stop what it asked for.
            let _ = inserted.send(stored);
            if !accepted {
                return;
            }
            tasks.lock().insert(id, cancel.clone());
            let progress = Progress::new(tasks.store.clone(), id, kind);
            let work = begin(progress.clone());
            let (state, information) = tasks.run(&progress, cancel, work).await;
            tasks.lock().remove(&id);
            tasks.finish(id, state, &information).await;
        });
        // Unanswered only when the runtime ends, and then no caller asks for the task again.
        if let Ok(stored) = answer.await {
            stored?;
        }
        Ok(id)
    }

    /// Records a task's end, for as long as the node lives.
    async fn finish(&self, id: Uuid, state: TaskState, information: &Value) {
        let pauses = ExponentialBuilder::default()
            .with_max_delay(Duration::from_secs(10))
            .without_max_times()
            .with_jitter();
        let record = || self.store.finish_task(id, state, information);
        let recorded = record.retry(pauses).when(|_| !self.stopping.is_cancelled()).await;
        if let Err(error) = recorded {
            tracing::error!(%id, %error, "task {id} ended and its record could not be written: {error}");
        }
    }

    async fn run<W>(
        &self,
        progress: &Progress,
        cancel: CancellationToken,
        work: W,
    ) -> (TaskState, Value)
    where
        W: Future<Output = Result<Value, Value>>,
    {
        let (id, kind) = (progress.id, progress.kind);
        match self.store.start_task(id).await {
            Ok(true) => {}
            // Cancelled before it began.
            Ok(false) => return (TaskState::Canceled, progress.last()),
            Err(error) => {
                tracing::warn!(%id, %error, "the start of task {id} could not be recorded: {error}");
            }
        }
        let (state, mut information) = tokio::select! {
            () = cancel.cancelled() => (TaskState::Canceled, progress.last()),
            () = self.cancelled_elsewhere(id) => (TaskState::Canceled, progress.last()),
            result = work => match result {
                Ok(information) => (TaskState::Completed, information),
                Err(information) => (TaskState::Failed, information),
            },
        };
        if let Value::Object(members) = &mut information {
            members.insert("type".to_owned(), kind.into());
        }
        if state == TaskState::Failed {
            let cause =
                information.get("error").and_then(Value::as_str).unwrap_or("it did not say");
            tracing::warn!(%id, kind, cause, "task {id} ({kind}) failed: {cause}");
        } else {
            tracing::info!(%id, kind, ?state, "task {id} ({kind}) ended: {state:?}");
        }
        (state, information)
    }

    /// Another node may take the request to cancel.
    async fn cancelled_elsewhere(&self, id: Uuid) {
        loop {
            tokio::time::sleep(POLL).await;
            let task = self.store.task(id).await;
            if matches!(task, Ok(Some(task)) if task.state == TaskState::CanceledRequested) {
                return;
            }
        }
    }

    /// Waits for a task's end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn await_end(&self, id: Uuid, limit: Duration) -> Result<Awaited, StoreError> {
        let ended = async {
            loop {
                match self.store.task(id).await? {
                    None => return Ok(Awaited::Unknown),
                    Some(task) if has_ended(&task) => return Ok(Awaited::Ended(Box::new(task))),
                    Some(_) => tokio::time::sleep(POLL).await,
                }
            }
        };
        tokio::time::timeout(limit, ended).await.unwrap_or(Ok(Awaited::TimedOut))
    }

    /// Asks to cancel a task, wherever it runs. One that has ended stays as it is.
    ///
    /// # Errors
    /// When the store did not take the request.
    pub async fn cancel(&self, id: Uuid) -> Result<(), StoreError> {
        self.store.request_cancel(id, &self.node.host).await?;
        if let Some(token) = self.lock().get(&id) {
            token.cancel();
        }
        Ok(())
    }

    /// Cancels what runs here and waits until that is recorded.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<Uuid, CancellationToken>> {
        self.running.lock()
    }
}

fn has_ended(task: &Task) -> bool {
    matches!(task.state, TaskState::Completed | TaskState::Canceled | TaskState::Failed)
}
