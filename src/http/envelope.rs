//! The outermost layer of every request: request id, log span, metrics and the writing of problems.
//!
//! Every answer has an `X-Request-Id`, and no cache may keep it: most answers need a token, and
//! parts of an answer change without a new version of the roster. A [`Problem`] and a panic of a
//! handler are written as problem+json. A failure of hearken itself is logged once, with the
//! request id.

use super::{App, problem::Problem};
use crate::{clock::Clock, metrics::Metrics};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};
use tracing::Instrument;
use uuid::Uuid;

/// Header with the id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Length of the longest request id that is accepted from a client, in bytes.
const LONGEST_ID: usize = 100;

/// Id of a request, as the log and the roster's history record it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

impl RequestId {
    /// The client's id if it is short and plain enough for a URN and a log line, otherwise a new
    /// id.
    fn from_headers(headers: &HeaderMap) -> Self {
        let plain = |id: &&str| {
            (1..=LONGEST_ID).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:-".contains(&b))
        };
        let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(plain);
        Self(given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned))
    }
}

/// What the envelope measures requests with.
#[derive(Clone)]
pub(crate) struct RequestMeter {
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl RequestMeter {
    pub(crate) fn new(app: &App) -> Self {
        Self { metrics: Arc::clone(&app.metrics), clock: app.clock.clone() }
    }
}

/// Runs a request inside the envelope.
pub(crate) async fn wrap(
    State(meter): State<RequestMeter>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = meter.clock.monotonic();
    let id = RequestId::from_headers(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::info_span!("request", id = %id.0, %method, path = request.uri().path());
    request.extensions_mut().insert(id.clone());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone());
    let inner = answered.await.unwrap_or_else(|panic| problem_of_panic(&*panic).into_response());
    let mut response = span.in_scope(|| write_problem(inner, &id));
    let value = HeaderValue::from_str(&id.0).expect("an id is plain ASCII");
    response.headers_mut().insert(REQUEST_ID, value);
    let uncached = HeaderValue::from_static("no-store");
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(uncached);
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let status = response.status().as_u16();
    meter.metrics.http(route, method_label(&method), status, meter.clock.elapsed(began));
    response
}

/// Label of a method in the metrics. All methods that no call takes share one label, so that a
/// client cannot create labels.
fn method_label(method: &Method) -> &str {
    let used = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
    if used.contains(method) { method.as_str() } else { "other" }
}

fn problem_of_panic(panic: &(dyn Any + Send)) -> Problem {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Problem::internal(format!("panicked: {}", text.as_deref().unwrap_or("without a message")))
}

/// Writes the problem that a handler returned. Keeps the headers that the router added (`Allow`).
fn write_problem(inner: Response, id: &RequestId) -> Response {
    let Some(problem) = inner.extensions().get::<Problem>() else { return inner };
    let kind = problem.kind();
    match (kind.status, problem.cause()) {
        (500, cause) => tracing::error!(
            problem = kind.slug,
            cause,
            "a request failed inside hearken: {}",
            cause.unwrap_or(problem.detail())
        ),
        (501.., Some(cause)) => {
            tracing::warn!(problem = kind.slug, cause, "a request could not be answered: {cause}");
        }
        _ => tracing::debug!(problem = kind.slug, "refused a request: {}", problem.detail()),
    }
    let mut answer = problem.answer(&id.0);
    for (name, value) in inner.headers() {
        if !answer.headers().contains_key(name) && name != header::CONTENT_LENGTH {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

/// Answer when no route matches. The detail has James's wording.
pub(crate) async fn not_found(method: Method, uri: Uri) -> Problem {
    Problem::new(&super::problem::kinds::NOT_FOUND, format!("{method} {uri} can not be found"))
}

/// Answer when a route matches but not with this method. The router adds `Allow`.
pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "{} does not take {method}; the Allow header names the methods it takes",
        uri.path()
    );
    Problem::new(&super::problem::kinds::METHOD_NOT_ALLOWED, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::kinds;
    use axum::{Router, middleware::from_fn_with_state, routing::get};
    use tower::ServiceExt;

    fn id_of(value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(value).unwrap());
        RequestId::from_headers(&headers).0
    }

    async fn boom() -> &'static str {
        panic!("secret of the code")
    }

    async fn refuse() -> Problem {
        Problem::new(&kinds::NOT_CONFIGURED, "no listener a").with("group", "a")
    }

    async fn answer_to(method: Method, path: &str) -> (Response, serde_json::Value) {
        let meter = RequestMeter { metrics: Arc::new(Metrics::default()), clock: Clock::system() };
        let router: Router = Router::new()
            .route("/boom", get(boom))
            .route("/refuse", get(refuse))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(from_fn_with_state(meter, wrap));
        let request = Request::builder().method(method).uri(path).header(REQUEST_ID, "r1");
        let answer =
            router.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = axum::body::to_bytes(body, 10_000).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap();
        (Response::from_parts(parts, axum::body::Body::empty()), body)
    }

    #[tokio::test]
    async fn a_panic_is_answered_as_a_problem_without_its_message() {
        let (answer, body) = answer_to(Method::GET, "/boom").await;
        assert_eq!((answer.status().as_u16(), &body["type"]), (500, &"/problems/internal".into()));
        assert_eq!(body["instance"], "urn:request:r1");
        assert!(!body.to_string().contains("secret"), "{body}");
    }

    #[tokio::test]
    async fn every_answer_has_the_requests_id_and_every_problem_names_it() {
        let (answer, body) = answer_to(Method::GET, "/refuse").await;
        assert_eq!(answer.headers()[REQUEST_ID], "r1");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!((&body["group"], &body["instance"]), (&"a".into(), &"urn:request:r1".into()));
        assert_eq!(answer.headers().get_all("content-type").iter().count(), 1);
    }

    #[tokio::test]
    async fn an_unknown_path_and_an_unsupported_method_are_problems() {
        let (answer, body) = answer_to(Method::GET, "/nowhere?x=1").await;
        assert_eq!(
            (answer.status().as_u16(), &body["detail"]),
            (404, &"GET /nowhere?x=1 can not be found".into())
        );
        let (answer, body) = answer_to(Method::PUT, "/refuse").await;
        assert_eq!(
            (answer.status().as_u16(), &body["type"]),
            (405, &"/problems/method-not-allowed".into())
        );
        assert_eq!(answer.headers()["allow"], "GET,HEAD");
    }

    #[test]
    fn a_method_that_no_call_takes_makes_no_label() {
        let labels = [Method::PUT, Method::PATCH].map(|method| method_label(&method).to_owned());
        assert_eq!(labels, ["PUT", "other"]);
    }

    #[test]
    fn a_plain_request_id_is_kept_and_any_other_is_replaced() {
        assert_eq!(id_of("client-7:a.b"), "client-7:a.b");
        for odd in ["", "a b", "a\"b", "<x>", &"x".repeat(101)] {
            assert!(Uuid::parse_str(&id_of(odd)).is_ok(), "{odd:?}");
        }
    }
}
