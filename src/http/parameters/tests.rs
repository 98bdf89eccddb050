use super::*;

fn known() -> QueryParameters {
    let [once, repeated] = [Occurrence::Once, Occurrence::Repeated];
    BTreeMap::from([("check".into(), repeated), ("limit".into(), once), ("after".into(), once)])
}

fn refused(query: &str) -> String {
    Query::parse(query, &known()).unwrap_err().detail().to_owned()
}

#[test]
fn a_query_is_decoded_and_some_parameters_may_be_repeated() {
    let query = Query::parse("check=RabbitMQ+backend&check=%C3%A9&limit=5&", &known()).unwrap();
    assert_eq!(query.values("check"), ["RabbitMQ backend", "é"]);
    assert_eq!(query.page().unwrap(), Page { after: 0, limit: 5 });
}

#[test]
fn an_unknown_parameter_is_named_with_the_known_ones() {
    assert_eq!(
        refused("limitt=5"),
        "there is no query parameter \"limitt\"; this call has after, check, limit"
    );
    let none = Query::parse("x", &BTreeMap::new()).unwrap_err();
    assert_eq!(none.detail(), "there is no query parameter \"x\"; this call has none");
}

#[test]
fn a_repeated_or_wrongly_encoded_parameter_is_refused() {
    assert_eq!(refused("limit=1&limit=2"), "query parameter limit appears twice");
    for broken in ["check=%", "check=%4", "check=%zz", "check=%ff", "%c3=1", "check=%+1"] {
        assert!(refused(broken).ends_with("is not percent-encoded UTF-8"), "{broken}");
    }
}

#[test]
fn a_page_outside_its_range_is_refused() {
    for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "after=-1", "after="] {
        let query = Query::parse(query, &known()).unwrap();
        assert!(query.page().is_err(), "{query:?}");
    }
}

#[test]
fn a_flag_is_set_by_its_presence_or_by_true() {
    let query = |text| Query::parse(text, &known()).unwrap();
    for (text, set) in [("limit", true), ("limit=true", true), ("limit=false", false), ("", false)]
    {
        assert_eq!(query(text).flag("limit").unwrap(), set, "{text}");
    }
    assert!(query("limit=yes").flag("limit").is_err());
}

#[test]
fn a_page_is_cut_and_names_the_next_page() {
    let page = Page { after: 0, limit: 2 };
    let mut entries = vec![1, 2, 3];
    assert_eq!(page.cut(&mut entries, |entry| *entry), Some(2));
    assert_eq!(entries, [1, 2]);
    assert_eq!(page.cut(&mut entries, |entry| *entry), None);
}
