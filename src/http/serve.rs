//! The HTTP server: its timeouts, and a stop that lets running requests finish.

use super::{App, router};
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Time that a connection may be idle; also the time that a client may take to send the head of a
/// request. Load balancers keep idle connections for 60 seconds, and answer 502 when a server
/// closes such a connection before they do.
const HEAD_LIMIT: Duration = Duration::from_secs(75);

/// Pause between two requests to the server to stop. A server that is accepting a connection misses
/// a single one.
const REPEAT: Duration = Duration::from_millis(50);

/// Serves until `stop` is cancelled; then running requests have `patience` to finish.
///
/// # Errors
/// When the socket cannot be listened on.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    stop: CancellationToken,
    patience: Duration,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let handle = Handle::<SocketAddr>::new();
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone()).http1_only();
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    let serving = server.serve(router(app).into_make_service());
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        () = stop.cancelled() => {}
    }
    let stopping = async {
        loop {
            handle.graceful_shutdown(Some(patience));
            tokio::time::sleep(REPEAT).await;
        }
    };
    tokio::select! {
        ended = serving => ended,
        () = stopping => Ok(()),
        () = tokio::time::sleep(patience) => Ok(()),
    }
}
