//! CloudEvents in MessagePack.
#![no_main]

use hearken_core::codec;
use hearken_fuzz::round_trip;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(event) = codec::decode(Some(codec::CLOUDEVENTS_MSGPACK), data) {
        round_trip(&event);
    }
});
