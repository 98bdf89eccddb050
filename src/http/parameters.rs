//! Query parameters and variable segments of the path.
//!
//! The parameters of a call are written once, in its documentation. This layer reads them from the
//! contract document and refuses any other parameter, so that a misspelt `pendnig=discard` is never
//! silently ignored.

use super::problem::{Problem, kinds};
use axum::{
    extract::{FromRequestParts, MatchedPath, Path, Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    str::FromStr,
    sync::Arc,
};
use utoipa::openapi::{
    OpenApi, RefOr, Schema, path::ParameterIn, schema::SchemaType, schema::Type,
};

/// Query parameters of each call, by method and path.
#[derive(Debug, Default)]
pub struct KnownParameters(HashMap<(Method, String), QueryParameters>);

/// Query parameters of a call, by name.
type QueryParameters = BTreeMap<String, Occurrence>;

/// How often a parameter may appear in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occurrence {
    Once,
    Repeated,
}

impl KnownParameters {
    /// Reads the parameters of all calls from the document.
    #[must_use]
    pub fn from_document(document: &OpenApi) -> Self {
        let mut known = HashMap::new();
        for (path, item) in &document.paths.paths {
            let operations = [
                (Method::GET, &item.get),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::DELETE, &item.delete),
            ];
            for (method, operation) in operations {
                let Some(operation) = operation else { continue };
                let parameters = operation.parameters.iter().flatten();
                let parameters = parameters.filter_map(|parameter| match parameter {
                    RefOr::T(parameter) => Some(parameter),
                    RefOr::Ref(_) => None,
                });
                let query = parameters.filter(|p| p.parameter_in == ParameterIn::Query);
                let names =
                    query.map(|p| (p.name.clone(), occurrence(p.schema.as_ref()))).collect();
                known.insert((method, path.clone()), names);
            }
        }
        Self(known)
    }
}

/// A parameter whose schema is an array may be repeated.
fn occurrence(schema: Option<&RefOr<Schema>>) -> Occurrence {
    match schema {
        Some(RefOr::T(Schema::Array(array)))
            if array.schema_type == SchemaType::Type(Type::Array) =>
        {
            Occurrence::Repeated
        }
        _ => Occurrence::Once,
    }
}

/// Middleware that refuses a request with a wrong query, and keeps the parameters of a right one
/// for [`Query`].
pub(crate) async fn check(
    State(known): State<Arc<KnownParameters>>,
    route: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    let method = match *request.method() {
        Method::HEAD => Method::GET,
        ref method => method.clone(),
    };
    let Some(known) = known.0.get(&(method, route.as_str().to_owned())) else {
        return next.run(request).await;
    };
    match Query::parse(request.uri().query().unwrap_or_default(), known) {
        Ok(query) => {
            request.extensions_mut().insert(query);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Query of a request, decoded. It has only parameters that the call knows.
#[derive(Debug, Clone, Default)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    fn parse(query: &str, known: &QueryParameters) -> Result<Self, Problem> {
        let names: Vec<&String> = known.keys().collect();
        let refused =
            |name: &str, detail: String| Err(invalid_parameter(name, detail).with("known", &names));
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                let what = format!("query parameter {name} is not percent-encoded UTF-8");
                return refused(name, what);
            };
            let Some(occurrence) = known.get(&name) else {
                let what = match names.as_slice() {
                    [] => format!("there is no query parameter {name:?}; this call has none"),
                    names => format!(
                        "there is no query parameter {name:?}; this call has {}",
                        names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
                    ),
                };
                return refused(&name, what);
            };
            let present = values.entry(name.clone()).or_default();
            if *occurrence == Occurrence::Once && !present.is_empty() {
                return refused(&name, format!("query parameter {name} appears twice"));
            }
            present.push(value);
        }
        Ok(Self(values))
    }

    /// Value of a parameter as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values(name).first().map(String::as_str)
    }

    /// Values of a parameter that may be repeated.
    #[must_use]
    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Parsed value of a parameter. `right` describes a right value.
    ///
    /// # Errors
    /// When the value cannot be parsed; the problem names the parameter.
    pub fn read<T: FromStr>(&self, name: &str, right: &str) -> Result<Option<T>, Problem> {
        let read = |text: &str| {
            text.parse().map_err(|_| {
                let shown: String = text.chars().take(80).collect();
                invalid_parameter(
                    name,
                    format!("query parameter {name} is {shown:?}; it must be {right}"),
                )
            })
        };
        self.text(name).map(read).transpose()
    }

    /// Whether a flag is set: the parameter is present and not `false`.
    ///
    /// # Errors
    /// When the value is not that of a flag.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => {
                let what = format!(
                    "query parameter {name} is a flag; it must be true, false or without a value"
                );
                Err(invalid_parameter(name, what))
            }
        }
    }

    /// Page that the parameters `after` and `limit` describe.
    ///
    /// # Errors
    /// When one of the two is not a number or outside its range.
    pub fn page(&self) -> Result<Page, Problem> {
        let after = self.read("after", "a whole number, the `next` of the previous page")?;
        Ok(Page { after: after.unwrap_or(0), limit: self.limit()? })
    }

    /// Largest number of entries on the page, by the parameter `limit`.
    ///
    /// # Errors
    /// When the parameter is not a number or outside its range.
    pub fn limit(&self) -> Result<usize, Problem> {
        let limit = self.read::<usize>("limit", PAGE_RANGE)?.unwrap_or(PAGE);
        if (1..=LARGEST_PAGE).contains(&limit) {
            return Ok(limit);
        }
        let what = format!("query parameter limit is {limit}; it must be {PAGE_RANGE}");
        Err(invalid_parameter("limit", what))
    }

    /// Names and values in order, without those of one parameter.
    pub fn pairs_without(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let others = self.0.iter().filter(move |(other, _)| *other != name);
        others.flat_map(|(name, values)| values.iter().map(move |v| (name.as_str(), v.as_str())))
    }
}

/// Entries on a page if the client does not limit them.
const PAGE: usize = 100;
/// Largest number of entries on a page.
const LARGEST_PAGE: usize = 1000;
const PAGE_RANGE: &str = "a whole number from 1 to 1000";

/// Part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Position of the last entry that the client has seen.
    pub after: u64,
    /// Largest number of entries.
    pub limit: usize,
}

impl Page {
    /// Number of entries to read: one more than the page has, which shows whether there is a next
    /// page.
    #[must_use]
    pub fn with_one_more(self) -> usize {
        self.limit + 1
    }

    /// Cuts a list that was read [`Page::with_one_more`] to the page. Returns the position of the
    /// last entry as `next` if there is a next page.
    pub fn cut<T>(self, entries: &mut Vec<T>, position: impl Fn(&T) -> u64) -> Option<u64> {
        if entries.len() <= self.limit {
            return None;
        }
        entries.truncate(self.limit);
        entries.last().map(position)
    }
}

/// Problem of a parameter.
#[must_use]
pub fn invalid_parameter(name: &str, detail: String) -> Problem {
    Problem::new(&kinds::INVALID_PARAMETER, detail).with("parameter", name)
}

/// Decodes the percent-encoding of a query; `None` if the encoding is broken or not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut encoded = text.bytes();
    while let Some(byte) = encoded.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(encoded.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts.extensions.remove().unwrap_or_default())
    }
}

/// Value of the variable segment of a path that has one.
#[derive(Debug, Clone)]
pub struct Segment<T>(pub T);

impl<S, T> FromRequestParts<S> for Segment<T>
where
    S: Send + Sync,
    T: FromStr + Send,
    T::Err: Into<SegmentError>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| {
            let what = format!("the path {} is not percent-encoded UTF-8", parts.uri.path());
            invalid_parameter("path", what)
        })?;
        text.parse().map(Self).map_err(|error: T::Err| error.into().0)
    }
}

/// Values of the variable segments of a path that has two.
#[derive(Debug, Clone)]
pub struct Segments<A, B>(pub A, pub B);

impl<S, A, B> FromRequestParts<S> for Segments<A, B>
where
    S: Send + Sync,
    A: FromStr<Err: Into<SegmentError>> + Send,
    B: FromStr<Err: Into<SegmentError>> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((first, second)) = path.map_err(|_| {
            let what = format!("the path {} is not percent-encoded UTF-8", parts.uri.path());
            invalid_parameter("path", what)
        })?;
        let first = first.parse().map_err(|error: A::Err| error.into().0)?;
        Ok(Self(first, second.parse().map_err(|error: B::Err| error.into().0)?))
    }
}

/// Problem of a path segment that cannot be parsed.
pub struct SegmentError(Problem);

impl From<std::convert::Infallible> for SegmentError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<crate::domain::name::NameError> for SegmentError {
    fn from(error: crate::domain::name::NameError) -> Self {
        Self(error.into())
    }
}

impl From<Problem> for SegmentError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl SegmentError {
    /// Problem of the segment with this name.
    pub fn new(name: &str, detail: impl Display) -> Self {
        Self(invalid_parameter(name, detail.to_string()))
    }
}

#[cfg(test)]
mod tests;
