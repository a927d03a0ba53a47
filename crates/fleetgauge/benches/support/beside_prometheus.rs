//! A query of ours and the same one of a real Prometheus, in turns.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fleetgauge_core::result::Answer;
use fleetgauge_testkit::{Prometheus, http};

pub(crate) const RUNS: usize = 11;
/// Of ours, for one of Prometheus: they are shorter.
pub(crate) const RUNS_IN_TURN: usize = 3;

/// Our time and Prometheus's own, with their answers compared. The two take turns, so that both have their share of
/// what else the machine does.
pub(crate) fn measure(
    name: &str,
    ours: impl Fn() -> Answer,
    theirs: impl Fn() -> (Duration, serde_json::Value),
) -> (Duration, Duration) {
    compare(name, &ours(), &theirs().1);
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        times.1.push(theirs().0);
        for _ in 0..RUNS_IN_TURN {
            let start = Instant::now();
            std::hint::black_box(ours());
            times.0.push(start.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    (median(&mut times.0), median(&mut times.1))
}

/// Prometheus's own time, and its answer; over a range, if there is a start with a step. *Unit*: milliseconds.
pub(crate) fn ask(
    prometheus: &Prometheus,
    query: &str,
    start: Option<(i64, i64)>,
    end: i64,
) -> (Duration, serde_json::Value) {
    let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let query = http::percent_encode(query);
    let path = match start {
        None => format!("/api/v1/query?stats=all&query={query}&time={}", seconds(end)),
        Some((start, step)) => format!(
            "/api/v1/query_range?stats=all&query={query}&start={}&end={}&step={}",
            seconds(start),
            seconds(end),
            seconds(step)
        ),
    };
    let answer = http::get(prometheus.addr(), &path).expect("an answer");
    let mut answer: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer["status"], "success", "{answer}");
    let seconds = answer["data"]["stats"]["timings"]["evalTotalTime"]
        .as_f64()
        .expect("timings");
    (Duration::from_secs_f64(seconds), answer["data"]["result"].take())
}

/// Panics where the two answers are not the same but for rounding.
fn compare(name: &str, ours: &Answer, theirs: &serde_json::Value) {
    let mut rows: HashMap<Vec<(String, String)>, Vec<f64>> = HashMap::new();
    let key = |labels: &mut dyn Iterator<Item = (&str, &str)>| -> Vec<(String, String)> {
        let mut key: Vec<_> = labels.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        key.sort_unstable();
        key
    };
    for series in ours.series() {
        let values = series.points().map(|point| point.value).collect();
        rows.insert(key(&mut series.labels().iter()), values);
    }
    let theirs = theirs.as_array().expect("an array");
    assert!(!theirs.is_empty(), "{name}: no data to compare");
    assert_eq!(rows.len(), theirs.len(), "{name}: number of series");
    for row in theirs {
        let labels = row["metric"].as_object().expect("labels");
        let labels = key(&mut labels
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str().expect("text"))));
        let parse =
            |pair: &serde_json::Value| pair[1].as_str().expect("text").parse::<f64>().expect("a number");
        let values = match row.get("values") {
            Some(values) => values.as_array().expect("an array").iter().map(parse).collect(),
            None => vec![parse(&row["value"])],
        };
        let ours = rows
            .get(&labels)
            .unwrap_or_else(|| panic!("{name}: {labels:?} is missing"));
        assert_eq!(ours.len(), values.len(), "{name}: samples of {labels:?}");
        for (a, b) in ours.iter().zip(values) {
            let close = (a - b).abs() <= 1e-9 * b.abs().max(1e-9) || (a.is_nan() && b.is_nan());
            assert!(close, "{name}: {a} and {b} of {labels:?}");
        }
    }
}
