//! Dead letters: events that a group, dispatching or the broker gave up on, kept with the cause.

use super::name::{BusName, GroupName, RegistrationKey};
use crate::event::Event;
use std::collections::BTreeSet;
use time::OffsetDateTime;
use uuid::Uuid;

/// The dead-letter group of events that could not be published (James ADR 27).
pub const DISPATCH_FAILURE: &str = "dispatch-failure";
/// The dead-letter group of parked messages. A message is parked when it cannot be read, when its
/// group has no queue, or when the broker gave it up.
pub const PARKED: &str = "parked";

/// The longest cause that is kept, in bytes.
const MAX_CAUSE: usize = 4096;

/// An entry of the dead letters, without the event's body, which is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Identity of the entry (James: insertion id). The same failure stored twice is one entry.
    pub id: Uuid,
    /// The bus.
    pub bus: BusName,
    /// What gave up: a listener's group, [`DISPATCH_FAILURE`] or [`PARKED`].
    pub group: GroupName,
    /// The group that a parked message was for, if the message says.
    pub origin: Option<GroupName>,
    /// Id of the event, if the event can be read.
    pub event_id: Option<String>,
    /// Type of the event, if the event can be read.
    pub event_type: Option<String>,
    /// The user that the event is about.
    pub user: Option<String>,
    /// Media type of the kept body.
    pub content_type: Option<String>,
    /// Registration keys of the dispatched event whose followers were not notified yet.
    pub keys: BTreeSet<RegistrationKey>,
    /// Cause of the last failure, for an operator.
    pub cause: String,
    /// Number of executions.
    pub attempts: u32,
    /// Time of the first failure.
    pub first_failed_at: OffsetDateTime,
    /// Time of the last failure.
    pub last_failed_at: OffsetDateTime,
    /// The node that gave up.
    pub node: String,
    /// The entry that the event was redelivered from, when it failed before.
    pub previous: Option<Uuid>,
}

/// Facts about a failure that every kind of dead letter needs.
#[derive(Debug, Clone)]
pub struct FailureFacts {
    /// Identity of the entry.
    pub id: Uuid,
    /// The bus.
    pub bus: BusName,
    /// Media type of the kept body.
    pub content_type: Option<String>,
    /// Cause of the last failure. A long cause is cut.
    pub cause: String,
    /// Number of executions.
    pub attempts: u32,
    /// Time of the first failure. `None` when the last failure is the first. A time after the
    /// last failure comes from another node's clock and counts as `None`.
    pub first_failed_at: Option<OffsetDateTime>,
    /// Time of the last failure.
    pub last_failed_at: OffsetDateTime,
    /// The node that gives up.
    pub node: String,
    /// The entry that the event was redelivered from.
    pub previous: Option<Uuid>,
}

impl DeadLetter {
    /// Entry of an event that a listener's group gave up. Followers of its keys were notified when
    /// the event was dispatched.
    #[must_use]
    pub fn of_group(group: GroupName, event: &Event, facts: FailureFacts) -> Self {
        Self::new(group, Some(event), facts)
    }

    /// Entry of an event that could not be published, with the keys whose followers were not
    /// notified.
    #[must_use]
    pub fn of_dispatch(
        event: &Event,
        keys: BTreeSet<RegistrationKey>,
        facts: FailureFacts,
    ) -> Self {
        Self { keys, ..Self::new(reserved_group(DISPATCH_FAILURE), Some(event), facts) }
    }

    /// Entry of a message that no listener could take: `origin` is the group that the message was
    /// for, `event` the event, if the message can be read.
    #[must_use]
    pub fn parked(origin: Option<GroupName>, event: Option<&Event>, facts: FailureFacts) -> Self {
        Self { origin, ..Self::new(reserved_group(PARKED), event, facts) }
    }

    fn new(group: GroupName, event: Option<&Event>, facts: FailureFacts) -> Self {
        let last = facts.last_failed_at;
        Self {
            id: facts.id,
            bus: facts.bus,
            group,
            origin: None,
            event_id: event.map(|event| event.id.clone()),
            event_type: event.map(|event| event.kind.clone()),
            user: event.and_then(|event| event.user.clone()),
            content_type: facts.content_type,
            keys: BTreeSet::new(),
            cause: bounded_cause(facts.cause),
            attempts: facts.attempts,
            first_failed_at: facts.first_failed_at.filter(|first| *first <= last).unwrap_or(last),
            last_failed_at: last,
            node: facts.node,
            previous: facts.previous,
        }
    }

    /// The group that a redelivery of the entry runs for. `None` for an event that was never
    /// published, and for a parked message that does not say its group.
    #[must_use]
    pub fn destination(&self) -> Option<&GroupName> {
        match self.group.as_str() {
            DISPATCH_FAILURE => None,
            PARKED => self.origin.as_ref(),
            _ => Some(&self.group),
        }
    }
}

/// Whether a group's name is reserved for dead letters, so that no listener may have the group.
#[must_use]
pub fn is_reserved(group: &GroupName) -> bool {
    [DISPATCH_FAILURE, PARKED].contains(&group.as_str())
}

fn reserved_group(name: &'static str) -> GroupName {
    GroupName::parse(name).expect("the reserved names have the form of names")
}

/// The part of a cause that is kept and logged: at most 4,096 bytes.
#[must_use]
pub fn bounded_cause(mut cause: String) -> String {
    cause.truncate(cause.floor_char_boundary(MAX_CAUSE));
    cause
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Data;
    use std::collections::BTreeMap;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    fn facts() -> FailureFacts {
        FailureFacts {
            id: Uuid::from_u128(1),
            bus: BusName::parse("m").unwrap(),
            content_type: None,
            cause: "it broke".into(),
            attempts: 3,
            first_failed_at: Some(at(5)),
            last_failed_at: at(9),
            node: "n1".into(),
            previous: None,
        }
    }

    fn event() -> Event {
        Event {
            id: "e1".into(),
            kind: "Added".into(),
            source: "/test".into(),
            user: Some("anna".into()),
            time: None,
            noop: false,
            data: Data::None,
            attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn each_kind_of_dead_letter_knows_its_group_and_where_it_goes_back_to() {
        let group = GroupName::parse("a").unwrap();
        let given_up = DeadLetter::of_group(group.clone(), &event(), facts());
        assert_eq!(given_up.destination(), Some(&group));
        assert_eq!(
            (given_up.event_id.as_deref(), given_up.user.as_deref()),
            (Some("e1"), Some("anna"))
        );
        let keys = BTreeSet::from([RegistrationKey::parse("k").unwrap()]);
        let unpublished = DeadLetter::of_dispatch(&event(), keys.clone(), facts());
        assert_eq!((unpublished.destination(), &unpublished.keys), (None, &keys));
        let parked = DeadLetter::parked(Some(group.clone()), None, facts());
        assert_eq!((parked.group.as_str(), parked.destination()), (PARKED, Some(&group)));
        assert_eq!((parked.event_id, parked.event_type), (None, None));
    }

    #[test]
    fn the_first_failure_is_never_after_the_last() {
        let letter = |first_failed_at| {
            let facts = FailureFacts { first_failed_at, ..facts() };
            DeadLetter::parked(None, None, facts).first_failed_at
        };
        assert_eq!([Some(at(5)), Some(at(10)), None].map(letter), [at(5), at(9), at(9)]);
    }

    #[test]
    fn a_long_cause_is_cut_between_characters() {
        let long = FailureFacts { cause: format!("x{}", "é".repeat(4_000)), ..facts() };
        assert_eq!(DeadLetter::parked(None, None, long).cause.len(), 4_095);
        assert_eq!(DeadLetter::parked(None, None, facts()).cause, "it broke");
    }
}
