//! Topology of the embedded broker.

use super::{Embedded, LocalError};
use crate::{
    domain::{
        plan::Action,
        topology::{Binding, Destination, Exchange, ExchangeKind, Queue, Topology},
    },
    store::{
        engine::{Arg, Tx, args, json, statements},
        error::StoreError,
        row::{Row, word},
    },
};
use serde_json::Value;

statements! {
    /// One statement, so that the whole topology comes from one snapshot.
    OBSERVE = "SELECT 'exchange' AS part, definition, NULL AS source, NULL AS queue, NULL AS routing_key FROM local_exchange \
        UNION ALL SELECT 'queue', definition, NULL, NULL, NULL FROM local_queue \
        UNION ALL SELECT 'binding', arguments, source, queue, routing_key FROM local_binding";
    ADD_EXCHANGE = "INSERT INTO local_exchange (name, kind, definition) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    ADD_QUEUE = "INSERT INTO local_queue (name, definition) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    DELETE_EXCHANGE = "DELETE FROM local_exchange WHERE name = $1";
    EXCHANGE = "SELECT definition FROM local_exchange WHERE name = $1";
    QUEUE = "SELECT definition FROM local_queue WHERE name = $1";
    BIND = "INSERT INTO local_binding (source, queue, routing_key, arguments) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    UNBIND = "DELETE FROM local_binding WHERE source = $1 AND queue = $2 AND routing_key = $3 AND arguments = $4";
    EMPTY = "DELETE FROM local_delivery WHERE queue = $1";
    DELETE_QUEUE = "DELETE FROM local_queue WHERE name = $1";
}

impl Embedded {
    /// The exchanges, queues and bindings that the embedded broker holds.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn topology(&self) -> Result<Topology, StoreError> {
        let mut topology = Topology::default();
        for row in self.inner.engine.read(OBSERVE, &[]).await? {
            match row.text("part")?.as_str() {
                "exchange" => topology.add_exchange(row.record("definition")?),
                "queue" => topology.add_queue(row.record("definition")?),
                _ => {
                    topology.bindings.insert(Binding {
                        arguments: row.record("definition")?,
                        ..Binding::of_queue(
                            &row.text("source")?,
                            &row.text("queue")?,
                            &row.text("routing_key")?,
                        )
                    });
                }
            }
        }
        Ok(topology)
    }

    /// Applies one action. Succeeds when nothing is left to do. Returns the number of destroyed
    /// deliveries; only the deletion of a queue destroys deliveries.
    ///
    /// # Errors
    /// [`LocalError`] names the object that is missing or differs, or the unsupported action.
    pub async fn apply(&self, action: &Action) -> Result<u64, LocalError> {
        let mut tx = self.begin().await?;
        let mut destroyed = 0;
        match action {
            Action::DeclareExchange(exchange) => declare_exchange(&mut tx, exchange).await?,
            Action::DeclareQueue(queue) => declare_queue(&mut tx, queue).await?,
            Action::Bind(binding) => bind(&mut tx, binding).await?,
            Action::Unbind(binding) => {
                tx.execute(UNBIND, &identity(binding)).await?;
            }
            Action::DeleteExchange(name) => {
                tx.execute(DELETE_EXCHANGE, args![name.as_str()]).await?;
            }
            Action::DeleteQueue(name) => {
                destroyed = tx.execute(EMPTY, args![name.as_str()]).await?;
                tx.execute(DELETE_QUEUE, args![name.as_str()]).await?;
            }
            Action::Report(_) => return Ok(destroyed),
        }
        tx.commit().await?;
        Ok(destroyed)
    }
}

async fn declare_exchange(tx: &mut Tx, exchange: &Exchange) -> Result<(), LocalError> {
    if !matches!(exchange.kind, ExchangeKind::Direct | ExchangeKind::Fanout) {
        return Err(LocalError::Unsupported("has direct and fanout exchanges only"));
    }
    let (name, definition) = (exchange.name.as_str(), json(exchange));
    let values = args![name, word(&exchange.kind), definition.clone()];
    if tx.execute(ADD_EXCHANGE, values).await? == 1 {
        return Ok(());
    }
    let existing = tx.fetch(EXCHANGE, args![name]).await?;
    check_same("exchange", name, &existing, &definition)
}

async fn declare_queue(tx: &mut Tx, queue: &Queue) -> Result<(), LocalError> {
    let (name, definition) = (queue.name.as_str(), json(queue));
    if tx.execute(ADD_QUEUE, args![name, definition.clone()]).await? == 1 {
        return Ok(());
    }
    let existing = tx.fetch(QUEUE, args![name]).await?;
    check_same("queue", name, &existing, &definition)
}

fn without_notes(mut definition: Value) -> Value {
    if let Some(arguments) = definition["arguments"].as_object_mut() {
        arguments.retain(|name, _| !name.starts_with("x-hearken-"));
    }
    definition
}

/// Refuses to declare an object that exists with another definition. As on RabbitMQ, the existing
/// object keeps its notes, which are arguments without a meaning to the broker.
fn check_same(
    kind: &'static str,
    name: &str,
    existing: &[Row],
    definition: &Value,
) -> Result<(), LocalError> {
    let existing = existing.first().map(|row| row.json("definition")).transpose()?;
    let same = existing
        .is_some_and(|existing| without_notes(existing) == without_notes(definition.clone()));
    if same { Ok(()) } else { Err(LocalError::Differs { kind, name: name.to_owned() }) }
}

async fn bind(tx: &mut Tx, binding: &Binding) -> Result<(), LocalError> {
    if binding.destination_kind == Destination::Exchange {
        return Err(LocalError::Unsupported("binds queues only"));
    }
    if tx.fetch(EXCHANGE, args![binding.source.as_str()]).await?.is_empty() {
        return Err(LocalError::NoExchange(binding.source.clone()));
    }
    if tx.fetch(QUEUE, args![binding.destination.as_str()]).await?.is_empty() {
        return Err(LocalError::NoQueue(binding.destination.clone()));
    }
    tx.execute(BIND, &identity(binding)).await?;
    Ok(())
}

/// The columns that identify a binding. Arguments are ordered by name, so equal arguments have
/// equal JSON text.
fn identity(binding: &Binding) -> [Arg; 4] {
    [
        binding.source.as_str().into(),
        binding.destination.as_str().into(),
        binding.routing_key.as_str().into(),
        json(&binding.arguments).into(),
    ]
}
