//! Whether rows are those that a query is made for: how old, of whom, one for each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetgauge_core::interval::short_windows;
use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::printable::Printable;
use fleetgauge_core::result::MetricResult;
use fleetgauge_syntax::rewrite::{self, COUNTED_MILLIS, SELECTOR};
use fleetgauge_syntax::tree::{Expr, ValueType};

use super::advice;
use super::finding::Severity;
use super::probe::Failure;
use super::read::{metric, names, selectors};
use super::subject::Subject;
use super::words::{count, seconds, some};

/// Labels that tell the ranks of one server apart.
const RANKS: [&str; 9] = [
    "rank",
    "dp_rank",
    "tp_rank",
    "pp_rank",
    "ep_rank",
    "moe_ep_rank",
    "engine",
    "engine_index",
    "worker_id",
];
/// Labels that differ where one server is scraped by several jobs or servers.
const SCRAPED_BY: [&str; 6] = [
    "job",
    "service",
    "endpoint",
    "container",
    "prometheus",
    "prometheus_replica",
];

/// An answer that has rows.
pub(super) struct Seen<'s> {
    pub(super) tree: &'s Expr,
    pub(super) text: &'s str,
    pub(super) result: &'s MetricResult,
    pub(super) max_age: Duration,
}

type Judged = (Severity, String, String);

/// The worst that can be said of an answer that has rows; first what is wrong, then what may be.
pub(super) async fn judge(subject: &Subject<'_>, seen: &Seen<'_>) -> Result<Judged, Failure> {
    let grouped = grouping(seen.tree);
    if let Some(judged) = unlabelled(subject, seen, &grouped).await? {
        return Ok(judged);
    }
    let unfolded = unfolded(seen);
    let aged = aged(seen);
    let is_error = |judged: &&Judged| judged.0 == Severity::Error;
    if let Some(error) = [&unfolded, &aged].into_iter().flatten().find(is_error) {
        return Ok(error.clone());
    }
    if let Some(warning) = unfolded.or(aged) {
        return Ok(warning);
    }
    if let Some(warning) = short(subject, seen).await? {
        return Ok(warning);
    }
    if let Some(warning) = lacking(seen) {
        return Ok(warning);
    }
    let mut what = count(seen.result.len());
    if let Some(age) = oldest(seen) {
        what.push_str(&format!(", at most {} old", seconds(age.as_secs_f64().ceil())));
    }
    if let Some(branches) = branches(subject, seen).await? {
        what.push_str(&format!(", {branches}"));
    }
    Ok((Severity::Ok, what, String::new()))
}

/// The labels by which the rows are told apart, where the query says it of all of them.
fn grouping(tree: &Expr) -> Vec<&str> {
    match tree {
        Expr::Once(inner) | Expr::Negate(inner) => grouping(inner),
        Expr::Aggregate(of) if !of.grouping.without => {
            of.grouping.labels.iter().map(|label| &**label).collect()
        }
        Expr::Binary(op) if op.right.value_type() == ValueType::Scalar => grouping(&op.left),
        Expr::Binary(op) if op.left.value_type() == ValueType::Scalar => grouping(&op.right),
        Expr::Binary(op) => {
            let right = grouping(&op.right);
            let mut both = grouping(&op.left);
            both.retain(|label| right.contains(label));
            both
        }
        Expr::Call(call) => {
            let vectors = call.args.iter();
            let mut vectors = vectors.filter(|arg| arg.value_type() == ValueType::InstantVector);
            vectors.next().map(grouping).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Rows without the label that says whose they are.
async fn unlabelled(
    subject: &Subject<'_>,
    seen: &Seen<'_>,
    grouped: &[&str],
) -> Result<Option<Judged>, Failure> {
    let rows = seen.result.len();
    for label in ["namespace", "pod"] {
        let is_without = |value: &fleetgauge_core::sample::MetricValue<'_>| {
            value.labels.get(label).is_none_or(str::is_empty)
        };
        let without = seen.result.values().filter(is_without).count();
        if without == 0 || !grouped.contains(&label) {
            continue;
        }
        let metric = selectors(seen.tree).into_iter().find_map(metric);
        let mut has = BTreeSet::new();
        let mut what = format!("{without} of {rows} rows lack the label {label}, by which the query groups");
        if let Some(metric) = metric {
            let one = subject
                .ask(&format!("topk(1, {{__name__=\"{metric}\", {label}=\"\"}})"))
                .await?;
            let labels: Vec<_> = (one.values())
                .flat_map(|row| row.labels.iter().map(|(name, _)| name.to_owned()))
                .collect();
            has.extend(labels);
            has.remove(METRIC_NAME);
            what.push_str(": pods may be counted as one");
        }
        let has: BTreeSet<&str> = has.iter().map(|label| &**label).collect();
        return Ok(Some((Severity::Error, what, advice::absent_label(label, &has))));
    }
    Ok(None)
}

/// Several rows of one pod.
fn unfolded(seen: &Seen<'_>) -> Option<Judged> {
    if !grouping(seen.tree).is_empty() {
        return None;
    }
    let mut of_pods: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
    for row in seen.result.values() {
        let of = |label| row.labels.get(label).unwrap_or_default();
        let whose = match of("pod") {
            "" => of("instance"),
            pod => pod,
        };
        if !whose.is_empty() {
            let same = of_pods.entry((of("namespace"), whose)).or_default();
            same.push(row.labels);
        }
    }
    let mut differing: BTreeSet<&str> = BTreeSet::new();
    let mut example = None;
    for ((_, pod), rows) in &of_pods {
        let [first, others @ ..] = &**rows else { continue };
        if others.is_empty() {
            continue;
        }
        example.get_or_insert((*pod, rows.len()));
        for other in others {
            let names = first.iter().chain(other.iter()).map(|(name, _)| name);
            differing.extend(names.filter(|name| first.get(name) != other.get(name)));
        }
    }
    let (pod, rows) = example?;
    let ranks: BTreeSet<&str> = (differing.iter().copied())
        .filter(|label| RANKS.contains(label))
        .collect();
    let pod = Printable(pod);
    let labels = if ranks.is_empty() { &differing } else { &ranks };
    let what = format!("{rows} rows for {pod}, which differ by {}", some(labels));
    if !ranks.is_empty() {
        let what = format!("{what}: ranks that the query does not fold");
        return Some((Severity::Error, what, advice::fold(seen.text, &ranks)));
    }
    let by_scraping = differing
        .iter()
        .all(|label| SCRAPED_BY.contains(label) || *label == "instance");
    let advice = match by_scraping {
        true => format!(
            "it is scraped more than once: drop one of the jobs, or take each server once:\n\
             max by (namespace, pod, instance) ({})",
            seen.text.trim()
        ),
        false => advice::fold(seen.text, &differing),
    };
    Some((Severity::Warning, what, advice))
}

/// Rows that are too old.
fn aged(seen: &Seen<'_>) -> Option<Judged> {
    let rows = seen.result.len();
    let ages = (0..rows).map(|row| seen.result.age(row));
    let is_old = |age: &fleetgauge_core::age::Age| {
        age.is_ended() || age.duration().is_some_and(|age| age > seen.max_age)
    };
    let old: Vec<_> = ages.filter(is_old).collect();
    if old.is_empty() {
        return None;
    }
    let ended = old.iter().filter(|age| age.is_ended()).count();
    let longest = old.iter().filter_map(|age| age.duration()).max();
    let mut what = format!("{} of {rows} rows are too old", old.len());
    if let Some(longest) = longest {
        what.push_str(&format!(": up to {}", seconds(longest.as_secs_f64())));
    }
    if ended > 0 {
        what.push_str(&format!("; the series of {ended} of them have ended"));
    }
    let severity = match old.len() == rows {
        true => Severity::Error,
        false => Severity::Warning,
    };
    Some((severity, what, advice::OLD_SAMPLES.to_owned()))
}

/// Windows that are too short for how far samples are apart.
async fn short(subject: &Subject<'_>, seen: &Seen<'_>) -> Result<Option<Judged>, Failure> {
    let has_ranges = seen.tree.walk().iter().any(|part| matches!(part, Expr::Range(_)));
    let Some(counts) = rewrite::sample_counts(seen.tree).filter(|_| has_ranges) else {
        return Ok(None);
    };
    let counted = match subject.ask(&counts.expr.to_string()).await {
        Ok(counted) => counted,
        Err(failure @ Failure::Bound(_)) => return Err(failure),
        // Then it is not known.
        Err(Failure::Query(_)) => return Ok(None),
    };
    let interval = |selector: &fleetgauge_syntax::tree::Selector| {
        let index = counts
            .selectors
            .iter()
            .position(|known| known.is_same(selector))?;
        let index = index.to_string();
        let row = counted
            .values()
            .find(|row| row.labels.get(SELECTOR) == Some(&*index))?;
        let millis = COUNTED_MILLIS as f64 / row.value;
        (row.value >= 1.0).then(|| Duration::from_millis(millis as u64))
    };
    let short = short_windows(seen.tree, interval);
    Ok(short.first().map(|first| {
        let what = match short.len() {
            1 => first.to_string(),
            n => format!("{first}; so have {} more", n - 1),
        };
        (Severity::Warning, what, advice::WIDER_WINDOW.to_owned())
    }))
}

/// What the answer itself says is missing, and values that are none.
fn lacking(seen: &Seen<'_>) -> Option<Judged> {
    let rows = seen.result.len();
    let undefined = seen.result.values().filter(|value| value.is_undefined()).count();
    if !seen.result.is_complete() {
        let said: Vec<_> = seen
            .result
            .warnings()
            .take(3)
            .map(|said| Printable(said).to_string())
            .collect();
        let what = format!(
            "{}, and the answer is not complete: {}",
            count(rows),
            said.join("; ")
        );
        let answer = seen.result.answer();
        let is_young = answer
            .completeness()
            .is_some_and(|known| known.short() == known.missing().count());
        let advice = match is_young && !answer.has_uncounted_loss() {
            true => {
                "nothing is broken: what is kept does not reach as far back as the query looks. A daemon that has run for so \
                 long answers it whole"
            }
            false => "mend what is named as missing: until then the numbers may be too small",
        };
        return Some((Severity::Warning, what, advice.to_owned()));
    }
    if undefined > 0 {
        let what =
            format!("{undefined} of {rows} rows are NaN or infinite, as a quotient of an idle server is");
        let advice = "let the query drop them: `> 0` behind a divisor, `>= 0` behind a quantile";
        return Some((Severity::Warning, what, advice.to_owned()));
    }
    let mut warnings = seen.result.warnings();
    let first = warnings.next()?;
    let what = format!("{}, with a warning: {}", count(rows), Printable(first));
    Some((Severity::Warning, what, String::new()))
}

fn oldest(seen: &Seen<'_>) -> Option<Duration> {
    let ages = (0..seen.result.len()).map(|row| seen.result.age(row).duration());
    ages.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Which operands of an `or` answer.
async fn branches(subject: &Subject<'_>, seen: &Seen<'_>) -> Result<Option<String>, Failure> {
    let operands = rewrite::operands(seen.tree);
    let Some(companion) = rewrite::branch(seen.tree).filter(|_| !operands.is_empty()) else {
        return Ok(None);
    };
    let provenance = seen.result.answer().provenance();
    let told = |row| provenance.and_then(|provenance| provenance.branch(row));
    let told: Option<Vec<u16>> = (0..seen.result.len()).map(told).collect();
    let mut numbers: BTreeSet<usize> = BTreeSet::new();
    match told {
        // Told from 0 on; the companion numbers them from 1.
        Some(told) => numbers.extend(told.into_iter().map(|branch| usize::from(branch) + 1)),
        None => match subject.ask(&companion.to_string()).await {
            Ok(answer) => numbers.extend(answer.values().map(|row| row.value as usize)),
            Err(failure @ Failure::Bound(_)) => return Err(failure),
            Err(Failure::Query(_)) => return Ok(None),
        },
    }
    let answering: Vec<String> = (numbers.iter())
        .filter_map(|number| operands.get(number.checked_sub(1)?))
        .map(names)
        .collect();
    Ok((!answering.is_empty()).then(|| format!("answered by {}", answering.join("; "))))
}
