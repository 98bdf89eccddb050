//! Events that could not be published, in the order in which they were kept.

use super::{
    Store,
    engine::{args, statements},
    error::StoreError,
    row::Row,
};
use crate::domain::{
    dead_letter::DISPATCH_FAILURE,
    name::{BusName, RegistrationKey},
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Largest number of bytes in one window. A larger first event is a window of its own.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;

statements! {
    BUSES = "SELECT DISTINCT bus FROM dead_letter WHERE group_name = $1 ORDER BY bus";
    WINDOW = "SELECT seq, id, node, content_type, keys, body FROM (\
            SELECT seq, id, node, content_type, keys, body, SUM(LENGTH(body)) OVER (ORDER BY seq) - LENGTH(body) AS before FROM (\
                SELECT seq, id, node, content_type, keys, body FROM dead_letter WHERE group_name = $1 AND bus = $2 AND seq > $3 ORDER BY seq LIMIT $4\
            ) AS first\
        ) AS summed WHERE before = 0 OR before < $5 ORDER BY seq";
}

/// An event that could not be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchFailure {
    /// Place of the entry.
    pub seq: i64,
    /// Id of the entry.
    pub id: Uuid,
    /// Node that dispatched the event.
    pub node: String,
    /// Content type of the body.
    pub content_type: Option<String>,
    /// Keys whose followers are notified of the event.
    pub keys: BTreeSet<RegistrationKey>,
    /// Encoded event.
    pub body: Vec<u8>,
}

impl Store {
    /// The buses with events that could not be published.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dispatch_failure_buses(&self) -> Result<Vec<BusName>, StoreError> {
        let rows = self.inner.engine.read(BUSES, args![DISPATCH_FAILURE]).await?;
        rows.iter().map(|row| row.word("bus")).collect()
    }

    /// The next events of a bus that could not be published, after a place, the oldest entry first.
    /// Returns at most `limit` events, and fewer when the events are large.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dispatch_failures(
        &self,
        bus: &BusName,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DispatchFailure>, StoreError> {
        let values = args![DISPATCH_FAILURE, bus.as_str(), after, limit, WINDOW_BYTES];
        let rows = self.inner.engine.read(WINDOW, values).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<DispatchFailure, StoreError> {
    Ok(DispatchFailure {
        seq: row.int("seq")?,
        id: row.uuid("id")?,
        node: row.text("node")?,
        content_type: row.opt_text("content_type")?,
        keys: row.record("keys")?,
        body: row.bytes("body")?,
    })
}
