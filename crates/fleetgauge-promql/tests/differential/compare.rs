//! Whether two answers are the same.

use std::time::Duration;

use fleetgauge_core::histogram::{Bucket, Histogram};
use fleetgauge_core::result::{self, AnswerKind};
use fleetgauge_core::sample::SampleValue;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EvalError};
use fleetgauge_promql::queryable::Queryable;

use super::data;
use super::expr::{Expr, Kind, Level};
use super::oracle::{Answer, Value, When, key};

/// Where numbers need not be the same to the last bit.
const TOLERANCE: f64 = 1e-12;

pub(crate) fn ours(
    engine: &Engine,
    data: &dyn Queryable,
    query: &str,
    when: When,
) -> Result<Answer, EvalError> {
    let at = |millis: i64| Timestamp::from_millis(data::START + millis);
    let evaluation = match when {
        When::At(millis) => engine.instant(data, query, at(millis)),
        When::Range(start, end, step) => {
            let step = Duration::from_millis(step as u64);
            engine.range(data, query, at(start), at(end), step)
        }
    };
    let evaluation = evaluation?;
    let mut answer = read(&evaluation.answer);
    let notes = evaluation.warnings.iter().chain(&evaluation.infos);
    answer.notes.extend(notes.map(ToString::to_string));
    Ok(answer)
}

/// An answer of ours, but for what it warns of.
pub(crate) fn read(got: &result::Answer) -> Answer {
    let millis = |at: Timestamp| at.as_millis() - data::START;
    let mut answer = Answer::default();
    if let Some(text) = got.text() {
        answer.push(format!("string {text:?}"), [].into());
    }
    for series in got.series() {
        let value = |value| match value {
            SampleValue::Number(number) => Value::Number(number),
            SampleValue::Histogram(histogram) => Value::Histogram(histogram.clone()),
            other => panic!("{other:?}"),
        };
        let points = series.samples().map(|(at, one)| (millis(at), value(one)));
        let points = points.collect();
        let name = match got.kind() {
            AnswerKind::Scalar => "scalar".to_owned(),
            _ => key(series.labels().iter()),
        };
        answer.push(name, points);
    }
    answer
}

/// The first difference.
pub(crate) fn difference(
    expr: &Expr,
    theirs: &Answer,
    ours: &Answer,
    scale: impl Fn() -> f64,
) -> Option<String> {
    let level = expr.level().unwrap_or(Level::Close);
    for (labels, expected) in &theirs.series {
        let Some(got) = ours.series.get(labels) else {
            return Some(format!("we lack {labels}"));
        };
        for (at, expected) in expected {
            let Some(got) = got.get(at) else {
                return Some(format!("we lack {labels} at {at}"));
            };
            let same = match (expected, got) {
                (Value::Number(expected), Value::Number(got)) => is_same(level, *expected, *got, &scale),
                (Value::Histogram(expected), Value::Histogram(got)) => {
                    is_same_histogram(level, expected, got, &scale)
                }
                _ => false,
            };
            if !same {
                return Some(format!(
                    "{labels} at {at}: Prometheus has {expected}, we have {got}"
                ));
            }
        }
        if let Some((at, value)) = got.iter().find(|(at, _)| !expected.contains_key(at)) {
            return Some(format!(
                "{labels} at {at}: Prometheus has nothing, we have {value}"
            ));
        }
    }
    let mut more = ours
        .series
        .keys()
        .filter(|labels| !theirs.series.contains_key(*labels));
    more.next().map(|labels| format!("Prometheus lacks {labels}"))
}

/// *`scale`*: the largest number on the way.
fn is_same(level: Level, expected: f64, got: f64, scale: impl Fn() -> f64) -> bool {
    match level {
        // The sign of a zero depends on how a sum begins.
        _ if expected == got || expected.is_nan() && got.is_nan() => true,
        Level::Exact | Level::Summable => false,
        Level::Close => {
            let close = |scale: f64| (expected - got).abs() <= TOLERANCE * scale;
            // What is left of large numbers is as exact as those were.
            close(expected.abs().max(got.abs())) || close(scale())
        }
    }
}

/// Bounds are the same to the last bit, always. Where something is left of what should be nothing, a bucket is shown
/// or not; and of the empty buckets that its storage adds, Prometheus shows those that become NaN.
fn is_same_histogram(level: Level, expected: &Histogram, got: &Histogram, scale: impl Fn() -> f64) -> bool {
    let is_same = |expected, got| is_same(level, expected, got, &scale);
    let is_like = |a: &Bucket, b: &Bucket| (a.bounds, a.lower, a.upper) == (b.bounds, b.lower, b.upper);
    let has = |all: &Histogram, of: &Bucket| {
        let count = all.buckets.iter().find(|bucket| is_like(bucket, of));
        count.map_or(0.0, |bucket| bucket.count)
    };
    is_same(expected.count, got.count)
        && is_same(expected.sum, got.sum)
        && expected.buckets.iter().all(|one| {
            let own = has(got, one);
            is_same(one.count, own) || one.count.is_nan() && own == 0.0
        })
        && got
            .buckets
            .iter()
            .all(|one| is_same(has(expected, one), one.count))
}

/// Whether the series of an instant query come in the same order, where it has one.
pub(crate) fn order(expr: &Expr, theirs: &Answer, ours: &Answer) -> Option<String> {
    let by_labels = match expr {
        Expr::Call { name, args } if name.starts_with("sort_by_label") => {
            // A label that is empty has no place among the others in 3.5.
            let mut names = args.iter().filter_map(|arg| match arg {
                Expr::Text(name) => Some(format!("{name}=\"")),
                _ => None,
            });
            if !names.all(|name| theirs.order.iter().all(|labels| labels.contains(&name))) {
                return None;
            }
            true
        }
        Expr::Call {
            name: "sort" | "sort_desc",
            ..
        } => false,
        Expr::Aggregate {
            op: "topk" | "bottomk",
            ..
        } => false,
        _ => return None,
    };
    // What is equal by its value has no order.
    let values = |answer: &Answer| -> Vec<String> {
        let samples = answer
            .order
            .iter()
            .filter_map(|labels| answer.series[labels].values().next());
        samples.map(|value| (value.number() + 0.0).to_string()).collect()
    };
    let is_same = match by_labels {
        true => theirs.order == ours.order,
        false if expr.level() == Some(Level::Close) => true,
        false => values(theirs) == values(ours),
    };
    (!is_same).then(|| {
        format!(
            "Prometheus has the order {:?}, we have {:?}",
            theirs.order, ours.order
        )
    })
}

/// Whether the same is remarked on. Prometheus shows ten warnings and ten infos, whichever, and we keep fifty.
pub(crate) fn notes(theirs: &Answer, ours: &Answer) -> Option<String> {
    const KEPT: usize = 50;
    if ours.notes.len() >= KEPT {
        return None;
    }
    // Which resets it sees where it reads no buckets, depends on which samples it has passed on the way.
    let is_left_out = |note: &&String| note.contains("conflicting counter resets");
    let is_omission = |note: &&String| note.ends_with(" annotations omitted");
    let shown = theirs
        .notes
        .iter()
        .filter(|note| !is_omission(note) && !is_left_out(note));
    let mut lacking = shown.filter(|note| !ours.notes.iter().any(|own| is_same_note(note, own)));
    if let Some(note) = lacking.next() {
        return Some(format!("Prometheus says {note:?}, we say {:?}", ours.notes));
    }
    let has_all = !theirs.notes.iter().any(|note| is_omission(&note));
    // 3.5 says nothing of sorting over several steps.
    let is_later = |note: &&String| note.starts_with("PromQL warning: sort is ineffective for range queries");
    let mut more = ours
        .notes
        .iter()
        .filter(|note| !is_later(note) && !is_left_out(note));
    let more = more.find(|own| has_all && !theirs.notes.iter().any(|note| is_same_note(note, own)));
    more.map(|note| format!("we say {note:?}, Prometheus says {:?}", theirs.notes))
}

/// The same text, in which numbers that were computed may differ in their last digits.
fn is_close(theirs: &str, ours: &str) -> bool {
    let parts = |text: &str| {
        let (text, rest) = text.split_once(", got ")?;
        let (number, rest) = rest.split_once(", ").unwrap_or((rest, ""));
        Some((text.to_owned(), number.parse::<f64>().ok()?, rest.to_owned()))
    };
    let is_near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * a.abs().max(b.abs());
    let same = || {
        let ((text, number, rest), (our_text, our_number, our_rest)) = (parts(theirs)?, parts(ours)?);
        Some(text == our_text && is_near(number, our_number) && rest == our_rest)
    };
    theirs == ours || same().unwrap_or_default()
}

/// But for what 3.5 forgets: where a subquery begins, for which it has the beginning of the query; the name of
/// a histogram behind the first step, which 3.16 leaves out always; and which argument has NaNs.
fn is_same_note(theirs: &str, ours: &str) -> bool {
    let (Some((their_text, their_place)), Some((text, place))) =
        (theirs.rsplit_once(" ("), ours.rsplit_once(" ("))
    else {
        return false;
    };
    let is_misplaced = their_text.contains("has NaN observations");
    let is_forgotten = their_place == "1:1)"
        && ["might not be a counter", "histogram"]
            .iter()
            .any(|part| their_text.contains(part));
    let named = text.split_once(" for metric name ");
    let is_nameless = named.is_some_and(|(text, _)| text == their_text);
    (is_close(their_text, text) || is_nameless) && (their_place == place || is_forgotten || is_misplaced)
}

/// Whether it has a quantile of samples some of which are not finite. Up to 3.5 the sample beside the one that is meant
/// counts as well, and makes NaN of it where it is infinite; and of NaN there are distances.
pub(crate) fn is_beside_infinity(engine: &Engine, data: &dyn Queryable, expr: &Expr, when: When) -> bool {
    let is_wild = |part: &Expr| match part {
        Expr::Selector(selector) | Expr::Range { selector, .. } => selector.name == "wild",
        part => {
            part.kind() == Kind::Vector && {
                let answer = ours(engine, data, &part.print(data::START), when);
                let series = answer.into_iter().flat_map(|answer| answer.series.into_values());
                let is_infinite = |value: &Value| matches!(value, Value::Number(value) if !value.is_finite());
                series.flatten().any(|(_, value)| is_infinite(&value))
            }
        }
    };
    let mut quantiles = expr.walk().into_iter().filter(|part| match part {
        Expr::Aggregate { op, .. } => *op == "quantile",
        Expr::Call { name, .. } => ["quantile_over_time", "mad_over_time"].contains(name),
        _ => false,
    });
    quantiles.any(|quantile| quantile.walk().into_iter().skip(1).any(is_wild))
}

/// The largest number that occurs on the way to the answer.
pub(crate) fn scale(engine: &Engine, data: &dyn Queryable, expr: &Expr, when: When) -> f64 {
    let queries = expr.walk().into_iter().filter_map(|part| match part {
        // Of what is in the ranges, the numbers that they end with.
        Expr::Range { selector, .. } => Some(Expr::Selector(selector.clone()).print(data::START)),
        part if part.kind() == Kind::Vector => Some(part.print(data::START)),
        _ => None,
    });
    let answers = queries.filter_map(|query| ours(engine, data, &query, when).ok());
    let numbers = answers.flat_map(|answer| {
        let samples = answer.series.into_values().flatten();
        samples
            .flat_map(|(_, value)| match value {
                Value::Number(number) => vec![number],
                Value::Histogram(histogram) => vec![histogram.count, histogram.sum],
            })
            .collect::<Vec<_>>()
    });
    let numbers = numbers.map(f64::abs).filter(|value| value.is_finite());
    numbers.fold(0.0, f64::max)
}
