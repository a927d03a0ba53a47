//! A row of a member, as it goes from one answer into another.

use fleetgauge_core::age::{Age, AgeKind};
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::{Point, Stamp};
use fleetgauge_core::time::Timestamp;

/// Ends a series with these points, whose value is so old.
pub(super) fn end(answer: &mut AnswerBuilder, is_matrix: bool, points: &[Point], age: Age) {
    let ended = match points {
        [point] if !is_matrix => answer.end_series(point.value, point.timestamp),
        _ => {
            points
                .iter()
                .for_each(|point| answer.point(point.value, point.timestamp));
            answer.end_points()
        }
    };
    // Labels of an answer name each label once.
    if ended.is_ok() && age.kind() != AgeKind::Unknown {
        answer.age(age);
    }
}

/// How old the value of a row was at `at`, as far as its source tells.
pub(super) fn age(answer: &Answer, row: usize, points: &[Point], at: Timestamp) -> Age {
    match (answer.provenance(), points.last()) {
        (Some(provenance), _) if provenance.has_ages() => provenance.age(row),
        (_, Some(newest)) if answer.stamp() == Stamp::Sampled => Age::between(newest.timestamp, at),
        _ => Age::UNKNOWN,
    }
}
