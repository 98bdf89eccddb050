//! Free loopback ports.

use anyhow::{Result, bail};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// The ports handed out.
///
/// They lie below the range from which Linux takes the local ends of outgoing connections.
/// Otherwise a client could be given the port of a server that a test has just killed, and the
/// server could not come back on it; or a client that retries could connect to itself and see a
/// server that is not there.
const RANGE: std::ops::Range<u16> = 11_000..31_000;

/// A loopback port that is free and that this process was not given before.
///
/// The first one is chosen at random, so that two test runs on one machine start far apart.
///
/// # Errors
/// When every port of the range is taken.
pub fn free() -> Result<u16> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(random_offset()));
    for _ in RANGE {
        let offset = next.fetch_add(1, Ordering::Relaxed) % (RANGE.end - RANGE.start);
        let port = RANGE.start + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 between {} and {}", RANGE.start, RANGE.end)
}

fn random_offset() -> u16 {
    let random = RandomState::new().build_hasher().finish();
    u16::try_from(random % u64::from(RANGE.end - RANGE.start)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_given_twice() {
        let first = free().unwrap();
        let second = free().unwrap();
        assert_ne!(first, second);
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let first = free().unwrap();
        let _taken: Vec<_> = (first + 1..first + 4)
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .collect();
        let second = free().unwrap();
        assert!(!(first + 1..first + 4).contains(&second), "{second} is in use");
    }
}
