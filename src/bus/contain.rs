//! Containment of one execution: a panic or an execution over its time fails only its own event.

use super::{Execution, Failure, Listener, event::Event};
use crate::domain::span::Span;
use futures_util::FutureExt;
use std::{any::Any, panic::AssertUnwindSafe};
use tokio::time::timeout;

tokio::task_local! {
    /// Set in a task while the task runs a listener.
    static INSIDE: ();
}

/// Whether the caller is within an execution. A listener that dispatches must not wait for an
/// execution slot, because it may hold that slot itself.
pub(super) fn nested() -> bool {
    INSIDE.try_with(|()| ()).is_ok()
}

/// Runs an execution for at most `limit`. A panic and an execution over its limit are failures of
/// the event; the caller goes on.
pub(super) async fn contained(
    limit: Span,
    running: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let running = INSIDE.scope((), AssertUnwindSafe(running).catch_unwind());
    match timeout(limit.duration(), running).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            Err(Failure::new(format!("the listener panicked: {}", message_of(&*panic))))
        }
        Err(_) => Err(Failure::new(format!("the listener did not finish within {limit}"))),
    }
}

/// Calls a listener. A call that is dropped before it has ended cancels the execution, so that
/// tasks which the listener spawned end too.
pub(super) async fn execute(
    listener: &dyn Listener,
    event: &Event,
    execution: &Execution,
) -> Result<(), Failure> {
    let cancel_on_drop = execution.cancelled.clone().drop_guard();
    let outcome = listener.on_event(event, execution).await;
    cancel_on_drop.disarm();
    outcome
}

/// Message of a panic, if it is a text.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the panic has no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bus::codec::decode, clock::Clock, fixtures::listener};
    use async_trait::async_trait;
    use std::{future::pending, panic::panic_any};

    fn limit() -> Span {
        Span::from_millis(20)
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_the_message_of_the_panic() {
        let cause = async |panic: fn()| {
            let running = async move {
                panic();
                Ok(())
            };
            contained(limit(), running).await.unwrap_err().to_string()
        };
        assert_eq!(cause(|| panic!("no {}", "luck")).await, "the listener panicked: no luck");
        assert_eq!(cause(|| panic!("plain")).await, "the listener panicked: plain");
        assert_eq!(cause(|| panic_any(7)).await, "the listener panicked: the panic has no message");
    }

    #[tokio::test]
    async fn an_execution_over_its_limit_is_a_failure_that_names_the_limit() {
        let failure = contained(limit(), pending()).await.unwrap_err();
        assert_eq!(failure.to_string(), "the listener did not finish within 20ms");
    }

    #[tokio::test]
    async fn nested_is_true_only_within_an_execution() {
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
    impl Listener for Endless {
        async fn on_event(&self, _event: &Event, _execution: &Execution) -> Result<(), Failure> {
            if self.0 { pending().await } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn only_an_execution_that_is_dropped_before_its_end_is_cancelled() {
        for endless in [true, false] {
            let execution = Execution::begin(&listener("g"), 0, Clock::system().monotonic());
            let event = decode(None, br#"{"Added":{"eventId":"e"}}"#).unwrap();
            let _ = contained(limit(), execute(&Endless(endless), &event, &execution)).await;
            assert_eq!(execution.cancelled.is_cancelled(), endless);
        }
    }
}
