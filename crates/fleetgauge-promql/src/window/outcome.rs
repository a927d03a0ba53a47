//! What becomes of a sample that is appended.

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Appended,
    /// The series has this very sample already.
    Repeated,
    Duplicate,
    OutOfOrder,
    /// The window let the series go meanwhile.
    Gone,
}
