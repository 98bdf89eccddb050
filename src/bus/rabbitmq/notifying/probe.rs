//! Probes: messages that this node sends to itself to see whether notifications arrive.
//!
//! An exchange that was deleted and declared again has lost its bindings, and the broker does not
//! tell the queues. Only a message that does not come back shows the loss.

use super::{error::ListeningError, health::NotificationHealth};
use crate::{
    amqp::{AmqpError, name},
    bus::rabbitmq::{
        publishing::{Publication, Published, Publisher},
        wake::Wake,
    },
};
use lapin::{BasicProperties, message::Delivery};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Pause between two probes.
const EVERY: Duration = Duration::from_secs(20);

/// How long a probe that is in the node's queue may take to come out of the queue.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Numbers of the probes of one bus. The numbers go on when the node makes a new queue, so an old
/// probe is never taken for a new one.
#[derive(Default)]
pub(super) struct ProbeEcho {
    sent: AtomicU64,
    returned: watch::Sender<u64>,
}

impl ProbeEcho {
    fn next(&self) -> u64 {
        self.sent.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Reads a probe that came back. Returns whether the message is a probe.
    pub(super) fn receive(&self, message: &Delivery) -> bool {
        let number = std::str::from_utf8(&message.data).ok().and_then(|text| text.parse().ok());
        if let Some(number) = number {
            self.returned.send_replace(number);
        }
        number.is_some()
    }

    /// Waits until the probe with this number came back.
    async fn returned(&self, number: u64) {
        let mut returned = self.returned.subscribe();
        returned.wait_for(|last| *last == number).await.expect("the sender is borrowed");
    }
}

/// Sends the probes of one bus.
pub(super) struct Prober<'a> {
    pub(super) publisher: &'a Publisher,
    pub(super) exchange: String,
    pub(super) key: &'a str,
    pub(super) echo: &'a ProbeEcho,
    pub(super) health: &'a NotificationHealth,
    pub(super) wake: &'a Wake,
}

impl Prober<'_> {
    /// Sends probes until one shows that nothing arrives any more.
    pub(super) async fn run(&self) -> ListeningError {
        let mut wake = self.wake.listen();
        loop {
            wake.forget();
            match self.send().await {
                Ok(failure) => self.health.probed(failure),
                Err(error) => return error,
            }
            tokio::select! {
                () = sleep(EVERY) => {}
                () = wake.called() => {}
            }
        }
    }

    /// Sends a probe and waits until it is back. Returns why the probe could not be published,
    /// which says nothing about what arrives.
    async fn send(&self) -> Result<Option<String>, ListeningError> {
        let number = self.echo.next();
        let body = number.to_string().into_bytes();
        let probe = Publication::new(name(self.key)?, body, BasicProperties::default());
        match self.publisher.publish(&self.exchange, probe).await {
            Ok(Published::Routed) => {
                let seconds = BACK_WITHIN.as_secs();
                let lost = |_| ListeningError::ProbeLost { seconds };
                timeout(BACK_WITHIN, self.echo.returned(number)).await.map_err(lost)?;
                Ok(None)
            }
            Ok(Published::Returned) => {
                Err(ListeningError::BindingsLost { exchange: self.exchange.clone() })
            }
            Err(error @ AmqpError::Missing(_)) => Err(error.into()),
            Err(error) => Ok(Some(format!("the probe cannot be published: {error}"))),
        }
    }
}
