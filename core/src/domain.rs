//! The rules, as pure functions over plain values.
//!
//! Nothing in here does I/O, waits, or reads a clock: what time it is and what the broker holds
//! come in as arguments. That is what lets every rule be tested without a server, and what makes
//! the answer the same after a restart.
//!
//! Read in this order: [`name`] and [`listener`] are the words, [`bus`] and [`dead_letter`] what events travel on and end in, [`command`], [`event`] and
//! [`roster`] the aggregate (with [`admission`] as the node's own veto), [`topology`] and
//! [`desired`] what RabbitMQ should hold, [`drift`] the difference and [`plan`] the
//! steps that repair it. [`repair`] decides what is repaired, [`breaker`] when nothing is, and
//! [`deletion`] when a queue may be deleted.

pub mod admission;
pub mod breaker;
pub mod bus;
pub mod command;
pub mod dead_letter;
pub mod deletion;
pub mod depth;
pub mod desired;
pub mod drift;
pub mod event;
pub mod layout;
pub mod listener;
pub mod name;
pub mod plan;
pub mod repair;
pub mod report;
pub mod retry;
pub mod roster;
pub mod span;
pub mod topology;
