//! `/cluster`: the settings that are the same on every node, and their change.

use super::{
    App,
    body::{Body, Fields},
    precondition::{CommandRequest, check_reason, etag},
    problem::Problem,
    schema::{self, CommandHeaderParams},
};
use crate::{
    domain::{
        cluster::{ClusterChange, ClusterSettings},
        command::Command,
        event::Version,
        layout::{Flavor, QueueType},
        repair::RepairMode,
        report::NodeState,
        retention::{HistoryLimit, Retention},
        roster::Roster,
        span::Span,
    },
    roster::CommandOutcome,
};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::Arc;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Answer to a change of the queue type, which leaves the queues that exist as they are.
const MIGRATE: &str = "work queues that exist keep their type and are reported as divergent (GET /topology, or hearken topology drift); POST /topology/queues/{name}?action=migrate replaces each without losing an event";

/// Settings of the cluster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cluster)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// Version of the roster.
    #[schema(value_type = u64)]
    version: Version,
    /// First part of the name of every object on the broker. Never changes.
    #[schema(example = "hearken")]
    prefix: String,
    /// Type of the work queues that are made from now on.
    #[schema(value_type = schema::QueueTypeSchema)]
    queue_type: QueueType,
    /// Whether drift is repaired without a request.
    #[schema(value_type = schema::RepairModeSchema)]
    reconcile: RepairMode,
    /// Longest time between two passes.
    #[schema(value_type = String, example = "30s")]
    reconcile_interval: Span,
    /// Limits of the records of the cluster.
    #[schema(value_type = schema::RetentionSchema)]
    retention: Retention,
    /// Version that last changed the settings; 0 for the settings of the first node.
    #[schema(value_type = u64)]
    changed_in: Version,
    /// Time of the last change, by the clock of the database.
    #[serde(with = "time::serde::rfc3339")]
    changed_at: OffsetDateTime,
    /// Author of the last change; `node:<id>` for the settings of the first node.
    changed_by: String,
    /// Reason that the author gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Live nodes whose own configuration has other values. Each runs with the values of the
    /// cluster.
    differences: Vec<SettingsDifference>,
    /// What is left to do after this change; absent when nothing is left, and in the answer to GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    follow_up: Option<&'static str>,
}

/// Node whose own configuration has other values than the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingsDifference {
    /// Id of the node.
    node: String,
    /// Names of the settings, as the configuration of the node has them.
    #[schema(example = json!(["queue-type"]))]
    settings: Vec<String>,
}

impl ClusterView {
    async fn load(app: &App, roster: &Roster) -> Result<Self, Problem> {
        let nodes = app.store.nodes().await?;
        let differing = nodes
            .into_iter()
            .filter(|node| node.state != NodeState::Gone && !node.differing_settings.is_empty());
        let differences = differing
            .map(|node| SettingsDifference { node: node.id, settings: node.differing_settings });
        let recorded = roster.cluster();
        let ClusterSettings { prefix, queue_type, reconcile, reconcile_interval, retention } =
            recorded.settings.clone();
        Ok(Self {
            version: roster.version(),
            prefix,
            queue_type,
            reconcile,
            reconcile_interval,
            retention,
            changed_in: recorded.version,
            changed_at: recorded.at,
            changed_by: recorded.by.clone(),
            reason: recorded.reason.clone(),
            differences: differences.collect(),
            follow_up: None,
        })
    }
}

/// Change of the settings. An absent setting stays as it is.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"reconcile": "manual", "reason": "CHG-1234"}))]
pub struct NewClusterSettings {
    /// The prefix; only the present one is accepted.
    pub prefix: Option<String>,
    /// Type of the work queues that are made from now on.
    #[schema(value_type = Option<schema::QueueTypeSchema>, nullable = false)]
    pub queue_type: Option<String>,
    /// Whether drift is repaired without a request.
    #[schema(value_type = Option<schema::RepairModeSchema>, nullable = false)]
    pub reconcile: Option<String>,
    /// Longest time between two passes, from `1s` to `1d`.
    #[schema(example = "30s")]
    pub reconcile_interval: Option<String>,
    /// Limits of the records; an absent limit stays as it is.
    #[schema(nullable = false)]
    pub retention: Option<NewRetention>,
    /// Reason for the change, kept in the history.
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
}

/// Change of the limits of the records. An absent limit stays as it is.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NewRetention {
    /// Age at which a dead letter is removed, from `1h` to `36500d`.
    #[schema(example = "30d")]
    pub dead_letters: Option<String>,
    /// Limit of the dead letters of each group.
    #[schema(nullable = false)]
    pub dead_letter_quota: Option<schema::DeadLetterQuotaSchema>,
    /// Limits of ended tasks.
    #[schema(nullable = false)]
    pub tasks: Option<schema::HistoryLimitSchema>,
    /// Limits of the ids of commands.
    #[schema(nullable = false)]
    pub commands: Option<schema::HistoryLimitSchema>,
    /// Limits of the records of passes.
    #[schema(nullable = false)]
    pub passes: Option<schema::HistoryLimitSchema>,
}

/// Show the settings of the cluster
///
/// The settings that are the same on every node. The first node of a cluster gives the cluster its
/// own settings; a later node whose configuration has other values runs with those of the cluster,
/// and is listed here.
#[utoipa::path(
    get, path = "/cluster", tag = "operations", operation_id = "getCluster",
    responses((status = 200, description = "Settings of the cluster.", body = ClusterView,
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn show(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let roster = app.roster.current().await?;
    let view = ClusterView::load(&app, &roster).await?;
    Ok(([(header::ETAG, etag(roster.version()))], Json(view)).into_response())
}

/// Change the settings of the cluster
///
/// Every node follows without a restart. A setting that the body leaves out stays as it is. The
/// prefix cannot change. A new queue type holds for work queues that are made from now on; the
/// member `followUp` of the answer says how the queues that exist are replaced. A change to the
/// present settings is a success and records nothing.
#[utoipa::path(
    put, path = "/cluster", tag = "operations", operation_id = "changeCluster",
    params(CommandHeaderParams),
    request_body = NewClusterSettings,
    responses((status = 200, description = "The cluster has the settings.", body = ClusterView,
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-body", "cannot-change", "invalid-setting",
        "stale-version", "command-reused", "outdated-node", "body-too-large",
        "unsupported-media-type", "timeout", "contention", "store-unavailable"]))),
)]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::from_body(&request.headers, &body)?;
    let change = read_change(&mut fields)?;
    let reason = fields.checked_text("reason", check_reason)?;
    fields.end()?;
    let names_queue_type = change.queue_type.is_some();
    let audited = request.audited(&body, reason)?;
    let outcome = app.roster.execute(Command::ChangeCluster(change), audited).await?;
    let roster = app.roster.after(&outcome).await?;
    let mut view = ClusterView::load(&app, &roster).await?;
    let CommandOutcome { events, version, .. } = outcome;
    let has_queues = app.roster.layout().flavor == Flavor::RabbitMq;
    if names_queue_type && has_queues && !events.is_empty() {
        view.follow_up = Some(MIGRATE);
    }
    Ok(([(header::ETAG, etag(version))], Json(view)).into_response())
}

fn read_change(fields: &mut Fields) -> Result<ClusterChange, Problem> {
    let change = ClusterChange {
        prefix: fields.text("prefix")?,
        queue_type: fields.read("queueType")?,
        reconcile: fields.read("reconcile")?,
        reconcile_interval: fields.read("reconcileInterval")?,
        ..ClusterChange::default()
    };
    let Some(mut limits) = fields.fields("retention")? else { return Ok(change) };
    let change = ClusterChange {
        dead_letters: limits.read("deadLetters")?,
        dead_letter_quota: limits.read("deadLetterQuota")?,
        tasks: limits.read::<HistoryLimit>("tasks")?,
        commands: limits.read("commands")?,
        passes: limits.read("passes")?,
        ..change
    };
    limits.end()?;
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Bytes, http::HeaderMap};
    use serde_json::{Value, json};

    fn parsed(body: &Value) -> Result<ClusterChange, Problem> {
        let body = Body(Bytes::from(body.to_string()));
        read_change(&mut Fields::from_body(&HeaderMap::new(), &body).unwrap())
    }

    #[test]
    fn a_change_has_only_the_settings_of_its_body() {
        let change = parsed(&json!({"reconcile": "manual", "retention": {"deadLetters": "2d"}}));
        let expected = ClusterChange {
            reconcile: Some(RepairMode::Manual),
            dead_letters: Some(Span::from_secs(2 * 86_400)),
            ..ClusterChange::default()
        };
        assert_eq!(change.unwrap(), expected);
    }

    #[test]
    fn a_wrong_setting_is_named_by_its_pointer() {
        for (body, pointer) in [
            (json!({"queueType": "stream"}), "/queueType"),
            (json!({"reconcileInterval": 30}), "/reconcileInterval"),
            (json!({"retention": {"tasks": {"age": "1d"}}}), "/retention/tasks"),
            (json!({"retention": {"letters": "1d"}}), "/retention/letters"),
        ] {
            assert_eq!(parsed(&body).unwrap_err().body("r")["pointer"], pointer, "{body}");
        }
    }
}
