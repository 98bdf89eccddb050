//! CloudEvents in `MessagePack`, written by hearken and by other programs.

use super::*;
use rmp::encode::{
    write_array_len, write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint,
    write_str,
};

/// A map of the required attributes, with room for further members.
fn begun(more: u32) -> Vec<u8> {
    let mut body = Vec::new();
    write_map_len(&mut body, 4 + more).unwrap();
    for (name, value) in [("specversion", "1.0"), ("id", "1"), ("source", "s"), ("type", "t")] {
        write_str(&mut body, name).unwrap();
        write_str(&mut body, value).unwrap();
    }
    body
}

/// An event with one more member, whose value the closure writes.
fn with(name: &str, value: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = begun(1);
    write_str(&mut body, name).unwrap();
    value(&mut body);
    body
}

fn read(body: &[u8]) -> Result<Event, DecodeError> {
    decode(Some(CLOUDEVENTS_MSGPACK), body)
}

fn refused(body: &[u8]) -> String {
    read(body).unwrap_err().to_string()
}

#[test]
fn json_data_is_a_binary_of_its_own_bytes() {
    let event = cloud(r#","user":"bob","noop":true,"data":{"b": 1.0,"a":1e2}"#).unwrap();
    let written = encode(Codec::MsgPack, &event).unwrap();
    assert_eq!(written.content_type, "application/cloudevents+msgpack");
    let own = br#"{"b": 1.0,"a":1e2}"#;
    assert!(written.body.windows(own.len()).any(|window| window == own));
    let kind = b"\xafdatacontenttype\xb0application/json\xa4data\xc4";
    assert!(written.body.windows(kind.len()).any(|window| window == kind), "{written:?}");
    assert_eq!(format!("{:?}", read(&written.body).unwrap()), format!("{event:?}"));
}

#[test]
fn attributes_are_read_as_in_json() {
    let mut body = begun(4);
    write_str(&mut body, "count").unwrap();
    write_sint(&mut body, -3).unwrap();
    write_str(&mut body, "flag").unwrap();
    write_bool(&mut body, true).unwrap();
    write_str(&mut body, "gone").unwrap();
    write_nil(&mut body).unwrap();
    write_str(&mut body, "time").unwrap();
    write_str(&mut body, "2018-12-14T09:41:51.541Z").unwrap();
    let event = read(&body).unwrap();
    let attributes: Vec<_> =
        event.attributes.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(attributes, [("count", "-3"), ("flag", "true")]);
    assert_eq!(event.time, Some(datetime!(2018-12-14 09:41:51.541 UTC)));
    assert!(matches!(event.data, Data::None));
}

#[test]
fn a_value_of_messagepack_is_the_json_that_it_stands_for() {
    let native = with("data", |body| {
        write_map_len(body, 2).unwrap();
        write_str(body, "a\"\u{1}").unwrap();
        write_array_len(body, 5).unwrap();
        write_sint(body, -1).unwrap();
        rmp::encode::write_uint(body, u64::MAX).unwrap();
        write_f64(body, 1.5).unwrap();
        write_nil(body).unwrap();
        write_bool(body, false).unwrap();
        write_str(body, "b").unwrap();
        write_map_len(body, 0).unwrap();
    });
    let expected = r#"{"a\"\u0001":[-1,18446744073709551615,1.5,null,false],"b":{}}"#;
    assert_eq!(json_data(&read(&native).unwrap()), expected);
    let text = with("data", |body| write_str(body, "é").unwrap());
    assert_eq!(json_data(&read(&text).unwrap()), "\"é\"");
    let mut plain = begun(2);
    for (name, value) in [("datacontenttype", "text/plain"), ("data", "é")] {
        write_str(&mut plain, name).unwrap();
        write_str(&mut plain, value).unwrap();
    }
    let Data::Bytes { content_type, bytes } = read(&plain).unwrap().data else { panic!() };
    assert_eq!((content_type.as_deref(), bytes), (Some("text/plain"), "é".as_bytes().to_vec()));
    let binary = with("data", |body| write_bin(body, b"{").unwrap());
    let Data::Bytes { content_type: None, bytes } = read(&binary).unwrap().data else { panic!() };
    assert_eq!(bytes, b"{");
}

#[test]
fn a_mistake_is_named_with_its_position() {
    let twice = {
        let mut body = begun(1);
        write_str(&mut body, "id").unwrap();
        write_str(&mut body, "2").unwrap();
        body
    };
    let mut number = begun(1);
    number.extend([7, 7]);
    let mut trailing = begun(0);
    trailing.extend([0xc0, 0xc0]);
    let not_json = {
        let mut body = begun(2);
        write_str(&mut body, "datacontenttype").unwrap();
        write_str(&mut body, "application/json").unwrap();
        write_str(&mut body, "data").unwrap();
        write_bin(&mut body, b"{").unwrap();
        body
    };
    let nested = with("data", |body| body.extend([vec![0x91; 65], vec![0xc0]].concat()));
    let same_keys = with("data", |body| body.extend(b"\x82\xa1k\x01\xa1k\x02"));
    for (body, expected) in [
        (vec![], "at byte 0 the body ends too early"),
        (vec![0xc0], "at byte 0 is nil; a CloudEvent is a map"),
        (b"{\"id\":1}".to_vec(), "a CloudEvent is a map"),
        (vec![0xdf, 0xff, 0xff, 0xff, 0xff], "the body ends too early"),
        (vec![0xde, 0xff], "a value begins and the body ends before the value does"),
        (twice, "attribute \"id\" occurs twice"),
        (number, "a key is an integer; it must be a string"),
        (trailing, "the event has ended, and 2 bytes follow"),
        (not_json, "not valid JSON"),
        (nested, "values are nested deeper than 64 levels"),
        (same_keys, "the key \"k\" occurs twice in one map"),
        (with("x", |body| body.push(0x80)), "attribute \"x\" is a map"),
        (
            with("x", |body| write_bin(body, b"a").unwrap()),
            "attribute \"x\" is a binary; it must be",
        ),
        (with("x", |body| body.push(0xc1)), "the byte 0xc1 is not allowed in MessagePack"),
        (
            with("time", |body| body.extend([0xd6, 0xff, 0, 0, 0, 0])),
            "there is an extension value; write times as texts",
        ),
        (with("x", |body| body.extend([0xa1, 0xff])), "a string that is not UTF-8"),
        (
            with("Upper", |body| write_str(body, "x").unwrap()),
            "has a name that CloudEvents does not allow",
        ),
        (
            with("data", |body| write_f64(body, f64::NAN).unwrap()),
            "there is NaN, which JSON cannot write",
        ),
        (with("data", |body| body.extend(b"\x91\xc4\x01a")), "a binary inside the data"),
        (
            with("data", |body| body.extend([0xdb, 0xff, 0xff, 0xff, 0xff])),
            "the body ends before the value does",
        ),
        (
            with("data", |body| body.extend([0xc6, 0xff, 0xff, 0xff, 0xff])),
            "the body ends before the value does",
        ),
        (
            with("data", |body| body.extend([0xdd, 0xff, 0xff, 0xff, 0xff])),
            "the body ends too early",
        ),
    ] {
        let problem = refused(&body);
        assert!(problem.contains(expected), "{problem} instead of {expected}");
    }
}

#[test]
fn data_has_a_bound_however_small_its_values_are() {
    let many = |length: u32, value: &[u8]| {
        with("data", |body| {
            write_array_len(body, length).unwrap();
            body.extend(value.repeat(length as usize));
        })
    };
    let problem = refused(&many(2_000_000, &[0xc0]));
    assert!(problem.contains("there are more than 1000000 values"), "{problem}");
    // A control character is one byte here and six in JSON.
    let text = [vec![0xda, 0xff, 0xff], vec![1; 0xffff]].concat();
    let problem = refused(&many(60, &text));
    assert!(problem.contains("the data has more than 16777216 bytes as JSON"), "{problem}");
}

proptest! {
    #[test]
    fn an_event_reads_back_as_it_was_written(event in any_event()) {
        let written = encode(Codec::MsgPack, &event).unwrap();
        let read = decode(Some(written.content_type), &written.body).unwrap();
        prop_assert_eq!(format!("{event:?}"), format!("{read:?}"));
    }

    #[test]
    fn any_bytes_and_any_change_of_an_event_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        event in any_event(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let _ = read(&bytes);
        for codec in [Codec::MsgPack, Codec::Json] {
            let mut written = encode(codec, &event).unwrap();
            for (at, byte) in &changes {
                let at = at.index(written.body.len());
                written.body[at] = *byte;
            }
            let _ = decode(Some(written.content_type), &written.body);
            let cut = cut.index(written.body.len());
            let _ = decode(Some(written.content_type), &written.body[..cut]);
        }
    }

    #[test]
    fn native_data_reads_as_the_same_json(value in any_json()) {
        let body = with("data", |body| native(body, &value));
        let event = read(&body).unwrap();
        // Both texts go through one reader: serde_json may read a fraction one digit off.
        let reread = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        prop_assert_eq!(reread(json_data(&event)), reread(&value.to_string()));
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..6)
                .prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
}

fn native(body: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => write_nil(body).unwrap(),
        Value::Bool(flag) => write_bool(body, *flag).unwrap(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => drop(rmp::encode::write_uint(body, number).unwrap()),
            (None, Some(number)) => drop(write_sint(body, number).unwrap()),
            _ => write_f64(body, number.as_f64().unwrap()).unwrap(),
        },
        Value::String(text) => write_str(body, text).unwrap(),
        Value::Array(items) => {
            write_array_len(body, u32::try_from(items.len()).unwrap()).unwrap();
            for item in items {
                native(body, item);
            }
        }
        Value::Object(members) => {
            write_map_len(body, u32::try_from(members.len()).unwrap()).unwrap();
            for (key, value) in members {
                write_str(body, key).unwrap();
                native(body, value);
            }
        }
    }
}
