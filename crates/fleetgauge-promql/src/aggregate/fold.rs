//! Aggregations that take one value after the other.

use crate::function::{Mean, Sum};

/// The state of one group at one step.
pub(super) trait Fold: Clone {
    fn starting_at(first: f64) -> Self;
    fn add(&mut self, value: f64);
    fn result(&self) -> f64;
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SumOf(Sum);

#[derive(Clone, Copy, Debug)]
pub(super) struct MeanOf(Mean);

/// NaN only if all values are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Min(f64);

/// NaN only if all values are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Max(f64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Count(f64);

/// 1, whatever the values.
#[derive(Clone, Copy, Debug)]
pub(super) struct One;

/// The population variance, one value after the other.
///
/// *Source*: B. P. Welford, "Note on a method for calculating corrected sums of squares and products", 1962.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Deviation(Variance);

// === impl Fold ===

impl Fold for SumOf {
    fn starting_at(first: f64) -> Self {
        Self(Sum::starting_at(first))
    }

    #[inline]
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn result(&self) -> f64 {
        self.0.with_lost()
    }
}

impl Fold for MeanOf {
    fn starting_at(first: f64) -> Self {
        Self(Mean::starting_at(first))
    }

    #[inline]
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn result(&self) -> f64 {
        self.0.mean()
    }
}

impl Fold for Min {
    fn starting_at(first: f64) -> Self {
        Self(first)
    }

    #[inline]
    fn add(&mut self, value: f64) {
        if self.0 > value || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn result(&self) -> f64 {
        self.0
    }
}

impl Fold for Max {
    fn starting_at(first: f64) -> Self {
        Self(first)
    }

    #[inline]
    fn add(&mut self, value: f64) {
        if self.0 < value || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn result(&self) -> f64 {
        self.0
    }
}

impl Fold for Count {
    fn starting_at(_: f64) -> Self {
        Self(1.0)
    }

    #[inline]
    fn add(&mut self, _: f64) {
        self.0 += 1.0;
    }

    fn result(&self) -> f64 {
        self.0
    }
}

impl Fold for One {
    fn starting_at(_: f64) -> Self {
        Self
    }

    fn add(&mut self, _: f64) {}

    fn result(&self) -> f64 {
        1.0
    }
}

impl Fold for Variance {
    fn starting_at(first: f64) -> Self {
        Self {
            count: 1.0,
            mean: first,
            // One infinite value has no variance, though nothing is subtracted from it yet.
            squares: if first.is_finite() { 0.0 } else { f64::NAN },
        }
    }

    #[inline]
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn result(&self) -> f64 {
        self.squares / self.count
    }
}

impl Fold for Deviation {
    fn starting_at(first: f64) -> Self {
        Self(Variance::starting_at(first))
    }

    #[inline]
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn result(&self) -> f64 {
        self.0.result().sqrt()
    }
}
