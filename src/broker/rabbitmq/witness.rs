//! Check that the management API and AMQP reach the same broker.
//!
//! The two addresses are settings of their own. If one leads to a copy of the broker, as after a
//! switch to another site, hearken would read one broker and change the other.

use super::{BrokerError, admin::Admin, management::Management};
use crate::{
    amqp::{self, Amqp, AmqpError},
    domain::{layout::Layout, name::BusName},
};
use lapin::{
    Channel,
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use std::time::Duration;
use tokio::{sync::Mutex, time::sleep};
use uuid::Uuid;

/// Number of looks for the witness. A node of the broker may learn of a queue a little after the
/// node that declared the queue.
const LOOKS: usize = 5;

/// Pause between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Queue that this process keeps on the broker that AMQP reaches. The queue is exclusive, so that
/// it ends with its connection, and has the name of a node's queue, so that it is no drift.
pub(super) struct Witness {
    layout: Layout,
    node: String,
    kept: Mutex<Option<KeptQueue>>,
}

struct KeptQueue {
    name: String,
    channel: Channel,
}

impl Witness {
    pub(super) fn new(layout: &Layout, node: &str) -> Self {
        Self { layout: layout.clone(), node: node.to_owned(), kept: Mutex::default() }
    }

    /// Checks that the management API shows the witness, which is declared over AMQP when its
    /// connection was lost.
    pub(super) async fn check(
        &self,
        management: &Management,
        admin: &Admin,
    ) -> Result<(), BrokerError> {
        let amqp = admin.amqp();
        let what = "declare the queue that shows which broker AMQP reaches";
        let queue = self.declared(amqp).await.map_err(|error| BrokerError::of_amqp(what, error))?;
        for look in 1..=LOOKS {
            if management.has_queue(&queue).await? {
                return Ok(());
            }
            if look < LOOKS {
                sleep(BETWEEN_LOOKS).await;
            }
        }
        Err(BrokerError::Divided {
            amqp: amqp.address().to_owned(),
            management: management.address().to_owned(),
        })
    }

    /// Name of the witness.
    async fn declared(&self, amqp: &Amqp) -> Result<String, AmqpError> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.channel.status().connected()) {
            return Ok(kept.name.clone());
        }
        let channel = amqp.channel().await?;
        let bus = BusName::parse("admin").expect("the name is valid");
        let name = self.layout.node_queue(&bus, &self.node, Uuid::now_v7());
        let mut arguments: FieldTable = amqp::table(&self.layout.marked())?;
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        amqp.answer(channel.queue_declare(amqp::name(&name)?, options, arguments)).await?;
        *kept = Some(KeptQueue { name: name.clone(), channel });
        Ok(name)
    }
}
