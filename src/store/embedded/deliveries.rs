//! Deliveries of the embedded bus.

use super::{Embedded, LocalError};
use crate::{
    domain::dead_letter::DeadLetter,
    store::{
        dead_letters::{full, insertion},
        engine::{args, statements},
        error::StoreError,
        row::Row,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use time::OffsetDateTime;
use uuid::Uuid;

statements! {
    EXCHANGE = "SELECT 1 FROM local_exchange WHERE name = $1";
    BODY = "INSERT INTO local_body (content_type, headers, body) VALUES ($1, $2, $3) RETURNING id";
    ROUTE = "INSERT INTO local_delivery (queue, body, due_at) \
        SELECT DISTINCT b.queue, $1, now FROM clock CROSS JOIN local_binding b JOIN local_exchange x ON x.name = b.source \
        WHERE b.source = $2 AND (x.kind = 'fanout' OR b.routing_key = $3) RETURNING queue, seq";
    RETURN = "INSERT INTO local_delivery (queue, body, due_at, previous) SELECT $1, $2, now, $3 FROM clock";
    QUEUE = "SELECT 1 FROM local_queue WHERE name = $1";
    DUE = "SELECT d.seq, d.attempt, CASE d.attempt WHEN 0 THEN d.due_at END AS published_at, d.first_failed_at, d.previous, b.content_type, b.headers, b.body FROM local_delivery d JOIN local_body b ON b.id = d.body \
        WHERE d.queue = $1 AND d.due_at <= (SELECT now FROM clock) ORDER BY d.due_at, d.seq LIMIT $2";
    NEXT_DUE = "SELECT MAX(0, due_at - now) AS pause FROM local_delivery CROSS JOIN clock WHERE queue = $1 ORDER BY due_at LIMIT 1";
    DONE = "DELETE FROM local_delivery WHERE seq = $1";
    POSTPONE = "UPDATE local_delivery SET due_at = (SELECT now FROM clock) + $2, attempt = $3, \
        first_failed_at = COALESCE(first_failed_at, (SELECT now FROM clock)) WHERE seq = $1";
    PENDING = "SELECT 1 FROM local_delivery WHERE seq = $1 AND attempt = $2";
    OLDEST = "SELECT MAX(0, (SELECT now FROM clock) - COALESCE(first_failed_at, due_at)) AS age FROM local_delivery \
        WHERE queue = $1 ORDER BY COALESCE(first_failed_at, due_at) LIMIT 1";
    DEPTHS = "SELECT q.name AS name, COUNT(d.queue) AS depth FROM local_queue q LEFT JOIN local_delivery d ON d.queue = q.name GROUP BY q.name";
    DEPTH = "SELECT (SELECT COUNT(*) FROM local_delivery WHERE queue = q.name) AS depth FROM local_queue q WHERE q.name = $1";
}

/// A new delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryId {
    /// Queue of the delivery.
    pub queue: String,
    /// Number of the delivery.
    pub seq: i64,
}

/// An event that waits in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDelivery {
    /// Number of the delivery. A postponed delivery keeps its number.
    pub seq: i64,
    /// Number of attempts made before.
    pub attempt: u32,
    /// When the event was published or redelivered, by the database's clock. Unknown for a delivery
    /// that has failed.
    pub published_at: Option<OffsetDateTime>,
    /// When the delivery failed for the first time, by the database's clock.
    pub first_failed_at: Option<OffsetDateTime>,
    /// The dead letter that the event was redelivered from.
    pub previous: Option<Uuid>,
    /// The body's media type.
    pub content_type: Option<String>,
    /// Headers that were published with the body.
    pub headers: Value,
    /// The encoded event.
    pub body: Vec<u8>,
}

impl Embedded {
    /// Publishes a body to every queue that is bound with the routing key; a fanout exchange
    /// ignores the key. Returns the new deliveries, one for each queue that the body reached. On
    /// `Ok` the deliveries are on disk; a body that reached no queue is not kept.
    ///
    /// # Errors
    /// [`LocalError::NoExchange`], or [`LocalError::Store`], after which it is unknown whether the
    /// body was published.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        content_type: Option<&str>,
        headers: &Value,
        body: &[u8],
    ) -> Result<Vec<DeliveryId>, LocalError> {
        let mut tx = self.begin().await?;
        if tx.fetch(EXCHANGE, args![exchange]).await?.is_empty() {
            return Err(LocalError::NoExchange(exchange.to_owned()));
        }
        let id = new_id(&tx.fetch(BODY, args![content_type, headers.clone(), body]).await?)?;
        let rows = tx.fetch(ROUTE, args![id, exchange, routing_key]).await?;
        if rows.is_empty() {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        let deliveries = rows
            .iter()
            .map(|row| Ok(DeliveryId { queue: row.text("queue")?, seq: row.int("seq")? }));
        Ok(deliveries.collect::<Result<_, StoreError>>()?)
    }

    /// Puts the body of a dead letter into one queue, as a delivery that was never attempted. On
    /// `Ok` the delivery is on disk.
    ///
    /// # Errors
    /// [`LocalError::NoQueue`], or [`LocalError::Store`], after which it is unknown whether the
    /// delivery is in the queue.
    pub async fn redeliver(
        &self,
        queue: &str,
        content_type: Option<&str>,
        body: &[u8],
        previous: Uuid,
    ) -> Result<(), LocalError> {
        let mut tx = self.begin().await?;
        if tx.fetch(QUEUE, args![queue]).await?.is_empty() {
            return Err(LocalError::NoQueue(queue.to_owned()));
        }
        let id = new_id(&tx.fetch(BODY, args![content_type, json!({}), body]).await?)?;
        tx.execute(RETURN, args![queue, id, previous]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The due deliveries of a queue, the longest due first, at most `limit`. Includes deliveries
    /// that were returned by an earlier call and have not ended. `None` when the queue does not
    /// exist.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn due(
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
        // A queue with deliveries exists, so only an empty result needs the second query.
        if due.is_empty() && engine.read(QUEUE, args![queue]).await?.is_empty() {
            return Ok(None);
        }
        Ok(Some(due))
    }

    /// Time until a queue's next delivery is due, by the database's clock; zero when a delivery is
    /// due already. `None` when the queue is empty.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_due(&self, queue: &str) -> Result<Option<Duration>, StoreError> {
        let pause = self.number(NEXT_DUE, args![queue], "pause").await?;
        Ok(pause.map(Duration::from_micros))
    }

    /// Ends a delivery. The body is deleted with its last delivery. Succeeds when the delivery has
    /// ended before.
    ///
    /// # Errors
    /// When the database cannot be used: the delivery will be due again.
    pub async fn done(&self, seq: i64) -> Result<(), StoreError> {
        self.inner.engine.write(DONE, args![seq]).await?;
        Ok(())
    }

    /// Makes a failed delivery due again after a pause, with `attempt` attempts made before.
    /// Succeeds when the delivery has ended.
    ///
    /// # Errors
    /// When the database cannot be used: the delivery stays due.
    pub async fn postpone(
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

    /// Ends a delivery and keeps its event as a dead letter, both in one transaction. A delivery
    /// that has ended already, with its queue or by an earlier call, leaves no dead letter.
    ///
    /// # Errors
    /// [`StoreError::DeadLettersFull`] when the group has reached its quota; the delivery has not
    /// ended. When the database cannot be used, it is unknown whether the delivery has ended.
    pub async fn give_up(
        &self,
        seq: i64,
        letter: &DeadLetter,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if tx.execute(DONE, args![seq]).await? == 0 {
            return Ok(tx.rollback().await?);
        }
        let quota = *self.inner.dead_letter_quota.lock();
        let (insert, values) = insertion(letter, body, quota);
        if tx.execute(insert, &values).await? == 0 {
            // The entry is new with its delivery, so only the quota can refuse it.
            tx.rollback().await?;
            return Err(full(letter));
        }
        Ok(tx.commit().await?)
    }

    /// Whether a delivery has not ended and is still at that attempt.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_pending(&self, seq: i64, attempt: u32) -> Result<bool, StoreError> {
        Ok(!self.inner.engine.read(PENDING, args![seq, attempt]).await?.is_empty())
    }

    /// Age of a queue's oldest event, counted from its first failure or else from its publication.
    /// `None` when the queue is empty.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn oldest(&self, queue: &str) -> Result<Option<Duration>, StoreError> {
        let age = self.number(OLDEST, args![queue], "age").await?;
        Ok(age.map(Duration::from_micros))
    }

    /// Number of deliveries in a queue, postponed and unfinished deliveries included. `None` when
    /// the queue does not exist.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn depth(&self, queue: &str) -> Result<Option<u64>, StoreError> {
        self.number(DEPTH, args![queue], "depth").await
    }

    /// Number of deliveries in each queue, as [`Embedded::depth`] counts them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn depths(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = self.inner.engine.read(DEPTHS, &[]).await?;
        rows.iter().map(|row| Ok((row.text("name")?, row.count("depth")?))).collect()
    }
}

/// The id that the database gave a new body.
fn new_id(rows: &[Row]) -> Result<i64, StoreError> {
    let unnumbered = || StoreError::Corrupt { what: "a body was given no number".into() };
    rows.first().ok_or_else(unnumbered)?.int("id")
}

fn read(row: &Row) -> Result<LocalDelivery, StoreError> {
    Ok(LocalDelivery {
        seq: row.int("seq")?,
        attempt: row.small("attempt")?,
        published_at: row.opt_time("published_at")?,
        first_failed_at: row.opt_time("first_failed_at")?,
        previous: row.opt_uuid("previous")?,
        content_type: row.opt_text("content_type")?,
        headers: row.json("headers")?,
        body: row.bytes("body")?,
    })
}
