//! Whether files say something else than before: their content is compared, so that it does not matter how they are
//! replaced, be it by a link to another directory.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::LazyLock;

/// What files held when they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents(Vec<(PathBuf, Option<u64>)>);

/// No configuration and no pack is longer.
const MAX_BYTES: u64 = 4 << 20;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

// === impl Contents ===

impl Contents {
    /// What `files` hold now.
    pub(super) fn of(files: &[PathBuf]) -> Self {
        let content = |file: &PathBuf| {
            let bytes = fleetgauge::file::read(file, MAX_BYTES).ok();
            (file.clone(), bytes.map(|bytes| HASHER.hash_one(bytes)))
        };
        Self(files.iter().map(content).collect())
    }

    /// What the same files hold now; `None` if one of them cannot be read that could be before.
    pub(super) fn again(&self) -> Option<Self> {
        let files: Vec<_> = self.0.iter().map(|(file, _)| file.clone()).collect();
        let now = Self::of(&files);
        let is_gone = self
            .0
            .iter()
            .zip(&now.0)
            .any(|((_, before), (_, now))| before.is_some() && now.is_none());
        (!is_gone).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_replaced_in_any_way_have_changed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        let seen = Contents::of(std::slice::from_ref(&file));
        std::fs::write(&file, "a").unwrap();
        let written = seen.again().unwrap();
        assert_ne!(written, seen);
        assert_eq!(written.again().unwrap(), written);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(written.again(), None);
        #[cfg(unix)]
        {
            let other = directory.path().join("b.yaml");
            std::fs::write(&other, "b").unwrap();
            std::os::unix::fs::symlink(&other, &file).unwrap();
            assert_ne!(written.again().unwrap(), written);
        }
    }
}
