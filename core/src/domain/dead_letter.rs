//! Events that somebody gave up on, kept with why.

use super::name::{BusName, GroupName, RegistrationKey};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use uuid::Uuid;

/// The dead-letter group of events that could not be published (ADR 27).
pub const DISPATCH_FAILURE: &str = "dispatch-failure";
/// The dead-letter group of events that nobody could take: not readable, for a group that is gone,
/// or given up by the broker.
pub const PARKED: &str = "parked";

/// What is known of an event that is kept. Its body is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names the entry (James: insertion id). The same failure stored twice is one entry.
    pub id: Uuid,
    /// The bus.
    pub bus: BusName,
    /// Who gave up: a listener's group, [`DISPATCH_FAILURE`] or [`PARKED`].
    pub group: GroupName,
    /// The group it goes back to, where that is not `group`: for what was parked.
    pub origin: Option<GroupName>,
    /// The event's own id, where it can be read.
    pub event_id: Option<String>,
    /// The event's type, where it can be read.
    pub event_type: Option<String>,
    /// The user it is about.
    pub user: Option<String>,
    /// The form in which its body is kept.
    pub content_type: Option<String>,
    /// The registration keys that it was dispatched with, and that nobody was told of yet.
    pub keys: BTreeSet<RegistrationKey>,
    /// Why, in words for an operator.
    pub cause: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed for the first time.
    pub first_failed_at: OffsetDateTime,
    /// When it failed for the last time.
    pub last_failed_at: OffsetDateTime,
    /// The node that gave up.
    pub node: String,
    /// The entry that it was redelivered from, when it failed before.
    pub previous: Option<Uuid>,
}

impl DeadLetter {
    /// The group that a redelivery is for; none for what was never published.
    #[must_use]
    pub fn destination(&self) -> Option<&GroupName> {
        match self.group.as_str() {
            DISPATCH_FAILURE => None,
            PARKED => self.origin.as_ref(),
            _ => Some(&self.group),
        }
    }
}

/// Whether a listener may not be called this: the name says what a dead letter is.
#[must_use]
pub fn is_reserved(group: &GroupName) -> bool {
    [DISPATCH_FAILURE, PARKED].contains(&group.as_str())
}
