//! Text that is never shown.

use std::fmt;

/// A password, token or the like: `Debug` shows `<secret>`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

// === impl Secret ===

impl Secret {
    /// The secret itself, to be handed on and not to be printed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<S: Into<Box<str>>> From<S> for Secret {
    fn from(secret: S) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
