//! Series, and queries of which is known what contributes to their rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetgauge_core::sample::MetricValue;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::histogram::FloatHistogram;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::{STALE_MARKER, Sample};
use fleetgauge_promql::store::MemoryStore;

use crate::differential::random::Random;

/// Without the metric name.
pub(super) type Labels = BTreeMap<String, String>;
/// The newest sample of each series that contributes, by the place of its selector, as if that asked for the time of
/// the query. *Unit*: milliseconds.
pub(super) type Contributors = BTreeMap<(String, usize), i64>;

pub(super) const LOOKBACK: i64 = 300_000;
/// Stands for one, which no number here is.
pub(super) const HISTOGRAM: f64 = f64::MIN;
pub(super) const SMOOTHED: &str = " smoothed";
pub(super) const PODS: [&str; 3] = ["a", "b", "c"];

pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) labels: Labels,
    /// The value of the last one may be the staleness marker.
    pub(super) samples: Vec<(i64, f64)>,
    /// From when on they are histograms.
    pub(super) turns: i64,
}

pub(super) struct Data {
    pub(super) engine: Engine,
    /// Which tells ages.
    pub(super) aged: Engine,
    pub(super) store: MemoryStore,
    pub(super) series: Vec<Series>,
}

/// A query of which is known what contributes to its rows.
#[derive(Clone, Debug)]
pub(super) enum Query {
    Plain {
        name: &'static str,
        extended: &'static str,
        /// *Unit*: seconds.
        offset: i64,
        at: Option<i64>,
    },
    Range {
        function: &'static str,
        name: &'static str,
        range: i64,
        extended: &'static str,
        offset: i64,
    },
    Steps {
        function: &'static str,
        inner: Box<Query>,
        range: i64,
        step: i64,
        offset: i64,
    },
    Aggregate {
        op: &'static str,
        by: &'static [&'static str],
        inner: Box<Query>,
    },
    Quantile(Box<Query>),
    /// A part of the rows, with their own contributors.
    Filter(&'static str, Box<Query>),
    /// All rows, with their own contributors.
    Each(&'static str, &'static str, Box<Query>),
    /// What is divided by a scalar stands on that as well.
    Scalar(Box<Query>, Box<Query>),
    Join {
        op: &'static str,
        on: &'static [&'static str],
        group: &'static str,
        left: Box<Query>,
        right: Box<Query>,
    },
    Or(Box<Query>, Box<Query>),
}

// === impl Query ===

impl Query {
    pub(super) fn text(&self) -> String {
        let seconds = |offset: i64| match offset {
            0 => String::new(),
            offset => format!(" offset {offset}s"),
        };
        match self {
            Self::Plain {
                name,
                extended,
                offset,
                at,
            } => {
                let at = at.map_or(String::new(), |at| format!(" @ {at}"));
                format!("{name}{extended}{at}{}", seconds(*offset))
            }
            Self::Range {
                function,
                name,
                range,
                extended,
                offset,
            } => format!("{function}({name}[{range}s]{extended}{})", seconds(*offset)),
            Self::Steps {
                function,
                inner,
                range,
                step,
                offset,
            } => format!(
                "{function}(({})[{range}s:{step}s]{})",
                inner.text(),
                seconds(*offset)
            ),
            Self::Aggregate { op, by, inner } => format!("{op} by ({}) ({})", by.join(", "), inner.text()),
            Self::Quantile(inner) => format!("histogram_quantile(0.5, {})", inner.text()),
            Self::Filter(filter, inner) => format!("(({}) {filter})", inner.text()),
            Self::Each(before, after, inner) => format!("{before}{}{after}", inner.text()),
            Self::Scalar(left, right) => format!("({}) / scalar({})", left.text(), right.text()),
            Self::Join {
                op,
                on,
                group,
                left,
                right,
            } => format!(
                "({}) {op} on ({}) {group} ({})",
                left.text(),
                on.join(", "),
                right.text()
            ),
            Self::Or(left, right) => format!("({}) or ({})", left.text(), right.text()),
        }
    }
}

impl Query {
    /// Whether it aggregates in a subquery.
    pub(super) fn has_steps_of_groups(&self, in_steps: bool) -> bool {
        match self {
            Self::Plain { .. } | Self::Range { .. } => false,
            Self::Steps { inner, .. } => inner.has_steps_of_groups(true),
            Self::Aggregate { inner, .. } => in_steps || inner.has_steps_of_groups(in_steps),
            Self::Quantile(inner) | Self::Filter(_, inner) | Self::Each(_, _, inner) => {
                inner.has_steps_of_groups(in_steps)
            }
            Self::Scalar(left, right) | Self::Or(left, right) | Self::Join { left, right, .. } => {
                left.has_steps_of_groups(in_steps) || right.has_steps_of_groups(in_steps)
            }
        }
    }
}

// === impl Data ===

impl Data {
    /// Pods that are scraped every 15 seconds or so, some of which end with a staleness marker, or without.
    pub(super) fn generate(random: &mut Random) -> Self {
        Self::with_histograms(random, 0)
    }

    /// The same, where so many of a hundred series are native histograms, all the time or from a time on.
    pub(super) fn with_histograms(random: &mut Random, percent: usize) -> Self {
        let mut series = Vec::new();
        for pod in PODS {
            for zone in ["y", "z"] {
                let end = match random.below(3) {
                    0 => random.below(1_500) as i64,
                    _ => i64::MAX,
                };
                let is_marked = random.chance(70);
                let mut add = |name, more: &[(&str, &str)]| {
                    // Not on whole seconds, where ranges and steps begin and end.
                    let first = random.below(600) as i64 * 1000 + 250;
                    let mut samples = Vec::new();
                    for index in 0..100 {
                        let at = first + index * 15_000 + random.below(3) as i64 * 1000;
                        if at > end.saturating_mul(1000) {
                            break;
                        }
                        if !random.chance(8) {
                            samples.push((at, random.below(20) as f64));
                        }
                    }
                    if let (true, Some((at, _))) = (is_marked && end < i64::MAX, samples.last()) {
                        samples.push((at + 15_000, f64::from_bits(STALE_MARKER)));
                    }
                    let turns = match percent > 0 && name != "x_bucket" && random.chance(percent) {
                        true => random.pick(&[0, 0, 900_000, 1_300_000]),
                        false => i64::MAX,
                    };
                    let pairs = [("pod", pod), ("zone", zone)];
                    let labels = pairs.iter().chain(more);
                    let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                    series.push(Series {
                        name,
                        labels: labels.collect(),
                        samples,
                        turns,
                    });
                };
                add("x", &[]);
                add("y", &[]);
                add("x_bucket", &[("le", "1")]);
                add("x_bucket", &[("le", "+Inf")]);
            }
        }
        let mut store = MemoryStore::new();
        for one in &series {
            let name = [("__name__", one.name)];
            let labels = one.labels.iter().map(|(name, value)| (&**name, &**value));
            let labels = LabelSet::from_pairs(name.into_iter().chain(labels));
            for &(at, value) in &one.samples {
                let timestamp = Timestamp::from_millis(at);
                if at < one.turns || value.to_bits() == STALE_MARKER {
                    store.append(&labels, Sample { timestamp, value }).unwrap();
                    continue;
                }
                let histogram = FloatHistogram::exponential(0).unwrap().with_count(value);
                store
                    .append_histogram(&labels, timestamp, Arc::new(histogram))
                    .unwrap();
            }
        }
        let config = EngineConfig::default().with_histograms(true);
        Self {
            engine: Engine::new(config.clone()),
            aged: Engine::new(config.with_ages(true)),
            store,
            series,
        }
    }

    /// The rows of an instant vector, of which a histogram is [`HISTOGRAM`], or why there is none.
    pub(super) fn rows(&self, query: &str, at: i64) -> Result<BTreeMap<Labels, f64>, String> {
        let evaluation = self
            .engine
            .instant(&self.store, query, Timestamp::from_millis(at));
        let evaluation = evaluation.map_err(|error| format!("{query}: {error}"))?;
        let row = |labels: fleetgauge_core::label::Labels<'_>| -> Labels {
            let pairs = labels.iter().filter(|(name, _)| *name != "__name__");
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let values = evaluation.answer.values();
        let number = |value: &MetricValue<'_>| match value.histogram {
            Some(_) => HISTOGRAM,
            None => value.value,
        };
        Ok(values.map(|value| (row(value.labels), number(&value))).collect())
    }

    /// The newest sample of each series from `from` on.
    pub(super) fn newest(&self, name: &str, from: i64, to: i64) -> Vec<(usize, Labels, i64)> {
        let named = self.series.iter().enumerate().filter(|(_, one)| one.name == name);
        let newest = named.filter_map(|(i, one)| {
            let is_sample =
                |(at, value): &&(i64, f64)| (from..=to).contains(at) && value.to_bits() != STALE_MARKER;
            let &(at, _) = one.samples.iter().rfind(is_sample)?;
            Some((i, one.labels.clone(), at))
        });
        newest.collect()
    }

    /// What contributes to each row of a query.
    pub(super) fn contributors(
        &self,
        query: &Query,
        at: i64,
        place: &str,
    ) -> Result<BTreeMap<Labels, Contributors>, String> {
        let rows = self.rows(&query.text(), at)?;
        let mut all: BTreeMap<Labels, Contributors> = BTreeMap::new();
        let mut add = |labels: Labels, more: Contributors| {
            if rows.contains_key(&labels) {
                let row = all.entry(labels).or_default();
                more.into_iter().for_each(|(series, newest)| {
                    let known = row.entry(series).or_insert(newest);
                    *known = newest.max(*known);
                });
            }
        };
        let project = |labels: &Labels, to: &[&str]| -> Labels {
            let kept = labels.iter().filter(|(name, _)| to.contains(&&***name));
            kept.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        match query {
            Query::Plain {
                name,
                offset,
                at: held,
                ..
            } => {
                let asked = held.map_or(at, |held| held * 1000) - offset * 1000;
                for (series, labels, newest) in self.newest(name, asked - LOOKBACK, asked) {
                    add(labels, [((place.to_owned(), series), newest + at - asked)].into());
                }
            }
            Query::Range {
                name,
                range,
                extended,
                offset,
                ..
            } => {
                let to = at - offset * 1000;
                let before = if *extended == SMOOTHED { LOOKBACK } else { 0 };
                for (series, labels, newest) in self.newest(name, to - range * 1000 - before, to) {
                    add(
                        labels,
                        [((place.to_owned(), series), newest + offset * 1000)].into(),
                    );
                }
            }
            Query::Steps {
                inner,
                range,
                step,
                offset,
                ..
            } => {
                let (to, step) = (at - offset * 1000, step * 1000);
                let first = (to - range * 1000).div_euclid(step) + 1;
                for index in first..=to.div_euclid(step) {
                    for (labels, mut of_step) in self.contributors(inner, index * step, place)? {
                        of_step.values_mut().for_each(|newest| *newest += offset * 1000);
                        add(labels, of_step);
                    }
                }
            }
            Query::Aggregate { op, by, inner } => {
                let values = self.rows(&inner.text(), at)?;
                for (labels, more) in self.contributors(inner, at, place)? {
                    // They leave out histograms.
                    if !(["min", "max"].contains(op) && values[&labels] == HISTOGRAM) {
                        add(project(&labels, by), more);
                    }
                }
            }
            Query::Quantile(inner) => {
                for (mut labels, more) in self.contributors(inner, at, place)? {
                    labels.remove("le");
                    add(labels, more);
                }
            }
            Query::Filter(_, inner) | Query::Each(_, _, inner) => {
                for (labels, more) in self.contributors(inner, at, place)? {
                    add(labels, more);
                }
            }
            Query::Scalar(left, right) => {
                let mut of_right = self.contributors(right, at, &format!("{place}r"))?;
                // A histogram is no scalar.
                let values = self.rows(&right.text(), at)?;
                of_right.retain(|labels, _| values[labels] != HISTOGRAM);
                for (labels, more) in self.contributors(left, at, &format!("{place}l"))? {
                    add(labels.clone(), more);
                    of_right
                        .values()
                        .for_each(|more| add(labels.clone(), more.clone()));
                }
            }
            Query::Join {
                on,
                group,
                left,
                right,
                ..
            } => {
                let (left, right) = (
                    self.contributors(left, at, &format!("{place}l"))?,
                    self.contributors(right, at, &format!("{place}r"))?,
                );
                for (labels, more) in left {
                    let key = project(&labels, on);
                    let row = if group.is_empty() { key.clone() } else { labels };
                    let is_match = |other: &&Labels| project(other, on) == key;
                    if let Some(other) = right.keys().find(is_match) {
                        add(row.clone(), more);
                        add(row, right[other].clone());
                    }
                }
            }
            Query::Or(left, right) => {
                let left = self.contributors(left, at, &format!("{place}l"))?;
                for (labels, more) in self.contributors(right, at, &format!("{place}r"))? {
                    if !left.contains_key(&labels) {
                        add(labels, more);
                    }
                }
                left.into_iter().for_each(|(labels, more)| add(labels, more));
            }
        }
        Ok(all)
    }
}

pub(super) fn query(random: &mut Random, depth: usize) -> Query {
    let name = random.pick(&["x", "y", "x_bucket"]);
    let offset = random.pick(&[0, 0, 0, 0, 60, 200, -30]);
    if depth == 0 {
        if random.chance(50) {
            let at = random.chance(15).then(|| random.below(2_000) as i64);
            return Query::Plain {
                name,
                extended: random.pick(&["", "", "", SMOOTHED]),
                offset,
                at,
            };
        }
        let extended = random.pick(&["", "", "", SMOOTHED, " anchored"]);
        return Query::Range {
            function: match extended {
                "" => random.pick(&["rate", "increase", "max_over_time", "count_over_time"]),
                _ => random.pick(&["rate", "increase"]),
            },
            name,
            range: random.pick(&[40, 60, 300, 600]),
            extended,
            offset,
        };
    }
    let inner = |random: &mut Random| Box::new(query(random, depth - 1));
    const BY: [&[&str]; 4] = [&["pod"], &["zone"], &["pod", "zone"], &[]];
    match random.below(12) {
        0..=2 => Query::Aggregate {
            op: random.pick(&["sum", "max", "avg", "count"]),
            by: random.pick(&BY),
            inner: inner(random),
        },
        3 => Query::Steps {
            function: random.pick(&["max_over_time", "avg_over_time", "last_over_time"]),
            // What `@` holds has the same age at every step.
            inner: loop {
                let inner = inner(random);
                if !inner.text().contains('@') {
                    break inner;
                }
            },
            range: random.pick(&[60, 300]),
            step: random.pick(&[15, 60]),
            offset: random.pick(&[0, 0, 45]),
        },
        4 => Query::Quantile(Box::new(Query::Plain {
            name: "x_bucket",
            extended: "",
            offset,
            at: None,
        })),
        5 => Query::Filter(
            random.pick(&["> 5", "<= 12", "and y", "unless on (pod) (x > 15)"]),
            inner(random),
        ),
        6 => {
            let each = [
                ("-(", ")"),
                ("abs(", ")"),
                ("3 * (", ")"),
                ("clamp(", ", 2, 9)"),
                ("topk(2, ", ")"),
            ];
            let (before, after) = random.pick(&each);
            Query::Each(before, after, inner(random))
        }
        7 => Query::Scalar(
            inner(random),
            Box::new(Query::Aggregate {
                op: "sum",
                by: &[],
                inner: inner(random),
            }),
        ),
        8 | 9 => {
            let on = random.pick(&BY);
            let grouped = |random: &mut Random, by| {
                Box::new(Query::Aggregate {
                    op: random.pick(&["sum", "min"]),
                    by,
                    inner: inner(random),
                })
            };
            let is_many = random.chance(40);
            Query::Join {
                op: random.pick(&["/", "+", "<", "== bool"]),
                on,
                group: if is_many { "group_left ()" } else { "" },
                left: grouped(random, if is_many { &["pod", "zone"] } else { on }),
                right: grouped(random, on),
            }
        }
        _ => Query::Or(inner(random), inner(random)),
    }
}
