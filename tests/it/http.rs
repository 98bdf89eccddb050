//! The REST interface, over a socket. Every answer is also held against the contract.

mod away;
mod changing;
mod cluster;
mod conditions;
mod dead_letters;
mod events;
mod operations;
mod redelivery;
mod roster;
mod tasks;
mod topology;
mod trouble;
mod wrong;
