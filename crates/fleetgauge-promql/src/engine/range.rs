//! Functions over ranges: each series is read once, by any thread, and its ranges slide along with the steps.

use std::ops::Range;

use fleetgauge_syntax::Features;
use fleetgauge_syntax::tree::Extended;

use crate::annotation::Annotations;
use crate::function::{Mixed, RangeInput, RangeSpec};
use crate::sample::{HISTOGRAM, SampleValue, is_histogram};
use crate::selector::{Buffer, EndedSeries, READ_AT_ONCE, Ranges, Reader};
use crate::value::{self, ABSENT, Found, Steps, Vector, is_absent};

use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;

/// `params` are the function's scalar arguments, each with a number a step.
pub(super) fn evaluate(
    spec: &RangeSpec,
    ranges: &Ranges<'_>,
    params: &[Vec<f64>],
    steps: &Steps,
    reader: &mut Reader<'_>,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    budget.take_result(ranges.len(), steps.count)?;
    if !params.is_empty() {
        budget.take_bytes(steps.count.saturating_mul(params.len() * 8 + 48))?;
    }
    let params_at: Vec<Vec<f64>> = match params {
        [] => Vec::new(),
        _ => (0..steps.count)
            .map(|step| params.iter().map(|values| values[step]).collect())
            .collect(),
    };
    let part = Part {
        spec,
        ranges,
        params_at: &params_at,
        steps,
        notes: notes.of_part(),
    };
    let mut result = Vector::unlabelled(steps.count, ranges.len(), ranges.tells_ages());
    let work = ranges.len() * (SERIES_WORK + steps.count);
    let parts = reader.helpers.compute(
        &mut result,
        READ_AT_ONCE,
        work,
        budget,
        |buffer, of, rows, budget| part.compute(buffer, of, rows, budget),
    )?;
    for (said, ended, found) in parts {
        notes.add_part(said);
        result.set_found(found, budget)?;
        if let Some(series) = ranges.selection() {
            reader.note_ended(series, ended);
        }
    }
    if let Some(rows) = ranges.rows() {
        result.take_all_namelessness(rows);
    }
    result.label(&ranges.list(), budget)?;
    name(spec, reader.features, &mut result, budget, notes)?;
    Ok(result)
}

/// Takes the names away that do not stay, and says what is odd about them.
fn name(
    spec: &RangeSpec,
    features: Features,
    result: &mut Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<(), EvalError> {
    if let Some(remark) = spec.remark {
        let is_number = |value: &f64| !is_absent(*value) && !is_histogram(*value);
        let numbers = result.rows().filter(|(_, row)| row.iter().any(is_number));
        // What is said of one is said of all of the same name, type and unit.
        let count = match result.labels.nameless(budget)?.names_differ {
            true => result.len(),
            false => 1,
        };
        numbers
            .take(count)
            .for_each(|(labels, _)| remark(labels, features, notes));
    }
    if !spec.keeps_name && result.drop_names(budget)? {
        result.merge_duplicates(budget)?;
    }
    Ok(())
}

/// What is computed of some of the series.
struct Part<'a> {
    spec: &'a RangeSpec,
    ranges: &'a Ranges<'a>,
    params_at: &'a [Vec<f64>],
    steps: &'a Steps,
    notes: Annotations,
}

impl Part<'_> {
    fn compute(
        &self,
        buffer: &mut Buffer,
        of: Range<usize>,
        mut rows: value::Part<'_>,
        budget: &mut Budget,
    ) -> Result<(Annotations, Vec<EndedSeries>, Found), EvalError> {
        let (mut notes, mut ended, mut found) = (self.notes.clone(), Vec::new(), Found::new());
        for (place, i) in of.enumerate() {
            let (row, ages) = rows.row(place);
            row.fill(ABSENT);
            self.ranges.read(i, buffer, budget)?;
            budget.spend(SERIES_WORK + self.steps.count)?;
            let labels = buffer.has_histograms().then(|| self.ranges.labels(i));
            let (times, values) = (buffer.times(), buffer.values());
            let (mut work, mut warned) = (0, false);
            // The last sample so far that is lower than the one before it, and how far was looked.
            let (mut last_fall, mut looked) = (0, 1);
            // The last one that does not go on with the histogram before it; and of those that are not behind the range, and not
            // in it any more, how much work they are.
            let (mut last_break, mut work_until, mut work_before) = (0, (0, 0), (0, 0));
            for (step, window) in self.ranges.windows(buffer).enumerate() {
                let (from, to) = window.samples;
                if from == to {
                    continue;
                }
                while looked < to {
                    if values[looked] < values[looked - 1] {
                        last_fall = looked;
                    }
                    if labels.is_some() && !buffer.only_grows(looked) {
                        last_break = looked;
                    }
                    looked += 1;
                }
                let input = RangeInput {
                    times: &times[from..to],
                    values: &values[from..to],
                    starts: buffer.starts(from, to),
                    falls: last_fall > from,
                    start: window.start,
                    end: window.end,
                    at: self.steps.at(step),
                    extended: self.ranges.extended(),
                    lookback_start: window.begin,
                };
                let params = self.params_at.get(step).map_or(&[][..], |params| params);
                if let Some(check) = self.spec.check {
                    check(params)?;
                }
                if self.spec.remark.is_some()
                    && !warned
                    && input.extended == Extended::No
                    && input.has_overlaps()
                {
                    let metric = self.ranges.labels(i);
                    notes.warn(format_args!(
                        "sample has start time that overlaps with previous sample timestamp for metric {:?}",
                        metric.metric_name()
                    ));
                    warned = true;
                }
                let value = match &labels {
                    Some(labels) if buffer.has_histogram_in(from, to) => {
                        let range = Mixed {
                            input,
                            samples: buffer.samples(),
                            from,
                            metric: labels.metric_name(),
                            only_grows: last_break <= from && from + 1 < to,
                        };
                        for (until, (counted, sum)) in [(to, &mut work_until), (from, &mut work_before)] {
                            while *counted < until {
                                *sum += buffer.work_at(*counted);
                                *counted += 1;
                            }
                        }
                        work += work_until.1 - work_before.1;
                        match self.spec.of_mixed(&range, params, &mut notes) {
                            Some(SampleValue::Histogram(histogram)) => {
                                budget.take_histogram(&histogram)?;
                                found.push((i, step, histogram));
                                Some(HISTOGRAM)
                            }
                            Some(SampleValue::Float(value)) => Some(value),
                            None => None,
                        }
                    }
                    _ => (self.spec.call)(&input, params, &mut notes),
                };
                if let Some(value) = value {
                    row[step] = value;
                    if let Some(age) = ages.get_mut(step) {
                        *age = self.ranges.age(i, buffer, window, &mut ended);
                    }
                }
                // A wide range over many steps looks at the same samples again and again.
                work += to - from;
                if work > 100_000 {
                    budget.spend(std::mem::take(&mut work))?;
                }
            }
            budget.spend(work)?;
        }
        Ok((notes, ended, found))
    }
}
