//! Ranges and instants that are `anchored` or `smoothed`, where samples are histograms: what stands at a border is a
//! histogram, too, on the way from one sample to the next, bucket by bucket.
//!
//! The operations and their order are Prometheus's. Since when histograms are counted it does not look at here.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/basics/#anchored-and-smoothed>.

use super::joining::{Joining, warn_of_kinds, warn_of_no_counter, warn_of_no_gauge};
use super::range::Mixed;
use super::rate::Kind;
use crate::annotation::Annotations;
use crate::histogram::{CounterReset, FloatHistogram, HistogramError};

/// A histogram, and when it was taken.
pub(crate) type Taken<'h> = (i64, &'h FloatHistogram);

// === impl Mixed ===

impl Mixed<'_> {
    /// The change from border to border; of a counter as if it had never been reset.
    pub(super) fn extended_change(&self, kind: Kind, notes: &mut Annotations) -> Option<FloatHistogram> {
        let all = self.histograms(notes)?;
        let (first, last) = self.input.around()?;
        let (start, end) = (self.input.start, self.input.end);
        let (times, is_smoothed) = (self.input.times, self.input.is_smoothed());
        if is_smoothed && times[first] > end {
            return None;
        }
        let is_counter = kind == Kind::Counter;
        self.check(&all[first..=last], is_counter, notes)?;

        let line = |before: usize, time, notes: &mut Annotations| {
            let [before, after] = [before, before + 1].map(|place| (times[place], all[place]));
            between(before, after, time, is_counter, notes).ok()
        };
        let crosses_start = is_smoothed && times[first] < start;
        let left = match crosses_start {
            true => line(first, start, notes)?,
            false => all[first].clone(),
        };
        let right = match last.checked_sub(1) {
            Some(before) if is_smoothed && times[last] > end => line(before, end, notes)?,
            _ => all[last].clone(),
        };
        let is_gauge = |one: &FloatHistogram| one.counter_reset() == CounterReset::Gauge;
        if !is_counter && [&left, &right].into_iter().any(|one| !is_gauge(one)) {
            warn_of_no_gauge(self.metric, notes);
        }
        let mut change = right.clone();
        Joining::Subtraction.tell_bounds(change.subtract(&left).ok()?, notes);
        if is_counter {
            // A reset on the line to the first sample behind the left border is in the value there.
            let is_told = crosses_start && all[first + 1].is_reset_since(all[first]);
            let (mut before, within) = match is_told {
                true => (all[first + 1], first + 2..last),
                false => (&left, first + 1..last),
            };
            // Of both borders on the line to one sample there is nothing between them.
            let to_right = (within.start <= last).then_some(&right);
            let mut lost: Option<FloatHistogram> = None;
            for after in all[within.start.min(last)..last].iter().copied().chain(to_right) {
                if after.is_reset_since(before) {
                    match &mut lost {
                        Some(lost) => Joining::Addition.tell_bounds(lost.add(before).ok()?, notes),
                        None => lost = Some(before.clone()),
                    }
                }
                before = after;
            }
            if let Some(lost) = lost {
                Joining::Addition.tell_bounds(change.add(&lost).ok()?, notes);
            }
        }
        Some(change.with_counter_reset(CounterReset::Gauge))
    }

    /// As [`since_anchor`](super::range::RangeInput::since_anchor): whatever the sample is at the left border or before.
    pub(super) fn since_anchor(&self) -> Option<Self> {
        let input = self.input.since_anchor()?;
        Some(Self {
            from: self.from + self.len() - input.times.len(),
            input,
            ..*self
        })
    }

    /// Whether these are of one kind; warns where they are not, and where they are not of a counter but should be.
    fn check(&self, all: &[&FloatHistogram], is_counter: bool, notes: &mut Annotations) -> Option<()> {
        let is_custom = |one: &FloatHistogram| one.layout().is_custom();
        for one in all {
            if is_custom(one) != is_custom(all[0]) {
                warn_of_kinds(self.metric, notes);
                return None;
            }
            if is_counter && one.counter_reset() == CounterReset::Gauge {
                warn_of_no_counter(self.metric, notes);
            }
        }
        Some(())
    }
}

/// The histogram at `time` on the line between two samples; a counter that began anew was at zero at the first one.
///
/// *Errors*: [`HistogramError::Mixed`].
pub(crate) fn between(
    (since, before): Taken<'_>,
    (until, after): Taken<'_>,
    time: i64,
    is_counter: bool,
    notes: &mut Annotations,
) -> Result<FloatHistogram, HistogramError> {
    if time == since {
        return Ok(before.clone());
    }
    let mut line = after.clone();
    if time == until {
        return Ok(line);
    }
    // Looked at first: what has other buckets has begun anew, but there is no line to it.
    if before.layout().is_custom() != after.layout().is_custom() {
        return Err(HistogramError::Mixed);
    }
    let share = (time - since) as f64 / (until - since) as f64;
    if is_counter && after.is_reset_since(before) {
        line.multiply(share);
        return Ok(line);
    }
    Joining::Subtraction.tell_bounds(line.subtract(before)?, notes);
    line.multiply(share);
    Joining::Addition.tell_bounds(line.add(before)?, notes);
    Ok(line)
}
