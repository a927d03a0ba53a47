//! The sources of a program, by name.

use std::fmt;
use std::sync::Arc;

use crate::source::MetricsSource;

/// Sources by name, such as `prometheus` and `epp`.
///
/// Cheap to clone; clones show the same sources. There is no global registry: the program hands its own to
/// those who need it.
///
/// ```
/// use std::sync::Arc;
/// use fleetgauge_core::registry::SourceRegistry;
/// use fleetgauge_core::source::NoOpSource;
///
/// let registry = SourceRegistry::new();
/// registry.register("prometheus", Arc::new(NoOpSource::new()))?;
/// assert!(registry.get("prometheus").is_some());
/// assert!(registry.register("prometheus", Arc::new(NoOpSource::new())).is_err());
/// assert_eq!(registry.list(), ["prometheus"]);
/// # Ok::<(), fleetgauge_core::registry::RegistryError>(())
/// ```
#[derive(Clone, Default)]
pub struct SourceRegistry {
    sources: Arc<papaya::HashMap<String, Arc<dyn MetricsSource>>>,
}

/// Why a source was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The name is taken.
    #[error("source {name:?} is registered already")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The name is empty.
    #[error("a source needs a name")]
    EmptyName,
}

// === impl SourceRegistry ===

impl SourceRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers `source` as `name`.
    ///
    /// *Errors*: [`RegistryError`]; the registry is then unchanged.
    pub fn register(&self, name: &str, source: Arc<dyn MetricsSource>) -> Result<(), RegistryError> {
        if name.is_empty() {
            return Err(RegistryError::EmptyName);
        }
        match self.sources.pin().try_insert(name.to_owned(), source) {
            Ok(_) => Ok(()),
            Err(_) => Err(RegistryError::Duplicate {
                name: name.to_owned(),
            }),
        }
    }

    /// The source `name`.
    pub fn get(&self, name: &str) -> Option<Arc<dyn MetricsSource>> {
        self.sources.pin().get(name).cloned()
    }

    /// The names of all sources, sorted.
    pub fn list(&self) -> Vec<String> {
        let mut names: Vec<_> = self.sources.pin().keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

impl fmt::Debug for SourceRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceRegistry").field(&self.list()).finish()
    }
}
