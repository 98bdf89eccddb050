//! A TCP proxy that breaks the wire.

mod tests;

use super::wait;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, timeout},
};

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// It carries.
    Up,
    /// It carries everything this much later, both ways.
    Delay(Duration),
    /// What the client sends arrives; answers are held back until the wire carries again.
    HalfOpen,
    /// What the server sends arrives; what the client sends is held back until the wire carries
    /// again.
    Deaf,
    /// Connections are closed, and new ones are closed at once.
    Cut,
    /// Connections stay open and nothing arrives, ever: they are closed when the hole is gone.
    BlackHole,
}

impl Wire {
    /// How much later something arrives that way; never, while it is `None`.
    fn delay(self, way: Way) -> Option<Duration> {
        match (self, way) {
            (Self::Delay(delay), _) => Some(delay),
            (Self::Up, _) | (Self::HalfOpen, Way::Forth) | (Self::Deaf, Way::Back) => {
                Some(Duration::ZERO)
            }
            _ => None,
        }
    }

    fn is_broken(self) -> bool {
        matches!(self, Self::Cut | Self::BlackHole)
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Forth,
    Back,
}

/// A proxy on a loopback port. Ends with the test.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    wire: Arc<watch::Sender<Wire>>,
    /// How often the wire was cut. A connection that was there ends, also when the wire is up
    /// again before its task has looked.
    cuts: Arc<watch::Sender<u64>>,
    /// Number of times that a client opened a connection or sent a piece, carried or not.
    uses: Arc<watch::Sender<u64>>,
    /// Number of HTTP requests that read something.
    reads: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts one before a loopback port.
    pub(crate) async fn before(target: u16) -> Self {
        Self::before_any(&[target]).await
    }

    /// Starts one before several, as a load balancer: a connection goes to the first that takes it.
    pub(crate) async fn before_any(targets: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let wire = Arc::new(watch::Sender::new(Wire::Up));
        let cuts = Arc::new(watch::Sender::new(0));
        let uses = Arc::new(watch::Sender::new(0));
        let reads = Arc::<AtomicU64>::default();
        let reading = Arc::clone(&reads);
        let (state, targets) = (Arc::clone(&wire), Arc::<[u16]>::from(targets));
        let (counted, counting) = (Arc::clone(&cuts), Arc::clone(&uses));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut cuts = counted.subscribe();
                counting.send_modify(|uses| *uses += 1);
                let (uses, reads) = (Arc::clone(&counting), Arc::clone(&reading));
                let line = Line { wire: state.subscribe(), uses, reads };
                let carrying = carry(client, Arc::clone(&targets), line);
                tokio::spawn(async move {
                    tokio::select! {
                        () = carrying => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { port, wire, cuts, uses, reads }
    }

    /// Changes what the wire does, for connections that are open too.
    pub(crate) fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
        if wire == Wire::Cut {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
    }

    /// Waits until clients have used the wire so many times more: opened a connection or sent a
    /// piece, whether it got through or not.
    pub(crate) async fn used(&self, times: u64) {
        let mut uses = self.uses.subscribe();
        let enough = *uses.borrow() + times;
        let reached = timeout(wait::LIMIT, uses.wait_for(|uses| *uses >= enough)).await;
        reached.expect("clients use the wire").expect("the proxy is there");
    }

    /// Number of HTTP requests that read something, so far. A client sends a request in one piece.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
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

async fn connect(targets: &[u16]) -> Option<TcpStream> {
    for target in targets {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", *target)).await {
            return Some(stream);
        }
    }
    None
}

/// One connection's view of the wire.
#[derive(Clone)]
struct Line {
    wire: watch::Receiver<Wire>,
    uses: Arc<watch::Sender<u64>>,
    reads: Arc<AtomicU64>,
}

async fn carry(mut client: TcpStream, targets: Arc<[u16]>, mut line: Line) {
    let now = *line.wire.borrow();
    if now == Wire::BlackHole {
        swallow(&mut client, &mut line).await;
    }
    if now.is_broken() {
        return;
    }
    let Some(mut server) = connect(&targets).await else { return };
    let (forth, back) = (line.clone(), line.clone());
    let broken = async { line.wire.wait_for(|wire| wire.is_broken()).await.map(|wire| *wire) };
    let hole = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::try_join!(
                pump(from_client, to_server, forth, Way::Forth),
                pump(from_server, to_client, back, Way::Back),
            )
        };
        tokio::select! {
            _ = both => false,
            broken = broken => broken.is_ok_and(|wire| wire == Wire::BlackHole),
        }
    };
    if hole {
        swallow(&mut client, &mut line).await;
    }
    let _ = client.shutdown().await;
}

/// Carries one way until the end, each piece as late as the wire was when it came. A slow wire has
/// room for many pieces on their way.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: Line,
    way: Way,
) -> std::io::Result<()> {
    let (pieces, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let Line { wire: state, uses, reads } = line.clone();
    let reading = async move {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer).await?;
            if let Way::Forth = way {
                uses.send_modify(|uses| *uses += 1);
                let is_read = buffer[..read].starts_with(b"GET ");
                reads.fetch_add(u64::from(is_read), Ordering::Relaxed);
            }
            let delay = state.borrow().delay(way).unwrap_or_default();
            let piece = (Instant::now() + delay, buffer[..read].to_vec());
            if pieces.send(piece).await.is_err() || read == 0 {
                return Ok::<_, std::io::Error>(());
            }
        }
    };
    let writing = async {
        while let Some((at, piece)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            let open = line.wire.wait_for(|wire| wire.delay(way).is_some()).await;
            open.map_err(std::io::Error::other)?;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(|_| ())
}

/// Takes what is sent and answers nothing, for as long as the hole is there.
async fn swallow(client: &mut TcpStream, line: &mut Line) {
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            read = client.read(&mut buffer) => {
                if !read.is_ok_and(|bytes| bytes > 0) {
                    return;
                }
                line.uses.send_modify(|uses| *uses += 1);
            }
            _ = line.wire.wait_for(|wire| *wire != Wire::BlackHole) => return,
        }
    }
}
