//! Why this node no longer listens on a queue.

use crate::amqp::AmqpError;

/// End of listening on one queue. The node makes a new queue afterwards.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListeningError {
    /// A request failed, or the connection was lost.
    #[error(transparent)]
    Broker(#[from] AmqpError),
    /// The broker ended the consumer.
    #[error("the node's queue or its channel was closed")]
    QueueClosed,
    /// A probe reached the queue and did not come out.
    #[error("a probe did not come back within {seconds} s")]
    ProbeLost {
        /// The limit.
        seconds: u64,
    },
    /// A probe was not routed to the queue.
    #[error("exchange {exchange} has lost the bindings of the node's queue")]
    BindingsLost {
        /// The exchange.
        exchange: String,
    },
    /// The listeners of the bus are gone.
    #[error("the bus was closed")]
    BusClosed,
    /// The bus is no longer configured, or the node stops.
    #[error("this node has stopped listening")]
    Stopped,
}
