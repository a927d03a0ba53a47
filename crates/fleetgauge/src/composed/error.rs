//! Why a composed source cannot be made.

use fleetgauge_core::printable::Quoted;
use fleetgauge_core::query_list::{QueryRenderError, RegisterError};
use fleetgauge_core::registry::RegistryError;

use crate::layered::did_you_mean;

/// Why a composed source cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComposedError {
    /// The name of an input cannot be that of a metric.
    #[error("composed source {}: input {}: {why}", Quoted(.of), Quoted(.input))]
    InputName {
        /// The composed source.
        of: String,
        /// The input.
        input: String,
        /// What is wrong with its name.
        why: String,
    },
    /// Two inputs have the same name.
    #[error("composed source {}: two inputs are called {}; an expression could not tell them apart", Quoted(.of), Quoted(.input))]
    DuplicateInput {
        /// The composed source.
        of: String,
        /// The input.
        input: String,
    },
    /// A step that is not a whole number of milliseconds, of which there is at least one.
    #[error("composed source {}: the step of input {} must be a whole number of milliseconds, and more than zero", Quoted(.of), Quoted(.input))]
    Step {
        /// The composed source.
        of: String,
        /// The input.
        input: String,
    },
    /// The source of an input is not known.
    #[error("composed source {}: there is no source {} for its input {}{}", Quoted(.of), Quoted(.wanted), Quoted(.input), did_you_mean(.similar.as_deref()))]
    UnknownSource {
        /// The composed source.
        of: String,
        /// The input.
        input: String,
        /// The source that it names.
        wanted: String,
        /// A source whose name is much like it.
        similar: Option<String>,
    },
    /// The source of an input does not have the query.
    #[error("composed source {}: input {} of source {}: {error}", Quoted(.of), Quoted(.input), Quoted(.wanted))]
    UnknownQuery {
        /// The composed source.
        of: String,
        /// The input.
        input: String,
        /// The source that it names.
        wanted: String,
        /// Which query there is not.
        #[source]
        error: Box<QueryRenderError>,
    },
    /// A query of an input or of the source itself does not stand up.
    #[error("composed source {}: {error}", Quoted(.of))]
    Query {
        /// The composed source.
        of: String,
        /// Which query, and what is wrong with it.
        #[source]
        error: Box<RegisterError>,
    },
    /// Sources need each other in a circle.
    #[error("composed sources need each other in a circle: {}; none of them could ever be asked", .path.join(" -> "))]
    Circle {
        /// The sources, each of which has an input of the next; the last is the first again.
        path: Vec<String>,
    },
    /// The name of a composed source is taken, or empty.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}
