//! Who asks, and what for.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::trust::Trust;

pub use super::user::User;

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

// === impl Access ===

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
