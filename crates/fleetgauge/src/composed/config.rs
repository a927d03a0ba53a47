//! What a composed source is made of.

use std::time::Duration;

use fleetgauge_core::params::Params;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::source::CachedSourceConfig;

/// What a [`ComposedSource`](super::ComposedSource) is made of.
///
/// ```
/// use fleetgauge::QueryTemplate;
/// use fleetgauge::composed::{ComposedConfig, Input};
///
/// let config = ComposedConfig::new("fleet")
///     .with_input(Input::new("queue", "pods", "inference/queue_length"))
///     .with_input(Input::new("backlog", "central", "epp/queue_size").optional())
///     .with_query(QueryTemplate::promql("total", "sum(queue) + sum(backlog) or sum(queue)"));
/// assert_eq!(config.inputs.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ComposedConfig {
    /// Its own name, in messages and where it is an input of another one.
    pub name: String,
    /// What its expressions read.
    pub inputs: Vec<Input>,
    /// Queries that it has from its start. Others can be registered later.
    pub queries: Vec<QueryTemplate>,
    /// How long a value holds in the cache where its query does not say. Default: 30 s.
    pub default_ttl: Duration,
    /// How long one query may take, its inputs included, where it does not say itself. Default: 10 s.
    pub query_timeout: Duration,
}

/// An input of a composed source: a query of another source, under a name that is a metric name in expressions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Input {
    /// The name by which expressions read it.
    pub name: String,
    /// The name of the source that is asked.
    pub source: String,
    /// What it is asked.
    pub query: InputQuery,
    /// Parameters of the query that are the same for every caller. The others are the caller's.
    pub params: Params,
    /// Whether a query goes on without it where it fails: it is empty then, and the answer incomplete.
    pub is_optional: bool,
    /// How far the times are apart at which it is evaluated for a range, as in `queue[10m]`. They are multiples of it.
    /// Default: 15 s.
    pub step: Duration,
}

/// What an [`Input`] asks of its source.
#[derive(Clone, Debug, PartialEq)]
pub enum InputQuery {
    /// A query that the source has, by its name.
    Named(String),
    /// A query of its own, which is registered with the source as `composed:NAME/INPUT`.
    Own(Box<QueryTemplate>),
}

// === impl ComposedConfig ===

impl ComposedConfig {
    /// A source of this name, without inputs.
    pub fn new(name: impl Into<String>) -> Self {
        let source = CachedSourceConfig::default();
        Self {
            name: name.into(),
            inputs: Vec::new(),
            queries: Vec::new(),
            default_ttl: source.cache.default_ttl,
            query_timeout: source.query_timeout,
        }
    }

    /// Adds an input.
    #[must_use]
    pub fn with_input(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    /// Adds a query.
    #[must_use]
    pub fn with_query(mut self, query: QueryTemplate) -> Self {
        self.queries.push(query);
        self
    }

    fleetgauge_core::setters! {
        /// Sets how long a value holds.
        with_default_ttl(ttl: Duration) => default_ttl = ttl;
        /// Sets how long one query may take.
        with_query_timeout(timeout: Duration) => query_timeout = timeout;
    }
}

// === impl Input ===

impl Input {
    /// The query `query` that `source` has, as `name`.
    pub fn new(name: impl Into<String>, source: impl Into<String>, query: impl Into<String>) -> Self {
        Self::of(name.into(), source.into(), InputQuery::Named(query.into()))
    }

    /// A query of its own, asked of `source`; the input has the name of the template.
    pub fn own(source: impl Into<String>, template: QueryTemplate) -> Self {
        Self::of(
            template.name.clone(),
            source.into(),
            InputQuery::Own(Box::new(template)),
        )
    }

    fn of(name: String, source: String, query: InputQuery) -> Self {
        Self {
            name,
            source,
            query,
            params: Params::new(),
            is_optional: false,
            step: Duration::from_secs(15),
        }
    }

    /// Sets a parameter of the query, whatever the caller's is.
    #[must_use]
    pub fn with_param(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.params.insert(name, value);
        self
    }

    /// Lets queries go on without it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    /// Sets how far the times of a range are apart.
    #[must_use]
    pub fn with_step(mut self, step: Duration) -> Self {
        self.step = step;
        self
    }
}
