//! `/events/deadLetter`: events that somebody gave up on, as in James's WebAdmin, with why.

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
    parameters::{Query, Segment, Segments},
    problem::{Problem, kinds},
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
use view::{DeadLetterView, own_form};

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetters {
    /// The entries, in the order in which they were kept.
    dead_letters: Vec<DeadLetterView>,
    /// The `after` of the next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<u64>,
}

fn unknown(id: Uuid) -> Problem {
    Problem::new(&kinds::NOT_FOUND, format!("there is no dead letter {id}"))
}

/// List the dead letters
///
/// Oldest entry first, with why each was given up.
#[utoipa::path(
    get, path = "/events/deadLetter", tag = "dead letters", operation_id = "listDeadLetters",
    params(
        ("group" = Option<String>, Query, description = "Only entries of this group."),
        ("bus" = Option<String>, Query, description = "Only entries of this bus."),
        ("type" = Option<String>, Query, description = "Only events of this type."),
        ("user" = Option<String>, Query, description = "Only events about this user."),
        ("since" = Option<String>, Query, description = "Only entries whose last failure was then or after (ISO 8601 with zone)."),
        ("before" = Option<String>, Query, description = "Only entries whose last failure was before this time."),
        ("after" = Option<u64>, Query, description = "Only entries after this place, the `next` of the page before."),
        ("limit" = Option<u32>, Query, description = "At most so many, 1 to 1000; 100 where it is not given.", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "A page of dead letters.", body = DeadLetters)),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<DeadLetters>, Problem> {
    let page = query.page()?;
    let filter = filter::read(&query)?;
    let after = filter::place(page.after);
    let mut entries = app.store.dead_letters_from(&filter, after, page.with_one_more()).await?;
    let next = page.cut(&mut entries, |(place, _)| place.unsigned_abs());
    let dead_letters = entries.into_iter().map(|(_, letter)| letter.into()).collect();
    Ok(Json(DeadLetters { dead_letters, next }))
}

/// Show a dead letter
///
/// Whichever its group is.
#[utoipa::path(
    get, path = "/events/deadLetter/{id}", tag = "dead letters", operation_id = "findDeadLetter",
    params(("id" = Uuid, Path, description = "The entry.")),
    responses((status = 200, description = "The entry.", body = DeadLetterView)),
    extensions(("x-problems" = json!(["not-found", "store-unavailable"]))),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Segment(InsertionIdSegment(id)): Segment<InsertionIdSegment>,
) -> Result<Json<DeadLetterView>, Problem> {
    let (letter, _) = app.store.dead_letter(id).await?.ok_or_else(|| unknown(id))?;
    Ok(Json(letter.into()))
}

/// List the groups that have dead letters
///
/// `dispatch-failure` has the events that could not be published, `parked` those that nobody could
/// take.
#[utoipa::path(
    get, path = "/events/deadLetter/groups", tag = "dead letters", operation_id = "listDeadLetterGroups",
    responses((status = 200, description = "The groups, in order.", body = Vec<String>)),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn groups(State(app): State<Arc<App>>) -> Result<Json<Vec<String>>, Problem> {
    let groups = app.store.dead_letter_groups().await?;
    Ok(Json(groups.into_iter().map(String::from).collect()))
}

/// List the dead letters of a group by their ids
///
/// Oldest entry first; all of them where no `limit` is given. Where there are more, the header
/// `Link` leads to the next page.
#[utoipa::path(
    get, path = "/events/deadLetter/groups/{group}", tag = "dead letters", operation_id = "listDeadLetterIds",
    params(
        ("group" = String, Path, description = "The group."),
        ("bus" = Option<String>, Query, description = "Only entries of this bus."),
        ("type" = Option<String>, Query, description = "Only events of this type."),
        ("user" = Option<String>, Query, description = "Only events about this user."),
        ("since" = Option<String>, Query, description = "Only entries whose last failure was then or after (ISO 8601 with zone)."),
        ("before" = Option<String>, Query, description = "Only entries whose last failure was before this time."),
        ("after" = Option<u64>, Query, description = "Only entries after this place, as `Link` has it."),
        ("limit" = Option<u64>, Query, description = "At most so many."),
    ),
    responses((status = 200, description = "The ids.", body = Vec<Uuid>,
        headers(("Link" = String, description = "The next page, where there is one (RFC 8288, `rel=\"next\"`).")))),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn ids(
    State(app): State<Arc<App>>,
    Segment(GroupSegment(group)): Segment<GroupSegment>,
    query: Query,
) -> Result<Response, Problem> {
    let mut filter = filter::read(&query)?;
    filter.group = Some(group.clone());
    let after = query.read("after", "a whole number, as the header Link has it")?.unwrap_or(0);
    let limit = filter::limit(&query)?.unwrap_or(usize::MAX);
    let wanted = limit.saturating_add(1);
    let mut ids = app.store.dead_letter_ids(&filter, filter::place(after), wanted).await?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let next = ids.last().filter(|_| more).map(|last| {
        let mut rest = form_urlencoded::Serializer::new(String::new());
        rest.extend_pairs(query.without("after")).append_pair("after", &last.seq.to_string());
        let target = format!("/events/deadLetter/groups/{group}?{}", rest.finish());
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
/// JSON as it travelled, byte for byte: a `CloudEvent`, or James's own. Another form is answered as
/// a `CloudEvent`, and what cannot be read as bytes.
#[utoipa::path(
    get, path = "/events/deadLetter/groups/{group}/{id}", tag = "dead letters", operation_id = "getDeadLetterEvent",
    params(
        ("group" = String, Path, description = "The group."),
        ("id" = Uuid, Path, description = "The entry."),
    ),
    responses((status = 200, description = "The event.", content(
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
    let (content_type, body) = own_form(letter.content_type.as_deref(), body);
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// Show a dead letter of a group
#[utoipa::path(
    get, path = "/events/deadLetter/groups/{group}/{id}/details", tag = "dead letters", operation_id = "getDeadLetter",
    params(
        ("group" = String, Path, description = "The group."),
        ("id" = Uuid, Path, description = "The entry."),
    ),
    responses((status = 200, description = "The entry.", body = DeadLetterView)),
    extensions(("x-problems" = json!(["invalid-name", "not-found", "store-unavailable"]))),
)]
pub(crate) async fn details(
    State(app): State<Arc<App>>,
    Segments(GroupSegment(group), InsertionIdSegment(id)): Segments<
        GroupSegment,
        InsertionIdSegment,
    >,
) -> Result<Json<DeadLetterView>, Problem> {
    Ok(Json(entry(&app, &group, id).await?.0.into()))
}

/// An entry of a group. One of another group is none of this.
async fn entry(app: &App, group: &GroupName, id: Uuid) -> Result<(DeadLetter, Vec<u8>), Problem> {
    let found = app.store.dead_letter(id).await?;
    found.filter(|(letter, _)| letter.group == *group).ok_or_else(|| unknown(id))
}
