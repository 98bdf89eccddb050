//! Shield around code of classes: a panic becomes a value, and its message goes nowhere else.
//!
//! Code of a class knows secret values, and the message of a panic may contain one. Outside of the
//! shield, the process prints the message of a panic to its log.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    pin::Pin,
    task::{Context, Poll},
};

thread_local! {
    /// Set while the thread runs code of a class.
    static SHIELDED: Cell<bool> = const { Cell::new(false) };
}

/// Message of a panic in code of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PanicMessage(pub(super) String);

/// Makes the log of this process show of a panic in code of a class only the place in the source.
/// All other panics are shown as before.
pub fn hide_panic_messages_of_classes() {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        if !SHIELDED.get() {
            return before(panic);
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, "code of a listener class panicked at {place}; the state of the listener, or the cause of its failed event, has the message");
    }));
}

/// Runs code of a class.
pub(super) fn shielded<R>(code: impl FnOnce() -> R) -> Result<R, PanicMessage> {
    let before = SHIELDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(code));
    SHIELDED.set(before);
    outcome.map_err(|panic| PanicMessage(message_of(&*panic).to_owned()))
}

/// Future of a class. A panic of the future, also of one that is dropped before it has ended, does
/// not leave the shield.
pub(super) struct ShieldedFuture<F>(Option<F>);

/// Runs a future of a class.
pub(super) fn shielded_future<F: Future + Unpin>(code: F) -> ShieldedFuture<F> {
    ShieldedFuture(Some(code))
}

impl<F: Future + Unpin> Future for ShieldedFuture<F> {
    type Output = Result<F::Output, PanicMessage>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A future that has panicked is dropped, and not polled again.
        let Some(code) = &mut self.0 else { return Poll::Pending };
        match shielded(|| Pin::new(code).poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

impl<F> Drop for ShieldedFuture<F> {
    fn drop(&mut self) {
        shielded_drop(self.0.take());
    }
}

/// Drops a value of a class. A panic of the value's destructor is logged without its message.
pub(super) fn shielded_drop<T>(value: T) {
    if shielded(|| drop(value)).is_err() {
        tracing::error!(
            "a value of a listener class panicked while it was dropped; this is a defect of the class, and hearken goes on"
        );
    }
}

/// Message of a panic, if it is a text.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the panic has no message")
}
