//! Any family, as each format of an exposition can say it.

use std::collections::BTreeMap;

use fleetgauge_promql::exposition::{Encoder, MetricType};
use fleetgauge_syntax::number::OpenMetricsFloat;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::metric_family::{
    Bucket, Counter, Histogram, Metric, MetricFamily, Number, Quantile, Summary, labels,
};

/// One family, as both formats can say it.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) metric_type: MetricType,
    pub(crate) metrics: Vec<One>,
}

#[derive(Clone, Debug)]
pub(crate) struct One {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) number: f64,
    pub(crate) count: u32,
    /// By bound or quantile.
    pub(crate) parts: Vec<(f64, u32)>,
    pub(crate) timestamp: Option<i64>,
}

pub(crate) fn any_family() -> impl Strategy<Value = Family> {
    let name = || prop_oneof!["[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", "[a-z\\\\\"{}=,# \n.é]{1,6}"];
    let number = || {
        prop_oneof![
            any::<f64>().prop_map(|number| if number.is_nan() { f64::NAN } else { number }),
            Just(f64::INFINITY),
            (0..1000_u32).prop_map(f64::from)
        ]
    };
    let label = prop_oneof!["[a-z_][a-z0-9_]{0,3}", "[a-z\\\\\"{}=,# \n.é]{1,4}"]
        .prop_filter("not of ours", |name| {
            !["__name__", "le", "quantile"].contains(&name.as_str())
        });
    let one = (
        btree_map(label, "[a-z\\\\\"{}=,# \n\t.é]{0,8}", 0..4),
        number(),
        any::<u32>(),
        vec((-100..100_i32, any::<u32>()), 0..5),
        option::of((1..i64::MAX / 2).prop_map(|time| time / 1000)),
    );
    let one = one.prop_map(|(labels, number, count, parts, timestamp)| One {
        labels,
        number,
        count,
        parts: parts
            .into_iter()
            // No bucket has more than all.
            .map(|(bound, part)| (f64::from(bound) / 8.0, part.min(count)))
            .collect(),
        timestamp: timestamp.filter(|&time| time != 0),
    });
    let metric_type = prop::sample::select(vec![
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Summary,
        MetricType::Unknown,
        MetricType::Histogram,
    ]);
    let help = "[a-z\\\\\"{}=,# \n\t.é]{0,8}";
    (name(), help, "[a-z]{0,3}", metric_type, vec(one, 1..4)).prop_map(
        |(name, help, unit, metric_type, metrics)| Family {
            name,
            help,
            unit,
            metric_type,
            metrics,
        },
    )
}

impl Family {
    pub(crate) fn print(&self, page: &mut Encoder) {
        if !self.help.is_empty() {
            page.help(&self.name, &self.help);
        }
        page.metric_type(&self.name, self.metric_type);
        if !self.unit.is_empty() {
            page.unit(&self.name, &self.unit);
        }
        for one in &self.metrics {
            let mut sample = |suffix: &str, bound: Option<(&str, f64)>, value: f64| {
                let name = format!("{}{suffix}", self.name);
                let bound = bound.map(|(label, bound)| (label, OpenMetricsFloat(bound).to_string()));
                let labels = one.labels.iter().map(|(name, value)| (&**name, &**value));
                let bound = bound.as_ref().map(|(label, bound)| (*label, &**bound));
                page.sample(&name, labels.chain(bound), value, one.timestamp);
            };
            let (each, label) = match self.metric_type {
                MetricType::Histogram => ("_bucket", "le"),
                MetricType::Summary => ("", "quantile"),
                _ => {
                    sample("", None, one.number);
                    continue;
                }
            };
            sample("_count", None, f64::from(one.count));
            sample("_sum", None, one.number);
            for (bound, count) in &one.parts {
                sample(each, Some((label, *bound)), f64::from(*count));
            }
            if self.metric_type == MetricType::Histogram {
                sample(each, Some((label, f64::INFINITY)), f64::from(one.count));
            }
        }
    }

    pub(crate) fn message(&self) -> MetricFamily {
        let number = |one: &One| Number {
            value: Some(one.number),
        };
        let metric = |one: &One| {
            let mut metric = Metric {
                label: labels(one.labels.iter().map(|(name, value)| (&**name, &**value))),
                timestamp_ms: one.timestamp,
                ..Metric::default()
            };
            match self.metric_type {
                MetricType::Counter => {
                    metric.counter = Some(Counter {
                        value: Some(one.number),
                        start_timestamp: None,
                    });
                }
                MetricType::Gauge => metric.gauge = Some(number(one)),
                MetricType::Unknown => metric.untyped = Some(number(one)),
                MetricType::Summary => {
                    let quantile = |&(quantile, value): &(f64, u32)| Quantile {
                        quantile: Some(quantile),
                        value: Some(f64::from(value)),
                    };
                    metric.summary = Some(Summary {
                        sample_count: Some(one.count.into()),
                        sample_sum: Some(one.number),
                        quantile: one.parts.iter().map(quantile).collect(),
                    });
                }
                _ => {
                    let bucket = |&(bound, count): &(f64, u32)| Bucket {
                        cumulative_count: Some(count.into()),
                        cumulative_count_float: None,
                        upper_bound: Some(bound),
                    };
                    metric.histogram = Some(Histogram {
                        sample_count: Some(one.count.into()),
                        sample_sum: Some(one.number),
                        bucket: one.parts.iter().map(bucket).collect(),
                        ..Histogram::default()
                    });
                }
            }
            metric
        };
        let number = match self.metric_type {
            MetricType::Counter => 0,
            MetricType::Gauge => 1,
            MetricType::Summary => 2,
            MetricType::Unknown => 3,
            _ => 4,
        };
        MetricFamily {
            name: Some(self.name.clone()),
            help: Some(self.help.clone()),
            metric_type: Some(number),
            metric: self.metrics.iter().map(metric).collect(),
            unit: Some(self.unit.clone()),
        }
    }
}
