//! How lists, times and counts are written.

use std::collections::BTreeSet;

use fleetgauge_core::printable::Excerpt;

/// How many values or names a message has.
const MAX_NAMED: usize = 5;

/// The first of them, and how many there are more.
pub(super) fn some(all: &BTreeSet<&str>) -> String {
    let mut named: Vec<String> = all
        .iter()
        .take(MAX_NAMED)
        .map(|one| Excerpt(one).to_string())
        .collect();
    if all.len() > MAX_NAMED {
        named.push(format!("and {} more", all.len() - MAX_NAMED));
    }
    named.join(", ")
}

/// A time in whole seconds or minutes.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 180.0 {
        format!("{seconds:.0}s")
    } else {
        format!("{:.0}m", seconds / 60.0)
    }
}

/// How many rows there are.
pub(super) fn count(rows: usize) -> String {
    match rows {
        1 => "1 row".to_owned(),
        n => format!("{n} rows"),
    }
}
