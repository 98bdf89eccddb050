//! Purposes of connections.

/// Purpose of a connection. Operators see it in the connection's name, and it decides how large the
/// connection's frames may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Changing the topology.
    Admin,
    /// Publishing events.
    Publish,
    /// Consuming events.
    Consume,
    /// Looking for queues and exchanges.
    Scout,
}

impl Purpose {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::Scout => "scout",
        }
    }

    /// Largest frame, in bytes. lapin keeps 64 frames of buffer for each connection, so small
    /// frames save memory. All headers of an event travel in one frame. RabbitMQ sends that frame
    /// even when it is larger than agreed, and such an event stops the connection without an error.
    /// Connections that carry events therefore have the largest frame that RabbitMQ accepts by
    /// default.
    pub(super) fn frame_max(self) -> u32 {
        match self {
            Self::Admin | Self::Scout => 16_384,
            Self::Publish | Self::Consume => 131_072,
        }
    }
}
