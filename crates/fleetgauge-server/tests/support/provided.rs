//! What the test command gets where it can.

use std::path::PathBuf;

/// The program that one of the environment variables names by which the test command tells where it is.
pub(crate) fn provided(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    let path =
        path.unwrap_or_else(|| panic!("{variable} is not set: `cargo xtask test` gets it where it can"));
    path.into()
}
