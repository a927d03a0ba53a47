//! Answers in the language of scripts, so that what came can be laid beside what was expected.

use fleetgauge_core::result::{Answer, AnswerKind, Series};
use fleetgauge_core::sample::Number;
use fleetgauge_core::time::Timestamp;

use super::command::{Eval, Expected, Grid, Pattern, Patterns, When};
use crate::engine::Evaluation;
use crate::error::EvalError;

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
    lines.extend(series.map(|series| format!("{}{}", series.labels, values(&series.values))));
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
            warnings
                .chain(infos)
                .chain(answer(&evaluation.answer, when))
                .collect()
        }
    }
}

fn answer(answer: &Answer, when: When) -> Vec<String> {
    let values = answer.values();
    let lines = match answer.kind() {
        AnswerKind::Scalar => values.map(|one| number(one.value)).collect(),
        AnswerKind::Matrix => answer
            .series()
            .map(|series| matrix_series(series, when))
            .collect(),
        _ => match answer.text() {
            Some(text) => vec![format!("expect string {text:?}")],
            None => values
                .map(|one| format!("{} {}", one.labels, number(one.value)))
                .collect(),
        },
    };
    cut(lines)
}

/// On the grid of the query if there is one, else each sample with its time.
fn matrix_series(series: Series<'_>, when: When) -> String {
    let When::Range(grid) = when else {
        let samples = series
            .points()
            .map(|sample| format!(" {}@{}", number(sample.value), duration(sample.timestamp)));
        return format!("{}{}", series.labels(), samples.collect::<String>());
    };
    let mut on_grid = Vec::new();
    for sample in series.points() {
        if let Some(index) = grid.index(sample.timestamp) {
            on_grid.resize(on_grid.len().max(index), None);
            on_grid.push(Some(sample.value));
        }
    }
    format!("{}{}", series.labels(), values(&on_grid))
}

fn values(values: &[Option<f64>]) -> String {
    let show = |value: &Option<f64>| value.map_or_else(|| " _".to_owned(), |v| format!(" {}", number(v)));
    values.iter().map(show).collect()
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
