//! Listeners as the REST interface shows them.

use crate::{
    domain::{
        condition::{Condition, ListenerEvidence},
        event::{Generation, NodeRef, RecordedEvent, RosterEvent},
        listener::{Configuration, Delivery, Mode},
        name::{BusName, ClassName, GroupName},
        retry::Retry,
        roster::{Configured, Roster},
        span::Span,
    },
    http::{App, schema},
};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Listener of the roster.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Listener)]
pub struct ListenerView {
    /// Group: the identity of the listener in the roster.
    #[schema(value_type = String, example = "search-index")]
    pub group: GroupName,
    /// Class that nodes instantiate the listener from.
    #[schema(value_type = String, example = "webhook")]
    pub class: ClassName,
    /// Bus whose events the listener receives.
    #[schema(value_type = String, example = "mailboxEvent")]
    pub bus: BusName,
    /// Whether one node of the cluster or every node executes an event.
    #[schema(value_type = schema::DeliverySchema)]
    pub delivery: Delivery,
    /// Whether a dispatch in the same process waits for the listener.
    #[schema(value_type = schema::ModeSchema)]
    pub mode: Mode,
    /// Largest number of concurrent executions on one node.
    pub concurrency: u16,
    /// Longest time that one execution may take.
    #[schema(value_type = String, example = "10m")]
    pub timeout: Span,
    /// When a failed event is tried again.
    #[schema(value_type = schema::RetrySchema)]
    pub retry: Retry,
    /// Configuration that is passed to the class.
    #[schema(value_type = Object, example = json!({"url": "http://indexer.internal/events"}))]
    pub configuration: Configuration,
    /// Generation of the group's queue that the listener consumes.
    #[schema(value_type = u32)]
    pub generation: Generation,
    /// Whether no node consumes for the listener. Its queue holds the events.
    pub paused: bool,
    /// Whether the configuration of this node requires the listener.
    pub required: bool,
    /// When the listener was added, by the clock of the database.
    #[serde(with = "time::serde::rfc3339")]
    pub added_at: OffsetDateTime,
    /// Author of the addition.
    #[schema(example = "admin")]
    pub added_by: String,
    /// Node that executed the command.
    #[schema(value_type = schema::NodeRefSchema)]
    pub added_on: NodeRef,
    /// When the listener was last changed, paused or resumed, by the clock of the database; absent
    /// if never since its addition.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub changed_at: Option<OffsetDateTime>,
    /// Author of the last change, pause or resumption; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub changed_by: Option<String>,
    /// Reason that the author of the last change gave, or else the author of the addition.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// Whether the broker was seen to have the queues and bindings of the listener.
    pub topology: Convergence,
    /// What is true of the listener now: `Ready`, and every other condition that holds. Empty for a
    /// listener of an earlier version of the roster.
    #[schema(value_type = Vec<schema::ConditionSchema>)]
    pub conditions: Vec<Condition>,
}

/// Whether the broker has a change of the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Convergence {
    /// The broker was seen to have the change.
    Converged,
    /// The broker was not yet seen to have the change, or differs from it.
    Pending,
}

/// Contents of a work queue.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// Number of events that wait.
    pub ready: u64,
    /// Number of events that a consumer holds unacknowledged.
    pub unacked: u64,
    /// Number of consumers.
    pub consumers: u64,
    /// Least age of the oldest waiting event, in seconds; null if no event waits or the broker does
    /// not know.
    #[schema(required = true)]
    pub oldest_seconds: Option<u64>,
}

impl ListenerView {
    /// View of a listener that a command added or changed. The command is done, so the view tells
    /// what is known even when the database cannot be read.
    pub async fn after_command(app: &App, roster: &Roster, configured: &Configured) -> Self {
        let status = app.store.topology_status().await.unwrap_or_default();
        let nodes = app.store.nodes().await.unwrap_or_default();
        let evidence = ListenerEvidence::new(app.roster.layout(), roster, &status, &nodes);
        Self::new(app, configured, &evidence)
    }

    /// View of a listener. Its convergence is that of the last pass.
    #[must_use]
    pub fn new(app: &App, configured: &Configured, evidence: &ListenerEvidence<'_>) -> Self {
        let listener = configured.listener.clone();
        let is_there = evidence.has_topology(configured);
        Self {
            required: app.roster.is_required(&listener.group),
            topology: if is_there { Convergence::Converged } else { Convergence::Pending },
            conditions: evidence.conditions(configured),
            group: listener.group,
            class: listener.class,
            bus: listener.bus,
            delivery: listener.delivery,
            mode: listener.mode,
            concurrency: listener.concurrency,
            timeout: listener.timeout,
            retry: listener.retry,
            configuration: listener.configuration,
            generation: configured.generation,
            paused: configured.is_paused(),
            added_at: configured.added_at,
            added_by: configured.added_by.clone(),
            added_on: configured.added_on.clone(),
            changed_at: configured.amended.as_ref().map(|amendment| amendment.at),
            changed_by: configured.amended.as_ref().map(|amendment| amendment.by.clone()),
            reason: configured.reason.clone(),
        }
    }
}

/// Listener that a recorded event added.
#[must_use]
pub fn configured_by(recorded: &RecordedEvent) -> Option<Configured> {
    let RosterEvent::ListenerAdded { listener, generation } = &recorded.event else { return None };
    Some(Configured::by(listener.clone(), *generation, recorded))
}
