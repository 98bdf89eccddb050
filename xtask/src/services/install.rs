//! Fetching what is missing from Debian.

use super::{RabbitMqVersion, chroot, packages, process::is_root};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

/// Debian's switch for whether packages may start their services.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes sure that PostgreSQL and a version of RabbitMQ can be started here.
///
/// Does nothing when they can. Otherwise root gets Debian's packages, without their services being
/// started; another user gets an error with the command that root would have to run.
///
/// # Errors
/// When something is missing and could not be fetched.
pub fn install(version: RabbitMqVersion) -> Result<()> {
    let mut wanted = Vec::new();
    if packages::postgres_programs().is_err() {
        wanted.push("postgresql");
    }
    if version == RabbitMqVersion::System && packages::rabbitmq_programs().is_err() {
        wanted.push("rabbitmq-server");
    }
    debian(&wanted)?;
    if version == RabbitMqVersion::V4 {
        chroot::prepare()?;
    }
    Ok(())
}

/// Makes sure that C++ can be compiled here, as [`install`] does.
///
/// # Errors
/// When there is no compiler and none could be fetched.
pub fn install_cpp() -> Result<()> {
    match packages::on_path("c++") {
        Some(_) => Ok(()),
        None => debian(&["g++"]),
    }
}

/// Installs Debian packages, if there are any to install.
pub(super) fn debian(wanted: &[&str]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let names = wanted.join(" ");
    let by_hand = format!("apt-get install --no-install-recommends {names}");
    if packages::on_path("apt-get").is_none() {
        bail!(
            "missing here: {names} (names of Debian's packages); this system has no apt-get, so install them by its own means"
        );
    }
    if !is_root() {
        bail!("missing here: {names}\ninstall as root: {by_hand}");
    }
    eprintln!("installing {names}");
    let _policy = NoServices::enforce()?;
    apt(&["update"])?;
    let options = ["install", "-y", "--no-install-recommends"];
    apt(&[&options[..], wanted].concat())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("cannot run apt-get")?;
    if !output.status.success() {
        let [said, errors] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        bail!("apt-get {} failed ({})\n{said}{errors}", arguments.join(" "), output.status);
    }
    Ok(())
}

/// While it lives, packages do not start services on being installed.
///
/// A policy that the machine has already is left alone.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn enforce() -> Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")
                .with_context(|| format!("cannot write {POLICY}"))?;
            fs::set_permissions(POLICY, Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            eprintln!("could not remove {POLICY}; while it is there, packages start no services");
        }
    }
}
