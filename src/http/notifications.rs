//! `/events/{bus}/notifications`: the events of some keys as server-sent events, for clients that
//! are no part of the cluster.

use super::{
    App,
    parameters::{Query, Segment, invalid_parameter},
    problem::{Problem, kinds},
};
use crate::{
    bus::{Failure, KeyListener, Registration, codec::encode_cloudevent, event::Event},
    domain::name::{BusName, RegistrationKey},
};
use async_trait::async_trait;
use axum::{
    extract::State,
    http::header,
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

/// A comment goes out this often, so that a client and whatever is between notice a dead stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long the answer waits until notifications arrive.
const ESTABLISHING: Duration = Duration::from_secs(5);

/// The most keys that one stream follows.
const MAX_KEYS: usize = 1000;

/// How many notifications wait for a client, and how many bytes, before it has missed some.
const WAITING: usize = 1024;
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// An event that concerns a key.
#[derive(Debug, Serialize, ToSchema)]
pub struct Notification<'a> {
    /// Those of the event's keys that are followed.
    #[schema(value_type = Vec<String>)]
    keys: &'a BTreeSet<RegistrationKey>,
    /// The event, as a `CloudEvent` in JSON.
    #[schema(value_type = serde_json::Value)]
    event: &'a RawValue,
}

/// Follow keys
///
/// Server-sent events: `notification` for each event that is dispatched with one of the keys
/// anywhere in the cluster, and `resynchronise`, whose data are `{}`, when something may have been
/// missed: the connection to the broker was lost, or this client is too slow. At most once: nothing
/// is sent again and no stream resumes, so a client that connects, or is told to resynchronise,
/// reads anew whatever it derives from notifications.
#[utoipa::path(
    get, path = "/events/{bus}/notifications", tag = "events", operation_id = "followKeys",
    params(
        ("bus" = String, Path, description = "The bus.", example = "mailboxEvent"),
        ("key" = Vec<String>, Query, description = "A registration key to follow; 1 to 1000 of them, each of 1 to 255 bytes.", example = json!(["MailboxIdRegistrationKey:18"])),
    ),
    responses((status = 200, description = "The stream, whose data are `Notification`.",
        body = Notification, content_type = "text/event-stream")),
    extensions(("x-problems" = json!(["invalid-name", "not-found"]))),
)]
pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    Segment(name): Segment<BusName>,
    query: Query,
) -> Result<Response, Problem> {
    let keys = keys(&query)?;
    let buses = app.roster.buses();
    let Some(bus) = buses.get(&name) else {
        let known: Vec<&str> = buses.keys().map(BusName::as_str).collect();
        let detail = format!("there is no bus {name}; the cluster has {}", known.join(", "));
        return Err(Problem::new(&kinds::NOT_FOUND, detail).with("known", known));
    };
    let (sender, waiting) = mpsc::channel(WAITING);
    let client = Arc::new(Client { sender, bytes: AtomicUsize::new(0), missed: Notify::new() });
    let listener = Arc::clone(&client);
    let registration = app.bus.register(bus, keys, listener);
    let established = timeout(ESTABLISHING, registration.established()).await.is_ok();
    let follower = KeyFollower { app, client, waiting, registration, established };
    let stream = Sse::new(follower.stream()).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok(([(header::CACHE_CONTROL, "no-store")], stream).into_response())
}

fn keys(query: &Query) -> Result<BTreeSet<RegistrationKey>, Problem> {
    let texts = query.values("key");
    if texts.is_empty() {
        let detail = "query parameter key is missing; give the keys to follow, such as key=MailboxIdRegistrationKey:18";
        return Err(invalid_parameter("key", detail.into()));
    }
    let parse = |text: &String| RegistrationKey::parse(text.as_str());
    let keys: BTreeSet<_> = (texts.iter().map(parse).collect::<Result<_, _>>())
        .map_err(|error| invalid_parameter("key", error.to_string()))?;
    if keys.len() > MAX_KEYS {
        let detail =
            format!("{} keys are given; one stream follows at most {MAX_KEYS}", keys.len());
        return Err(invalid_parameter("key", detail));
    }
    Ok(keys)
}

/// What the bus calls: it puts aside what the client has yet to read.
struct Client {
    sender: mpsc::Sender<String>,
    /// How many bytes wait.
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

/// One client's stream.
struct KeyFollower {
    app: Arc<App>,
    client: Arc<Client>,
    waiting: mpsc::Receiver<String>,
    registration: Registration,
    established: bool,
}

impl KeyFollower {
    fn stream(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// The next event; none when the node stops.
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
        // The client reads everything anew: what waits for it says nothing more.
        while let Ok(frame) = self.waiting.try_recv() {
            self.client.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        }
        Some(sse::Event::default().event("resynchronise").data("{}"))
    }
}

#[cfg(test)]
mod tests;
