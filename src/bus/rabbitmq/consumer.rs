//! One consumer: its task, its channel, and what becomes of both.

use super::{Shared, interruption::interruption};
use crate::{
    amqp::{AmqpError, name},
    bus::{Consumer, ConsumerState, Consumption, Listener, Stop, registry::RegisteredInline},
    clock::Clock,
    domain::listener::Mode,
    outage::Outage,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::{
    Channel,
    options::{
        BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{interval, sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// How long a draining queue must have been silent before it is looked at.
const SILENCE: Duration = Duration::from_secs(1);

/// How often a drained queue is looked at: an event may come back from a wait queue.
const LOOK: Duration = Duration::from_secs(3);

/// How often the queue of an every-node listener is bound again. An exchange that was deleted and
/// made again took the binding with it, and nobody tells the queue.
const BIND_AGAIN: Duration = Duration::from_secs(20);

/// A consumer at work.
pub(super) struct Consuming {
    pub(super) shared: Arc<Shared>,
    pub(super) consumption: Consumption,
    pub(super) handler: Arc<dyn Listener>,
    /// As many executions as the listener wants, over every channel there has been: those of a
    /// lost channel go on while their events are delivered again.
    pub(super) slots: Arc<Semaphore>,
    /// Takes no more events.
    pub(super) stop: CancellationToken,
    /// Gives up the events in hand.
    pub(super) abort: CancellationToken,
    tasks: TaskTracker,
    state: watch::Sender<ConsumerState>,
    patience: AtomicU64,
}

/// Why a session ended.
enum End {
    Stopped,
    /// A draining queue is empty.
    Drained,
}

/// Starts a consumer.
pub(super) fn start(
    shared: Arc<Shared>,
    consumption: Consumption,
    handler: Arc<dyn Listener>,
) -> Consumer {
    let (sender, state) = watch::channel(ConsumerState::Waiting("it is starting".to_owned()));
    let work = Arc::new(Consuming {
        slots: Arc::new(Semaphore::new(consumption.listener.concurrency.max(1).into())),
        shared,
        consumption,
        handler,
        stop: CancellationToken::new(),
        abort: CancellationToken::new(),
        tasks: TaskTracker::new(),
        state: sender,
        patience: AtomicU64::new(0),
    });
    let inline = work.inline();
    let task = tokio::spawn(Arc::clone(&work).run());
    let ending = work.stop.clone().drop_guard();
    Consumer { state, stop: Box::new(Stopping { work, task, inline, _ending: ending }) }
}

/// Ends the consumer; dropping it ends it without patience.
struct Stopping {
    work: Arc<Consuming>,
    task: JoinHandle<()>,
    /// Its place among those that this node's own dispatches wait for.
    inline: Option<RegisteredInline>,
    _ending: DropGuard,
}

#[async_trait]
impl Stop for Stopping {
    async fn stop(mut self: Box<Self>, patience: Duration) {
        self.inline = None;
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.work.patience.store(millis, Ordering::Relaxed);
        self.work.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the consumer of group {} ended badly", self.work.group());
        }
    }
}

impl Consuming {
    pub(super) fn group(&self) -> &str {
        self.consumption.listener.group.as_str()
    }

    /// Whether this node's own events ran before their dispatch returned, and are passed over.
    pub(super) fn runs_inline(&self) -> bool {
        self.consumption.every_node() && self.consumption.listener.mode == Mode::Sync
    }

    fn inline(&self) -> Option<RegisteredInline> {
        self.runs_inline().then(|| {
            let following = self.shared.notifications.of(&self.consumption.listener.bus);
            let (listener, handler) = (&self.consumption.listener, &self.handler);
            following.inline.register(
                listener.clone(),
                Arc::clone(handler),
                Arc::clone(&self.slots),
                self.abort.clone(),
            )
        })
    }

    async fn run(self: Arc<Self>) {
        let mut outage =
            interruption(&Clock::system(), &format!("consuming for group {}", self.group()));
        let mut wake = self.shared.wake.subscribe();
        loop {
            wake.mark_unchanged();
            let pause = match self.session(&mut outage).await {
                Ok(End::Stopped) => break,
                Ok(End::Drained) => LOOK,
                Err(cause) => {
                    let pause = outage.failed(&cause);
                    self.state.send_replace(ConsumerState::Waiting(cause));
                    pause
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = sleep(pause) => {}
                // The sender lives in `shared`, which we hold.
                _ = wake.changed() => {}
            }
        }
        self.finish().await;
    }

    /// Waits for the events in hand, as long as patience lasts. What is left is not acknowledged,
    /// and RabbitMQ hands it out again.
    async fn finish(&self) {
        self.tasks.close();
        let patience = Duration::from_millis(self.patience.load(Ordering::Relaxed));
        if timeout(patience, self.ended()).await.is_err() {
            let running = self.concurrency() - self.slots.available_permits();
            tracing::warn!(
                running,
                "group {} still runs {running} events after {} s; they are given up, and those from its queue delivered again",
                self.group(),
                patience.as_secs()
            );
            self.abort.cancel();
            self.ended().await;
        }
    }

    /// Waits until nothing runs, nor any dispatch of this node runs it inline.
    async fn ended(&self) {
        self.tasks.wait().await;
        let all = u32::try_from(self.concurrency()).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _ = self.slots.acquire_many(all).await;
    }

    fn concurrency(&self) -> usize {
        self.consumption.listener.concurrency.max(1).into()
    }

    /// Consumes over one channel until it is lost. `Err` says why.
    async fn session(self: &Arc<Self>, outage: &mut Outage) -> Result<End, String> {
        let amqp = &self.shared.consuming;
        let said = |error: AmqpError| error.to_string();
        let opening = async {
            let channel = amqp.channel().await?;
            let queue = self.queue(&channel).await?;
            Ok::<_, AmqpError>((channel, queue))
        };
        let (channel, queue) = tokio::select! {
            () = self.stop.cancelled() => return Ok(End::Stopped),
            opened = opening => opened.map_err(said)?,
        };
        if self.consumption.draining && self.ready(&channel, &queue).await.map_err(said)? == 0 {
            self.running(outage);
            return Ok(End::Drained);
        }
        let concurrency = self.consumption.listener.concurrency.max(1);
        amqp.answer(channel.basic_qos(concurrency, BasicQosOptions::default()))
            .await
            .map_err(said)?;
        let options = BasicConsumeOptions::default();
        let consumer = amqp.consume(&channel, queue.clone(), options).await.map_err(said)?;
        self.running(outage);
        let tag = consumer.tag();
        let end = self.deliver(&channel, &queue, consumer).await?;
        // Refused only by a channel that is gone, and then there is nothing to cancel.
        let _ = amqp.answer(channel.basic_cancel(tag, BasicCancelOptions::default())).await;
        if matches!(end, End::Stopped) {
            self.finish().await;
        }
        let _ = amqp.answer(channel.close(200, "done".into())).await;
        Ok(end)
    }

    fn running(&self, outage: &mut Outage) {
        outage.over();
        self.state.send_replace(ConsumerState::Running);
    }

    /// Takes events until told to stop, or until a draining queue is empty.
    async fn deliver(
        self: &Arc<Self>,
        channel: &Channel,
        queue: &ShortString,
        mut events: lapin::Consumer,
    ) -> Result<End, String> {
        let amqp = &self.shared.consuming;
        let mut again = interval(BIND_AGAIN);
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(End::Stopped),
                _ = again.tick(), if self.consumption.every_node() => {
                    self.bind(channel, queue).await.map_err(|error| error.to_string())?;
                    continue;
                }
                next = events.next() => next,
                () = sleep(SILENCE), if self.consumption.draining => {
                    let empty = self.tasks.is_empty()
                        && self.ready(channel, queue).await.map_err(|e| e.to_string())? == 0;
                    if empty {
                        return Ok(End::Drained);
                    }
                    continue;
                }
            };
            match next {
                Some(Ok(event)) => {
                    self.tasks.spawn(Arc::clone(self).settle(event));
                }
                Some(Err(error)) => return Err(AmqpError::of(error, amqp.address()).to_string()),
                None if channel.status().connected() => {
                    return Err(format!("queue {queue} was deleted"));
                }
                None => return Err("RabbitMQ closed the channel".to_owned()),
            }
        }
    }

    /// Binds the node's own queue once more.
    async fn bind(&self, channel: &Channel, queue: &ShortString) -> Result<(), AmqpError> {
        let events = name(&self.shared.layout.events(&self.consumption.bus))?;
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let key = ShortString::default();
        let binding = channel.queue_bind(queue.clone(), events, key, options, none);
        self.shared.consuming.answer(binding).await
    }

    /// The queue to consume: the group's work queue, or one of this node's own.
    async fn queue(&self, channel: &Channel) -> Result<ShortString, AmqpError> {
        let shared = &self.shared;
        if self.consumption.every_node() {
            let bus = &self.consumption.bus;
            let events = shared.layout.events(bus);
            return shared.node_queue(channel, &bus.name, &events, "").await;
        }
        name(&self.consumption.queue)
    }

    /// How many events wait in a queue, by the broker's own count.
    async fn ready(&self, channel: &Channel, queue: &ShortString) -> Result<u32, AmqpError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asking = channel.queue_declare(queue.clone(), options, FieldTable::default());
        Ok(self.shared.consuming.answer(asking).await?.message_count())
    }
}
