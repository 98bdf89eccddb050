//! Consuming over one channel.

use super::{delivery::DeliveryRunner, executions::Executions, queue_source::QueueSource};
use crate::{amqp::AmqpError, bus::Consumption};
use futures_util::StreamExt;
use lapin::{
    Channel, Consumer,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::ShortString,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{interval, sleep, timeout};

/// How long a draining queue must deliver nothing before its events are counted.
const SILENCE: Duration = Duration::from_secs(1);

/// Pause between two bindings of the queue of an every-node listener. An exchange that was deleted
/// and declared again has lost the binding, and the broker does not tell the queue.
const BIND_AGAIN: Duration = Duration::from_secs(20);

/// Why a session ended as planned.
pub(super) enum SessionEnd {
    /// The consumer stops.
    Stopped,
    /// A draining queue is empty.
    Drained,
}

/// Why a session was lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// A request failed, or the connection was lost.
    #[error(transparent)]
    Broker(#[from] AmqpError),
    /// The broker cancelled the consumer.
    #[error("queue {0} was deleted")]
    QueueDeleted(ShortString),
    /// The channel was lost.
    #[error("RabbitMQ closed the channel")]
    ChannelClosed,
}

/// What a session consumes, and how.
pub(super) struct Session {
    /// What to consume.
    pub(super) consumption: Arc<Consumption>,
    /// The queue.
    pub(super) source: QueueSource,
    /// The execution slots.
    pub(super) executions: Arc<Executions>,
    /// Runs each delivery.
    pub(super) deliveries: Arc<DeliveryRunner>,
}

impl Session {
    /// Consumes over a new channel until the channel is lost or the consumer stops. Calls `works`
    /// as soon as events can arrive, or the queue was found drained.
    pub(super) async fn run(&self, works: impl FnOnce()) -> Result<SessionEnd, SessionError> {
        let amqp = &self.source.amqp;
        let opening = async {
            self.source.find(&self.consumption).await?;
            let channel = amqp.channel().await?;
            let queue = self.source.open(&channel, &self.consumption).await?;
            Ok::<_, AmqpError>((channel, queue))
        };
        let (channel, queue) = tokio::select! {
            () = self.executions.stopped() => return Ok(SessionEnd::Stopped),
            opened = opening => opened?,
        };
        if self.consumption.draining && self.source.ready(&channel, &queue).await? == 0 {
            works();
            return Ok(SessionEnd::Drained);
        }
        let concurrency = self.executions.concurrency();
        amqp.answer(channel.basic_qos(concurrency, BasicQosOptions::default())).await?;
        let options = BasicConsumeOptions::default();
        let mut events = amqp.consume(&channel, queue.clone(), options).await?;
        works();
        let tag = events.tag();
        let end = self.deliver(&channel, &queue, &mut events).await?;
        // Fails only on a channel that is closed already, and then the consumer is gone.
        let _ = amqp.answer(channel.basic_cancel(tag, BasicCancelOptions::default())).await;
        if matches!(end, SessionEnd::Stopped) {
            self.take_delivered(&mut events).await;
            self.executions.finish(self.consumption.listener.group.as_str()).await;
        }
        let _ = amqp.answer(channel.close(200, "done".into())).await;
        Ok(end)
    }

    /// Takes the events that arrived before the broker cancelled the consumer: at most as many as
    /// there are execution slots. Closing the channel would return them, and each return counts as
    /// an unanswered delivery.
    async fn take_delivered(&self, events: &mut Consumer) {
        while let Ok(Some(Ok(event))) = timeout(SILENCE, events.next()).await {
            self.executions.spawn(Arc::clone(&self.deliveries).run(event));
        }
    }

    /// Takes events until the consumer stops or a draining queue is empty.
    async fn deliver(
        &self,
        channel: &Channel,
        queue: &ShortString,
        events: &mut Consumer,
    ) -> Result<SessionEnd, SessionError> {
        let mut again = interval(BIND_AGAIN);
        loop {
            let next = tokio::select! {
                biased;
                () = self.executions.stopped() => return Ok(SessionEnd::Stopped),
                _ = again.tick(), if self.consumption.every_node() => {
                    self.source.bind_again(channel, &self.consumption, queue).await?;
                    continue;
                }
                next = events.next() => next,
                () = sleep(SILENCE), if self.consumption.draining => {
                    if self.executions.is_idle() && self.source.ready(channel, queue).await? == 0 {
                        return Ok(SessionEnd::Drained);
                    }
                    continue;
                }
            };
            match next {
                Some(Ok(event)) => {
                    self.executions.spawn(Arc::clone(&self.deliveries).run(event));
                }
                Some(Err(error)) => {
                    return Err(AmqpError::of(error, self.source.amqp.address()).into());
                }
                None if channel.status().connected() => {
                    return Err(SessionError::QueueDeleted(queue.clone()));
                }
                None => return Err(SessionError::ChannelClosed),
            }
        }
    }
}
