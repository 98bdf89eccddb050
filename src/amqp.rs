//! Connections to RabbitMQ that come back when they are asked for again.
//!
//! The client's own recovery stays off: it replays its memory of what was declared, and would
//! bring back queues that the reconciler has deleted.

mod error;
mod url;

pub use error::AmqpError;
pub use url::{AmqpUrl, ConfigError};

use crate::metrics::Metrics;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer, Error,
    options::BasicConsumeOptions,
    tcp::AsyncTcpStream,
    types::{FieldTable, ShortString},
};
use parking_lot::Mutex as Slot;
use std::{
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::Mutex, time::timeout};

/// How long connecting, opening a channel, and every other single question may take.
pub const LIMIT: Duration = Duration::from_secs(10);

/// What a connection is for: operators see it, and it decides how large its frames may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Changing the topology.
    Admin,
    /// Publishing events.
    Publish,
    /// Consuming events.
    Consume,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }

    /// The client keeps 64 frames of buffer for each connection. All the headers of an event travel
    /// in one frame, and RabbitMQ sends them whatever was agreed: an event whose headers are larger
    /// than our frames stops the connection without a word. So where events travel, frames are as
    /// large as RabbitMQ by default accepts from anybody.
    fn frame_max(self) -> u32 {
        match self {
            Self::Admin => 16_384,
            Self::Publish | Self::Consume => 131_072,
        }
    }
}

/// A connection for one purpose, made when it is first needed and again after it was lost.
pub struct Amqp {
    url: AmqpUrl,
    purpose: Purpose,
    name: String,
    state: Mutex<State>,
    attempts: AtomicU64,
    metrics: Option<Arc<Metrics>>,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// Whether there was a link that was lost, and none since.
    lost: bool,
    failure: Option<AmqpError>,
}

/// A connection, and its socket so that it can be cut when the other end is silent.
struct Link {
    connection: Connection,
    socket: Socket,
}

/// A second handle on a connection's socket. The client has no way to give a connection up: its
/// thread would wait as long as the other end keeps the socket open and says nothing.
#[derive(Clone, Default)]
struct Socket(Arc<Slot<Option<TcpStream>>>);

impl Socket {
    fn keep(&self, stream: TcpStream) {
        *self.0.lock() = Some(stream);
    }

    fn cut(&self) {
        if let Some(stream) = self.0.lock().take() {
            // Refused only when it is already gone.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Cuts the socket of an attempt that was given up.
struct Attempt(Option<Socket>);

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            socket.cut();
        }
    }
}

/// Closes a channel over which nobody waits for an answer any more.
struct Unanswered(Option<(Channel, Handle)>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some((channel, runtime)) = self.0.take() {
            // Refused only by a channel that is gone. One that does not answer goes with its
            // connection.
            runtime.spawn(async move { channel.close(200, "nobody waits".into()).await });
        }
    }
}

impl Amqp {
    /// A connection that is not yet made. Operators see it as `hearken/<node>/<purpose>`.
    #[must_use]
    pub fn new(url: AmqpUrl, node: &str, purpose: Purpose) -> Self {
        crate::tls::init();
        let name = format!("hearken/{node}/{}", purpose.name());
        Self {
            url,
            purpose,
            name,
            state: Mutex::default(),
            attempts: AtomicU64::new(0),
            metrics: None,
        }
    }

    /// Counts how often the connection came back after it was lost.
    #[must_use]
    pub fn counted(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// The broker's address, without credentials.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.address()
    }

    /// A new channel. Connects when there is no connection or it was lost; callers that come while
    /// an attempt is under way share its outcome.
    ///
    /// # Errors
    /// Why there is no connection, after [`LIMIT`] at most for each of connecting and opening.
    pub async fn channel(&self) -> Result<Channel, AmqpError> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(link) = &state.link {
            match self.open(link).await {
                Ok(channel) => return Ok(channel),
                Err(error) if link.connection.status().connected() => return Err(error),
                Err(_) => {
                    state.link = None;
                    state.lost = true;
                }
            }
        } else if self.attempts.load(Ordering::Acquire) > before
            && let Some(failure) = &state.failure
        {
            return Err(failure.clone());
        }
        let outcome = self.connect().await;
        self.attempts.fetch_add(1, Ordering::Release);
        state.failure = outcome.as_ref().err().cloned();
        let link = outcome?;
        if std::mem::take(&mut state.lost)
            && let Some(metrics) = &self.metrics
        {
            metrics.reconnected(self.purpose.name());
        }
        let link = state.link.insert(link);
        self.open(link).await
    }

    /// Waits for an answer of the broker, for at most [`LIMIT`].
    ///
    /// # Errors
    /// What the broker answered, or that it did not.
    pub async fn answer<T>(
        &self,
        question: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, AmqpError> {
        match timeout(LIMIT, question).await {
            Ok(answer) => answer.map_err(|error| AmqpError::of(error, self.address())),
            Err(_) => Err(AmqpError::silent(self.address())),
        }
    }

    /// Consumes a queue. A channel whose answer comes too late, or that nobody waits for any more, is
    /// closed: the client keeps such a consumer without anybody who has it, and the broker would give
    /// it events that nobody ever runs.
    ///
    /// # Errors
    /// What the broker answered, or that it did not.
    pub async fn consume(
        &self,
        channel: &Channel,
        queue: ShortString,
        options: BasicConsumeOptions,
    ) -> Result<Consumer, AmqpError> {
        let mut unanswered = Unanswered(Some((channel.clone(), Handle::current())));
        let (tag, none) = (ShortString::default(), FieldTable::default());
        let consumer = self.answer(channel.basic_consume(queue, tag, options, none)).await?;
        unanswered.0 = None;
        Ok(consumer)
    }

    /// Closes the connection, where there is one. It is made again when a channel is asked for.
    pub async fn close(&self) {
        let Some(link) = self.state.lock().await.link.take() else { return };
        if timeout(LIMIT, link.connection.close(200, "closing".into())).await.is_err() {
            link.socket.cut();
        }
    }

    async fn open(&self, link: &Link) -> Result<Channel, AmqpError> {
        // The client writes nothing to a connection that is blocked, so nothing would be answered.
        if link.connection.status().blocked() {
            return Err(AmqpError::Unreachable {
                address: self.address().to_owned(),
                cause: "it takes no events: it is short of memory or disk".to_owned(),
            });
        }
        let opened = self.answer(link.connection.create_channel()).await;
        if matches!(&opened, Err(error) if error.is_silence()) {
            link.socket.cut();
        }
        opened
    }

    async fn connect(&self) -> Result<Link, AmqpError> {
        let socket = Socket::default();
        let mut attempt = Attempt(Some(socket.clone()));
        let runtime =
            lapin::runtime::default_runtime().map_err(|e| AmqpError::of(e, self.address()))?;
        let properties =
            ConnectionProperties::default().with_connection_name(self.name.clone().into());
        let kept = socket.clone();
        let connect = async move |uri: lapin::uri::AMQPUri, _| {
            timeout(LIMIT, dial(uri, &kept))
                .await
                .map_err(std::io::Error::from)?
                .map_err(Error::from)
        };
        let connecting = Connection::connector(
            self.url.uri(self.purpose.frame_max()),
            runtime,
            connect,
            properties,
        );
        match timeout(LIMIT, connecting).await {
            Err(_) => Err(AmqpError::silent(self.address())),
            Ok(Err(error)) => Err(AmqpError::of_login(error, &self.url)),
            Ok(Ok(connection)) => {
                attempt.0 = None;
                tracing::debug!(
                    address = self.address(),
                    name = self.name,
                    "connected to RabbitMQ"
                );
                Ok(Link { connection, socket })
            }
        }
    }
}

type Stream = async_compat::Compat<tokio::net::TcpStream>;

async fn dial(uri: lapin::uri::AMQPUri, kept: &Socket) -> std::io::Result<AsyncTcpStream<Stream>> {
    let host = uri.authority.host.as_str();
    let stream = tokio::net::TcpStream::connect((host, uri.authority.port)).await?;
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    kept.keep(stream.try_clone()?);
    let stream = AsyncTcpStream::Plain(Stream::new(tokio::net::TcpStream::from_std(stream)?));
    match uri.scheme {
        lapin::uri::AMQPScheme::AMQP => Ok(stream),
        lapin::uri::AMQPScheme::AMQPS => {
            stream.into_tls(host, lapin::tcp::TLSConfig::default()).await
        }
    }
}
