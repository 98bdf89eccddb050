//! What waits in the embedded bus.

use super::LocalError;
use crate::store::{
    Store,
    engine::{args, statements},
    error::StoreError,
    row::Row,
};
use serde_json::Value;
use std::time::Duration;

statements! {
    EXCHANGE = "SELECT 1 FROM local_exchange WHERE name = $1";
    BODY = "INSERT INTO local_body (content_type, headers, body) VALUES ($1, $2, $3) RETURNING id";
    ROUTE = "INSERT INTO local_delivery (queue, body, due_at) \
        SELECT DISTINCT b.queue, $1, now FROM clock CROSS JOIN local_binding b JOIN local_exchange x ON x.name = b.source \
        WHERE b.source = $2 AND (x.kind = 'fanout' OR b.routing_key = $3)";
    QUEUE = "SELECT 1 FROM local_queue WHERE name = $1";
    DUE = "SELECT d.seq, d.attempt, b.content_type, b.headers, b.body FROM local_delivery d JOIN local_body b ON b.id = d.body \
        WHERE d.queue = $1 AND d.due_at <= (SELECT now FROM clock) ORDER BY d.due_at, d.seq LIMIT $2";
    NEXT_DUE = "SELECT MAX(0, due_at - now) AS pause FROM local_delivery CROSS JOIN clock WHERE queue = $1 ORDER BY due_at LIMIT 1";
    DONE = "DELETE FROM local_delivery WHERE seq = $1";
    POSTPONE = "UPDATE local_delivery SET due_at = (SELECT now FROM clock) + $2, attempt = $3 WHERE seq = $1";
    DEPTH = "SELECT (SELECT COUNT(*) FROM local_delivery WHERE queue = q.name) AS depth FROM local_queue q WHERE q.name = $1";
}

/// An event on its way to one queue's consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDelivery {
    /// Names the delivery; a delivery that is postponed keeps it.
    pub seq: i64,
    /// How often it was tried before.
    pub attempt: u32,
    /// The body's media type.
    pub content_type: Option<String>,
    /// What was published with the body.
    pub headers: Value,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Store {
    /// Publishes a body to every queue that is bound with the routing key (to every bound queue,
    /// when the exchange is a fanout). On `Ok` it is on disk. Returns how many queues it reached;
    /// with none, nothing is kept.
    ///
    /// # Errors
    /// [`LocalError::NoExchange`], or the store's own, after which it may be published or not.
    pub async fn local_publish(
        &self,
        exchange: &str,
        routing_key: &str,
        content_type: Option<&str>,
        headers: &Value,
        body: &[u8],
    ) -> Result<usize, LocalError> {
        let mut tx = self.inner.engine.begin(&self.inner.bell).await?;
        if tx.fetch(EXCHANGE, args![exchange]).await?.is_empty() {
            return Err(LocalError::NoExchange(exchange.to_owned()));
        }
        let rows = tx.fetch(BODY, args![content_type, headers.clone(), body]).await?;
        let unnumbered = || StoreError::Corrupt { what: "a body was given no number".into() };
        let id = rows.first().ok_or_else(unnumbered)?.int("id")?;
        let queues = tx.execute(ROUTE, args![id, exchange, routing_key]).await?;
        if queues == 0 {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        Ok(usize::try_from(queues).unwrap_or(usize::MAX))
    }

    /// The deliveries of a queue that are due, the longest due first, at most `limit`. Those that
    /// were handed out before and are not done are among them. Nothing when there is no such queue.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn local_due(
        &self,
        queue: &str,
        limit: usize,
    ) -> Result<Option<Vec<LocalDelivery>>, StoreError> {
        let engine = &self.inner.engine;
        let due: Vec<_> = engine
            .read(DUE, args![queue, limit])
            .await?
            .iter()
            .map(read)
            .collect::<Result<_, _>>()?;
        // A queue with deliveries exists, so only an empty answer has to be looked into.
        if due.is_empty() && engine.read(QUEUE, args![queue]).await?.is_empty() {
            return Ok(None);
        }
        Ok(Some(due))
    }

    /// How long until a queue's next delivery is due, by the database's clock; zero when one is.
    /// Nothing when none waits.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn local_next_due(&self, queue: &str) -> Result<Option<Duration>, StoreError> {
        let pause = self.local_number(NEXT_DUE, args![queue], "pause").await?;
        Ok(pause.map(Duration::from_micros))
    }

    /// Ends a delivery. Its body goes with the last one. Succeeds when it has ended before.
    ///
    /// # Errors
    /// When the database cannot be used: the delivery will come again.
    pub async fn local_done(&self, seq: i64) -> Result<(), StoreError> {
        self.inner.engine.write(DONE, args![seq]).await?;
        Ok(())
    }

    /// Makes a delivery due again after a pause, as that attempt. Succeeds when it has ended.
    ///
    /// # Errors
    /// When the database cannot be used: the delivery stays due.
    pub async fn local_postpone(
        &self,
        seq: i64,
        pause: Duration,
        attempt: u32,
    ) -> Result<(), StoreError> {
        // Far beyond any pause a listener may ask for, and far from overflow.
        let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX).min(1 << 60);
        self.inner.engine.write(POSTPONE, args![seq, micros, attempt]).await?;
        Ok(())
    }

    /// How many deliveries a queue has, those in hand and those postponed included. Nothing when
    /// there is no such queue.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn local_depth(&self, queue: &str) -> Result<Option<u64>, StoreError> {
        self.local_number(DEPTH, args![queue], "depth").await
    }
}

fn read(row: &Row) -> Result<LocalDelivery, StoreError> {
    Ok(LocalDelivery {
        seq: row.int("seq")?,
        attempt: row.small("attempt")?,
        content_type: row.opt_text("content_type")?,
        headers: row.json("headers")?,
        body: row.bytes("body")?,
    })
}
