//! Values for parameters that nobody gave: those that the source's labels have.

use std::collections::BTreeMap;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
use fleetgauge_syntax::tree::{AggregateOp, Expr, Grouping, MatchOp, Matcher, Selector};

use super::probe::{Failure, Probe};
use super::read::{aggregated, metric, named, selectors};

/// How a text begins that stands for one that is looked for. No label has such a value.
const STAND_IN: &str = "fleetgaugedoctor";

/// What a query is asked with.
pub(super) struct Filled {
    pub(super) params: Params,
    /// Those that were taken from the source, or from nowhere.
    pub(super) chosen: Vec<(String, String)>,
    /// For how many of them the source has other values, too.
    pub(super) others: usize,
    /// Those for which no value was found; their stand-ins are in `params`.
    pub(super) unknown: Vec<Unknown>,
}

/// A parameter that has no value yet.
pub(super) struct Unknown {
    pub(super) param: String,
    /// The text that stands in its place.
    pub(super) stand_in: String,
}

/// `given`, and something for each required parameter that is missing. A text stands in for what the source is to say.
pub(super) fn stand_ins(declared: &[ParamSpec], given: &Params) -> (Params, Vec<Unknown>) {
    let mut params = given.clone();
    let mut unknown = Vec::new();
    let is_missing = |spec: &&ParamSpec| spec.is_required() && given.get(spec.name()).is_none();
    for (i, spec) in declared.iter().filter(is_missing).enumerate() {
        let value = match spec.kind() {
            ParamKind::Regex => ".+".to_owned(),
            ParamKind::LabelName | ParamKind::LabelNames => "pod".to_owned(),
            ParamKind::Duration => "5m".to_owned(),
            ParamKind::Number => "1".to_owned(),
            ParamKind::Quantile => "0.9".to_owned(),
            _ => {
                // Letters, which nothing escapes.
                let stand_in = format!("{STAND_IN}{}", "x".repeat(i + 1));
                unknown.push(Unknown {
                    param: spec.name().to_owned(),
                    stand_in: stand_in.clone(),
                });
                stand_in
            }
        };
        params.insert(spec.name(), value);
    }
    (params, unknown)
}

/// The first of `unknown` that no label of `query` is compared with, so that no value can be looked up.
pub(super) fn without_label<'u>(query: &Expr, unknown: &'u [Unknown]) -> Option<&'u str> {
    let selectors = selectors(query);
    let is_compared = |one: &&Unknown| {
        let mut matchers = selectors.iter().flat_map(|selector| &selector.matchers);
        matchers.any(|matcher| matcher.name != METRIC_NAME && matcher.value == one.stand_in)
    };
    let mut unknown = unknown.iter();
    unknown.find(|one| !is_compared(one)).map(|one| &*one.param)
}

/// Takes values for what is `unknown` from the labels of the series that `query` reads.
pub(super) async fn fill(
    probe: &Probe,
    query: &Expr,
    declared: &[ParamSpec],
    (mut params, unknown): (Params, Vec<Unknown>),
) -> Result<Filled, Failure> {
    let found = look(probe, query, &unknown, &params).await?;
    let given = probe.given();
    let mut others = 0;
    let mut still = Vec::new();
    for one in unknown {
        match found.get(&*one.stand_in) {
            Some((value, more)) => {
                params.insert(&one.param, value);
                others += usize::from(*more);
            }
            None => still.push(one),
        }
    }
    let is_chosen = |spec: &&ParamSpec| {
        let is_known = still.iter().all(|one| one.param != spec.name());
        spec.is_required() && given.get(spec.name()).is_none() && is_known
    };
    let chosen = declared.iter().filter(is_chosen).filter_map(|spec| {
        let value = params.get(spec.name())?;
        Some((spec.name().to_owned(), value.to_owned()))
    });
    let chosen = chosen.collect();
    Ok(Filled {
        params,
        chosen,
        others,
        unknown: still,
    })
}

/// For each stand-in the value of its label that most series have together, and whether there are others.
async fn look(
    probe: &Probe,
    query: &Expr,
    unknown: &[Unknown],
    params: &Params,
) -> Result<BTreeMap<String, (String, bool)>, Failure> {
    let mut found: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for selector in selectors(query) {
        let wanted: Vec<(&str, &str)> = (selector.matchers.iter())
            .filter_map(|matcher| {
                let one = unknown.iter().find(|one| one.stand_in == matcher.value)?;
                let is_wanted = matcher.op.is_positive() && !found.contains_key(&one.stand_in);
                is_wanted.then_some((&*matcher.name, &*one.stand_in))
            })
            .collect();
        if wanted.is_empty() {
            continue;
        }
        // What was found must be had together.
        let mut free = Selector::new(selector.matchers.clone());
        free.matchers
            .retain(|matcher| !wanted.iter().any(|(_, stand_in)| *stand_in == matcher.value));
        for matcher in &mut free.matchers {
            if let Some((value, _)) = found.get(&matcher.value) {
                matcher.value = value.clone();
            }
        }
        let Some(name) = metric(selector) else { continue };
        let when = match probe.last_seen(name, params).await {
            Ok(Some(when)) => when,
            Ok(None) => continue,
            Err(failure) => {
                untold(failure)?;
                continue;
            }
        };
        // The values of what is given are had beside those that are wanted: those that belong to it go first.
        let is_fixed = |matcher: &&Matcher| matcher.op == MatchOp::Equal && matcher.name != METRIC_NAME;
        let fixed: Vec<&Matcher> = free.matchers.iter().filter(is_fixed).collect();
        let names = wanted.iter().map(|(label, _)| *label);
        let names = names.chain(fixed.iter().map(|matcher| &*matcher.name));
        let grouping = Grouping {
            without: false,
            labels: names.map(Into::into).collect(),
        };
        let counted = aggregated(AggregateOp::Count, grouping, when.of(&named(name)));
        let answer = match probe.ask(&counted.to_string(), params).await {
            Ok(answer) => answer,
            Err(failure) => {
                untold(failure)?;
                continue;
            }
        };
        let mut best: Option<(bool, f64, Vec<&str>)> = None;
        for row in answer.values() {
            let values: Vec<&str> = wanted
                .iter()
                .filter_map(|(label, _)| row.labels.get(label))
                .collect();
            let has = |matcher: &&Matcher| row.labels.get(&matcher.name).unwrap_or_default() == matcher.value;
            let belongs = fixed.iter().all(has);
            let is_better = |(known_belongs, count, known): &(bool, f64, Vec<&str>)| {
                let order = (belongs.cmp(known_belongs)).then(row.value.total_cmp(count));
                order.then(known.cmp(&values)).is_gt()
            };
            if values.len() == wanted.len() && best.as_ref().is_none_or(is_better) {
                best = Some((belongs, row.value, values));
            }
        }
        let Some((belongs, _, best)) = best else { continue };
        for ((label, stand_in), value) in wanted.iter().zip(best) {
            let has_others = answer.values().any(|row| {
                let has =
                    |matcher: &&Matcher| row.labels.get(&matcher.name).unwrap_or_default() == matcher.value;
                let other = row.labels.get(label).is_some_and(|other| other != value);
                other && fixed.iter().all(has) == belongs
            });
            found.insert((*stand_in).to_owned(), (value.to_owned(), has_others));
        }
    }
    Ok(found)
}

/// *Errors*: the failure, unless it is about one selector alone.
fn untold(failure: Failure) -> Result<(), Failure> {
    match &failure {
        Failure::Query(error)
            if matches!(
                error.reason(),
                "incomplete" | "rejected" | "too_large" | "unsupported"
            ) =>
        {
            Ok(())
        }
        _ => Err(failure),
    }
}
