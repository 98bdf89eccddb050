//! Looks for queues and exchanges before they are used.

use super::{Amqp, AmqpError, AmqpUrl, LIMIT, Purpose, name};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::timeout};

/// Largest number of looks at the same time.
const AT_ONCE: usize = 8;

/// Looks for queues and exchanges over a connection of its own.
///
/// RabbitMQ closes the channel of a request that names a missing object, and each such channel
/// wears its connection out. The connections that carry events last, because the scout looks first.
/// The scout's connection is replaced when it is worn.
pub struct Scout {
    amqp: Amqp,
    permits: Semaphore,
    idle: Mutex<Vec<Channel>>,
}

impl Scout {
    /// A scout that has not connected yet.
    #[must_use]
    pub fn new(url: AmqpUrl, node: &str) -> Self {
        Self {
            amqp: Amqp::new(url, node, Purpose::Scout),
            permits: Semaphore::new(AT_ONCE),
            idle: Mutex::default(),
        }
    }

    /// Makes sure that a queue exists.
    ///
    /// # Errors
    /// [`AmqpError::Missing`] when it does not exist, or why the broker cannot be asked.
    pub async fn find_queue(&self, queue: &str) -> Result<(), AmqpError> {
        let queue = name(queue)?;
        self.look(async |channel| {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue, options, FieldTable::default()).await.map(drop)
        })
        .await
    }

    /// Makes sure that an exchange exists.
    ///
    /// # Errors
    /// [`AmqpError::Missing`] when it does not exist, or why the broker cannot be asked.
    pub async fn find_exchange(&self, exchange: &str) -> Result<(), AmqpError> {
        let exchange = name(exchange)?;
        self.look(async |channel| {
            let options =
                ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            // The broker does not compare the kind of an exchange that it only looks for.
            let kind = ExchangeKind::Direct;
            channel.exchange_declare(exchange, kind, options, FieldTable::default()).await
        })
        .await
    }

    /// Closes the connection.
    pub async fn close(&self) {
        self.idle.lock().clear();
        self.amqp.close().await;
    }

    async fn look(
        &self,
        request: impl AsyncFnOnce(Channel) -> lapin::Result<()>,
    ) -> Result<(), AmqpError> {
        let silent = || AmqpError::silent(self.amqp.address());
        let permit = timeout(LIMIT, self.permits.acquire()).await.map_err(|_| silent())?;
        let _permit = permit.expect("the semaphore is never closed");
        let channel = self.channel().await?;
        self.amqp.answer(request(channel.clone())).await?;
        self.idle.lock().push(channel);
        Ok(())
    }

    /// A channel that no other look uses.
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
