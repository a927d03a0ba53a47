//! Why targets are not scraped, or may not be.

use std::fmt;
use std::sync::Arc;

use fleetgauge_core::target::{ADDRESS, DiscoveryError, TargetError, TargetLabels};

/// Something that samples are missing of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gap {
    /// The labels that all of its series have. What is not known of them, they do not say.
    pub(super) labels: Arc<TargetLabels>,
    /// The target that is not scraped; `None` where it is not known which.
    pub(super) who: Option<Box<str>>,
    pub(super) reason: GapReason,
}

/// Why samples are missing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum GapReason {
    /// A discovery has not told its targets yet.
    NotYet { discovery: Arc<str> },
    /// A discovery fails, wholly or in part.
    Discovery {
        discovery: Arc<str>,
        error: DiscoveryError,
        /// Whether it told targets before, which are used.
        has_targets: bool,
    },
    /// A discovery has found what ought to be a target and cannot be.
    NoTarget {
        discovery: Arc<str>,
        error: DiscoveryError,
    },
    /// A discovery knows no target, and would not know those that are not ready.
    NoneReady { discovery: Arc<str> },
    /// What a discovery tells does not describe a target.
    Invalid(TargetError),
    /// Another target has the same labels.
    Duplicate { url: String, scraped: String },
    /// There are too many targets.
    TooMany { url: String, limit: usize },
    /// The target's URL cannot be asked.
    Url(String),
    /// So many targets more are left out.
    More(usize),
}

// === impl Gap ===

impl Gap {
    /// A discovery or the like that may have had any target.
    pub(super) fn of_any(reason: GapReason) -> Self {
        Self {
            labels: Arc::default(),
            who: None,
            reason,
        }
    }

    /// A target of which these labels are known, and that is not scraped. Labels of discovery itself are not on
    /// series.
    pub(super) fn of_target(labels: &TargetLabels, reason: GapReason) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| labels.get(*name));
        let who = first(&["pod", "instance", ADDRESS]).map_or("a target", String::as_str);
        let who = match labels.get("namespace") {
            Some(namespace) if labels.contains_key("pod") => format!("{namespace}/{who}"),
            _ => who.to_owned(),
        };
        let own = labels.iter().filter(|(name, _)| !name.starts_with("__"));
        let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self {
            labels: Arc::new(own),
            who: Some(who.into()),
            reason,
        }
    }
}

// === impl GapReason ===

impl GapReason {
    /// Whether it is about a whole discovery, so that it is not known which targets there are.
    pub(super) fn is_of_discovery(&self) -> bool {
        matches!(self, Self::NotYet { .. } | Self::Discovery { .. })
    }

    /// Whether it is about one that has not been ready yet, and is not expected.
    pub(super) fn is_of_starting(&self) -> bool {
        matches!(self, Self::NoTarget { error, .. } if error.is_starting())
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { discovery } => write!(f, "no answer yet from {discovery}"),
            Self::Discovery {
                discovery,
                error,
                has_targets,
            } => {
                write!(f, "{discovery}: {error}")?;
                match has_targets {
                    true => f.write_str("; the targets known before are used"),
                    false => Ok(()),
                }
            }
            Self::NoTarget { discovery, error } => write!(f, "{discovery}: {error}"),
            Self::NoneReady { discovery } => {
                write!(f, "{discovery} knows of none that is ready, and of no others")
            }
            Self::Invalid(error) => write!(f, "{error}"),
            Self::Duplicate { url, scraped } => {
                write!(
                    f,
                    "{url} has the same labels as {scraped}, which is scraped instead"
                )
            }
            Self::TooMany { url, limit } => {
                write!(
                    f,
                    "{url} is not scraped: there are more than {limit} targets (max_targets)"
                )
            }
            Self::Url(why) => f.write_str(why),
            Self::More(count) => write!(f, "{count} more targets are left out"),
        }
    }
}
