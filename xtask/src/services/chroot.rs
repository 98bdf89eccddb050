//! A second, newer RabbitMQ in a directory of its own.
//!
//! A Debian release has one RabbitMQ, with the Erlang it was built for. The
//! other one comes with a small Debian around it, and runs by `chroot`. That
//! needs root, and neither mounts nor namespaces, which containers often deny.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::process::{guarded, is_root};
use super::slot::clear;
use super::{default_dir, install, packages};

/// The Debian release whose RabbitMQ is 4.0.
const RELEASE: &str = "trixie";

/// Where Debian is served from when apt names no mirror of it.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// Written last, so that a directory left half made is not taken for a whole one.
const STAMP: &str = "hearken-complete";

/// The root directory for RabbitMQ 4, which [`prepare`] has to have made.
pub(super) fn root() -> Result<PathBuf> {
    let root = location();
    if !is_root() {
        bail!("RabbitMQ 4 runs by chroot here, which only root may do");
    }
    if !root.join(STAMP).exists() {
        bail!(
            "there is no RabbitMQ 4 in {}\nmake it with: cargo xtask install --rabbitmq 4",
            root.display()
        );
    }
    Ok(root)
}

/// Makes the directory in which RabbitMQ 4 runs, unless it is there already.
///
/// It takes about a minute and 400 MB. Of several processes that want it at
/// once, one makes it and the others wait.
///
/// # Errors
///
/// When we are not root or Debian's packages cannot be had.
pub fn prepare() -> Result<PathBuf> {
    let root = location();
    fs::create_dir_all(default_dir())?;
    let lock = File::create(root.with_extension("lock"))?;
    lock.lock().context("cannot lock the directory of RabbitMQ 4")?;
    if is_root() && !root.join(STAMP).exists() {
        if packages::on_path("debootstrap").is_none() {
            install::debian(&["debootstrap", "debian-archive-keyring"])?;
        }
        eprintln!("making {} (about a minute)", root.display());
        debootstrap(&root)?;
    }
    self::root()
}

fn location() -> PathBuf {
    default_dir().join("rabbitmq-4-root")
}

fn debootstrap(root: &PathBuf) -> Result<()> {
    clear(root)?;
    let log = root.with_extension("log");
    let output = File::create(&log)?;
    let status = guarded("TERM")
        .args(["debootstrap", "--variant=minbase", "--include=rabbitmq-server", RELEASE])
        .arg(root)
        .arg(mirror())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .context("cannot run debootstrap")?;
    if !status.success() {
        bail!("debootstrap of {RELEASE} failed ({status}); see {}", log.display());
    }
    // Names are looked up without the machine's own configuration.
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    fs::write(root.join(STAMP), "")?;
    Ok(())
}

/// The mirror of Debian this machine uses for its own packages.
fn mirror() -> String {
    let listed = Command::new("apt-get")
        .args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    choose(&listed).unwrap_or(DEFAULT_MIRROR).to_owned()
}

fn choose(listed: &str) -> Option<&str> {
    listed
        .lines()
        .filter_map(|line| line.strip_prefix("Debian "))
        .find(|uri| uri.starts_with("http://") || uri.starts_with("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_first_that_serves_debian_itself() {
        let listed = "Debian-Security http://one.example/debian-security/\n\
                      Debian cdrom://disc/\n\
                      Debian http://two.example/debian/\n";
        assert_eq!(choose(listed), Some("http://two.example/debian/"));
        assert_eq!(choose("Ubuntu http://three.example/ubuntu/\n"), None);
    }
}
