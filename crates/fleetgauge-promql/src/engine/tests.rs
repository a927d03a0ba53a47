use std::sync::atomic::{AtomicUsize, Ordering};

use fleetgauge_core::time::Clock;

use super::*;
use crate::label::LabelSet;
use crate::parse::Expr;
use crate::queryable::SeriesSamples;
use crate::window::{Matcher, STALE_MARKER};

mod bounds;
mod names;
mod steps;
mod times;

/// Series with a sample a minute from time 0 on, written `name{labels} 1 2 _ stale 4`.
pub(crate) struct Store {
    series: Vec<Arc<TestSeries>>,
    /// How often it was asked.
    selects: AtomicUsize,
}

struct TestSeries {
    labels: LabelSet,
    samples: Vec<(i64, f64)>,
}

pub(crate) const MINUTE: i64 = 60_000;

// === impl Store ===

impl Store {
    pub(crate) fn new(lines: &str) -> Self {
        let mut series: Vec<_> = lines
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(series)
            .collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Self {
            series: series.into_iter().map(Arc::new).collect(),
            selects: AtomicUsize::new(0),
        }
    }

    /// The answer at `minutes`, a line a series.
    pub(crate) fn at(&self, minutes: f64, query: &str) -> String {
        let at = Timestamp::from_secs_f64(minutes * 60.0);
        shown(
            Engine::default()
                .instant(self, query, at)
                .map(|answer| answer.value),
        )
    }

    /// The answer from minute 0 on, so many steps of a minute.
    pub(crate) fn over(&self, steps: u32, query: &str) -> String {
        let start = Timestamp::from_millis(0);
        let end = Timestamp::from_millis(i64::from(steps - 1) * MINUTE);
        let answer = Engine::default().range(self, query, start, end, Duration::from_secs(60));
        shown(answer.map(|answer| answer.value))
    }

    /// Asserts the answer at minute `minutes`.
    pub(crate) fn check_at(&self, minutes: f64, query: &str, expected: &[&str]) {
        assert_eq!(self.at(minutes, query), expected.join("\n"), "{query}");
    }

    /// Asserts the answer at minute 0.
    pub(crate) fn check(&self, query: &str, expected: &[&str]) {
        self.check_at(0.0, query, expected);
    }

    /// Asserts the answer over so many minutes.
    pub(crate) fn check_over(&self, steps: u32, query: &str, expected: &[&str]) {
        assert_eq!(self.over(steps, query), expected.join("\n"), "{query}");
    }

    fn selects(&self) -> usize {
        self.selects.load(Ordering::Relaxed)
    }
}

fn series(line: &str) -> TestSeries {
    let end = line
        .find('}')
        .map_or_else(|| line.find(' ').expect("values"), |at| at + 1);
    let parsed = Expression::parse(&line[..end]).expect("a series");
    let Expr::Selector(selector) = parsed.root() else {
        panic!("{line} is no series");
    };
    let labels = LabelSet::from_pairs(selector.matchers.iter().map(|m| (m.name(), m.value())));
    let samples = line[end..]
        .split_whitespace()
        .enumerate()
        .filter_map(|(i, value)| {
            let value = match value {
                "_" => return None,
                "stale" => f64::from_bits(STALE_MARKER),
                number => number.parse().expect("a number"),
            };
            Some((i as i64 * MINUTE, value))
        });
    TestSeries {
        labels,
        samples: samples.collect(),
    }
}

fn shown(answer: Result<Value, EvalError>) -> String {
    let lines: Vec<String> = match answer {
        Err(error) => vec![format!("error: {error}")],
        Ok(Value::Scalar(sample)) => vec![sample.value.to_string()],
        Ok(Value::Text { text, .. }) => vec![format!("{text:?}")],
        Ok(Value::Vector(vector)) => vector
            .iter()
            .map(|s| format!("{} {}", s.labels, s.sample.value))
            .collect(),
        Ok(Value::Matrix(matrix)) => matrix
            .iter()
            .map(|series| {
                let samples = series.samples.iter();
                let samples = samples.map(|s| format!(" {}@{}", s.value, s.timestamp.as_secs_f64() / 60.0));
                series.labels.to_string() + &samples.collect::<String>()
            })
            .collect(),
    };
    lines.join("\n")
}

impl Queryable for Store {
    fn select(&self, matchers: &[Matcher], _: Timestamp, _: Timestamp) -> Vec<Arc<dyn SeriesSamples>> {
        self.selects.fetch_add(1, Ordering::Relaxed);
        let fits = |s: &&Arc<TestSeries>| matchers.iter().all(|m| m.matches(&s.labels));
        self.series
            .iter()
            .filter(fits)
            .map(|s| Arc::clone(s) as Arc<dyn SeriesSamples>)
            .collect()
    }
}

impl SeriesSamples for TestSeries {
    fn labels(&self) -> &LabelSet {
        &self.labels
    }

    fn read(&self, from: Timestamp, to: Timestamp, times: &mut Vec<i64>, values: &mut Vec<f64>) {
        let range = from.as_millis()..=to.as_millis();
        for &(time, value) in self.samples.iter().filter(|(time, _)| range.contains(time)) {
            times.push(time);
            values.push(value);
        }
    }

    fn at(&self, at: Timestamp, lookback: Duration) -> Option<Sample> {
        let newest = self.samples.iter().rfind(|(time, _)| *time <= at.as_millis())?;
        let from = at.as_millis() - lookback.as_millis() as i64;
        let fresh = newest.0 > from && newest.1.to_bits() != STALE_MARKER;
        fresh.then(|| sample_at(newest.0, newest.1))
    }
}
