//! A query as it is registered: name, template, parameters, and how long its answers hold.

pub(crate) mod name;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::params::{ParamKind, ParamSpec};
use crate::policy::{Fold, Policy};
use crate::transform::{TransformStep, VariantFold};

pub use name::{QueryName, QueryNameError};

/// What language a query's template is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueryType {
    /// A metric name, as `vllm:kv_cache_usage_perc`; `metric` in configuration.
    MetricName,
    /// PromQL; `promql` in configuration.
    #[default]
    PromQl,
}

/// At how many times a query is evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shape {
    /// Once.
    #[default]
    Instant,
    /// Every `step`, from `window` before the end to the end.
    Range {
        /// How long before the end the first time is.
        window: Duration,
        /// How far the times are apart.
        step: Duration,
    },
}

/// What a Prometheus is asked beside a query, in the same round and for the same time: other queries, made of its tree,
/// which tell of each row what it stands on. In configuration `none`, `ages` or `all`.
///
/// Sources that know it by themselves, as those that scrape, take no notice.
///
/// ```
/// use fleetgauge_core::query::Companions;
///
/// assert_eq!("ages".parse(), Ok(Companions::ages()));
/// assert!("age".parse::<Companions>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Companions {
    /// How old each value is, and whether its series has ended.
    pub ages: bool,
    /// Which side of an `or` each row came from.
    pub branches: bool,
}

/// What names no [`Companions`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} does not say what is asked beside a query; use none, ages or all")]
#[non_exhaustive]
pub struct UnknownCompanions {
    /// What was given.
    pub given: String,
}

/// A parameterised query, to be registered with a [`QueryList`](crate::query_list::QueryList).
///
/// ```
/// use fleetgauge_core::query::QueryTemplate;
///
/// let query = QueryTemplate::promql(
///     "kv_cache_usage",
///     r#"max by (pod) (vllm:kv_cache_usage_perc{namespace="{{.namespace}}"})"#,
/// )
/// .params(["namespace"])
/// .description("KV cache utilisation per pod");
/// assert_eq!(query.params[0].name(), "namespace");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct QueryTemplate {
    /// Unique identifier.
    pub name: String,
    /// The template's language.
    pub query_type: QueryType,
    /// The query, with `{{.param}}` placeholders.
    pub template: String,
    /// The parameters that the template may use.
    pub params: Vec<ParamSpec>,
    /// What the query tells.
    pub description: String,
    /// The unit of the values, such as `seconds`; empty where it is not told.
    pub unit: String,
    /// How long an answer holds; the source's default where `None`.
    pub ttl: Option<Duration>,
    /// How long one refresh of the query may take; the source's default where `None`.
    pub timeout: Option<Duration>,
    /// Whether a refresh of all queries leaves it out: it is run by its name alone.
    pub only_by_name: bool,
    /// What is asked beside the query; what its source says where `None`.
    pub companions: Option<Companions>,
    /// Whether answers may have native histograms, which are no numbers. Otherwise, and of a query that does something with
    /// its answers, one with a histogram is an error.
    pub histograms: bool,
    /// What is done with each answer before it is cached, step after step.
    pub transform: Vec<TransformStep>,
    /// How its rows become one number, where the query says so.
    pub fold: Option<Folds>,
    /// What is accepted of its answers, as far as the query says it: what reads them may say otherwise, and defaults stand
    /// beneath.
    pub policy: Policy,
    /// The query of the same source that tells who should report: each of its rows is one, by its labels without the
    /// metric's name. It is asked with the same parameters for the same time, and the answer's completeness follows.
    pub expected: Option<QueryName>,
}

/// How the rows of a query become one number: what they mean, not something that is done with them.
/// [`TransformStep::ByVariant`] does it for variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Folds {
    /// How the rows of one pod become one, where it has several: its servers (`instance`), its GPUs.
    pub pod: Fold,
    /// How the pods of one variant become one.
    pub variant: Fold,
}

// === impl QueryType ===

impl fmt::Display for QueryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QueryType::MetricName => "metric",
            QueryType::PromQl => "promql",
        })
    }
}

// === impl Companions ===

impl Companions {
    /// Nothing.
    pub const fn none() -> Self {
        Self {
            ages: false,
            branches: false,
        }
    }

    /// How old each value is.
    pub const fn ages() -> Self {
        Self {
            ages: true,
            branches: false,
        }
    }

    /// How old each value is, and which side of an `or` each row came from.
    pub const fn all() -> Self {
        Self {
            ages: true,
            branches: true,
        }
    }
}

impl FromStr for Companions {
    type Err = UnknownCompanions;

    fn from_str(text: &str) -> Result<Self, UnknownCompanions> {
        match text {
            "none" => Ok(Self::none()),
            "ages" => Ok(Self::ages()),
            "all" => Ok(Self::all()),
            _ => Err(UnknownCompanions {
                given: text.chars().take(200).collect(),
            }),
        }
    }
}

// === impl Folds ===

impl Folds {
    /// Those of a pod by `pod`, and those of a variant by `variant`.
    pub const fn new(pod: Fold, variant: Fold) -> Self {
        Self { pod, variant }
    }
}

// === impl QueryTemplate ===

impl QueryTemplate {
    /// A PromQL query.
    pub fn promql(name: impl Into<String>, template: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            template: template.into(),
            ..Self::default()
        }
    }

    /// A query for the series of one metric.
    pub fn metric_name(name: impl Into<String>, metric: impl Into<String>) -> Self {
        Self {
            query_type: QueryType::MetricName,
            ..Self::promql(name, metric)
        }
    }

    /// Declares required parameters, each of the kind that its name has by default: `podFilter` is a
    /// regular expression, all others are text.
    pub fn params<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        for name in names {
            let name = name.into();
            let kind = ParamKind::default_for(&name);
            self.params.push(ParamSpec::required(name, kind));
        }
        self
    }

    /// Declares a parameter.
    pub fn param(mut self, param: ParamSpec) -> Self {
        self.params.push(param);
        self
    }

    /// Says what the query tells.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Leaves the query out of a refresh of all: it costs much, and few want its answer.
    pub fn only_by_name(mut self) -> Self {
        self.only_by_name = true;
        self
    }

    /// Says in which unit the values are.
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// Sets what is asked beside the query, whatever its source says.
    pub fn companions(mut self, companions: Companions) -> Self {
        self.companions = Some(companions);
        self
    }

    /// Lets answers have native histograms, for who prints them or hands them on. No reading is made of such an answer.
    pub fn histograms(mut self) -> Self {
        self.histograms = true;
        self
    }

    /// Adds a step to what is done with each answer before it is cached.
    pub fn transform(mut self, step: TransformStep) -> Self {
        self.transform.push(step);
        self
    }

    /// How the pods that a row of the answer stands for have become one: by what the query does with its answers, else by
    /// what it says. `None` where it says nothing.
    pub fn folds_by(&self) -> Option<Fold> {
        let done = self.transform.iter().rev().find_map(|step| match step {
            TransformStep::ByVariant(VariantFold::By(fold)) => Some(*fold),
            TransformStep::ByVariant(VariantFold::WeightedBy(_)) => Some(Fold::Mean),
            _ => None,
        });
        done.or(self.fold.map(|fold| fold.variant))
    }

    /// Says how the rows become one number.
    pub fn fold(mut self, fold: Folds) -> Self {
        self.fold = Some(fold);
        self
    }

    /// Sets what is accepted of the answers.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Names the query that tells who should report.
    pub fn expected(mut self, expected: QueryName) -> Self {
        self.expected = Some(expected);
        self
    }

    /// Sets how long an answer holds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets how long one refresh of the query may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}
