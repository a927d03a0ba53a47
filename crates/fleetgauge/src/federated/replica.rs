//! What one replica lacks of series as they are stored, had of the others.

use std::collections::HashMap;

use fleetgauge_core::age::Age;
use fleetgauge_core::label::Labels;
use fleetgauge_core::result::{Answer, AnswerBuilder, AnswerKind, Series};
use fleetgauge_core::sample::Point;

use super::plan::Question;
use super::row::{age, end};
use fleetgauge_promql::answers::ReadBy;

/// `first`, with the series that it lacks, and the gaps of those that it has filled from `others`, which come in the order
/// in which they are preferred.
pub(super) fn filled(first: &Answer, others: &[&Answer], question: &Question) -> Answer {
    let mut order: Vec<Labels<'_>> = Vec::new();
    let mut all: HashMap<Labels<'_>, Vec<(Series<'_>, &Answer, usize)>> = HashMap::new();
    for answer in [first].into_iter().chain(others.iter().copied()) {
        for (row, series) in answer.series().enumerate() {
            let of_series = all.entry(series.labels()).or_default();
            if of_series.is_empty() {
                order.push(series.labels());
            }
            of_series.push((series, answer, row));
        }
    }
    let mut built = AnswerBuilder::new(first.stamp());
    if question.is_matrix() {
        built.matrix();
    }
    for labels in order {
        let of_series = &all[&labels];
        let mut points: Vec<Point> = Vec::new();
        for (series, ..) in of_series {
            match question.read_by {
                ReadBy::Ranges => fill_samples(&mut points, series.points().collect()),
                _ => fill_steps(&mut points, series.points()),
            }
        }
        labels.iter().for_each(|(name, value)| built.label(name, value));
        let (_, answer, row) = of_series[0];
        let age = age(answer, row, &points, question.at);
        end(&mut built, answer.kind() == AnswerKind::Matrix, &points, age);
    }
    first.warnings().for_each(|warning| match first.is_complete() {
        true => built.warning(warning),
        false => built.missing(warning),
    });
    built.build()
}

/// `answer`, the rows of which are as old at the end as those of `of_rows` with the same labels.
pub(super) fn dated(answer: Answer, of_rows: &Answer) -> Answer {
    let Some(told) = of_rows.provenance().filter(|told| told.has_ages()) else {
        return answer;
    };
    let rows = of_rows.series().enumerate();
    let ages: HashMap<_, _> = rows
        .map(|(row, series)| (series.labels(), told.age(row)))
        .collect();
    let of_each = answer.series().map(|series| ages.get(&series.labels()).copied());
    let ages = of_each.map(|age| age.unwrap_or(Age::UNKNOWN)).collect();
    answer.with_ages(ages)
}

/// Adds the points at steps at which there is none.
fn fill_steps(points: &mut Vec<Point>, others: impl Iterator<Item = Point>) {
    let had = points.len();
    for other in others {
        let is_there = points[..had].binary_search_by_key(&other.timestamp, |point| point.timestamp);
        if is_there.is_err() {
            points.push(other);
        }
    }
    points.sort_by_key(|point| point.timestamp);
}

/// Adds the samples that lie in a gap: farther from the nearest sample, before and after, than samples are apart. Two
/// replicas take their samples at different times, and samples of both would be twice as many.
fn fill_samples(points: &mut Vec<Point>, others: Vec<Point>) {
    let Some(apart) = apart(points).or_else(|| apart(&others)) else {
        if points.is_empty() {
            *points = others;
        }
        return;
    };
    let mut more: Vec<Point> = Vec::new();
    for other in others {
        let at = other.timestamp.as_millis();
        let next = points.partition_point(|point| point.timestamp < other.timestamp);
        let near = points[next.saturating_sub(1)..points.len().min(next + 1)].iter();
        let is_near = |point: &Point| point.timestamp.as_millis().abs_diff(at) <= apart;
        if !near.into_iter().any(is_near) {
            more.push(other);
        }
    }
    points.extend(more);
    points.sort_by_key(|point| point.timestamp);
}

/// How far samples are apart mostly. *Unit*: milliseconds.
fn apart(points: &[Point]) -> Option<u64> {
    let pairs = points.windows(2);
    let mut apart: Vec<u64> = pairs
        .map(|pair| {
            pair[0]
                .timestamp
                .as_millis()
                .abs_diff(pair[1].timestamp.as_millis())
        })
        .collect();
    apart.sort_unstable();
    apart.get(apart.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetgauge_core::sample::Stamp;
    use fleetgauge_core::time::Timestamp;

    /// Of an answer, since points come from nowhere else.
    fn points(times: &[i64]) -> Vec<Point> {
        let mut answer = AnswerBuilder::new(Stamp::Sampled);
        for &at in times {
            answer.point(at as f64, Timestamp::from_millis(at * 1000));
        }
        answer.end_points().unwrap();
        answer
            .build()
            .series()
            .flat_map(|series| series.points())
            .collect()
    }

    #[test]
    fn samples_are_taken_over_in_gaps_alone() {
        let check = |first: &[i64], other: &[i64], expected: &[i64]| {
            let mut filled = points(first);
            fill_samples(&mut filled, points(other));
            let times: Vec<_> = filled
                .iter()
                .map(|point| point.timestamp.as_millis() / 1000)
                .collect();
            assert_eq!(times, expected, "{first:?} {other:?}");
        };
        check(&[15, 30, 45, 60], &[20, 35, 50, 65], &[15, 30, 45, 60]);
        check(
            &[15, 30, 90, 105],
            &[20, 35, 50, 65, 80, 95],
            &[15, 30, 50, 65, 90, 105],
        );
        // It begins late, and ends early.
        check(&[60, 75], &[20, 35, 50, 65, 80, 95], &[20, 35, 60, 75, 95]);
        check(&[], &[20, 35], &[20, 35]);
        check(&[15, 30], &[], &[15, 30]);
        check(&[60], &[20, 35, 50], &[20, 35, 60]);
    }

    #[test]
    fn steps_are_taken_over_where_there_is_none() {
        let mut filled = points(&[15, 45]);
        fill_steps(&mut filled, points(&[0, 15, 30]).into_iter());
        let times: Vec<_> = filled
            .iter()
            .map(|point| point.timestamp.as_millis() / 1000)
            .collect();
        assert_eq!(times, [0, 15, 30, 45]);
    }
}
