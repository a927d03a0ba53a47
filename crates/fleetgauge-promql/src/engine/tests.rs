use std::sync::atomic::{AtomicUsize, Ordering};

use fleetgauge_core::result::AnswerKind;
use fleetgauge_core::time::Clock;

use super::*;
use crate::label::LabelSet;
use crate::matcher::Matcher;
use crate::parse::Expr;
use crate::queryable::Selection;
use crate::sample::{STALE_MARKER, Sample};
use crate::store::MemoryStore;

mod bounds;
mod histograms;
mod kinds;
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
                .map(|answer| answer.answer),
        )
    }

    /// The answer from minute 0 on, so many steps of a minute.
    pub(crate) fn over(&self, steps: u32, query: &str) -> String {
        let start = Timestamp::from_millis(0);
        let end = Timestamp::from_millis(i64::from(steps - 1) * MINUTE);
        let answer = Engine::default().range(self, query, start, end, Duration::from_secs(60));
        shown(answer.map(|answer| answer.answer))
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
        let timestamp = Timestamp::from_millis(i as i64 * MINUTE);
        let sample = Sample { timestamp, value };
        store.append(&labels, sample).expect("one value a minute");
    }
}

fn shown(answer: Result<Answer, EvalError>) -> String {
    let answer = match answer {
        Err(error) => return format!("error: {error}"),
        Ok(answer) => answer,
    };
    let lines: Vec<String> = match (answer.kind(), answer.text()) {
        (_, Some(text)) => vec![format!("{text:?}")],
        (AnswerKind::Scalar, _) => answer.values().map(|one| one.value.to_string()).collect(),
        (AnswerKind::Matrix, _) => answer
            .series()
            .map(|series| {
                let points = series.points();
                let points = points.map(|p| format!(" {}@{}", p.value, p.timestamp.as_secs_f64() / 60.0));
                series.labels().to_string() + &points.collect::<String>()
            })
            .collect(),
        _ => answer
            .values()
            .map(|one| format!("{} {}", one.labels, one.value))
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

/// It stays for as long as the lookback, as in Prometheus; who reads it is told, as of a range.
#[test]
fn what_is_smoothed_says_that_a_series_is_gone() {
    let store = Store::new("x{pod=\"a\"} 1 2 stale\nx{pod=\"b\"} 1 2 3");
    let engine = Engine::new(EngineConfig::default().with_ages(true));
    let at = Timestamp::from_millis(2 * MINUTE + 1_000);
    for query in ["x smoothed", "last_over_time(x[2m])"] {
        let answer = engine.instant(&store, query, at).expect("an answer").answer;
        let provenance = answer.provenance().expect("ages");
        let ended = [0, 1].map(|row| provenance.age(row).is_ended());
        assert_eq!(ended, [true, false], "{query}");
        assert!(provenance.ended().is_some(), "{query}");
    }
}
