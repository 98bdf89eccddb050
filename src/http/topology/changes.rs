//! `/topology/changes`: the topology's changes as server-sent events, for nodes and programs that
//! speak no AMQP.
//!
//! Nothing is kept for a client. The events are read from the roster's log: each version that the
//! broker follows is one. That is why any node can resume any client's stream, and why none is
//! lost when the node that served it dies.

use crate::{
    bus::TopologyChanged,
    domain::{
        event::{RecordedEvent, RosterEvent, Version},
        name::BusName,
    },
    http::{
        App,
        parameters::{Query, invalid_parameter},
        problem::Problem,
    },
    roster::RosterService,
    store::StoreError,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::{Stream, stream};
use serde_json::json;
use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};
use tokio::time::sleep;
use uuid::Uuid;

/// A comment goes out this often, so that a client and whatever is between notice a dead stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The pause after the database did not answer.
const PAUSE: Duration = Duration::from_secs(2);
/// How many events one query reads.
const PAGE: usize = 200;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Follow the topology
///
/// Server-sent events named `TopologyChanged`, one for each version of the roster that the broker
/// has come to follow. Their ids resume a stream (`Last-Event-ID`); without one it starts now. An
/// event `resync` says that the id belongs to another history (a restored database): read the
/// roster again; the stream goes on from now.
#[utoipa::path(
    get, path = "/topology/changes", tag = "topology", operation_id = "followTopology",
    params(
        ("after" = Option<u64>, Query, description = "Start after this version of the roster. `Last-Event-ID` comes first."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen.", nullable = false),
    ),
    responses((status = 200, description = "The stream, whose data are `TopologyChanged`.",
        body = crate::http::schema::TopologyChangedSchema, content_type = "text/event-stream")),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn changes(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let log = app.store.log_id();
    let roster = app.roster.current().await?;
    let present = app.store.topology_status().await?.reconciled_version.min(roster.version());
    let asked = start(&headers, &query)?;
    // What the client names must lie in this history.
    let known =
        asked.filter(|(of, version)| of.is_none_or(|of| of == log) && *version <= roster.version());
    let mut follower = ChangeFollower {
        cursor: known.map_or(present, |(_, version)| version),
        app,
        log,
        waiting: VecDeque::new(),
    };
    let first = match (asked, known) {
        (Some(_), None) => follower.resync(),
        // Gives the client its place in the stream before anything has happened.
        _ => Event::default().id(follower.id(follower.cursor)).retry(PAUSE),
    };
    follower.waiting.push_back(first);
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, Sse::new(follower.stream())).into_response())
}

/// Where the client wants to start: the history it knows, where it says, and the version.
fn start(headers: &HeaderMap, query: &Query) -> Result<Option<(Option<Uuid>, Version)>, Problem> {
    let after = query.read::<Version>("after", "a version of the roster")?;
    let Some(id) = headers.get(&LAST_EVENT_ID) else { return Ok(after.map(|after| (None, after))) };
    let parts = id.to_str().ok().and_then(|id| id.split_once(':'));
    let place = parts
        .and_then(|(log, version)| Some((Some(Uuid::parse_str(log).ok()?), version.parse().ok()?)));
    place.map(Some).ok_or_else(|| {
        let detail = "the header Last-Event-ID must be the id of an event of this stream";
        invalid_parameter("Last-Event-ID", detail.into())
    })
}

struct ChangeFollower {
    app: Arc<App>,
    log: Uuid,
    /// Versions up to this one were sent.
    cursor: Version,
    waiting: VecDeque<Event>,
}

impl ChangeFollower {
    fn id(&self, version: Version) -> String {
        format!("{}:{version}", self.log)
    }

    fn resync(&self) -> Event {
        let data = json!({ "version": self.cursor });
        Event::default()
            .event("resync")
            .id(self.id(self.cursor))
            .retry(PAUSE)
            .data(data.to_string())
    }

    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let stop = follower.app.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => None,
                event = follower.next() => Some((Ok(event), follower)),
            }
        })
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            if !self.app.reconciler.wait_for(self.cursor + 1, HEARTBEAT).await {
                return Event::default().comment("");
            }
            if let Err(error) = self.read().await {
                tracing::warn!(%error, "the topology's changes cannot be read: {error}");
                sleep(PAUSE).await;
            }
        }
    }

    /// Reads what the broker has come to follow.
    async fn read(&mut self) -> Result<(), StoreError> {
        let reached = self.app.store.topology_status().await?.reconciled_version;
        if self.app.store.log_id() != self.log || reached < self.cursor {
            self.log = self.app.store.log_id();
            self.cursor = reached;
            let event = self.resync();
            self.waiting.push_back(event);
            return Ok(());
        }
        let events = self.app.store.events_after(self.cursor, PAGE).await?;
        for recorded in events.iter().filter(|recorded| recorded.version <= reached) {
            let change = change(&self.app.roster, recorded).await?;
            let data = serde_json::to_string(&change).expect("a change is plain JSON");
            let id = self.id(recorded.version);
            self.waiting.push_back(Event::default().event("TopologyChanged").id(id).data(data));
            self.cursor = recorded.version;
        }
        Ok(())
    }
}

async fn change(
    roster: &RosterService,
    recorded: &RecordedEvent,
) -> Result<TopologyChanged, StoreError> {
    let group = recorded.event.group().clone();
    let (bus, added, removed) = match &recorded.event {
        RosterEvent::ListenerAdded { listener, .. } => (listener.bus.clone(), vec![group], vec![]),
        RosterEvent::ListenerRemoved { .. } => {
            (bus_before(roster, recorded).await?, vec![], vec![group])
        }
    };
    Ok(TopologyChanged { bus, version: recorded.version, added, removed })
}

/// The bus of a removed listener: the removal's tombstone has it, or, where the group was added
/// again since, the roster as it was.
async fn bus_before(
    roster: &RosterService,
    recorded: &RecordedEvent,
) -> Result<BusName, StoreError> {
    let group = recorded.event.group();
    let known = roster.known();
    let tombstone = known
        .tombstones()
        .iter()
        .find(|(id, tombstone)| id.group == *group && tombstone.version == recorded.version);
    if let Some((_, tombstone)) = tombstone {
        return Ok(tombstone.listener.bus.clone());
    }
    let before = roster.at(recorded.version - 1).await?.unwrap_or_default();
    let listener = before.listeners().get(group).map(|configured| configured.listener.bus.clone());
    // A removal without its addition is not in any log that decide wrote.
    Ok(listener.unwrap_or_else(|| BusName::parse("unknown").expect("it is a name")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_stream_resumes_at_the_id_of_its_last_event_or_where_it_is_told() {
        let log = Uuid::from_u128(7);
        let with =
            |id: &str| HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_str(id).unwrap())]);
        let none = Query::default();
        assert_eq!(start(&with(&format!("{log}:12")), &none).unwrap(), Some((Some(log), 12)));
        assert_eq!(start(&HeaderMap::new(), &none).unwrap(), None);
        for wrong in ["", "12", "x:12", &format!("{log}:"), &format!("{log}:-1")] {
            assert_eq!(start(&with(wrong), &none).unwrap_err().kind().status, 400, "{wrong}");
        }
    }
}
