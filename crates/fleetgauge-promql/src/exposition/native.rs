//! Native histograms as pages have them.

use super::fault::{Fault, Reason};
use super::limits::Limits;
use super::wire::{Field, Message, zigzag};
use crate::histogram::{Buckets, CounterReset, FloatHistogram, HistogramError, MAX_SCHEMA};

/// Which form of histograms is read where a page has both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Histograms {
    /// Classic ones alone: a series for each bucket, sum and count. Of one that has no classic buckets, there is the
    /// last one, up to infinity.
    #[default]
    Classic,
    /// The native form where there is one, else the classic one.
    Native,
    /// All that there is.
    Both,
}

/// The counts of the buckets of one sign, as they come.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// So far behind the end of the span before each begins, and so long it is.
    pub(super) spans: Vec<(i32, u32)>,
    /// By how much each whole count is more than the one before.
    pub(super) deltas: Vec<i64>,
    pub(super) counts: Vec<f64>,
}

/// A native histogram as it comes. Its counts are whole numbers or not: then the others count.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) schema: i64,
    pub(super) sum: f64,
    pub(super) zero_threshold: f64,
    pub(super) count: u64,
    pub(super) count_float: f64,
    pub(super) zero_count: u64,
    pub(super) zero_count_float: f64,
    pub(super) positive: Side,
    pub(super) negative: Side,
}

/// Reads a native histogram. *`is_gauge`*: whether it may shrink.
pub(super) fn read(histogram: Message<'_>, is_gauge: bool, limits: &Limits) -> Result<FloatHistogram, Fault> {
    let mut written = Written::default();
    let limit = limits.buckets;
    for field in histogram.fields() {
        let field = field?;
        match field.number {
            1 => written.count = field.varint()?,
            2 => written.sum = field.double()?,
            4 => written.count_float = field.double()?,
            5 => written.schema = zigzag(field.varint()?),
            6 => written.zero_threshold = field.double()?,
            7 => written.zero_count = field.varint()?,
            8 => written.zero_count_float = field.double()?,
            9 => written.negative.span(field, limit)?,
            10 => field.signed(&mut written.negative.deltas, limit)?,
            11 => field.doubles(&mut written.negative.counts, limit)?,
            12 => written.positive.span(field, limit)?,
            13 => field.signed(&mut written.positive.deltas, limit)?,
            14 => field.doubles(&mut written.positive.counts, limit)?,
            _ => {}
        }
    }
    for count in [written.count_float, written.zero_count_float] {
        check_count(count).map_err(|reason| reason.at(histogram.start))?;
    }
    let is_float = written.count_float > 0.0
        || written.zero_count_float > 0.0
        || !written.positive.counts.is_empty()
        || !written.negative.counts.is_empty();
    let read = written.histogram(is_float, is_gauge);
    read.map_err(|problem| Reason::BadHistogram { problem }.at(histogram.start))
}

// === impl Written ===

impl Written {
    /// The histogram, or why it cannot be one.
    pub(super) fn histogram(self, is_float: bool, is_gauge: bool) -> Result<FloatHistogram, String> {
        let Self {
            schema,
            sum,
            zero_threshold,
            count,
            count_float,
            zero_count,
            zero_count_float,
            positive,
            negative,
        } = self;
        if is_float {
            let counts = positive.counts.iter().chain(&negative.counts);
            let counted = counts.sum::<f64>() + zero_count_float;
            if count_float == 0.0 && counted > 0.0 {
                return Err(format!("{counted} observations in the buckets, and a count of 0"));
            }
        } else {
            let counted = positive.add_up()? + negative.add_up()? + u128::from(zero_count);
            let whole = u128::from(count);
            // What is not a number is counted, and in no bucket.
            if counted > whole || counted < whole && !sum.is_nan() {
                return Err(format!(
                    "{counted} observations in the buckets, and a count of {whole}"
                ));
            }
        }
        let (count, zero_count) = match is_float {
            true => (count_float, zero_count_float),
            false => (count as f64, zero_count as f64),
        };
        let counter_reset = match is_gauge {
            true => CounterReset::Gauge,
            false => CounterReset::Unknown,
        };
        let in_words = |error: HistogramError| error.to_string();
        let (schema, levels) = kept(schema);
        let mut read = FloatHistogram::exponential(schema)
            .and_then(|empty| empty.with_zero(zero_threshold, zero_count))
            .map_err(in_words)?
            .with_count(count)
            .with_sum(sum)
            .with_positive(positive.buckets(is_float)?.reduced(levels))
            .with_negative(negative.buckets(is_float)?.reduced(levels))
            .with_counter_reset(counter_reset);
        read.check().map_err(in_words)?;
        read.compact();
        Ok(read)
    }
}

/// Refuses what cannot be a count.
pub(super) fn check_count(count: f64) -> Result<(), Reason> {
    match count >= 0.0 {
        true => Ok(()),
        false => Err(Reason::BadHistogram {
            problem: format!("a count of {count}"),
        }),
    }
}

/// The schema that a histogram of this one is kept with, and how many schemas that is below. What is finer than what can be
/// kept is made coarser, up to the finest schema of which it is known what it means; Prometheus does the same.
fn kept(schema: i64) -> (i64, u32) {
    const FINEST: i64 = 52;
    let most = i64::from(MAX_SCHEMA);
    match schema > most && schema <= FINEST {
        true => (most, (schema - most) as u32),
        false => (schema, 0),
    }
}

// === impl Side ===

impl Side {
    fn span(&mut self, field: Field<'_>, limit: usize) -> Result<(), Fault> {
        if self.spans.len() >= limit {
            return Err(Reason::TooManyBuckets { limit }.at(field.at));
        }
        let (mut offset, mut length) = (0, 0);
        for field in field.message()?.fields() {
            let field = field?;
            let wide = || Reason::BrokenField.at(field.at);
            match field.number {
                1 => offset = i32::try_from(zigzag(field.varint()?)).map_err(|_| wide())?,
                2 => length = u32::try_from(field.varint()?).map_err(|_| wide())?,
                _ => {}
            }
        }
        self.spans.push((offset, length));
        Ok(())
    }

    /// Turns the differences into counts, and gives their sum.
    fn add_up(&self) -> Result<u128, String> {
        let mut count = 0_i64;
        let counts = self.deltas.iter().map(|delta| {
            count = count.checked_add(*delta).filter(|count| *count >= 0)?;
            u128::try_from(count).ok()
        });
        let sum: Option<u128> = counts.sum();
        sum.ok_or_else(|| "a bucket counts less than nothing".to_owned())
    }

    fn buckets(self, is_float: bool) -> Result<Buckets, String> {
        let mut count = 0_i64;
        let counts = match is_float {
            true => self.counts,
            false => {
                let counts = self.deltas.iter().map(|delta| {
                    count = count.saturating_add(*delta);
                    count as f64
                });
                counts.collect()
            }
        };
        let spanned: u64 = self.spans.iter().map(|(_, length)| u64::from(*length)).sum();
        if spanned != counts.len() as u64 {
            return Err(format!("spans of {spanned} buckets, and {} counts", counts.len()));
        }
        let mut rest = counts.as_slice();
        let spans = self.spans.iter().map(|&(offset, length)| {
            let (counts, after) = rest.split_at(length as usize);
            rest = after;
            (offset, counts)
        });
        Buckets::from_spans(spans).map_err(|error| error.to_string())
    }
}
