//! Adoption: a new identity for the log, after a restore or a loss of the database.
//!
//! The identity of a log tells histories apart. A database that was restored continues another
//! history than the broker and the clients have seen, and a database that was laid out again is
//! another cluster than the one that the broker's marker names. An operator decides that the log is
//! right; [`decide`] says when this decision would do harm.

use super::event::Version;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identity of a cluster and of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIdentity {
    /// The cluster, as markers on the broker name it.
    pub cluster: Uuid,
    /// The log, as cursors and work queues name it.
    pub log: Uuid,
}

/// Change of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAdoption {
    /// Identity from now on.
    pub identity: LogIdentity,
    /// Identity until now.
    pub former: LogIdentity,
}

impl LogAdoption {
    /// Whether the marker of another cluster is taken over, with all objects that carry it.
    #[must_use]
    pub fn takes_over_cluster(&self) -> bool {
        self.identity.cluster != self.former.cluster
    }
}

/// The cluster that the marker on the broker names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerOwner {
    /// The broker has no marker, or the cluster has no broker.
    Absent,
    /// The marker names a cluster.
    Cluster(Uuid),
    /// The exchange with the name of the marker names no cluster.
    Unreadable,
}

/// A node that has sent a heartbeat lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveNode {
    /// Id of the node.
    pub id: String,
    /// Version up to which the node has read the log.
    pub version: Version,
}

/// What a decision about an adoption depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptionFacts {
    /// Identity in the database.
    pub former: LogIdentity,
    /// Newest version of the log.
    pub head: Version,
    /// Whether this cluster has ever made its marker on a broker.
    pub marker_made: bool,
    /// Nodes of this database that live.
    pub nodes: Vec<LiveNode>,
    /// The cluster that the broker's marker names.
    pub marker: MarkerOwner,
    /// Nodes that are connected to the broker as nodes of the cluster that the marker names.
    pub connected: Vec<String>,
}

/// Reason why an adoption would do harm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdoptionRefusal {
    /// A live node has read more of the log than the database holds.
    #[error(
        "the log in the database ends at version {head}, and {} have read it further: {}; check that this is the primary database and not a copy that lags; if it was restored on purpose, stop these nodes, and repeat the command",
        if nodes.len() == 1 { "a live node" } else { "live nodes" },
        nodes.join(", ")
    )]
    NodesAhead {
        /// The nodes.
        nodes: Vec<String>,
        /// Newest version of the log.
        head: Version,
    },
    /// The marker names no cluster.
    #[error(
        "an exchange that hearken did not make has the name of the marker; check --amqp-url, or choose another --prefix"
    )]
    UnreadableMarker,
    /// The database has a broker of its own.
    #[error(
        "the marker on the broker names cluster {found}, and this database belongs to cluster {ours}, which has made its own marker on a broker: this is the wrong broker or the wrong database; check --amqp-url, --database-url and --prefix"
    )]
    OwnBroker {
        /// Cluster that the marker names.
        found: Uuid,
        /// Cluster of this database.
        ours: Uuid,
    },
    /// The cluster that the marker names is in use.
    #[error(
        "cluster {cluster}, which the marker on the broker names, is in use: {} connected to the broker as its nodes ({}); another database serves this cluster: check --amqp-url and --database-url; if its database is lost, stop these nodes, and repeat the command",
        if nodes.len() == 1 { "one node is" } else { "several nodes are" },
        nodes.join(", ")
    )]
    ClusterAlive {
        /// The cluster.
        cluster: Uuid,
        /// Its connected nodes.
        nodes: Vec<String>,
    },
}

/// Decides about an adoption. `log` is a new identity.
///
/// # Errors
/// Why the adoption would do harm.
pub fn decide(facts: &AdoptionFacts, log: Uuid) -> Result<LogAdoption, AdoptionRefusal> {
    let AdoptionFacts { former, head, .. } = *facts;
    let ahead = facts.nodes.iter().filter(|node| node.version > head);
    let ahead: Vec<String> = ahead.map(|node| node.id.clone()).collect();
    if !ahead.is_empty() {
        return Err(AdoptionRefusal::NodesAhead { nodes: ahead, head });
    }
    let cluster = match facts.marker {
        MarkerOwner::Absent => former.cluster,
        MarkerOwner::Unreadable => return Err(AdoptionRefusal::UnreadableMarker),
        MarkerOwner::Cluster(found) if found == former.cluster => found,
        MarkerOwner::Cluster(found) => {
            check_takeover(facts, found)?;
            found
        }
    };
    Ok(LogAdoption { identity: LogIdentity { cluster, log }, former })
}

/// Checks that the cluster `found`, which the marker names, may be taken over.
fn check_takeover(facts: &AdoptionFacts, found: Uuid) -> Result<(), AdoptionRefusal> {
    if facts.marker_made {
        return Err(AdoptionRefusal::OwnBroker { found, ours: facts.former.cluster });
    }
    if !facts.connected.is_empty() {
        let nodes = facts.connected.clone();
        return Err(AdoptionRefusal::ClusterAlive { cluster: found, nodes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Uuid = Uuid::from_u128(9);

    fn facts(marker: MarkerOwner) -> AdoptionFacts {
        let former = LogIdentity { cluster: Uuid::from_u128(1), log: Uuid::from_u128(2) };
        let node = LiveNode { id: "one".into(), version: 7 };
        let (nodes, connected) = (vec![node], Vec::new());
        AdoptionFacts { former, head: 7, marker_made: false, nodes, marker, connected }
    }

    #[test]
    fn a_restored_log_gets_a_new_identity_and_keeps_its_cluster() {
        let ours = Uuid::from_u128(1);
        for marker in [MarkerOwner::Absent, MarkerOwner::Cluster(ours)] {
            let mut facts = facts(marker);
            facts.marker_made = true;
            let adoption = decide(&facts, NEW).unwrap();
            assert_eq!(adoption.identity, LogIdentity { cluster: ours, log: NEW });
            assert!(!adoption.takes_over_cluster());
        }
    }

    #[test]
    fn a_lost_database_takes_over_the_cluster_that_the_marker_names() {
        let lost = Uuid::from_u128(5);
        let adoption = decide(&facts(MarkerOwner::Cluster(lost)), NEW).unwrap();
        assert_eq!(adoption.identity, LogIdentity { cluster: lost, log: NEW });
        assert!(adoption.takes_over_cluster());
    }

    #[test]
    fn a_broker_of_another_living_cluster_is_not_taken_over() {
        let other = MarkerOwner::Cluster(Uuid::from_u128(5));
        let mut connected = facts(other);
        connected.connected = vec!["two".into()];
        let refused = decide(&connected, NEW).unwrap_err();
        assert!(matches!(refused, AdoptionRefusal::ClusterAlive { .. }), "{refused}");
        assert!(refused.to_string().contains("one node is connected"), "{refused}");
        let mut settled = facts(other);
        settled.marker_made = true;
        let refused = decide(&settled, NEW).unwrap_err();
        assert!(matches!(refused, AdoptionRefusal::OwnBroker { .. }), "{refused}");
        let unreadable = decide(&facts(MarkerOwner::Unreadable), NEW);
        assert_eq!(unreadable, Err(AdoptionRefusal::UnreadableMarker));
    }

    #[test]
    fn a_log_that_a_live_node_has_read_further_is_not_adopted() {
        let mut facts = facts(MarkerOwner::Absent);
        facts.head = 6;
        let refused = decide(&facts, NEW).unwrap_err();
        let nodes = vec!["one".to_owned()];
        assert_eq!(refused, AdoptionRefusal::NodesAhead { nodes, head: 6 });
    }
}
