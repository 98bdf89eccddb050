//! The tests against real services, in one binary.
//!
//! `cargo xtask test` starts PostgreSQL and RabbitMQ and names them in the environment. A test that
//! needs a missing service fails and says so. No test is skipped.
#![expect(clippy::unwrap_used, reason = "in a test, what fails says where")]
#![expect(clippy::disallowed_methods, reason = "tests measure real time and start real processes")]

mod architecture;
mod broker;
mod bus;
mod chaos;
mod cli;
mod cluster;
mod contract;
mod dispatch;
mod embedded;
mod http;
mod local_bus;
mod notifications;
mod rabbit_bus;
mod store;
mod support;
mod webhook;
