//! Who asks, and what for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::trust::Trust;

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

/// What somebody wants to see.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// A page that is no resource.
    Page {
        /// Its path.
        path: String,
    },
    /// A metric, as the API server takes it apart.
    Resource {
        /// `list`, or `get` of one that has a name.
        verb: &'static str,
        /// The group of the API.
        group: &'static str,
        /// Its version.
        version: &'static str,
        /// The namespace.
        namespace: String,
        /// The resource: of external metrics the metric.
        resource: String,
        /// The name, which may be `*`; empty for none.
        name: String,
        /// The subresource: of custom metrics the metric.
        subresource: String,
    },
}

/// Whether somebody may see something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is so.
    pub is_allowed: bool,
    /// Why, as far as the cluster says.
    pub reason: String,
}

/// Why the cluster does not say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// What the cluster says of those who ask.
pub trait Cluster: Send + Sync + 'static {
    /// Whose certificates are believed.
    ///
    /// *Errors*: that is not known yet, or wrong.
    fn trust(&self) -> Result<Arc<Trust>, Unanswered>;

    /// Whose token it is; `None` for nobody's.
    ///
    /// *Errors*: the cluster does not say.
    fn whose<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, Unanswered>>;

    /// Whether the user may see it.
    ///
    /// *Errors*: the cluster does not say.
    fn may<'a>(&'a self, user: &'a User, what: &'a Access) -> BoxFuture<'a, Result<Verdict, Unanswered>>;
}

pub(super) const ANONYMOUS: &str = "system:anonymous";
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

/// As the API server says what is refused.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { path } => write!(f, "get path {path:?}"),
            Self::Resource {
                verb,
                group,
                namespace,
                resource,
                subresource,
                ..
            } => {
                let slash = if subresource.is_empty() { "" } else { "/" };
                write!(
                    f,
                    "{verb} resource \"{resource}{slash}{subresource}\" in API group {group:?} in the namespace {namespace:?}"
                )
            }
        }
    }
}
