//! How much a template, its values and its result may take.

/// The longest template, in bytes.
pub const MAX_SOURCE_LEN: usize = 64 * 1024;
/// The longest value of a parameter, and the longest text that a template computes, in bytes.
pub const MAX_VALUE_LEN: usize = 64 * 1024;
/// The longest rendered query, in bytes.
pub const MAX_RENDERED_LEN: usize = 1024 * 1024;
/// How many steps a template may take: nodes passed, calls made, and 64 bytes of computed text each count as one.
pub(super) const MAX_STEPS: usize = 100_000;
