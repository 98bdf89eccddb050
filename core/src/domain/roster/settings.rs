//! The cluster's settings in the roster.

use super::{Refusal, Roster};
use crate::domain::{
    cluster::{ClusterChange, ClusterSettings, RecordedSettings},
    event::{RecordedEvent, RosterEvent},
};
use std::sync::Arc;

impl Roster {
    /// The roster of a cluster before its first event, with the settings of its first node.
    #[must_use]
    pub fn founded(settings: RecordedSettings) -> Self {
        Self { cluster: Arc::new(settings), ..Self::default() }
    }

    /// The settings of the cluster, with the audit of their last change.
    #[must_use]
    pub fn cluster(&self) -> &Arc<RecordedSettings> {
        &self.cluster
    }

    /// The settings of the cluster.
    #[must_use]
    pub fn settings(&self) -> &ClusterSettings {
        &self.cluster.settings
    }

    /// Events that change settings of the cluster. A change to the present settings leads to none.
    pub(super) fn cluster_change(
        &self,
        change: &ClusterChange,
    ) -> Result<Vec<RosterEvent>, Refusal> {
        let present = self.settings();
        if let Some(refused) = change.prefix.as_ref().filter(|prefix| **prefix != present.prefix) {
            let (present, refused) = (present.prefix.clone(), refused.clone());
            return Err(Refusal::PrefixStays { present, refused });
        }
        let settings = present.changed(change);
        let is_new = settings != *present;
        Ok(Vec::from_iter(is_new.then_some(RosterEvent::ClusterChanged { settings })))
    }

    pub(super) fn record_settings(&mut self, settings: &ClusterSettings, recorded: &RecordedEvent) {
        self.cluster = Arc::new(RecordedSettings {
            settings: settings.clone(),
            version: recorded.version,
            at: recorded.recorded_at,
            by: recorded.audit.actor.clone(),
            reason: recorded.audit.reason.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        command::Command,
        layout::QueueType,
        repair::RepairMode,
        roster::{decide, tests::recorded},
    };
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn decided(roster: &Roster, change: ClusterChange) -> Result<Vec<RosterEvent>, Refusal> {
        decide(roster, &Command::ChangeCluster(change), &BTreeSet::new())
    }

    #[test]
    fn the_prefix_of_a_cluster_never_changes() {
        let change = |prefix: &str| ClusterChange {
            prefix: Some(prefix.into()),
            ..ClusterChange::default()
        };
        assert_eq!(decided(&Roster::default(), change("hearken")), Ok(vec![]));
        let refusal = decided(&Roster::default(), change("other")).unwrap_err();
        let (present, refused) = ("hearken".to_owned(), "other".to_owned());
        assert!(refusal.to_string().contains("start a new cluster"), "{refusal}");
        assert_eq!(refusal, Refusal::PrefixStays { present, refused });
    }

    #[test]
    fn a_cluster_begins_with_the_settings_of_its_first_node() {
        let first = ClusterSettings { prefix: "mail".into(), ..ClusterSettings::default() };
        let founding = RecordedSettings { settings: first.clone(), ..RecordedSettings::default() };
        let mut roster = Roster::founded(founding);
        assert_eq!((roster.version(), roster.settings()), (0, &first));
        let change =
            ClusterChange { reconcile: Some(RepairMode::Manual), ..ClusterChange::default() };
        let events = decided(&roster, change.clone()).unwrap();
        roster.evolve(&recorded(1, events[0].clone()));
        assert_eq!(roster.settings(), &first.changed(&change));
        assert_eq!((roster.cluster().version, roster.cluster().by.as_str()), (1, "alice"));
    }

    fn changes() -> impl Strategy<Value = Vec<ClusterChange>> {
        let queue_type =
            prop::option::of(prop_oneof![Just(QueueType::Quorum), Just(QueueType::Classic)]);
        let reconcile =
            prop::option::of(prop_oneof![Just(RepairMode::Auto), Just(RepairMode::Manual)]);
        let change = (queue_type, reconcile).prop_map(|(queue_type, reconcile)| ClusterChange {
            queue_type,
            reconcile,
            ..ClusterChange::default()
        });
        prop::collection::vec(change, 0..20)
    }

    proptest! {
        #[test]
        fn the_settings_are_the_first_ones_with_every_change(changes in changes()) {
            let mut roster = Roster::default();
            let mut expected = ClusterSettings::default();
            let mut version = 0;
            for change in changes {
                let before = expected.clone();
                expected = expected.changed(&change);
                let events = decided(&roster, change).unwrap();
                prop_assert_eq!(events.is_empty(), before == expected);
                for event in events {
                    version += 1;
                    roster.evolve(&recorded(version, event));
                }
                prop_assert_eq!(roster.settings(), &expected);
            }
        }
    }
}
