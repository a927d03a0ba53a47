//! Files that people name, read whole: regular ones, up to a bound.
//!
//! A device has no end, and opening a named pipe waits for whoever writes into it, so neither is opened; and what is
//! opened is never waited for.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fleetgauge_core::printable::Printable;

/// Why a file could not be used. Prints as `path problem: cause`, without anything of its contents.
#[derive(Debug)]
pub struct FileError {
    pub(crate) path: PathBuf,
    pub(crate) problem: String,
    pub(crate) source: Option<io::Error>,
}

/// The bytes of a file.
///
/// *Errors*: it cannot be read, is not a regular file, or has more than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    look(path, limit)?;
    let file = open(path).map_err(|error| FileError::unreadable(path, error))?;
    read_from(file, path, limit)
}

/// Never waits: what the system shows as a file, as `/proc/kmsg`, may have nothing to give now.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The bytes of what is open already, such as standard input; `path` is what errors call it.
///
/// *Errors*: it cannot be read, or has more than `limit` bytes.
pub fn read_from(reader: impl Read, path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = reader.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| FileError::unreadable(path, error))?;
    check_length(path, bytes.len() as u64, limit)?;
    Ok(bytes)
}

/// The text that these bytes of a file are.
///
/// *Errors*: they are not UTF-8.
pub fn text(path: &Path, bytes: Vec<u8>) -> Result<String, FileError> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        FileError::new(path, format!("is not UTF-8 text (at byte {at})"))
    })
}

/// What [`read`] would say of a file, as far as that can be known without opening it.
///
/// *Errors*: it is not there, is not a regular file, or has more than `limit` bytes.
pub fn look(path: &Path, limit: u64) -> Result<(), FileError> {
    let metadata = fs::metadata(path).map_err(|error| FileError::unreadable(path, error))?;
    if metadata.is_dir() {
        return Err(FileError::new(path, "is a directory".to_owned()));
    }
    if !metadata.is_file() {
        return Err(FileError::new(path, "is not a regular file".to_owned()));
    }
    check_length(path, metadata.len(), limit)
}

fn check_length(path: &Path, length: u64, limit: u64) -> Result<(), FileError> {
    if length <= limit {
        return Ok(());
    }
    Err(FileError::new(
        path,
        format!("is larger than {} MiB", limit >> 20),
    ))
}

// === impl FileError ===

impl FileError {
    pub(crate) fn new(path: &Path, problem: String) -> Self {
        Self {
            path: path.to_owned(),
            problem,
            source: None,
        }
    }

    fn unreadable(path: &Path, source: io::Error) -> Self {
        Self {
            source: Some(source),
            ..Self::new(path, "cannot be read".to_owned())
        }
    }

    /// What is wrong, without the path.
    pub fn problem(&self) -> impl fmt::Display {
        match &self.source {
            Some(source) => format!("{}: {source}", self.problem),
            None => self.problem.clone(),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy();
        write!(f, "{} {}", Printable(&path), self.problem())
    }
}

impl std::error::Error for FileError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_whole_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let [big, text, pipe] = ["big", "text", "pipe"].map(|name| dir.path().join(name));
        fs::write(&big, vec![b'x'; (2 << 20) + 1]).unwrap();
        fs::write(&text, b"ab\xff").unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .unwrap();
        let check = |path: &Path, expected: &str| {
            let read = read(path, 2 << 20).and_then(|bytes| super::text(path, bytes));
            let error = read.unwrap_err();
            assert_eq!(error.to_string(), format!("{} {expected}", path.display()));
            assert_eq!(error.problem().to_string(), expected);
        };
        check(&big, "is larger than 2 MiB");
        check(&text, "is not UTF-8 text (at byte 2)");
        check(&pipe, "is not a regular file");
        check(Path::new("/dev/zero"), "is not a regular file");
        check(dir.path(), "is a directory");
        check(
            &dir.path().join("none"),
            "cannot be read: No such file or directory (os error 2)",
        );
        // What has nothing to give now, as `/proc/kmsg` among files.
        let writer = File::options().read(true).write(true).open(&pipe).unwrap();
        let silent = read_from(open(&pipe).unwrap(), &pipe, 1 << 20).unwrap_err();
        drop(writer);
        assert_eq!(
            silent.source.map(|error| error.kind()),
            Some(io::ErrorKind::WouldBlock)
        );
        let endless = read_from(io::repeat(b'x'), Path::new("-"), 1 << 20).unwrap_err();
        assert_eq!(endless.to_string(), "- is larger than 1 MiB");
    }
}
