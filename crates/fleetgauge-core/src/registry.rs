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
/// assert!(registry.replace("prometheus", Arc::new(NoOpSource::new()))?.is_some());
/// assert!(registry.replace("epp", Arc::new(NoOpSource::new()))?.is_none());
/// assert_eq!(registry.list(), ["epp", "prometheus"]);
/// assert!(registry.remove("prometheus").is_some());
/// assert!(registry.get("prometheus").is_none() && registry.remove("prometheus").is_none());
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
        match self.sources.pin().try_insert(checked(name)?, source) {
            Ok(_) => Ok(()),
            Err(_) => Err(RegistryError::Duplicate {
                name: name.to_owned(),
            }),
        }
    }

    /// Registers `source` as `name`, and gives the one that had the name before. Who holds that one reads it on.
    ///
    /// *Errors*: [`RegistryError::EmptyName`].
    pub fn replace(
        &self,
        name: &str,
        source: Arc<dyn MetricsSource>,
    ) -> Result<Option<Arc<dyn MetricsSource>>, RegistryError> {
        Ok(self.sources.pin().insert(checked(name)?, source).cloned())
    }

    /// Removes the source `name`, and gives it.
    pub fn remove(&self, name: &str) -> Option<Arc<dyn MetricsSource>> {
        self.sources.pin().remove(name).cloned()
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

fn checked(name: &str) -> Result<String, RegistryError> {
    if name.is_empty() {
        return Err(RegistryError::EmptyName);
    }
    Ok(name.to_owned())
}

impl fmt::Debug for SourceRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceRegistry").field(&self.list()).finish()
    }
}
