//! The rows of all members, each with its member's labels.

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::Stamp;

use super::member::SourceMember;
use super::plan::Question;
use super::row::{Sample, age, end};

/// The answers of the members to `question` as one.
///
/// *Errors*: two rows that become one.
pub(super) fn union(
    question: &Question,
    of_members: &[(&SourceMember, &Answer)],
) -> Result<Answer, FetchError> {
    let with_values = || of_members.iter().filter(|(_, answer)| !answer.is_empty());
    let is_sampled =
        with_values().all(|(_, answer)| answer.stamp() == Stamp::Sampled) && with_values().count() > 0;
    let mut union = AnswerBuilder::new(match is_sampled {
        true => Stamp::Sampled,
        false => Stamp::Evaluated,
    });
    let is_matrix = question.is_matrix();
    if is_matrix {
        union.matrix();
    }
    let rows = of_members.iter().map(|(_, answer)| answer.series().len());
    union.reserve(rows.sum(), 1);
    let mut samples: Vec<Sample<'_>> = Vec::new();
    for (member, answer) in of_members {
        let own = |name: &str| member.labels.iter().any(|(label, _)| label == name);
        for (row, series) in answer.series().enumerate() {
            samples.clear();
            samples.extend(series.samples());
            let others = series.labels().iter().filter(|(name, _)| !own(name));
            others.for_each(|(name, value)| union.label(name, value));
            member
                .labels
                .iter()
                .for_each(|(name, value)| union.label(name, value));
            let age = age(answer, row, &samples, question.at);
            if !is_matrix && !is_sampled {
                samples.iter_mut().for_each(|(at, _)| *at = question.at);
            }
            end(&mut union, is_matrix, &samples, age);
        }
        for warning in answer.warnings() {
            let told = format!("member {}: {warning}", member.name);
            match answer.is_complete() {
                true => union.warning(&told),
                false => union.missing(&told),
            }
        }
        answer.infos().for_each(|info| union.info(info));
    }
    let union = union.build();
    match union.duplicate_series() {
        None => Ok(union),
        Some(series) => Err(FetchError::Malformed {
            detail: format!("two rows {series} of a member, to {}", question.text),
            source: None,
        }),
    }
}
