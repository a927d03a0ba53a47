//! Companions against ages that are computed from the samples themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetgauge_core::age::AgeKind;
use fleetgauge_core::sample::MetricValue;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::histogram::FloatHistogram;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::{STALE_MARKER, Sample};
use fleetgauge_promql::store::MemoryStore;
use fleetgauge_syntax::parse;
use fleetgauge_syntax::rewrite::{Age, Newest, age, branch, reporting};

use super::expression;
use crate::differential::generate::{Choices, time};
use crate::differential::random::Random;
use crate::differential::version::Version;
use crate::differential::{data, number};

/// Without the metric name.
type Labels = BTreeMap<String, String>;
/// The newest sample of each series that contributes, by the place of its selector, as if that asked for the time of
/// the query. *Unit*: milliseconds.
type Contributors = BTreeMap<(String, usize), i64>;

const LOOKBACK: i64 = 300_000;
/// Stands for one, which no number here is.
const HISTOGRAM: f64 = f64::MIN;
const SMOOTHED: &str = " smoothed";
const PODS: [&str; 3] = ["a", "b", "c"];

struct Series {
    name: &'static str,
    labels: Labels,
    /// The value of the last one may be the staleness marker.
    samples: Vec<(i64, f64)>,
    /// From when on they are histograms.
    turns: i64,
}

struct Data {
    engine: Engine,
    /// Which tells ages.
    aged: Engine,
    store: MemoryStore,
    series: Vec<Series>,
}

/// A query of which is known what contributes to its rows.
#[derive(Clone, Debug)]
enum Query {
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
    fn text(&self) -> String {
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
    fn has_steps_of_groups(&self, in_steps: bool) -> bool {
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
    fn generate(random: &mut Random) -> Self {
        Self::with_histograms(random, 0)
    }

    /// The same, where so many of a hundred series are native histograms, all the time or from a time on.
    fn with_histograms(random: &mut Random, percent: usize) -> Self {
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
    fn rows(&self, query: &str, at: i64) -> Result<BTreeMap<Labels, f64>, String> {
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
    fn newest(&self, name: &str, from: i64, to: i64) -> Vec<(usize, Labels, i64)> {
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
    fn contributors(
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

fn query(random: &mut Random, depth: usize) -> Query {
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

#[derive(Debug, Default)]
struct Counts {
    rows: usize,
    bounds: usize,
    /// Rows that have ended series in them, which are seen by the steps of a subquery, or not.
    near: usize,
    unseen: usize,
}

#[test]
fn a_row_is_as_old_as_its_oldest_contributor() {
    let count = number("FLEETGAUGE_DIFFERENTIAL", 2_000);
    let mut random = Random::new(number("FLEETGAUGE_DIFFERENTIAL_SEED", 3) as u64);
    let mut counts = [Counts::default(), Counts::default()];
    let mut evaluated = Counts::default();
    for _ in 0..count / 100 {
        let data = Data::generate(&mut random);
        for _ in 0..100 {
            let depth = random.below(4);
            let query = query(&mut random, depth);
            let at = 600_000 + random.below(1_500) as i64 * 1000;
            let Ok(contributors) = data.contributors(&query, at, "") else {
                continue;
            };
            check(&data, &query, at, Newest::TsOfLast, &contributors, &mut counts[0]);
            check(&data, &query, at, Newest::Subquery, &contributors, &mut counts[1]);
            told_by_the_engine(&data, &query, at, &contributors, &mut evaluated);
        }
    }
    println!("{counts:?} {evaluated:?}");
    assert!(evaluated.rows > count && evaluated.bounds * 100 > count);
    let [exactly, by_steps] = counts;
    assert!(exactly.rows > count && exactly.bounds * 20 > count);
    assert_eq!((exactly.near, exactly.unseen), (0, 0));
    assert!(by_steps.near * 10 < by_steps.rows && by_steps.unseen * 50 < by_steps.rows);
}

/// What an operation leaves out of histograms may make a row look older than it is, and never newer; but a companion does not
/// see at which steps of a subquery an aggregation has left out a group.
#[test]
fn no_row_looks_newer_for_histograms_among_numbers() {
    let count = number("FLEETGAUGE_DIFFERENTIAL", 2_000);
    let mut random = Random::new(number("FLEETGAUGE_DIFFERENTIAL_SEED", 3) as u64);
    let (mut same, mut older, mut unknown) = ([0; 2], [0; 2], 0);
    for _ in 0..count / 100 {
        let data = Data::with_histograms(&mut random, 40);
        for _ in 0..100 {
            let depth = random.below(4);
            let query = query(&mut random, depth);
            let at = 600_000 + random.below(1_500) as i64 * 1000;
            let text = query.text();
            let Ok(contributors) = data.contributors(&query, at, "") else {
                continue;
            };
            let mut judge = |by: usize, labels: &Labels, of: &Contributors, told: f64, how: &str| {
                let oldest = *of.values().min().unwrap() as f64 / 1000.0;
                let what =
                    || format!("{text} at {at}: {labels:?} {told} instead of {oldest} of {of:?}\n{how}");
                assert!(told <= oldest + 1e-6, "{}", what());
                match told >= oldest - 1e-6 {
                    true => same[by] += 1,
                    false => older[by] += 1,
                }
            };
            let is_told = !query.has_steps_of_groups(false);
            if let (true, Age::Exact(companion)) = (is_told, age(&parse(&text).unwrap(), Newest::TsOfLast)) {
                let companion = companion.to_string();
                let times = data
                    .rows(&companion, at)
                    .unwrap_or_else(|why| panic!("{why}: {text}"));
                for (labels, of) in &contributors {
                    match times.get(labels) {
                        Some(&told) => judge(0, labels, of, told, &companion),
                        None => unknown += 1,
                    }
                }
            }
            if text.contains(SMOOTHED) {
                continue;
            }
            let evaluation = data.aged.instant(&data.store, &text, Timestamp::from_millis(at));
            let answer = evaluation.unwrap().answer;
            for (row, series) in answer.series().enumerate() {
                let age = answer.provenance().unwrap().age(row).duration().unwrap();
                let pairs = series.labels().iter().filter(|(name, _)| *name != "__name__");
                let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let labels: Labels = pairs.collect();
                let told = at as f64 / 1000.0 - age.as_secs_f64();
                // Rows that differ by their names alone are one here.
                if answer.series().count() == contributors.len() {
                    judge(1, &labels, &contributors[&labels], told, "the engine");
                }
            }
        }
    }
    println!("{same:?} as old, {older:?} older, {unknown} unknown");
    assert!(same.iter().all(|&same| same > count), "{same:?}");
    assert!(
        older[0] * 10 < same[0] && older[1] * 20 < same[1],
        "{older:?} of {same:?}"
    );
}

fn check(
    data: &Data,
    query: &Query,
    at: i64,
    newest: Newest,
    contributors: &BTreeMap<Labels, Contributors>,
    counts: &mut Counts,
) {
    let text = query.text();
    let oldest = |of: &Contributors| *of.values().min().unwrap() as f64 / 1000.0;
    match age(&parse(&text).unwrap(), newest) {
        Age::Ageless => panic!("{text} reads samples"),
        Age::Bound(bound) => {
            let bound = data.rows(&bound.to_string(), at).unwrap();
            for (labels, of) in contributors {
                let bound = bound[&Labels::new()];
                let told = || format!("{text} at {at}, {newest:?}: {labels:?}, {bound} of {of:?}");
                match newest {
                    Newest::Subquery if bound > oldest(of) + 1e-6 => counts.unseen += 1,
                    _ => assert!(bound <= oldest(of) + 1e-6, "{}", told()),
                }
                counts.bounds += 1;
            }
        }
        Age::Exact(companion) => {
            let told = format!("{text} at {at}\n{companion}");
            let times = data
                .rows(&companion.to_string(), at)
                .unwrap_or_else(|why| panic!("{why}: {told}"));
            for (labels, of) in contributors {
                let expected = oldest(of);
                match times.get(labels) {
                    Some(got) if (got - expected).abs() < 1e-6 => {}
                    Some(got) if newest == Newest::Subquery && (-60.0..0.0).contains(&(got - expected)) => {
                        counts.near += 1;
                    }
                    _ if newest == Newest::Subquery => counts.unseen += 1,
                    got => panic!("{told}\n{labels:?}: {got:?} instead of {expected}, of {of:?}"),
                }
                counts.rows += 1;
            }
        }
    }
}

/// The evaluator tells the same of its own, but for subqueries over several series.
fn told_by_the_engine(
    data: &Data,
    query: &Query,
    at: i64,
    contributors: &BTreeMap<Labels, Contributors>,
    counts: &mut Counts,
) {
    let text = query.text();
    let evaluation = data.aged.instant(&data.store, &text, Timestamp::from_millis(at));
    let answer = evaluation.unwrap().answer;
    for (row, series) in answer.series().enumerate() {
        let provenance = answer.provenance().unwrap();
        let pairs = series.labels().iter().filter(|(name, _)| *name != "__name__");
        let labels: Labels = pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let Some(of) = contributors.get(&labels) else {
            panic!("{text} at {at}: {labels:?} {:?}", provenance.age(row));
        };
        let oldest = of.values().min().unwrap();
        let (age, expected) = (provenance.age(row), at - oldest);
        let told = || format!("{text} at {at}: {labels:?} is {age:?}, not {expected}");
        // A later sample makes it as new as its time.
        let is_smoothed = text.contains(SMOOTHED);
        let millis =
            i64::try_from(age.duration().unwrap_or_else(|| panic!("{}", told())).as_millis()).unwrap();
        match age.kind() {
            _ if is_smoothed => assert!(millis <= expected || text.contains(':'), "{}", told()),
            AgeKind::Exact => {
                assert_eq!(millis, expected, "{}", told());
                counts.rows += 1;
            }
            AgeKind::AtMost => {
                assert!(millis >= expected && text.contains(':'), "{}", told());
                counts.bounds += 1;
            }
            _ => panic!("{}", told()),
        }
    }
}

/// Whatever the expression: no row is without an age, and nothing is refused that the query is answered with.
#[test]
fn each_row_has_an_age() {
    let engine = Engine::new(EngineConfig::default());
    let mut random = Random::new(11);
    let (mut exact, mut bounds, mut ageless) = (0, 0, 0);
    for _ in 0..3 {
        let store = data::store(&data::generate(&mut random, Version::V3));
        for _ in 0..1_000 {
            let (_, query) = expression(&mut random, Version::V3);
            let at = data::START + time(&mut Choices::new(&mut random, Version::V3));
            let at = Timestamp::from_millis(at);
            let Ok(answer) = engine.instant(&store, &query, at) else {
                continue;
            };
            let companion = match age(&parse(&query).unwrap(), Newest::TsOfLast) {
                Age::Ageless => {
                    ageless += 1;
                    continue;
                }
                Age::Bound(bound) => {
                    bounds += 1;
                    // Without a name, several metrics may be selected.
                    assert!(engine.instant(&store, &bound.to_string(), at).is_ok() || query.contains('{'));
                    continue;
                }
                Age::Exact(companion) => companion.to_string(),
            };
            let times = match engine.instant(&store, &companion, at) {
                Ok(times) => times.answer,
                Err(_) if query.contains('{') => continue,
                Err(error) => panic!("{error}: {query}\n{companion}"),
            };
            let row = |labels: fleetgauge_core::label::Labels<'_>| -> Labels {
                let pairs = labels.iter().filter(|(name, _)| *name != "__name__");
                pairs
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect()
            };
            let aged: std::collections::BTreeSet<Labels> =
                times.series().map(|series| row(series.labels())).collect();
            for series in answer.answer.series() {
                let labels = row(series.labels());
                assert!(
                    aged.contains(&labels),
                    "{query} at {at:?}\n{companion}\n{labels:?}"
                );
                exact += 1;
            }
        }
    }
    println!("{exact} rows have an age, {bounds} expressions a bound, {ageless} none");
    assert!(exact > 2_000 && bounds > 50);
}

#[test]
fn a_row_tells_its_branch() {
    let mut random = Random::new(5);
    let mut counts = [0, 0];
    for _ in 0..300 {
        let data = Data::generate(&mut random);
        let (left, right) = (query(&mut random, 1), query(&mut random, 1));
        let at = 600_000 + random.below(1_500) as i64 * 1000;
        let text = format!("2 * ({} or {})", left.text(), right.text());
        // An `or` of one of them has branches of its own.
        if matches!(left, Query::Or(..)) || matches!(right, Query::Or(..)) {
            continue;
        }
        let (Ok(left), Ok(all)) = (data.rows(&left.text(), at), data.rows(&text, at)) else {
            continue;
        };
        let branches = branch(&parse(&text).unwrap()).unwrap();
        let branches = data.rows(&branches.to_string(), at).unwrap();
        for labels in all.keys() {
            let expected = if left.contains_key(labels) { 1.0 } else { 2.0 };
            assert_eq!(branches[labels], expected, "{text} at {at}: {labels:?}");
            counts[expected as usize - 1] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 200), "{counts:?}");
}

#[test]
fn who_reports_is_told_whatever_is_compared() {
    let check = |query: &str, expected: &str| {
        let query = parse(query).unwrap();
        let mut data = Data::generate(&mut Random::new(1));
        data.series.clear();
        data.store.clear();
        let marker = f64::from_bits(STALE_MARKER);
        for (pod, samples) in [
            ("busy", &[(30, 7.0), (45, 9.0), (60, 12.0)][..]),
            ("idle", &[(30, 0.0), (45, 0.0), (60, 0.0)]),
            ("ended", &[(15, 3.0), (30, 5.0), (45, marker)]),
        ] {
            // Of the last one, z goes on.
            let goes_on = [(30, 1.0), (45, 2.0), (60, 3.0)];
            for name in ["x", "y", "z"] {
                let samples = if name == "z" { &goes_on[..] } else { samples };
                let labels = LabelSet::from_pairs([("__name__", name), ("pod", pod)]);
                for &(at, value) in samples {
                    let timestamp = Timestamp::from_millis(at * 1000);
                    data.store.append(&labels, Sample { timestamp, value }).unwrap();
                }
            }
        }
        let rows = data
            .rows(&reporting(&query).unwrap().to_string(), 62_000)
            .unwrap();
        let rows = rows
            .iter()
            .map(|(labels, time)| format!("{}={time}", labels["pod"]));
        assert_eq!(rows.collect::<Vec<_>>().join(" "), expected, "{query}");
    };
    check("x", "busy=60 idle=60");
    check("x smoothed", "busy=60 idle=60");
    check("sum by (pod) (rate(x[1m] anchored)) > 0", "busy=60 idle=60");
    check("rate(x[1m] smoothed)", "busy=60 idle=60");
    check("x > 5", "busy=60 idle=60");
    check("sum by (pod) (rate(x[1m])) > 0", "busy=60 idle=60");
    check("rate(x[1m]) / (rate(y[1m]) > 0)", "busy=60 idle=60");
    check("max by (pod) (x > 8) or max by (pod) (y)", "busy=60 idle=60");
    check("max_over_time(x{pod!=\"busy\"}[1m])", "idle=60");
    // Another operand that goes on is no sign of life for a row that is not from it.
    check("rate(x[1m]) or rate(z[1m])", "busy=60 idle=60");
    check("rate(z[1m]) > 9 or rate(x[1m])", "busy=60 idle=60");
    check("rate(z[1m]) or rate(x[1m])", "busy=60 ended=60 idle=60");
    check("rate(x[1m]) > 9 or rate(z[1m])", "busy=60 ended=60 idle=60");
    check("rate(x[1m]) > 9 or rate(y[1m]) > 9", "busy=60 idle=60");
    check("rate(x[1m]) or on (pod) rate(z[1m])", "busy=60 idle=60");
}
