//! `/topology`: the desired topology, the observed one, and their differences.

pub mod changes;
pub mod passes;
pub mod queue_list;
pub mod queues;
mod release;

pub(crate) use changes::{__path_changes, changes};
pub(crate) use passes::{__path_passes, passes};
pub(crate) use queue_list::{__path_list_queues, list_queues};
pub(crate) use queues::{
    __path_delete_queue, __path_migrate_or_release_queue, delete_queue, migrate_or_release_queue,
};

use super::{
    App,
    precondition::CommandRequest,
    problem::{Problem, kinds},
    schema,
    tasks::{Submitted, action, start_task},
};
use crate::{
    domain::{
        event::Version,
        report::{DriftReport, PassFailure, StepReport, TopologyState},
        topology::{Binding, Exchange, Queue, Topology},
    },
    error_chain::error_chain,
    reconcile::Look,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// State of the topology.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TopologyStatus)]
pub struct StatusView {
    /// Version of the roster.
    #[schema(value_type = u64)]
    roster_version: Version,
    /// Version of the roster that the last pass compared the broker with. Objects that differ from
    /// this version are in `drift`.
    #[schema(value_type = u64)]
    reconciled_version: Version,
    /// When a pass last read the broker.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    observed_at: Option<OffsetDateTime>,
    /// State in one word.
    #[schema(value_type = schema::TopologyStateSchema)]
    state: TopologyState,
    /// Why the recent passes failed; absent when they did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PassFailureSchema>, nullable = false)]
    failure: Option<PassFailure>,
    /// Sign that the broker knows a later history than the log, as after a restore of the database.
    /// As long as it is there, no pass unbinds or deletes anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    restraint: Option<String>,
}

impl StatusView {
    fn new(look: &Look) -> Self {
        let behind = look.status.reconciled_version < look.roster_version;
        let state = match look.status.state {
            TopologyState::Converged if behind => TopologyState::Pending,
            state => state,
        };
        Self {
            roster_version: look.roster_version,
            reconciled_version: look.status.reconciled_version,
            observed_at: look.status.observed_at,
            state,
            failure: look.status.failure.clone(),
            restraint: look.status.restraint.clone(),
        }
    }
}

/// Exchanges, queues and bindings.
#[derive(Debug, Serialize, ToSchema)]
pub struct Objects {
    /// Exchanges, by name.
    #[schema(value_type = Vec<schema::ExchangeSchema>)]
    exchanges: Vec<Exchange>,
    /// Queues, by name.
    #[schema(value_type = Vec<schema::QueueSchema>)]
    queues: Vec<Queue>,
    /// Bindings, by source and destination.
    #[schema(value_type = Vec<schema::BindingSchema>)]
    bindings: Vec<Binding>,
}

impl From<Topology> for Objects {
    fn from(topology: Topology) -> Self {
        Self {
            exchanges: topology.exchanges.into_values().collect(),
            queues: topology.queues.into_values().collect(),
            bindings: topology.bindings.into_iter().collect(),
        }
    }
}

/// Topology of the cluster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Topology)]
pub struct TopologyView {
    /// State of the topology.
    status: StatusView,
    /// Topology that the roster asks for.
    desired: Objects,
    /// Objects with hearken's prefix on the broker, read for this answer.
    observed: Objects,
    /// Differences between the two.
    #[schema(value_type = Vec<schema::DriftSchema>)]
    drift: Vec<DriftReport>,
}

/// Repair plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
pub struct PlanView {
    /// Steps of the plan, in the order in which they would be applied.
    #[schema(value_type = Vec<schema::StepSchema>)]
    steps: Vec<StepReport>,
}

/// Show the topology
///
/// Reads the broker and compares it with the roster. If the broker does not answer, the problem has
/// what is known without it: `topologyStatus`, `desired`, and the `drift` of the last pass.
#[utoipa::path(
    get, path = "/topology", tag = "topology", operation_id = "getTopology",
    responses((status = 200, description = "The topology.", body = TopologyView)),
    extensions(("x-problems" = json!(["broker-unavailable", "store-unavailable"]))),
)]
pub(crate) async fn topology(State(app): State<Arc<App>>) -> Result<Json<TopologyView>, Problem> {
    let look = app.reconciler.look().await?;
    let status = StatusView::new(&look);
    let observed = look.observed().cloned().map(Objects::from).map_err(|error| error_chain(error));
    let desired = Objects::from(look.desired.topology);
    match observed {
        Ok(observed) => Ok(Json(TopologyView { status, desired, observed, drift: look.drift })),
        Err(cause) => {
            let detail = "the broker cannot be read; the members of this problem have what is known without it";
            Err(Problem::new(&kinds::BROKER_UNAVAILABLE, detail)
                .with("cause", cause)
                .with("topologyStatus", status)
                .with("desired", desired)
                .with("observed", ())
                .with("drift", look.drift)
                .retry_after(5))
        }
    }
}

/// Reconcile the broker with the roster
///
/// `reconcile` makes a pass at once, which repairs everything that needs no confirmation. `rebuild`
/// also repairs when the marker or most of the topology is missing. With `dryRun`, the answer is
/// the plan, and nothing is changed.
#[utoipa::path(
    post, path = "/topology", tag = "topology", operation_id = "reconcileTopology",
    params(
        ("action" = String, Query, description = "`reconcile` or `rebuild`.", example = "reconcile"),
        ("dryRun" = Option<bool>, Query, description = "Answer the plan and change nothing; only with `reconcile`."),
    ),
    responses(
        (status = 200, description = "Plan of a dry run.", body = PlanView),
        (status = 201, description = "A task makes the pass.", body = Submitted,
            headers(("Location" = String, description = "Address of the task."))),
    ),
    extensions(("x-problems" = json!(["busy", "blocked", "broker-unavailable", "store-unavailable"]))),
)]
pub(crate) async fn reconcile(
    State(app): State<Arc<App>>,
    request: CommandRequest,
) -> Result<Response, Problem> {
    let rebuild = action(&request.query, &["reconcile", "rebuild"])? == "rebuild";
    if request.query.flag("dryRun")? {
        if rebuild {
            let detail =
                "query parameter dryRun needs action=reconcile; a rebuild has the same plan";
            return Err(super::parameters::invalid_parameter("dryRun", detail.into()));
        }
        let plan = app.reconciler.plan().await?;
        return Ok(Json(PlanView { steps: plan.steps.iter().map(StepReport::from).collect() })
            .into_response());
    }
    let reconciler = app.reconciler.clone();
    let kind = if rebuild { "topology-rebuild" } else { "topology-reconcile" };
    start_task(&app, kind, &request.actor, async move {
        let steps =
            if rebuild { reconciler.rebuild().await? } else { reconciler.reconcile().await? };
        Ok(json!({ "steps": steps }))
    })
    .await
}
