//! `/listeners/history`: recorded changes of the roster, each with author, time, node and reason.

use super::{
    App, parameters::Query, problem::Problem, schema, schema::PageLimitParams,
    tasks::report::read_time,
};
use crate::{
    domain::{
        adoption::LogAdoption,
        bus::BusDefinition,
        cluster::ClusterSettings,
        command::Pending,
        event::{Generation, NodeRef, RecordedEvent, RosterEvent, Version},
        listener::ListenerSpec,
        name::{BusName, GroupName},
        roster::{OrphanQueue, QueueId},
    },
    store::HistoryFilter,
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Page of the history.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// Recorded events, oldest first.
    events: Vec<HistoryEvent>,
    /// Value of `after` for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, nullable = false)]
    next: Option<Version>,
}

/// Type of a recorded event.
#[derive(Debug, Serialize, ToSchema)]
pub enum EventType {
    /// A listener was added to the roster.
    ListenerAdded,
    /// A listener got new settings; its queue stayed.
    ListenerChanged,
    /// A listener was paused.
    ListenerPaused,
    /// The pause of a listener ended.
    ListenerResumed,
    /// A listener was removed from the roster.
    ListenerRemoved,
    /// A bus was added.
    BusAdded,
    /// A bus got a new definition.
    BusChanged,
    /// A bus was removed.
    BusRemoved,
    /// Settings of the cluster were changed.
    ClusterChanged,
    /// The listener that was added next took an orphan over, with the events in it.
    QueueTakenOver,
    /// An orphan was released: it is deleted with the events in it.
    QueueReleased,
    /// The log got a new identity, after a restore or a loss of the database.
    LogAdopted,
}

/// Recorded event of the roster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEvent {
    /// Version of the roster after this event.
    #[schema(value_type = u64)]
    version: Version,
    /// Type of the event.
    r#type: EventType,
    /// Group of the listener; absent for an event about a bus, the cluster or the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    group: Option<GroupName>,
    /// Definition of an added or changed bus, or the last definition of a removed bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::BusDefinitionSchema>, nullable = false)]
    bus: Option<BusDefinition>,
    /// Settings of the cluster after their change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ClusterSettingsSchema>, nullable = false)]
    cluster: Option<ClusterSettings>,
    /// Settings of an added or changed listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ListenerSpecSchema>, nullable = false)]
    listener: Option<ListenerSpec>,
    /// Queue that was taken over or released.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    queue: Option<HistoryQueue>,
    /// Identities before and after an adoption of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::LogAdoptionSchema>, nullable = false)]
    adoption: Option<LogAdoption>,
    /// Generation of the queue of an added listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, nullable = false)]
    generation: Option<Generation>,
    /// What happens to the events that wait for a removed listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PendingSchema>, nullable = false)]
    pending: Option<Pending>,
    /// Author of the change; `node:<id>` for a change that a node made by itself.
    actor: String,
    /// Node that executed the command.
    #[schema(value_type = schema::NodeRefSchema)]
    node: NodeRef,
    /// Reason that the author gave.
    #[schema(required = true)]
    reason: Option<String>,
    /// Time of the change, by the clock of the database.
    #[serde(with = "time::serde::rfc3339")]
    recorded_at: OffsetDateTime,
    /// Id of the event.
    event_id: Uuid,
    /// Id of the HTTP request with the command.
    #[schema(required = true)]
    request_id: Option<String>,
}

/// Work queue that an event is about.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryQueue {
    /// Bus of the queue.
    #[schema(value_type = String)]
    bus: BusName,
    /// Group of the queue.
    #[schema(value_type = String)]
    group: GroupName,
    /// Generation of the queue.
    #[schema(value_type = u32)]
    generation: Generation,
}

impl From<OrphanQueue> for HistoryQueue {
    fn from(queue: OrphanQueue) -> Self {
        let OrphanQueue { bus, id: QueueId { group, generation } } = queue;
        Self { bus, group, generation }
    }
}

/// Details that only some types of events have.
#[derive(Default)]
struct EventDetails {
    listener: Option<ListenerSpec>,
    bus: Option<BusDefinition>,
    cluster: Option<ClusterSettings>,
    queue: Option<HistoryQueue>,
    adoption: Option<LogAdoption>,
    generation: Option<Generation>,
    pending: Option<Pending>,
}

/// Type of an event, with its details.
struct TypedDetails {
    r#type: EventType,
    details: EventDetails,
}

impl From<RosterEvent> for TypedDetails {
    fn from(event: RosterEvent) -> Self {
        let mut details = EventDetails::default();
        let r#type = match event {
            RosterEvent::ListenerAdded { listener, generation } => {
                details.listener = Some(listener);
                details.generation = Some(generation);
                EventType::ListenerAdded
            }
            RosterEvent::ListenerChanged { listener } => {
                details.listener = Some(listener);
                EventType::ListenerChanged
            }
            RosterEvent::ListenerPaused { .. } => EventType::ListenerPaused,
            RosterEvent::ListenerResumed { .. } => EventType::ListenerResumed,
            RosterEvent::ListenerRemoved { pending, .. } => {
                details.pending = Some(pending);
                EventType::ListenerRemoved
            }
            RosterEvent::BusAdded { bus } => {
                details.bus = Some(bus);
                EventType::BusAdded
            }
            RosterEvent::BusChanged { bus } => {
                details.bus = Some(bus);
                EventType::BusChanged
            }
            RosterEvent::BusRemoved { bus } => {
                details.bus = Some(bus);
                EventType::BusRemoved
            }
            RosterEvent::ClusterChanged { settings } => {
                details.cluster = Some(settings);
                EventType::ClusterChanged
            }
            RosterEvent::QueueTakenOver { queue } => {
                details.queue = Some(queue.into());
                EventType::QueueTakenOver
            }
            RosterEvent::QueueReleased { queue } => {
                details.queue = Some(queue.into());
                EventType::QueueReleased
            }
            RosterEvent::LogAdopted { adoption } => {
                details.adoption = Some(adoption);
                EventType::LogAdopted
            }
        };
        Self { r#type, details }
    }
}

impl From<RecordedEvent> for HistoryEvent {
    fn from(recorded: RecordedEvent) -> Self {
        let group = recorded.event.group().cloned();
        let TypedDetails { r#type, details } = TypedDetails::from(recorded.event);
        let EventDetails { listener, bus, cluster, queue, adoption, generation, pending } = details;
        Self {
            version: recorded.version,
            r#type,
            group,
            bus,
            cluster,
            listener,
            queue,
            adoption,
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
/// Lists the changes of the roster since its beginning, oldest first. A filter leaves out events;
/// the versions of the others do not change.
#[utoipa::path(
    get, path = "/listeners/history", tag = "listeners", operation_id = "getHistory",
    params(
        ("after" = Option<u64>, Query, description = "Only events after this version."),
        ("group" = Option<String>, Query, description = "Only events about the listener of this group."),
        ("actor" = Option<String>, Query, description = "Only events by this author."),
        ("since" = Option<String>, Query, description = "Only events recorded at this time or later (ISO 8601 with zone)."),
        ("until" = Option<String>, Query, description = "Only events recorded before this time (ISO 8601 with zone)."),
        PageLimitParams,
    ),
    responses((status = 200, description = "Page of the history.", body = History)),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<History>, Problem> {
    let page = query.page()?;
    let time = |name| query.text(name).map(|text| read_time(name, text)).transpose();
    let filter = HistoryFilter {
        group: query.text("group").map(GroupName::parse).transpose()?,
        actor: query.text("actor").map(str::to_owned),
        since: time("since")?,
        until: time("until")?,
    };
    let mut events = app.store.history(&filter, page.after, page.with_one_more()).await?;
    let next = page.cut(&mut events, |event| event.version);
    Ok(Json(History { events: events.into_iter().map(HistoryEvent::from).collect(), next }))
}
