//! The JSON Schema of configuration files and packs, for editors: `fleetgauge check --schema`.
//!
//! It is written, not derived: the readers of the sections note every mistake at its place, and know nothing of
//! descriptions. A test holds the two together: every field, type and missing field that `check` refuses, the
//! schema refuses, and what `check` takes, it takes.

/// The schema, draft 2020-12.
pub(crate) const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests;
