//! Waiting for a condition, with a deadline, and the pace of generated load. No other file of the
//! tests pauses, except the fixtures that are slow on purpose: the proxy and the receiver.

use std::time::{Duration, Instant};

/// Time within which a condition must hold.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Pause between two looks at a condition.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Asks until the answer is `Some`, and fails with `what` after [`LIMIT`].
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    ask: impl FnMut() -> F,
) -> T {
    within(LIMIT, what, ask).await
}

/// Asks until the answer is `Some`, and fails with `what` after `limit`.
pub(crate) async fn within<T, F: Future<Output = Option<T>>>(
    limit: Duration,
    what: &str,
    ask: impl FnMut() -> F,
) -> T {
    explained(limit, ask, || what.to_owned()).await
}

/// Asks until the answer is `Some`, and fails after `limit` with what is known then.
pub(crate) async fn explained<T, F: Future<Output = Option<T>>>(
    limit: Duration,
    mut ask: impl FnMut() -> F,
    what: impl FnOnce() -> String,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "did not happen within {limit:?}: {}", what());
        look_again().await;
    }
}

/// Pauses between two looks at a condition. For a loop that decides for itself how it ends.
pub(crate) async fn look_again() {
    pace(BETWEEN_LOOKS).await;
}

/// Spaces out what a test does by itself: requests of a load generator, a fault that lasts. A test
/// that needs something to have happened waits for that with [`until`].
pub(crate) async fn pace(pause: Duration) {
    tokio::time::sleep(pause).await;
}
