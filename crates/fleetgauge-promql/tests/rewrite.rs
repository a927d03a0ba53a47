//! What is made of a query's tree, over expressions of the whole grammar: text, companions that tell ages, and parts
//! for the members of a federation.

mod age;

use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_syntax::parse;
use fleetgauge_syntax::rewrite::{Age, Newest, age, branch, distribute, reporting};

use crate::differential::compare;
use crate::differential::data;
use crate::differential::expr::Expr;
use crate::differential::generate::{self, Choices, time};
use crate::differential::oracle::{Answer, Oracle, Programs, When};
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
    let value = |answer: &Answer, labels: &String| answer.series.get(labels)?.values().next().copied();
    let is_same = |labels: &&String| match (value(theirs, labels), value(ours, labels)) {
        (Some(theirs), Some(ours)) => (theirs - ours).abs() < 1e-5 || theirs.is_nan() && ours.is_nan(),
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
        for companion in [age, reporting(&tree), branch(&tree)].into_iter().flatten() {
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
