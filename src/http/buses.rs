//! `/buses`: the buses of the cluster, and their addition, change and removal.

pub mod edit;

use super::{
    App,
    body::{Body, Fields},
    precondition::{CommandRequest, check_reason, etag},
    problem::Problem,
    schema::{self, CommandHeaderParams},
};
use crate::{
    domain::{
        bus::{BusDefinition, Codec},
        command::Command,
        event::Version,
        name::BusName,
        roster::Roster,
    },
    roster::Audited,
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::Arc;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Buses of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub struct BusListing {
    /// Version of the roster.
    #[schema(value_type = u64)]
    version: Version,
    /// Buses, in the order of their names.
    buses: Vec<BusView>,
}

/// Bus of the cluster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Bus)]
#[serde(rename_all = "camelCase")]
pub struct BusView {
    /// Name of the bus.
    #[schema(value_type = String, example = "billing")]
    name: BusName,
    /// Form in which the events of the bus are written.
    #[schema(value_type = schema::CodecSchema)]
    codec: Codec,
    /// Whether the exchange of the bus belongs to another program.
    attached: bool,
    /// Name of the exchange of an attached bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    exchange: Option<String>,
    /// Number of listeners that are configured on the bus.
    listeners: usize,
    /// Time of the addition; absent for a default bus without an event in the log.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    added_at: Option<OffsetDateTime>,
    /// Author of the addition; `node:<id>` for a bus of the configuration file of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    added_by: Option<String>,
    /// Reason that the author gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

impl BusView {
    fn new(roster: &Roster, bus: &BusDefinition) -> Self {
        let addition = roster.bus_addition(&bus.name);
        let listeners = roster.listeners().values();
        Self {
            name: bus.name.clone(),
            codec: bus.codec,
            attached: bus.attached,
            exchange: bus.exchange.clone(),
            listeners: listeners.filter(|found| found.listener.bus == bus.name).count(),
            added_at: addition.map(|addition| addition.at),
            added_by: addition.map(|addition| addition.by.clone()),
            reason: addition.and_then(|addition| addition.reason.clone()),
        }
    }
}

/// Bus to add.
#[derive(ToSchema)]
#[schema(example = json!({"name": "billing", "reason": "CHG-1234"}))]
pub struct NewBus {
    /// Name of the bus.
    pub name: String,
    /// Form in which the events of the bus are written; `json` if absent.
    #[schema(value_type = Option<schema::CodecSchema>, nullable = false)]
    pub codec: Option<String>,
    /// Whether the exchange of the bus belongs to another program, which hearken never changes;
    /// `false` if absent.
    pub attached: Option<bool>,
    /// Name of the exchange of an attached bus.
    pub exchange: Option<String>,
    /// Reason for the addition, kept in the history.
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
}

/// List the buses
#[utoipa::path(
    get, path = "/buses", tag = "buses", operation_id = "listBuses",
    responses((status = 200, description = "Buses of the cluster.", body = BusListing,
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let roster = app.roster.current().await?;
    let version = roster.version();
    let buses = roster.buses().values().map(|bus| BusView::new(&roster, bus)).collect();
    Ok(([(header::ETAG, etag(version))], Json(BusListing { version, buses })).into_response())
}

/// Add a bus
///
/// The answer comes when the roster has the bus. Every node takes up the bus without a restart. A
/// default bus, `mailboxEvent` or `jmapEvent`, can get another definition before the first listener
/// is added.
#[utoipa::path(
    post, path = "/buses", tag = "buses", operation_id = "addBus",
    params(CommandHeaderParams),
    request_body = NewBus,
    responses((status = 201, description = "The roster has the bus.", body = BusView,
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-name", "invalid-body", "bus-in-use", "invalid-bus",
        "stale-version", "command-reused", "body-too-large", "unsupported-media-type", "timeout",
        "contention", "store-unavailable"]))),
)]
pub(crate) async fn add(
    State(app): State<Arc<App>>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::from_body(&request.headers, &body)?;
    let bus = read_bus(&mut fields)?;
    let reason = fields.checked_text("reason", check_reason)?;
    fields.end()?;
    let audited: Audited = request.audited(&body, reason)?;
    let outcome = app.roster.execute(Command::AddBus(bus.clone()), audited).await?;
    let roster = app.roster.after(&outcome).await?;
    let headers = [(header::ETAG, etag(outcome.version))];
    Ok((StatusCode::CREATED, headers, Json(BusView::new(&roster, &bus))).into_response())
}

fn read_bus(fields: &mut Fields) -> Result<BusDefinition, Problem> {
    Ok(BusDefinition {
        name: BusName::parse(fields.required_text("name")?)?,
        codec: fields.read("codec")?.unwrap_or_default(),
        attached: fields.read("attached")?.unwrap_or_default(),
        exchange: fields.text("exchange")?,
    })
}
