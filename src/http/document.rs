//! The contract document `openapi.yaml`, and the explanation of every kind of problem.

use super::{
    parameters::Segment,
    problem::{
        PROBLEM_JSON, Problem,
        kinds::{self, ProblemKind},
    },
};
use axum::{http::header, response::IntoResponse};
use serde_json::Value;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::LazyLock,
};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem,
    Ref, RefOr, Response,
    example::{Example, ExampleBuilder},
    path::Operation,
    schema::{ObjectBuilder, Schema, SchemaFormat, Type},
    security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    tag::TagBuilder,
};

/// Extension in which an operation lists its problems. It is replaced by responses.
const PROBLEMS: &str = "x-problems";

const SECURITY: &str = "token";

const ABOUT: &str = "\
hearken keeps one audited list of a cluster's event listeners, makes RabbitMQ match the list, and
runs the listeners.

Errors are `application/problem+json` (RFC 9457). The `type` of a problem is an address that answers
an explanation. An unknown address answers `not-found`, an unsupported method `method-not-allowed`
with `Allow`, and an unknown query parameter `invalid-parameter`. Every answer has an
`X-Request-Id`; a request may bring its own. A body has at most 1 MiB. Clients must ignore members
that they do not know.

Calls need `Authorization: Bearer` with the administrator's token; the read-only token is enough for
calls that only read. These calls need no token: `/livez`, `/readyz`, `/healthcheck`, `/metrics`,
`/openapi.yaml` and `/problems`. They show the names of groups, classes and buses and why a listener
does not run, but nothing else that users entered.";

/// Document without operations: title, tags, security scheme and problems.
#[must_use]
pub fn start() -> OpenApi {
    let info = InfoBuilder::new()
        .title("hearken")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(
            LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
        ));
    let tags = [
        ("buses", "The buses of the cluster."),
        ("listeners", "The roster: the listeners of the cluster."),
        (
            "topology",
            "The desired topology, the observed one, and the repair of their differences.",
        ),
        ("events", "Dispatch of events, and notifications about events."),
        (
            "dead letters",
            "Events that a group gave up on, kept until they are redelivered or deleted.",
        ),
        ("tasks", "Work that outlives the request that started it."),
        ("operations", "State of the cluster and of this node."),
        ("contract", "This document, and the explanations of problems."),
    ];
    let tags =
        tags.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = ComponentsBuilder::new()
        .schema("Problem", problem_schema())
        .security_scheme(SECURITY, scheme)
        .responses_from_iter(kinds::ALL.iter().map(|kind| {
            let mut response = Response::default();
            describe(&mut response, &[kind]);
            (kind.slug, response)
        }));
    let mut components = components.build();
    for kind in kinds::ALL {
        components.examples.insert(kind.slug.to_owned(), example(kind).into());
    }
    OpenApiBuilder::new().info(info.build()).tags(Some(tags)).components(Some(components)).build()
}

/// Whether a call needs a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The call needs no token.
    Open,
    /// The call needs a token.
    Guarded,
}

/// Completes the operations of a router: adds the problems that every call may answer, and whether
/// a call needs a token.
pub fn complete(document: &mut OpenApi, access: Access) {
    let guarded = access == Access::Guarded;
    for item in document.paths.paths.values_mut() {
        let PathItem { get, put, post, delete, .. } = item;
        for (operation, writes) in [(get, false), (put, true), (post, true), (delete, true)] {
            let Some(operation) = operation else { continue };
            operation.security = Some(if guarded {
                vec![SecurityRequirement::new(SECURITY, Vec::<String>::new())]
            } else {
                Vec::new()
            });
            let mut kinds = vec![&kinds::INVALID_PARAMETER, &kinds::INTERNAL];
            kinds.extend(guarded.then_some(&kinds::UNAUTHORIZED));
            kinds.extend((guarded && writes).then_some(&kinds::FORBIDDEN));
            kinds.extend(take_listed_problems(operation));
            let mut by_status: BTreeMap<u16, Vec<&ProblemKind>> = BTreeMap::new();
            for kind in kinds {
                by_status.entry(kind.status).or_default().push(kind);
            }
            for (status, kinds) in by_status {
                add_problems(operation, status, &kinds);
            }
        }
    }
}

/// Problems that an operation lists.
fn take_listed_problems(operation: &mut Operation) -> Vec<&'static ProblemKind> {
    let Some(mut extensions) = operation.extensions.take() else { return Vec::new() };
    let slugs = extensions.remove(PROBLEMS).unwrap_or_default();
    let find = |slug: &Value| kinds::ALL.iter().copied().find(|kind| *slug == kind.slug);
    let slugs = slugs.as_array().cloned().unwrap_or_default();
    slugs
        .iter()
        .map(|slug| find(slug).unwrap_or_else(|| panic!("no kind of problem is {slug}")))
        .collect()
}

/// Adds problems of one status to the answers of an operation.
fn add_problems(operation: &mut Operation, status: u16, kinds: &[&ProblemKind]) {
    let entry = operation.responses.responses.entry(status.to_string());
    match (entry, kinds) {
        (Entry::Vacant(free), [kind]) => {
            free.insert(Ref::from_response_name(kind.slug).into());
        }
        (entry, kinds) => {
            let response = entry.or_insert_with(|| Response::default().into());
            if let RefOr::T(response) = response {
                describe(response, kinds);
            }
        }
    }
}

fn describe(response: &mut Response, kinds: &[&ProblemKind]) {
    let mut content = Content::new(Some(Ref::from_schema_name("Problem")));
    for kind in kinds {
        if !response.description.is_empty() {
            response.description.push('\n');
        }
        response.description.extend(["`", kind.slug, "`: ", kind.title, "."]);
        let example = Ref::new(format!("#/components/examples/{}", kind.slug));
        content.examples.insert(kind.slug.to_owned(), RefOr::Ref(example));
    }
    response.content.insert(PROBLEM_JSON.to_owned(), content.into());
}

/// Example of a problem of a kind.
fn example(kind: &'static ProblemKind) -> Example {
    let body = Problem::new(kind, kind.meaning).body("0199c0de-0000-7000-8000-000000000000");
    ExampleBuilder::new().summary(kind.title).value(Some(body)).build()
}

fn problem_schema() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let types = kinds::ALL.iter().map(|kind| kind.uri());
    let known = "Kind of the problem: an address that answers an explanation. The examples are the \
        kinds that there are; a later version may have more.";
    let members = "Refusal or failure (RFC 9457). A problem may have further members; the \
        explanation at `type` lists them.";
    ObjectBuilder::new()
        .description(Some(members))
        .property(
            "type",
            text()
                .format(Some(SchemaFormat::Custom("uri-reference".into())))
                .examples(types)
                .description(Some(known)),
        )
        .property("title", text().description(Some("Kind of the problem in a few words.")))
        .property(
            "status",
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .description(Some("HTTP status of the answer.")),
        )
        .property(
            "detail",
            text().description(Some("What is wrong with this request, and what would be right.")),
        )
        .property(
            "instance",
            text()
                .format(Some(SchemaFormat::Custom("uri".into())))
                .description(Some("Id of the request, which is also in the log.")),
        )
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .required("instance")
        .into()
}

static YAML: LazyLock<String> = LazyLock::new(super::openapi_yaml);

/// Read this document
#[utoipa::path(
    get, path = "/openapi.yaml", tag = "contract", operation_id = "getOpenApi",
    responses((status = 200, description = "The document.", body = String, content_type = "application/yaml")),
)]
pub(crate) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/yaml")], YAML.as_str())
}

/// Explain a kind of problem
#[utoipa::path(
    get, path = "/problems/{slug}", tag = "contract", operation_id = "explainProblem",
    params(("slug" = String, Path, description = "Last segment of the `type` of the problem.", example = "group-in-use")),
    responses((status = 200, description = "Explanation of the problem.", body = String, content_type = "text/markdown")),
    extensions(("x-problems" = json!(["not-found"]))),
)]
pub(crate) async fn explain(Segment(slug): Segment<String>) -> Result<impl IntoResponse, Problem> {
    let kind = kinds::ALL.iter().find(|kind| kind.slug == slug).ok_or_else(|| {
        let slugs: Vec<_> = kinds::ALL.iter().map(|kind| kind.slug).collect();
        Problem::new(&kinds::NOT_FOUND, format!("there is no kind of problem {slug}"))
            .with("known", slugs)
    })?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], kind.explanation()))
}
