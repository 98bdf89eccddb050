//! Tasks that run beside their caller.

use futures_util::FutureExt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use tokio::task::JoinHandle;

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
    let watched = async move {
        match AssertUnwindSafe(task).catch_unwind().await {
            Ok(output) => output,
            Err(panic) => {
                tracing::error!(task = name, "task {name} panicked; this is a defect of hearken");
                resume_unwind(panic)
            }
        }
    };
    tokio::spawn(watched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_answers_its_handle_and_so_does_its_panic() {
        assert_eq!(spawn("sum", async { 1 + 1 }).await.unwrap(), 2);
        assert!(spawn("broken", async { panic!("on purpose") }).await.unwrap_err().is_panic());
    }
}
