//! Waiting for a condition, with a deadline. The only place where a test may pause.

use std::time::{Duration, Instant};

/// Asks until the answer is `Some`, and fails with `what` after 30 seconds.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    ask: impl FnMut() -> F,
) -> T {
    within(Duration::from_secs(30), what, ask).await
}

/// Asks until the answer is `Some`, and fails with `what` after `limit`.
pub(crate) async fn within<T, F: Future<Output = Option<T>>>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "did not happen within {limit:?}: {what}");
        pause().await;
    }
}

/// Pause between two looks at a condition.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
