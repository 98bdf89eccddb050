//! Difference between two versions of the roster.

use crate::{
    domain::{
        event::{Generation, Version},
        listener::ListenerSpec,
        name::GroupName,
        roster::{Configured, ListenerDiff, Roster, RosterDiff},
    },
    http::{
        App,
        parameters::{Query, invalid_parameter},
        problem::{Problem, kinds},
        schema,
    },
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Difference between two versions of the roster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RosterDiff)]
pub struct RosterDiffView {
    /// Version that the comparison starts from.
    #[schema(value_type = u64)]
    from: Version,
    /// Version that the comparison leads to.
    #[schema(value_type = u64)]
    to: Version,
    /// Listeners that only `to` has.
    added: Vec<ListenerAtVersion>,
    /// Listeners that only `from` has.
    removed: Vec<ListenerAtVersion>,
    /// Listeners of both versions that differ.
    changed: Vec<ListenerDiffView>,
}

/// Listener that differs between two versions of the roster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListenerDiff)]
pub struct ListenerDiffView {
    /// Group of the listener.
    #[schema(value_type = String)]
    group: GroupName,
    /// Names of the settings that differ.
    settings: Vec<&'static str>,
    /// The listener in `from`.
    before: ListenerAtVersion,
    /// The listener in `to`.
    after: ListenerAtVersion,
}

/// Listener at a version of the roster.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListenerAtVersion {
    /// Settings of the listener.
    #[schema(value_type = schema::ListenerSpecSchema)]
    listener: ListenerSpec,
    /// Whether the listener was paused.
    paused: bool,
    /// Generation of the queue that the listener consumed.
    #[schema(value_type = u32)]
    generation: Generation,
}

impl From<&Configured> for ListenerAtVersion {
    fn from(configured: &Configured) -> Self {
        let Configured { listener, generation, .. } = configured;
        let paused = configured.is_paused();
        Self { listener: listener.clone(), paused, generation: *generation }
    }
}

impl From<&ListenerDiff<'_>> for ListenerDiffView {
    fn from(diff: &ListenerDiff<'_>) -> Self {
        Self {
            group: diff.after.listener.group.clone(),
            settings: diff.settings(),
            before: diff.before.into(),
            after: diff.after.into(),
        }
    }
}

/// Compare two versions of the roster
///
/// Lists the listeners that were added, removed and changed between two versions. With `from`
/// higher than `to`, the comparison goes back in time.
#[utoipa::path(
    get, path = "/listeners/diff", tag = "listeners", operation_id = "diffRoster",
    params(
        ("from" = u64, Query, description = "Version that the comparison starts from; 0 is the empty roster."),
        ("to" = Option<u64>, Query, description = "Version that the comparison leads to; the present version if absent."),
    ),
    responses((status = 200, description = "The difference.", body = RosterDiffView)),
    extensions(("x-problems" = json!(["not-found", "store-unavailable"]))),
)]
pub(crate) async fn diff(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<RosterDiffView>, Problem> {
    let right = "a version of the roster";
    let from = query.read::<Version>("from", right)?.ok_or_else(|| {
        let detail = format!("query parameter from is missing; it must be {right}");
        invalid_parameter("from", detail)
    })?;
    let now = app.roster.current().await?;
    let to = query.read::<Version>("to", right)?.unwrap_or(now.version());
    let (before, after) = (at(&app, &now, from).await?, at(&app, &now, to).await?);
    let difference = RosterDiff::between(&before, &after);
    Ok(Json(RosterDiffView {
        from,
        to,
        added: difference.added.into_iter().map(ListenerAtVersion::from).collect(),
        removed: difference.removed.into_iter().map(ListenerAtVersion::from).collect(),
        changed: difference.changed.iter().map(ListenerDiffView::from).collect(),
    }))
}

/// The roster at a version.
///
/// # Errors
/// When the roster does not have the version yet, or the log cannot be read.
pub(super) async fn at(
    app: &App,
    now: &Arc<Roster>,
    version: Version,
) -> Result<Arc<Roster>, Problem> {
    if version > now.version() {
        let newest = now.version();
        let detail = format!("the roster has no version {version} yet; its version is {newest}");
        return Err(Problem::new(&kinds::NOT_FOUND, detail));
    }
    if version == now.version() {
        return Ok(Arc::clone(now));
    }
    app.roster.at(version).await?.map(Arc::new).ok_or_else(|| {
        Problem::internal("the log of the roster is shorter than the roster's version")
    })
}
