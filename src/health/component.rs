//! The components whose health is checked, and their names.

/// Component of a node or of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// RabbitMQ and this node's connections to it.
    RabbitMq,
    /// The broker inside a node that runs without RabbitMQ.
    EmbeddedBroker,
    /// The database.
    Database,
    /// The topology on the broker, compared with the roster.
    Topology,
    /// The listeners that this node cannot run.
    Listeners,
    /// The queues of the cluster that have no consumer.
    Consumers,
    /// The arrival of notifications on this node.
    Notifications,
    /// The dead letters of the cluster.
    DeadLetters,
    /// This node's reading of the roster's log.
    Tail,
}

/// Name that is not the name of a component.
#[derive(Debug, thiserror::Error)]
#[error("there is no component {name}; the components are {}", known.join(", "))]
pub struct UnknownComponent {
    /// The refused name.
    pub name: String,
    /// Names of the components of this node.
    pub known: Vec<&'static str>,
}

impl Component {
    /// Name of the component in the REST interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RabbitMq => "RabbitMQ backend",
            Self::EmbeddedBroker => "Embedded broker",
            Self::Database => "Database",
            Self::Topology => "Listener topology",
            Self::Listeners => "Listeners on this node",
            Self::Consumers => "Event bus consumers",
            Self::Notifications => "Notification queue",
            Self::DeadLetters => "Event dead letters",
            Self::Tail => "Roster tail",
        }
    }
}
