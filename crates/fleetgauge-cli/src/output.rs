//! What goes to stdout: tables for people, JSON and CSV for programs.
//!
//! The wire formats are this binary's contract and live here, so that the library's types stay free to change.

pub(crate) mod api;
pub(crate) mod csv;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod json;
pub(crate) mod range;
pub(crate) mod table;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use anyhow::Context as _;
use fleetgauge_core::printable::{Printable, is_printable};

/// Writes to stdout as it is: for JSON, which escapes control characters itself, and for texts of this program's own.
/// A pipe that was closed at its other end is an error like any other, and no panic.
pub(crate) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.context("the output can't be written")
}

/// Writes a text for people to stdout, and a line break if it has none at its end; of an empty one nothing. What a
/// terminal would obey is escaped, wherever it came from.
pub(crate) fn print_line(text: &str) -> anyhow::Result<()> {
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    print(format!("{}{end}", lines(text)).as_bytes())
}

/// Writes a text that programs read as well: exactly as it is, but on a terminal as [`print_line`] does.
pub(crate) fn print_data(text: &str) -> anyhow::Result<()> {
    if io::stdout().is_terminal() {
        print(lines(text).as_bytes())
    } else {
        print(text.as_bytes())
    }
}

/// Writes a line to stderr, with what a terminal would obey escaped. If nobody reads it, there is nobody to tell.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{}", lines(line));
}

/// The text, whose line breaks and tabs are meant, with everything else escaped that is not
/// [printable](is_printable). Text from elsewhere within a line is printed by [`Printable`], which leaves no line
/// breaks either; this is for what slipped through.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    let is_meant = |c: char| is_printable(c) || c == '\n' || c == '\t';
    if text.chars().all(is_meant) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_meant) {
        let meant = piece.chars().next_back().filter(|c| is_meant(*c));
        let stray = &piece[..piece.len() - meant.map_or(0, char::len_utf8)];
        let _ = write!(escaped, "{}", Printable(stray));
        escaped.extend(meant);
    }
    Cow::Owned(escaped)
}
