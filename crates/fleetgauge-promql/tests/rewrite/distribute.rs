//! A query over all series gives what its parts over each member's, and its rest over their answers, give together.

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::Sample;
use fleetgauge_promql::store::MemoryStore;
use fleetgauge_syntax::parse;
use fleetgauge_syntax::rewrite::{DistributeError, Plan, distribute};

use super::expression;
use crate::differential::data::{self, Series};
use crate::differential::expr::Expr;
use crate::differential::generate::{Choices, time};
use crate::differential::oracle::When;
use crate::differential::random::Random;
use crate::differential::version::Version;
use crate::differential::{compare, number};

/// The members are told apart by this label, which all series have and many expressions name.
const MEMBER: &str = "job";

/// The members, and the series of each, which lack the label.
fn members(series: &[Series]) -> Vec<(&'static str, MemoryStore)> {
    let of = |member: &&'static str| {
        let own = series
            .iter()
            .filter(|one| one.labels.contains(&(MEMBER, *member)));
        let mut own: Vec<Series> = own.cloned().collect();
        let labels = own.iter_mut().map(|one| &mut one.labels);
        labels.for_each(|labels| labels.retain(|(name, _)| *name != MEMBER));
        (*member, data::store(&own))
    };
    ["a", "b"].iter().map(of).collect()
}

/// What the members answer to the parts.
fn answers(
    engine: &Engine,
    plan: &Plan,
    members: &[(&'static str, MemoryStore)],
    at: Timestamp,
) -> Result<MemoryStore, String> {
    let mut union = MemoryStore::new();
    for part in &plan.pushed {
        for (member, store) in members {
            let evaluation = engine.instant(store, &part.expr.to_string(), at);
            let evaluation = evaluation.map_err(|error| format!("{} of {member}: {error}", part.expr))?;
            for series in evaluation.answer.series() {
                let labels = series.labels();
                let own = labels.iter().filter(|(name, _)| *name != "__name__");
                let more = [("__name__", &*part.name), (MEMBER, *member)];
                let labels = LabelSet::from_pairs(own.chain(more));
                for point in series.points() {
                    let (timestamp, value) = (point.timestamp, point.value);
                    let appended = union.append(&labels, Sample { timestamp, value });
                    appended.map_err(|error| format!("{}: {error}", part.expr))?;
                }
            }
        }
    }
    Ok(union)
}

/// Of series that are alike, others may be taken elsewhere.
fn has_ties(expr: &Expr) -> bool {
    let ranks = |part: &&Expr| {
        matches!(part, Expr::Aggregate { op: "topk" | "bottomk", args, .. }
        if !args[1].walk().iter().all(|part| match part {
            Expr::Selector(selector) => ["gauge", "other", "sparse"].contains(&selector.name),
            _ => true,
        }))
    };
    expr.walk().iter().any(ranks)
}

#[test]
fn members_give_together_what_one_would_give_that_had_all() {
    let engine = Engine::new(EngineConfig::default());
    let (mut compared, mut refused, mut answered, mut joined) = (0, 0, 0, 0);
    let count = number("FLEETGAUGE_DIFFERENTIAL", 4_000);
    let mut random = Random::new(number("FLEETGAUGE_DIFFERENTIAL_SEED", 7) as u64);
    for _ in 0..4 {
        let series = data::generate(&mut random, Version::V3);
        let (all, members) = (data::store(&series), members(&series));
        for _ in 0..count / 4 {
            let (expr, query) = expression(&mut random, Version::V3);
            let when = time(&mut Choices::new(&mut random, Version::V3));
            let at = Timestamp::from_millis(data::START + when);
            let when = When::At(when);
            let Ok(expected) = compare::ours(&engine, &all, &query, when) else {
                continue;
            };
            if has_ties(&expr) {
                continue;
            }
            let plan = match distribute(&parse(&query).unwrap(), &[MEMBER]) {
                Ok(plan) => plan,
                Err(error) => {
                    let is_known = match error {
                        DistributeError::Info => query.contains("info("),
                        DistributeError::Samples | DistributeError::Nested => query.contains('['),
                        _ => false,
                    };
                    assert!(is_known, "{query}: {error}");
                    refused += 1;
                    continue;
                }
            };
            let told = || {
                let parts = plan
                    .pushed
                    .iter()
                    .map(|part| format!("\n  {} = {}", part.name, part.expr));
                format!(
                    "{query} at {when:?}{}\n  {}",
                    parts.collect::<String>(),
                    plan.rest
                )
            };
            let union = match answers(&engine, &plan, &members, at) {
                // Where conditions on the member label let nothing through, the whole looks at no parameter.
                Err(why) if why.contains("invalid smoothing factor") => {
                    refused += 1;
                    continue;
                }
                union => union.unwrap_or_else(|why| panic!("{why}: {}", told())),
            };
            let rest = plan.rest.to_string();
            let got = compare::ours(&engine, &union, &rest, when);
            let got = got.unwrap_or_else(|error| panic!("{error}: {}", told()));
            let scale = || compare::scale(&engine, &all, &expr, when);
            let difference = compare::difference(&expr, &expected, &got, scale);
            assert_eq!(difference, None, "{}", told());
            compared += 1;
            answered += usize::from(!expected.series.is_empty());
            joined += usize::from(rest.contains("by (") || rest.contains("without ("));
        }
    }
    println!("{compared} compared, {answered} with rows, {joined} joined, {refused} refused");
    assert!(answered * 2 > count && joined * 20 > count && refused * 10 < compared);
}
