//! Refusal of events that the form of a bus cannot carry.

use super::*;

fn refused(event: &Event) -> String {
    encode(Codec::James, event).unwrap_err().to_string()
}

#[test]
fn a_bus_of_james_carries_what_james_reads_as_the_same_event() {
    let mut event = decode(None, ADDED.as_bytes()).unwrap();
    event.attributes.insert("subject".into(), "stays behind".into());
    let written = encode(Codec::James, &event).unwrap();
    assert_eq!((written.content_type, written.body), ("text/plain", ADDED.into()));

    let wrapped = |data: &str, id: &str, kind: &str| {
        let mut event = cloud(&format!(r#","data":{data}"#)).unwrap();
        (event.id, event.kind) = (id.to_owned(), kind.to_owned());
        event
    };
    let james = r#"{"Added": {"eventId":"e"}}"#;
    assert_eq!(encode(Codec::James, &wrapped(james, "e", "Added")).unwrap().body, james.as_bytes());
    for (event, expected) in [
        (wrapped(james, "f", "Added"), "the event's id is \"f\" while its data says \"e\""),
        (wrapped(james, "e", "Gone"), "the event's type is \"Gone\" while its data says \"Added\""),
        (wrapped("{}", "e", "Added"), "is not an event of James: the object has no type"),
        (wrapped("3", "e", "Added"), "is not an event of James: the body is a number"),
        (wrapped(&format!("[{james},{james}]"), "e", "Added"), "a batch of 2"),
        (cloud("").unwrap(), "the event has no data"),
        (cloud(r#","data_base64":"YQ==""#).unwrap(), "the event's data is not JSON"),
    ] {
        let problem = refused(&event);
        assert!(problem.contains(expected), "{problem}");
        assert!(problem.ends_with("the JSON of one event of James with the same id and type"));
    }
}

#[test]
fn an_event_that_no_node_would_read_is_too_large() {
    let mut event = cloud("").unwrap();
    let at_most = |event: &Event, codec| encode(codec, event).map(|written| written.body.len());
    let empty = {
        event.data = Data::Bytes { content_type: None, bytes: vec![0; 70_000] };
        at_most(&event, Codec::MsgPack).unwrap() - 70_000
    };
    event.data = Data::Bytes { content_type: None, bytes: vec![0; MAX_BYTES - empty] };
    assert_eq!(at_most(&event, Codec::MsgPack), Ok(MAX_BYTES));
    let base64 = at_most(&event, Codec::Json).unwrap_err();
    assert!(matches!(base64, EncodeError::TooLarge(bytes) if bytes > MAX_BYTES));
    event.data = Data::Bytes { content_type: None, bytes: vec![0; MAX_BYTES - empty + 1] };
    let refused = at_most(&event, Codec::MsgPack).unwrap_err();
    assert_eq!(refused, EncodeError::TooLarge(MAX_BYTES + 1));
    assert!(refused.to_string().contains("at most 16777216 are allowed"));
}

#[test]
fn bytes_that_call_themselves_json_are_json() {
    let data = r#","datacontenttype":"application/geo+json","data_base64":"eyJhIjoxfQ==""#;
    let event = cloud(data).unwrap();
    assert_eq!(json_data(&event), r#"{"a":1}"#);
    assert_eq!(event.attributes["datacontenttype"], "application/geo+json");
    let wrong = cloud(&data.replace("eyJhIjoxfQ==", "eyI=")).unwrap_err();
    assert!(matches!(wrong, DecodeError::Json(_)), "{wrong}");
    for wrong in
        [r#""datacontenttype":"application/xml","data":{}"#, r#""datacontenttype":"","data":1"#]
    {
        let problem = cloud(&format!(",{wrong}")).unwrap_err().to_string();
        assert!(problem.contains("such data must be a string, or binary"), "{problem}");
    }
    let plain = cloud(r#","datacontenttype":"application/json","data":1"#).unwrap();
    assert!(plain.attributes.is_empty(), "the plain media type of JSON is redundant");
}

#[test]
fn a_body_of_endlessly_many_values_is_refused() {
    let many = |value: &str| format!("[{}{value}]", format!("{value},").repeat(1_000_000));
    let objects = format!("[{}{{}}]", "{},".repeat(150_000));
    let problem_of_objects = problem(None, &objects);
    assert!(problem_of_objects.contains("there are more than 150000 objects"));
    for (content_type, value) in [(None, "[]"), (Some(CLOUDEVENTS_BATCH_JSON), "0")] {
        let problem = problem(content_type, &many(value));
        assert!(problem.contains("there are more than 1000000 values"), "{problem}");
    }
}
