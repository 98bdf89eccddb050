//! The contract, as tests hold answers against it.

use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// `openapi.yaml` as it would be written now, as JSON.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::to_value(hearken::http::openapi()).expect("the document is plain data")
});

/// The components with every object closed, so that a member that the contract does not
/// describe is found.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut components = DOCUMENT["components"].clone();
    let schemas = components["schemas"].as_object_mut().expect("there are schemas");
    let open = schemas.clone();
    for (name, schema) in schemas.iter_mut() {
        // Problems carry members of their own kind.
        if name != "Problem" {
            close(schema, &open);
        }
    }
    components
});

fn close(schema: &mut Value, all: &Map<String, Value>) {
    if let Some(parts) = schema.get("allOf").cloned() {
        *schema = merged(parts.as_array().expect("allOf is a list"), all);
    }
    let Some(object) = schema.as_object_mut() else { return };
    if object.contains_key("properties") {
        object.entry("additionalProperties").or_insert(json!(false));
    }
    for inner in object.values_mut() {
        match inner {
            Value::Object(_) => close(inner, all),
            Value::Array(items) => items.iter_mut().for_each(|item| close(item, all)),
            _ => {}
        }
    }
}

/// Objects that are written as one.
fn merged(parts: &[Value], all: &Map<String, Value>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        let part = match part["$ref"].as_str() {
            Some(reference) => &all[reference.rsplit('/').next().expect("a name")],
            None => part,
        };
        properties.extend(part["properties"].as_object().expect("an object").clone());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// Every operation: its path, its method in lower case, and itself.
pub(crate) fn operations() -> Vec<(&'static str, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("there are paths");
    let methods = |(path, item): (&'static String, &'static Value)| {
        let item = item.as_object().expect("an object");
        item.iter().map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    };
    paths.iter().flat_map(methods).collect()
}

/// The operation that a path and a method reach.
fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value)> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(part, given)| part.starts_with('{') || part == given)
    };
    // A fixed path comes before one with variables, as in the router.
    let mut found: Vec<_> =
        operations().into_iter().filter(|(template, ..)| fits(template)).collect();
    found.sort_by_key(|(template, ..)| template.contains('{'));
    let (template, ..) = found.first()?;
    let method = method.to_lowercase();
    found.iter().find(|(t, m, _)| t == template && *m == method).map(|(t, _, o)| (*t, *o))
}

/// Follows a reference of the document.
pub(crate) fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(&reference[1..]).expect("references lead somewhere"),
        None => value,
    }
}

/// Fails unless the contract says that this call may be answered so.
pub(crate) fn check(method: &str, path: &str, status: u16, content_type: &str, body: &str) {
    let what = format!("{method} {path} answered {status} ({content_type}): {body}");
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if status >= 400 && media == "application/problem+json" {
        conforms(&json!({"$ref": "#/components/schemas/Problem"}), body, &what);
    }
    let Some((_, operation)) = operation(method, path) else {
        assert!(matches!(status, 404 | 405), "no such call, and yet {what}");
        return;
    };
    let response = operation["responses"].get(status.to_string());
    let response = resolved(response.unwrap_or_else(|| panic!("not documented: {what}")));
    let Some(contents) = response["content"].as_object() else {
        assert!(body.is_empty(), "a body is not documented: {what}");
        return;
    };
    let content =
        contents.iter().find(|(documented, _)| documented.split(';').next() == Some(media));
    let (_, content) = content.unwrap_or_else(|| panic!("content type not documented: {what}"));
    if media == "application/problem+json" {
        let problem: Value = serde_json::from_str(body).expect("problems are JSON");
        let slug = problem["type"].as_str().and_then(|uri| uri.strip_prefix("/problems/"));
        let examples = content["examples"].as_object().expect("problems are listed");
        let slug = slug.unwrap_or_else(|| panic!("an odd type: {what}"));
        assert!(examples.contains_key(slug), "this problem is not documented here: {what}");
    } else if media == "application/json" {
        conforms(&content["schema"], body, &what);
    }
}

fn conforms(schema: &Value, body: &str, what: &str) {
    let mut schema = schema.clone();
    schema["components"] = CLOSED.clone();
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("the schemas are valid JSON Schema");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {what}"));
    let errors: Vec<String> =
        validator.iter_errors(&body).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{}\n{what}", errors.join("\n"));
}
