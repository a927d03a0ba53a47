//! The pages of the JSON door.

use std::collections::BTreeMap;

use fleetgauge::scrape::{TargetHealth, TargetStatus};
use fleetgauge_core::query_list::RegisteredQuery;
use fleetgauge_core::target::DiscoveryError;
use fleetgauge_core::variant::Replicas;
use serde_json::{Value, json};

use super::fleet::{Reloads, SourceView};
use crate::json::{JsonNumber, LabelMap, PolicyEntry, ReadingEntry};
use crate::metric::{ForEach, MetricFold};
use crate::scheduler::RefreshCounts;
use crate::store::{Row, Snapshot};
use crate::variant::Variant;

#[derive(serde::Serialize)]
pub(super) struct MetricsPage<'a> {
    pub(super) metrics: Vec<MetricEntry<'a>>,
    /// Whether the daemon may be asked: as `/-/ready`.
    pub(super) ready: bool,
    pub(super) configuration: ConfigurationEntry<'a>,
}

/// How the configuration was read anew.
#[derive(serde::Serialize)]
pub(super) struct ConfigurationEntry<'a> {
    reloads: u64,
    reloads_refused: u64,
    /// What is wrong with it as it is now; the one before is in force.
    error: Option<std::borrow::Cow<'a, str>>,
    /// What has changed in it and is taken at a start alone.
    needs_restart: Vec<&'static str>,
    read_at: Option<JsonNumber>,
}

/// A metric with its readings.
#[derive(serde::Serialize)]
pub(super) struct MetricEntry<'a> {
    metric: &'a str,
    source: &'a str,
    query: &'a str,
    unit: &'a str,
    every_seconds: JsonNumber,
    for_each: Option<&'static str>,
    namespaces: Vec<&'a str>,
    readings: Vec<ReadingEntry<'a>>,
    /// Why there are no readings, if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_readings: Option<&'static str>,
}

/// Why a metric that is read for each variant has no readings.
const NO_VARIANTS: &str = "it is read for each variant, and there is none: nothing in the cluster that `kubernetes` watches is one, and \
                           `variants` of the configuration names none; `fleetgauge doctor --config FILE` says what is missing";
/// Why another one, of which a part is asked for, has none.
const NONE_ASKED_FOR: &str = "none of its readings has what is asked for";
/// Why a variant has none.
const NO_METRICS: &str = "no metric of the configuration is read `for_each: variant`";

/// What the readings of a metric stand on.
#[derive(serde::Serialize)]
pub(super) struct Explanation<'a> {
    #[serde(flatten)]
    metric: MetricEntry<'a>,
    params: BTreeMap<&'a str, Vec<&'a str>>,
    template: Option<&'a str>,
    description: Option<&'a str>,
    transform: Vec<String>,
    fold: Value,
    policy: PolicyEntry,
    /// Of a metric that is read for each variant, which model each is asked for, and by what that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<Value>,
}

#[derive(serde::Serialize)]
pub(super) struct VariantsPage<'a> {
    pub(super) variants: Vec<VariantEntry<'a>>,
}

/// A variant, and the readings that are its own.
#[derive(serde::Serialize)]
pub(super) struct VariantEntry<'a> {
    variant: &'a str,
    namespace: &'a str,
    workload: Value,
    params: BTreeMap<&'a str, Vec<&'a str>>,
    /// By what its model is known.
    model: Value,
    /// `null` where no cluster tells it.
    replicas: Value,
    readings: Vec<ReadingEntry<'a>>,
    /// Why there are none, if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_readings: Option<&'static str>,
}

#[derive(serde::Serialize)]
pub(super) struct TargetsPage<'a> {
    targets: Vec<TargetEntry<'a>>,
    /// The discoveries that fail, wholly or in part.
    discovery_errors: Vec<Value>,
}

/// What a source scrapes, and which of its discoveries fail.
pub(super) struct Scraped {
    pub(super) source: String,
    pub(super) targets: Vec<TargetStatus>,
    pub(super) errors: Vec<(String, DiscoveryError)>,
}

#[derive(serde::Serialize)]
struct TargetEntry<'a> {
    source: &'a str,
    url: &'a str,
    labels: LabelMap<'a>,
    /// `up`, `down` or `unknown`.
    health: &'static str,
    last_scrape: Option<JsonNumber>,
    last_success: Option<JsonNumber>,
    error: Option<String>,
    consecutive_failures: u64,
    problem: Option<&'a str>,
    stale: bool,
    samples: usize,
    bytes: usize,
    duration_seconds: JsonNumber,
}

#[derive(serde::Serialize)]
pub(super) struct SourcesPage {
    pub(super) sources: Vec<SourceEntry>,
    pub(super) refreshes: RefreshEntry,
}

/// What was refreshed since the start.
#[derive(serde::Serialize)]
pub(super) struct RefreshEntry {
    answered: u64,
    failed: u64,
    late: u64,
}

#[derive(serde::Serialize)]
pub(super) struct SourceEntry {
    name: String,
    kind: &'static str,
    queries: usize,
    flights: u64,
    flights_shared: u64,
    asked: u64,
    in_flight: usize,
    failures: BTreeMap<&'static str, u64>,
    cached: usize,
    targets: Option<usize>,
    targets_up: Option<usize>,
}

// === impls ===

impl ConfigurationEntry<'_> {
    pub(super) fn new(reloads: &Reloads) -> Self {
        Self {
            reloads: reloads.taken,
            reloads_refused: reloads.refused,
            error: reloads.error.clone().map(Into::into),
            needs_restart: reloads.needs_restart.iter().copied().collect(),
            read_at: reloads.at.map(|at| JsonNumber(at.as_secs_f64())),
        }
    }
}

impl<'a> MetricEntry<'a> {
    /// The metric with the readings that are `asked_for`.
    pub(super) fn new(snapshot: &'a Snapshot, asked_for: impl Fn(&Row<'a>) -> bool) -> Self {
        let spec = snapshot.spec();
        let readings = snapshot.rows().filter(asked_for);
        let readings: Vec<_> = readings
            .map(|row| ReadingEntry::new(row.reading(), row.labels()))
            .collect();
        let why = || match snapshot.rows().next() {
            None => NO_VARIANTS,
            Some(_) => NONE_ASKED_FOR,
        };
        Self {
            no_readings: readings.is_empty().then(why),
            metric: spec.name.as_str(),
            source: &spec.source,
            query: spec.query.as_str(),
            unit: &spec.unit,
            every_seconds: JsonNumber(spec.every.as_secs_f64()),
            for_each: spec.for_each.map(|ForEach::Variant| "variant"),
            namespaces: spec.namespaces.iter().map(|namespace| &**namespace).collect(),
            readings,
        }
    }

    /// Whether there is no reading.
    pub(super) fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }
}

impl<'a> Explanation<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        query: Option<&'a RegisteredQuery>,
        variants: &[Variant],
    ) -> Self {
        let spec = snapshot.spec();
        let variants = variants.iter().filter(|_| spec.for_each.is_some());
        let models = variants.map(|variant| {
            let (name, namespace) = (variant.variant.name(), variant.variant.namespace());
            json!({"variant": name, "namespace": namespace, "model": model(variant)})
        });
        let template = query.map(RegisteredQuery::template);
        let declared = template.and_then(|template| template.fold);
        let fold = match (spec.fold, declared) {
            (MetricFold::Rows, _) | (MetricFold::Declared, None) => Value::Null,
            (MetricFold::By(fold), _) => json!(fold.as_str()),
            (MetricFold::Declared, Some(folds)) => {
                json!({"pod": folds.pod.as_str(), "variant": folds.variant.as_str()})
            }
        };
        Self {
            metric: MetricEntry::new(snapshot, |_| true),
            params: lists(spec.params.iter()),
            template: template.map(|template| &*template.template),
            description: template.map(|template| &*template.description),
            transform: template
                .map(|template| template.transform.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            fold,
            policy: PolicyEntry::new(&spec.policy),
            models: models.collect(),
        }
    }
}

/// Which model a variant serves, by what that is known, and what else tells another one.
fn model(variant: &Variant) -> Value {
    let Some(first) = variant.models.first() else {
        return Value::Null;
    };
    let others = variant.models[1..].iter();
    let others = others.filter(|other| other.model != first.model);
    let others: Vec<_> = others
        .map(|other| json!({"model": other.model, "by": other.by}))
        .collect();
    json!({"model": first.model, "by": first.by, "others": others})
}

impl<'a> VariantEntry<'a> {
    pub(super) fn new(variant: &'a Variant, replicas: Option<Replicas>, snapshots: &'a [Snapshot]) -> Self {
        let (name, namespace) = (variant.variant.name(), variant.variant.namespace());
        let rows = snapshots.iter().flat_map(Snapshot::rows);
        let own = rows
            .filter(|row| row.label("variant") == Some(name) && row.label("namespace") == Some(namespace));
        let readings: Vec<_> = own
            .map(|row| ReadingEntry::new(row.reading(), row.labels()))
            .collect();
        Self {
            no_readings: readings.is_empty().then_some(NO_METRICS),
            variant: name,
            namespace,
            workload: json!({"kind": variant.workload.kind().as_str(), "name": variant.workload.name()}),
            params: lists(variant.params.iter()),
            model: model(variant),
            replicas: replicas.map_or(Value::Null, |replicas| {
                json!({"desired": replicas.desired, "current": replicas.current, "ready": replicas.ready})
            }),
            readings,
        }
    }
}

impl<'a> TargetsPage<'a> {
    pub(super) fn new(known: &'a [Scraped]) -> Self {
        let targets = known.iter().flat_map(|scraped| {
            scraped.targets.iter().map(|target| TargetEntry {
                source: &scraped.source,
                url: &target.url,
                labels: target
                    .labels
                    .iter()
                    .map(|(name, value)| (&**name, &**value))
                    .collect(),
                health: match target.health {
                    TargetHealth::Unknown => "unknown",
                    TargetHealth::Up => "up",
                    TargetHealth::Down => "down",
                },
                last_scrape: target.last_scrape.map(|at| JsonNumber(at.as_secs_f64())),
                last_success: target.last_success.map(|at| JsonNumber(at.as_secs_f64())),
                error: target.last_error.as_ref().map(ToString::to_string),
                consecutive_failures: target.consecutive_failures,
                problem: target.problem.as_deref(),
                stale: target.is_stale,
                samples: target.samples,
                bytes: target.bytes,
                duration_seconds: JsonNumber(target.duration.as_secs_f64()),
            })
        });
        let errors = known.iter().flat_map(|scraped| {
            let errors = scraped.errors.iter();
            errors.map(|(discovery, error)| {
                json!({"source": scraped.source, "discovery": discovery, "error": error.to_string()})
            })
        });
        Self {
            targets: targets.collect(),
            discovery_errors: errors.collect(),
        }
    }
}

impl SourceEntry {
    pub(super) fn new(view: &SourceView) -> Self {
        let stats = view.source.stats();
        let scraping = view.scraping.as_ref().map(|scraping| scraping.scrape_stats());
        Self {
            name: view.name.clone(),
            kind: view.kind,
            queries: view.source.query_list().len(),
            flights: stats.flights,
            flights_shared: stats.flights_shared,
            asked: stats.asked,
            in_flight: stats.in_flight,
            failures: stats.failures,
            cached: stats.cache.entries,
            targets: scraping.as_ref().map(|stats| stats.targets),
            targets_up: scraping.as_ref().map(|stats| stats.targets_up),
        }
    }
}

impl RefreshEntry {
    pub(super) fn new(counts: &RefreshCounts) -> Self {
        Self {
            answered: counts.answered(),
            failed: counts.failed(),
            late: counts.late(),
        }
    }
}

/// Parameters, each with all of its values.
fn lists<'a>(params: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    params.for_each(|(name, value)| lists.entry(name).or_default().push(value));
    lists
}
