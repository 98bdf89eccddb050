//! `/topology/changes`: changes of the topology as server-sent events, for programs that do not
//! speak AMQP.
//!
//! No state is kept for a client. The events come from the log of the roster: one for each version
//! that the broker has come to follow. So any node can resume the stream of any client, and no
//! event is lost when the node that served the stream dies.

use crate::{
    bus::TopologyChanged,
    domain::{
        event::{RecordedEvent, RosterEvent, Version},
        name::{BusName, GroupName},
    },
    http::{
        App,
        parameters::{Query, invalid_parameter},
        problem::Problem,
        streams::{STREAM_HEADERS, StreamPlace},
    },
    store::StoreError,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::{Stream, stream};
use serde_json::json;
use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};
use tokio::time::sleep;
use uuid::Uuid;

/// Pause between two comments on an idle stream. Comments let the client, and any proxy on the way,
/// notice a dead stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Pause after the database did not answer; also the pause before a client connects again.
const PAUSE: Duration = Duration::from_secs(2);
/// Largest number of events that one query reads.
const PAGE: usize = 200;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Follow the changes of the topology
///
/// The server-sent event `TopologyChanged` comes for each version of the roster that the broker has
/// come to follow. The id of an event, as `Last-Event-ID`, resumes the stream after it; without an
/// id, the stream starts with the next change. The event `resync` means that the id belongs to
/// another history, such as that of a restored database: the client must read the roster again, and
/// the stream continues with the next change.
#[utoipa::path(
    get, path = "/topology/changes", tag = "topology", operation_id = "followTopology",
    params(
        ("after" = Option<u64>, Query, description = "Start after this version of the roster. `Last-Event-ID` takes precedence."),
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that the client has seen.", nullable = false),
    ),
    responses((status = 200, description = "Stream of events whose data are `TopologyChanged`.",
        body = crate::http::schema::TopologyChangedSchema, content_type = "text/event-stream")),
    extensions(("x-problems" = json!(["store-unavailable", "too-many-streams"]))),
)]
pub(crate) async fn changes(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let place = app.streams.take()?;
    let log = app.store.log_id();
    let roster = app.roster.current().await?;
    let present = app.store.topology_status().await?.reconciled_version.min(roster.version());
    let asked = start(&headers, &query)?;
    // The position must lie in this history.
    let known = asked.filter(|asked| {
        asked.log.is_none_or(|asked| asked == log) && asked.version <= roster.version()
    });
    let mut follower = ChangeFollower {
        cursor: known.map_or(present, |position| position.version),
        app,
        log,
        waiting: VecDeque::new(),
        buses: None,
        _place: place,
    };
    let first = match (asked, known) {
        (Some(_), None) => follower.resync(),
        // Gives the client its position in the stream before the first change.
        _ => Event::default().id(follower.id(follower.cursor)).retry(PAUSE),
    };
    follower.waiting.push_back(first);
    Ok((STREAM_HEADERS, Sse::new(follower.stream())).into_response())
}

/// Position in the stream, as a client names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StreamPosition {
    /// Log that the version belongs to, if the client knows it.
    log: Option<Uuid>,
    /// The stream starts after this version.
    version: Version,
}

/// Position at which the client wants to start, if it names one.
fn start(headers: &HeaderMap, query: &Query) -> Result<Option<StreamPosition>, Problem> {
    let after = query.read::<Version>("after", "a version of the roster")?;
    let Some(id) = headers.get(&LAST_EVENT_ID) else {
        return Ok(after.map(|version| StreamPosition { log: None, version }));
    };
    let parts = id.to_str().ok().and_then(|id| id.split_once(':'));
    let position = parts.and_then(|(log, version)| {
        let log = Some(Uuid::parse_str(log).ok()?);
        Some(StreamPosition { log, version: version.parse().ok()? })
    });
    position.map(Some).ok_or_else(|| {
        let detail = "the header Last-Event-ID must be the id of an event of this stream";
        invalid_parameter("Last-Event-ID", detail.into())
    })
}

struct ChangeFollower {
    app: Arc<App>,
    log: Uuid,
    /// Version of the last event that was sent.
    cursor: Version,
    waiting: VecDeque<Event>,
    /// Bus of each listener at `cursor`. Read with the first removal of the stream.
    buses: Option<BTreeMap<GroupName, BusName>>,
    _place: StreamPlace,
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
                tracing::warn!(%error, "the changes of the topology cannot be read and are tried again in two seconds: {error}");
                sleep(PAUSE).await;
            }
        }
    }

    /// Reads the versions that the broker has come to follow.
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
            if let Some(change) = self.change(recorded).await? {
                let data = serde_json::to_string(&change).expect("a change is plain JSON");
                let id = self.id(recorded.version);
                self.waiting.push_back(Event::default().event("TopologyChanged").id(id).data(data));
            }
            self.cursor = recorded.version;
        }
        Ok(())
    }

    /// Change of the topology that an event led to. `None` for an event that adds and removes no
    /// queue.
    async fn change(
        &mut self,
        recorded: &RecordedEvent,
    ) -> Result<Option<TopologyChanged>, StoreError> {
        let Some(group) = recorded.event.group().cloned() else { return Ok(None) };
        let (bus, added, removed) = match &recorded.event {
            RosterEvent::ListenerAdded { listener, .. } => {
                if let Some(buses) = &mut self.buses {
                    buses.insert(group.clone(), listener.bus.clone());
                }
                (listener.bus.clone(), vec![group], vec![])
            }
            RosterEvent::ListenerChanged { .. }
            | RosterEvent::ListenerPaused { .. }
            | RosterEvent::ListenerResumed { .. }
            | RosterEvent::BusAdded { .. }
            | RosterEvent::BusChanged { .. }
            | RosterEvent::BusRemoved { .. }
            | RosterEvent::ClusterChanged { .. }
            | RosterEvent::QueueTakenOver { .. }
            | RosterEvent::QueueReleased { .. }
            | RosterEvent::LogAdopted { .. } => return Ok(None),
            RosterEvent::ListenerRemoved { .. } => {
                (self.bus_before(recorded, &group).await?, vec![], vec![group])
            }
        };
        Ok(Some(TopologyChanged { bus, version: recorded.version, added, removed }))
    }

    /// Bus of a removed listener. The history is folded once for each stream, and each later event
    /// adds what it changes, so the cost of a stream is linear in the history.
    async fn bus_before(
        &mut self,
        recorded: &RecordedEvent,
        group: &GroupName,
    ) -> Result<BusName, StoreError> {
        if self.buses.is_none() {
            let before = self.app.roster.at(recorded.version - 1).await?.unwrap_or_default();
            let listeners = before.listeners().iter();
            let buses = listeners
                .map(|(group, configured)| (group.clone(), configured.listener.bus.clone()));
            self.buses = Some(buses.collect());
        }
        let buses = self.buses.as_ref();
        let bus = buses.and_then(|buses| buses.get(group).cloned());
        // `decide` records no removal without an earlier addition.
        Ok(bus.unwrap_or_else(|| BusName::parse("unknown").expect("it is a name")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_stream_resumes_after_the_id_of_the_last_event() {
        let log = Uuid::from_u128(7);
        let with =
            |id: &str| HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_str(id).unwrap())]);
        let none = Query::default();
        assert_eq!(
            start(&with(&format!("{log}:12")), &none).unwrap(),
            Some(StreamPosition { log: Some(log), version: 12 })
        );
        assert_eq!(start(&HeaderMap::new(), &none).unwrap(), None);
        for wrong in ["", "12", "x:12", &format!("{log}:"), &format!("{log}:-1")] {
            assert_eq!(start(&with(wrong), &none).unwrap_err().kind().status, 400, "{wrong}");
        }
    }
}
