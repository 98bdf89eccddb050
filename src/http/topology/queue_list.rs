//! `GET /topology/queues`: the queues with their counts, and what an operator can do about them.

use crate::{
    domain::{
        command::Pending,
        depth::Depth,
        drift::{DriftKind, ObjectKind, Remedy},
        event::{Generation, Version},
        inventory::{self, InventoryQueue, QueueKind, QueuePlace, QueueRemedy},
        name::{BusName, GroupName},
        report::DriftReport,
        roster::Tombstone,
    },
    error_chain::error_chain,
    http::{
        App,
        parameters::{Query, invalid_parameter},
        problem::{Problem, kinds},
        schema::{self, PageLimitParams},
        topology::StatusView,
    },
    reconcile::{Look, QueueDepths},
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::{collections::HashMap, sync::Arc};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Page of queues.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Queues)]
pub struct QueuePage {
    /// Queues, by name.
    queues: Vec<QueueView>,
    /// Value of `after` for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Queue of the cluster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ListedQueue)]
pub struct QueueView {
    /// Name of the queue on the broker.
    name: String,
    /// Purpose of the queue.
    #[schema(value_type = schema::QueueKindSchema)]
    kind: QueueKind,
    /// Bus that the queue belongs to.
    #[schema(value_type = String)]
    bus: BusName,
    /// Group of a work queue; absent for a queue of the bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    group: Option<GroupName>,
    /// Generation of a work queue; absent for a queue of the bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, nullable = false)]
    generation: Option<Generation>,
    /// Whether the broker has the queue; null if the broker could not be read.
    #[schema(required = true)]
    present: Option<bool>,
    /// Number of events that wait; null if the broker has not counted them.
    #[schema(required = true)]
    ready: Option<u64>,
    /// Number of events that a consumer holds unacknowledged; null as for `ready`.
    #[schema(required = true)]
    unacked: Option<u64>,
    /// Number of consumers; null as for `ready`.
    #[schema(required = true)]
    consumers: Option<u64>,
    /// When the queue came to be of its kind: the addition or the removal of the listener, or the
    /// pass that first saw the orphan. Null if that is not known.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    since: Option<OffsetDateTime>,
    /// Seconds from `since` until now.
    #[schema(required = true)]
    age_seconds: Option<u64>,
    /// Removal of the listener that the queue belonged to; absent if the log has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tombstone: Option<TombstoneView>,
    /// What ends the state of the queue; absent for a queue that is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::QueueRemedySchema>, nullable = false)]
    remedy: Option<QueueRemedy>,
    /// The remedy in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    advice: Option<String>,
}

/// Removal of a listener.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tombstone)]
pub struct TombstoneView {
    /// What happens to the events that wait.
    #[schema(value_type = schema::PendingSchema)]
    pending: Pending,
    /// Version of the roster that removed the listener.
    #[schema(value_type = u64)]
    version: Version,
    /// When the listener was removed, by the clock of the database.
    #[serde(with = "time::serde::rfc3339")]
    removed_at: OffsetDateTime,
    /// Author of the removal.
    removed_by: String,
    /// Reason that the author gave.
    #[schema(required = true)]
    reason: Option<String>,
}

impl From<&Tombstone> for TombstoneView {
    fn from(tombstone: &Tombstone) -> Self {
        let Tombstone { pending, version, removed_at, .. } = *tombstone;
        let (removed_by, reason) = (tombstone.removed_by.clone(), tombstone.reason.clone());
        Self { pending, version, removed_at, removed_by, reason }
    }
}

/// List the queues
///
/// Each queue has its counts, its age and, if its state calls for a decision, the remedy. Queues
/// that belong to one connection of a node are left out. If the broker does not answer, the problem
/// has what is known without it: `topologyStatus`, and `queues` without counts.
#[utoipa::path(
    get, path = "/topology/queues", tag = "topology", operation_id = "listQueues",
    params(
        ("kind" = Option<schema::QueueKindSchema>, Query, description = "Only queues of this kind."),
        ("after" = Option<String>, Query, description = "Only queues whose names follow this name: the `next` of the previous page."),
        PageLimitParams,
    ),
    responses((status = 200, description = "Page of queues.", body = QueuePage)),
    extensions(("x-problems" = json!(["broker-unavailable", "store-unavailable"]))),
)]
pub(crate) async fn list_queues(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<QueuePage>, Problem> {
    let (kind, limit) = (read_kind(&query)?, query.limit()?);
    let look = app.reconciler.look().await?;
    let depths = match look.observed() {
        Ok(_) => Some(app.reconciler.depths().await),
        Err(_) => None,
    };
    let counted = depths.as_deref().and_then(|depths| depths.as_ref().ok());
    let failure = look.observed().err();
    let failure = failure.or_else(|| depths.as_deref().and_then(|depths| depths.as_ref().err()));
    let survey = QueueSurvey::new(&app, &look, counted);
    let page = survey.page(kind, query.text("after"), limit);
    let Some(cause) = failure else { return Ok(Json(page)) };
    let detail =
        "the broker cannot be read; the members of this problem have what is known without it";
    Err(Problem::new(&kinds::BROKER_UNAVAILABLE, detail)
        .with("cause", error_chain(cause))
        .with("topologyStatus", StatusView::new(&look))
        .with("queues", page.queues)
        .with("next", page.next)
        .retry_after(5))
}

fn read_kind(query: &Query) -> Result<Option<QueueKind>, Problem> {
    Ok(Some(match query.text("kind") {
        None => return Ok(None),
        Some("work") => QueueKind::Work,
        Some("kept") => QueueKind::Kept,
        Some("draining") => QueueKind::Draining,
        Some("orphan") => QueueKind::Orphan,
        Some("wait") => QueueKind::Wait,
        Some("parked") => QueueKind::Parked,
        Some(_) => {
            let detail =
                "query parameter kind must be work, kept, draining, orphan, wait or parked";
            return Err(invalid_parameter("kind", detail.into()));
        }
    }))
}

/// What is known about all queues.
struct QueueSurvey<'a> {
    look: &'a Look,
    depths: Option<&'a QueueDepths>,
    queues: Vec<InventoryQueue>,
    /// Drift of queues, by name.
    drift: HashMap<&'a str, &'a DriftReport>,
    now: OffsetDateTime,
}

impl<'a> QueueSurvey<'a> {
    fn new(app: &App, look: &'a Look, depths: Option<&'a QueueDepths>) -> Self {
        let layout = app.roster.layout();
        let queues = inventory::list_queues(layout, &look.desired, look.observed().ok());
        let drift = look.drift.iter().filter(|drift| drift.object == ObjectKind::Queue);
        let drift = drift.map(|drift| (drift.name.as_str(), drift)).collect();
        Self { look, depths, queues, drift, now: app.clock.now() }
    }

    fn page(&self, kind: Option<QueueKind>, after: Option<&str>, limit: usize) -> QueuePage {
        let mut following = (self.queues.iter())
            .filter(|queue| kind.is_none_or(|kind| kind == queue.kind))
            .filter(|queue| after.is_none_or(|after| queue.name.as_str() > after));
        let queues: Vec<_> = following.by_ref().take(limit).map(|queue| self.view(queue)).collect();
        let next = following.next().and_then(|_| Some(queues.last()?.name.clone()));
        QueuePage { queues, next }
    }

    fn view(&self, queue: &InventoryQueue) -> QueueView {
        let roster = &self.look.roster;
        let depth = self.depths.and_then(|depths| depths.get(&queue.name)).copied();
        let drift = self.drift.get(queue.name.as_str()).copied();
        let repair: Option<Remedy> = drift.map(|drift| drift.remedy);
        let advice = queue.advice(roster, repair, depth);
        let tombstone = queue.tombstone(roster);
        let since = match queue.kind {
            QueueKind::Orphan => drift.filter(|it| it.kind == DriftKind::Orphan).map(|it| it.since),
            _ => tombstone.map(|tombstone| tombstone.removed_at),
        };
        let group = queue.id.as_ref().map(|id| id.group.clone());
        let configured = group.as_ref().and_then(|group| roster.listeners().get(group));
        let configured = configured.filter(|_| queue.kind == QueueKind::Work);
        let since = since.or_else(|| configured.map(|configured| configured.added_at));
        let age = since.and_then(|since| (self.now - since).whole_seconds().try_into().ok());
        QueueView {
            name: queue.name.clone(),
            kind: queue.kind,
            bus: queue.bus.clone(),
            group,
            generation: queue.id.as_ref().map(|id| id.generation),
            present: match queue.place {
                QueuePlace::Present => Some(true),
                QueuePlace::Absent => Some(false),
                QueuePlace::Unknown => None,
            },
            ready: depth.map(|Depth { ready, .. }| ready),
            unacked: depth.map(|Depth { unacked, .. }| unacked),
            consumers: depth.map(|Depth { consumers, .. }| consumers),
            since,
            age_seconds: since.map(|_| age.unwrap_or_default()),
            tombstone: tombstone.map(TombstoneView::from),
            remedy: advice.as_ref().map(|advice| advice.remedy),
            advice: advice.map(|advice| advice.text),
        }
    }
}
