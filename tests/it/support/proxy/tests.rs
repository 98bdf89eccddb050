//! The proxy breaks the wire as it says.

use super::*;

const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(150);

/// A client and a server that see each other through a proxy.
async fn pair() -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::before(listener.local_addr().unwrap().port()).await;
    let client = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
    let (server, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    (proxy, client, server)
}

async fn arrives(from: &mut TcpStream, to: &mut TcpStream, what: u8) {
    from.write_all(&[what]).await.unwrap();
    assert_eq!(timeout(SOON, to.read_u8()).await.expect("it arrives").unwrap(), what);
}

async fn nothing(at: &mut TcpStream) {
    let read = timeout(A_WHILE, at.read_u8()).await;
    assert!(read.is_err(), "something arrived, or the connection is gone: {read:?}");
}

#[tokio::test]
async fn a_slow_wire_adds_its_latency_both_ways_and_keeps_the_order() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set(Wire::Delay(A_WHILE));
    let begun = Instant::now();
    for what in 0..10 {
        client.write_all(&[what]).await.unwrap();
    }
    for what in 0..10 {
        assert_eq!(timeout(SOON, server.read_u8()).await.unwrap().unwrap(), what);
    }
    assert!(begun.elapsed() >= A_WHILE && begun.elapsed() < A_WHILE * 9);
    arrives(&mut server, &mut client, 7).await;
    assert!(begun.elapsed() >= A_WHILE * 2);
    proxy.set(Wire::Up);
    arrives(&mut client, &mut server, 8).await;
}

#[tokio::test]
async fn a_half_open_wire_carries_one_way_and_gives_the_rest_later() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set(Wire::HalfOpen);
    arrives(&mut client, &mut server, 1).await;
    server.write_all(&[2]).await.unwrap();
    nothing(&mut client).await;
    proxy.set(Wire::Up);
    assert_eq!(timeout(SOON, client.read_u8()).await.unwrap().unwrap(), 2);

    proxy.set(Wire::Deaf);
    arrives(&mut server, &mut client, 3).await;
    client.write_all(&[4]).await.unwrap();
    nothing(&mut server).await;
    proxy.set(Wire::Up);
    assert_eq!(timeout(SOON, server.read_u8()).await.unwrap().unwrap(), 4);
}

#[tokio::test]
async fn what_falls_into_a_black_hole_is_gone_and_so_is_the_connection_after_it() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set(Wire::BlackHole);
    client.write_all(&[1]).await.unwrap();
    nothing(&mut server).await;
    nothing(&mut client).await;
    proxy.set(Wire::Up);
    assert_eq!(timeout(SOON, client.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_cut_wire_ends_connections_and_takes_none_until_it_is_mended() {
    let (proxy, mut client, _server) = pair().await;
    proxy.set(Wire::Cut);
    assert_eq!(timeout(SOON, client.read(&mut [0])).await.unwrap().unwrap(), 0);
    let mut late = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
    let read = timeout(SOON, late.read(&mut [0])).await.unwrap();
    assert!(read.is_err() || read.is_ok_and(|bytes| bytes == 0));
}

#[tokio::test]
async fn a_connection_goes_to_the_first_target_that_lives() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let living = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let proxy = Proxy::before_any(&[port(&dead), port(&living)]).await;
    drop(dead);
    let _client = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
    timeout(SOON, living.accept()).await.expect("it gets there").unwrap();
}
