//! Publishing with confirms.
//!
//! Each exchange has a task and a channel of its own, because publishing to an exchange that does
//! not exist closes the channel, and nobody else's events shall fall with it. The task keeps a
//! window of messages that are not confirmed yet, and publishes in the order in which they came.

mod window;

use crate::amqp::{Amqp, AmqpError, LIMIT};
use futures_util::FutureExt;
use lapin::{
    BasicProperties, Channel, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep_until, timeout},
};
use window::{Window, lost};

/// The most messages that wait for their turn to be published.
const WAITING: usize = 128;

/// What is published.
#[derive(Clone)]
pub(super) struct Message {
    key: ShortString,
    body: Arc<[u8]>,
    properties: BasicProperties,
    mandatory: bool,
}

impl Message {
    /// A message that must reach a queue.
    pub(super) fn new(key: ShortString, body: Vec<u8>, properties: BasicProperties) -> Self {
        Self { key, body: body.into(), properties, mandatory: true }
    }

    /// A message that may reach nobody.
    pub(super) fn optional(self) -> Self {
        Self { mandatory: false, ..self }
    }
}

/// What the broker did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// It is in a queue at least, and safe.
    Routed,
    /// No queue is bound for it: it is nowhere.
    Returned,
}

type Outcome = Result<Published, AmqpError>;

struct Job {
    message: Message,
    answer: oneshot::Sender<Outcome>,
}

/// Publishes to any exchange.
pub(super) struct Publisher {
    amqp: Arc<Amqp>,
    exchanges: Mutex<HashMap<String, mpsc::Sender<Job>>>,
}

impl Publisher {
    pub(super) fn new(amqp: Arc<Amqp>) -> Self {
        Self { amqp, exchanges: Mutex::default() }
    }

    /// Publishes once. On an error it is not known whether the broker has the message.
    pub(super) async fn publish(&self, exchange: &str, message: Message) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let jobs = self.jobs(exchange);
        let published = async {
            // Both fail only when the task ended because the bus was closed.
            jobs.send(Job { message, answer }).await.ok()?;
            outcome.await.ok()
        };
        match timeout(LIMIT, published).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(lost(self.amqp.address(), "the bus was closed")),
            Err(_) => Err(lost(self.amqp.address(), "it did not confirm in time")),
        }
    }

    /// Ends every task once it has answered what it holds.
    pub(super) fn close(&self) {
        self.exchanges.lock().clear();
    }

    fn jobs(&self, exchange: &str) -> mpsc::Sender<Job> {
        let mut exchanges = self.exchanges.lock();
        if let Some(jobs) = exchanges.get(exchange) {
            return jobs.clone();
        }
        let (sender, jobs) = mpsc::channel(WAITING);
        exchanges.insert(exchange.to_owned(), sender.clone());
        let lane = Lane {
            amqp: Arc::clone(&self.amqp),
            exchange: exchange.to_owned(),
            channel: None,
            window: Window::new(self.amqp.address()),
        };
        tokio::spawn(lane.run(jobs));
        sender
    }
}

/// Publishes to one exchange.
struct Lane {
    amqp: Arc<Amqp>,
    exchange: String,
    channel: Option<Channel>,
    window: Window,
}

impl Lane {
    /// Publishes what comes in until nobody can send any more and everything is answered.
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(WAITING);
        let mut open = true;
        while open || !self.window.is_empty() {
            let room = self.window.room();
            let silence = self.window.silence();
            tokio::select! {
                biased;
                () = self.window.settled() => {}
                taken = jobs.recv_many(&mut batch, room), if open && room > 0 => open = taken > 0,
                () = sleep_until(silence) => self.fail(&AmqpError::silent(self.amqp.address())),
            }
            for job in batch.drain(..) {
                // Whoever waited too long for its turn has given up.
                if job.answer.is_closed() {
                    continue;
                }
                match timeout(LIMIT, self.publish(&job.message)).await {
                    Ok(Ok(confirm)) => self.window.add(job, confirm),
                    // Gone when its caller gave up: nobody is told.
                    Ok(Err(error)) => drop(job.answer.send(Err(error))),
                    Err(_) => {
                        let error = AmqpError::silent(self.amqp.address());
                        self.fail(&error);
                        drop(job.answer.send(Err(error)));
                    }
                }
            }
        }
    }

    async fn publish(&mut self, message: &Message) -> Result<PublisherConfirm, AmqpError> {
        let of = |error| AmqpError::of(error, self.amqp.address());
        let channel = match &mut self.channel {
            Some(channel) if channel.status().connected() => channel,
            kept => {
                let channel = self.amqp.channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(of)?;
                // The client has failed what was in flight on a channel that it lost. What it forgot
                // must not be matched with what the next channel returns.
                let _ = self.window.settled().now_or_never();
                self.window.fail(&lost(self.amqp.address(), "the channel was lost"));
                kept.insert(channel)
            }
        };
        let name = ShortString::try_new(self.exchange.as_str())
            .map_err(|error| AmqpError::Refused(format!("exchange {}: {error}", self.exchange)))?;
        let options =
            BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
        let (key, properties) = (message.key.clone(), message.properties.clone());
        channel.basic_publish(name, key, options, &message.body, properties).await.map_err(of)
    }

    /// Gives up the channel and what is in flight on it.
    fn fail(&mut self, error: &AmqpError) {
        self.channel = None;
        self.window.fail(error);
    }
}
