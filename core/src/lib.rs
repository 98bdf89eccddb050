//! The rules of hearken, and the readers of all bytes that come from outside. No I/O.
//!
//! [`domain`] decides: what a command leads to, what RabbitMQ should hold, what differs, and which
//! steps repair the difference. [`event`] is the event as every module sees it, [`codec`] has its
//! forms on the wire, and [`json`] is the strict reader of JSON.
//!
//! No function here waits, reads a clock or opens a connection, and the manifest names no crate
//! that could. This is a crate of its own for two reasons: the compiler holds that rule, and the
//! fuzzed programs build these readers without the rest of hearken.

pub mod codec;
pub mod domain;
pub mod event;
pub mod json;
