//! `/events/{bus}/notifications`: the events of registration keys as server-sent events, for
//! clients outside the cluster.

use super::{
    App,
    events::find_bus,
    parameters::{Query, Segment, invalid_parameter},
    problem::Problem,
    streams::{STREAM_HEADERS, StreamPlace},
};
use crate::{
    bus::{Failure, KeyListener, Registration, codec::encode_cloudevent, event::Event},
    domain::name::{BusName, RegistrationKey},
};
use async_trait::async_trait;
use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures_util::{Stream, stream};
use serde::Serialize;
use serde_json::value::RawValue;
use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use utoipa::ToSchema;

/// Pause between two comments on an idle stream. Comments let the client, and any proxy on the way,
/// notice a dead stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Time that the answer waits for the bindings of the keys. After it, the stream begins and tells
/// the client to resynchronise once the bindings exist.
const ESTABLISHING: Duration = Duration::from_secs(5);

/// Largest number of keys that one stream follows.
const MAX_KEYS: usize = 1000;

/// Number of notifications that may wait for a client. A client that reads too slowly misses more.
const WAITING: usize = 1024;

/// Size of the notifications that may wait for a client, in bytes.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Event that was dispatched with a followed key.
#[derive(Debug, Serialize, ToSchema)]
pub struct Notification<'a> {
    /// Keys of the event that this stream follows.
    #[schema(value_type = Vec<String>)]
    keys: &'a BTreeSet<RegistrationKey>,
    /// Event as a `CloudEvent` in JSON.
    #[schema(value_type = serde_json::Value)]
    event: &'a RawValue,
}

/// Follow keys
///
/// The server-sent event `notification` comes for each event that any node of the cluster
/// dispatches with one of the keys. `resynchronise`, with the data `{}`, comes when notifications
/// may have been lost: the connection to the broker was lost, or this client reads too slowly.
/// Delivery is at most once: no notification is repeated and no stream resumes. A client that has
/// connected, or gets `resynchronise`, must read again the data that it derives from notifications.
#[utoipa::path(
    get, path = "/events/{bus}/notifications", tag = "events", operation_id = "followKeys",
    params(
        ("bus" = String, Path, description = "Name of the bus.", example = "mailboxEvent"),
        ("key" = Vec<String>, Query, description = "Registration key to follow, of 1 to 255 bytes; may be repeated, up to 1000 keys.", example = json!(["MailboxIdRegistrationKey:18"])),
    ),
    responses((status = 200, description = "Stream of events whose data are `Notification`.",
        body = Notification, content_type = "text/event-stream")),
    extensions(("x-problems" = json!(["invalid-name", "not-found", "too-many-streams", "store-unavailable"]))),
)]
pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    Segment(name): Segment<BusName>,
    query: Query,
) -> Result<Response, Problem> {
    let keys = keys(&query)?;
    let place = app.streams.take()?;
    let bus = find_bus(&app, &name).await?;
    let (sender, waiting) = mpsc::channel(WAITING);
    let client = Arc::new(Client { sender, bytes: AtomicUsize::new(0), missed: Notify::new() });
    let listener = Arc::clone(&client);
    let registration = app.bus.register(&bus, keys, listener);
    let established = timeout(ESTABLISHING, registration.established()).await.is_ok();
    let follower = KeyFollower { app, client, waiting, registration, established, _place: place };
    let stream = Sse::new(follower.stream()).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok((STREAM_HEADERS, stream).into_response())
}

fn keys(query: &Query) -> Result<BTreeSet<RegistrationKey>, Problem> {
    let texts = query.values("key");
    if texts.is_empty() {
        let detail = "query parameter key is missing; name the keys to follow, such as key=MailboxIdRegistrationKey:18";
        return Err(invalid_parameter("key", detail.into()));
    }
    let parse = |text: &String| RegistrationKey::parse(text.as_str());
    let keys: BTreeSet<_> = (texts.iter().map(parse).collect::<Result<_, _>>())
        .map_err(|error| invalid_parameter("key", error.to_string()))?;
    if keys.len() > MAX_KEYS {
        let detail =
            format!("the request has {} keys; one stream follows at most {MAX_KEYS}", keys.len());
        return Err(invalid_parameter("key", detail));
    }
    Ok(keys)
}

/// Key listener of one client: holds the notifications that the client has not read yet.
struct Client {
    sender: mpsc::Sender<String>,
    /// Size of the waiting notifications.
    bytes: AtomicUsize,
    missed: Notify,
}

#[async_trait]
impl KeyListener for Client {
    async fn on_notification(
        &self,
        event: &Event,
        keys: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure> {
        let unwritable = |error: serde_json::Error| Failure::permanent(error.to_string());
        let event: Box<RawValue> =
            serde_json::from_slice(&encode_cloudevent(event)).map_err(unwritable)?;
        let frame =
            serde_json::to_string(&Notification { keys, event: &event }).map_err(unwritable)?;
        let length = frame.len();
        let waiting = self.bytes.fetch_add(length, Ordering::Relaxed);
        let fits = waiting == 0 || waiting + length <= WAITING_BYTES;
        if !fits || self.sender.try_send(frame).is_err() {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            self.missed.notify_one();
        }
        Ok(())
    }

    fn resynchronise(&self) {
        self.missed.notify_one();
    }
}

/// Stream of one client.
struct KeyFollower {
    app: Arc<App>,
    client: Arc<Client>,
    waiting: mpsc::Receiver<String>,
    registration: Registration,
    established: bool,
    _place: StreamPlace,
}

impl KeyFollower {
    fn stream(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// Next event of the stream; `None` when the node stops.
    async fn next(&mut self) -> Option<sse::Event> {
        tokio::select! {
            biased;
            () = self.app.stop.cancelled() => return None,
            () = self.client.missed.notified() => {}
            () = self.registration.established(), if !self.established => self.established = true,
            frame = self.waiting.recv() => {
                let frame = frame?;
                self.client.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
                return Some(sse::Event::default().event("notification").data(frame));
            }
        }
        // The client reads its data again, so the waiting notifications tell it no more.
        while let Ok(frame) = self.waiting.try_recv() {
            self.client.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        }
        Some(sse::Event::default().event("resynchronise").data("{}"))
    }
}

#[cfg(test)]
mod tests;
