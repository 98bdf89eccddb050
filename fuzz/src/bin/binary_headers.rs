//! CloudEvents over HTTP in binary mode: a line for each header, an empty line, the body.
#![no_main]

use hearken_core::codec;
use hearken_fuzz::round_trip;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = data.split_at(end.unwrap_or(data.len()));
    let head = String::from_utf8_lossy(head);
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    let content_type = headers.clone().find(|(name, _)| *name == "content-type");
    let content_type = content_type.map(|(_, value)| value);
    let body = body.get(2..).unwrap_or_default();
    if let Ok(event) = codec::from_binary(headers, content_type, body) {
        round_trip(&event);
    }
});
