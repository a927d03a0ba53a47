//! A row of a member, as it goes from one answer into another.

use fleetgauge_core::age::{Age, AgeKind};
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::{SampleValue, Stamp};
use fleetgauge_core::time::Timestamp;

/// What a row has at a time: a number or a native histogram.
pub(super) type Sample<'a> = (Timestamp, SampleValue<'a>);

/// Ends a series with these samples, the last of which is so old.
pub(super) fn end(answer: &mut AnswerBuilder, is_matrix: bool, samples: &[Sample<'_>], age: Age) {
    let ended = match samples {
        [(at, SampleValue::Number(value))] if !is_matrix => answer.end_series(*value, *at),
        [(at, SampleValue::Histogram(histogram))] if !is_matrix => {
            answer.end_histogram((*histogram).clone(), *at)
        }
        _ => {
            samples.iter().for_each(|(at, value)| answer.sample(*value, *at));
            answer.end_points()
        }
    };
    // Labels of an answer name each label once.
    if ended.is_ok() && age.kind() != AgeKind::Unknown {
        answer.age(age);
    }
}

/// How old the value of a row was at `at`, as far as its source tells.
pub(super) fn age(answer: &Answer, row: usize, samples: &[Sample<'_>], at: Timestamp) -> Age {
    match (answer.provenance(), samples.last()) {
        (Some(provenance), _) if provenance.has_ages() => provenance.age(row),
        (_, Some((newest, _))) if answer.stamp() == Stamp::Sampled => Age::between(*newest, at),
        _ => Age::UNKNOWN,
    }
}
