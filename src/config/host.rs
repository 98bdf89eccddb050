//! Host name of this machine.

/// Host name of this machine, for people to read; `localhost` if it cannot be found.
#[must_use]
pub fn host_name() -> String {
    find_host_name().unwrap_or_else(|| "localhost".to_owned())
}

/// Host name of this machine, if it can be found.
pub(super) fn find_host_name() -> Option<String> {
    let found = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    // A system without that file has `uname -n`, which is POSIX.
    let found = found.or_else(|| {
        let output = std::process::Command::new("uname").arg("-n").output().ok()?;
        String::from_utf8(output.stdout).ok()
    })?;
    let name = found.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
