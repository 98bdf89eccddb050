//! Events that James wrote, in `golden/james/*.json`. The expected reading of each is a line of
//! `golden/james.txt`: id, type, user, and whether the event is noop.

use super::*;
use std::{collections::BTreeMap, fs, path::PathBuf};

const READ: &str = include_str!("../golden/james.txt");

fn bodies() -> BTreeMap<String, Vec<u8>> {
    let directory: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "src/codec/golden/james"].iter().collect();
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect()
}

fn line(event: &Event) -> String {
    let user = event.user.as_deref().unwrap_or("-");
    let noop = if event.noop { "noop" } else { "delivered" };
    format!("  {} {} {user} {noop}\n", event.id, event.kind)
}

#[test]
fn every_form_of_james_is_read_as_the_table_says() {
    let mut read = String::new();
    for (name, body) in bodies() {
        let events =
            decode_all(Some("text/plain"), &body).unwrap_or_else(|e| panic!("{name}: {e}"));
        read.push_str(&name);
        read.push_str(":\n");
        read.extend(events.iter().map(line));
    }
    assert_eq!(read, READ);
}

#[test]
fn every_event_of_james_keeps_its_bytes_and_is_written_in_every_form() {
    for (name, body) in bodies() {
        let whole = String::from_utf8(body.clone()).unwrap();
        for event in decode_all(None, &body).unwrap() {
            let own = json_data(&event).to_owned();
            assert!(whole.contains(&own), "{name}: {own}");
            let written = encode(Codec::James, &event).unwrap();
            assert_eq!((written.content_type, written.body), ("text/plain", own.clone().into()));
            for codec in [Codec::Json, Codec::MsgPack] {
                let written = encode(codec, &event).unwrap();
                let read = decode(Some(written.content_type), &written.body).unwrap();
                assert_eq!(format!("{read:?}"), format!("{event:?}"), "{name}");
            }
        }
    }
}

/// A field that is missing never makes an event unreadable, except for its identity, and never
/// noop, except for the states of a `StateChangeEvent`.
#[test]
fn a_field_that_only_james_needs_may_be_missing() {
    for (name, body) in bodies() {
        let Value::Object(outer) = json::strict(&body).unwrap() else { continue };
        let (kind, fields) = match outer.iter().next() {
            Some((kind, Value::Object(fields))) if outer.len() == 1 => (Some(kind), fields),
            _ => (None, &outer),
        };
        for gone in fields.keys().filter(|gone| *gone != "type") {
            let mut fewer = fields.clone();
            fewer.remove(gone);
            let fewer = kind.map_or_else(
                || Value::from(fewer.clone()),
                |kind| serde_json::json!({ kind: fewer.clone() }),
            );
            let read = decode(None, fewer.to_string().as_bytes());
            if gone == "eventId" {
                let error = read.unwrap_err().to_string();
                assert!(error.contains("\"eventId\" is missing"), "{name}: {error}");
                continue;
            }
            let event = read.unwrap_or_else(|error| panic!("{name} without {gone}: {error}"));
            let whole = decode(None, &body).unwrap();
            assert_eq!((&event.id, &event.kind), (&whole.id, &whole.kind), "{name} {gone}");
            let states = name.starts_with("StateChangeEvent") && gone.contains("State");
            assert!(whole.noop || !event.noop || states, "{name} without {gone} is noop");
        }
    }
}
