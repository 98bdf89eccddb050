//! RabbitMQ, as the reconciler sees it: read over the management API, changed over AMQP.

mod admin;
mod history;
mod management;
mod observed;

use super::{Broker, BrokerError, Marker};
use crate::domain::depth::Depth;
use crate::{
    amqp::{Amqp, AmqpError, AmqpUrl, AmqpUrlError, Purpose},
    domain::{
        layout::{Layout, MARKER},
        plan::Action,
        topology::{Argument, Topology},
    },
};
use admin::Admin;
use async_trait::async_trait;
use management::Management;
use observed::{BindingRow, ExchangeRow, Overview, PolicyRow, QueueRow};
use std::time::Duration;

/// Where the broker is, and how this cluster names what it owns there.
#[derive(Debug, Clone)]
pub struct RabbitMqConfig {
    /// `--amqp-url`.
    pub amqp_url: AmqpUrl,
    /// `--management-url`; derived from the AMQP URL where it is not given.
    pub management_url: Option<String>,
    /// The layout.
    pub layout: Layout,
    /// This node, as operators see it in the broker's list of connections.
    pub node: String,
}

/// RabbitMQ 3.10 or later.
pub struct RabbitMqBroker {
    management: Management,
    admin: Admin,
    layout: Layout,
}

impl RabbitMqBroker {
    /// A broker that has not been spoken to yet.
    ///
    /// # Errors
    /// What is wrong with the management URL.
    pub fn new(config: RabbitMqConfig) -> Result<Self, AmqpUrlError> {
        let management = Management::new(&config.amqp_url, config.management_url.as_deref())?;
        let admin = Admin::new(Amqp::new(config.amqp_url, &config.node, Purpose::Admin));
        Ok(Self { management, admin, layout: config.layout })
    }

    async fn exchanges(&self) -> Result<Vec<ExchangeRow>, BrokerError> {
        self.management.list("exchanges", "disable_stats=true").await
    }

    /// Policies are shown to policy makers only. Without that right a policy goes unnoticed, which
    /// is better than not looking at the topology at all.
    async fn policies(&self) -> Result<Vec<PolicyRow>, BrokerError> {
        match self.management.list("policies", "").await {
            Err(BrokerError::Refused { reply, .. }) => {
                tracing::debug!(reply, "policies cannot be read with this user");
                Ok(Vec::new())
            }
            other => other,
        }
    }
}

#[async_trait]
impl Broker for RabbitMqBroker {
    async fn marker(&self) -> Result<Marker, BrokerError> {
        // The whole list, which is short: a single exchange that is not found would look the same
        // as a virtual host that is not.
        let name = self.layout.marker();
        let Some(marker) = self.exchanges().await?.into_iter().find(|row| row.name == name) else {
            return Ok(Marker::Absent);
        };
        let cluster = match marker.into_exchange().arguments.get(MARKER) {
            Some(Argument::Text(text)) => text.parse().ok(),
            _ => None,
        };
        Ok(Marker::Cluster(cluster))
    }

    async fn observe(&self) -> Result<Topology, BrokerError> {
        let (queues, exchanges, bindings, policies) = tokio::try_join!(
            self.management.list::<QueueRow>("queues", "disable_stats=true"),
            self.exchanges(),
            self.management.list::<BindingRow>("bindings", ""),
            self.policies(),
        )?;
        Ok(observed::topology(&self.layout, queues, exchanges, bindings, &policies))
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let Some(row) = self.management.queue(queue).await? else {
            // The management API answers the same for a queue and for a virtual host that it does
            // not know: only the broker itself can say that the queue is gone.
            return if self.admin.exists(queue).await? { Err(uncounted(queue)) } else { Ok(None) };
        };
        // Counters come some seconds after the queue. What is not counted is not zero.
        let (Some(ready), Some(unacked), Some(consumers)) =
            (row.messages_ready, row.messages_unacknowledged, row.consumers)
        else {
            return Err(uncounted(queue));
        };
        Ok(Some(Depth { ready, unacked, consumers }))
    }

    async fn oldest(&self, queue: &str) -> Result<Option<Duration>, BrokerError> {
        let mut oldest = None;
        for window in history::WINDOWS {
            let Some(row) = self.management.history(queue, window).await? else { return Ok(None) };
            oldest = oldest.max(row.oldest());
            if oldest.is_none_or(|oldest| oldest + window.step < window.reach) {
                break;
            }
        }
        Ok(oldest)
    }

    async fn apply(&self, action: &Action) -> Result<u64, BrokerError> {
        match (action, self.admin.apply(action).await) {
            (Action::Bind(binding), Err(BrokerError::Missing(what)))
                if !self.layout.has_prefix(&binding.source) =>
            {
                let exchange = &binding.source;
                Err(BrokerError::Missing(format!(
                    "{what}; an attached bus is bound to exchange {exchange}, which its owner \
                     declares: does that program run on this virtual host, and is {exchange} its \
                     exchange?"
                )))
            }
            (_, outcome) => outcome,
        }
    }

    async fn version(&self) -> Result<String, BrokerError> {
        let overview: Overview = self.management.overview().await?;
        let product = overview.product_name.as_deref().unwrap_or("RabbitMQ");
        let version = overview.product_version.or(overview.rabbitmq_version);
        Ok(format!("{product} {}", version.as_deref().unwrap_or("of unknown version")))
    }
}

fn uncounted(queue: &str) -> BrokerError {
    let what = format!("counting what queue {queue} holds: RabbitMQ has not counted it yet");
    BrokerError::Unreachable { what, source: None }
}

impl BrokerError {
    /// What an operation over AMQP died of.
    fn of_amqp(what: &str, error: AmqpError) -> Self {
        let what = what.to_owned();
        match error {
            AmqpError::Refused(reply) => Self::Refused { what, reply },
            AmqpError::Missing(reply) => Self::Missing(format!("object for {what} ({reply})")),
            AmqpError::Credentials { .. }
            | AmqpError::VirtualHost { .. }
            | AmqpError::Tls { .. } => Self::Refused { what, reply: error.to_string() },
            AmqpError::Unreachable { .. }
            | AmqpError::Silent { .. }
            | AmqpError::NotTaken { .. } => {
                Self::Unreachable { what, source: Some(Box::new(error)) }
            }
        }
    }
}
