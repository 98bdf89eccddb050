//! The connections of one purpose, and the channels that they have room for.
//!
//! RabbitMQ and lapin agree on the number of channels of a connection. lapin cannot use the number
//! of a channel again that the broker closed because of an error: it answers the next opening under
//! that number with the old error, and the number stays taken. So a connection wears out. A worn
//! connection is closed as soon as no channel of it is open, and channels are opened on another
//! one.

use super::{AmqpError, LIMIT, socket::Socket};
use crate::background;
use lapin::{Channel, ChannelStatus, Connection, Error, ErrorKind, protocol::AMQPErrorKind};
use tokio::time::timeout;

/// The connections of one purpose.
#[derive(Default)]
pub(super) struct Pool {
    connections: Vec<PooledConnection>,
    /// Whether a connection was lost and none has been made since.
    lost: bool,
}

/// A connection with its socket and its channels.
pub(super) struct PooledConnection {
    connection: Connection,
    socket: Socket,
    /// The channels that may be open.
    channels: Vec<ChannelStatus>,
}

/// Why no channel was opened.
pub(super) enum NoChannel {
    /// No connection has room for the channels.
    NoRoom,
    /// The broker did not open a channel.
    Failed(AmqpError),
}

impl NoChannel {
    /// The error when a connection that was just made has no room.
    pub(super) fn of_new_connection(self, address: &str) -> AmqpError {
        match self {
            Self::Failed(error) => error,
            Self::NoRoom => AmqpError::Refused(format!(
                "RabbitMQ at {address} allows too few channels on a connection: raise channel_max in rabbitmq.conf"
            )),
        }
    }
}

impl Pool {
    /// Opens channels on the first connection with room for them, the newest connection first.
    pub(super) async fn open<const N: usize>(
        &mut self,
        address: &str,
    ) -> Result<[Channel; N], NoChannel> {
        self.forget_lost();
        let mut index = self.connections.len();
        while index > 0 {
            index -= 1;
            let pooled = &mut self.connections[index];
            match pooled.open(address).await {
                Ok(channels) => return Ok(channels),
                Err(NoChannel::NoRoom) if pooled.is_worn() => {
                    let worn = self.connections.remove(index);
                    background::spawn("closing a worn connection", worn.close());
                }
                Err(NoChannel::Failed(error)) if pooled.connection.status().connected() => {
                    return Err(NoChannel::Failed(error));
                }
                // Another connection may have room, and a connection that was lost is forgotten.
                Err(NoChannel::NoRoom | NoChannel::Failed(_)) => {}
            }
        }
        self.forget_lost();
        Err(NoChannel::NoRoom)
    }

    /// Adds a connection that was just made.
    pub(super) fn add(&mut self, connected: PooledConnection) -> &mut PooledConnection {
        self.connections.push_mut(connected)
    }

    /// Whether the connection that was just made comes after a loss. Forgets the loss.
    pub(super) fn recovers(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Removes all connections.
    pub(super) fn take(&mut self) -> Vec<PooledConnection> {
        std::mem::take(&mut self.connections)
    }

    fn forget_lost(&mut self) {
        let before = self.connections.len();
        self.connections.retain(|pooled| pooled.connection.status().connected());
        self.lost |= self.connections.len() < before;
    }
}

impl PooledConnection {
    /// A connection without channels.
    pub(super) fn new(connection: Connection, socket: Socket) -> Self {
        Self { connection, socket, channels: Vec::new() }
    }

    /// Opens channels on this connection.
    pub(super) async fn open<const N: usize>(
        &mut self,
        address: &str,
    ) -> Result<[Channel; N], NoChannel> {
        let mut channels = Vec::with_capacity(N);
        while channels.len() < N {
            channels.push(self.open_channel(address).await?);
        }
        Ok(channels.try_into().expect("the vector has N channels"))
    }

    async fn open_channel(&mut self, address: &str) -> Result<Channel, NoChannel> {
        // lapin writes nothing to a blocked connection, so no request would be answered.
        if self.connection.status().blocked() {
            return Err(NoChannel::Failed(AmqpError::Unreachable {
                address: address.to_owned(),
                cause:
                    "it is short of memory or disk and accepts no events until it has enough again"
                        .to_owned(),
            }));
        }
        let attempts = usize::from(self.connection.configuration().channel_max());
        for _ in 0..=attempts {
            match timeout(LIMIT, self.connection.create_channel()).await {
                Ok(Ok(channel)) => {
                    self.note(&channel);
                    return Ok(channel);
                }
                Ok(Err(error)) if matches!(error.kind(), ErrorKind::ChannelsLimitReached) => {
                    return Err(NoChannel::NoRoom);
                }
                // The error of an earlier channel with this number. lapin tries another number now.
                Ok(Err(error)) if is_of_channel(&error) && self.connection.status().connected() => {
                }
                Ok(Err(error)) => return Err(NoChannel::Failed(AmqpError::of(error, address))),
                Err(_) => {
                    self.socket.cut();
                    return Err(NoChannel::Failed(AmqpError::silent(address)));
                }
            }
        }
        Err(NoChannel::NoRoom)
    }

    fn note(&mut self, channel: &Channel) {
        if self.channels.len() == self.channels.capacity() {
            self.channels.retain(ChannelStatus::connected);
        }
        self.channels.push(channel.status().clone());
    }

    /// Whether the connection has no room, and no channel of it is open.
    fn is_worn(&self) -> bool {
        !self.channels.iter().any(ChannelStatus::connected)
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        if timeout(LIMIT, self.connection.close(200, "closing".into())).await.is_err() {
            self.socket.cut();
        }
    }
}

/// Whether an error is about one channel and not about its connection.
fn is_of_channel(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(reply) => matches!(reply.kind(), AMQPErrorKind::Soft(_)),
        ErrorKind::InvalidChannelState(..) => true,
        _ => false,
    }
}
