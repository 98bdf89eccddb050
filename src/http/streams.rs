//! The bound on the streams of server-sent events that a node serves.

use super::problem::{Problem, kinds};
use axum::http::{HeaderName, header};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest number of streams of a node. A stream costs a connection and some kilobytes.
const MOST: usize = 1_000;

/// Headers of an event stream. The second keeps nginx and the proxies that copied the header from
/// collecting events before they pass them on.
pub(super) const STREAM_HEADERS: [(HeaderName, &str); 2] =
    [(header::CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")];

/// Places for the streams of a node.
#[derive(Clone)]
pub struct Streams(Arc<Semaphore>);

/// Place of one stream, given back when it is dropped.
pub(super) struct StreamPlace(
    #[expect(dead_code, reason = "holding it is its use")] OwnedSemaphorePermit,
);

impl Default for Streams {
    fn default() -> Self {
        Self::with_places(MOST)
    }
}

impl Streams {
    /// Room for this many streams at a time.
    #[must_use]
    pub fn with_places(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Takes a place.
    pub(super) fn take(&self) -> Result<StreamPlace, Problem> {
        Arc::clone(&self.0).try_acquire_owned().map(StreamPlace).map_err(|_| {
            let detail = format!(
                "this node serves {MOST} streams already; close one, or connect to another node"
            );
            Problem::new(&kinds::TOO_MANY_STREAMS, detail).with("limit", MOST).retry_after(30)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_beyond_the_places_is_refused_until_another_ends() {
        let streams = Streams::with_places(1);
        let Ok(place) = streams.take() else { panic!("the first stream has a place") };
        let Err(refused) = streams.take() else { panic!("there is one place") };
        assert_eq!((refused.kind().status, refused.kind().slug), (503, "too-many-streams"));
        drop(place);
        assert!(streams.take().is_ok());
    }
}
