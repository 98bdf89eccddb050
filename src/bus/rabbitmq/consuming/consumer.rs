//! The task of one listener's consumer.

use super::{
    delivery::DeliveryRunner,
    executions::Executions,
    interrupted::{ConsumerInterruption, InterruptedConsumers},
    queue_source::QueueSource,
    session::{Session, SessionEnd, SessionError},
};
use crate::{
    amqp::{Amqp, Scout},
    background,
    bus::{
        Consumer, ConsumerState, Consumption, Listener, Stop,
        rabbitmq::{
            keeping::DeadLetterKeeper,
            node_queue::NodeQueues,
            notifying::Audiences,
            publishing::Publisher,
            retrying::{CopyPublisher, Retrying},
            signer::Signer,
            wake::Wake,
        },
        registry::RegisteredInline,
    },
    clock::Clock,
    domain::layout::Layout,
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

/// Pause before a drained queue is looked at again: an event may come back from a wait queue.
const DRAINED_PAUSE: Duration = Duration::from_secs(3);

/// Starts consumers.
pub(crate) struct Consuming {
    /// The connections that consume.
    pub(crate) amqp: Arc<Amqp>,
    /// Looks for queues.
    pub(crate) scout: Arc<Scout>,
    /// The consumers that do not consume.
    pub(crate) interrupted: InterruptedConsumers,
    /// Publishes copies of failed events.
    pub(crate) publisher: Arc<Publisher>,
    /// Keeps the dead letters.
    pub(crate) keeper: Arc<DeadLetterKeeper>,
    /// Makes queues of this node.
    pub(crate) node_queues: NodeQueues,
    /// The inline listeners.
    pub(crate) audiences: Arc<Audiences>,
    /// Recognises what this process published.
    pub(crate) signer: Arc<Signer>,
    /// Ends pauses.
    pub(crate) wake: Wake,
    /// The layout.
    pub(crate) layout: Layout,
    /// This node.
    pub(crate) node: String,
    /// The clock.
    pub(crate) clock: Clock,
}

impl Consuming {
    /// Starts a consumer.
    pub(crate) fn start(&self, consumption: Consumption, listener: Arc<dyn Listener>) -> Consumer {
        let executions = Arc::new(Executions::new(consumption.listener.concurrency));
        let inline = consumption.runs_inline().then(|| {
            let audience = self.audiences.of(&consumption.listener.bus);
            executions.enter(&audience, &consumption.listener, &listener)
        });
        let (state, states) = watch::channel(ConsumerState::Waiting("it is starting".to_owned()));
        let consumption = Arc::new(consumption);
        let deliveries = Arc::new(DeliveryRunner {
            consumption: Arc::clone(&consumption),
            listener,
            executions: Arc::clone(&executions),
            retrying: self.retrying(&consumption, &executions),
            signer: Arc::clone(&self.signer),
            clock: self.clock.clone(),
        });
        let source = QueueSource {
            amqp: Arc::clone(&self.amqp),
            scout: Arc::clone(&self.scout),
            layout: self.layout.clone(),
            node_queues: self.node_queues.clone(),
        };
        let group = consumption.listener.group.to_string();
        let interruption = self.interrupted.consumer(&group);
        let task = ConsumerTask {
            session: Session {
                consumption,
                source,
                executions: Arc::clone(&executions),
                deliveries,
            },
            progress: ConsumerProgress { state, interruption },
            wake: self.wake.clone(),
        };
        let task = background::spawn_loop("the consumer of a queue", task.run());
        Consumer { state: states, stop: Box::new(Stopping { group, executions, task, inline }) }
    }

    /// Retrying for a group with a work queue. An event for every node runs once.
    fn retrying(&self, consumption: &Consumption, executions: &Executions) -> Option<Retrying> {
        if consumption.every_node() {
            return None;
        }
        let copies = CopyPublisher {
            publisher: Arc::clone(&self.publisher),
            group: consumption.listener.group.clone(),
            stop: executions.stop_token(),
            wake: self.wake.clone(),
            clock: self.clock.clone(),
        };
        Some(Retrying {
            listener: consumption.listener.clone(),
            layout: self.layout.clone(),
            copies,
            keeper: Arc::clone(&self.keeper),
            node: self.node.clone(),
            clock: self.clock.clone(),
        })
    }
}

/// Ends the consumer. Dropping it ends the consumer without patience.
struct Stopping {
    group: String,
    executions: Arc<Executions>,
    task: JoinHandle<()>,
    /// The listener's place among the listeners that this node's dispatches wait for.
    inline: Option<RegisteredInline>,
}

#[async_trait]
impl Stop for Stopping {
    async fn stop(mut self: Box<Self>, patience: Duration) {
        self.inline = None;
        self.executions.stop(patience);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(group = self.group, %error, "the consumer of group {} failed: {error}", self.group);
        }
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.executions.stop(Duration::ZERO);
    }
}

/// Whether the consumer consumes, as its state and its interruption tell.
struct ConsumerProgress {
    state: watch::Sender<ConsumerState>,
    interruption: ConsumerInterruption,
}

impl ConsumerProgress {
    fn works(&mut self) {
        self.interruption.over();
        self.state.send_replace(ConsumerState::Running);
    }

    /// Returns the pause before the next session.
    fn lost(&mut self, error: &SessionError) -> Duration {
        let cause = error.to_string();
        let pause = self.interruption.failed(&cause);
        self.state.send_replace(ConsumerState::Waiting(cause));
        pause
    }
}

/// A running consumer.
struct ConsumerTask {
    session: Session,
    progress: ConsumerProgress,
    wake: Wake,
}

impl ConsumerTask {
    /// Makes one session after the other until the consumer stops.
    async fn run(mut self) {
        let (session, progress) = (&self.session, &mut self.progress);
        let mut wake = self.wake.listen();
        loop {
            wake.forget();
            let outcome = session.run(|| progress.works()).await;
            let pause = match outcome {
                Ok(SessionEnd::Stopped) => break,
                Ok(SessionEnd::Drained) => DRAINED_PAUSE,
                Err(error) => progress.lost(&error),
            };
            tokio::select! {
                () = session.executions.stopped() => break,
                () = sleep(pause) => {}
                () = wake.called() => {}
            }
        }
        session.executions.finish(session.consumption.listener.group.as_str()).await;
    }
}
