//! Where the servers' programs are on this machine.

use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

const RABBITMQ: &str = "/usr/lib/rabbitmq/bin";

/// The directory of `initdb` and `postgres`, the newest version if there are several. Debian keeps
/// it off the path.
pub(super) fn postgres_programs() -> Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = debian
        .filter_map(|entry| Some((version(&entry.path())?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").exists())
        .max();
    if let Some((_, programs)) = newest {
        return Ok(programs);
    }
    on_path("initdb").with_context(|| missing("PostgreSQL", "initdb", "postgresql"))
}

/// The directory of RabbitMQ's own scripts. Those on the path change the user, and with it the data
/// they work on.
pub(super) fn rabbitmq_programs() -> Result<PathBuf> {
    let programs = PathBuf::from(RABBITMQ);
    if !programs.join("rabbitmq-server").exists() {
        bail!(missing("RabbitMQ", &format!("{RABBITMQ}/rabbitmq-server"), "rabbitmq-server"));
    }
    Ok(programs)
}

/// The directory on the path that has a program.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|dir| dir.join(program).exists())
}

fn version(dir: &Path) -> Option<u32> {
    dir.file_name()?.to_str()?.parse().ok()
}

fn missing(product: &str, looked_for: &str, package: &str) -> String {
    format!(
        "{product} is not installed: there is no {looked_for}\n\
         install it with: apt-get install --no-install-recommends {package}\n\
         or, as root, run: cargo xtask install"
    )
}
