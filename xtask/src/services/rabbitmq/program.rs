//! RabbitMQ's program files, without the plugins we do not use.

use anyhow::{Context, Result};
use std::{fs, os::unix::fs::symlink, path::Path};

/// The plugins that management needs. Everything else that is called `rabbitmq_` is left out;
/// libraries have other names and stay.
const PLUGINS: [&str; 4] = [
    "rabbitmq_management-",
    "rabbitmq_management_agent-",
    "rabbitmq_prelaunch-",
    "rabbitmq_web_dispatch-",
];

/// Makes a program directory of links. Returns whether it could: the program may be laid out in
/// some way we do not know.
///
/// A booting broker looks for each of two thousand modules in each plugin's directory, and Erlang
/// before 26 asks the file system every time. Without forty unused plugins RabbitMQ 3.10 boots in
/// five seconds and not nine.
pub(super) fn trim(scripts: &Path, into: &Path) -> Result<bool> {
    let server = fs::canonicalize(scripts.join("rabbitmq-server"))?;
    let Some(home) = server.parent().and_then(Path::parent) else { return Ok(false) };
    let plugins = home.join("plugins");
    if !plugins.is_dir() || !home.join("escript").is_dir() {
        return Ok(false);
    }
    let kept = into.join("plugins");
    fs::create_dir_all(&kept).with_context(|| format!("cannot create {}", kept.display()))?;
    for part in ["sbin", "escript"] {
        symlink(home.join(part), into.join(part))?;
    }
    for plugin in fs::read_dir(&plugins)? {
        let plugin = plugin?;
        if wanted(&plugin.file_name().to_string_lossy()) {
            symlink(plugin.path(), kept.join(plugin.file_name()))?;
        }
    }
    Ok(true)
}

fn wanted(plugin: &str) -> bool {
    !plugin.starts_with("rabbitmq_") || PLUGINS.iter().any(|name| plugin.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_management_are_kept() {
        for kept in ["rabbit-3.10.8", "cowboy-2.8.0", "rabbitmq_management-3.10.8"] {
            assert!(wanted(kept), "{kept}");
        }
        for left_out in ["rabbitmq_mqtt-3.10.8", "rabbitmq_shovel_management-3.10.8"] {
            assert!(!wanted(left_out), "{left_out}");
        }
    }
}
