//! `/events/deadLetter`: events that groups gave up on, as in James's WebAdmin, each with its
//! cause.

mod filter;
mod redeliver;
mod remove;
pub mod view;

pub(crate) use redeliver::{
    __path_redeliver_all, __path_redeliver_group, __path_redeliver_one, redeliver_all,
    redeliver_group, redeliver_one,
};
pub(crate) use remove::{
    __path_purge, __path_remove, __path_remove_group, purge, remove, remove_group,
};

use super::{
    App,
    parameters::{Query, Segment, Segments, invalid_parameter},
    problem::{Problem, kinds},
    schema::{DeadLetterFilterParams, PageLimitParams},
};
use crate::domain::{dead_letter::DeadLetter, name::GroupName};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{AppendHeaders, IntoResponse, Response},
};
use filter::{GroupSegment, InsertionIdSegment};
use serde::Serialize;
use std::sync::Arc;
use url::form_urlencoded;
use utoipa::ToSchema;
use uuid::Uuid;
use view::{DeadLetterView, answer_body};

/// Page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetters {
    /// Entries, in the order in which they were kept.
    dead_letters: Vec<DeadLetterView>,
    /// Value of `after` for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<u64>,
}

/// Ids in an answer if the client does not limit them.
const IDS: usize = 1_000;
/// Largest number of ids in an answer.
const MOST_IDS: usize = 10_000;

fn not_found(id: Uuid) -> Problem {
    Problem::new(&kinds::NOT_FOUND, format!("there is no dead letter {id}"))
}

/// List the dead letters
///
/// Oldest entry first, each with its cause.
#[utoipa::path(
    get, path = "/events/deadLetter", tag = "dead letters", operation_id = "listDeadLetters",
    params(
        ("group" = Option<String>, Query, description = "Only entries of this group."),
        DeadLetterFilterParams,
        ("after" = Option<u64>, Query, description = "Only entries after this position: the `next` of the previous page."),
        PageLimitParams,
    ),
    responses((status = 200, description = "Page of dead letters.", body = DeadLetters)),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<DeadLetters>, Problem> {
    let page = query.page()?;
    let filter = filter::read(&query)?;
    let after = filter::store_position(page.after);
    let mut entries = app.store.dead_letters_from(&filter, after, page.with_one_more()).await?;
    let next = page.cut(&mut entries, |(place, _)| place.unsigned_abs());
    let dead_letters = entries.into_iter().map(|(_, letter)| letter.into()).collect();
    Ok(Json(DeadLetters { dead_letters, next }))
}

/// Show a dead letter of any group
#[utoipa::path(
    get, path = "/events/deadLetter/{id}", tag = "dead letters", operation_id = "findDeadLetter",
    params(("id" = Uuid, Path, description = "Id of the entry.")),
    responses((status = 200, description = "The dead letter.", body = DeadLetterView)),
    extensions(("x-problems" = json!(["not-found", "store-unavailable"]))),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Segment(InsertionIdSegment(id)): Segment<InsertionIdSegment>,
) -> Result<Json<DeadLetterView>, Problem> {
    let (letter, _) = app.store.dead_letter(id).await?.ok_or_else(|| not_found(id))?;
    Ok(Json(letter.into()))
}

/// List the groups that have dead letters
///
/// `dispatch-failure` has the events that could not be published, `parked` the messages that no
/// listener could execute.
#[utoipa::path(
    get, path = "/events/deadLetter/groups", tag = "dead letters", operation_id = "listDeadLetterGroups",
    responses((status = 200, description = "Names of the groups, in alphabetical order.", body = Vec<String>)),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn groups(State(app): State<Arc<App>>) -> Result<Json<Vec<String>>, Problem> {
    let groups = app.store.dead_letter_groups().await?;
    Ok(Json(groups.into_iter().map(String::from).collect()))
}

/// List the ids of the dead letters of a group
///
/// Oldest entry first. The header `Link` leads to the next page.
#[utoipa::path(
    get, path = "/events/deadLetter/groups/{group}", tag = "dead letters", operation_id = "listDeadLetterIds",
    params(
        ("group" = String, Path, description = "The group."),
        DeadLetterFilterParams,
        ("after" = Option<u64>, Query, description = "Only entries after this position, from the header `Link`."),
        ("limit" = Option<u64>, Query, description = "Largest number of ids, up to 10000; 1000 if absent."),
    ),
    responses((status = 200, description = "Ids of the entries.", body = Vec<Uuid>,
        headers(("Link" = String, description = "Address of the next page (RFC 8288, `rel=\"next\"`); absent on the last page.")))),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn ids(
    State(app): State<Arc<App>>,
    Segment(GroupSegment(group)): Segment<GroupSegment>,
    query: Query,
) -> Result<Response, Problem> {
    let mut filter = filter::read(&query)?;
    filter.group = Some(group.clone());
    let after = query.read("after", "a whole number from the header Link")?.unwrap_or(0);
    let limit = filter::limit(&query)?.unwrap_or(IDS);
    if limit > MOST_IDS {
        let detail = format!("limit is {limit}; it must be {MOST_IDS} or less");
        return Err(invalid_parameter("limit", detail));
    }
    let wanted = limit.saturating_add(1);
    let mut ids = app.store.dead_letter_ids(&filter, filter::store_position(after), wanted).await?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let next = ids.last().filter(|_| more).map(|last| {
        let mut next = form_urlencoded::Serializer::new(String::new());
        next.extend_pairs(query.pairs_without("after")).append_pair("after", &last.seq.to_string());
        let target = format!("/events/deadLetter/groups/{group}?{}", next.finish());
        AppendHeaders([(header::LINK, format!("<{target}>; rel=\"next\""))])
    });
    let ids: Vec<Uuid> = ids.into_iter().map(|entry| entry.id).collect();
    let ids = Json(ids);
    Ok(match next {
        Some(link) => (link, ids).into_response(),
        None => ids.into_response(),
    })
}

/// Read the event of a dead letter
///
/// An event that travelled as JSON (a `CloudEvent`, or James's own form) is answered byte for byte.
/// An event in another form is answered as a `CloudEvent` in JSON, and an unreadable one as bytes.
#[utoipa::path(
    get, path = "/events/deadLetter/groups/{group}/{id}", tag = "dead letters", operation_id = "getDeadLetterEvent",
    params(
        ("group" = String, Path, description = "The group."),
        ("id" = Uuid, Path, description = "Id of the entry."),
    ),
    responses((status = 200, description = "Event of the entry.", content(
        (Value = "application/cloudevents+json"), (Value = "application/json"), (Vec<u8> = "application/octet-stream"),
    ))),
    extensions(("x-problems" = json!(["invalid-name", "not-found", "store-unavailable"]))),
)]
pub(crate) async fn event(
    State(app): State<Arc<App>>,
    Segments(GroupSegment(group), InsertionIdSegment(id)): Segments<
        GroupSegment,
        InsertionIdSegment,
    >,
) -> Result<Response, Problem> {
    let (letter, body) = entry(&app, &group, id).await?;
    let (content_type, body) = answer_body(letter.content_type.as_deref(), body);
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// Show a dead letter of a group
#[utoipa::path(
    get, path = "/events/deadLetter/groups/{group}/{id}/details", tag = "dead letters", operation_id = "getDeadLetter",
    params(
        ("group" = String, Path, description = "The group."),
        ("id" = Uuid, Path, description = "Id of the entry."),
    ),
    responses((status = 200, description = "The dead letter.", body = DeadLetterView)),
    extensions(("x-problems" = json!(["invalid-name", "not-found", "store-unavailable"]))),
)]
pub(crate) async fn details(
    State(app): State<Arc<App>>,
    Segments(GroupSegment(group), InsertionIdSegment(id)): Segments<
        GroupSegment,
        InsertionIdSegment,
    >,
) -> Result<Json<DeadLetterView>, Problem> {
    let (letter, _) = entry(&app, &group, id).await?;
    Ok(Json(letter.into()))
}

/// The entry, if it belongs to this group; otherwise not found.
async fn entry(app: &App, group: &GroupName, id: Uuid) -> Result<(DeadLetter, Vec<u8>), Problem> {
    let found = app.store.dead_letter(id).await?;
    found.filter(|(letter, _)| letter.group == *group).ok_or_else(|| not_found(id))
}
