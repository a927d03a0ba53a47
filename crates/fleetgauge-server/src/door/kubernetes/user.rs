//! Users of a cluster.

use std::collections::BTreeMap;

/// A user of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    /// The name.
    pub name: String,
    /// What tells the user from others of the name; empty where there is nothing.
    pub uid: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
    /// What else is said of the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

// === impl User ===

impl User {
    /// Puts whoever is known into the group of all that are, as API servers do.
    pub(super) fn authenticated(mut self) -> Self {
        let is_said = |group: &String| group == AUTHENTICATED || group == UNAUTHENTICATED;
        if !self.is_anonymous() && !self.groups.iter().any(is_said) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    /// Whether it is nobody in particular.
    pub(super) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS || self.groups.iter().any(|group| group == UNAUTHENTICATED)
    }
}
