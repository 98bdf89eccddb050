//! Publishing to one exchange.
//!
//! Each exchange has a task and a channel of its own: publishing to an exchange that does not exist
//! closes the channel, and must not take events for other exchanges with it. The task publishes in
//! the order in which messages come, and holds a window of messages that are not confirmed yet.

use super::{
    publication::{Publication, Submission},
    window::{ConfirmWindow, lost},
};
use crate::{
    amqp::{Amqp, AmqpError, LIMIT, Scout},
    clock::Clock,
};
use futures_util::FutureExt;
use lapin::{Channel, PublisherConfirm, options::ConfirmSelectOptions, types::ShortString};
use std::sync::Arc;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

/// The most messages that wait for their turn at one exchange.
pub(super) const WAITING: usize = 128;

/// Publishes to one exchange.
pub(super) struct ExchangePublisher {
    amqp: Arc<Amqp>,
    scout: Arc<Scout>,
    exchange: String,
    channel: Option<Channel>,
    window: ConfirmWindow,
}

impl ExchangePublisher {
    pub(super) fn new(amqp: Arc<Amqp>, scout: Arc<Scout>, exchange: &str, clock: &Clock) -> Self {
        let window = ConfirmWindow::new(amqp.address(), clock);
        Self { amqp, scout, exchange: exchange.to_owned(), channel: None, window }
    }

    /// Publishes messages until no sender is left and every message is answered.
    pub(super) async fn run(mut self, mut submissions: mpsc::Receiver<Submission>) {
        let mut batch = Vec::with_capacity(WAITING);
        let mut open = true;
        while open || !self.window.is_empty() {
            let room = self.window.room();
            let silence = self.window.until_silent();
            tokio::select! {
                biased;
                () = self.window.settled() => {}
                taken = submissions.recv_many(&mut batch, room), if open && room > 0 => {
                    open = taken > 0;
                }
                () = sleep(silence) => self.fail(&AmqpError::silent(self.amqp.address())),
            }
            for submission in batch.drain(..) {
                self.take(submission).await;
            }
        }
    }

    /// Publishes a message, unless its caller gave up while the message waited for its turn.
    async fn take(&mut self, submission: Submission) {
        if submission.is_abandoned() {
            return;
        }
        match timeout(LIMIT, self.publish(&submission.publication)).await {
            Ok(Ok(confirm)) => self.window.add(submission, confirm),
            Ok(Err(error)) => submission.answer(Err(error)),
            Err(_) => {
                let error = AmqpError::silent(self.amqp.address());
                self.fail(&error);
                submission.answer(Err(error));
            }
        }
    }

    async fn publish(&mut self, publication: &Publication) -> Result<PublisherConfirm, AmqpError> {
        let failure = |error| AmqpError::of(error, self.amqp.address());
        let channel = match &mut self.channel {
            Some(channel) if channel.status().connected() => channel,
            lost_channel => {
                // A missing exchange costs a channel of the scout instead of one that publishes.
                if lost_channel.is_some() && !self.exchange.is_empty() {
                    self.scout.find_exchange(&self.exchange).await?;
                }
                let channel = self.amqp.channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(failure)?;
                // lapin has failed the messages in flight on the channel that it lost. A message
                // without an answer must not be matched with returned messages of the next channel.
                let _ = self.window.settled().now_or_never();
                self.window.fail(&lost(self.amqp.address(), "the channel was lost"));
                lost_channel.insert(channel)
            }
        };
        let exchange = ShortString::try_new(self.exchange.as_str())
            .map_err(|error| AmqpError::Refused(format!("exchange {}: {error}", self.exchange)))?;
        publication.send(channel, exchange).await.map_err(failure)
    }

    /// Gives up the channel and the messages in flight on it.
    fn fail(&mut self, error: &AmqpError) {
        self.channel = None;
        self.window.fail(error);
    }
}
