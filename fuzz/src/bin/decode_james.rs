//! James's JSON, with and without batches. What it carries is kept as it came.
#![no_main]

use hearken_core::{
    codec,
    domain::bus::Codec,
    event::Data,
};
use hearken_fuzz::round_trip;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for event in codec::decode_all(None, data).unwrap_or_default() {
        let Data::Json(body) = &event.data else { panic!("James writes JSON: {event:?}") };
        let written = codec::encode(Codec::James, &event).expect("it came from James");
        assert_eq!(written.body, body.get().as_bytes());
        round_trip(&event);
    }
});
