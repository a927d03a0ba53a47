//! Files that are named on the command line: a path, or `-` for standard input.

use std::io;
use std::path::Path;

use fleetgauge::file::{self, FileError};

/// The bytes of a file.
///
/// *Errors*: it cannot be read, is not a regular file, or has more than `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    if path == Path::new("-") || path == Path::new("/dev/stdin") {
        file::read_from(io::stdin().lock(), path, limit)
    } else {
        file::read(path, limit)
    }
}

/// The text of a file.
///
/// *Errors*: as [`read`], and for what is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    file::text(path, read(path, limit)?)
}
