//! Files that are named on the command line: a path, or `-` for standard input.

use std::io;
use std::path::Path;

use fleetgauge::file::{self, FileError};

/// What some editors put before a text in UTF-8; it is none of it.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes of a file, without a byte order mark.
///
/// *Errors*: it cannot be read, is not a regular file, or has more than `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = if path == Path::new("-") || path == Path::new("/dev/stdin") {
        file::read_from(io::stdin().lock(), path, limit)
    } else {
        file::read(path, limit)
    }?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// The text of a file.
///
/// *Errors*: as [`read`], and for what is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    file::text(path, read(path, limit)?)
}

/// Whether a text that should name a file looks like a path, and not like a secret that was put where the name of its
/// file belongs: it has a `/` or an extension, and no part as long as a token's.
pub(crate) fn looks_like_path(text: &str) -> bool {
    let is_extension = |extension: &str| {
        (1..=5).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let extension = text.rsplit_once('.').map(|(_, extension)| extension);
    // That of a UUID, of which Kubernetes makes directories.
    const LONGEST: usize = 36;
    (text.contains('/') || extension.is_some_and(is_extension))
        && text.split(['/', '.']).all(|part| part.len() <= LONGEST)
        && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_taken_for_a_path() {
        let check = |text: &str, expected: bool| assert_eq!(looks_like_path(text), expected, "{text}");
        check("secrets/password", true);
        check("/var/run/secrets/kubernetes.io/serviceaccount/token", true);
        check("token.txt", true);
        check("ca.pem", true);
        check("token", false);
        check("hunter2", false);
        check("", false);
        let signature = "s".repeat(43);
        check(
            &format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.{signature}"),
            false,
        );
        check(&format!("glsa/{signature}"), false);
        check("Bearer a/b", false);
    }
}
