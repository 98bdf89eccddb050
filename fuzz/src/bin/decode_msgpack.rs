//! CloudEvents in MessagePack.
#![no_main]

use hearken_fuzz::{bus::codec, round_trip};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(event) = codec::decode(Some(codec::CLOUDEVENTS_MSGPACK), data) {
        round_trip(&event);
    }
});
