//! What goes to stdout: tables for people, JSON and CSV for programs.
//!
//! The wire formats are this binary's contract and live here, so that the library's types stay free to change.

pub(crate) mod api;
pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod table;

use std::io::{self, Write};

/// Writes to stdout. A pipe that was closed at its other end is an error like any other, and no panic.
pub(crate) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Writes a text to stdout, and a line break if it has none at its end.
pub(crate) fn print_line(text: &str) -> anyhow::Result<()> {
    print(format!("{}\n", text.strip_suffix('\n').unwrap_or(text)).as_bytes())
}

/// Writes a line to stderr. If nobody reads it, there is nobody to tell.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
