//! Keeps metrics fresh: each is refreshed at its interval, spread over it, and judged when its answer comes.
//!
//! What is asked is bounded where it is asked, by the source; a refresh that takes longer than the interval leaves the next
//! one out, and is counted. What does not change when a fleet is applied anew keeps its readings and its rhythm.

mod by_pod;
mod fresh;
mod job;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use fleetgauge_core::params::ParamSpec;
use fleetgauge_core::policy::{Fold, PolicyErrors};
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::query_list::{QueryRenderError, RegisteredQuery};
use fleetgauge_core::reading::Readings;
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::MetricsSource;
use fleetgauge_core::variant::{PodVaMapper, PodVariants, RegisterVariantError, VariantIndex, VariantRef};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metric::{ForEach, Metric, MetricFold, MetricName, MetricSpec};
use crate::store::{Entry, Part, Store};
use crate::variant::{self, Variant, Variants};

use job::Job;

pub use job::RefreshCounts;

/// All that is to be kept fresh, and whom to ask for it.
#[derive(Clone, Default)]
pub struct Fleet {
    /// The sources by name.
    pub sources: BTreeMap<String, Arc<dyn MetricsSource>>,
    /// The metrics.
    pub metrics: Vec<MetricSpec>,
    /// The variants, which metrics may be read for.
    pub variants: Vec<Variant>,
    /// What knows whose pods are whose. Where there is none, the workloads of `variants` and the names of pods tell it.
    pub pods: Option<Arc<dyn PodVariants>>,
}

/// Why a fleet cannot be kept fresh.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// Two metrics of one name.
    #[error("there are two metrics {}", Quoted(.name.as_str()))]
    TwoMetrics {
        /// The name.
        name: MetricName,
    },
    /// A metric of a source that is not there.
    #[error("metric {metric}: there is no source {}{}", Quoted(.source_name), did_you_mean(.similar))]
    Source {
        /// The metric.
        metric: MetricName,
        /// The source that it names.
        source_name: Box<str>,
        /// The one that was likely meant.
        similar: Option<String>,
    },
    /// A metric of a query that is not there, or does not fit its parameters.
    #[error("metric {metric}: {error}")]
    Query {
        /// The metric.
        metric: MetricName,
        /// What is wrong.
        error: Box<QueryRenderError>,
    },
    /// A metric whose query does not fit the parameters of a variant.
    #[error("metric {metric}, for the variant {variant}: {error}")]
    ForVariant {
        /// The metric.
        metric: MetricName,
        /// The variant.
        variant: VariantRef,
        /// What is wrong.
        error: Box<QueryRenderError>,
    },
    /// A parameter that the query does not declare.
    #[error("metric {metric}: the query {query} has no parameter {}{}", Quoted(.param), did_you_mean(.similar))]
    Param {
        /// The metric.
        metric: MetricName,
        /// Its query.
        query: String,
        /// The parameter.
        param: String,
        /// The one that was likely meant.
        similar: Option<String>,
    },
    /// A metric that is to be one number for each variant, of a query that does not say how it folds.
    #[error(
        "metric {metric}: it is read for each variant, and the query {query} does not say how its rows become one: add `fold: sum`, or another"
    )]
    NoFold {
        /// The metric.
        metric: MetricName,
        /// Its query.
        query: String,
    },
    /// A policy that cannot be followed.
    #[error("metric {metric}: {errors}")]
    Policy {
        /// The metric.
        metric: MetricName,
        /// What is wrong.
        errors: PolicyErrors,
    },
    /// Variants that cannot be told apart.
    #[error("variants: {0}")]
    Variants(#[from] RegisterVariantError),
}

fn did_you_mean(similar: &Option<String>) -> String {
    similar
        .as_ref()
        .map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// Keeps a [`Store`] fresh.
///
/// Cheap to clone; clones are the same scheduler.
#[derive(Clone)]
pub struct Scheduler(Arc<Inner>);

struct Inner {
    store: Store,
    /// By the names of pods.
    mapper: PodVaMapper,
    variants: Arc<Variants>,
    counts: RefreshCounts,
    stop: CancellationToken,
    tasks: TaskTracker,
    running: Mutex<Vec<Running>>,
}

/// A part that is kept fresh.
struct Running {
    metric: Metric,
    /// The variant that it is read for.
    variant: Option<Variant>,
    part: Arc<Part>,
    entry: Arc<Entry>,
    stop: CancellationToken,
}

/// A part as it is to be.
struct Wanted {
    metric: Metric,
    variant: Option<Variant>,
}

// === impl Scheduler ===

impl Scheduler {
    /// One that keeps nothing fresh so far.
    pub fn new(store: Store) -> Self {
        let mapper = PodVaMapper::new();
        let by_name: Arc<dyn PodVariants> = Arc::new(mapper.clone());
        let variants = Arc::new(ArcSwap::from_pointee(by_name));
        Self(Arc::new(Inner {
            store,
            mapper,
            variants,
            counts: RefreshCounts::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            running: Mutex::default(),
        }))
    }

    /// Keeps `fleet` fresh from now on, in the place of the one before.
    ///
    /// *Errors*: the first thing that is wrong with it; the one before goes on.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn apply(&self, fleet: &Fleet) -> Result<(), FleetError> {
        let index = match &fleet.pods {
            Some(_) => VariantIndex::new(),
            None => variant::index(&fleet.variants)?,
        };
        // What a cluster tells of its variants may lack a parameter, which is then told by their readings.
        let checked_for = if fleet.pods.is_some() {
            &[]
        } else {
            &*fleet.variants
        };
        let mut names = HashSet::new();
        let mut metrics = Vec::with_capacity(fleet.metrics.len());
        for spec in &fleet.metrics {
            if !names.insert(&spec.name) {
                let name = spec.name.clone();
                return Err(FleetError::TwoMetrics { name });
            }
            metrics.push(checked(spec, &fleet.sources, checked_for)?);
        }
        let pods = match &fleet.pods {
            Some(pods) => Arc::clone(pods),
            None => Arc::new(self.0.mapper.clone()),
        };
        for source in fleet.sources.values() {
            source.query_list().set_variants(&pods);
        }
        let mut wanted = Vec::new();
        for metric in &metrics {
            let variants = match metric.spec.for_each {
                Some(ForEach::Variant) => fleet.variants.iter().cloned().map(Some).collect(),
                None => vec![None],
            };
            wanted.extend(variants.into_iter().map(|variant| Wanted {
                metric: metric.clone(),
                variant,
            }));
        }
        // A part is made before anything is changed, since its policy may be wrong.
        let clock = self.0.store.clock();
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *running);
        let mut made = Vec::with_capacity(wanted.len());
        for wanted in &wanted {
            let known = before.iter().position(|known| known.is(wanted));
            let part = match known {
                Some(at) => Ok(Arc::clone(&before[at].part)),
                None => {
                    let mut spec = wanted.metric.spec.reading(wanted.metric.folds);
                    // Without a cluster's word none is not known to be none.
                    spec.is_over_pods_alone = fleet.pods.is_some() && wanted.adds_up_pods();
                    let labels = wanted.variant.as_ref().map(Variant::labels).unwrap_or_default();
                    Readings::new(spec, clock.clone()).map(|readings| Arc::new(Part::new(labels, readings)))
                }
            };
            match part {
                Ok(part) => made.push(part),
                Err(errors) => {
                    *running = before;
                    let metric = wanted.metric.spec.name.clone();
                    return Err(FleetError::Policy { metric, errors });
                }
            }
        }
        self.0.mapper.replace_all(index);
        self.0.variants.store(Arc::new(pods));
        let mut entries: BTreeMap<MetricName, Arc<Entry>> = BTreeMap::new();
        for metric in &metrics {
            let known = before.iter().find(|known| known.metric.is(metric));
            let entry = known.map_or_else(
                || Arc::new(Entry::new(Arc::clone(&metric.spec))),
                |known| Arc::clone(&known.entry),
            );
            entries.insert(metric.spec.name.clone(), entry);
        }
        let mut parts: BTreeMap<MetricName, Vec<Arc<Part>>> = BTreeMap::new();
        for (wanted, part) in wanted.into_iter().zip(made) {
            let name = wanted.metric.spec.name.clone();
            let entry = Arc::clone(&entries[&name]);
            parts.entry(name).or_default().push(Arc::clone(&part));
            let known = before.iter().position(|known| Arc::ptr_eq(&known.part, &part));
            running.push(match known {
                Some(at) => before.swap_remove(at),
                None => self.start(wanted, part, entry),
            });
        }
        for (name, entry) in &entries {
            entry.set_parts(parts.remove(name).unwrap_or_default());
        }
        before.iter().for_each(|gone| gone.stop.cancel());
        self.0.store.replace(entries.into_values());
        Ok(())
    }

    fn start(&self, wanted: Wanted, part: Arc<Part>, entry: Arc<Entry>) -> Running {
        let stop = self.0.stop.child_token();
        let Wanted { metric, variant } = wanted;
        let job = Job {
            params: match &variant {
                Some(variant) => variant.params_over(&metric.spec.params),
                None => metric.spec.params.clone(),
            },
            metric: metric.clone(),
            variant: variant.as_ref().map(|variant| variant.variant.clone()),
            variants: Arc::clone(&self.0.variants),
            fresh: fresh::Fresh::default(),
            part: Arc::clone(&part),
            entry: Arc::clone(&entry),
            store: self.0.store.clone(),
            counts: self.0.counts.clone(),
        };
        self.0.tasks.spawn(job.keep_fresh(stop.clone()));
        Running {
            metric,
            variant,
            part,
            entry,
            stop,
        }
    }

    /// What was refreshed so far.
    pub fn counts(&self) -> &RefreshCounts {
        &self.0.counts
    }

    /// What knows now whose pods are whose.
    pub fn pods(&self) -> Arc<dyn PodVariants> {
        Arc::clone(&self.0.variants.load())
    }

    /// The store that it keeps fresh.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Ends all refreshing, and waits until it has ended.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}

/// Whether the metric `spec` can be kept fresh.
///
/// *Errors*: the first thing that is wrong with it.
pub fn check(
    spec: &MetricSpec,
    sources: &BTreeMap<String, Arc<dyn MetricsSource>>,
    variants: &[Variant],
) -> Result<(), FleetError> {
    let metric = checked(spec, sources, variants)?;
    let reading = metric.spec.reading(metric.folds);
    reading
        .policy
        .check(&reading.facts())
        .map_err(|errors| FleetError::Policy {
            metric: spec.name.clone(),
            errors,
        })
}

/// The metric with its source, if its queries are there and can be rendered.
fn checked(
    spec: &MetricSpec,
    sources: &BTreeMap<String, Arc<dyn MetricsSource>>,
    variants: &[Variant],
) -> Result<Metric, FleetError> {
    let metric = || spec.name.clone();
    let Some(source) = sources.get(&*spec.source) else {
        return Err(FleetError::Source {
            metric: metric(),
            source_name: spec.source.clone(),
            similar: similar(&spec.source, sources.keys().map(String::as_str)).map(str::to_owned),
        });
    };
    let of_query = |error| FleetError::Query {
        metric: metric(),
        error: Box::new(error),
    };
    let names = [Some(&spec.query), spec.proof()].into_iter().flatten();
    let queries: Vec<RegisteredQuery> = names
        .map(|name| source.query_list().find(name.as_str()).map_err(of_query))
        .collect::<Result<_, _>>()?;
    let declared = || {
        queries
            .iter()
            .flat_map(|query| query.params())
            .map(ParamSpec::name)
    };
    if let Some((unknown, _)) = spec
        .params
        .iter()
        .find(|(name, _)| !declared().any(|known| known == *name))
    {
        return Err(FleetError::Param {
            metric: metric(),
            query: spec.query.to_string(),
            param: unknown.to_owned(),
            similar: similar(unknown, declared()).map(str::to_owned),
        });
    }
    match spec.for_each {
        Some(ForEach::Variant) => {
            for variant in variants {
                let params = variant.params_over(&spec.params);
                let of_variant = |error| FleetError::ForVariant {
                    metric: metric(),
                    variant: variant.variant.clone(),
                    error: Box::new(error),
                };
                let mut queries = queries.iter();
                queries.try_for_each(|query| query.render(&params).map(drop).map_err(of_variant))?;
            }
        }
        None => {
            let mut queries = queries.iter();
            queries.try_for_each(|query| query.render(&spec.params).map(drop).map_err(of_query))?;
        }
    }
    let query = queries[0].template();
    let folds = spec.folds(query.fold);
    if spec.for_each.is_some() && folds.is_none() {
        return Err(FleetError::NoFold {
            metric: metric(),
            query: spec.query.to_string(),
        });
    }
    let mut spec = spec.clone();
    if spec.unit.is_empty() {
        spec.unit = query.unit.as_str().into();
    }
    spec.folds_by = match spec.fold {
        MetricFold::By(fold) => Some(fold),
        MetricFold::Declared | MetricFold::Rows => query.folds_by(),
    };
    Ok(Metric {
        spec: Arc::new(spec),
        source: Arc::clone(source),
        folds,
        queries,
    })
}

// === impl Wanted ===

impl Wanted {
    /// Whether it is read for a variant, and adds up something of its pods and nothing else.
    fn adds_up_pods(&self) -> bool {
        let Some(variant) = &self.variant else {
            return false;
        };
        let is_sum = self.metric.folds.is_some_and(|folds| folds.variant == Fold::Sum);
        let params = variant.params_over(&self.metric.spec.params);
        let query = self.metric.queries.first();
        is_sum && query.is_some_and(|query| query.render(&params).is_ok_and(|text| by_pod::is_by_pod(&text)))
    }
}

// === impl Running ===

impl Running {
    fn is(&self, wanted: &Wanted) -> bool {
        self.metric.is(&wanted.metric) && self.variant == wanted.variant
    }
}

// === impl Metric ===

impl Metric {
    /// Whether what was read of it can be read of `other`. A number that another text of the query gave cannot.
    fn is(&self, other: &Self) -> bool {
        *self.spec == *other.spec
            && self.folds == other.folds
            && Arc::ptr_eq(&self.source, &other.source)
            && !self.queries.iter().any(RegisteredQuery::is_replaced)
    }
}
