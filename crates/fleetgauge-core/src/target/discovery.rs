//! Where targets come from.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};

use super::{ADDRESS, TargetLabels};
use crate::printable::Printable;

/// Says which targets there are.
///
/// It is asked, again and again; it does not call. That is simple to write, and a pool that misses a change
/// for one interval has missed little: a scrape of a target that went says so.
pub trait TargetDiscovery: Send + Sync + 'static {
    /// What it is called in errors and logs, such as `file_sd /etc/targets.json`.
    fn name(&self) -> &str;

    /// The targets as of now.
    ///
    /// *Errors*: [`DiscoveryError`], and then the targets known before stay. "None" is not an error but an
    /// empty answer, on which all targets go.
    fn targets(&self) -> BoxFuture<'_, Result<Discovered, DiscoveryError>>;

    /// How long to wait before it is asked again. Default: 30 s.
    fn interval(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// The targets that a discovery knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovered {
    /// The targets.
    pub targets: Vec<TargetLabels>,
    /// Why some of them are not as of now, or are missing: one of several files that cannot be read, say.
    pub problem: Option<DiscoveryError>,
}

/// Why a discovery does not know its targets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// What it asks could not be reached, or did not answer.
    #[error("{}", Printable(.detail))]
    Unreachable {
        /// What, and why.
        detail: String,
    },
    /// A file could not be read.
    #[error("{}", Printable(.detail))]
    File {
        /// Which, and why.
        detail: String,
    },
    /// What it was told makes no sense.
    #[error("{}", Printable(.detail))]
    Malformed {
        /// What, and where.
        detail: String,
    },
    /// It did not answer in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// How long it was waited.
        after: Duration,
    },
    /// It ended without an answer: it panicked.
    #[error("the discovery was aborted")]
    Aborted,
}

/// Targets that are known beforehand.
///
/// ```
/// use fleetgauge_core::target::StaticTargets;
///
/// let targets = StaticTargets::new(["10.0.0.7:8000", "10.0.0.8:8000"]).with_label("namespace", "chat");
/// let targets = targets.with_target([("__address__", "10.0.0.9:9090"), ("__metrics_path__", "/stats")]);
/// assert_eq!(targets.len(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticTargets(Vec<TargetLabels>);

// === impl Discovered ===

impl Discovered {
    /// These targets, all as of now.
    pub fn new(targets: Vec<TargetLabels>) -> Self {
        Self {
            targets,
            problem: None,
        }
    }

    /// Says why some targets are not as of now, or are missing.
    #[must_use]
    pub fn with_problem(mut self, problem: DiscoveryError) -> Self {
        self.problem = Some(problem);
        self
    }
}

// === impl DiscoveryError ===

impl DiscoveryError {
    /// One word for the variant, bounded for use as a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::File { .. } => "file",
            Self::Malformed { .. } => "malformed",
            Self::Timeout { .. } => "timeout",
            Self::Aborted => "aborted",
        }
    }
}

// === impl StaticTargets ===

impl StaticTargets {
    /// The targets at these addresses.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        let target = |address: A| TargetLabels::from([(ADDRESS.to_owned(), address.into())]);
        Self(addresses.into_iter().map(target).collect())
    }

    /// Adds a label to all targets so far.
    #[must_use]
    pub fn with_label(mut self, name: &str, value: &str) -> Self {
        for target in &mut self.0 {
            target.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Adds a target by its labels, `__address__` among them.
    #[must_use]
    pub fn with_target<'a>(mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let labels = labels.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
        self.0.push(labels.collect());
        self
    }

    /// How many targets there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TargetDiscovery for StaticTargets {
    fn name(&self) -> &str {
        "static"
    }

    fn targets(&self) -> BoxFuture<'_, Result<Discovered, DiscoveryError>> {
        future::ready(Ok(Discovered::new(self.0.clone()))).boxed()
    }

    /// They never change.
    fn interval(&self) -> Duration {
        Duration::from_secs(24 * 3600)
    }
}
