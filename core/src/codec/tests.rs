mod golden;
mod msgpack;
mod writing;

use super::*;
use crate::event::JAMES_SOURCE;
use proptest::prelude::*;
use time::{OffsetDateTime, macros::datetime};

const ADDED: &str = r#"{"Added": {"eventId":"6e0dd59d-660e-4d9b-b22f-0354479f47b4","sessionId":42,"user":"bob",
 "path":{"namespace":"\u0023private","user":"bob","name":"INBOX"},"mailboxId":"18",
 "added":{"123456":{"uid":123456,"modSeq":350000000000000000000000000}},"isDelivery":false}}"#;

fn json_data(event: &Event) -> &str {
    match &event.data {
        Data::Json(raw) => raw.get(),
        other => panic!("not JSON: {other:?}"),
    }
}

fn problem(content_type: Option<&str>, body: &str) -> String {
    decode(content_type, body.as_bytes()).unwrap_err().to_string()
}

fn cloud(members: &str) -> Result<Event, DecodeError> {
    let body = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{members}}}"#);
    decode(Some(CLOUDEVENTS_JSON), body.as_bytes())
}

#[test]
fn an_event_of_the_mailbox_bus_keeps_its_body_byte_for_byte() {
    for content_type in [None, Some("text/plain"), Some("Application/JSON; charset=utf-8")] {
        let event = decode(content_type, ADDED.as_bytes()).unwrap();
        assert_eq!(event.id, "6e0dd59d-660e-4d9b-b22f-0354479f47b4");
        assert_eq!((event.kind.as_str(), event.user.as_deref()), ("Added", Some("bob")));
        assert_eq!((event.source.as_str(), event.noop), (JAMES_SOURCE, false));
        assert_eq!(json_data(&event), ADDED);
    }
}

#[test]
fn the_type_of_an_event_of_the_jmap_bus_is_its_class() {
    let body = r#"{"eventId":"e","username":"bob","typeStates":{"Mailbox":"s"},"type":"org.apache.james.jmap.change.StateChangeEvent"}"#;
    let event = decode(None, body.as_bytes()).unwrap();
    assert_eq!(event.kind, "org.apache.james.jmap.change.StateChangeEvent");
    assert_eq!((event.user.as_deref(), event.noop), (Some("bob"), false));
    assert_eq!(json_data(&event), body);
}

#[test]
fn a_batch_of_james_is_several_events_each_with_its_own_bytes() {
    let body = r#"[ {"A":{"eventId":"1", "x": 1.0}} , {"B":{"eventId":"2"}}]"#;
    let events = decode_all(None, body.as_bytes()).unwrap();
    assert_eq!(events.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(json_data(&events[0]), r#"{"A":{"eventId":"1", "x": 1.0}}"#);
    assert!(problem(None, body).contains("a batch of 2"));
    assert!(decode_all(None, b"[]").unwrap().is_empty());
    assert!(problem(None, "[]").contains("empty batch"));
    let wrong = decode_all(None, br#"[{"A":{"eventId":"1"}},{"B":{}}]"#).unwrap_err();
    assert!(
        wrong.to_string().starts_with("event 1 of the batch: attribute \"eventId\" is missing")
    );
}

#[test]
fn an_event_of_an_unknown_type_is_read() {
    let event = decode(None, br#"{"FromTheFuture":{"eventId":"e","added":{}}}"#).unwrap();
    assert_eq!((event.kind.as_str(), event.noop), ("FromTheFuture", false));
}

#[test]
fn the_time_of_a_quota_event_is_the_events() {
    let body =
        br#"{"QuotaUsageUpdatedEvent":{"eventId":"e","user":"u","time":"2018-11-13T12:00:55Z"}}"#;
    assert_eq!(decode(None, body).unwrap().time, Some(datetime!(2018-11-13 12:00:55 UTC)));
}

#[test]
fn an_event_that_james_calls_noop_is_noop() {
    let flags = |old: &str, new: &str| {
        format!(
            r#"{{"FlagsUpdated":{{"eventId":"e","updatedFlags":[{{"oldFlags":{old},"newFlags":{new}}}]}}}}"#
        )
    };
    let seen = r#"{"systemFlags":["Seen","Draft"],"userFlags":["a"]}"#;
    let same = r#"{"systemFlags":["Draft","Seen"],"userFlags":["a"]}"#;
    let other = r#"{"systemFlags":["Draft"],"userFlags":["a"]}"#;
    let state = |members: &str| {
        format!(
            r#"{{"eventId":"e","type":"org.apache.james.jmap.change.StateChangeEvent"{members}}}"#
        )
    };
    for (noop, body) in [
        (true, r#"{"Added":{"eventId":"e","added":{}}}"#.to_owned()),
        (true, r#"{"Expunged":{"eventId":"e","expunged":{}}}"#.to_owned()),
        (false, r#"{"Expunged":{"eventId":"e","expunged":{"1":{}}}}"#.to_owned()),
        (false, r#"{"Added":{"eventId":"e"}}"#.to_owned()),
        (true, r#"{"FlagsUpdated":{"eventId":"e","updatedFlags":[]}}"#.to_owned()),
        (true, flags(seen, same)),
        (false, flags(seen, other)),
        (false, flags("null", "null")),
        (true, r#"{"MailboxRenamed":{"eventId":"e","path":{"name":"a"},"newPath":{"name":"a"}}}"#.to_owned()),
        (false, r#"{"MailboxRenamed":{"eventId":"e","path":{"name":"a"},"newPath":{"name":"b"}}}"#.to_owned()),
        (true, r#"{"MailboxACLUpdated":{"eventId":"e","aclDiff":{"oldACL":{"a":"r"},"newACL":{"a":"r"}}}}"#.to_owned()),
        (false, r#"{"MailboxACLUpdated":{"eventId":"e","aclDiff":{"oldACL":{},"newACL":{"a":"r"}}}}"#.to_owned()),
        (true, state(r#","typeStates":{}"#)),
        (true, state("")),
        (false, state(r#","emailState":"s""#)),
        (false, state(r#","typeStates":{"Email":"s"}"#)),
    ] {
        assert_eq!(decode(None, body.as_bytes()).unwrap().noop, noop, "{body}");
    }
}

#[test]
fn a_body_that_is_not_an_event_is_refused_with_what_would_be_right() {
    for (body, expected) in [
        ("3", "the body is a number; an event of James is"),
        ("{}", "the object has no type"),
        (r#"{"a":1,"b":2}"#, "a CloudEvent has content type application/cloudevents+json"),
        (r#"{"Added":{}}"#, "\"eventId\" is missing"),
        (r#"{"Added":{"eventId":7}}"#, "\"eventId\" is a number; it must be a string"),
        (r#"{"Added":{"eventId":""}}"#, "\"eventId\" is empty"),
        (r#"{"Added":{"eventId":"a\u0000"}}"#, "\"eventId\" has a control character"),
        (r#"{"type":3,"eventId":"a"}"#, "\"type\" is a number; it must name a class"),
        (r#"{"Added":{"eventId":"a","eventId":"b"}}"#, "the key \"eventId\" occurs twice"),
        ("{", "not valid JSON"),
    ] {
        assert!(problem(None, body).contains(expected), "{body}: {}", problem(None, body));
    }
    let long = format!(r#"{{"A":{{"eventId":"{}"}}}}"#, "x".repeat(MAX_ATTRIBUTE + 1));
    assert!(problem(None, &long).contains("it has at most 1024"));
    let xml = problem(Some("application/xml"), "<a/>");
    assert!(xml.contains("no form of events has content type \"application/xml\""), "{xml}");
    assert_eq!(decode(None, b"\xff").unwrap_err(), JsonError::Encoding(0).into());
    let huge = vec![b' '; MAX_BYTES + 1];
    assert_eq!(decode(None, &huge).unwrap_err(), DecodeError::TooLarge(MAX_BYTES + 1));
}

#[test]
fn a_cloud_event_keeps_its_data_byte_for_byte_and_its_attributes() {
    let event = cloud(
        r#","user":"bob","time":"2018-12-14T09:41:51.541Z","subject":"x","count":3,"flag":true,"gone":null,"data":{"b": 1.0,"a":1e2}"#,
    )
    .unwrap();
    assert_eq!((event.id.as_str(), event.source.as_str(), event.kind.as_str()), ("1", "s", "t"));
    assert_eq!(event.user.as_deref(), Some("bob"));
    assert_eq!(event.time, Some(datetime!(2018-12-14 09:41:51.541 UTC)));
    assert_eq!(json_data(&event), r#"{"b": 1.0,"a":1e2}"#);
    let expected = [("count", "3"), ("flag", "true"), ("subject", "x")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(event.attributes, BTreeMap::from(expected));
    let written = String::from_utf8(encode_cloudevent(&event)).unwrap();
    assert!(written.contains(r#""data":{"b": 1.0,"a":1e2}"#), "{written}");
}

#[test]
fn data_that_is_not_json_comes_as_bytes_with_its_media_type() {
    let text = cloud(r#","datacontenttype":"text/plain","data":"a\nb""#).unwrap();
    let encoded = cloud(r#","datacontenttype":"text/plain","data_base64":"YQpi""#).unwrap();
    for event in [text, encoded] {
        let Data::Bytes { content_type, bytes } = &event.data else { panic!("{event:?}") };
        assert_eq!((content_type.as_deref(), bytes.as_slice()), (Some("text/plain"), &b"a\nb"[..]));
        assert!(event.attributes.is_empty());
    }
}

#[test]
fn a_wrong_cloud_event_is_named_attribute_by_attribute() {
    for (members, expected) in [
        (r#","Subject":"x""#, "\"Subject\" has a name that CloudEvents does not allow"),
        (r#","x":{}"#, "\"x\" is an object; it must be a string, a boolean or an integer"),
        (r#","x":1.5"#, "\"x\" is a number"),
        (r#","time":"yesterday""#, "\"time\" is not a time of RFC 3339"),
        (r#","data":1,"data_base64":"YQ==""#, "it may have one"),
        (r#","data_base64":"?""#, "\"data_base64\" is not base64"),
        (r#","noop":"maybe""#, "\"noop\" must be true or false"),
        (r#","subject":"a\u0007""#, "\"subject\" has a control character"),
    ] {
        let problem = cloud(members).unwrap_err().to_string();
        assert!(problem.contains(expected), "{members}: {problem}");
    }
    let whole = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    for name in ["specversion", "id", "source", "type"] {
        let other = whole.replace(&format!("\"{name}\""), "\"other\"");
        let expected = format!("attribute \"{name}\" is missing");
        assert!(problem(Some(CLOUDEVENTS_JSON), &other).starts_with(&expected));
    }
    let old = whole.replace("1.0", "0.3");
    assert!(problem(Some(CLOUDEVENTS_JSON), &old).contains("is \"0.3\"; it must be \"1.0\""));
    assert!(problem(Some(CLOUDEVENTS_JSON), "[]").contains("a JSON object, not an array"));
    assert!(problem(Some(CLOUDEVENTS_BATCH_JSON), whole).contains("a JSON array"));
    let batch = format!("[{whole},{whole}]");
    assert_eq!(decode_all(Some(CLOUDEVENTS_BATCH_JSON), batch.as_bytes()).unwrap().len(), 2);
}

#[test]
fn binary_mode_reads_headers_and_keeps_the_body() {
    let headers = [
        ("Host", "h"),
        ("CE-SpecVersion", "1.0"),
        ("ce-id", "caf%C3%A9"),
        ("ce-source", "\"s\""),
        ("ce-type", "t"),
        ("ce-subject", "x"),
    ];
    let event =
        from_binary(headers.into_iter(), Some("application/json"), br#" {"a": 1.0} "#).unwrap();
    assert_eq!((event.id.as_str(), event.source.as_str()), ("café", "s"));
    assert_eq!(json_data(&event), r#"{"a": 1.0}"#);
    assert_eq!(event.attributes["subject"], "x");
    let bytes = from_binary(headers.into_iter(), Some("image/png"), b"\x89PNG").unwrap();
    assert!(
        matches!(bytes.data, Data::Bytes { content_type: Some(kind), .. } if kind == "image/png")
    );
    let twice = headers.into_iter().chain([("ce-id", "2")]);
    assert!(from_binary(twice, None, b"").unwrap_err().to_string().contains("occurs twice"));
    let broken = from_binary(headers.into_iter(), Some("application/json"), b"{").unwrap_err();
    assert!(matches!(broken, DecodeError::Json(_)));
    let cut = headers.into_iter().chain([("ce-x", "%4")]);
    assert!(from_binary(cut, None, b"").unwrap_err().to_string().contains("two hexadecimal"));
}

#[test]
fn an_attribute_that_a_cloud_event_cannot_have_is_left_out_when_it_is_written() {
    let mut event = cloud("").unwrap();
    for name in ["id", "data", "data_base64", "Upper", "datacontenttype"] {
        event.attributes.insert(name.to_owned(), "x/json".to_owned());
    }
    let read = decode(Some(CLOUDEVENTS_JSON), &encode_cloudevent(&event)).unwrap();
    assert_eq!(read.id, "1");
    assert_eq!(read.attributes.keys().collect::<Vec<_>>(), ["datacontenttype"]);
}

fn any_data() -> impl Strategy<Value = Data> {
    let json = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        prop::collection::btree_map(".{0,5}", ".{0,5}", 0..4)
            .prop_map(|map| serde_json::json!(map)),
    ];
    prop_oneof![
        Just(Data::None),
        json.prop_map(|value| Data::Json(serde_json::value::to_raw_value(&value).unwrap())),
        (prop::option::of("[a-z]{1,5}/[a-z+]{1,9}"), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(content_type, bytes)| Data::Bytes { content_type, bytes }),
    ]
}

prop_compose! {
    fn any_event()(
        id in "[^\\p{Cc}]{1,40}",
        kind in "[^\\p{Cc}]{1,40}",
        source in "[^\\p{Cc}]{1,40}",
        user in prop::option::of("[^\\p{Cc}]{1,20}"),
        time in prop::option::of((-62_000_000_000i64..250_000_000_000, 0i64..1_000_000_000)),
        noop in any::<bool>(),
        data in any_data(),
        attributes in prop::collection::btree_map("x[a-z0-9]{1,9}", "[^\\p{Cc}]{0,20}", 0..4),
    ) -> Event {
        let time = time.map(|(seconds, nanos)| {
            OffsetDateTime::from_unix_timestamp(seconds).unwrap() + time::Duration::nanoseconds(nanos)
        });
        Event { id, kind, source, user, time, noop, data, attributes }
    }
}

proptest! {
    #[test]
    fn a_cloud_event_reads_back_as_it_was_written(event in any_event()) {
        let read = decode(Some(CLOUDEVENTS_JSON), &encode_cloudevent(&event)).unwrap();
        prop_assert_eq!(format!("{event:?}"), format!("{read:?}"));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for content_type in [None, Some(CLOUDEVENTS_JSON), Some(CLOUDEVENTS_BATCH_JSON)] {
            let _ = decode_all(content_type, &bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let headers = [("ce-id", text.as_ref()), (text.as_ref(), "1")];
        let _ = from_binary(headers.into_iter(), Some(&text), &bytes);
    }

    #[test]
    fn any_json_is_read_or_refused(text in r#"[\[{}"a:,1\] ]{0,40}"#) {
        let wrapped = format!(r#"{{"Added":{text},"type":"x","eventId":"e"}}"#);
        for body in [text.as_str(), &wrapped] {
            for content_type in [None, Some(CLOUDEVENTS_JSON), Some(CLOUDEVENTS_BATCH_JSON)] {
                let _ = decode_all(content_type, body.as_bytes());
            }
        }
    }
}
