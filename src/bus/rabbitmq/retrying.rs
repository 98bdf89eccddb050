//! What becomes of an event that failed or cannot run now.
//!
//! The event travels on as a copy: through a wait queue to its next execution, or into the database
//! as a dead letter. The original is acknowledged when the copy is safe.
//!
//! - `failed_event`: [`Retrying`] decides, and **chooses the pause**: one of the wait levels of
//!   `domain::retry`.
//! - `copy`: the properties of a copy.
//! - `copy_publisher`: publishes a copy until the broker has it.
//! - `delivered_event`: the event as it was delivered, alone or in a batch.

mod copy;
mod copy_publisher;
mod delivered_event;
mod failed_event;

pub(crate) use copy_publisher::CopyPublisher;
pub(crate) use delivered_event::DeliveredEvent;
pub(crate) use failed_event::Retrying;
