//! What an operator can do about a queue.

use super::{InventoryQueue, QueueKind, QueuePlace};
use crate::domain::{
    command::Pending,
    depth::Depth,
    drift::Remedy,
    roster::{OrphanQueue, QueueId, Roster},
};
use serde::Serialize;

/// What ends the state of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueRemedy {
    /// hearken does what is left to do.
    Wait,
    /// The operator adds the group again, and its listener consumes the queue.
    AddGroup,
    /// The operator removes the listener of the group and adds it again, and the new listener
    /// consumes the queue.
    ReplaceListener,
    /// The operator adds the bus again.
    AddBus,
    /// The operator replaces the queue by its next generation.
    Migrate,
    /// The operator deletes the queue.
    Delete,
}

/// What ends the state of a queue, in one word and in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueAdvice {
    /// One word, for programs.
    pub remedy: QueueRemedy,
    /// Sentence for people.
    pub text: String,
}

impl QueueAdvice {
    fn new(remedy: QueueRemedy, text: impl Into<String>) -> Self {
        Self { remedy, text: text.into() }
    }
}

impl InventoryQueue {
    /// What ends the state of the queue. `None` for a queue that is as it should be. `drift` is the
    /// repair of a drift of the queue; `depth` are the counts of the queue, if they are known.
    #[must_use]
    pub fn advice(
        &self,
        roster: &Roster,
        drift: Option<Remedy>,
        depth: Option<Depth>,
    ) -> Option<QueueAdvice> {
        match self.kind {
            QueueKind::Kept => Some(self.advice_for_kept(roster)),
            QueueKind::Draining => Some(self.advice_for_draining(roster)),
            QueueKind::Orphan => Some(self.advice_for_orphan(roster)),
            _ if self.place == QueuePlace::Absent => Some(QueueAdvice::new(
                QueueRemedy::Wait,
                "the broker does not have the queue; a pass declares it",
            )),
            QueueKind::Work if drift == Some(Remedy::Migrate) => Some(QueueAdvice::new(
                QueueRemedy::Migrate,
                format!(
                    "its arguments differ from the desired ones; POST /topology/queues/{}?action=migrate replaces the queue without a loss",
                    self.name
                ),
            )),
            QueueKind::Parked if depth.is_some_and(|depth| depth.holds_events()) => {
                Some(QueueAdvice::new(
                    QueueRemedy::Wait,
                    "a node moves the messages to the dead letters of group parked",
                ))
            }
            QueueKind::Work | QueueKind::Wait | QueueKind::Parked => None,
        }
    }

    fn advice_for_kept(&self, roster: &Roster) -> QueueAdvice {
        let Some(QueueId { group, .. }) = &self.id else { return self.deletion() };
        if roster.listeners().contains_key(group) {
            let text = format!(
                "group {group} has another queue, so no listener consumes this one; {}",
                self.how_to_delete()
            );
            return QueueAdvice::new(QueueRemedy::Delete, text);
        }
        let text = format!(
            "add group {group} on bus {} again, and its listener consumes the newest kept queue; or {}",
            self.bus,
            self.how_to_delete()
        );
        QueueAdvice::new(QueueRemedy::AddGroup, text)
    }

    fn advice_for_draining(&self, roster: &Roster) -> QueueAdvice {
        let drains = self.tombstone(roster).is_some_and(|dead| dead.pending == Pending::Drain);
        let text = if drains {
            "a node consumes what is left, then a pass deletes the queue"
        } else {
            "a pass deletes the queue with its events once it has no consumer"
        };
        QueueAdvice::new(QueueRemedy::Wait, text)
    }

    fn advice_for_orphan(&self, roster: &Roster) -> QueueAdvice {
        let bus = &self.bus;
        let Some(id) = &self.id else {
            if roster.buses().contains_key(bus) {
                return self.deletion();
            }
            let text = format!("add bus {bus} again; or {}", self.how_to_delete());
            return QueueAdvice::new(QueueRemedy::AddBus, text);
        };
        let group = &id.group;
        if !roster.may_decide_about(&OrphanQueue { bus: bus.clone(), id: id.clone() }) {
            return self.deletion();
        }
        let release = format!("hearken topology release {} lets the queue go", self.name);
        let (remedy, text) = if !roster.buses().contains_key(bus) {
            (QueueRemedy::AddBus, format!("add bus {bus} and then group {group} again"))
        } else if roster.listeners().contains_key(group) {
            (
                QueueRemedy::ReplaceListener,
                format!(
                    "remove group {group} with pending drain, and add it again on bus {bus}: the new listener takes the queue over"
                ),
            )
        } else {
            (
                QueueRemedy::AddGroup,
                format!("add group {group} on bus {bus} again: its listener takes the queue over"),
            )
        };
        QueueAdvice::new(remedy, format!("{text}, with its events; or {release}"))
    }

    fn deletion(&self) -> QueueAdvice {
        QueueAdvice::new(QueueRemedy::Delete, self.how_to_delete())
    }

    fn how_to_delete(&self) -> String {
        format!(
            "DELETE /topology/queues/{}?force=true deletes the queue with its events",
            self.name
        )
    }
}
