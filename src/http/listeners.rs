//! `/listeners`: the listeners of the roster.

pub mod add;
pub mod change;
pub mod diff;
pub mod pause;
pub mod remove;
pub mod show;
pub mod view;

pub(crate) use add::{__path_add, add};
pub(crate) use change::{__path_change, change};
pub(crate) use diff::{__path_diff, diff};
pub(crate) use pause::{__path_pause_or_resume, pause_or_resume};
pub(crate) use remove::{__path_remove, remove};
pub(crate) use show::{__path_list, __path_show, list, show};
pub use view::{Backlog, Convergence, ListenerView};
