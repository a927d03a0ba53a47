//! What is known of an answer while it is read, and what it becomes at its end.

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::histogram::Histogram;
use fleetgauge_core::label::LabelError;
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;

use super::leaf::Point;
use crate::client::failure::excerpt;

/// What the answer says of itself that is marked `isPartial`.
pub(super) const PARTIAL: &str =
    "the server marked this answer as partial (isPartial): a part of its storage did not answer";

/// What is known of an answer while it is read.
pub(super) struct Reader {
    /// All points of each series are wanted, which are evaluated ones.
    pub(super) range: bool,
    pub(super) status: Option<Status>,
    pub(super) error_type: Option<String>,
    pub(super) error: Option<String>,
    pub(super) data: bool,
    pub(super) result_type: Option<ResultType>,
    pub(super) result: bool,
    /// VictoriaMetrics says so where a part of its storage did not answer.
    pub(super) partial: Option<bool>,
    /// The result was passed over, since its type was not known yet.
    pub(super) skipped: bool,
    pub(super) answer: AnswerBuilder,
    /// An error that JSON has no words for, behind the one that the parser returns.
    pub(super) failure: Option<FetchError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    Error,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ResultType {
    Vector,
    Scalar,
    String,
    Matrix,
}

// === impl Reader ===

impl Default for Reader {
    fn default() -> Self {
        Self {
            range: false,
            status: None,
            error_type: None,
            error: None,
            data: false,
            result_type: None,
            result: false,
            partial: None,
            skipped: false,
            answer: AnswerBuilder::new(Stamp::Evaluated),
            failure: None,
        }
    }
}

impl Reader {
    pub(super) fn finish(self) -> Result<Answer, FetchError> {
        // A server that says what went wrong did not succeed, whatever else it says.
        let is_error = self.error.as_deref().is_some_and(|error| !error.is_empty());
        let status = self
            .status
            .map(|status| if is_error { Status::Error } else { status });
        match status {
            None => Err(malformed("the field `status` is missing")),
            Some(Status::Error) => Err(FetchError::Rejected {
                kind: excerpt(&self.error_type.unwrap_or_default()),
                message: excerpt(self.error.as_deref().unwrap_or("no reason was given")),
            }),
            Some(Status::Success) if !self.data => Err(malformed("the field `data` is missing")),
            Some(Status::Success) if self.result_type.is_none() => {
                Err(malformed("the field `data.resultType` is missing"))
            }
            Some(Status::Success) if !self.result => Err(malformed("the field `data.result` is missing")),
            Some(Status::Success) => {
                let mut answer = self.answer;
                if self.partial == Some(true) {
                    answer.missing(PARTIAL);
                }
                let answer = answer.build();
                match answer.duplicate_series() {
                    Some(labels) => Err(malformed(format!(
                        "two series have the labels {}",
                        excerpt(&labels.to_string())
                    ))),
                    None => Ok(answer),
                }
            }
        }
    }

    pub(super) fn end_series<E: serde::de::Error>(&mut self, (at, value): Point) -> Result<(), E> {
        let ended = self.answer.end_series(value, at);
        self.ended(ended)
    }

    /// Ends a series of a range, whose points were added while they were read.
    pub(super) fn end_points<E: serde::de::Error>(&mut self) -> Result<(), E> {
        let ended = self.answer.end_points();
        self.ended(ended)
    }

    fn ended<E: serde::de::Error>(&mut self, ended: Result<(), LabelError>) -> Result<(), E> {
        ended.map_err(|error| {
            if error == LabelError::TooLarge {
                self.failure = Some(FetchError::TooLarge {
                    limit: u64::from(u32::MAX),
                    unit: "bytes of labels",
                });
            }
            E::custom(error)
        })
    }

    /// Ends a series that is a histogram.
    pub(super) fn end_histogram<E: serde::de::Error>(
        &mut self,
        histograms: Vec<(Timestamp, Histogram)>,
    ) -> Result<(), E> {
        let ended = histograms
            .into_iter()
            .try_for_each(|(at, histogram)| self.answer.end_histogram(histogram, at));
        self.ended(ended)
    }

    /// Ends a series of a matrix that has histograms, between the numbers that were added while they were read.
    pub(super) fn end_mixed<E: serde::de::Error>(
        &mut self,
        histograms: Vec<(Timestamp, Histogram)>,
    ) -> Result<(), E> {
        let merged = self.answer.merge_histograms(histograms);
        merged.map_err(|at| E::custom(format!("a number and a histogram, both at {at}")))?;
        self.end_points()
    }
}

pub(super) fn malformed(detail: impl Into<String>) -> FetchError {
    FetchError::Malformed {
        detail: detail.into(),
        source: None,
    }
}

/// Fills a field that may be there once.
pub(super) fn once<T, E: serde::de::Error>(
    slot: &mut Option<T>,
    value: T,
    field: &'static str,
) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(field)),
    }
}
