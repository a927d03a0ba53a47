//! Quantiles and fractions of histograms: of classic ones, which are the series that differ in `le` alone, and of native
//! ones, which are samples.
//!
//! Which series belong together is found once for all steps; at each step those count that have a sample.

use std::sync::Arc;

use fleetgauge_syntax::number::OpenMetricsFloat;

use super::bucket::{self, Bucket};
use super::quantile::warn_of_quantile;
use crate::annotation::Annotations;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::exposition::parse_float;
use crate::histogram::{Estimate, FloatHistogram, NanEffect};
use crate::label::{Derivation, Groups, LabelList, LabelSet, Lookup, Projection};
use crate::sample::is_histogram;
use crate::value::{ABSENT, Vector, is_absent};

/// The work of a bucket that is sorted among others.
const SORTED_WORK: usize = 10;

/// The label with a bucket's upper bound.
const BUCKET_LABEL: &str = "le";

/// The series of one histogram.
#[derive(Debug)]
struct Histogram {
    /// Their bounds and rows, sorted by bound.
    buckets: Vec<(f64, usize)>,
}

/// Series by their labels without `le`; the metric name counts, so that two metrics are not mixed.
#[derive(Debug)]
struct Classic {
    histograms: Vec<Histogram>,
    /// Of each, the metric's name included.
    labels: LabelList,
    /// The series whose bounds are no numbers.
    malformed: Vec<usize>,
}

// === impl Histogram ===

impl Histogram {
    fn rows(&self) -> impl Iterator<Item = &usize> {
        self.buckets.iter().map(|(_, row)| row)
    }

    /// Of all steps: each looks at each bucket some times.
    fn work(&self, vector: &Vector) -> usize {
        self.buckets
            .len()
            .saturating_mul(vector.width())
            .saturating_mul(4)
    }
}

/// `histogram_quantile(q, vector)`: a row for each histogram, with a value at each step where it has buckets.
pub(super) fn quantile(
    qs: &[f64],
    vector: Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    qs.iter().for_each(|&q| warn_of_quantile(q, 0, notes));
    let told = Told::of(vector, 1, budget, notes)?;
    let native = |histogram: &FloatHistogram, step: usize| Some(histogram.quantile(qs[step]));
    row_each(&told, budget, notes, native, |at, row, notes| {
        let classic = &told.classic;
        if quantile_row(&classic.histograms[at], &told.vector, |step| Some(qs[step]), row) {
            remark_forced(classic.labels[at].metric_name(), 1, notes);
        }
    })
}

/// `histogram_quantiles(vector, label, q, …)`: for each histogram a row for each quantile, which is in `label`.
pub(super) fn quantiles(
    vector: Vector,
    label: &str,
    qs: &[Vec<f64>],
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    if label.is_empty() {
        return Err(EvalError::execution(format!("invalid label name {label:?}")));
    }
    for (arg, qs) in (2..).zip(qs) {
        qs.iter().for_each(|&q| warn_of_quantile(q, arg, notes));
    }
    let told = Told::of(vector, 0, budget, notes)?;
    let (vector, classic) = (&told.vector, &told.classic);
    let of_classic = classic.labels(budget)?;
    let mut result = Vector::new(vector.width());
    let mut nameless = unnamed(budget);
    for qs in qs {
        // Mostly one; a quantile that changes from step to step is another series at each.
        // Two lists of texts of up to 24 bytes.
        budget.take_list::<[[u8; 24]; 4]>(qs.len())?;
        let mut texts: Vec<String> = qs.iter().map(|&q| OpenMetricsFloat(q).to_string()).collect();
        let of_step = texts.clone();
        texts.sort_unstable();
        texts.dedup();
        for text in texts {
            let count = classic.histograms.len() + told.native.len();
            budget.check_series(result.len() + count)?;
            budget.take_result(count, vector.width())?;
            let q_at = |step: usize| (of_step[step] == text).then_some(qs[step]);
            for &row in &told.native {
                let labels = nameless.apply(&vector.labels[row]);
                budget.spend_series(nameless.made() + labels.bytes_with(label, &text))?;
                let native = |histogram: &FloatHistogram, step| Some(histogram.quantile(q_at(step)?));
                result.push_absent(labels.with(label, &text));
                let last = result.len() - 1;
                told.native_row(row, &mut result, last, budget, notes, native)?;
            }
            for (at, histogram) in classic.histograms.iter().enumerate() {
                budget.spend_series(of_classic[at].bytes_with(label, &text))?;
                budget.spend(histogram.work(vector))?;
                let labels = of_classic[at].with(label, &text);
                if quantile_row(histogram, vector, q_at, result.push_absent(labels)) {
                    remark_forced(classic.labels[at].metric_name(), 0, notes);
                }
                result.stand_on_all(result.len() - 1, histogram.rows(), vector);
            }
        }
    }
    finish(result, budget)
}

/// `histogram_fraction(lower, upper, vector)`: a row for each histogram.
pub(super) fn fraction(
    lower: &[f64],
    upper: &[f64],
    vector: Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    let told = Told::of(vector, 2, budget, notes)?;
    let native = |histogram: &FloatHistogram, step: usize| Some(histogram.fraction(lower[step], upper[step]));
    row_each(&told, budget, notes, native, |at, row, _| {
        fill(
            &told.classic.histograms[at],
            &told.vector,
            row,
            |step, buckets| Some(bucket::fraction(lower[step], upper[step], buckets)),
        );
    })
}

/// A row for each histogram, of the native ones with what `native` gives, of the classic ones as `fill` fills it.
fn row_each(
    told: &Told,
    budget: &mut Budget,
    notes: &mut Annotations,
    native: impl Fn(&FloatHistogram, usize) -> Option<Estimate>,
    fill: impl Fn(usize, &mut [f64], &mut Annotations),
) -> Result<Vector, EvalError> {
    let vector = &told.vector;
    let count = told.classic.histograms.len() + told.native.len();
    budget.take_vector(count, vector.width())?;
    let labels = told.classic.labels(budget)?;
    let labels = match &told.native[..] {
        [] => labels,
        native => {
            let mut unnamed = unnamed(budget);
            let mut all = Vec::with_capacity(count);
            for &row in native {
                all.push(unnamed.apply(&vector.labels[row]));
                budget.spend_series(unnamed.made())?;
            }
            all.extend(labels.iter().cloned());
            all.into()
        }
    };
    let mut result = Vector::absent(labels, vector.width());
    for (place, &row) in told.native.iter().enumerate() {
        told.native_row(row, &mut result, place, budget, notes, &native)?;
    }
    for (at, histogram) in told.classic.histograms.iter().enumerate() {
        let place = told.native.len() + at;
        budget.spend(histogram.work(vector))?;
        fill(at, result.row_mut(place), notes);
        result.stand_on_all(place, histogram.rows(), vector);
    }
    finish(result, budget)
}

/// The quantiles `q_at` the steps where there is one. Says whether buckets had to be repaired.
fn quantile_row(
    histogram: &Histogram,
    vector: &Vector,
    q_at: impl Fn(usize) -> Option<f64>,
    row: &mut [f64],
) -> bool {
    let mut was_forced = false;
    fill(histogram, vector, row, |step, buckets| {
        let quantile = bucket::quantile(q_at(step)?, buckets);
        was_forced |= quantile.was_forced;
        Some(quantile.value)
    });
    was_forced
}

/// Computes each step where the histogram has a bucket from those that it has there, sorted by bound.
fn fill(
    histogram: &Histogram,
    vector: &Vector,
    row: &mut [f64],
    mut compute: impl FnMut(usize, &mut Vec<Bucket>) -> Option<f64>,
) {
    let mut at_step = Vec::with_capacity(histogram.buckets.len());
    for (step, place) in row.iter_mut().enumerate() {
        at_step.clear();
        at_step.extend(histogram.buckets.iter().filter_map(|&(upper_bound, series)| {
            let count = vector.row(series)[step];
            is_number(count).then_some(Bucket { upper_bound, count })
        }));
        if !at_step.is_empty() {
            *place = compute(step, &mut at_step).unwrap_or(ABSENT);
        }
    }
}

/// What the labels of a histogram become: the name goes now, or at the end of the query.
fn unnamed(budget: &Budget) -> Projection {
    match budget.delays_names() {
        true => Projection::drop_exactly(&[]),
        false => Projection::without_name(),
    }
}

fn finish(mut result: Vector, budget: &mut Budget) -> Result<Vector, EvalError> {
    result.retain_present();
    if budget.delays_names() {
        result.be_nameless();
    }
    result.merge_duplicates(budget)?;
    Ok(result)
}

fn is_number(value: f64) -> bool {
    !is_absent(value) && !is_histogram(value)
}

/// The argument of a function, and the histograms in it.
struct Told {
    vector: Vector,
    arg: usize,
    classic: Arc<Classic>,
    /// The rows that have native ones.
    native: Vec<usize>,
}

// === impl Told ===

impl Told {
    fn of(
        mut vector: Vector,
        arg: usize,
        budget: &mut Budget,
        notes: &mut Annotations,
    ) -> Result<Self, EvalError> {
        let mut native = Vec::new();
        let classic = if vector.has_histograms() {
            let is_bucket = |row: usize| vector.row(row).iter().any(|&value| is_number(value));
            let (classic, mut groups) = Classic::new(&vector.labels, is_bucket, budget)?;
            budget.take_list::<[usize; 2]>(vector.len())?;
            for row in 0..vector.len() {
                budget.spend(vector.width())?;
                if !vector.row(row).iter().any(|&value| is_histogram(value)) {
                    continue;
                }
                native.push(row);
                let labels = vector.labels[row].clone();
                let found = match labels.get(BUCKET_LABEL) {
                    None => groups.find(&labels, budget)?,
                    Some(_) => None,
                };
                let same = found.and_then(|at| classic.histograms.get(at));
                for step in (0..vector.width()).filter(|_| same.is_some()) {
                    let mut rows = same.into_iter().flat_map(Histogram::rows);
                    let is_mixed = vector.histogram(row, step).is_some()
                        && rows.any(|&bucket| is_number(vector.row(bucket)[step]));
                    if is_mixed {
                        // Nobody knows which of them is meant.
                        let metric = labels.metric_name();
                        let text = "vector contains a mix of classic and native histograms";
                        notes.warn_of(arg, for_metric(text.to_owned(), metric));
                        vector.row_mut(row)[step] = ABSENT;
                        for &bucket in same.into_iter().flat_map(Histogram::rows) {
                            if is_number(vector.row(bucket)[step]) {
                                vector.row_mut(bucket)[step] = ABSENT;
                            }
                        }
                    }
                }
            }
            Arc::new(classic)
        } else {
            vector.labels.derived(Derivation::Buckets, budget, |budget| {
                let (classic, _) = Classic::new(&vector.labels, |_| true, budget)?;
                Ok(classic)
            })?
        };
        let mut bound = Lookup::new(BUCKET_LABEL);
        for &series in &classic.malformed {
            let labels = &vector.labels[series];
            warn_of_bound(bound.get(labels), labels.metric_name(), arg, notes);
        }
        Ok(Self {
            vector,
            arg,
            classic,
            native,
        })
    }

    /// Fills the row `place` of the result with what `compute` gives of the native histograms of the row `row`.
    fn native_row(
        &self,
        row: usize,
        result: &mut Vector,
        place: usize,
        budget: &mut Budget,
        notes: &mut Annotations,
        compute: impl Fn(&FloatHistogram, usize) -> Option<Estimate>,
    ) -> Result<(), EvalError> {
        for step in 0..self.vector.width() {
            let Some(histogram) = self.vector.histogram(row, step) else {
                continue;
            };
            budget.spend(histogram.work().saturating_mul(2))?;
            let Some(estimate) = compute(histogram, step) else {
                continue;
            };
            if let Some(effect) = estimate.nan_effect {
                let metric = self.vector.labels[row].metric_name();
                notes.info_of(self.arg, for_metric(text_of(effect).to_owned(), metric));
            }
            result.row_mut(place)[step] = estimate.value;
            result.stand_on_at(place, step, self.vector.age(row, step));
        }
        Ok(())
    }
}

fn text_of(effect: NanEffect) -> &'static str {
    match effect {
        NanEffect::IsResult => "input to histogram_quantile has NaN observations, result is NaN",
        NanEffect::Skews => "input to histogram_quantile has NaN observations, result is skewed higher",
        NanEffect::LeftOut => {
            "input to histogram_fraction has NaN observations, which are excluded from all fractions"
        }
    }
}

// === impl Classic ===

impl Classic {
    /// What they are called in a result.
    fn labels(&self, budget: &mut Budget) -> Result<LabelList, EvalError> {
        match budget.delays_names() {
            true => Ok(self.labels.clone()),
            false => Ok(self.labels.nameless(budget)?.labels.clone()),
        }
    }

    /// Those of the series that are buckets.
    fn new(
        series: &LabelList,
        is_bucket: impl Fn(usize) -> bool,
        budget: &mut Budget,
    ) -> Result<(Self, Groups), EvalError> {
        // Of each bucket the bound and the row, in a list that grows, and once more while it is looked at at a step.
        budget.take_list::<[(f64, usize); 3]>(series.len())?;
        let mut groups = Groups::new(Projection::drop_exactly(&[Arc::from(BUCKET_LABEL)]));
        let (mut histograms, mut malformed) = (Vec::<Histogram>::new(), Vec::new());
        let mut bound_of = Lookup::new(BUCKET_LABEL);
        // Series are mostly sorted by it.
        let mut known: Option<(&Arc<str>, f64)> = None;
        for (row, labels) in series.iter().enumerate() {
            if !is_bucket(row) {
                continue;
            }
            let text = bound_of.text(labels);
            let upper_bound = match (text, known) {
                (Some(text), Some((same, bound))) if Arc::ptr_eq(text, same) => bound,
                _ => match parse_float(text.map_or("", |text| text)).filter(|bound| !bound.is_nan()) {
                    Some(bound) => bound,
                    None => {
                        malformed.push(row);
                        continue;
                    }
                },
            };
            known = text.map(|text| (text, upper_bound));
            let at = groups.add(labels, budget)?;
            if at == histograms.len() {
                budget.take_list::<[Histogram; 2]>(1)?;
                histograms.push(Histogram { buckets: Vec::new() });
            }
            histograms[at].buckets.push((upper_bound, row));
        }
        budget.take_list::<LabelSet>(histograms.len())?;
        let labels = (0..histograms.len()).map(|at| groups.labels(at, budget));
        let labels = series.made(labels.collect::<Result<_, _>>()?);
        for histogram in &mut histograms {
            budget.spend(histogram.buckets.len().saturating_mul(SORTED_WORK))?;
            histogram.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        }
        let classic = Self {
            histograms,
            labels,
            malformed,
        };
        Ok((classic, groups))
    }
}

fn warn_of_bound(bound: &str, metric: &str, arg: usize, notes: &mut Annotations) {
    let text = format!("bucket label \"le\" is missing or has a malformed value of {bound:?}");
    notes.warn_of(arg, for_metric(text, metric));
}

fn remark_forced(metric: &str, arg: usize, notes: &mut Annotations) {
    let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
        https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
    notes.info_of(arg, for_metric(text.to_owned(), metric));
}

fn for_metric(text: String, metric: &str) -> String {
    if metric.is_empty() {
        text
    } else {
        format!("{text} for metric name {metric:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{budget, rows, vector};
    use super::*;

    const NAN: f64 = f64::NAN;

    /// Ten observations up to 1, ten more up to 2.
    fn twenty() -> Vector {
        vector(&[
            (r#"x_bucket{le="2", pod="a"}"#, &[20.0, 2.0]),
            (r#"x_bucket{le="+Inf", pod="a"}"#, &[20.0, 2.0]),
            (r#"x_bucket{le="1", pod="a"}"#, &[10.0, 2.0]),
            (r#"x_bucket{le="1.0", pod="b"}"#, &[4.0, ABSENT]),
            (r#"x_bucket{le="Inf", pod="b"}"#, &[4.0, ABSENT]),
        ])
    }

    fn texts(notes: Annotations) -> (Vec<String>, Vec<String>) {
        notes.into_parts()
    }

    #[test]
    fn series_are_grouped_by_all_labels_but_le() {
        let mut notes = Annotations::default();
        let result = quantile(&[0.75, 0.5], twenty(), &mut budget(), &mut notes).expect("two histograms");
        assert_eq!(rows(&result), [r#"{pod="a"} 1.5 0.5"#, r#"{pod="b"} 0.75 _"#]);
        assert_eq!(texts(notes), (vec![], vec![]));
    }

    #[test]
    fn the_quantile_is_that_of_each_step() {
        let mut notes = Annotations::default();
        let result = quantile(&[-1.0, NAN], twenty(), &mut budget(), &mut notes).expect("two histograms");
        assert_eq!(rows(&result), [r#"{pod="a"} -Inf NaN"#, r#"{pod="b"} -Inf _"#]);
        let expected = ["-1", "NaN"]
            .map(|q| format!("PromQL warning: quantile value should be between 0 and 1, got {q}"));
        assert_eq!(texts(notes).0, expected);
    }

    #[test]
    fn bounds_that_are_no_numbers_are_warned_of_and_left_out() {
        let mut notes = Annotations::default();
        let input = vector(&[
            (r#"x_bucket{le="1"}"#, &[10.0]),
            (r#"x_bucket{le="+Inf"}"#, &[10.0]),
            (r#"x_bucket{le="one"}"#, &[10.0]),
            (r#"{pod="a"}"#, &[10.0]),
        ]);
        assert_eq!(
            rows(&quantile(&[0.5], input, &mut budget(), &mut notes).expect("one histogram")),
            ["{} 0.5"]
        );
        assert_eq!(
            texts(notes).0,
            [
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"one\" for \
                 metric name \"x_bucket\"",
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\"",
            ]
        );
    }

    #[test]
    fn buckets_that_were_repaired_are_remarked() {
        let mut notes = Annotations::default();
        let input = vector(&[
            (r#"x_bucket{le="1"}"#, &[10.0]),
            (r#"x_bucket{le="2"}"#, &[5.0]),
            (r#"x_bucket{le="+Inf"}"#, &[20.0]),
        ]);
        assert_eq!(
            rows(&quantile(&[0.25], input, &mut budget(), &mut notes).expect("one histogram")),
            ["{} 0.5"]
        );
        assert_eq!(
            texts(notes).1,
            [
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
              https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric \
              name \"x_bucket\""
            ]
        );
    }

    #[test]
    fn metrics_are_not_mixed() {
        let input = |second: &[f64]| {
            vector(&[
                (r#"x_bucket{le="1"}"#, &[10.0, ABSENT]),
                (r#"x_bucket{le="+Inf"}"#, &[10.0, ABSENT]),
                (r#"y_bucket{le="2"}"#, second),
                (r#"y_bucket{le="+Inf"}"#, second),
            ])
        };
        let quantile = |second: &[f64]| {
            quantile(
                &[0.5, 0.5],
                input(second),
                &mut budget(),
                &mut Annotations::default(),
            )
        };
        assert_eq!(
            rows(&quantile(&[ABSENT, 10.0]).expect("never at one step")),
            ["{} 0.5 1"]
        );
        let error = quantile(&[10.0, 10.0])
            .expect_err("two without a name")
            .to_string();
        assert_eq!(error, "vector cannot contain metrics with the same labelset");
    }
}
