//! A TCP proxy that breaks the wire.

use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// It carries.
    Up,
    /// Connections are closed, and new ones are closed at once.
    Cut,
    /// Connections stay open and nothing arrives.
    BlackHole,
}

/// A proxy on a loopback port. Ends with the test.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    wire: Arc<watch::Sender<Wire>>,
}

impl Proxy {
    /// Starts one before a loopback port.
    pub(crate) async fn before(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let wire = Arc::new(watch::Sender::new(Wire::Up));
        let state = Arc::clone(&wire);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target, state.subscribe()));
            }
        });
        Self { port, wire }
    }

    /// Changes what the wire does, for connections that are open too.
    pub(crate) fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    /// The URL with its port replaced by the proxy's.
    pub(crate) fn through(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("a URL");
        url.set_port(Some(self.port)).expect("a URL with a host");
        url.to_string()
    }
}

/// The port that a URL names.
pub(crate) fn port_of(url: &str) -> u16 {
    url::Url::parse(url).expect("a URL").port().expect("a port")
}

async fn carry(mut client: TcpStream, target: u16, mut wire: watch::Receiver<Wire>) {
    let now = *wire.borrow();
    match now {
        Wire::Cut => return,
        Wire::BlackHole => swallow(&mut client, &mut wire).await,
        Wire::Up => {}
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let broken = async { wire.wait_for(|wire| *wire != Wire::Up).await.map(|wire| *wire) };
    let hole = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => false,
        broken = broken => broken.is_ok_and(|wire| wire == Wire::BlackHole),
    };
    if hole {
        swallow(&mut client, &mut wire).await;
    }
    let _ = client.shutdown().await;
}

/// Takes what is sent and answers nothing, for as long as the hole is there.
async fn swallow(client: &mut TcpStream, wire: &mut watch::Receiver<Wire>) {
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            read = client.read(&mut buffer) => if !read.is_ok_and(|bytes| bytes > 0) { return },
            _ = wire.wait_for(|wire| *wire != Wire::BlackHole) => return,
        }
    }
}
