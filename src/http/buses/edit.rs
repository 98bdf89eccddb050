//! Change and removal of a bus.

use super::BusView;
use crate::{
    domain::{
        bus::{BusDefinition, Codec},
        command::Command,
        name::BusName,
    },
    http::{
        App,
        body::{Body, Fields},
        parameters::Segment,
        precondition::{CommandRequest, check_reason, etag},
        problem::Problem,
        schema::{self, CommandHeaderParams},
    },
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use utoipa::ToSchema;

/// Change of a bus. An absent member stays as it is.
#[derive(ToSchema)]
#[schema(example = json!({"codec": "msgpack", "reason": "CHG-1234"}))]
pub struct BusChange {
    /// Form in which the events of the bus are written from now on.
    #[schema(value_type = Option<schema::CodecSchema>, nullable = false)]
    pub codec: Option<String>,
    /// Whether the exchange of the bus belongs to another program; only the present value is
    /// accepted.
    pub attached: Option<bool>,
    /// Name of the exchange of an attached bus; only the present value is accepted.
    pub exchange: Option<String>,
    /// Reason for the change, kept in the history.
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
}

/// Change a bus
///
/// Every node writes events in the new form without a restart; events are read in every form. The
/// exchange of a bus cannot change. A change to the present definition is a success and records
/// nothing.
#[utoipa::path(
    put, path = "/buses/{name}", tag = "buses", operation_id = "changeBus",
    params(("name" = String, Path, description = "Name of the bus."), CommandHeaderParams),
    request_body = BusChange,
    responses((status = 200, description = "The roster has the definition.", body = BusView,
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-name", "invalid-body", "not-found", "cannot-change",
        "invalid-bus", "stale-version", "command-reused", "outdated-node", "body-too-large",
        "unsupported-media-type", "timeout", "contention", "store-unavailable"]))),
)]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    Segment(name): Segment<BusName>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::from_body(&request.headers, &body)?;
    let codec: Option<Codec> = fields.read("codec")?;
    let attached: Option<bool> = fields.read("attached")?;
    let exchange = fields.text("exchange")?;
    let reason = fields.checked_text("reason", check_reason)?;
    fields.end()?;
    let audited = request.audited(&body, reason)?;
    let present = app.roster.current().await?.bus(&name)?.clone();
    let bus = BusDefinition {
        codec: codec.unwrap_or(present.codec),
        attached: attached.unwrap_or(present.attached),
        exchange: exchange.or(present.exchange),
        name: present.name,
    };
    let outcome = app.roster.execute(Command::ChangeBus(bus.clone()), audited).await?;
    let roster = app.roster.after(&outcome).await?;
    let headers = [(header::ETAG, etag(outcome.version))];
    Ok((headers, Json(BusView::new(&roster, &bus))).into_response())
}

/// Remove a bus
///
/// A bus with a listener, or with a queue that is kept or waits for its deletion, stays. The
/// exchanges of the bus, and its queues once they are empty, are deleted by a pass; the exchange of
/// an attached bus stays as it is.
#[utoipa::path(
    delete, path = "/buses/{name}", tag = "buses", operation_id = "removeBus",
    params(
        ("name" = String, Path, description = "Name of the bus."),
        ("reason" = Option<String>, Query, description = "Reason for the removal, kept in the history."),
        CommandHeaderParams,
    ),
    responses((status = 204, description = "The roster no longer has the bus.",
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-name", "not-found", "bus-in-use", "required-here",
        "stale-version", "command-reused", "outdated-node", "body-too-large", "timeout",
        "contention", "store-unavailable"]))),
)]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Segment(name): Segment<BusName>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let audited = request.audited(&body, request.reason()?)?;
    let outcome = app.roster.execute(Command::RemoveBus(name), audited).await?;
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, etag(outcome.version))]).into_response())
}
