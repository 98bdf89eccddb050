//! The difference between two versions of the roster.

use super::{Configured, Roster};

/// Listeners that differ between two versions of the roster, by group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RosterDiff<'a> {
    /// Listeners of the later version only.
    pub added: Vec<&'a Configured>,
    /// Listeners of the earlier version only.
    pub removed: Vec<&'a Configured>,
    /// Listeners of both versions that are not the same.
    pub changed: Vec<ListenerDiff<'a>>,
}

/// A listener in two versions of the roster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListenerDiff<'a> {
    /// The listener in the earlier version.
    pub before: &'a Configured,
    /// The listener in the later version.
    pub after: &'a Configured,
}

impl<'a> RosterDiff<'a> {
    /// What has to happen to the first roster to get the second one.
    #[must_use]
    pub fn between(before: &'a Roster, after: &'a Roster) -> Self {
        let mut diff = Self::default();
        for (group, listener) in &after.listeners {
            match before.listeners.get(group) {
                None => diff.added.push(listener),
                Some(earlier) => {
                    let both = ListenerDiff { before: earlier, after: listener };
                    diff.changed.extend((!both.settings().is_empty()).then_some(both));
                }
            }
        }
        let gone =
            before.listeners.iter().filter(|(group, _)| !after.listeners.contains_key(*group));
        diff.removed.extend(gone.map(|(_, listener)| listener));
        diff
    }
}

impl ListenerDiff<'_> {
    /// Names of what differs, as it is written in JSON.
    #[must_use]
    pub fn settings(&self) -> Vec<&'static str> {
        let mut settings = self.before.listener.differences(&self.after.listener);
        settings.extend((self.before.is_paused() != self.after.is_paused()).then_some("paused"));
        settings.extend((self.before.generation != self.after.generation).then_some("generation"));
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        command::Pending,
        event::RosterEvent,
        name::GroupName,
        roster::tests::{added, changed, given, history, removed},
    };
    use proptest::prelude::*;

    #[test]
    fn a_diff_names_what_was_added_removed_and_changed() {
        let before = [added("a", 1), added("b", 1), added("c", 1)];
        let pause = RosterEvent::ListenerPaused { group: GroupName::parse("c").unwrap() };
        let since = [removed("a", Pending::Keep), changed("c", 7), pause, added("d", 1)];
        let (before, after) = (given(&before), given(&[&before[..], &since].concat()));
        let diff = RosterDiff::between(&before, &after);
        let groups = |listeners: &[&Configured]| {
            listeners.iter().map(|found| found.listener.group.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            (groups(&diff.added), groups(&diff.removed)),
            (vec!["d".into()], vec!["a".into()])
        );
        let [changed] = diff.changed[..] else { panic!("{diff:?}") };
        assert_eq!(changed.settings(), ["concurrency", "paused"]);
    }

    proptest! {
        #[test]
        fn a_diff_is_empty_exactly_for_equal_settings(
            asks in prop::collection::vec((0..8u8, 0..4u8), 0..30), cut in 0..30usize,
        ) {
            let events = history(&asks);
            let (before, after) = (given(&events[..cut.min(events.len())]), given(&events));
            prop_assert_eq!(RosterDiff::between(&after, &after), RosterDiff::default());
            let there = RosterDiff::between(&before, &after);
            let back = RosterDiff::between(&after, &before);
            prop_assert_eq!(there.added.len(), back.removed.len());
            prop_assert_eq!(there.changed.len(), back.changed.len());
        }
    }
}
