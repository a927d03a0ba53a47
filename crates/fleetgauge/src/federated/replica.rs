//! What one replica lacks of series as they are stored, had of the others.

use std::collections::HashMap;

use fleetgauge_core::age::Age;
use fleetgauge_core::label::Labels;
use fleetgauge_core::result::{Answer, AnswerBuilder, AnswerKind, Series};

use super::plan::Question;
use super::row::{Sample, age, end};
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
        let mut samples: Vec<Sample<'_>> = Vec::new();
        for (series, ..) in of_series {
            match question.read_by {
                ReadBy::Ranges => fill_samples(&mut samples, series.samples().collect()),
                _ => fill_steps(&mut samples, series.samples()),
            }
        }
        labels.iter().for_each(|(name, value)| built.label(name, value));
        let (_, answer, row) = of_series[0];
        let age = age(answer, row, &samples, question.at);
        end(&mut built, answer.kind() == AnswerKind::Matrix, &samples, age);
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

/// Adds the samples at steps at which there is none.
fn fill_steps<'a>(samples: &mut Vec<Sample<'a>>, others: impl Iterator<Item = Sample<'a>>) {
    let had = samples.len();
    for other in others {
        let is_there = samples[..had].binary_search_by_key(&other.0, |(at, _)| *at);
        if is_there.is_err() {
            samples.push(other);
        }
    }
    samples.sort_by_key(|(at, _)| *at);
}

/// Adds the samples that lie in a gap: farther from the nearest sample, before and after, than samples are apart. Two
/// replicas take their samples at different times, and samples of both would be twice as many.
fn fill_samples<'a>(samples: &mut Vec<Sample<'a>>, others: Vec<Sample<'a>>) {
    let Some(apart) = apart(samples).or_else(|| apart(&others)) else {
        if samples.is_empty() {
            *samples = others;
        }
        return;
    };
    let mut more = Vec::new();
    for other in others {
        let next = samples.partition_point(|(at, _)| *at < other.0);
        let near = &samples[next.saturating_sub(1)..samples.len().min(next + 1)];
        if near.iter().all(|one| between(one, &other) > apart) {
            more.push(other);
        }
    }
    samples.extend(more);
    samples.sort_by_key(|(at, _)| *at);
}

/// How far samples are apart mostly. *Unit*: milliseconds.
fn apart(samples: &[Sample<'_>]) -> Option<u64> {
    let pairs = samples.windows(2);
    let mut apart: Vec<u64> = pairs.map(|pair| between(&pair[0], &pair[1])).collect();
    apart.sort_unstable();
    apart.get(apart.len() / 2).copied()
}

/// *Unit*: milliseconds.
fn between((one, _): &Sample<'_>, (other, _): &Sample<'_>) -> u64 {
    one.as_millis().abs_diff(other.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetgauge_core::sample::SampleValue;
    use fleetgauge_core::time::Timestamp;

    fn samples(times: &[i64]) -> Vec<Sample<'static>> {
        let times = times.iter();
        times
            .map(|&at| (Timestamp::from_millis(at * 1000), SampleValue::Number(at as f64)))
            .collect()
    }

    fn seconds(samples: &[Sample<'_>]) -> Vec<i64> {
        samples.iter().map(|(at, _)| at.as_millis() / 1000).collect()
    }

    #[test]
    fn samples_are_taken_over_in_gaps_alone() {
        let check = |first: &[i64], other: &[i64], expected: &[i64]| {
            let mut filled = samples(first);
            fill_samples(&mut filled, samples(other));
            assert_eq!(seconds(&filled), expected, "{first:?} {other:?}");
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
        let mut filled = samples(&[15, 45]);
        fill_steps(&mut filled, samples(&[0, 15, 30]).into_iter());
        assert_eq!(seconds(&filled), [0, 15, 30, 45]);
    }
}
