use std::sync::atomic::{AtomicUsize, Ordering};

use fleetgauge_core::time::Clock;

use super::*;
use crate::label::LabelSet;
use crate::parse::Expr;
use crate::queryable::Selection;
use crate::store::MemoryStore;
use crate::window::{Matcher, STALE_MARKER};

mod bounds;
mod names;
mod steps;
mod times;

/// Series with a sample a minute from time 0 on, written `name{labels} 1 2 _ stale 4`.
pub(crate) struct Store {
    series: MemoryStore,
    /// How often it was asked.
    selects: AtomicUsize,
}

pub(crate) const MINUTE: i64 = 60_000;

// === impl Store ===

impl Store {
    pub(crate) fn new(lines: &str) -> Self {
        let mut series = MemoryStore::new();
        for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
            append(&mut series, line);
        }
        Self {
            series,
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

fn append(store: &mut MemoryStore, line: &str) {
    let end = line
        .find('}')
        .map_or_else(|| line.find(' ').expect("values"), |at| at + 1);
    let parsed = Expression::parse(&line[..end]).expect("a series");
    let Expr::Selector(selector) = parsed.root() else {
        panic!("{line} is no series");
    };
    let labels = LabelSet::from_pairs(selector.matchers.iter().map(|m| (m.name(), m.value())));
    for (i, value) in line[end..].split_whitespace().enumerate() {
        let value = match value {
            "_" => continue,
            "stale" => f64::from_bits(STALE_MARKER),
            number => number.parse().expect("a number"),
        };
        let sample = sample_at(i as i64 * MINUTE, value);
        store.append(&labels, sample).expect("one value a minute");
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
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        self.selects.fetch_add(1, Ordering::Relaxed);
        self.series.select(matchers, from, to)
    }
}
