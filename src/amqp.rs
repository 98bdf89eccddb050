//! Connections to RabbitMQ that are made again after they were lost.
//!
//! lapin's own recovery stays off: it replays its memory of what was declared, and would bring back
//! queues that the reconciler has deleted.

mod error;
mod probe;
mod purpose;
mod socket;
mod url;
mod wire;

pub use error::AmqpError;
pub use purpose::Purpose;
pub use url::{AmqpUrl, AmqpUrlError};
pub use wire::{name, table};

use crate::metrics::Metrics;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer, Error,
    options::BasicConsumeOptions,
    types::{FieldTable, ShortString},
};
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
    connected: Option<Connected>,
    /// Whether a connection was lost and none has been made since.
    lost: bool,
    failure: Option<AmqpError>,
}

/// A connection with its socket.
struct Connected {
    connection: Connection,
    socket: Socket,
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
    /// A connection that is made on first use. Operators see it as `hearken/<node>/<purpose>`.
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

    /// A new channel. Connects first when no connection was made yet or the connection was lost.
    /// Callers that come during an attempt share the attempt's outcome.
    ///
    /// # Errors
    /// Why no connection or channel could be opened. Each of the two takes at most [`LIMIT`].
    pub async fn channel(&self) -> Result<Channel, AmqpError> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(connected) = &state.connected {
            match self.open(connected).await {
                Ok(channel) => return Ok(channel),
                Err(error) if connected.connection.status().connected() => return Err(error),
                Err(_) => {
                    state.connected = None;
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
        let connected = outcome?;
        if std::mem::take(&mut state.lost)
            && let Some(metrics) = &self.metrics
        {
            metrics.reconnected(self.purpose.name());
        }
        let connected = state.connected.insert(connected);
        self.open(connected).await
    }

    /// Waits for the broker's answer to a request, for at most [`LIMIT`].
    ///
    /// # Errors
    /// The broker's refusal, or [`AmqpError::Silent`].
    pub async fn answer<T>(
        &self,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, AmqpError> {
        match timeout(LIMIT, request).await {
            Ok(answer) => answer.map_err(|error| AmqpError::of(error, self.address())),
            Err(_) => Err(AmqpError::silent(self.address())),
        }
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

    /// Closes the connection, if there is one. The next call of [`Amqp::channel`] makes it again.
    pub async fn close(&self) {
        let Some(connected) = self.state.lock().await.connected.take() else { return };
        if timeout(LIMIT, connected.connection.close(200, "closing".into())).await.is_err() {
            connected.socket.cut();
        }
    }

    async fn open(&self, connected: &Connected) -> Result<Channel, AmqpError> {
        // lapin writes nothing to a blocked connection, so no request would be answered.
        if connected.connection.status().blocked() {
            return Err(AmqpError::Unreachable {
                address: self.address().to_owned(),
                cause:
                    "it is short of memory or disk and accepts no events until it has enough again"
                        .to_owned(),
            });
        }
        let opened = self.answer(connected.connection.create_channel()).await;
        if matches!(&opened, Err(AmqpError::Silent { .. })) {
            connected.socket.cut();
        }
        opened
    }

    async fn connect(&self) -> Result<Connected, AmqpError> {
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
                Ok(Connected { connection, socket })
            }
        }
    }
}
