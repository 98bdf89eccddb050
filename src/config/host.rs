//! What this machine is called.

/// The machine's host name, for people to read; `localhost` where it does not tell.
#[must_use]
pub fn host_name() -> String {
    told_host_name().unwrap_or_else(|| "localhost".to_owned())
}

/// The machine's host name, where it tells.
pub(super) fn told_host_name() -> Option<String> {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    // Not Linux: `uname -n` is POSIX.
    let told = told.or_else(|| {
        let output = std::process::Command::new("uname").arg("-n").output().ok()?;
        String::from_utf8(output.stdout).ok()
    })?;
    let name = told.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
