//! What the fuzzed programs share: the laws that every event has to keep.

use hearken_core::{codec, domain::bus::Codec, event::Event};

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
