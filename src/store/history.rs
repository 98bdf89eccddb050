//! The roster's history, by group, actor and time.

use super::{
    Store,
    engine::{args, statements},
    error::StoreError,
    log::read_all,
};
use crate::{
    clock::to_micros,
    domain::{
        event::{RecordedEvent, Version},
        name::GroupName,
    },
};
use time::OffsetDateTime;

statements! {
    HISTORY = "SELECT version, event_id, event_type, schema_version, payload, actor, node_id, node_host, reason, command_id, request_id, recorded_at \
               FROM roster_event WHERE version > $1 AND (CAST($2 AS TEXT) IS NULL OR group_name = $2) \
        AND (CAST($3 AS TEXT) IS NULL OR actor = $3) AND (CAST($4 AS BIGINT) IS NULL OR recorded_at >= $4) \
        AND (CAST($5 AS BIGINT) IS NULL OR recorded_at < $5) ORDER BY version LIMIT $6";
}

/// Filter for events of the history. An absent field does not limit the events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryFilter {
    /// Group that the event is about.
    pub group: Option<GroupName>,
    /// Actor who asked for the change.
    pub actor: Option<String>,
    /// Earliest time of recording.
    pub since: Option<OffsetDateTime>,
    /// Latest time of recording; an event at this time is left out.
    pub until: Option<OffsetDateTime>,
}

impl Store {
    /// The events after a version that pass the filter, at most `limit`, in order.
    ///
    /// # Errors
    /// [`StoreError::UnknownEvent`] when an event cannot be read. Then no event of the page is
    /// returned.
    pub async fn history(
        &self,
        filter: &HistoryFilter,
        after: Version,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let HistoryFilter { group, actor, since, until } = filter;
        let (since, until) = (since.map(to_micros), until.map(to_micros));
        let group = group.as_ref().map(GroupName::as_str);
        let engine = &self.inner.engine;
        let args = args![after, group, actor.as_deref(), since, until, limit];
        read_all(&engine.read(HISTORY, args).await?)
    }
}
