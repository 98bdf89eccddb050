//! The broadcasts of topology changes, as this node hears them.

use super::{Shared, TOPOLOGY_KEY, node_queue::name, outage::Outage};
use crate::{amqp::AmqpError, bus::TopologyChanged, domain::name::BusName};
use futures_util::StreamExt;
use lapin::{
    options::{BasicConsumeOptions, QueueBindOptions},
    types::{FieldTable, ShortString},
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Listens to the broadcasts of one bus until told to stop.
pub(super) async fn follow(shared: Arc<Shared>, bus: BusName, stop: CancellationToken) {
    let mut outage = Outage::new(format!("listening for topology changes of bus {bus}"));
    let mut wake = shared.wake.subscribe();
    loop {
        wake.mark_unchanged();
        let session = session(&shared, &bus, &mut outage);
        let cause = tokio::select! {
            () = stop.cancelled() => return,
            cause = session => cause,
        };
        let pause = outage.failed(&cause);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
            _ = wake.changed() => {}
        }
    }
}

/// How often the queue is bound again.
const BIND_AGAIN: Duration = Duration::from_secs(30);

/// Listens over one channel until it is lost, and returns why.
async fn session(shared: &Shared, bus: &BusName, outage: &mut Outage) -> String {
    let amqp = &shared.consuming;
    let opening = async {
        let channel = amqp.channel().await?;
        let exchange = shared.layout.keys(bus);
        let queue = shared.node_queue(&channel, bus, &exchange, TOPOLOGY_KEY).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let tag = ShortString::default();
        let consuming = channel.basic_consume(queue.clone(), tag, options, FieldTable::default());
        Ok::<_, AmqpError>((amqp.answer(consuming).await?, channel, queue))
    };
    let (mut broadcasts, channel, queue) = match opening.await {
        Ok(opened) => opened,
        Err(error) => return error.to_string(),
    };
    outage.over();
    shared.resyncs.send_modify(|count| *count = count.wrapping_add(1));
    loop {
        let broadcast = tokio::select! {
            broadcast = broadcasts.next() => broadcast,
            () = sleep(BIND_AGAIN) => {
                // An exchange that was deleted and made again took the binding with it, and nobody
                // tells its queue. Binding again does nothing where the binding is there.
                let Ok(exchange) = name(&shared.layout.keys(bus)) else { continue };
                let (options, none) = (QueueBindOptions::default(), FieldTable::default());
                let binding = channel.queue_bind(queue.clone(), exchange, TOPOLOGY_KEY.into(), options, none);
                if let Err(error) = amqp.answer(binding).await {
                    return error.to_string();
                }
                continue;
            }
        };
        let Some(broadcast) = broadcast else { break };
        let delivery = match broadcast {
            Ok(delivery) => delivery,
            Err(error) => return AmqpError::of(error, amqp.address()).to_string(),
        };
        match serde_json::from_slice::<TopologyChanged>(&delivery.data) {
            // Fails when nobody listens on this node, and then nobody misses it.
            Ok(change) => drop(shared.changes.send(change)),
            Err(error) => {
                tracing::debug!(%error, "bus {bus} carried a topology change that cannot be read");
            }
        }
    }
    "its queue or channel was closed".to_owned()
}
