//! Connections to RabbitMQ that are made again after they were lost.
//!
//! RabbitMQ limits the channels of a connection, so one purpose may need several connections.
//!
//! lapin's own recovery stays off: it replays its memory of what was declared, and would bring back
//! queues that the reconciler has deleted.

mod error;
mod pool;
mod probe;
mod purpose;
mod scout;
mod socket;
mod url;
mod wire;

pub use error::AmqpError;
pub use purpose::Purpose;
pub use scout::Scout;
pub use url::{AmqpUrl, AmqpUrlError};
pub use wire::{name, table};

use crate::metrics::Metrics;
use futures_util::future::join_all;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer, Error,
    options::BasicConsumeOptions,
    types::{FieldTable, ShortString},
};
use pool::{NoChannel, Pool, PooledConnection};
use socket::{CutOnDrop, Socket};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle as Runtime, sync::Mutex, time::timeout};

/// Limit of connecting, of opening a channel, and of every other single request to the broker.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The connections for one purpose. A connection is made when it is first needed, again after it
/// was lost, and beside the others when no other has room for a channel.
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
    connections: Pool,
    failure: Option<AmqpError>,
}

/// Guard that closes a channel when its caller no longer waits for the broker's answer.
struct CloseOnDrop(Option<(Channel, Runtime)>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some((channel, runtime)) = self.0.take() {
            // Fails only on a channel that is closed already. A channel that does not answer goes
            // with its connection.
            runtime.spawn(async move { channel.close(200, "caller gave up".into()).await });
        }
    }
}

impl Amqp {
    /// Connections that are made on first use. Operators see it as `hearken/<node>/<purpose>`.
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

    /// Counts reconnections in these metrics.
    #[must_use]
    pub fn counted(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// The broker's address, without credentials.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.address()
    }

    /// A new channel. Connects first when no connection has room for a channel. Callers that come
    /// during an attempt to connect share the attempt's outcome.
    ///
    /// # Errors
    /// Why no connection or channel could be opened. Each of the two takes at most [`LIMIT`].
    pub async fn channel(&self) -> Result<Channel, AmqpError> {
        let [channel] = self.channels().await?;
        Ok(channel)
    }

    /// New channels of one connection. A queue that is exclusive can be used by channels of its own
    /// connection only.
    ///
    /// # Errors
    /// As for [`Amqp::channel`].
    pub async fn channels<const N: usize>(&self) -> Result<[Channel; N], AmqpError> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        match state.connections.open(self.address()).await {
            Ok(channels) => return Ok(channels),
            Err(NoChannel::Failed(error)) => return Err(error),
            Err(NoChannel::NoRoom) => {}
        }
        if self.attempts.load(Ordering::Acquire) > before
            && let Some(failure) = &state.failure
        {
            return Err(failure.clone());
        }
        let outcome = self.connect().await;
        self.attempts.fetch_add(1, Ordering::Release);
        state.failure = outcome.as_ref().err().cloned();
        let connected = outcome?;
        if state.connections.recovers()
            && let Some(metrics) = &self.metrics
        {
            metrics.reconnected(self.purpose.name());
        }
        let opened = state.connections.add(connected).open(self.address()).await;
        opened.map_err(|error| error.of_new_connection(self.address()))
    }

    /// Waits for the broker's answer to a request, for at most [`LIMIT`].
    ///
    /// # Errors
    /// The broker's refusal, or [`AmqpError::Silent`].
    pub async fn answer<T>(
        &self,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, AmqpError> {
        answer(request, self.address()).await
    }

    /// Consumes a queue. The channel is closed when the broker's answer comes too late or the
    /// caller stops waiting: lapin would keep the consumer without an owner, and the broker would
    /// send it events that never run.
    ///
    /// # Errors
    /// The broker's refusal, or [`AmqpError::Silent`].
    pub async fn consume(
        &self,
        channel: &Channel,
        queue: ShortString,
        options: BasicConsumeOptions,
    ) -> Result<Consumer, AmqpError> {
        let mut guard = CloseOnDrop(Some((channel.clone(), Runtime::current())));
        let (tag, none) = (ShortString::default(), FieldTable::default());
        let consumer = self.answer(channel.basic_consume(queue, tag, options, none)).await?;
        guard.0 = None;
        Ok(consumer)
    }

    /// Closes the connections. The next call of [`Amqp::channel`] makes a connection again.
    pub async fn close(&self) {
        let connections = self.state.lock().await.connections.take();
        join_all(connections.into_iter().map(PooledConnection::close)).await;
    }

    async fn connect(&self) -> Result<PooledConnection, AmqpError> {
        let socket = Socket::default();
        let guard = CutOnDrop::new(&socket);
        let runtime =
            lapin::runtime::default_runtime().map_err(|e| AmqpError::of(e, self.address()))?;
        let properties =
            ConnectionProperties::default().with_connection_name(self.name.clone().into());
        let kept = socket.clone();
        let connect = async move |uri: lapin::uri::AMQPUri, _| {
            timeout(LIMIT, kept.dial(uri)).await.map_err(std::io::Error::from)?.map_err(Error::from)
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
                guard.disarm();
                tracing::debug!(
                    address = self.address(),
                    name = self.name,
                    "connected to RabbitMQ"
                );
                Ok(PooledConnection::new(connection, socket))
            }
        }
    }
}

/// Waits for the broker's answer to a request, for at most [`LIMIT`].
async fn answer<T>(
    request: impl Future<Output = lapin::Result<T>>,
    address: &str,
) -> Result<T, AmqpError> {
    match timeout(LIMIT, request).await {
        Ok(answer) => answer.map_err(|error| AmqpError::of(error, address)),
        Err(_) => Err(AmqpError::silent(address)),
    }
}
