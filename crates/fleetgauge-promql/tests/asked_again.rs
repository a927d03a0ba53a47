//! An answer is the same whether a query is asked for the first time or again, and whatever was asked before: what a window
//! keeps of labels changes nothing. Nor does it when a series comes.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig, EvalError, Evaluation};
use fleetgauge_promql::histogram::FloatHistogram;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::matcher::{MatchOp, Matcher};
use fleetgauge_promql::queryable::Queryable;
use fleetgauge_promql::sample::{Sample, SampleValue, Samples};
use fleetgauge_promql::store::MemoryStore;
use fleetgauge_promql::window::{ExposedLabels, Window, WindowConfig};

use crate::differential::data;
use crate::differential::random::Random;
use crate::threads::{ask, query, store, told};

const COPIES: usize = 70;

/// All samples of the store, with their times.
fn append(window: &Window, store: &MemoryStore) {
    let (start, end) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
    let any = Matcher::new("__name__", MatchOp::NotEqual, "").unwrap();
    let series = store.select(&[any], start, end);
    let mut pages: BTreeMap<i64, Vec<(LabelSet, SampleValue)>> = BTreeMap::new();
    for index in 0..series.len() {
        let mut samples = Samples::default();
        series.read(index, start, end, &mut samples);
        for (place, &at) in samples.times().iter().enumerate() {
            pages
                .entry(at)
                .or_default()
                .push((series.labels(index), samples.value(place)));
        }
    }
    let mut target = window.appender([("", ""); 0]);
    for (at, samples) in pages {
        let at = Timestamp::from_millis(at);
        let mut page = target.scrape(at);
        for (labels, value) in samples {
            let text = labels.to_string();
            let write = |add: &mut ExposedLabels| {
                labels.iter().for_each(|(name, value)| add.label(name, value));
            };
            let added = match value {
                SampleValue::Float(value) => page.append(&text, value, Some(at), write),
                SampleValue::Histogram(histogram) => {
                    let histogram = FloatHistogram::clone(&histogram);
                    page.append_histogram(&text, histogram, Some(at), write)
                }
            };
            added.unwrap();
        }
        page.commit();
    }
}

/// The series with the bits of their values, the warnings and the infos; a window says more of what it lacks.
fn said(evaluation: &Result<Evaluation, EvalError>) -> String {
    let told = told(evaluation);
    match (evaluation, told.split_once('\n')) {
        (Ok(Evaluation { warnings, infos, .. }), Some((_, series))) => {
            format!("{warnings:?} {infos:?}\n{series}")
        }
        _ => told,
    }
}

#[test]
fn an_answer_does_not_depend_on_what_was_asked_before() {
    let mut random = Random::new(33);
    let config = WindowConfig::default().with_retention(Duration::from_secs(1_000_000));
    let window = Window::new(config);
    let mut store = store(&mut random, COPIES);
    append(&window, &store);
    let engine = Engine::new(
        EngineConfig::default()
            .with_histograms(true)
            .with_timeout(Duration::from_secs(600)),
    );
    let mut answered = 0;
    for round in 0..2 {
        let queries: Vec<_> = (0..25).map(|_| query(&mut random)).collect();
        // Of each query what a store says, which keeps nothing; then twice what the window says.
        let expected: Vec<_> = queries
            .iter()
            .map(|(query, when)| ask(&engine, &store, query, *when))
            .collect();
        answered += expected.iter().filter(|answer| answer.is_ok()).count();
        for time in ["first", "second"] {
            for ((query, when), expected) in queries.iter().zip(&expected) {
                let found = said(&ask(&engine, &window, query, *when));
                assert_eq!(said(expected), found, "{query} at {when:?} for the {time} time");
            }
        }
        // One more of a metric that has many, and of a name that is new.
        let mut more = MemoryStore::new();
        for name in ["rough", "newcomer"] {
            let labels =
                LabelSet::from_pairs([("__name__", name.to_owned()), ("copy", format!("new {round}"))]);
            for at in [data::START + 60_000, data::START + 120_000] {
                let sample = Sample {
                    timestamp: Timestamp::from_millis(at),
                    value: 5.0,
                };
                more.append(&labels, sample).unwrap();
                store.append(&labels, sample).unwrap();
            }
        }
        append(&window, &more);
    }
    assert!(answered > 25, "{answered}");
}
