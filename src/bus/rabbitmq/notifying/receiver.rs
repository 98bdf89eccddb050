//! The task that listens on this node's queue of a bus.
//!
//! There is one queue for each bus, which belongs to this node and ends with its connection. While
//! the queue lasts, three things go on: messages are handed to their readers ([`Inbox`]), keys are
//! bound and unbound ([`Binder`]), and probes go out and must come back ([`Prober`]). When one of
//! the three fails, the node makes a new queue and binds every key again.

use super::{
    audience::{Audiences, BusAudience},
    binder::{Binder, BindingTarget, NotificationSource},
    broadcasts::Broadcasts,
    error::ListeningError,
    inbox::Inbox,
    probe::Prober,
    routing_keys,
};
use crate::{
    amqp::{Amqp, AmqpError, name},
    bus::rabbitmq::{
        interruption::interruption, node_queue::NodeQueues, publishing::Publisher, signer::Signer,
        wake::Wake,
    },
    clock::Clock,
    domain::{bus::BusDefinition, layout::Layout, name::RegistrationKey},
    outage::Outage,
};
use futures_util::StreamExt;
use lapin::{
    Channel, Consumer,
    options::{BasicConsumeOptions, QueueBindOptions},
    types::{FieldTable, ShortString},
};
use std::sync::Arc;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

/// Listens to the notifications, broadcasts and probes of buses.
pub(crate) struct NotificationReceiver {
    /// The connection that consumes.
    pub(crate) amqp: Arc<Amqp>,
    /// Publishes the probes.
    pub(crate) publisher: Arc<Publisher>,
    /// Makes the queues.
    pub(crate) node_queues: NodeQueues,
    /// The layout.
    pub(crate) layout: Layout,
    /// Recognises what this process published.
    pub(crate) signer: Arc<Signer>,
    /// The listeners.
    pub(crate) audiences: Arc<Audiences>,
    /// The readers of broadcasts.
    pub(crate) broadcasts: Arc<Broadcasts>,
    /// Ends pauses.
    pub(crate) wake: Wake,
    /// The clock.
    pub(crate) clock: Clock,
}

/// Listening to one bus.
struct BusReceiver<'a> {
    receiver: &'a NotificationReceiver,
    bus: &'a BusDefinition,
    audience: &'a BusAudience,
    /// The key of this process's probes.
    probe_key: String,
}

/// A queue of this node, with its bindings for broadcasts and probes.
struct OpenQueue {
    messages: Consumer,
    queue: ShortString,
    /// Consumes as long as it is held.
    channel: Channel,
    /// Bindings have a channel of their own, so that messages do not wait for them.
    bindings: Channel,
}

impl NotificationReceiver {
    /// Listens to a bus until told to stop.
    pub(crate) async fn run(self: Arc<Self>, bus: BusDefinition, stop: CancellationToken) {
        let audience = self.audiences.of(&bus.name);
        let probe_key = routing_keys::probe(self.signer.instance());
        let listening = BusReceiver { receiver: &self, bus: &bus, audience: &audience, probe_key };
        let mut touched = audience.touched.lock().await;
        let activity = format!("listening for notifications of bus {}", bus.name);
        let mut outage = interruption(&self.clock, &activity);
        let mut wake = self.wake.listen();
        loop {
            wake.forget();
            let end = tokio::select! {
                () = stop.cancelled() => ListeningError::Stopped,
                end = listening.session(&mut touched, &mut outage) => end,
            };
            let cause = end.to_string();
            audience.registry.interrupted();
            audience.registry.bindings(0);
            audience.health.interrupted(cause.clone());
            if matches!(end, ListeningError::Stopped) {
                return;
            }
            let pause = outage.failed(&cause);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
                () = wake.called() => {}
            }
        }
    }
}

impl BusReceiver<'_> {
    /// Listens over one queue until it is lost.
    async fn session(
        &self,
        touched: &mut mpsc::UnboundedReceiver<RegistrationKey>,
        outage: &mut Outage,
    ) -> ListeningError {
        // The binder begins with every key that is followed then.
        while touched.try_recv().is_ok() {}
        let opened = async {
            let open = self.open().await?;
            let binder = self.binder(open.bindings, open.queue)?;
            Ok::<_, AmqpError>((open.messages, binder, open.channel))
        };
        let (messages, binder, _channel) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return error.into(),
        };
        outage.over();
        self.audience.health.listening();
        self.receiver.broadcasts.started();
        let prober = Prober {
            publisher: &self.receiver.publisher,
            exchange: self.receiver.layout.keys(&self.bus.name),
            key: &self.probe_key,
            echo: &self.audience.echo,
            health: &self.audience.health,
            wake: &self.receiver.wake,
        };
        tokio::select! {
            end = self.read(messages) => end,
            end = prober.run() => end,
            end = binder.run(touched) => end,
        }
    }

    async fn open(&self) -> Result<OpenQueue, AmqpError> {
        let (amqp, bus) = (&self.receiver.amqp, &self.bus.name);
        let [channel, bindings] = amqp.channels().await?;
        let keys = self.receiver.layout.keys(bus);
        let queues = &self.receiver.node_queues;
        let queue = queues.declare(&channel, bus, &keys, routing_keys::TOPOLOGY).await?;
        let (exchange, probe) = (name(&keys)?, name(&self.probe_key)?);
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        amqp.answer(channel.queue_bind(queue.clone(), exchange, probe, options, none)).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let messages = amqp.consume(&channel, queue.clone(), options).await?;
        Ok(OpenQueue { messages, queue, channel, bindings })
    }

    fn binder(&self, channel: Channel, queue: ShortString) -> Result<Binder<'_>, AmqpError> {
        let NotificationReceiver { amqp, layout, clock, .. } = self.receiver;
        let exchange = name(&layout.notifications(self.bus))?;
        let attached = self.bus.attached;
        let source = if attached { NotificationSource::Foreign } else { NotificationSource::Own };
        let target = BindingTarget { amqp, channel, queue, exchange, source };
        Ok(Binder::new(target, self.audience, clock))
    }

    async fn read(&self, mut messages: Consumer) -> ListeningError {
        let inbox = Inbox {
            bus: &self.bus.name,
            audience: self.audience,
            broadcasts: &self.receiver.broadcasts,
            signer: &self.receiver.signer,
            probe_key: &self.probe_key,
        };
        while let Some(message) = messages.next().await {
            match message {
                Ok(message) => inbox.take(&message),
                Err(error) => return AmqpError::of(error, self.receiver.amqp.address()).into(),
            }
            // lapin's stream never yields by itself, and the binder and the prober share its task.
            tokio::task::coop::consume_budget().await;
        }
        ListeningError::QueueClosed
    }
}
