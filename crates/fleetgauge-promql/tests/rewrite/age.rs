//! Companions against ages that are computed from the samples themselves.

mod model;

use std::collections::BTreeMap;

use fleetgauge_core::age::AgeKind;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::{STALE_MARKER, Sample};
use fleetgauge_syntax::parse;
use fleetgauge_syntax::rewrite::{Age, Newest, age, branch, reporting};

use super::expression;
use crate::differential::generate::{Choices, time};
use crate::differential::random::Random;
use crate::differential::version::Version;
use crate::differential::{data, number};

use model::{Contributors, Data, Labels, Query, SMOOTHED, query};

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
