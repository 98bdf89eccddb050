//! hearken keeps one audited list of a cluster's event listeners, makes RabbitMQ match the list,
//! and runs the listeners.
//!
//! The flow in ten sentences. An administrator's request becomes a [`domain::command`] in [`http`].
//! [`roster`] brings the node's roster up to date, asks [`domain::admission`] and
//! [`domain::roster::decide`], and appends the resulting event to the log in [`store`]. The answer
//! goes out: the intent is safe, and the broker has not been touched. A doorbell wakes the tail of
//! every node, which folds the new event into the roster in memory. [`reconcile`] takes the whole
//! roster, computes the [`domain::desired`] topology, observes the [`broker`], compares
//! ([`domain::drift`]), plans ([`domain::repair`]), applies, records and broadcasts. [`node`] makes
//! the listeners that run here equal to the roster, for the classes that the catalog in
//! [`listeners`] knows. Each running listener consumes its work queue through [`bus`]. An event
//! enters through [`dispatch`], by [`http`] or from a program that publishes to the exchange of the
//! bus. A failed event waits and runs again, and becomes a dead letter when its attempts are used
//! up. Each loop decides from whole state and never from what woke it, so its next turn repairs
//! what was lost on the way: a doorbell, a broadcast, a crash half way.
//!
//! The modules below stand in reading order, from the ground up: a module imports only modules
//! above it. `tests/it/architecture/floors.rs` holds that.

pub use hearken_core::{domain, json};

pub mod background;
pub mod clock;
pub mod error_chain;
pub mod shutdown;
pub mod tls;

pub mod config;
pub mod metrics;
pub mod outage;
pub mod shared_read;

pub mod amqp;
pub mod store;
pub mod telemetry;

pub mod broker;
pub mod bus;
pub mod tasks;

pub mod listeners;
pub mod retention;

pub mod roster;

pub mod dispatch;
pub mod node;
pub mod reconcile;

pub mod health;

pub mod http;

pub mod cli;

#[cfg(test)]
mod fixtures;
