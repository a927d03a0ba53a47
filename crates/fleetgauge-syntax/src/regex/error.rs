//! Why a text is not a regular expression.

/// Why a text is not a regular expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegexError(pub(super) &'static str);

impl RegexError {
    /// What is wrong.
    pub fn reason(self) -> &'static str {
        self.0
    }
}
