//! hearken keeps one audited list of a cluster's event listeners, makes RabbitMQ match it, and
//! runs the listeners.
//!
//! How it flows, in ten sentences. An administrator's request becomes a [`domain::command`] in
//! [`http`]. [`roster`] loads what happened so far, asks [`domain::admission`] and
//! [`domain::roster::decide`], and appends the resulting event to the log in [`store`]. The answer
//! goes out: intent is safe, the broker has not been touched. A doorbell wakes the tail of every
//! node, which folds the new event into its roster in memory. [`reconcile`] takes the whole roster,
//! computes the [`domain::desired`] topology, observes the [`broker`], compares
//! ([`domain::drift`]), plans ([`domain::plan`]) and applies. What it did is recorded and
//! broadcast. [`node`] makes the listeners that run here equal to the roster, as far as the
//! catalog in [`listeners`] knows their classes. Each running listener consumes its work queue
//! through [`bus`]. An event enters through [`dispatch`], by [`http`] or from any program that publishes to the bus's
//! exchange. Whatever is lost on the way (a doorbell, a broadcast, a crash half way) is repaired by
//! the next turn of those loops, because each decides from whole state and never from what woke it.

pub mod amqp;
pub mod background;
pub mod broker;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dispatch;
pub mod error_chain;
#[cfg(test)]
mod fixtures;
pub mod health;
pub mod http;
pub mod listeners;
pub mod metrics;
pub mod node;
pub mod outage;
pub mod reconcile;
pub mod roster;
pub mod shutdown;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod tls;

pub use hearken_core::{domain, json};
