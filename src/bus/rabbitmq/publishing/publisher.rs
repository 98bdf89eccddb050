//! Publishing to any exchange.

use super::{
    exchange::{ExchangePublisher, WAITING},
    publication::{Publication, PublishOutcome, Submission},
    window::lost,
};
use crate::{
    amqp::{Amqp, LIMIT, Scout},
    background,
    clock::Clock,
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tokio::{sync::mpsc, time::timeout};

/// Publishes to any exchange, through one task for each exchange.
pub(crate) struct Publisher {
    amqp: Arc<Amqp>,
    scout: Arc<Scout>,
    clock: Clock,
    exchanges: Mutex<HashMap<String, mpsc::Sender<Submission>>>,
}

impl Publisher {
    /// A publisher over a connection of its own.
    pub(crate) fn new(amqp: Arc<Amqp>, scout: Arc<Scout>, clock: Clock) -> Self {
        Self { amqp, scout, clock, exchanges: Mutex::default() }
    }

    /// The broker's address, without credentials.
    pub(crate) fn address(&self) -> &str {
        self.amqp.address()
    }

    /// Publishes once, and waits for the confirm for at most [`LIMIT`].
    pub(crate) async fn publish(&self, exchange: &str, publication: Publication) -> PublishOutcome {
        let (submission, outcome) = Submission::new(publication);
        let submissions = self.submissions(exchange);
        let published = async {
            // Both fail only when the task ended because the bus was closed.
            submissions.send(submission).await.ok()?;
            outcome.await.ok()
        };
        match timeout(LIMIT, published).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(lost(self.address(), "the bus was closed")),
            Err(_) => Err(lost(self.address(), "it did not confirm in time")),
        }
    }

    /// Ends each task when it has answered the messages that it holds.
    pub(crate) fn close(&self) {
        self.exchanges.lock().clear();
    }

    fn submissions(&self, exchange: &str) -> mpsc::Sender<Submission> {
        let mut exchanges = self.exchanges.lock();
        if let Some(submissions) = exchanges.get(exchange) {
            return submissions.clone();
        }
        let (sender, submissions) = mpsc::channel(WAITING);
        exchanges.insert(exchange.to_owned(), sender.clone());
        let (amqp, scout) = (Arc::clone(&self.amqp), Arc::clone(&self.scout));
        let task = ExchangePublisher::new(amqp, scout, exchange, &self.clock);
        background::spawn_loop("the publisher to an exchange", task.run(submissions));
        sender
    }
}
