//! `/listeners/history`: what happened to the roster, and who, when, where and why.

use super::{App, parameters::Query, problem::Problem, schema};
use crate::domain::{
    command::Pending,
    event::{Generation, NodeRef, RecordedEvent, RosterEvent, Version},
    listener::ListenerSpec,
    name::GroupName,
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of the history.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// Events, oldest first.
    events: Vec<HistoryEvent>,
    /// The `after` of the next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, nullable = false)]
    next: Option<Version>,
}

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
pub enum EventType {
    /// A listener was configured.
    ListenerAdded,
    /// A listener was unconfigured.
    ListenerRemoved,
}

/// An event of the roster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEvent {
    /// The roster's version since this event.
    #[schema(value_type = u64)]
    version: Version,
    /// What happened.
    r#type: EventType,
    /// The group it is about.
    #[schema(value_type = String)]
    group: GroupName,
    /// The listener, where one was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ListenerSpecSchema>, nullable = false)]
    listener: Option<ListenerSpec>,
    /// Which of the group's queues it works on, where one was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, nullable = false)]
    generation: Option<Generation>,
    /// What becomes of its waiting events, where one was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PendingSchema>, nullable = false)]
    pending: Option<Pending>,
    /// Who asked; `node:<id>` for what a node does by itself.
    actor: String,
    /// The node that took the command.
    #[schema(value_type = schema::NodeRefSchema)]
    node: NodeRef,
    /// Why.
    #[schema(required = true)]
    reason: Option<String>,
    /// When, by the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    recorded_at: OffsetDateTime,
    /// Its identity.
    event_id: Uuid,
    /// The HTTP request that carried the command.
    #[schema(required = true)]
    request_id: Option<String>,
}

impl From<RecordedEvent> for HistoryEvent {
    fn from(recorded: RecordedEvent) -> Self {
        let group = recorded.event.group().clone();
        let (r#type, listener, generation, pending) = match recorded.event {
            RosterEvent::ListenerAdded { listener, generation } => {
                (EventType::ListenerAdded, Some(listener), Some(generation), None)
            }
            RosterEvent::ListenerRemoved { pending, .. } => {
                (EventType::ListenerRemoved, None, None, Some(pending))
            }
        };
        Self {
            version: recorded.version,
            r#type,
            group,
            listener,
            generation,
            pending,
            actor: recorded.audit.actor,
            node: recorded.audit.node,
            reason: recorded.audit.reason,
            recorded_at: recorded.recorded_at,
            event_id: recorded.event_id,
            request_id: recorded.audit.request_id,
        }
    }
}

/// Read the history
///
/// Everything that ever happened to the roster, oldest first.
#[utoipa::path(
    get, path = "/listeners/history", tag = "listeners", operation_id = "getHistory",
    params(
        ("after" = Option<u64>, Query, description = "Only events after this version."),
        ("limit" = Option<u32>, Query, description = "At most so many, 1 to 1000; 100 where it is not given.", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "A page of the history.", body = History)),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<History>, Problem> {
    let page = query.page()?;
    let mut events = app.store.events_after(page.after, page.with_one_more()).await?;
    let next = page.cut(&mut events, |event| event.version);
    Ok(Json(History { events: events.into_iter().map(HistoryEvent::from).collect(), next }))
}
