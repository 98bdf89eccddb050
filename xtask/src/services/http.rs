//! The smallest HTTP client that can ask a server whether it is up.

use anyhow::{Context, Result};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(5);

/// `guest:guest` in base 64.
const GUEST: &str = "Z3Vlc3Q6Z3Vlc3Q=";

/// Asks a server on loopback for a path. Returns the status and the body.
///
/// The request carries RabbitMQ's `guest` credentials. Other servers here have open health
/// endpoints and ignore them.
///
/// # Errors
/// When no server listens, or no HTTP answer comes within five seconds.
pub fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {GUEST}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
}

fn parse(answer: &str) -> Result<(u16, String)> {
    let status = answer
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .context("the answer does not begin with an HTTP status line")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_read() {
        let (status, body) = parse("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nno").unwrap();
        assert_eq!((status, body.as_str()), (503, "no"));
    }

    #[test]
    fn another_protocol_is_refused() {
        assert!(parse("AMQP\0\0\t\u{1}").is_err());
    }
}
