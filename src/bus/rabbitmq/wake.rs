//! The call to try again now.

use tokio::sync::watch;

/// Makes tasks that pause after a failure try again at once. Clones share one call.
#[derive(Clone, Default)]
pub(super) struct Wake(watch::Sender<u64>);

impl Wake {
    /// Ends the current pause of every task that listens.
    pub(super) fn call(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Hears calls from now on.
    pub(super) fn listen(&self) -> WakeListener {
        WakeListener { calls: self.0.subscribe(), _caller: self.clone() }
    }
}

/// One task's ear for calls.
pub(super) struct WakeListener {
    calls: watch::Receiver<u64>,
    /// Keeps the channel open.
    _caller: Wake,
}

impl WakeListener {
    /// Forgets past calls. Used before a try: a call during the try counts, an older call does not.
    pub(super) fn forget(&mut self) {
        self.calls.mark_unchanged();
    }

    /// Waits for a call since the last [`WakeListener::forget`].
    pub(super) async fn called(&mut self) {
        self.calls.changed().await.expect("the listener holds the sender");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_call_during_a_try_is_heard_and_an_older_call_is_not() {
        let wake = Wake::default();
        let mut listener = wake.listen();
        wake.call();
        listener.forget();
        assert!(listener.called().now_or_never().is_none());
        wake.call();
        listener.called().await;
    }
}
