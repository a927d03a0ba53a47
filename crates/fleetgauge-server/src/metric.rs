//! What is kept fresh, under a name that consumers use.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::params::Params;
use fleetgauge_core::policy::{Fold, OnNoData, Policy};
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::query::{Folds, QueryName, QueryNameError};
use fleetgauge_core::query_list::RegisteredQuery;
use fleetgauge_core::reading::ReadingSpec;
use fleetgauge_core::source::MetricsSource;

/// The name of a metric: it begins with one of a-z, and goes on with a-z, 0-9, `_` and `-`; at most 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricName(Arc<str>);

/// What is no [`MetricName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a metric's name: it begins with one of a-z and goes on with a-z, 0-9, _ and -, 100 characters at most", Quoted(.given))]
#[non_exhaustive]
pub struct MetricNameError {
    /// What was given.
    pub given: String,
}

/// A metric: which query of which source it reads, how often, and what is accepted of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MetricSpec {
    /// Its name.
    pub name: MetricName,
    /// The name of the source that is asked.
    pub source: Box<str>,
    /// The query's name.
    pub query: QueryName,
    /// What the query is rendered with.
    pub params: Params,
    /// How often it is refreshed.
    pub every: Duration,
    /// How its rows become one.
    pub fold: MetricFold,
    /// Whether it is read for each variant.
    pub for_each: Option<ForEach>,
    /// The namespaces that may see it; none: all.
    pub namespaces: Vec<Box<str>>,
    /// What is accepted: the metric's policy over those beneath it.
    pub policy: Policy,
    /// The unit of its values; empty where it is not told.
    pub unit: Box<str>,
    /// Whether the source knows who should report, or the query says who tells it.
    pub knows_completeness: bool,
    /// How far the samples that the query reads are apart, where that is known.
    pub sample_interval: Option<Duration>,
    /// How several of its rows become one, as the metric says it or else its query, which is asked when the metric comes to be
    /// kept fresh. That its rows stay as they are does not change what they mean.
    pub folds_by: Option<Fold>,
}

/// How the rows of a metric become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricFold {
    /// As the query declares it; its rows stay as they are where it declares nothing.
    #[default]
    Declared,
    /// All by this one.
    By(Fold),
    /// Its rows stay as they are.
    Rows,
}

/// For what a metric is read again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForEach {
    /// Each variant: the query is rendered with the variant's parameters, and the rows of its own pods are folded.
    Variant,
}

/// A metric with its source: all that a refresh needs.
#[derive(Clone)]
pub(crate) struct Metric {
    pub(crate) spec: Arc<MetricSpec>,
    pub(crate) source: Arc<dyn MetricsSource>,
    /// How rows become one, if they do.
    pub(crate) folds: Option<Folds>,
    /// What it asks, as it was registered then.
    pub(crate) queries: Vec<RegisteredQuery>,
}

// === impl MetricName ===

impl MetricName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MetricName {
    type Err = MetricNameError;

    fn from_str(text: &str) -> Result<Self, MetricNameError> {
        let goes_on = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        match begins && text.len() <= 100 && text.bytes().all(goes_on) {
            true => Ok(Self(text.into())),
            false => Err(MetricNameError {
                given: text.chars().take(200).collect(),
            }),
        }
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl MetricSpec ===

impl MetricSpec {
    /// The metric `name`, which reads `query` of `source` every 5 s, and of which nothing is said: whatever is not a good
    /// value fails.
    ///
    /// *Errors*: the query's name is none.
    pub fn new(name: MetricName, source: &str, query: &str) -> Result<Self, QueryNameError> {
        Ok(Self {
            name,
            source: source.into(),
            query: query.parse()?,
            params: Params::new(),
            every: Duration::from_secs(5),
            fold: MetricFold::Declared,
            for_each: None,
            namespaces: Vec::new(),
            policy: Policy::default(),
            unit: Box::default(),
            knows_completeness: false,
            sample_interval: None,
            folds_by: None,
        })
    }

    /// Whether who reads for the namespace `namespace` may see it.
    pub fn is_visible_in(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|one| **one == *namespace)
    }

    /// The query that proves the policy's number for no data, if there is one.
    pub(crate) fn proof(&self) -> Option<&QueryName> {
        match &self.policy.on_no_data {
            Some(OnNoData::Value { when, .. }) => Some(when),
            _ => None,
        }
    }

    /// What each of its readings is judged by.
    pub(crate) fn reading(&self, folds: Option<Folds>) -> ReadingSpec {
        let mut reading = ReadingSpec::new(self.name.as_str(), self.query.clone())
            .source(&self.source)
            .unit(&self.unit)
            .policy(self.policy.clone());
        reading.knows_completeness = self.knows_completeness;
        reading.fold = folds.map(|folds| folds.variant);
        reading.sample_interval = self.sample_interval;
        reading
    }

    /// How its rows become one, where the query declares `declared`.
    pub(crate) fn folds(&self, declared: Option<Folds>) -> Option<Folds> {
        match self.fold {
            MetricFold::Declared => declared,
            MetricFold::By(fold) => Some(Folds::new(fold, fold)),
            MetricFold::Rows => None,
        }
    }
}
