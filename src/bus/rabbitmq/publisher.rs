//! Publishing with confirms.
//!
//! Each exchange has a task and a channel of its own, because publishing to an exchange that does
//! not exist closes the channel, and nobody else's events shall fall with it.
//!
//! The task publishes what has come in as one batch and waits for all of its confirms before the
//! next. RabbitMQ sends a returned event back before it confirms it, but the client hands it to
//! whichever confirm comes next: only within a batch that has been confirmed whole is it certain
//! which event was returned.

use crate::amqp::{Amqp, AmqpError, LIMIT};
use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// The most events in one batch, and waiting for the next.
const BATCH: usize = 128;

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
            Ok(None) => Err(self.lost("the bus was closed")),
            Err(_) => Err(self.lost("it did not confirm in time")),
        }
    }

    /// Ends every task once it has answered what it holds.
    pub(super) fn close(&self) {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn lost(&self, cause: &str) -> AmqpError {
        AmqpError::Unreachable { address: self.amqp.address().to_owned(), cause: cause.to_owned() }
    }

    fn jobs(&self, exchange: &str) -> mpsc::Sender<Job> {
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = exchanges.get(exchange) {
            return jobs.clone();
        }
        let (sender, jobs) = mpsc::channel(BATCH);
        exchanges.insert(exchange.to_owned(), sender.clone());
        tokio::spawn(run(Arc::clone(&self.amqp), exchange.to_owned(), jobs));
        sender
    }
}

async fn run(amqp: Arc<Amqp>, exchange: String, mut jobs: mpsc::Receiver<Job>) {
    let mut channel = None;
    let mut batch = Vec::with_capacity(BATCH);
    while jobs.recv_many(&mut batch, BATCH).await > 0 {
        // Whoever waited too long for its turn has given up.
        batch.retain(|job: &Job| !job.answer.is_closed());
        let messages: Vec<&Message> = batch.iter().map(|job| &job.message).collect();
        let outcomes =
            match timeout(LIMIT, publish(&amqp, &mut channel, &exchange, &messages)).await {
                Ok(Ok(outcomes)) => outcomes,
                Ok(Err(error)) => vec![Err(error); messages.len()],
                Err(_) => vec![Err(AmqpError::silent(amqp.address())); messages.len()],
            };
        if outcomes.iter().any(Result::is_err) {
            channel = None;
        }
        for (job, outcome) in batch.drain(..).zip(outcomes) {
            // Gone when its caller gave up: nobody is told.
            let _ = job.answer.send(outcome);
        }
    }
}

/// Publishes a batch and waits until each message is confirmed or lost.
async fn publish(
    amqp: &Amqp,
    kept: &mut Option<Channel>,
    exchange: &str,
    messages: &[&Message],
) -> Result<Vec<Outcome>, AmqpError> {
    let of = |error| AmqpError::of(error, amqp.address());
    let kept_channel = kept.take().filter(|channel| channel.status().connected());
    let channel = if let Some(channel) = kept_channel {
        channel
    } else {
        let channel = amqp.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(of)?;
        channel
    };
    let name = ShortString::try_new(exchange)
        .map_err(|error| AmqpError::Refused(format!("exchange {exchange}: {error}")))?;
    let mut confirms = Vec::with_capacity(messages.len());
    for message in messages {
        let options =
            BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
        let (key, properties) = (message.key.clone(), message.properties.clone());
        let confirm =
            channel.basic_publish(name.clone(), key, options, &message.body, properties).await;
        confirms.push(confirm.map_err(of));
    }
    let waiting = confirms.into_iter().map(async |confirm| confirm?.await.map_err(of));
    let mut returned = Vec::new();
    let mut outcomes = Vec::with_capacity(messages.len());
    for confirmation in join_all(waiting).await {
        outcomes.push(match confirmation {
            Ok(Confirmation::Ack(message)) => {
                returned.extend(message);
                Ok(Published::Routed)
            }
            Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => Err(nacked(amqp)),
            Err(error) => Err(error),
        });
    }
    for (outcome, message) in outcomes.iter_mut().zip(messages) {
        let same = |other: &lapin::message::BasicReturnMessage| {
            other.delivery.routing_key == message.key && other.delivery.data[..] == *message.body
        };
        if outcome.is_ok() && returned.iter().any(same) {
            *outcome = Ok(Published::Returned);
        }
    }
    *kept = Some(channel);
    Ok(outcomes)
}

/// The broker could not take it: a queue is full and rejects, or has no leader. It passes.
fn nacked(amqp: &Amqp) -> AmqpError {
    let cause = "it did not take the event: a queue is full or not available".to_owned();
    AmqpError::Unreachable { address: amqp.address().to_owned(), cause }
}
