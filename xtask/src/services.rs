//! Private PostgreSQL and RabbitMQ servers that end with the process.
//!
//! Every instance has its own data, its own loopback ports and its own Erlang port mapper, so any
//! number of them run side by side and none of them meets a server that the machine runs for
//! itself. Nothing listens beyond 127.0.0.1.
//!
//! Starting never changes the machine. A missing program is an error that says how to get it;
//! [`install`] is the one place that fetches anything.

mod chroot;
mod http;
mod install;
mod packages;
mod port;
mod postgres;
mod process;
mod rabbitmq;
mod slot;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use chroot::prepare as prepare_rabbitmq_4;
pub use http::get as http_get;
pub use install::{install, install_cpp};
pub use port::free as free_port;
pub use postgres::Postgres;
pub use process::{Process, guarded, random_hex};
pub use rabbitmq::{RabbitMq, RabbitMqVersion};
pub use slot::Slot;

/// How long any server may take to answer for the first time.
///
/// A broker boots in six to ten seconds on two idle cores, and several at once take turns. Test
/// machines are rarely idle.
pub const START_DEADLINE: Duration = Duration::from_mins(3);

/// Where cargo builds this workspace.
///
/// A relative `CARGO_TARGET_DIR` starts at the workspace's root and not at the working directory,
/// because cargo runs tests in the directory of their crate.
#[must_use]
pub fn target_dir() -> PathBuf {
    let root = workspace_root();
    std::env::var_os("CARGO_TARGET_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// Where servers keep their files unless told otherwise.
#[must_use]
pub fn default_dir() -> PathBuf {
    target_dir().join("services")
}

/// The directory of hearken's own `Cargo.toml`.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
