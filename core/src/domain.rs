//! The rules, as pure functions over plain values.
//!
//! No rule does I/O, waits, or reads a clock: the time and the content of the broker are arguments.
//! So every rule can be tested without a server, and gives the same answer after a restart.
//!
//! Read in this order: [`name`] and [`listener`] are the words, [`bus`] and [`dead_letter`] what
//! events travel on and end in. [`command`], [`event`] and [`roster`] are the aggregate, with
//! [`admission`] as the node's own veto. [`topology`] and [`desired`] are what RabbitMQ should hold,
//! [`drift`] is the difference, and [`plan`] has the steps that repair it. [`repair`] decides what is repaired, [`breaker`] when nothing is, and
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
