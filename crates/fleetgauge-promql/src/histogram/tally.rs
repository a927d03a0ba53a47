//! What a bucket counts with: a plain number, or a sum that loses nothing to rounding.

use crate::function::sum::Sum;

/// A count to which counts are added.
///
/// A sample has plain numbers. While many samples are added up, each count is a compensated sum instead, so that
/// the order of the samples does not show in the result.
pub trait Tally: Copy + From<f64> + sealed::Sealed {
    /// Adds what another one has counted.
    fn join(&mut self, other: Self);

    /// The same with the other sign.
    #[must_use]
    fn negated(self) -> Self;

    /// Multiplies all that is counted.
    #[must_use]
    fn multiplied(self, factor: f64) -> Self;

    /// Divides all that is counted.
    #[must_use]
    fn divided(self, divisor: f64) -> Self;

    /// Whether nothing is counted.
    fn is_zero(self) -> bool;

    /// The number.
    fn total(self) -> f64;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for f64 {}
    impl Sealed for crate::function::sum::Sum {}
}

impl Tally for f64 {
    #[inline]
    fn join(&mut self, other: Self) {
        *self += other;
    }

    #[inline]
    fn negated(self) -> Self {
        -self
    }

    #[inline]
    fn multiplied(self, factor: f64) -> Self {
        self * factor
    }

    #[inline]
    fn divided(self, divisor: f64) -> Self {
        self / divisor
    }

    #[inline]
    fn is_zero(self) -> bool {
        self == 0.0
    }

    #[inline]
    fn total(self) -> f64 {
        self
    }
}

impl Tally for Sum {
    #[inline]
    fn join(&mut self, other: Self) {
        self.add_sum(other);
    }

    #[inline]
    fn negated(self) -> Self {
        Sum::negated(self)
    }

    #[inline]
    fn multiplied(self, factor: f64) -> Self {
        Sum::multiplied(self, factor)
    }

    #[inline]
    fn divided(self, divisor: f64) -> Self {
        Sum::divided(self, divisor)
    }

    #[inline]
    fn is_zero(self) -> bool {
        self == Self::default()
    }

    #[inline]
    fn total(self) -> f64 {
        self.with_lost()
    }
}
