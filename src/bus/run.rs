//! One execution of what somebody gave the bus to run.

use super::{Execution, Failure, Handler, event::Event};
use crate::domain::span::Span;
use futures_util::FutureExt;
use std::{any::Any, panic::AssertUnwindSafe};
use tokio::time::timeout;

tokio::task_local! {
    /// Says of a task that it runs a listener.
    static INSIDE: ();
}

/// Whether this is within an execution: who dispatches here must not wait for a place that the
/// execution may hold itself.
pub(super) fn nested() -> bool {
    INSIDE.try_with(|()| ()).is_ok()
}

/// Runs for at most `limit`. Going on for longer and panicking are failures as any other: of this
/// event, and not of whoever runs it.
pub(super) async fn contained(
    limit: Span,
    running: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let running = INSIDE.scope((), AssertUnwindSafe(running).catch_unwind());
    match timeout(limit.duration(), running).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(Failure::new(format!("the listener panicked: {}", words(&*panic)))),
        Err(_) => Err(Failure::new(format!("the listener did not finish within {limit}"))),
    }
}

/// Calls a handler. What it spawned is told to end when the call is dropped before it has ended.
pub(super) async fn handle(
    handler: &dyn Handler,
    event: &Event,
    execution: &Execution,
) -> Result<(), Failure> {
    let unwanted = execution.cancelled.clone().drop_guard();
    let outcome = handler.handle(event, execution).await;
    unwanted.disarm();
    outcome
}

/// What a panic said, where it said something that can be read.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bus::codec::decode, fixtures::listener};
    use async_trait::async_trait;
    use std::{future::pending, panic::panic_any};

    fn limit() -> Span {
        Span::from_millis(20)
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_in_its_own_words() {
        let cause = async |panic: fn()| {
            let running = async move {
                panic();
                Ok(())
            };
            contained(limit(), running).await.unwrap_err().to_string()
        };
        assert_eq!(cause(|| panic!("no {}", "luck")).await, "the listener panicked: no luck");
        assert_eq!(cause(|| panic!("plain")).await, "the listener panicked: plain");
        assert_eq!(cause(|| panic_any(7)).await, "the listener panicked: without a word");
    }

    #[tokio::test]
    async fn an_execution_without_end_is_a_failure_that_names_its_limit() {
        let failure = contained(limit(), pending()).await.unwrap_err();
        assert_eq!(failure.to_string(), "the listener did not finish within 20ms");
    }

    #[tokio::test]
    async fn only_what_runs_in_an_execution_is_within_one() {
        assert!(!nested());
        let running = async {
            assert!(nested());
            Ok(())
        };
        contained(limit(), running).await.unwrap();
        assert!(!nested());
    }

    struct Endless(bool);

    #[async_trait]
    impl Handler for Endless {
        async fn handle(&self, _event: &Event, _execution: &Execution) -> Result<(), Failure> {
            if self.0 { pending().await } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn what_an_execution_spawned_is_cancelled_when_the_execution_is_dropped_and_not_when_it_ends()
     {
        for endless in [true, false] {
            let execution = Execution::begin(&listener("g"), 0);
            let event = decode(None, br#"{"Added":{"eventId":"e"}}"#).unwrap();
            let _ = contained(limit(), handle(&Endless(endless), &event, &execution)).await;
            assert_eq!(execution.cancelled.is_cancelled(), endless);
        }
    }
}
