//! What the queues of a stage hold.

use super::{Engine, Stage};
use crate::support::wait;
use hearken::domain::{
    depth::Depth, desired::Desired, listener::ListenerSpec, plan::Action, topology::Binding,
};
use lapin::{options::QueueDeclareOptions, types::FieldTable};

impl Stage {
    /// Name of a group's work queue.
    pub(crate) fn queue(&self, listener: &ListenerSpec) -> String {
        let roster = self.roster.known();
        let generation = roster.configured(&listener.group).map_or(1, |found| found.generation);
        self.layout.work(&listener.bus, &listener.group, generation)
    }

    /// Counts of a group's queue by the broker.
    pub(crate) async fn depth(&self, listener: &ListenerSpec) -> Depth {
        self.broker.depth(&self.queue(listener)).await.unwrap().unwrap()
    }

    /// Events that wait in a queue, and its consumers, as counted now. Over RabbitMQ unacknowledged
    /// events are not counted.
    pub(crate) async fn count(&self, queue: &str) -> (u64, u64) {
        if let Engine::Embedded(_) = self.engine {
            let depth = self.broker.depth(queue).await.unwrap().unwrap();
            return (depth.ready, depth.consumers);
        }
        let (_connection, channel) = self.plain().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        let queue = asked.unwrap();
        (queue.message_count().into(), queue.consumer_count().into())
    }

    /// Counts of a group's queue, as [`Stage::count`] has them.
    pub(crate) async fn count_of(&self, listener: &ListenerSpec) -> (u64, u64) {
        self.count(&self.queue(listener)).await
    }

    /// Waits until so many events wait in a group's queue.
    pub(crate) async fn left_with(&self, listener: &ListenerSpec, ready: u64) {
        let what = format!("{ready} events are in the queue of group {}", listener.group);
        wait::until(&what, async || (self.count_of(listener).await.0 == ready).then_some(())).await;
    }

    /// Waits until so many events wait in a group's queue and none is unacknowledged.
    pub(crate) async fn settled_with(&self, listener: &ListenerSpec, ready: u64) {
        let what = format!("{ready} events are in the queue of group {}, settled", listener.group);
        wait::until(&what, async || {
            let depth = self.depth(listener).await;
            (depth.ready == ready && depth.unacked == 0).then_some(())
        })
        .await;
    }

    /// Waits until no event waits in a queue.
    pub(crate) async fn emptied(&self, queue: &str) {
        let what = format!("queue {queue} is empty");
        wait::until(&what, async || (self.count(queue).await.0 == 0).then_some(())).await;
    }

    /// Unbinds a group's queue from its bus. The next [`Stage::converge`] binds it again.
    pub(crate) async fn unbind(&self, listener: &ListenerSpec) {
        let main = self.layout.main(&listener.bus);
        self.apply(Action::Unbind(Binding::of_queue(&main, &self.queue(listener), ""))).await;
        *self.applied.lock().await = Desired::default();
    }
}
