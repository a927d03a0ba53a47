//! Answers in the language of scripts, so that what came can be laid beside what was expected.

use fleetgauge_core::result::{AnswerKind, Series};
use fleetgauge_core::sample::Number;
use fleetgauge_core::time::Timestamp;

use super::command::{Eval, Expected, Grid, Pattern, Patterns, When};
use crate::engine::Evaluation;
use crate::error::EvalError;
use crate::sample::SampleValue;

/// More series than these are counted only.
const MAX_LINES: usize = 50;

/// The command as a line of a script.
pub(super) fn command(eval: &Eval) -> String {
    match eval.when {
        When::At(at) => format!("eval instant at {} {}", duration(at), eval.query),
        When::Range(grid) => format!("eval range {} {}", steps(grid), eval.query),
    }
}

/// What was expected, a line each.
pub(super) fn expected(expected: &Expected) -> Vec<String> {
    let mut lines = Vec::new();
    let patterns = |kind: &str, patterns: &Option<Patterns>, lines: &mut Vec<String>| {
        let Some(Patterns(patterns)) = patterns else {
            return;
        };
        if patterns.is_empty() {
            lines.push(format!("expect {kind}"));
        }
        lines.extend(patterns.iter().map(|pattern| match pattern {
            Pattern::Text(text) => format!("expect {kind} msg: {text}"),
            Pattern::Regex(regex) => format!("expect {kind} regex: {regex}"),
        }));
    };
    patterns("fail", &expected.fail, &mut lines);
    patterns("warn", &expected.warn, &mut lines);
    patterns("info", &expected.info, &mut lines);
    for (line, is_expected) in [
        ("expect no_warn", expected.no_warn),
        ("expect no_info", expected.no_info),
        ("expect ordered", expected.ordered),
    ] {
        if is_expected {
            lines.push(line.to_owned());
        }
    }
    lines.extend(expected.text.iter().map(|text| format!("expect string {text:?}")));
    lines.extend(expected.scalar.map(number));
    lines.extend(
        expected
            .grid
            .map(|grid| format!("expect range vector {}", steps(grid))),
    );
    let series = expected.series.iter();
    lines.extend(series.map(|series| {
        let items = series
            .values
            .iter()
            .map(|item| item.as_ref().map(|item| &item.value));
        format!("{}{}", series.labels, values(items))
    }));
    cut(lines)
}

/// What came, a line each.
pub(super) fn outcome(outcome: &Result<Evaluation, EvalError>, when: When) -> Vec<String> {
    match outcome {
        Err(error) => vec![format!("error: {error}")],
        Ok(evaluation) => {
            let warnings = evaluation
                .warnings
                .iter()
                .map(|warning| format!("expect warn msg: {}", warning.message()));
            let infos = evaluation
                .infos
                .iter()
                .map(|info| format!("expect info msg: {}", info.message()));
            warnings.chain(infos).chain(answer(evaluation, when)).collect()
        }
    }
}

fn answer(evaluation: &Evaluation, when: When) -> Vec<String> {
    let answer = &evaluation.answer;
    let values = answer.values();
    let lines = match answer.kind() {
        AnswerKind::Scalar => values.map(|one| number(one.value)).collect(),
        AnswerKind::Matrix => {
            let series = answer.series().enumerate();
            series
                .map(|(place, series)| matrix_series(evaluation, place, series, when))
                .collect()
        }
        _ => match answer.text() {
            Some(text) => vec![format!("expect string {text:?}")],
            None => values
                .enumerate()
                .map(|(place, one)| {
                    let value = evaluation.value(place, one.timestamp, one.value);
                    format!("{} {}", one.labels, shown(&value))
                })
                .collect(),
        },
    };
    cut(lines)
}

/// On the grid of the query if there is one, else each sample with its time.
fn matrix_series(evaluation: &Evaluation, place: usize, series: Series<'_>, when: When) -> String {
    let points = series.points().map(|sample| {
        let at = sample.timestamp;
        (at, evaluation.value(place, at, sample.value))
    });
    let When::Range(grid) = when else {
        let samples = points.map(|(at, value)| format!(" {}@{}", shown(&value), duration(at)));
        return format!("{}{}", series.labels(), samples.collect::<String>());
    };
    let mut on_grid = Vec::new();
    for (at, value) in points {
        if let Some(index) = grid.index(at) {
            on_grid.resize(on_grid.len().max(index), None);
            on_grid.push(Some(value));
        }
    }
    format!(
        "{}{}",
        series.labels(),
        values(on_grid.iter().map(Option::as_ref))
    )
}

fn values<'v>(values: impl Iterator<Item = Option<&'v SampleValue>>) -> String {
    values
        .map(|value| match value {
            None => " _".to_owned(),
            Some(value) => format!(" {}", shown(value)),
        })
        .collect()
}

pub(super) fn shown(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => number(*value),
        SampleValue::Histogram(histogram) => histogram.notation(),
    }
}

/// As short as says it exactly.
pub(super) fn number(value: f64) -> String {
    Number(value).to_string()
}

fn steps(grid: Grid) -> String {
    let (start, end) = (duration(grid.start), duration(grid.end));
    format!("from {start} to {end} step {}", millis(grid.step.as_millis()))
}

fn duration(at: Timestamp) -> String {
    match u128::try_from(at.as_millis()) {
        Ok(after) => millis(after),
        Err(_) => format!("-{}", millis(u128::from(at.as_millis().unsigned_abs()))),
    }
}

/// In the largest unit that needs no other.
fn millis(millis: u128) -> String {
    match millis {
        0 => "0".to_owned(),
        m if m % 60_000 == 0 => format!("{}m", m / 60_000),
        m if m % 1_000 == 0 => format!("{}s", m / 1_000),
        m => format!("{m}ms"),
    }
}

fn cut(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(format!("… and {more} more"));
    }
    lines
}
