//! The listening socket: timeouts, and an end that lets requests finish.

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

/// How long a client may take to send the head of a request, and how long a connection may idle.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How often the server is told again to stop: one that is just accepting does not hear it.
const REPEAT: Duration = Duration::from_millis(50);

/// Serves until `stop`, then lets requests in hand finish for at most `patience`.
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
    let told = async {
        loop {
            handle.graceful_shutdown(Some(patience));
            tokio::time::sleep(REPEAT).await;
        }
    };
    tokio::select! {
        ended = serving => ended,
        () = told => Ok(()),
        () = tokio::time::sleep(patience) => Ok(()),
    }
}
