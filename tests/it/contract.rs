//! The contract file and the running interface say the same.
//!
//! Beside these, every answer in `http` is held against its schema.

use crate::support::{
    contract::{DOCUMENT, operations, resolved},
    rest,
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn the_contract_file_is_what_the_code_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.yaml");
    let written = fs::read_to_string(file).expect("openapi.yaml is there");
    let same = written == hearken::http::openapi_yaml();
    assert!(
        same,
        "openapi.yaml is not what the code says: run `cargo xtask openapi` and review it"
    );
}

#[test]
fn every_operation_is_described_whole() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let id = operation["operationId"].as_str().expect("an operation has an id");
        assert!(ids.insert(id), "{id} is there twice");
        assert!(operation["summary"].is_string(), "{id} has no summary");
        assert!(operation["tags"][0].is_string(), "{id} has no tag");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(response);
            let described = response["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described, "{method} {path} {status} has no description");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{id}: {}", parameter["name"]);
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &'static Value) {
        if value["$ref"].is_string() {
            resolved(value);
        }
        match value {
            Value::Object(members) => members.values().for_each(walk),
            Value::Array(items) => items.iter().for_each(walk),
            _ => {}
        }
    }
    walk(&DOCUMENT);
}

#[test]
fn every_kind_of_problem_is_in_the_contract() {
    let types =
        DOCUMENT["components"]["schemas"]["Problem"]["properties"]["type"]["examples"].as_array();
    let types = types.expect("the types are listed");
    assert_eq!(types.len(), hearken::http::problem::kinds::ALL.len());
    for kind in hearken::http::problem::kinds::ALL {
        assert!(types.contains(&kind.uri().into()), "{}", kind.slug);
        let example = &DOCUMENT["components"]["examples"][kind.slug]["value"];
        assert_eq!(example["status"], kind.status, "{}", kind.slug);
    }
}

/// What is registered without its documentation would be missed by every other test.
#[test]
fn routes_are_registered_with_their_documentation_only() {
    let main = include_str!("../../src/http.rs");
    let hidden = [".route(", ".route_service(", ".nest(", ".nest_service("];
    let found: Vec<_> = hidden.iter().filter(|call| main.contains(**call)).collect();
    assert_eq!(found, Vec::<&&str>::new());
}

fn example_of(path: &str) -> String {
    path.replace("{id}", "6e0dd59d-660e-4d9b-b22f-0354479f47b4")
        .replace("{group}", "a")
        .replace("{bus}", "mailboxEvent")
        .replace("{slug}", "not-found")
        .replace("{name}", "a")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_takes_what_the_contract_has_and_nothing_else() {
    let rest = rest::node().await;
    let paths = DOCUMENT["paths"].as_object().unwrap();
    for (path, item) in paths {
        let mut documented: BTreeSet<_> =
            item.as_object().unwrap().keys().map(|m| m.to_uppercase()).collect();
        for method in &documented {
            // Without a token nothing happens; with one, some of these would.
            let answer = rest.ask(method, &example_of(path)).token(None).send().await;
            let guarded =
                item[&method.to_lowercase()]["security"].as_array().is_some_and(|s| !s.is_empty());
            assert_eq!(answer.status == 401, guarded, "{method} {path} answered {}", answer.status);
            let reached = !["not-found", "method-not-allowed"].contains(&answer.problem());
            assert!(reached || path.contains('{'), "{method} {path}: {}", answer.text);
        }
        if documented.contains("GET") {
            documented.insert("HEAD".into());
        }
        let answer = rest.ask("PATCH", &example_of(path)).send().await;
        let allowed: BTreeSet<_> = answer.header("allow").split(',').map(str::to_owned).collect();
        assert_eq!((answer.status, allowed), (405, documented), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_refuses_a_query_parameter_that_the_contract_does_not_have() {
    let rest = rest::node().await;
    for (path, method, operation) in operations() {
        let answer =
            rest.ask(&method.to_uppercase(), &format!("{}?bogus=1", example_of(path))).send().await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "invalid-parameter"),
            "{method} {path}"
        );
        let query =
            operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query");
        let known: BTreeSet<_> = query.map(|p| p["name"].as_str().unwrap()).collect();
        let told: BTreeSet<_> =
            answer.body["known"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
        assert_eq!(told, known, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_serves_the_contract_and_explains_its_problems() {
    let rest = rest::node().await;
    let document = rest.ask("GET", "/openapi.yaml").token(None).send().await;
    assert_eq!(document.text, hearken::http::openapi_yaml());
    for kind in hearken::http::problem::kinds::ALL {
        let answer = rest.ask("GET", &kind.uri()).token(None).send().await;
        assert_eq!(answer.status, 200);
        assert!(answer.text.contains(kind.title), "{}", answer.text);
    }
    assert_eq!(rest.ask("GET", "/problems/none").send().await.status, 404);
}
