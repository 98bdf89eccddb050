//! RabbitMQ as a broker: it is read over the management API and changed over AMQP.

mod admin;
mod history;
mod management;
mod observed;
mod witness;

use super::{Broker, BrokerError, Marker};
use crate::{
    amqp::{Amqp, AmqpError, AmqpUrl, AmqpUrlError, Purpose},
    domain::{depth::Depth, layout::Layout, plan::Action, topology::Topology},
    metrics::Metrics,
};
use admin::Admin;
use async_trait::async_trait;
use management::Management;
use observed::{
    BindingRow, COUNT_COLUMNS, ExchangeRow, NamedCountRow, Overview, PolicyRow, QueueRow,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use witness::Witness;

/// Addresses of the broker, and the names of this cluster's objects on it.
#[derive(Debug, Clone)]
pub struct RabbitMqConfig {
    /// `--amqp-url`.
    pub amqp_url: AmqpUrl,
    /// `--management-url`. Absent when it is derived from the AMQP URL.
    pub management_url: Option<String>,
    /// The layout.
    pub layout: Layout,
    /// Name of this node in the broker's list of connections.
    pub node: String,
}

/// RabbitMQ 3.10 or later.
pub struct RabbitMqBroker {
    management: Management,
    admin: Admin,
    layout: Layout,
    witness: Witness,
}

impl RabbitMqBroker {
    /// A broker. Does not connect yet.
    ///
    /// # Errors
    /// What is wrong with the management URL.
    pub fn new(config: RabbitMqConfig) -> Result<Self, AmqpUrlError> {
        let management = Management::new(&config.amqp_url, config.management_url.as_deref())?;
        let admin = Admin::new(Amqp::new(config.amqp_url, &config.node, Purpose::Admin));
        let witness = Witness::new(&config.layout, &config.node);
        Ok(Self { management, admin, layout: config.layout, witness })
    }

    /// Counts requests and reconnections in these metrics.
    #[must_use]
    pub fn counted(self, metrics: Arc<Metrics>) -> Self {
        let management = self.management.counted(Arc::clone(&metrics));
        Self { management, admin: self.admin.counted(metrics), ..self }
    }

    async fn exchanges(&self) -> Result<Vec<ExchangeRow>, BrokerError> {
        self.management.list("exchanges", "disable_stats=true").await
    }

    /// Reads the policies. RabbitMQ shows them only to users with the tag `policymaker`. For other
    /// users the list is empty: a missed policy is better than an observation that fails.
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
    async fn check_undivided(&self) -> Result<(), BrokerError> {
        self.witness.check(&self.management, &self.admin).await
    }

    async fn marker(&self) -> Result<Marker, BrokerError> {
        // Reads the whole list, which is short. A request for the single exchange would give the
        // same answer for a missing exchange and for a missing virtual host.
        let name = self.layout.marker();
        let row = self.exchanges().await?.into_iter().find(|row| row.name == name);
        Ok(Marker::read(row.map(ExchangeRow::into_exchange).as_ref()))
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
            // The management API gives the same answer for a missing queue and for a missing
            // virtual host, so AMQP must show that the queue does not exist.
            return match self.admin.ready(queue).await? {
                Some(_) => Err(BrokerError::Uncounted(queue.to_owned())),
                None => Ok(None),
            };
        };
        // The counters appear some seconds after the queue. A missing counter does not mean zero.
        row.depth().map(Some).ok_or_else(|| BrokerError::Uncounted(queue.to_owned()))
    }

    async fn depths(&self) -> Result<BTreeMap<String, Depth>, BrokerError> {
        let rows = self.management.list::<NamedCountRow>("queues", COUNT_COLUMNS).await?;
        let ours = rows.into_iter().filter(|row| self.layout.has_prefix(&row.name));
        Ok(ours.filter_map(|row| Some((row.name, row.count.depth()?))).collect())
    }

    async fn ready(&self, queue: &str) -> Result<Option<u64>, BrokerError> {
        self.admin.ready(queue).await
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

impl BrokerError {
    /// Error of an operation over AMQP.
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
