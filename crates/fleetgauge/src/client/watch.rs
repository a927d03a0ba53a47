//! Files that are read again when they change: tokens, passwords, certificates.
//!
//! Kubernetes rotates mounted secrets by swapping a symbolic link, so a watcher for events would have to
//! watch directories, and would still miss what network file systems do not tell. A look at the file's
//! status when it is about to be used misses nothing and costs a microsecond; it is done in place, as that
//! is less than handing it to another thread.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fleetgauge_core::time::{Clock, Moment};

pub(crate) use crate::file::{FileError, read as read_file};

/// No token, and no chain of certificates, is larger.
const MAX_BYTES: u64 = 1 << 20;

/// What `parse` makes of some files, kept up to date.
///
/// While the files cannot be read, or do not make sense, as in the middle of a rotation, the last good value
/// stays; that is logged once.
pub(crate) struct Watched<T> {
    paths: Vec<PathBuf>,
    /// How often the status is asked for, at most.
    interval: Duration,
    parse: Box<Parse<T>>,
    clock: Clock,
    state: Mutex<State<T>>,
}

/// Makes a value of the files' contents, or says which file, by its position, is wrong and how.
pub(crate) type Parse<T> = dyn Fn(&[Vec<u8>]) -> Result<T, (usize, String)> + Send + Sync;

struct State<T> {
    value: Arc<T>,
    /// The status of the files that `value` was read from.
    status: Vec<Status>,
    checked_at: Moment,
    failing: bool,
}

/// What changes when a file does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

// === impl Status ===

impl Status {
    /// Whether it was written at least so long ago, as far as its file system and this machine go by the same time.
    pub(crate) fn is_older_than(&self, age: Duration) -> bool {
        let age_now = self.modified.and_then(|modified| modified.elapsed().ok());
        age_now.is_some_and(|age_now| age_now >= age)
    }
}

// === impl Watched ===

impl<T: 'static> Watched<T> {
    /// Reads `paths` and gives their contents to `parse`, now and whenever they change, which is looked for
    /// no more often than every `interval`.
    pub(crate) fn new(
        paths: Vec<PathBuf>,
        interval: Duration,
        clock: Clock,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, (usize, String)> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let parse: Box<Parse<T>> = Box::new(parse);
        let (value, status) = load(&paths, &parse)?;
        let state = State {
            value: Arc::new(value),
            status,
            checked_at: clock.now(),
            failing: false,
        };
        Ok(Self {
            paths,
            interval,
            parse,
            clock,
            state: Mutex::new(state),
        })
    }

    /// The value of the files as they are, or were within the last interval.
    pub(crate) fn get(&self) -> Arc<T> {
        let mut state = self.lock();
        let now = self.clock.now();
        if now.saturating_since(state.checked_at) >= self.interval {
            state.checked_at = now;
            if statuses(&self.paths).ok().as_ref() != Some(&state.status) {
                self.update(&mut state);
            }
        }
        Arc::clone(&state.value)
    }

    /// The value of the files as they are now; the last good one if they cannot be read.
    pub(crate) fn get_fresh(&self) -> Arc<T> {
        let mut state = self.lock();
        state.checked_at = self.clock.now();
        self.update(&mut state);
        Arc::clone(&state.value)
    }

    fn update(&self, state: &mut State<T>) {
        match load(&self.paths, &self.parse) {
            Ok((value, status)) => {
                state.value = Arc::new(value);
                state.status = status;
                state.failing = false;
            }
            Err(error) if !state.failing => {
                state.failing = true;
                let FileError {
                    path,
                    problem,
                    source,
                } = error;
                let source = source.as_ref().map(tracing::field::display);
                tracing::warn!(path = %path.display(), error = source, "{problem}; the last good contents stay in use");
            }
            Err(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status is taken before the contents, so that a change in between is seen the next time.
fn load<T: 'static>(paths: &[PathBuf], parse: &Parse<T>) -> Result<(T, Vec<Status>), FileError> {
    let status = statuses(paths)?;
    let contents = paths
        .iter()
        .map(|p| read_file(p, MAX_BYTES))
        .collect::<Result<Vec<_>, _>>()?;
    match parse(&contents) {
        Ok(value) => Ok((value, status)),
        Err((file, problem)) => Err(FileError {
            path: paths.get(file).cloned().unwrap_or_default(),
            problem,
            source: None,
        }),
    }
}

fn statuses(paths: &[PathBuf]) -> Result<Vec<Status>, FileError> {
    paths.iter().map(|path| status(path)).collect()
}

/// The status of a file.
pub(crate) fn status(path: &Path) -> Result<Status, FileError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Status {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            inode: inode(&metadata),
        }),
        Err(source) => Err(FileError {
            path: path.to_owned(),
            problem: "cannot be read".to_owned(),
            source: Some(source),
        }),
    }
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetgauge_core::time::Timestamp;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn text(contents: &[Vec<u8>]) -> Result<String, (usize, String)> {
        match String::from_utf8_lossy(&contents[0]).trim() {
            "" => Err((0, "is empty".into())),
            text => Ok(text.into()),
        }
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_lost_one_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "one").unwrap();
        let (clock, hand) = Clock::manual(Timestamp::default());
        let watched = Watched::new(vec![path.clone()], INTERVAL, clock, text).unwrap();
        let check = |expected: &str| assert_eq!(*watched.get(), expected);
        check("one");
        fs::write(&path, "two!").unwrap();
        check("one");
        assert_eq!(*watched.get_fresh(), "two!");
        fs::write(&path, "three").unwrap();
        hand.advance(INTERVAL);
        check("three");
        for broken in [Some(""), None] {
            match broken {
                Some(contents) => fs::write(&path, contents).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            hand.advance(INTERVAL);
            check("three");
        }
        // As Kubernetes rotates: another file takes the name.
        let next = dir.path().join("next");
        fs::write(&next, "3eerh").unwrap();
        fs::rename(&next, &path).unwrap();
        hand.advance(INTERVAL);
        check("3eerh");
    }

    #[test]
    fn what_is_no_file_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let big = dir.path().join("big");
        fs::write(&big, vec![b'x'; MAX_BYTES as usize + 1]).unwrap();
        let check = |path: &Path, expected: &str| {
            let error = Watched::new(vec![path.to_owned()], INTERVAL, Clock::system(), text)
                .err()
                .unwrap();
            assert_eq!((error.path.as_path(), error.problem.as_str()), (path, expected));
        };
        check(dir.path(), "is a directory");
        check(&dir.path().join("none"), "cannot be read");
        check(&big, "is larger than 1 MiB");
    }
}
