//! Answers from text, and as text.

use fleetgauge::result::{Answer, AnswerBuilder, AnswerKind};
use fleetgauge::sample::Stamp;
use fleetgauge::time::Timestamp;

/// Rows `label=value,… NUMBER`, all of one time; the label `name` is the metric's name.
pub(crate) fn vector(stamp: Stamp, at: Timestamp, rows: &[&str]) -> Answer {
    let mut answer = AnswerBuilder::new(stamp);
    for row in rows {
        let (labels, value) = row.rsplit_once(' ').unwrap_or(("", row));
        answer.series(pairs(labels), value.parse().unwrap(), at).unwrap();
    }
    answer.build()
}

/// Labels `label=value,…`.
pub(crate) fn pairs(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (if name == "name" { "__name__" } else { name }, value))
}

/// The series, a line each, with the times of a matrix relative to `zero` in seconds.
pub(crate) fn shown(answer: &Answer, zero: Timestamp) -> Vec<String> {
    let is_matrix = answer.kind() == AnswerKind::Matrix;
    let series = answer.series().map(|series| {
        let points = series.points().map(|point| match is_matrix {
            true => format!(
                " {}@{}",
                point.value,
                (point.timestamp.as_millis() - zero.as_millis()) / 1_000
            ),
            false => format!(" {}", point.value),
        });
        series.labels().to_string() + &points.collect::<String>()
    });
    series.collect()
}
