//! Why a federated source cannot be made.

use fleetgauge_core::printable::Quoted;
use fleetgauge_core::query_list::RegisterError;
use fleetgauge_core::registry::RegistryError;

use crate::layered::did_you_mean;

/// Why a federated source cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FederatedError {
    /// It has no member.
    #[error("federated source {}: it has no members", Quoted(.of))]
    NoMembers {
        /// The federated source.
        of: String,
    },
    /// Something is wrong with a member.
    #[error("federated source {}: member {}: {why}", Quoted(.of), Quoted(.member))]
    Member {
        /// The federated source.
        of: String,
        /// The member.
        member: String,
        /// What is wrong with it.
        why: String,
    },
    /// A source that a member names is not known.
    #[error("federated source {}: there is no source {} for its member {}{}", Quoted(.of), Quoted(.wanted), Quoted(.member), did_you_mean(.similar.as_deref()))]
    UnknownSource {
        /// The federated source.
        of: String,
        /// The member.
        member: String,
        /// The source that it names.
        wanted: String,
        /// A source whose name is much like it.
        similar: Option<String>,
    },
    /// More members are required than there are, or none.
    #[error("federated source {}: {required} of its {members} members are required; that can never be met, or says nothing", Quoted(.of))]
    Require {
        /// The federated source.
        of: String,
        /// How many are required.
        required: usize,
        /// How many there are.
        members: usize,
    },
    /// A query does not stand up.
    #[error("federated source {}: {error}", Quoted(.of))]
    Query {
        /// The federated source.
        of: String,
        /// Which query, and what is wrong with it.
        #[source]
        error: Box<RegisterError>,
    },
    /// Sources need each other in a circle.
    #[error("federated sources need each other in a circle: {}; none of them could ever be asked", .path.join(" -> "))]
    Circle {
        /// The sources, each of which is a member of the one before; the last is the first again.
        path: Vec<String>,
    },
    /// The name of a federated source is taken, or empty.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}
