//! Compares what came with what was expected, and says each difference in a sentence.

use fleetgauge_core::result::{Answer, AnswerKind, Series};
use fleetgauge_core::time::Timestamp;

use super::command::{Eval, Expected, ExpectedSeries, Grid, Item, Pattern, Patterns, When};
use super::show::shown;
use crate::annotation::Annotation;
use crate::engine::Evaluation;
use crate::error::EvalError;
use crate::label::LabelSet;
use crate::sample::SampleValue;

/// The differences; none if all is as expected.
pub(super) fn outcome(eval: &Eval, outcome: &Result<Evaluation, EvalError>, tolerance: f64) -> Vec<String> {
    let expected = &eval.expected;
    match (outcome, &expected.fail) {
        (Ok(_), Some(_)) => vec!["expected to fail".to_owned()],
        (Err(_), None) => vec!["failed".to_owned()],
        (Err(error), Some(fail)) => {
            // What Prometheus finds only when it evaluates has no place there.
            let unplaced = match error {
                EvalError::Parse(error) => error.message(),
                _ => "",
            };
            if fail.matches(&error.to_string()) || fail.matches(unplaced) {
                return Vec::new();
            }
            let expected = fail.0.iter();
            expected
                .map(|pattern| format!("expected to fail with {pattern}"))
                .collect()
        }
        (Ok(evaluation), None) => {
            let mut differences = match eval.when {
                When::At(_) => value(expected, evaluation, tolerance),
                When::Range(grid) => range(expected, grid, evaluation, tolerance),
            };
            let (warnings, infos) = (&evaluation.warnings, &evaluation.infos);
            notes(
                &expected.warn,
                expected.no_warn,
                warnings,
                "warning",
                &mut differences,
            );
            notes(&expected.info, expected.no_info, infos, "info", &mut differences);
            differences
        }
    }
}

/// Compares warnings or infos, with their places or without, as scripts have both. Those that nothing is said about are
/// not looked at.
fn notes(
    expected: &Option<Patterns>,
    none: bool,
    got: &[Annotation],
    kind: &str,
    differences: &mut Vec<String>,
) {
    let texts: Vec<_> = got.iter().map(ToString::to_string).collect();
    if none && !got.is_empty() {
        differences.push(format!("expected no {kind}, got {texts:?}"));
    }
    let Some(expected) = expected else { return };
    if got.is_empty() {
        let a = if kind == "info" { "an" } else { "a" };
        differences.push(format!("expected {a} {kind}, got none"));
        return;
    }
    let is_meant = |pattern: &Pattern, one: &Annotation| {
        pattern.matches(one.message()) || pattern.matches(&one.to_string())
    };
    for pattern in &expected.0 {
        if !got.iter().any(|one| is_meant(pattern, one)) {
            differences.push(format!("expected {kind} {pattern}, got {texts:?}"));
        }
    }
    let is_any = expected.0.is_empty();
    for one in got {
        if !is_any && !expected.0.iter().any(|pattern| is_meant(pattern, one)) {
            differences.push(format!("unexpected {kind} {:?}", one.to_string()));
        }
    }
}

/// Compares the answer to an instant query.
pub(super) fn value(expected: &Expected, evaluation: &Evaluation, tolerance: f64) -> Vec<String> {
    let got = &evaluation.answer;
    if let Some(text) = &expected.text {
        return match got.text() {
            Some(got) if got == text => Vec::new(),
            _ => vec![format!("expected the string {text:?}")],
        };
    }
    if let Some(grid) = expected.grid {
        return range(expected, grid, evaluation, tolerance);
    }
    let wrong = match (got.kind(), expected.scalar) {
        (AnswerKind::Scalar, Some(scalar)) if expected.series.is_empty() => {
            let got = got.values().map(|got| got.value);
            return got
                .filter_map(|got| same("the scalar", &scalar.into(), &got.into(), tolerance))
                .collect();
        }
        (AnswerKind::Vector, None) => return vector(expected, evaluation, tolerance),
        (AnswerKind::Scalar, _) => "got a scalar, which is expected as a bare number",
        (AnswerKind::Vector, Some(_)) => "expected a scalar, got a vector",
        (AnswerKind::String, _) => "got a string, which is expected with `expect string`",
        _ => "got a range vector, which is expected with `expect range vector`",
    };
    vec![wrong.to_owned()]
}

fn vector(expected: &Expected, evaluation: &Evaluation, tolerance: f64) -> Vec<String> {
    let answer = &evaluation.answer;
    let mut differences = Vec::new();
    for (place, got) in answer.values().enumerate() {
        let known = expected
            .series
            .iter()
            .position(|series| series.labels == got.labels);
        let Some(index) = known else {
            differences.push(format!("{} is not expected", got.labels));
            continue;
        };
        if expected.ordered && index != place {
            let (index, place) = (index + 1, place + 1);
            differences.push(format!(
                "{} is expected at place {index}, not {place}",
                got.labels
            ));
        }
        if let Some(Some(value)) = expected.series[index].values.first() {
            let got_value = evaluation.value(place, got.timestamp, got.value);
            differences.extend(same(&got.labels, value, &got_value, tolerance));
        } else {
            differences.push(format!("{} is expected to be absent", got.labels));
        }
    }
    let is_missing =
        |series: &&ExpectedSeries| series.values.iter().any(Option::is_some) && !has(answer, &series.labels);
    for series in expected.series.iter().filter(is_missing) {
        differences.push(format!("{} is missing", series.labels));
    }
    differences
}

/// Compares the answer to a range query, or a range vector.
fn range(expected: &Expected, grid: Grid, evaluation: &Evaluation, tolerance: f64) -> Vec<String> {
    let answer = &evaluation.answer;
    if answer.kind() != AnswerKind::Matrix {
        return vec!["expected a range vector".to_owned()];
    }
    let mut differences = Vec::new();
    for (place, got) in answer.series().enumerate() {
        let labels = got.labels();
        match expected.series.iter().find(|series| series.labels == labels) {
            Some(series) => {
                let points = points(evaluation, place, got);
                samples(series, grid, &points, tolerance, &mut differences);
            }
            None => differences.push(format!("{labels} is not expected")),
        }
    }
    for series in &expected.series {
        let has_values = series.values.iter().any(Option::is_some);
        if has_values && !has(answer, &series.labels) {
            differences.push(format!("{} is missing", series.labels));
        }
    }
    differences
}

fn has(answer: &Answer, labels: &LabelSet) -> bool {
    answer.series().any(|series| *labels == series.labels())
}

/// Compares the samples of one series.
fn samples(
    expected: &ExpectedSeries,
    grid: Grid,
    points: &[(Timestamp, SampleValue)],
    tolerance: f64,
    differences: &mut Vec<String>,
) {
    let labels = &expected.labels;
    for (index, value) in expected.values.iter().enumerate() {
        let Some(at) = grid.at(index) else {
            if value.is_some() {
                differences.push(format!(
                    "{labels} is expected to have more values than there are steps"
                ));
            }
            break;
        };
        match (value, point_at(points, at)) {
            (Some(value), Some(sample)) => {
                differences.extend(same(&At(labels, at), value, sample, tolerance));
            }
            (Some(value), None) => {
                let value = shown(&value.value);
                differences.push(format!("{}: expected {value}, got no sample", At(labels, at)));
            }
            (None, Some(sample)) => {
                let value = shown(sample);
                differences.push(format!("{}: expected no sample, got {value}", At(labels, at)));
            }
            (None, None) => {}
        }
    }
    for (time, value) in points {
        let at = At(labels, *time);
        match grid.index(*time) {
            Some(index) if index < expected.values.len() => {}
            Some(_) => differences.push(format!("{at}: expected no sample, got {}", shown(value))),
            None => differences.push(format!("{at}: a sample between the steps")),
        }
    }
}

/// The points of the answer's series `place`.
fn points(evaluation: &Evaluation, place: usize, series: Series<'_>) -> Vec<(Timestamp, SampleValue)> {
    let points = series.points().map(|point| {
        let at = point.timestamp;
        (at, evaluation.value(place, at, point.value))
    });
    points.collect()
}

fn point_at(points: &[(Timestamp, SampleValue)], at: Timestamp) -> Option<&SampleValue> {
    let place = points.binary_search_by_key(&at, |(time, _)| *time).ok()?;
    Some(&points[place].1)
}

/// Nothing if a value is close enough to the expected one.
fn same(
    what: &(impl std::fmt::Display + ?Sized),
    expected: &Item,
    got: &SampleValue,
    tolerance: f64,
) -> Option<String> {
    let is_close = match (&expected.value, got) {
        (SampleValue::Float(expected), SampleValue::Float(got)) => close(*expected, *got, tolerance),
        (SampleValue::Histogram(histogram), SampleValue::Histogram(got)) => {
            let is_as_told = !expected.tells_resets || histogram.counter_reset() == got.counter_reset();
            is_as_told && histogram.is_like(got, |expected, got| close(expected, got, tolerance))
        }
        _ => false,
    };
    (!is_close).then(|| format!("{what}: expected {}, got {}", shown(&expected.value), shown(got)))
}

/// Whether two numbers differ by no more than a part of both, as Prometheus's tests have it.
fn close(a: f64, b: f64, tolerance: f64) -> bool {
    if a == b || a.is_nan() && b.is_nan() {
        return true;
    }
    if !a.is_finite() || !b.is_finite() {
        return false;
    }
    let sum = (a.abs() + b.abs()).min(f64::MAX);
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        // So close to zero that a part of it is nothing.
        return (a - b).abs() < tolerance * f64::MIN_POSITIVE;
    }
    (a - b).abs() / sum < tolerance
}

/// A series at a time, as in `up{job="a"} at 60 s`.
struct At<'a>(&'a LabelSet, Timestamp);

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} s", self.0, self.1.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closeness_is_relative() {
        let check = |a, b, expected| {
            assert_eq!(close(a, b, 1e-9), expected, "{a} and {b}");
            assert_eq!(close(b, a, 1e-9), expected, "{b} and {a}");
        };
        check(1.0, 1.0 + 1e-10, true);
        check(1.0, 1.0 + 1e-8, false);
        check(1e300, 1e300 * (1.0 + 1e-10), true);
        check(f64::MAX, f64::MAX * (1.0 - 1e-10), true);
        check(0.0, -0.0, true);
        check(0.0, 1e-300, false);
        check(f64::NAN, f64::NAN, true);
        check(f64::NAN, 0.0, false);
        check(f64::INFINITY, f64::INFINITY, true);
        check(f64::INFINITY, f64::NEG_INFINITY, false);
        check(f64::INFINITY, f64::MAX, false);
        assert!(close(3.0, 3.0, 0.0) && !close(3.0, 3.0000000000000004, 0.0));
    }
}
