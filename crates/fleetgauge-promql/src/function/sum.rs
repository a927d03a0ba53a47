//! Sums and means that lose nothing to rounding: Kahan's compensation as Neumaier improved it.
//!
//! Plain addition of many numbers drops what is small beside the sum so far; here it is collected apart and
//! added at the end. Prometheus does the same in the same order, so results agree to the last bit.
//!
//! *Source*: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.

/// A sum under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    sum: f64,
    /// What the additions so far rounded away.
    lost: f64,
}

/// A mean under way.
///
/// It is the sum divided by the count as long as the sum is finite. Then it goes on as a mean that is moved
/// by each value, because the mean of numbers is finite even if their sum is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mean {
    /// Of the values, or the mean itself once `is_moving`.
    sum: Sum,
    count: f64,
    is_moving: bool,
}

// === impl Sum ===

impl Sum {
    /// A sum of one number. From zero, `-0` would become `0`.
    pub(crate) fn starting_at(first: f64) -> Self {
        Self {
            sum: first,
            lost: 0.0,
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - total) + value;
        } else {
            self.lost += (value - total) + self.sum;
        }
        self.sum = total;
    }

    /// Adds another sum, with what it has lost.
    #[inline]
    pub(crate) fn add_sum(&mut self, other: Self) {
        self.add(other.sum);
        if other.lost != 0.0 {
            self.add(other.lost);
        }
    }

    #[inline]
    pub(crate) fn negated(self) -> Self {
        Self {
            sum: -self.sum,
            lost: -self.lost,
        }
    }

    #[inline]
    pub(crate) fn multiplied(self, factor: f64) -> Self {
        Self {
            sum: self.sum * factor,
            lost: self.lost * factor,
        }
    }

    #[inline]
    pub(crate) fn divided(self, divisor: f64) -> Self {
        Self {
            sum: self.sum / divisor,
            lost: self.lost / divisor,
        }
    }

    #[inline]
    pub(crate) fn total(self) -> f64 {
        if self.sum.is_infinite() {
            return self.sum;
        }
        self.with_lost()
    }

    /// As [`total`](Self::total), but NaN where it went from infinity through NaN.
    #[inline]
    pub(crate) fn with_lost(self) -> f64 {
        self.sum + self.lost
    }
}

impl From<f64> for Sum {
    fn from(first: f64) -> Self {
        Self::starting_at(first)
    }
}

// === impl Mean ===

impl Mean {
    pub(crate) fn starting_at(first: f64) -> Self {
        Self {
            sum: Sum::starting_at(first),
            count: 1.0,
            is_moving: false,
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.is_moving {
            let mut sum = self.sum;
            sum.add(value);
            if !sum.sum.is_infinite() {
                self.sum = sum;
                return;
            }
            self.is_moving = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.lost /= self.count - 1.0;
        }
        let weight = (self.count - 1.0) / self.count;
        self.sum.sum *= weight;
        self.sum.lost *= weight;
        self.sum.add(value / self.count);
    }

    pub(crate) fn mean(self) -> f64 {
        let Sum { sum, lost } = self.sum;
        if self.is_moving {
            sum + lost
        } else {
            // Divided apart, so that two sums near the largest number do not overflow when added.
            sum / self.count + lost / self.count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INF: f64 = f64::INFINITY;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = Sum::default();
        values.iter().for_each(|&v| sum.add(v));
        sum.total()
    }

    fn mean(values: &[f64]) -> f64 {
        let mut mean = Mean::starting_at(values[0]);
        values[1..].iter().for_each(|&v| mean.add(v));
        mean.mean()
    }

    #[test]
    fn sums_keep_what_addition_drops() {
        let check = |values: &[f64], expected: f64| assert_eq!(sum(values), expected, "{values:?}");
        check(&[1.0, 1e100, 1.0, -1e100], 2.0);
        check(&[1e16, 1.0, 1.0, -1e16], 2.0);
        check(&[0.1; 10], 1.0);
        check(&[INF, 1.0], INF);
        check(&[1.0, -INF, 5.0], -INF);
        check(&[f64::MAX, f64::MAX], INF);
        // An overflow is not taken back.
        check(&[f64::MAX, f64::MAX, -f64::MAX], INF);
        assert!(sum(&[INF, -INF]).is_nan());
        assert!(sum(&[INF, f64::NAN, 1.0]).is_nan());
    }

    #[test]
    fn means_do_not_overflow() {
        let check = |values: &[f64], expected: f64| assert_eq!(mean(values), expected, "{values:?}");
        check(&[1.0, 2.0, 6.0], 3.0);
        check(&[1.0, 1e100, 1.0, -1e100], 0.5);
        check(&[f64::MAX, f64::MAX], f64::MAX);
        check(&[-f64::MAX; 4], -1.7976931348623155e308);
        check(&[INF], INF);
        check(&[INF, 1.0, INF], INF);
        check(&[1.0, -INF, 3.0], -INF);
        assert!(mean(&[INF, 1.0, -INF]).is_nan());
        assert!(mean(&[1.0, f64::NAN]).is_nan());
    }

    proptest! {
        #[test]
        fn sums_of_whole_numbers_are_exact(values in prop::collection::vec(-1_i64 << 52..1_i64 << 52, 1..100)) {
            let floats: Vec<_> = values.iter().map(|&v| v as f64).collect();
            let exact: i128 = values.iter().map(|&v| i128::from(v)).sum();
            prop_assert_eq!(sum(&floats), exact as f64);
        }

        #[test]
        fn means_lie_within(values in prop::collection::vec(-1e308..1e308, 1..100)) {
            let low = values.iter().copied().fold(INF, f64::min);
            let high = values.iter().copied().fold(-INF, f64::max);
            let slack = 1e-14 * low.abs().max(high.abs());
            let mean = mean(&values);
            prop_assert!(low - slack <= mean && mean <= high + slack, "{} of {}..{}", mean, low, high);
        }
    }
}
