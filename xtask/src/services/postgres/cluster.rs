//! The files of a PostgreSQL server and the user who owns them.

use crate::services::{
    packages,
    process::{guarded, is_root},
    slot::{clear, digest},
};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A data directory, and who may serve it.
///
/// PostgreSQL refuses to run as root, so root hands the directory to the package's user `postgres`,
/// or to `nobody` on a machine without that user.
#[derive(Debug)]
pub(super) struct Cluster {
    programs: PathBuf,
    owner: Option<Owner>,
    data: PathBuf,
    elsewhere: Option<PathBuf>,
}

#[derive(Debug)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// Makes a new data directory under `dir`, clearing what was there.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let programs = packages::postgres_programs()?;
        let owner = if is_root() { Some(Owner::find()?) } else { None };
        clear(&dir.join("data"))?;
        let dir = fs::canonicalize(dir)?;
        let mut cluster = Self { programs, owner, data: dir.join("data"), elsewhere: None };
        cluster.settle()?;
        cluster.initialise()?;
        Ok(cluster)
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Whether the server can load a library that comes with PostgreSQL.
    pub(super) fn has_library(&self, name: &str) -> bool {
        let file = format!("{name}.so");
        ["../lib", "../lib/postgresql", "../lib64"]
            .iter()
            .any(|directory| self.programs.join(directory).join(&file).exists())
    }

    /// Completes a guarded command with a program run as the owner of the data.
    pub(super) fn run_as(&self, command: &mut Command, program: &str) {
        self.become_owner(command).arg(self.program(program));
        // Not our working directory, which the owner may be unable to enter.
        command.current_dir("/").env_remove("PGOPTIONS").env_remove("PGDATA");
    }

    fn become_owner<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        if let Some(Owner { uid, gid }) = &self.owner {
            command
                .args(["--reuid", &uid.to_string(), "--regid", &gid.to_string()])
                .arg("--clear-groups");
        }
        command.arg("--")
    }

    /// Hands the directory to its owner. When the owner cannot reach it, as in a checkout below
    /// /root, takes one among the temporary files instead.
    fn settle(&mut self) -> Result<()> {
        let Some(Owner { uid, gid }) = self.owner else {
            return Ok(());
        };
        chown(&self.data, Some(uid), Some(gid))?;
        let mut probe = guarded("KILL");
        self.become_owner(&mut probe).arg("test").arg("-w").arg(&self.data);
        if probe.status().context("cannot run setpriv")?.success() {
            return Ok(());
        }
        // Named after the first choice, so that what a killed run left there is cleared by the next
        // one.
        let name = format!("hearken-postgres-{}", digest(&self.data));
        let elsewhere = std::env::temp_dir().join(name);
        if elsewhere.exists() {
            fs::remove_dir_all(&elsewhere)
                .with_context(|| format!("cannot clear {}", elsewhere.display()))?;
        }
        DirBuilder::new().mode(0o700).create(&elsewhere)?;
        chown(&elsewhere, Some(uid), Some(gid))?;
        self.data.clone_from(&elsewhere);
        self.elsewhere = Some(elsewhere);
        Ok(())
    }

    fn initialise(&self) -> Result<()> {
        let mut command = guarded("KILL");
        self.run_as(&mut command, "initdb");
        let output = command
            .arg("-D")
            .arg(&self.data)
            // The password in the URL is not checked. Checking it costs milliseconds of hashing for
            // every connection a test opens.
            .args(["--username=hearken", "--auth=trust", "--no-sync", "--encoding=UTF8"])
            // Text sorts by language, as it does on servers in production. A query that pages by
            // name and forgot to ask for byte order fails here and not there.
            .args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"])
            .stdin(Stdio::null())
            .output()
            .context("cannot run initdb")?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("initdb failed in {} ({})\n{errors}", self.data.display(), output.status);
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(elsewhere) = &self.elsewhere {
            // A directory that cannot be removed is left to the cleaner of temporary files.
            let _ = fs::remove_dir_all(elsewhere);
        }
    }
}

impl Owner {
    fn find() -> Result<Self> {
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        ["postgres", "nobody"].iter().find_map(|name| Self::parse(&users, name)).context(
            "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`",
        )
    }

    fn parse(users: &str, name: &str) -> Option<Self> {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        match (ids.next(), ids.next()) {
            (Some(Ok(uid)), Some(Ok(gid))) => Some(Self { uid, gid }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        let owner = Owner::parse(users, "postgres").unwrap();
        assert_eq!((owner.uid, owner.gid), (101, 104));
        assert!(Owner::parse(users, "post").is_none());
    }
}
