//! The way of a command from the request to the log.

use super::{RosterService, fold};
use crate::{
    domain::{
        admission::{self, ClassVerdict, NotAdmitted},
        command::Command,
        drift::DriftKind,
        event::{Audit, RecordedEvent, Version},
        layout::ObjectName,
        roster::{OrphanQueue, Refusal, Roster, decide},
    },
    store::{AppendError, RecordedCommand, StoreError},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use uuid::Uuid;

/// Number of times that a command is decided before it is given up because other commands were
/// recorded first. It makes sure that every command ends. While another node appends without a
/// pause, an attempt fails about every second time: of 200 commands, 25 attempts give one up in
/// some hundred thousand runs. All pauses together take four seconds.
const ATTEMPTS: usize = 25;

/// Identity of a command, so that a command that is sent twice takes effect once.
#[derive(Debug, Clone, Copy)]
pub struct Idempotency {
    /// Id of the command, derived from the `Idempotency-Key`.
    pub id: Uuid,
    /// Digest of the request. The same key with another request is a mistake of the caller.
    pub fingerprint: [u8; 32],
}

/// Facts about a request for a command: who asks, why, and under which conditions.
#[derive(Debug, Clone)]
pub struct Audited {
    /// The authenticated subject, or `node:<id>`.
    pub actor: String,
    /// Reason, in the administrator's own words.
    pub reason: Option<String>,
    /// Id of the HTTP request.
    pub request_id: Option<String>,
    /// Version that the roster must have.
    pub if_match: Option<Version>,
    /// Identity of the command, if the caller gave an `Idempotency-Key`.
    pub idempotency: Option<Idempotency>,
}

/// Outcome of a command.
#[derive(Debug, Clone)]
pub struct CommandOutcome {
    /// The recorded events. None when the roster had the effect of the command already.
    pub events: Vec<RecordedEvent>,
    /// Version of the roster after the command.
    pub version: Version,
    /// Whether the events were recorded earlier, under the same `Idempotency-Key`.
    pub replayed: bool,
}

/// Reason why a command changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The roster refuses the command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This node refuses the command.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The roster does not have the version that the caller named.
    #[error("the roster has version {found}, not {expected}")]
    StaleVersion {
        /// The version that the caller named.
        expected: Version,
        /// The roster's version.
        found: Version,
    },
    /// The `Idempotency-Key` was used for another command.
    #[error("the idempotency key was used for another request")]
    CommandReused,
    /// Other commands were recorded first, every time.
    #[error("other commands were recorded first, {ATTEMPTS} times in a row")]
    Contention,
    /// The log cannot be read or written. It is not known whether the roster changed.
    #[error("the log is out of reach")]
    Store(#[from] StoreError),
}

impl RosterService {
    /// Decides a command and records its events.
    ///
    /// A command that another node recorded in between does not make this command fail: it is
    /// decided again on the newer roster. When the connection is lost during the commit, the
    /// command's id shows whether the command was recorded.
    ///
    /// # Errors
    /// [`ExecuteError`]: the reason why nothing changed.
    pub async fn execute(
        &self,
        command: Command,
        asked: Audited,
    ) -> Result<CommandOutcome, ExecuteError> {
        let result = self.run(&command, &asked).await;
        let (subject, actor) = (command.subject(), &asked.actor);
        let outcome = match &result {
            Ok(outcome) if outcome.replayed => "replayed",
            Ok(outcome) => {
                for event in &outcome.events {
                    let (version, what) = (event.version, event.event.type_name());
                    tracing::info!(version, subject, %actor, "{what} {subject}, by {actor}: version {version}");
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
        // Before this command's turn, so that a slow class delays no other command.
        let verdict = self.class_verdict(command).await;
        let turn = self.appending.wait().await?;
        match self.append(command, &verdict, asked, &audit).await {
            Err(ExecuteError::Store(error)) => Ok(turn.end(Err(error))?),
            result => result,
        }
    }

    /// Decides a command on the newest roster and appends its events, until no other command comes
    /// first.
    async fn append(
        &self,
        command: &Command,
        verdict: &ClassVerdict,
        asked: &Audited,
        audit: &Audit,
    ) -> Result<CommandOutcome, ExecuteError> {
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
            self.admit(&roster, command, verdict)?;
            if let Some(expected) = asked.if_match.filter(|version| *version != roster.version()) {
                return Err(ExecuteError::StaleVersion { expected, found: roster.version() });
            }
            self.check_bus_unused(&roster, command).await?;
            let events = decide(&roster, command, &self.known_orphans(command).await?)?;
            let fingerprint = asked.idempotency.as_ref().map(|named| &named.fingerprint);
            match self.store.append(roster.version(), &events, audit, fingerprint).await {
                Ok(events) => {
                    self.advance(&roster, &events).await;
                    let version = last_version(&events).unwrap_or(roster.version());
                    return Ok(CommandOutcome { events, version, replayed: false });
                }
                Err(AppendError::Conflict) => tokio::time::sleep(pause).await,
                Err(AppendError::Replayed(events)) => {
                    return Ok(CommandOutcome::earlier(events));
                }
                Err(AppendError::CommandReused) => return Err(ExecuteError::CommandReused),
                Err(AppendError::Store(error)) => {
                    return self.resolve(audit.command_id, error).await;
                }
            }
        }
        Err(ExecuteError::Contention)
    }

    /// Verdict of the class on the listener that a command adds or changes. A command that does
    /// neither is accepted.
    async fn class_verdict(&self, command: &Command) -> ClassVerdict {
        match command {
            Command::AddListener(listener) | Command::ChangeListener(listener) => {
                self.config.catalog.verdict_in_time(listener).await
            }
            Command::PauseListener { .. }
            | Command::ResumeListener { .. }
            | Command::RemoveListener { .. }
            | Command::MigrateListener { .. }
            | Command::AddBus(_)
            | Command::ChangeBus(_)
            | Command::RemoveBus(_)
            | Command::ChangeCluster(_)
            | Command::ReleaseQueue { .. } => ClassVerdict::Accepted,
        }
    }

    /// The orphans that the last pass of any node found. They are read only for the addition of a
    /// listener, the one command that depends on them.
    async fn known_orphans(&self, command: &Command) -> Result<BTreeSet<OrphanQueue>, StoreError> {
        if !matches!(command, Command::AddListener(_)) {
            return Ok(BTreeSet::new());
        }
        self.orphans().await
    }

    /// The orphans that the last pass of any node found.
    async fn orphans(&self) -> Result<BTreeSet<OrphanQueue>, StoreError> {
        let drift = self.store.topology_status().await?.drift;
        let orphans = drift.iter().filter(|drift| drift.kind == DriftKind::Orphan);
        let queues = orphans.filter_map(|orphan| match self.layout().read(&orphan.name)? {
            ObjectName::Work { bus, queue: id } => Some(OrphanQueue { bus, id }),
            _ => None,
        });
        Ok(queues.collect())
    }

    /// Refuses to remove a bus while a queue on it is kept, waits for its deletion, or is an
    /// orphan. Whether a queue was deleted is known to the passes and not to the roster.
    async fn check_bus_unused(
        &self,
        roster: &Roster,
        command: &Command,
    ) -> Result<(), ExecuteError> {
        let Command::RemoveBus(bus) = command else { return Ok(()) };
        let mut users = roster.bus_users(bus, &self.store.retired().await?);
        let orphans = self.orphans().await?.into_iter().filter(|orphan| orphan.bus == *bus);
        users.extend(orphans.map(|orphan| format!("an orphan of group {}", orphan.id.group)));
        if users.is_empty() {
            return Ok(());
        }
        Err(Refusal::BusOccupied { bus: bus.clone(), users }.into())
    }

    fn admit(
        &self,
        roster: &Roster,
        command: &Command,
        verdict: &ClassVerdict,
    ) -> Result<(), NotAdmitted> {
        let config = &self.config;
        let facts = admission::AdmissionFacts {
            required: &config.required,
            buses: roster.buses(),
            defined_buses: &self.configured_buses().map(|bus| bus.name.clone()).collect(),
            layout: &config.layout,
        };
        admission::check(&facts, command, |_| verdict.clone())
    }

    /// The roster right after a command.
    ///
    /// # Errors
    /// When the log cannot be read. It is read only when the roster has changed since.
    pub async fn after(&self, outcome: &CommandOutcome) -> Result<Arc<Roster>, StoreError> {
        let known = self.known();
        if known.version() == outcome.version {
            return Ok(known);
        }
        Ok(self.at(outcome.version).await?.map_or(known, Arc::new))
    }

    /// Folds events that this node just appended, without reading them back.
    async fn advance(&self, decided_on: &Arc<Roster>, events: &[RecordedEvent]) {
        // A failure of another caller does not matter: the next catch-up folds these events.
        let Ok(_turn) = self.folding.wait().await else { return };
        if self.known().last_event() == decided_on.last_event() {
            self.publish(&Arc::new(fold(decided_on, events)));
        }
    }

    /// Finds out whether a command was recorded when the answer to its commit was lost.
    async fn resolve(&self, id: Uuid, error: StoreError) -> Result<CommandOutcome, ExecuteError> {
        match self.store.command(id).await {
            Ok(Some(recorded)) => {
                Ok(CommandOutcome { replayed: false, ..CommandOutcome::earlier(recorded.events) })
            }
            Ok(None) | Err(_) => Err(error.into()),
        }
    }
}

fn replay(recorded: RecordedCommand, named: &Idempotency) -> Result<CommandOutcome, ExecuteError> {
    if recorded.fingerprint.as_deref() == Some(&named.fingerprint) {
        return Ok(CommandOutcome::earlier(recorded.events));
    }
    Err(ExecuteError::CommandReused)
}

impl CommandOutcome {
    /// Outcome of a command that the log has already.
    fn earlier(events: Vec<RecordedEvent>) -> Self {
        let version = last_version(&events).unwrap_or_default();
        Self { events, version, replayed: true }
    }
}

fn last_version(events: &[RecordedEvent]) -> Option<Version> {
    events.last().map(|event| event.version)
}
