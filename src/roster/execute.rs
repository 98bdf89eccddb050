//! One command, from the request to the log.

use super::{RosterService, fold};
use crate::{
    domain::{
        admission::{self, NotAdmitted},
        command::Command,
        event::{Audit, RecordedEvent, Version},
        roster::{Refusal, decide},
    },
    store::{AppendError, RecordedCommand, StoreError},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// How often a command is decided again after another node was first. With two administrators
/// per second this is never reached; it is there so that a command always ends.
const ATTEMPTS: usize = 10;

/// Names a command, so that sending it twice does it once.
#[derive(Debug, Clone, Copy)]
pub struct Idempotency {
    /// The command's id, derived from the `Idempotency-Key`.
    pub id: Uuid,
    /// A digest of what was asked. The same key with another body is a mistake of the caller's.
    pub fingerprint: [u8; 32],
}

/// Who asks, why, and under which conditions.
#[derive(Debug, Clone)]
pub struct Audited {
    /// The authenticated subject, or `node:<id>`.
    pub actor: String,
    /// Free text.
    pub reason: Option<String>,
    /// The HTTP request's id.
    pub request_id: Option<String>,
    /// The roster must have exactly this version.
    pub if_match: Option<Version>,
    /// The command's name, where the caller gave one.
    pub idempotency: Option<Idempotency>,
}

/// What a command led to.
#[derive(Debug, Clone)]
pub struct CommandOutcome {
    /// The events, as they were recorded.
    pub events: Vec<RecordedEvent>,
    /// Whether they had been recorded before, under the same `Idempotency-Key`.
    pub replayed: bool,
}

/// Why a command changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The roster refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This node refuses it.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The roster has another version than the caller named.
    #[error("the roster has version {found}, not {expected}")]
    StaleVersion {
        /// The version the caller named.
        expected: Version,
        /// The version it has.
        found: Version,
    },
    /// The `Idempotency-Key` named another command before.
    #[error("the idempotency key was used for another request")]
    CommandReused,
    /// Other commands were first, every time.
    #[error("other commands were first, {ATTEMPTS} times in a row")]
    Contention,
    /// The log cannot be read or written. Nothing is known to have changed.
    #[error("the log is out of reach")]
    Store(#[from] StoreError),
}

impl RosterService {
    /// Decides a command and records what it leads to.
    ///
    /// Another node's command in between is no reason to refuse: the command is decided again on
    /// the newer roster. A connection lost while committing is resolved by the command's id.
    ///
    /// # Errors
    /// [`ExecuteError`] says why nothing changed.
    pub async fn execute(
        &self,
        command: Command,
        asked: Audited,
    ) -> Result<CommandOutcome, ExecuteError> {
        let result = self.run(&command, &asked).await;
        let (group, actor) = (command.group(), &asked.actor);
        let outcome = match &result {
            Ok(outcome) if outcome.replayed => "replayed",
            Ok(outcome) => {
                for event in &outcome.events {
                    let (version, what) = (event.version, event.event.type_name());
                    tracing::info!(version, %group, %actor, "{what} {group}, by {actor}: version {version}");
                }
                "accepted"
            }
            Err(ExecuteError::StaleVersion { .. }) => "stale",
            Err(ExecuteError::Contention) => "contention",
            Err(ExecuteError::Store(_)) => "unavailable",
            Err(_) => "refused",
        };
        self.metrics.command(outcome);
        result
    }

    async fn run(
        &self,
        command: &Command,
        asked: &Audited,
    ) -> Result<CommandOutcome, ExecuteError> {
        let command_id = asked.idempotency.map_or_else(Uuid::now_v7, |named| named.id);
        let audit = Audit {
            actor: asked.actor.clone(),
            node: self.config.node.clone(),
            reason: asked.reason.clone(),
            command_id,
            request_id: asked.request_id.clone(),
        };
        let _appending = self.appending.lock().await;
        if let Some(named) = &asked.idempotency
            && let Some(recorded) = self.store.command(named.id).await?
        {
            return replay(recorded, named);
        }
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(2))
            .with_max_delay(Duration::from_millis(200))
            .with_max_times(ATTEMPTS)
            .with_jitter()
            .build();
        for pause in pauses {
            let roster = self.current().await?;
            self.admit(command)?;
            if let Some(expected) = asked.if_match.filter(|version| *version != roster.version()) {
                return Err(ExecuteError::StaleVersion { expected, found: roster.version() });
            }
            let events = decide(&roster, command)?;
            let fingerprint = asked.idempotency.as_ref().map(|named| &named.fingerprint);
            match self.store.append(roster.version(), &events, &audit, fingerprint).await {
                Ok(events) => {
                    self.advance(&roster, &events).await;
                    return Ok(CommandOutcome { events, replayed: false });
                }
                Err(AppendError::Conflict) => tokio::time::sleep(pause).await,
                Err(AppendError::Replayed(events)) => {
                    return Ok(CommandOutcome { events, replayed: true });
                }
                Err(AppendError::CommandReused) => return Err(ExecuteError::CommandReused),
                Err(AppendError::Store(error)) => return self.resolve(command_id, error).await,
            }
        }
        Err(ExecuteError::Contention)
    }

    fn admit(&self, command: &Command) -> Result<(), NotAdmitted> {
        let (config, buses) = (&self.config, self.buses());
        let node = admission::AdmissionFacts {
            required: &config.required,
            buses: &buses,
            layout: &config.layout,
        };
        admission::check(&node, command, |listener| config.catalog.verdict(listener))
    }

    /// Folds what this node just appended, without reading it back.
    async fn advance(
        &self,
        decided_on: &Arc<crate::domain::roster::Roster>,
        events: &[RecordedEvent],
    ) {
        let _folding = self.folding.lock().await;
        if self.known().last_event() == decided_on.last_event() {
            self.publish(&Arc::new(fold(decided_on, events)));
        }
    }

    /// Finds out whether a command whose answer was lost was recorded.
    async fn resolve(&self, id: Uuid, error: StoreError) -> Result<CommandOutcome, ExecuteError> {
        match self.store.command(id).await {
            Ok(Some(recorded)) => Ok(CommandOutcome { events: recorded.events, replayed: false }),
            Ok(None) | Err(_) => Err(error.into()),
        }
    }
}

fn replay(recorded: RecordedCommand, named: &Idempotency) -> Result<CommandOutcome, ExecuteError> {
    if recorded.fingerprint.as_deref() == Some(&named.fingerprint) {
        return Ok(CommandOutcome { events: recorded.events, replayed: true });
    }
    Err(ExecuteError::CommandReused)
}

impl CommandOutcome {
    /// The version after the command.
    #[must_use]
    pub fn version(&self) -> Version {
        self.events.last().map_or(0, |event| event.version)
    }
}
