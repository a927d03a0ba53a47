//! Native histograms among the series that both evaluate over.
//!
//! Counts are small whole numbers and sums multiples of 1/64, but for what is `strange`, so that adding is exact in
//! whatever order. All custom buckets of a metric have the same bounds: 3.5 refuses to add others, which are reconciled
//! since.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetgauge_promql::histogram::{Buckets, CounterReset, FloatHistogram};
use fleetgauge_promql::sample::SampleValue;

use super::random::Random;
use super::series::{INSTANCES, JOBS, Series, few, series, times};

/// What a series of histograms is like.
#[derive(Clone, Copy)]
enum Shape {
    Counter,
    Gauge,
    /// Counts that are not whole, and sums that are no numbers or fall. But none that are infinite: of means of those, 3.5 makes
    /// NaN.
    Strange,
}

/// What buckets there are.
#[derive(Clone, Copy)]
struct Layouts {
    has_one_schema: bool,
}

/// What was observed since the last reset. What a series has buckets for is there always, be it with nothing: Prometheus's
/// storage adds empty buckets to histograms that others in the series have, and where there is one below zero, the zero
/// bucket is read otherwise.
#[derive(Default)]
struct Counts {
    zero: f64,
    sum: f64,
    /// Observations that are no numbers are counted, and in no bucket.
    lost: f64,
    positive: BTreeMap<i32, f64>,
    negative: BTreeMap<i32, f64>,
    /// The first bucket: a program has none that lies in the zero bucket.
    first: i32,
}

/// What of the observations is left by a reset. What a window begins with is more than it grows by in a step: 3.5 extends
/// histograms beyond where they would be zero.
const LEFT: f64 = 0.7;
const SCHEMAS: [i64; 9] = [-4, -2, -1, 0, 0, 1, 3, 5, 8];
/// Between buckets of any schema. Where the zero bucket ends within a bucket of the coarser of two, Prometheus counts twice
/// what finer ones have there, and we do not.
const ZERO_THRESHOLDS: [f64; 5] = [0.0, 0.0, 1.0 / 65_536.0, 1.0, 1.0];
/// Where all have the schema 0.
const ANY_ZERO_THRESHOLDS: [f64; 6] = [0.0, 0.001, 0.25, 1.0, 3.0, 1.0];
/// None below zero, of which fractions are NaN in 3.5.
const BOUNDS: [&[f64]; 4] = [&[0.5, 1.0, 2.5], &[5.0, 10.0], &[1.0], &[0.1, 0.2, 0.4, 0.8, 1.6]];

pub(super) fn generate(random: &mut Random, all: &mut Vec<Series>) {
    let bounds = random.pick(&BOUNDS);
    let layouts = Layouts {
        has_one_schema: random.chance(40),
    };
    for job in JOBS {
        for instance in INSTANCES {
            let labels = [("job", job), ("inst", instance)];
            all.push(series(
                "sizes",
                &labels,
                exponential(random, layouts, Shape::Counter),
            ));
            all.push(series(
                "levels",
                &labels,
                exponential(random, layouts, Shape::Gauge),
            ));
            all.push(series("bounded", &labels, custom(random, bounds)));
            if instance != "1" {
                all.push(series(
                    "strange",
                    &labels,
                    exponential(random, layouts, Shape::Strange),
                ));
                all.push(series("mingled", &labels, mingled(random, layouts, bounds)));
            }
        }
    }
    // A classic histogram beside a native one of the same name.
    all.push(series(
        "doubled",
        &[("job", "a")],
        exponential(random, layouts, Shape::Counter),
    ));
    for bound in ["1", "2", "+Inf"] {
        all.push(series("doubled", &[("job", "a"), ("le", bound)], few(random)));
    }
}

fn exponential(random: &mut Random, layouts: Layouts, shape: Shape) -> Vec<(i64, SampleValue)> {
    let mut layout = layouts.pick(random);
    let has_negative = random.chance(60);
    let mut counts = Counts::from(layout, has_negative, shape.least());
    let all: Vec<_> = times(random).collect();
    let sample = |at| {
        if random.chance(4) || matches!(shape, Shape::Gauge) {
            if random.chance(40) {
                layout = layouts.pick(random);
            }
            let left = (counts.count() * LEFT).min(shape.least());
            counts = Counts::from(layout, has_negative, left);
        }
        observe(random, shape, &mut counts);
        let (schema, threshold) = layout;
        let histogram = FloatHistogram::exponential(schema).unwrap();
        let histogram = histogram.with_zero(threshold, counts.zero).unwrap();
        let histogram = match shape {
            Shape::Gauge => histogram.with_counter_reset(CounterReset::Gauge),
            _ => histogram,
        };
        (at, counts.of(histogram))
    };
    all.into_iter().map(sample).collect()
}

// === impl Shape ===

impl Shape {
    /// How many observations there are at first.
    fn least(self) -> f64 {
        match self {
            Self::Gauge => 0.0,
            Self::Counter | Self::Strange => 450.0,
        }
    }
}

// === impl Layouts ===

impl Layouts {
    /// A schema, and where the zero bucket ends.
    fn pick(self, random: &mut Random) -> (i64, f64) {
        match self.has_one_schema {
            true => (0, random.pick(&ANY_ZERO_THRESHOLDS)),
            false => (random.pick(&SCHEMAS), random.pick(&ZERO_THRESHOLDS)),
        }
    }
}

fn custom(random: &mut Random, bounds: &[f64]) -> Vec<(i64, SampleValue)> {
    let mut counts = Counts::default();
    counts.fill(bounds.len() + 1, Shape::Counter.least());
    let all: Vec<_> = times(random).collect();
    let sample = |at| {
        if random.chance(4) {
            let left = counts.count() * LEFT;
            counts.fill(bounds.len() + 1, left);
        }
        for _ in 0..random.below(4) {
            *counts
                .positive
                .entry(random.below(bounds.len() + 1) as i32)
                .or_default() += 1.0;
            counts.sum += random.below(640) as f64 / 64.0;
        }
        (at, counts.of(FloatHistogram::custom(bounds).unwrap()))
    };
    all.into_iter().map(sample).collect()
}

/// Now numbers, now histograms of either kind.
fn mingled(random: &mut Random, layouts: Layouts, bounds: &[f64]) -> Vec<(i64, SampleValue)> {
    let kinds = [
        exponential(random, layouts, Shape::Counter),
        custom(random, bounds),
    ];
    let numbers = few(random)
        .into_iter()
        .map(|(at, value)| (at, SampleValue::Float(value)));
    let kinds = kinds.into_iter().chain([numbers.collect()]);
    let kinds: Vec<BTreeMap<_, _>> = kinds.map(|kind| kind.into_iter().collect()).collect();
    let mut kind = 0;
    let mut all = Vec::new();
    for at in times(random) {
        if random.chance(15) {
            kind = random.below(kinds.len());
        }
        if let Some(value) = kinds[kind].get(&at) {
            all.push((at, value.clone()));
        }
    }
    all
}

fn observe(random: &mut Random, shape: Shape, counts: &mut Counts) {
    let weight = match shape {
        Shape::Strange => random.pick(&[0.1, 1.0, 2.5, 1e-9]),
        _ => 1.0,
    };
    for _ in 0..random.below(6) {
        match random.below(8) {
            0 => counts.zero += weight,
            1 if !counts.negative.is_empty() => {
                *counts
                    .negative
                    .entry(counts.first + random.below(5) as i32)
                    .or_default() += weight;
            }
            _ => {
                *counts
                    .positive
                    .entry(counts.first + random.below(9) as i32)
                    .or_default() += weight;
            }
        }
        counts.sum += random.below(640) as f64 / 64.0 - 2.0;
    }
    if let Shape::Strange = shape {
        match random.below(20) {
            0 => (counts.sum, counts.lost) = (f64::NAN, counts.lost + 1.0),
            1 => counts.sum = -1e15,
            _ => {}
        }
    }
}

// === impl Counts ===

impl Counts {
    /// `count` observations in positive buckets.
    fn from((schema, threshold): (i64, f64), has_negative: bool, count: f64) -> Self {
        let upper = |index: i32| (f64::from(index) * 2_f64.powi(-schema as i32)).exp2();
        let first = (-3..).find(|&index| upper(index) > threshold).unwrap_or_default();
        let none = BTreeMap::from([(first, 0.0)]);
        let mut counts = Self {
            first,
            negative: if has_negative { none } else { BTreeMap::new() },
            ..Self::default()
        };
        counts.fill(9, count);
        counts
    }

    /// Spreads `count` over so many positive buckets.
    fn fill(&mut self, buckets: usize, count: f64) {
        let each = (count / buckets as f64).floor();
        self.positive = (self.first..).take(buckets).map(|index| (index, each)).collect();
        self.sum = 2.0 * each * buckets as f64;
    }

    fn count(&self) -> f64 {
        let counts = self.positive.values().chain(self.negative.values());
        counts.sum::<f64>() + self.zero + self.lost
    }

    fn of(&self, histogram: FloatHistogram) -> SampleValue {
        let buckets = |counts: &BTreeMap<i32, f64>| {
            let mut end = 0;
            let spans = counts.iter().map(|(&index, count)| {
                let offset = index - end;
                end = index + 1;
                (offset, std::slice::from_ref(count))
            });
            Buckets::from_spans(spans).unwrap()
        };
        let histogram = histogram
            .with_count(self.count())
            .with_sum(self.sum)
            .with_positive(buckets(&self.positive))
            .with_negative(buckets(&self.negative));
        SampleValue::Histogram(Arc::new(histogram))
    }
}
