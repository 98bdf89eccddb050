//! Any bytes under any content type. The first byte chooses; one that chooses nothing is a part
//! of the body, which then has none.
#![no_main]

use hearken_core::codec;
use hearken_fuzz::round_trip;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let forms = [
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/cloudevents+msgpack",
        "application/json",
        "text/plain; charset=utf-8",
        "application/xml",
    ];
    let chosen = data.first().and_then(|first| forms.get(usize::from(*first)));
    let body = if chosen.is_some() { &data[1..] } else { data };
    for event in codec::decode_all(chosen.copied(), body).unwrap_or_default() {
        round_trip(&event);
    }
});
