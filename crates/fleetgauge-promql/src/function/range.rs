//! What a function over a range vector is given, and what it gives.

use fleetgauge_syntax::Features;
use fleetgauge_syntax::tree::Extended;

use super::joining::{tell_no_numbers, warn_of_mix};
use crate::annotation::Annotations;
use crate::error::EvalError;
use crate::histogram::FloatHistogram;
use crate::label::LabelSet;
use crate::sample::{SampleValue, Samples};

/// The samples of one series in the range that ends at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeInput<'a> {
    /// *Unit*: milliseconds; each in `(start, end]`, or beyond it as far as the range is extended. At least one.
    pub(crate) times: &'a [i64],
    /// As many; without staleness markers.
    pub(crate) values: &'a [f64],
    /// Since when each was counted, 0 where that is not known; none at all where nobody knows of any.
    pub(crate) starts: &'a [i64],
    /// Whether any of the values is lower than the one before it in the range. Ranges overlap, so it is looked for
    /// once a series, and a counter without a reset needs no walk over its samples at every step.
    pub(crate) falls: bool,
    /// The left end of the range, which is not in it.
    pub(crate) start: i64,
    /// The right end: the step's time with `@` and `offset` applied.
    pub(crate) end: i64,
    /// The step's time.
    pub(crate) at: i64,
    /// Whether there are samples beyond the range.
    pub(crate) extended: Extended,
    /// The left end of the lookback before the range.
    pub(crate) lookback_start: i64,
}

/// The samples of one series in such a range of which some are histograms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixed<'a> {
    /// Of the values those that are histograms are NaN.
    pub(crate) input: RangeInput<'a>,
    pub(crate) samples: &'a Samples,
    /// Where the range begins among the samples.
    pub(crate) from: usize,
    /// The metric name.
    pub(crate) metric: &'a str,
    /// Whether all of them are histograms of one counter with the same bounds, that did not begin anew: then the first and
    /// the last one tell its change. Ranges overlap, so it is looked for once a series.
    pub(crate) only_grows: bool,
}

/// What a function does where samples are histograms.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfHistograms {
    /// It does not look at values, so it is the same.
    Alike,
    /// It leaves them out, and says so.
    LeftOut,
    /// Computes one step.
    Own(fn(&Mixed<'_>, &mut Annotations) -> Option<SampleValue>),
}

/// Computes one step; `params` are the function's scalar arguments at that step, in their order. `None`: no
/// sample.
pub(crate) type RangeFunction = fn(&RangeInput<'_>, params: &[f64], &mut Annotations) -> Option<f64>;

/// Refuses scalar arguments with which a function cannot be computed.
pub(crate) type CheckParams = fn(params: &[f64]) -> Result<(), EvalError>;

/// How a function over a range vector is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeSpec {
    pub(crate) call: RangeFunction,
    pub(crate) of_histograms: OfHistograms,
    /// Whether the metric name stays (`last_over_time`).
    pub(crate) keeps_name: bool,
    /// Refuses scalar arguments; called where there are samples.
    pub(crate) check: Option<CheckParams>,
    /// Says what is odd about a series that got a value, in a query with these features.
    pub(crate) remark: Option<fn(&LabelSet, Features, &mut Annotations)>,
}

// === impl RangeSpec ===

impl RangeSpec {
    /// Computes a step where samples are histograms.
    pub(crate) fn of_mixed(
        &self,
        range: &Mixed<'_>,
        params: &[f64],
        notes: &mut Annotations,
    ) -> Option<SampleValue> {
        match self.of_histograms {
            OfHistograms::Alike => (self.call)(&range.input, params, notes).map(SampleValue::Float),
            OfHistograms::LeftOut => {
                let (times, values) = range.numbers_alone(notes)?;
                let input = RangeInput {
                    times: &times,
                    values: &values,
                    starts: &[],
                    ..range.input
                };
                (self.call)(&input, params, notes).map(SampleValue::Float)
            }
            OfHistograms::Own(call) => call(range, notes),
        }
    }
}

// === impl Mixed ===

impl Mixed<'_> {
    pub(crate) fn len(&self) -> usize {
        self.input.times.len()
    }

    pub(crate) fn histogram(&self, place: usize) -> Option<&FloatHistogram> {
        self.samples
            .histogram(self.from + place)
            .map(|histogram| &**histogram)
    }

    pub(crate) fn value(&self, place: usize) -> SampleValue {
        self.samples.value(self.from + place)
    }

    /// All of them, if none is a number; else warns.
    pub(super) fn histograms(&self, notes: &mut Annotations) -> Option<Vec<&FloatHistogram>> {
        let all: Option<Vec<_>> = (0..self.len()).map(|place| self.histogram(place)).collect();
        if all.is_none() {
            warn_of_mix(self.metric, notes);
        }
        all
    }

    /// The samples that are numbers, and says that the others are left out; none where there is none.
    fn numbers_alone(&self, notes: &mut Annotations) -> Option<(Vec<i64>, Vec<f64>)> {
        let samples = self.input.times.iter().zip(self.input.values).enumerate();
        let numbers = samples.filter(|(place, _)| self.histogram(*place).is_none());
        let (times, values): (Vec<_>, Vec<_>) = numbers.map(|(_, (&time, &value))| (time, value)).unzip();
        if values.is_empty() {
            tell_no_numbers(notes);
            return None;
        }
        notes.info(format_args!(
            "ignored histograms in a range containing both floats and histograms for metric name {:?}",
            self.metric
        ));
        Some((times, values))
    }
}
