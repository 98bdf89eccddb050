//! Of the domain, what reads names. `domain/` is hearken's own.

pub mod bus;
pub mod name;
