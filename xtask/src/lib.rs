//! Real servers for tests.
//!
//! The library half of `xtask` starts private instances of PostgreSQL and RabbitMQ. The command
//! line half uses it to give a test run its servers, and hearken's integration tests use it again
//! to start servers they may kill.

pub mod services;
