//! What is made of a query's tree, over expressions of the whole grammar: text, companions that tell ages, and parts
//! for the members of a federation.

mod age;

use fleetgauge_core::age::AgeKind;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_syntax::parse;
use fleetgauge_syntax::rewrite::{
    Age, Newest, OLDEST, TOLD, YOUNGEST, age, branch, distribute, ended, oldest, reporting,
};

use crate::differential::compare;
use crate::differential::data;
use crate::differential::expr::Expr;
use crate::differential::generate::{self, Choices, time};
use crate::differential::oracle::{self, Answer, Oracle, Programs, When};
use crate::differential::random::Random;
use crate::differential::version::Version;

/// An expression that parses, and its text.
fn expression(random: &mut Random, version: Version) -> (Expr, String) {
    loop {
        let expr = generate::expression(&mut Choices::new(random, version));
        let text = expr.print(data::START);
        let text = text.replace("holt_winters", "double_exponential_smoothing");
        if parse(&text).is_ok() {
            return (expr, text);
        }
    }
}

#[test]
fn a_printed_tree_is_read_as_the_same_tree() {
    let tree = |query: &str| parse(query).map(|tree| format!("{:?}", tree.without_places()));
    let mut random = Random::new(1);
    for _ in 0..10_000 {
        let version = random.pick(&[Version::V2, Version::V3]);
        let (_, query) = expression(&mut random, version);
        let printed = parse(&query).unwrap().to_string();
        assert_eq!(tree(&query), tree(&printed), "{query}\n{printed}");
    }
}

/// The first row that one has and the other has not, or with another value: times are to the microsecond.
fn difference(theirs: &Answer, ours: &Answer) -> Option<String> {
    let value = |answer: &Answer, labels: &String| {
        let first = answer.series.get(labels)?.values().next();
        first.map(oracle::Value::number)
    };
    let is_same = |labels: &&String| match (value(theirs, labels), value(ours, labels)) {
        (Some(theirs), Some(ours)) => {
            theirs == ours || (theirs - ours).abs() < 1e-5 || theirs.is_nan() && ours.is_nan()
        }
        _ => false,
    };
    let mut all = theirs.series.keys().chain(ours.series.keys());
    let labels = all.find(|labels| !is_same(labels))?;
    Some(format!(
        "{labels}: {:?}, we have {:?}",
        value(theirs, labels),
        value(ours, labels)
    ))
}

#[test]
fn prometheus_2_42_understands_what_is_asked_beside_a_query() {
    let engine = Engine::new(EngineConfig::default());
    let mut random = Random::new(21);
    let series = data::generate(&mut random, Version::V2);
    let (store, mut prometheus) = (data::store(&series), Oracle::start(&Programs::v2(), &series));
    // It was renamed since.
    let old = |query: &str| query.replace("double_exponential_smoothing", "holt_winters");
    let (mut answered, mut parts) = (0, 0);
    for _ in 0..1_000 {
        let (_, query) = expression(&mut random, Version::V2);
        let when = When::At(time(&mut Choices::new(&mut random, Version::V2)));
        let tree = parse(&query).unwrap();
        if compare::ours(&engine, &store, &query, when).is_err() {
            continue;
        }
        let age = match age(&tree, Newest::Subquery) {
            Age::Exact(times) | Age::Bound(times) => Some(times),
            Age::Ageless => None,
        };
        for companion in [
            age,
            reporting(&tree),
            ended(&tree, Newest::Subquery),
            branch(&tree),
        ]
        .into_iter()
        .flatten()
        {
            let companion = companion.to_string();
            let theirs = prometheus.ask(&old(&companion), when);
            let ours = compare::ours(&engine, &store, &companion, when);
            let difference = match (&theirs, &ours) {
                (Ok(theirs), Ok(ours)) => difference(theirs, ours),
                (Err(_), Err(_)) => None,
                _ => Some(format!("{theirs:?}, we have {ours:?}")),
            };
            assert_eq!(difference, None, "{query} at {when:?}\n{companion}");
            answered += usize::from(theirs.is_ok_and(|theirs| !theirs.series.is_empty()));
        }
        for part in distribute(&tree, &["job"]).map_or(Vec::new(), |plan| plan.pushed) {
            let part = old(&part.expr.to_string());
            if let Err(error) = prometheus.ask(&part, when) {
                panic!("{error}: {part} of {query}");
            }
            parts += 1;
        }
    }
    assert!(answered > 700 && parts > 700, "{answered}, {parts}");
}

/// Ages by the evaluator, which sees every sample, against what Prometheus tells of the oldest.
#[test]
fn no_row_is_older_than_the_oldest_sample_that_prometheus_tells() {
    let aged = Engine::new(EngineConfig::default().with_ages(true));
    let mut random = Random::new(31);
    let series = data::generate(&mut random, Version::V2);
    let (store, mut prometheus) = (data::store(&series), Oracle::start(&Programs::v2(), &series));
    let (mut bounded, mut exact, mut ended, mut ended_rows) = (0, 0, 0, 0);
    for _ in 0..4_000 {
        let (_, query) = expression(&mut random, Version::V2);
        let at = time(&mut Choices::new(&mut random, Version::V2));
        let Some(oldest) = oldest(&parse(&query).unwrap()) else {
            continue;
        };
        let now = Timestamp::from_millis(data::START + at);
        let Ok(evaluation) = aged.instant(&store, &query, now) else {
            continue;
        };
        let answer = evaluation.answer;
        let Some(provenance) = answer.provenance().filter(|_| !answer.is_no_data()) else {
            continue;
        };
        let text = oldest.with_youngest.to_string();
        let told = prometheus
            .ask(&text, When::At(at))
            .unwrap_or_else(|error| panic!("{error}: {text} of {query}"));
        let row = |name: &str| {
            let labels = format!("{TOLD}={name:?}");
            let mut rows = told.series.iter().filter(|(row, _)| row.contains(&labels));
            rows.next()
                .and_then(|(_, values)| values.values().next().map(oracle::Value::number))
        };
        let ages = || (0..answer.series().len()).map(|row| provenance.age(row));
        if row(OLDEST) == Some(1.0) {
            ended += 1;
            ended_rows += usize::from(ages().any(|age| age.is_ended()));
            continue;
        }
        let age = |time: f64| now.as_millis() as f64 / 1000.0 - time;
        let bound = row(OLDEST).map(age);
        let youngest = row(YOUNGEST).map(age);
        for told in ages() {
            assert!(!told.is_ended(), "{query} at {at}: {told:?}\n{text}");
            let Some(seconds) = told.duration().map(|age| age.as_secs_f64()) else {
                assert!(
                    told.kind() == AgeKind::Ageless || bound.is_none(),
                    "{query} at {at}: {told:?}"
                );
                continue;
            };
            let bound = bound.unwrap_or_else(|| panic!("{query} at {at}: {told:?}\n{text}"));
            // Samples later than the time that is asked for have no age.
            assert!(
                seconds <= bound.max(0.0) + 0.002,
                "{query} at {at}: {told:?}, {bound}\n{text}"
            );
            bounded += 1;
            if oldest.is_of_samples && youngest == Some(bound) {
                assert!(
                    (seconds - bound).abs() < 0.002,
                    "{query} at {at}: {told:?}, {bound}\n{text}"
                );
                exact += 1;
            }
        }
    }
    println!(
        "{bounded} rows have a bound, {exact} of them an age; of {ended} queries a series has ended, {ended_rows} tell it"
    );
    assert!(bounded > 5_000 && exact > 1_000 && ended > 8 && ended_rows > 8);
}
