//! Changes to RabbitMQ's topology, over their own connection.

use super::BrokerError;
use crate::{
    amqp::{self, Amqp, AmqpError},
    domain::{
        plan::Action,
        topology::{Binding, Destination, Exchange, ExchangeKind, Queue},
    },
    metrics::Metrics,
};
use lapin::{
    Channel,
    options::{
        ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions,
        QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::FieldTable,
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// Largest number of operations at the same time. Each has its own channel, because RabbitMQ
/// processes a channel serially. Eight channels declare four times as fast as one; more channels
/// gain nothing. Each operation waits for its answer, so a slow broker gets fewer operations.
const CHANNELS: usize = 8;

/// Longest time of one operation. Declaring a replicated queue waits for a majority.
const LIMIT: Duration = Duration::from_secs(30);

/// The connection over which the topology is changed.
pub(super) struct Admin {
    amqp: Amqp,
    permits: Semaphore,
    idle: Mutex<Vec<Channel>>,
}

impl Admin {
    pub(super) fn new(amqp: Amqp) -> Self {
        Self { amqp, permits: Semaphore::new(CHANNELS), idle: Mutex::default() }
    }

    /// Counts reconnections in these metrics.
    pub(super) fn counted(self, metrics: Arc<Metrics>) -> Self {
        Self { amqp: self.amqp.counted(metrics), ..self }
    }

    /// Applies an action. Returns the number of destroyed events.
    pub(super) async fn apply(&self, action: &Action) -> Result<u64, BrokerError> {
        let what = format!("{} {} {}", action.verb(), object(action), action.name());
        let outcome = match action {
            Action::Report(_) => return Ok(0),
            Action::DeclareExchange(exchange) => {
                self.run(&what, async |channel| declare_exchange(&channel, exchange).await).await
            }
            Action::DeclareQueue(queue) => {
                self.run(&what, async |channel| declare_queue(&channel, queue).await).await
            }
            Action::Bind(binding) => {
                self.run(&what, async |channel| bind(&channel, binding).await).await
            }
            Action::Unbind(binding) => {
                self.run(&what, async |channel| unbind(&channel, binding).await).await
            }
            Action::DeleteExchange(name) => {
                self.run(&what, async |channel| delete_exchange(&channel, name).await).await
            }
            Action::DeleteQueue(name) => {
                self.run(&what, async |channel| delete_queue(&channel, name).await).await
            }
        };
        match (action, outcome) {
            // The object to remove does not exist.
            (Action::Unbind(_), Err(BrokerError::Missing(_))) => Ok(0),
            (action, Err(BrokerError::Missing(_))) if action.deletes() => Ok(0),
            (_, outcome) => outcome,
        }
    }

    /// Asks the queue over AMQP how many events wait in it. `None` when the queue does not exist.
    pub(super) async fn ready(&self, queue: &str) -> Result<Option<u64>, BrokerError> {
        let what = format!("look for queue {queue}");
        let name = amqp::name(queue).map_err(|e| BrokerError::of_amqp(&what, e))?;
        let ask = async |channel: Channel| {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let found = channel.queue_declare(name, options, FieldTable::default()).await?;
            Ok(found.message_count().into())
        };
        match self.run(&what, ask).await {
            Ok(ready) => Ok(Some(ready)),
            Err(BrokerError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The connection.
    pub(super) fn amqp(&self) -> &Amqp {
        &self.amqp
    }

    async fn run(
        &self,
        what: &str,
        operation: impl AsyncFnOnce(Channel) -> Result<u64, OperationError>,
    ) -> Result<u64, BrokerError> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let channel = self.channel().await.map_err(|e| BrokerError::of_amqp(what, e))?;
        match timeout(LIMIT, operation(channel.clone())).await {
            Ok(Ok(count)) => {
                self.idle.lock().push(channel);
                Ok(count)
            }
            // The channel is not used again: an error closes it, and after a timeout a late answer
            // may still arrive.
            Ok(Err(OperationError::Amqp(error))) => {
                Err(BrokerError::of_amqp(what, AmqpError::of(error, self.amqp.address())))
            }
            Ok(Err(OperationError::Name(error))) => Err(BrokerError::of_amqp(what, error)),
            Err(_) => Err(BrokerError::of_amqp(what, AmqpError::silent(self.amqp.address()))),
        }
    }

    async fn channel(&self) -> Result<Channel, AmqpError> {
        loop {
            let idle = self.idle.lock().pop();
            match idle {
                Some(channel) if channel.status().connected() => return Ok(channel),
                Some(_) => {}
                None => return self.amqp.channel().await,
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum OperationError {
    #[error("RabbitMQ refused the operation")]
    Amqp(#[from] lapin::Error),
    #[error("a name is too long for AMQP")]
    Name(#[from] AmqpError),
}

fn object(action: &Action) -> &'static str {
    match action {
        Action::DeclareExchange(_) | Action::DeleteExchange(_) => "exchange",
        Action::DeclareQueue(_) | Action::DeleteQueue(_) => "queue",
        Action::Bind(_) | Action::Unbind(_) | Action::Report(_) => "binding",
    }
}

async fn declare_exchange(channel: &Channel, exchange: &Exchange) -> Result<u64, OperationError> {
    let kind = match &exchange.kind {
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
        ExchangeKind::Other(kind) => lapin::ExchangeKind::Custom(kind.clone()),
    };
    let options = ExchangeDeclareOptions {
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        ..ExchangeDeclareOptions::default()
    };
    let name = amqp::name(&exchange.name)?;
    channel.exchange_declare(name, kind, options, amqp::table(&exchange.arguments)?).await?;
    Ok(0)
}

async fn declare_queue(channel: &Channel, queue: &Queue) -> Result<u64, OperationError> {
    let options = QueueDeclareOptions {
        durable: queue.durable,
        exclusive: queue.exclusive,
        auto_delete: queue.auto_delete,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(amqp::name(&queue.name)?, options, amqp::table(&queue.arguments)?)
        .await?;
    Ok(0)
}

async fn bind(channel: &Channel, binding: &Binding) -> Result<u64, OperationError> {
    let (source, key) = (amqp::name(&binding.source)?, amqp::name(&binding.routing_key)?);
    let (to, arguments) = (amqp::name(&binding.destination)?, amqp::table(&binding.arguments)?);
    match binding.destination_kind {
        Destination::Queue => {
            channel.queue_bind(to, source, key, QueueBindOptions::default(), arguments).await?;
        }
        Destination::Exchange => {
            let options = ExchangeBindOptions::default();
            channel.exchange_bind(to, source, key, options, arguments).await?;
        }
    }
    Ok(0)
}

async fn unbind(channel: &Channel, binding: &Binding) -> Result<u64, OperationError> {
    let (source, key) = (amqp::name(&binding.source)?, amqp::name(&binding.routing_key)?);
    let (to, arguments) = (amqp::name(&binding.destination)?, amqp::table(&binding.arguments)?);
    match binding.destination_kind {
        Destination::Queue => channel.queue_unbind(to, source, key, arguments).await?,
        Destination::Exchange => {
            let options = ExchangeUnbindOptions::default();
            channel.exchange_unbind(to, source, key, options, arguments).await?;
        }
    }
    Ok(0)
}

async fn delete_exchange(channel: &Channel, name: &str) -> Result<u64, OperationError> {
    // A queue that was bound meanwhile keeps the exchange.
    let options = ExchangeDeleteOptions { if_unused: true, ..ExchangeDeleteOptions::default() };
    channel.exchange_delete(amqp::name(name)?, options).await?;
    Ok(0)
}

async fn delete_queue(channel: &Channel, name: &str) -> Result<u64, OperationError> {
    // `if_empty` and `if_unused` are never set: for a quorum queue RabbitMQ answers them with 540,
    // which closes the connection and every channel on it.
    let count = channel.queue_delete(amqp::name(name)?, QueueDeleteOptions::default()).await?;
    Ok(u64::from(count))
}
