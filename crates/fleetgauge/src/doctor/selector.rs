//! Why a selector selects nothing: it is taken apart, metric, labels, values, times.

use std::collections::BTreeSet;
use std::time::Duration;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::result::MetricResult;
use fleetgauge_syntax::Function;
use fleetgauge_syntax::similar::similar;
use fleetgauge_syntax::tree::{
    AggregateOp, Expr, Grouping, MatchOp, Matcher, RangeSelector, Selector, Shift,
};

use super::advice;
use super::finding::{Rank, Reason};
use super::probe::Failure;
use super::read::{When, aggregated, metric, named, over, prefix};
use super::subject::Subject;
use super::words::{seconds, some};

/// How far back [`When::Past`] looks, as it is written.
const PAST: &str = "1h";

/// The first reason that `selector` has no series now, or within `range`.
pub(super) async fn why(
    subject: &Subject<'_>,
    selector: &Selector,
    range: Option<i64>,
) -> Result<Reason, Failure> {
    let Some(name) = metric(selector) else {
        let text = Expr::Selector(selector.clone());
        let what = format!("there is no series {text}");
        let advice = "name the metric in the selector: then it is told which label is missing";
        return Ok(Reason::new(Rank::Metric, what, advice));
    };
    // An empty value is that of a label which is absent.
    let required: Vec<&Matcher> = (selector.matchers.iter())
        .filter(|matcher| {
            matcher.name != METRIC_NAME && matcher.op.is_positive() && !matcher.value.is_empty()
        })
        .filter(|matcher| !(matcher.op.is_regex() && matcher.value == ".*"))
        .collect();
    let all = named(name);
    let labels = || required.iter().map(|matcher| &*matcher.name);
    let Some(when) = subject.last_seen(name).await? else {
        return unknown_metric(subject, name).await;
    };
    let seen = groups(subject, &all, labels(), when).await?;
    for matcher in &required {
        let has = |row: fleetgauge_core::sample::MetricValue<'_>| {
            row.labels
                .get(&matcher.name)
                .is_some_and(|value| !value.is_empty())
        };
        if !seen.values().any(has) {
            return absent_label(subject, name, &matcher.name, when).await;
        }
    }
    for matcher in &required {
        let values: BTreeSet<&str> = (seen.values())
            .filter_map(|row| row.labels.get(&matcher.name))
            .filter(|value| !value.is_empty())
            .collect();
        let is_there = match matcher.op {
            MatchOp::Equal => values.contains(&*matcher.value),
            // The source knows what a regular expression matches.
            _ => {
                let mut one = named(name);
                one.matchers.push((*matcher).clone());
                !groups(subject, &one, [].into_iter(), when).await?.is_no_data()
            }
        };
        if !is_there {
            return Ok(unknown_value(subject, name, matcher, &values));
        }
    }
    let mut of_now = selector.clone();
    of_now.shift = Shift::default();
    if when == When::Now
        && !groups(subject, &of_now, [].into_iter(), When::Now)
            .await?
            .is_no_data()
    {
        return Ok(few_samples(subject, &of_now, range).await?.unwrap_or_else(|| {
            let what = format!(
                "{} has series now, and none of the time that is asked for",
                Expr::Selector(of_now.clone())
            );
            Reason::new(
                Rank::Window,
                what,
                "look at the offset or @ of the selector, and ask again when there has been data for as long",
            )
        }));
    }
    if !groups(subject, &of_now, [].into_iter(), When::Past)
        .await?
        .is_no_data()
    {
        return too_old(subject, &of_now, range).await;
    }
    let conditions: Vec<String> = (selector.matchers.iter())
        .filter(|matcher| matcher.name != METRIC_NAME)
        .map(|matcher| {
            format!(
                "{}{}{}",
                matcher.name,
                matcher.op.as_str(),
                Excerpt(&matcher.value)
            )
        })
        .collect();
    let what = format!(
        "each label of {name} is there, but no series has all of {}",
        conditions.join(", ")
    );
    let advice = match example(&seen) {
        Some(example) => format!("use values that belong together, as {example}"),
        None => "use values that belong together".to_owned(),
    };
    Ok(Reason::new(Rank::Value, what, advice))
}

/// Whether `selector`, which has series, has too few samples within `range`.
async fn few_samples(
    subject: &Subject<'_>,
    selector: &Selector,
    range: Option<i64>,
) -> Result<Option<Reason>, Failure> {
    let Some(range) = range else { return Ok(None) };
    let counted = over(Function::CountOverTime, selector, range);
    let most = aggregated(AggregateOp::Max, Grouping::default(), counted);
    let answer = subject.ask(&most.to_string()).await?;
    let most = answer.values().next().map_or(0.0, |row| row.value);
    if most >= 2.0 {
        return Ok(None);
    }
    let text = Expr::Range(RangeSelector {
        selector: selector.clone(),
        range,
    });
    let what = match most {
        1.0 => format!("{text} holds one sample of each series, and a rate needs two"),
        _ => format!("{text} holds no sample, although there are newer and older ones"),
    };
    Ok(Some(Reason::new(Rank::Window, what, advice::WIDER_WINDOW)))
}

async fn too_old(subject: &Subject<'_>, selector: &Selector, range: Option<i64>) -> Result<Reason, Failure> {
    let text = Expr::Selector(selector.clone());
    let newest = format!("time() - max(max_over_time(timestamp({text})[{PAST}:30s]))");
    let answer = subject.ask(&newest).await?;
    let age = answer.values().next().map(|row| row.value);
    let age = age.filter(|age| age.is_finite() && *age >= 0.0);
    let age = age.map_or_else(
        || "of an unknown age".to_owned(),
        |age| format!("{} old", seconds(age)),
    );
    let within = match range {
        Some(range) => format!("the window is {:?}", Duration::from_millis(range.unsigned_abs())),
        None => "a server looks back 5 minutes".to_owned(),
    };
    let what = format!("the newest sample of {text} is {age}, and {within}");
    Ok(Reason::new(Rank::Age, what, advice::OLD_SAMPLES))
}

async fn unknown_metric(subject: &Subject<'_>, name: &str) -> Result<Reason, Failure> {
    let what = format!("there is no metric {name}");
    let others: Vec<_> = subject.renames.of(name).collect();
    for other in others {
        if subject.last_seen(other.name).await? == Some(When::Now) {
            let age = if other.is_newer { "newer" } else { "older" };
            let advice = format!(
                "the servers here have {}, its name in {age} versions: ask for both, {}",
                other.name,
                match other.is_newer {
                    true => format!("{} or {name}", other.name),
                    false => format!("{name} or {}", other.name),
                }
            );
            return Ok(Reason::new(Rank::Metric, what, advice).with_hint());
        }
    }
    let prefix = prefix(name);
    let pattern = Matcher {
        name: METRIC_NAME.to_owned(),
        op: MatchOp::Regex,
        // What a name can have needs no escape in a regular expression.
        value: format!("{prefix}.*"),
        place: 0,
    };
    let of_engine = Selector::new(vec![pattern]);
    let names = match groups(subject, &of_engine, [METRIC_NAME].into_iter(), When::Now).await {
        Ok(names) => names,
        Err(failure @ Failure::Bound(_)) => return Err(failure),
        Err(Failure::Query(_)) => {
            let advice = "which other names there are, the source does not tell";
            return Ok(Reason::new(Rank::Metric, what, advice));
        }
    };
    let names: BTreeSet<&str> = names
        .values()
        .filter_map(|row| row.labels.metric_name())
        .collect();
    if let Some(advice) = of_other_kind(subject, name, &names).await? {
        return Ok(Reason::new(Rank::Metric, what, advice).with_hint());
    }
    if subject.renames.is_known(name) && !names.is_empty() {
        return Ok(Reason::new(Rank::Metric, what, advice::not_shown(prefix, &names)));
    }
    if let Some(meant) = similar(name, names.iter().copied()) {
        let advice = format!("did you mean {meant}?");
        return Ok(Reason::new(Rank::Metric, what, advice).with_hint());
    }
    let advice = match names.len() {
        0 => advice::not_scraped(prefix),
        _ => format!(
            "no metric that begins with {prefix} has a name like it; there are: {}",
            some(&names)
        ),
    };
    Ok(Reason::new(Rank::Metric, what, advice))
}

/// What to do where `name` is a part of a classic histogram that is there as a native one, or the other way round. `names` are
/// those of the metrics that are there.
async fn of_other_kind(
    subject: &Subject<'_>,
    name: &str,
    names: &BTreeSet<&str>,
) -> Result<Option<String>, Failure> {
    let bucket = format!("{name}_bucket");
    if names.contains(&*bucket) {
        return Ok(Some(advice::classic(&bucket)));
    }
    for (part, instead) in advice::OF_NATIVE {
        let Some(histogram) = name
            .strip_suffix(part)
            .filter(|histogram| names.contains(histogram))
        else {
            continue;
        };
        let count = format!("count(histogram_count({}))", Expr::Selector(named(histogram)));
        return match subject.ask(&count).await {
            Ok(answer) if answer.is_no_data() => Ok(None),
            Ok(_) => Ok(Some(advice::native(histogram, instead))),
            Err(failure @ Failure::Bound(_)) => Err(failure),
            // A server that knows no native histograms has none.
            Err(Failure::Query(_)) => Ok(None),
        };
    }
    Ok(None)
}

async fn absent_label(subject: &Subject<'_>, name: &str, label: &str, when: When) -> Result<Reason, Failure> {
    let all = Expr::Selector(named(name));
    let one = match when {
        When::Now => format!("topk(1, {all})"),
        When::Past => format!("topk(1, last_over_time({all}[{PAST}]))"),
    };
    let answer = subject.ask(&one).await?;
    let has: BTreeSet<&str> = (answer.values())
        .flat_map(|row| row.labels.iter().map(|(label, _)| label))
        .filter(|label| *label != METRIC_NAME)
        .collect();
    let what = format!("{name} is there, but none of its series has the label {label}");
    Ok(Reason::new(Rank::Label, what, advice::absent_label(label, &has)))
}

fn unknown_value(subject: &Subject<'_>, name: &str, matcher: &Matcher, values: &BTreeSet<&str>) -> Reason {
    let label = &matcher.name;
    let there = format!(
        "there {} {}",
        if values.len() == 1 { "is" } else { "are" },
        some(values)
    );
    if let Some(param) = subject.stands_for(&matcher.value) {
        let what = format!("no value was found for the parameter {param}, which selects {label} of {name}");
        return Reason::new(
            Rank::Value,
            what,
            format!("give it with -p {param}=VALUE; {there}"),
        );
    }
    let value = Excerpt(&matcher.value);
    let op = matcher.op.as_str();
    let what = format!("{name} has the label {label}, but never {label}{op}{value}");
    let advice = match similar(&matcher.value, values.iter().copied()) {
        Some(meant) if !matcher.op.is_regex() => format!("did you mean {}? {there}", Excerpt(meant)),
        _ => there,
    };
    Reason::new(Rank::Value, what, advice)
}

/// The values that `labels` have together.
async fn groups<'l>(
    subject: &Subject<'_>,
    selector: &Selector,
    labels: impl Iterator<Item = &'l str>,
    when: When,
) -> Result<std::sync::Arc<MetricResult>, Failure> {
    let grouping = Grouping {
        without: false,
        labels: labels.map(Into::into).collect(),
    };
    let text = aggregated(AggregateOp::Group, grouping, when.of(selector)).to_string();
    subject.ask(&text).await
}

/// The labels of a row, as conditions.
fn example(seen: &MetricResult) -> Option<String> {
    let row = seen.values().next()?;
    let pairs = row.labels.iter();
    let pairs = pairs.map(|(name, value)| format!("{name}={}", Excerpt(value)));
    Some(pairs.collect::<Vec<_>>().join(", "))
}
