//! A second, newer RabbitMQ in a directory of its own.
//!
//! A Debian release has one RabbitMQ, with the Erlang it was built for. The other one comes with a
//! small Debian around it, and runs by `chroot`. That needs root, and neither mounts nor
//! namespaces, which containers often deny.

use super::{
    default_dir, install, packages,
    process::{guarded, is_root},
    slot::clear,
};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
};

/// The Debian release whose RabbitMQ is 4.0.
const RELEASE: &str = "trixie";

/// Variable with the URL of a Debian repository, for machines whose apt names none.
const REPOSITORY: &str = "DEBIAN_REPOSITORY";

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
/// It takes about a minute and 400 MB. Of several processes that want it at once, one makes it and
/// the others wait.
///
/// # Errors
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
    let repository = repository()?;
    let log = root.with_extension("log");
    let output = File::create(&log)?;
    let status = guarded("TERM")
        .args(["debootstrap", "--variant=minbase", "--include=rabbitmq-server", RELEASE])
        .arg(root)
        .arg(repository)
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

/// URL of a Debian repository: the one that is set, or the one that apt uses on this machine.
fn repository() -> Result<String> {
    let listed = Command::new("apt-get")
        .args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    repository_from(std::env::var(REPOSITORY).ok().as_deref(), &listed)
}

fn repository_from(set: Option<&str>, listed: &str) -> Result<String> {
    let chosen = set.filter(|url| !url.is_empty()).or_else(|| choose(listed));
    let chosen = chosen.with_context(|| {
        format!("apt names no Debian repository here; set {REPOSITORY} to the URL of a repository that has {RELEASE}")
    })?;
    Ok(chosen.to_owned())
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
    fn the_repository_is_the_first_that_serves_debian_itself() {
        let listed = "Debian-Security http://one.example/debian-security/\n\
                      Debian cdrom://disc/\n\
                      Debian http://two.example/debian/\n";
        assert_eq!(choose(listed), Some("http://two.example/debian/"));
        assert_eq!(choose("Ubuntu http://three.example/ubuntu/\n"), None);
    }

    #[test]
    fn without_a_repository_the_error_says_what_to_set() {
        let listed = "Debian http://two.example/debian/\n";
        assert_eq!(repository_from(None, listed).unwrap(), "http://two.example/debian/");
        assert_eq!(
            repository_from(Some("http://set.example/"), listed).unwrap(),
            "http://set.example/"
        );
        let error = repository_from(Some(""), "").unwrap_err().to_string();
        assert!(error.contains("set DEBIAN_REPOSITORY"), "{error}");
    }
}
