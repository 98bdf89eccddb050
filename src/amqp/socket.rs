//! Sockets of connections, kept so that a connection to a silent broker can be cut.

use lapin::{
    tcp::{AsyncTcpStream, TLSConfig},
    uri::{AMQPScheme, AMQPUri},
};
use parking_lot::Mutex;
use std::{
    io,
    net::{Shutdown, TcpStream},
    sync::Arc,
};

type Stream = async_compat::Compat<tokio::net::TcpStream>;

/// Second handle on a connection's socket. lapin cannot give a connection up: its thread would
/// wait for as long as the other end keeps the socket open and sends nothing.
#[derive(Clone, Default)]
pub(super) struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    /// Opens the socket, with TLS where the address asks for it, and keeps a handle on it.
    pub(super) async fn dial(&self, uri: AMQPUri) -> io::Result<AsyncTcpStream<Stream>> {
        let host = uri.authority.host.as_str();
        let stream = tokio::net::TcpStream::connect((host, uri.authority.port)).await?;
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        *self.0.lock() = Some(stream.try_clone()?);
        let stream = AsyncTcpStream::Plain(Stream::new(tokio::net::TcpStream::from_std(stream)?));
        match uri.scheme {
            AMQPScheme::AMQP => Ok(stream),
            AMQPScheme::AMQPS => stream.into_tls(host, TLSConfig::default()).await,
        }
    }

    /// Ends the connection at once.
    pub(super) fn cut(&self) {
        if let Some(stream) = self.0.lock().take() {
            // Fails only when the socket is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Guard that cuts the socket of a connection attempt when the attempt is given up.
pub(super) struct CutOnDrop(Option<Socket>);

impl CutOnDrop {
    pub(super) fn new(socket: &Socket) -> Self {
        Self(Some(socket.clone()))
    }

    /// Keeps the socket open: the attempt succeeded.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            socket.cut();
        }
    }
}
