//! The rules of hearken and the readers of everything that comes from outside, without any I/O.
//!
//! [`domain`] decides: what a command leads to, what RabbitMQ should hold, what differs and what
//! mends it. [`event`] is the event as every room sees it, [`codec`] its forms on the wire, and
//! [`json`] the strict reader of JSON. Nothing here waits, reads a clock or opens a connection, and
//! the manifest names no crate that could. A crate of its own, so that the compiler holds that rule
//! and fuzzing builds these readers alone.

pub mod codec;
pub mod domain;
pub mod event;
pub mod json;
