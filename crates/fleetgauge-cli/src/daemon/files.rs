//! Whether files say something else than before: their content is compared, so that it does not matter how they are
//! replaced, be it by a link to another directory.
//!
//! They are looked at now and then. Events of the file system would not tell of a network's files, nor of a directory that
//! another one takes the place of, and may come without end; a look costs what the files are long, however often they are
//! written in between.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What files held when they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents(Vec<(PathBuf, Option<u64>)>);

/// Files that are looked at again and again.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// What they held when they were read last, be it right or wrong.
    read: Contents,
    /// What they held at the last look.
    found: Contents,
    /// How many looks have found something else than was read.
    looks: u32,
}

/// No configuration and no pack is longer.
const MAX_BYTES: u64 = 4 << 20;

/// So many looks a file that was there may be away while it is replaced.
const LOOKS_AWAY: u32 = 3;

/// So many looks it is waited for files that are never the same at two of them.
const LOOKS_UNSETTLED: u32 = 10;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

// === impl Contents ===

impl Contents {
    /// What `files` hold now.
    pub(super) fn of(files: &[PathBuf]) -> Self {
        Self(files.iter().map(|file| (file.clone(), content(file))).collect())
    }

    /// What the same files hold now.
    pub(super) fn again(&self) -> Self {
        let files = self.0.iter();
        Self(files.map(|(file, _)| (file.clone(), content(file))).collect())
    }

    /// Whether a file cannot be read any more that could be `before`, when they were the same files.
    fn lacks(&self, before: &Self) -> bool {
        let both = before.0.iter().zip(&self.0);
        both.into_iter()
            .any(|((_, before), (_, now))| before.is_some() && now.is_none())
    }
}

fn content(file: &Path) -> Option<u64> {
    let bytes = fleetgauge::file::read(file, MAX_BYTES).ok()?;
    Some(HASHER.hash_one(bytes))
}

// === impl Watched ===

impl Watched {
    /// Those that were read and held this.
    pub(super) fn new(read: Contents) -> Self {
        Self {
            found: read.clone(),
            read,
            looks: 0,
        }
    }

    /// What they hold now.
    pub(super) fn now(&self) -> Contents {
        self.read.again()
    }

    /// Looks at them; says whether they are to be read, and takes them as read then. They are when they hold something else
    /// than was read, and the same as at the look before: one that is being written is left alone, for a while.
    pub(super) fn look(&mut self) -> bool {
        let now = self.now();
        if now == self.read {
            *self = Self::new(now);
            return false;
        }
        self.looks += 1;
        let is_settled = now == self.found && (self.looks > LOOKS_AWAY || !now.lacks(&self.read));
        if is_settled || self.looks >= LOOKS_UNSETTLED {
            *self = Self::new(now);
            return true;
        }
        self.found = now;
        false
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn watched(files: &[&PathBuf]) -> Watched {
        let files: Vec<_> = files.iter().map(|file| (*file).clone()).collect();
        Watched::new(Contents::of(&files))
    }

    /// How many looks it takes until the files are to be read; none of twenty.
    fn looks(watched: &mut Watched, mut between: impl FnMut(usize)) -> Option<usize> {
        (1..=20).find(|look| {
            between(*look);
            watched.look()
        })
    }

    #[test]
    fn files_that_are_replaced_in_any_way_are_read_when_they_have_settled() {
        let directory = tempfile::tempdir().unwrap();
        let [file, other] = ["a.yaml", "b.yaml"].map(|name| directory.path().join(name));
        let mut seen = watched(&[&file]);
        assert_eq!(looks(&mut seen, |_| {}), None);
        fs::write(&file, "a").unwrap();
        assert_eq!(looks(&mut seen, |_| {}), Some(2));
        assert_eq!(looks(&mut seen, |_| {}), None);
        // Half written, and then what was there before.
        fs::write(&file, "").unwrap();
        assert!(!seen.look());
        fs::write(&file, "a").unwrap();
        assert_eq!(looks(&mut seen, |_| {}), None);
        // Written without end.
        let write = |look: usize| fs::write(&file, look.to_string()).unwrap();
        assert_eq!(looks(&mut seen, write), Some(LOOKS_UNSETTLED as usize));
        #[cfg(unix)]
        {
            fs::remove_file(&file).unwrap();
            fs::write(&other, "b").unwrap();
            std::os::unix::fs::symlink(&other, &file).unwrap();
            assert_eq!(looks(&mut seen, |_| {}), Some(2));
        }
    }

    #[test]
    fn a_file_that_is_gone_is_told_once_and_read_when_it_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let [file, other] = ["a.yaml", "b.yaml"].map(|name| directory.path().join(name));
        fs::write(&file, "a").unwrap();
        fs::write(&other, "b").unwrap();
        let mut seen = watched(&[&file, &other]);
        // As long as it takes to replace it.
        fs::remove_file(&file).unwrap();
        assert!(!seen.look() && !seen.look());
        fs::write(&file, "a").unwrap();
        assert_eq!(looks(&mut seen, |_| {}), None);
        // For longer, be there a directory in its place.
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(looks(&mut seen, |_| {}), Some(LOOKS_AWAY as usize + 1));
        assert_eq!(looks(&mut seen, |_| {}), None);
        fs::remove_dir(&file).unwrap();
        fs::write(&file, "a").unwrap();
        assert_eq!(looks(&mut seen, |_| {}), Some(2));
    }
}
