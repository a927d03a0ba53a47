//! What a federated source is made of.

use std::time::Duration;

use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::CachedSourceConfig;

/// What a [`FederatedSource`](super::FederatedSource) is made of.
///
/// ```
/// use fleetgauge::federated::{FederatedConfig, Member, Require};
///
/// let config = FederatedConfig::new("fleet")
///     .with_member(Member::new("eu", "prometheus-eu-0").with_replica("prometheus-eu-1").with_label("cluster", "eu"))
///     .with_member(Member::new("us", "prometheus-us").with_label("cluster", "us"))
///     .with_require(Require::Majority);
/// assert_eq!(config.members.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FederatedConfig {
    /// Its own name, in messages and where it is beneath another source.
    pub name: String,
    /// Who has the series.
    pub members: Vec<Member>,
    /// How many of them have to report. Default: all.
    pub require: Require,
    /// Queries that it has from its start. Others can be registered later.
    pub queries: Vec<QueryTemplate>,
    /// How long a value holds in the cache where its query does not say. Default: 30 s.
    pub default_ttl: Duration,
    /// How long one query may take, the members included, where it does not say itself. Default: 10 s.
    pub query_timeout: Duration,
    /// How many series may be had of the members for one query. Default: 100,000.
    pub max_series: usize,
    /// How much memory the answers of the members to one query may take. *Unit*: bytes. Default: 256 MiB.
    pub max_bytes: usize,
    /// How long a member that had the series of a query, and has them no more, is taken for one that does not report.
    /// Default: 5 minutes.
    pub gone_after: Duration,
}

/// A member of a federation, such as a cluster: one or more sources that hold the same series.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// Its name, in messages.
    pub name: String,
    /// The names of its sources, which are replicas of each other.
    pub sources: Vec<String>,
    /// Names and values of the labels that all of its series get.
    pub labels: Vec<(String, String)>,
    /// How long it may take, where that is less than the timeout of the query.
    pub timeout: Option<Duration>,
}

/// How many members have to report. With fewer a query fails; with fewer than all its answer is incomplete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Require {
    /// All.
    #[default]
    All,
    /// More than half of them.
    Majority,
    /// One.
    Any,
    /// So many.
    AtLeast(usize),
}

// === impl FederatedConfig ===

impl FederatedConfig {
    /// A source of this name, without members.
    pub fn new(name: impl Into<String>) -> Self {
        let source = CachedSourceConfig::default();
        Self {
            name: name.into(),
            members: Vec::new(),
            require: Require::All,
            queries: Vec::new(),
            default_ttl: source.cache.default_ttl,
            query_timeout: source.query_timeout,
            max_series: source.range.max_series,
            max_bytes: source.range.max_bytes,
            gone_after: Duration::from_secs(300),
        }
    }

    /// Adds a member.
    #[must_use]
    pub fn with_member(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    fleetgauge_core::setters! {
        /// Sets how many members have to report.
        with_require(require: Require) => require = require;
        /// Sets how long a value holds.
        with_default_ttl(ttl: Duration) => default_ttl = ttl;
        /// Sets how long one query may take.
        with_query_timeout(timeout: Duration) => query_timeout = timeout;
        /// Sets how long a member that has lost its series is taken for one that does not report.
        with_gone_after(after: Duration) => gone_after = after;
    }

    /// Adds a query.
    #[must_use]
    pub fn with_query(mut self, query: QueryTemplate) -> Self {
        self.queries.push(query);
        self
    }

    /// Sets how many series, and how many bytes, may be had of the members for one query.
    #[must_use]
    pub fn with_bounds(mut self, max_series: usize, max_bytes: usize) -> Self {
        (self.max_series, self.max_bytes) = (max_series, max_bytes);
        self
    }
}

// === impl Member ===

impl Member {
    /// A member whose series `source` holds, as yet without labels.
    pub fn new(name: impl Into<String>, source: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sources: vec![source.into()],
            labels: Vec::new(),
            timeout: None,
        }
    }

    /// Adds a source that holds the same series.
    #[must_use]
    pub fn with_replica(mut self, source: impl Into<String>) -> Self {
        self.sources.push(source.into());
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

// === impl Require ===

impl Require {
    /// How many that are, of `members`.
    pub fn of(self, members: usize) -> usize {
        match self {
            Self::All => members,
            Self::Majority => members / 2 + 1,
            Self::Any => 1,
            Self::AtLeast(count) => count,
        }
    }
}
