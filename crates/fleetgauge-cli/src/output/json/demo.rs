//! The JSON of `fleetgauge demo`.

use fleetgauge_sim::SimPod;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::JsonNumber;
use crate::demo::metric::Metric;
use crate::demo::snapshot::{Cell, PodView, Snapshot, TotalView, VariantView};

/// What is known of the fleet at one moment.
#[derive(serde::Serialize)]
pub(crate) struct Demo<'a> {
    pods: Vec<Pod<'a>>,
    variants: Vec<Variant<'a>>,
    /// What keeps the collector itself from working.
    error: Option<&'a str>,
    /// When that was. *Unit*: seconds since the Unix epoch.
    time: JsonNumber,
}

#[derive(serde::Serialize)]
struct Pod<'a> {
    namespace: &'a str,
    pod: &'a str,
    variant: Option<&'a str>,
    reason: Option<&'a str>,
    /// Since the newest sample of the pod.
    age_seconds: Option<JsonNumber>,
    metrics: Columns<MetricCell<'a>>,
}

#[derive(serde::Serialize)]
struct MetricCell<'a> {
    status: &'static str,
    value: Option<JsonNumber>,
    age_seconds: Option<JsonNumber>,
    reason: Option<&'a str>,
    unit: &'static str,
    query: &'static str,
}

#[derive(serde::Serialize)]
struct Variant<'a> {
    namespace: &'a str,
    variant: &'a str,
    pods: usize,
    metrics: Columns<TotalCell<'a>>,
}

#[derive(serde::Serialize)]
struct TotalCell<'a> {
    total: &'static str,
    value: Option<JsonNumber>,
    /// How many pods are in it.
    pods: usize,
    reason: Option<&'a str>,
    unit: &'static str,
}

/// A fleet that is only served.
#[derive(serde::Serialize)]
pub(crate) struct Served<'a> {
    /// For Prometheus's `file_sd_configs`; kept up to date.
    targets_file: &'a str,
    /// Of a Prometheus that scrapes them.
    prometheus_config: &'a str,
    pods: Vec<ServedPod<'a>>,
}

#[derive(serde::Serialize)]
struct ServedPod<'a> {
    namespace: &'a str,
    pod: &'a str,
    variant: &'a str,
    /// What queries call `modelID`; null where the pod serves none.
    model: Option<&'a str>,
    url: &'a str,
}

/// A map from a metric's name.
struct Columns<T>([T; 4]);

// === impl Demo ===

impl<'a> Demo<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            pods: snapshot.pods.iter().map(Pod::new).collect(),
            variants: snapshot.variants.iter().map(Variant::new).collect(),
            error: snapshot.problem.as_deref(),
            time: JsonNumber(snapshot.at.as_secs_f64()),
        }
    }
}

impl<'a> Pod<'a> {
    fn new(pod: &'a PodView) -> Self {
        Self {
            namespace: &pod.namespace,
            pod: &pod.pod,
            variant: pod.variant.as_ref().map(|variant| variant.name()),
            reason: pod.reason.as_deref(),
            age_seconds: pod.age.map(|age| JsonNumber(age.as_secs_f64())),
            metrics: Columns(Metric::ALL.map(|metric| MetricCell::new(metric, pod.cell(metric)))),
        }
    }
}

impl<'a> MetricCell<'a> {
    fn new(metric: Metric, cell: &'a Cell) -> Self {
        Self {
            status: cell.status.as_str(),
            value: cell.value.map(JsonNumber),
            age_seconds: cell.age.map(|age| JsonNumber(age.as_secs_f64())),
            reason: cell.reason.as_deref(),
            unit: metric.unit(),
            query: metric.query(),
        }
    }
}

impl<'a> Variant<'a> {
    fn new(view: &'a VariantView) -> Self {
        Self {
            namespace: view.variant.namespace(),
            variant: view.variant.name(),
            pods: view.pods,
            metrics: Columns(Metric::ALL.map(|metric| TotalCell::new(metric, view.total(metric)))),
        }
    }
}

impl<'a> TotalCell<'a> {
    fn new(metric: Metric, total: &'a TotalView) -> Self {
        Self {
            total: metric.total(),
            value: total.value.map(JsonNumber),
            pods: total.counted,
            reason: total.reason.as_deref(),
            unit: metric.unit(),
        }
    }
}

impl<'a> Served<'a> {
    pub(crate) fn new(pods: &'a [SimPod], targets_file: &'a str, prometheus_config: &'a str) -> Self {
        let pods = pods.iter().map(|pod| ServedPod {
            namespace: &pod.namespace,
            pod: &pod.name,
            variant: &pod.variant,
            model: Some(&*pod.model).filter(|model| !model.is_empty()),
            url: &pod.url,
        });
        Self {
            targets_file,
            prometheus_config,
            pods: pods.collect(),
        }
    }
}

impl<T: Serialize> Serialize for Columns<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (metric, column) in Metric::ALL.into_iter().zip(&self.0) {
            map.serialize_entry(metric.name(), column)?;
        }
        map.end()
    }
}
