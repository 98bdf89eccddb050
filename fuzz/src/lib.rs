//! The readers of hearken, built from its own sources without the rest of it: `bus/`, `domain/` and
//! `json.rs` are links to them. Fuzzing needs its code with coverage counters, and building the
//! drivers of databases so would take longer than fuzzing does.

pub mod bus;
pub mod domain;
pub mod json;

use bus::{codec, event::Event};
use domain::bus::Codec;

/// What is read can be written, and what was written reads back the same.
///
/// # Panics
/// When it does not: that is a defect.
pub fn round_trip(event: &Event) {
    for codec in [Codec::Json, Codec::MsgPack] {
        // Bytes grow when they are written as text.
        let Ok(written) = codec::encode(codec, event) else { continue };
        let read = codec::decode(Some(written.content_type), &written.body);
        let read = read.unwrap_or_else(|error| panic!("{codec:?}: {error}: {event:?}"));
        assert_eq!(format!("{event:?}"), format!("{read:?}"), "{codec:?}");
    }
    if let Ok(written) = codec::encode(Codec::James, event) {
        let read = codec::decode(Some(written.content_type), &written.body).expect("James's form");
        assert_eq!((&read.id, &read.kind), (&event.id, &event.kind));
    }
}
