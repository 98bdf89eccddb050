//! Directories for runs that may overlap.

use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

/// A directory that belongs to one run at a time.
///
/// The files stay after the run, so that logs can be read; the next run that gets the slot clears
/// it. Two runs at once get two slots. The operating system releases the slot of a run that was
/// killed.
#[derive(Debug)]
pub struct Slot {
    dir: PathBuf,
    _lock: File,
}

impl Slot {
    /// Takes the first free slot of a name: `test`, then `test-2`, and so on.
    ///
    /// # Errors
    /// When the directory cannot be made or cleared, or a hundred runs are under way.
    pub fn acquire(base: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(base).with_context(|| format!("cannot create {}", base.display()))?;
        for number in 1..=100 {
            let name = match number {
                1 => name.to_owned(),
                _ => format!("{name}-{number}"),
            };
            let lock = File::create(base.join(format!("{name}.lock")))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let dir = base.join(name);
            clear(&dir)?;
            return Ok(Self { dir, _lock: lock });
        }
        bail!("a hundred runs of {name} use {} already", base.display())
    }

    /// The slot's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Empties a directory, or creates it.
pub(crate) fn clear(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot clear {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

/// A short name for a path, to call files by that belong to it and cannot be kept in it.
pub(crate) fn digest(dir: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_runs_get_different_slots_and_a_free_slot_is_cleared() {
        let base = tempfile::tempdir().unwrap();
        let first = Slot::acquire(base.path(), "run").unwrap();
        let second = Slot::acquire(base.path(), "run").unwrap();
        assert_ne!(first.dir(), second.dir());

        fs::write(first.dir().join("log"), "old").unwrap();
        let dir = first.dir().to_path_buf();
        drop(first);
        let third = Slot::acquire(base.path(), "run").unwrap();
        assert_eq!(third.dir(), dir);
        assert_eq!(fs::read_dir(third.dir()).unwrap().count(), 0);
    }
}
