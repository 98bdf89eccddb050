//! The rules, as pure functions over plain values.
//!
//! No rule does I/O, waits, or reads a clock: the time and the content of the broker are arguments.
//! So every rule can be tested without a server, and gives the same answer after a restart.
//!
//! # Reading order
//! 1. [`name`], [`span`], [`retry`] and [`listener`]: the words of a configured listener.
//! 2. [`bus`] and [`dead_letter`]: where events travel, and where they end when they fail.
//! 3. [`command`], [`event`] and [`roster`]: the event-sourced list of listeners. [`admission`] is
//!    the veto of the node that takes a command.
//! 4. [`layout`], [`topology`] and [`desired`]: the names on the broker, and the objects that the
//!    broker should hold.
//! 5. [`drift`] and [`plan`]: the difference from what the broker holds, and the steps that repair
//!    it.
//! 6. [`repair`], [`breaker`], [`depth`] and [`deletion`]: which drift is repaired, when no drift
//!    is repaired, and when a queue may be deleted.
//! 7. [`report`] and [`retention`]: records that nodes store and show, and how long they are kept.
//!    [`condition`] is what the records say about one listener, [`inventory`] what an operator can
//!    do about each queue, and [`cluster`] what every node has the same setting for.

pub mod admission;
pub mod adoption;
pub mod breaker;
pub mod bus;
pub mod cluster;
pub mod command;
pub mod condition;
pub mod dead_letter;
pub mod deletion;
pub mod depth;
pub mod desired;
pub mod drift;
pub mod event;
pub mod inventory;
pub mod layout;
pub mod listener;
pub mod name;
pub mod plan;
pub mod repair;
pub mod report;
pub mod retention;
pub mod retry;
pub mod roster;
pub mod span;
pub mod topology;
