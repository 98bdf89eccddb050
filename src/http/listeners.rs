//! `/listeners`: the listeners of the roster.

pub mod add;
pub mod remove;
pub mod show;
pub mod view;

pub(crate) use add::{__path_add, add};
pub(crate) use remove::{__path_remove, remove};
pub(crate) use show::{__path_list, __path_show, list, show};
pub use view::{Backlog, Convergence, ListenerView};
