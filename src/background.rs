//! Tasks that run beside their caller, and the watch over loops that the process needs.

use futures_util::FutureExt;
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::LazyLock,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Starts a task under a name. A panic of the task is one ERROR in the log with that name, and
/// reaches a caller that waits for the handle. Needs a runtime.
///
/// Every task of hearken starts here: `.clippy.toml` refuses `tokio::spawn` elsewhere, because a
/// panic in a task that has no waiting caller would otherwise not be reported.
#[expect(clippy::disallowed_methods, reason = "this is the one place that starts tasks")]
pub fn spawn<F>(name: &'static str, task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(async move {
        match AssertUnwindSafe(task).catch_unwind().await {
            Ok(output) => output,
            Err(panic) => {
                tracing::error!(task = name, "task {name} panicked; this is a defect of hearken");
                resume_unwind(panic)
            }
        }
    })
}

/// Starts a loop that the process needs until the loop returns by itself or is aborted. A panic of
/// the loop ends the process: see [`LoopWatch`]. Needs a runtime.
pub fn spawn_loop<F>(name: &'static str, task: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    spawn(name, async move {
        if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
            LoopWatch::of_process().report(EndedLoop { name, end: LoopEnd::Panicked });
            resume_unwind(panic)
        }
    })
}

/// How a loop ended that should have run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoopEnd {
    Panicked,
    ReturnedEarly,
}

/// A loop that ended although the process needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedLoop {
    name: &'static str,
    end: LoopEnd,
}

impl fmt::Display for EndedLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        match self.end {
            LoopEnd::Panicked => write!(f, "{name} panicked"),
            LoopEnd::ReturnedEarly => write!(f, "{name} ended before the node was told to stop"),
        }
    }
}

/// Watch over the loops without which the process does less than it reports.
///
/// A loop cannot be started a second time, because its state is unknown after a panic. When a loop
/// ends, the process says so on `/livez`, stops, and fails, so that its manager starts it again.
pub struct LoopWatch {
    ended: watch::Sender<Option<EndedLoop>>,
}

impl Default for LoopWatch {
    fn default() -> Self {
        Self { ended: watch::Sender::new(None) }
    }
}

impl LoopWatch {
    /// The watch over the loops of this process.
    #[must_use]
    pub fn of_process() -> &'static Self {
        static PROCESS: LazyLock<LoopWatch> = LazyLock::new(LoopWatch::default);
        &PROCESS
    }

    /// Runs a loop that must not end before `stop` is cancelled.
    pub async fn run(
        &self,
        name: &'static str,
        stop: CancellationToken,
        task: impl Future<Output = ()>,
    ) {
        let outcome: Result<(), Box<dyn Any + Send>> = AssertUnwindSafe(task).catch_unwind().await;
        match outcome {
            Ok(()) if stop.is_cancelled() => {}
            Ok(()) => self.report(EndedLoop { name, end: LoopEnd::ReturnedEarly }),
            Err(_) => self.report(EndedLoop { name, end: LoopEnd::Panicked }),
        }
    }

    /// The first loop that ended, if one did.
    #[must_use]
    pub fn ended(&self) -> Option<EndedLoop> {
        *self.ended.borrow()
    }

    /// Waits until a loop ends.
    pub async fn wait(&self) -> EndedLoop {
        let mut ended = self.ended.subscribe();
        let found = ended.wait_for(Option::is_some).await.ok().and_then(|found| *found);
        // The sender lives in `self`, so the wait does not fail.
        match found {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    fn report(&self, ended: EndedLoop) {
        tracing::error!(
            task = ended.name,
            "{ended}; this is a defect of hearken. The node cannot go on without it and stops with an error, so that its manager starts it again"
        );
        self.ended.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(ended);
            is_first
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_task_answers_its_handle_and_so_does_its_panic() {
        assert_eq!(spawn("sum", async { 1 + 1 }).await.unwrap(), 2);
        assert!(spawn("broken", async { panic!("on purpose") }).await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn a_loop_that_panics_or_returns_early_is_reported_and_a_stopped_one_is_not() {
        let watch = LoopWatch::default();
        let (stop, running) = (CancellationToken::new(), CancellationToken::new());
        stop.cancel();
        watch.run("stopped", stop, async {}).await;
        assert_eq!(watch.ended(), None);
        watch.run("early", running.clone(), async {}).await;
        let early = watch.wait().await;
        assert_eq!(early.to_string(), "early ended before the node was told to stop");
        watch.run("late", running, async { panic!("on purpose") }).await;
        assert_eq!(watch.ended(), Some(early), "the first loop is the cause of the others");
    }

    #[tokio::test]
    async fn the_wait_for_an_ended_loop_ends_with_a_panic() {
        let watch = LoopWatch::default();
        let broken = watch.run("broken", CancellationToken::new(), async {
            tokio::task::yield_now().await;
            panic!("on purpose")
        });
        let (ended, ()) = tokio::join!(watch.wait(), broken);
        assert_eq!(ended.to_string(), "broken panicked");
        let running = watch.run("running", CancellationToken::new(), pending());
        assert!(running.now_or_never().is_none());
    }
}
