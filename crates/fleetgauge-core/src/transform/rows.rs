//! Steps that look at each row by itself.

use super::step::{LabelChange, TransformError};
use crate::age::Age;
use crate::label::{LabelError, Labels};
use crate::result::{Answer, AnswerBuilder, AnswerKind, Series};
use crate::time::Timestamp;

/// How many rows a warning names.
pub(super) const NAMED: usize = 5;

/// The number in `label` in the place of each value.
pub(super) fn label_to_value(answer: Answer, label: &str) -> Result<Answer, TransformError> {
    let mut bad = Vec::new();
    let mut count = 0;
    let mut builder = begun(&answer);
    let ages = ages(&answer);
    for (row, series) in answer.series().enumerate() {
        let text = series.labels().get(label);
        let number = text.and_then(number);
        if number.is_none() {
            count += 1;
            if bad.len() < NAMED {
                let found = text.map_or("absent".to_owned(), |text| format!("{text:.50?}"));
                bad.push(format!("{} ({found})", series.labels()));
            }
        }
        let number = number.unwrap_or(f64::NAN);
        push(&mut builder, &answer, series, series.labels().iter(), |_| number)?;
        if let Some(ages) = &ages {
            builder.age(ages[row]);
        }
    }
    if count > 0 {
        builder.warning(&format!(
            "label_to_value: the label {label} is no number in {count} rows, which are undefined: {}",
            listed(&bad, count)
        ));
    }
    Ok(answer.with_rows(builder.build()))
}

/// A number as it stands in a label: decimal, and nothing around it.
fn number(text: &str) -> Option<f64> {
    let starts = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let read = text.parse::<f64>().ok()?;
    (starts && is_plain && read.is_finite()).then_some(read)
}

/// The same rows with other labels.
pub(super) fn change_labels(answer: Answer, change: &LabelChange) -> Result<Answer, TransformError> {
    let mut builder = begun(&answer);
    let ages = ages(&answer);
    for (row, series) in answer.series().enumerate() {
        let labels = changed(series.labels(), change);
        push(&mut builder, &answer, series, labels.into_iter(), |value| value)?;
        if let Some(ages) = &ages {
            builder.age(ages[row]);
        }
    }
    let changed = answer.with_rows(builder.build());
    match changed.duplicate_series() {
        None => Ok(changed),
        Some(labels) => Err(TransformError::SameRows {
            step: "labels",
            labels: labels.to_string(),
        }),
    }
}

fn changed<'a>(labels: Labels<'a>, change: &'a LabelChange) -> Vec<(&'a str, &'a str)> {
    let is_in = |names: &[String], name: &str| names.iter().any(|one| one == name);
    match change {
        LabelChange::Keep(names) => labels.iter().filter(|(name, _)| is_in(names, name)).collect(),
        LabelChange::Drop(names) => labels.iter().filter(|(name, _)| !is_in(names, name)).collect(),
        LabelChange::Rename(names) => {
            let renamed = |name: &'a str| {
                let found = names.iter().find(|(from, _)| from == name);
                found.map_or(name, |(_, to)| to.as_str())
            };
            labels
                .iter()
                .map(|(name, value)| (renamed(name), value))
                .collect()
        }
    }
}

/// A builder for an answer of the same kind.
pub(super) fn begun(answer: &Answer) -> AnswerBuilder {
    let mut builder = AnswerBuilder::new(answer.stamp());
    builder.reserve(answer.series().len(), 1);
    if answer.kind() == AnswerKind::Matrix {
        builder.matrix();
    }
    builder
}

/// Adds a row like `series`, with other labels and values.
fn push<'a>(
    builder: &mut AnswerBuilder,
    answer: &Answer,
    series: Series<'_>,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    value: impl Fn(f64) -> f64,
) -> Result<(), TransformError> {
    labels.for_each(|(name, value)| builder.label(name, value));
    push_points(
        builder,
        answer,
        series.points().map(|point| (value(point.value), point.timestamp)),
    )
    .map_err(refused)
}

/// Ends the row whose labels were added.
pub(super) fn push_points(
    builder: &mut AnswerBuilder,
    answer: &Answer,
    mut points: impl Iterator<Item = (f64, Timestamp)>,
) -> Result<(), LabelError> {
    if answer.kind() == AnswerKind::Matrix {
        points.for_each(|(value, time)| builder.point(value, time));
        return builder.end_points();
    }
    match points.next() {
        Some((value, time)) => builder.end_series(value, time),
        None => Ok(()),
    }
}

fn refused(error: LabelError) -> TransformError {
    TransformError::Label {
        why: error.to_string(),
    }
}

/// Some of `count`, and how many more there are.
pub(super) fn listed(some: &[String], count: usize) -> String {
    let text = some.join(", ");
    match count - some.len() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// The age of each row of `answer`, where one is known.
pub(super) fn ages(answer: &Answer) -> Option<Vec<Age>> {
    let told = answer.provenance().filter(|told| told.has_ages())?;
    Some((0..answer.series().len()).map(|row| told.age(row)).collect())
}
