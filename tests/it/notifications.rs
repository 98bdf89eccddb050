//! Following keys, and notifications.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod attached;
mod bindings;
mod contract;
mod remote;
mod stream;
