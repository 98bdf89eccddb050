//! Keeping dead letters in the database.
//!
//! - `keeper`: keeps one entry, and reports an outage of the database once.
//! - `identity`: ids of entries, the same for the same failure.

mod identity;
mod keeper;

pub(crate) use identity::{FailureOccasion, entry_id};
pub(crate) use keeper::{DeadLetterKeeper, KeepError, Kept};
