//! Making the broker match the roster.
//!
//! The reconciler is level-triggered: it takes no input. The roster's tail, a request or a timer
//! wakes it, and each pass reads the whole roster and the whole broker. A wake-up carries no data,
//! so a lost wake-up loses no information, and a restart runs the same code as every other pass.
//!
//! Any node may make a pass. It takes a lease in the database first, so one node at a time makes a
//! pass. A node that cannot write to the database changes nothing on the broker. A pass stores what
//! it found, so every node gives the same answer about the topology.
//!
//! Start to read in `pass.rs`: it has the whole of a pass, in the order in which it happens. The
//! decisions of a pass are pure functions of [`crate::domain`]: [`crate::domain::drift`] compares,
//! [`crate::domain::repair`] plans, [`crate::domain::breaker`] refuses a broker that looks wrong,
//! and [`crate::domain::deletion`] says which queue may go.

mod apply;
mod baseline;
mod context;
mod deletion;
mod driver;
mod error;
mod intent;
mod memory;
mod pass;
mod pass_lease;
mod reconciler;
mod recorder;
mod request;
mod requested_deletion;
mod setbacks;
mod situation;
mod status;

pub use context::ReconcileContext;
pub use driver::ReconcileLoop;
pub use error::PassError;
pub use reconciler::{Look, QueueDepths, Reconciler};

pub use crate::broker::BrokerError;
