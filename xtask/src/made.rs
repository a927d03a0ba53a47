//! Programs that are made once and kept under `target`, in a folder whose name is a hash of what they are made of.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use md5::{Digest as _, Md5};

use crate::shell::root;

/// What is made, and of what.
pub(crate) struct Made<'a> {
    /// As people are told.
    pub(crate) what: &'a str,
    /// The folder under `target`.
    pub(crate) folder: &'a str,
    /// Where any of this is another, it is made anew.
    pub(crate) of: Vec<&'a str>,
    /// What has to be there in the end.
    pub(crate) programs: &'a [&'a str],
    /// About how long it takes where nothing is cached.
    pub(crate) takes: &'a str,
}

// === impl Made ===

impl Made<'_> {
    /// Where it is, if it was made before.
    pub(crate) fn found(&self) -> Option<PathBuf> {
        Some(self.path()).filter(|path| path.is_dir())
    }

    /// Where it is; `make` puts it into a folder where it is not there yet, by one process at a time.
    pub(crate) fn get(&self, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        if let Some(found) = self.found() {
            return Ok(found);
        }
        let home = self.home();
        fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
        let lock = File::create(home.join("lock"))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            eprintln!("Waiting for another process that makes {}.", self.what);
            lock.lock()?;
        }
        if let Some(found) = self.found() {
            return Ok(found);
        }
        let path = self.path();
        eprintln!(
            "Making {} in {}; nothing is installed. Without a cache it takes about {}.",
            self.what,
            path.display(),
            self.takes
        );
        let making = home.join("making");
        if making.exists() {
            // What was left half done.
            fs::remove_dir_all(&making)?;
        }
        fs::create_dir(&making)?;
        make(&making)?;
        for program in self.programs {
            ensure!(making.join(program).is_file(), "no {program} was made");
        }
        fs::rename(&making, &path)?;
        Ok(path)
    }

    fn home(&self) -> PathBuf {
        root().join("target").join(self.folder)
    }

    fn path(&self) -> PathBuf {
        self.home().join(name(&self.of))
    }
}

/// By what the programs are made of.
fn name(parts: &[&str]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_another_one_when_any_part_is() {
        let names = [["a", "b"], ["a", "c"], ["ab", ""], ["", "ab"]].map(|parts| name(&parts));
        for (index, one) in names.iter().enumerate() {
            assert_eq!(one.len(), 32, "{one}");
            assert!(!names[index + 1..].contains(one), "{names:?}");
        }
        assert_eq!(names[0], name(&["a", "b"]));
    }
}
