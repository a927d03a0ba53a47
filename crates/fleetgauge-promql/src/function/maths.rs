//! Functions of numbers as Go computes them, where that is not how Rust does.
//!
//! The others (`exp`, `sin`, …) are the operating system's, and may differ from Go's in the last digit.

use std::f64::consts::{LN_2, LOG2_E, LOG10_E, PI};

/// The larger one; NaN if one is NaN, unless the other is +Inf.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        return f64::INFINITY;
    }
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    match a == b {
        // 0 is larger than −0.
        true if a.is_sign_negative() => b,
        true => a,
        false if a > b => a,
        false => b,
    }
}

/// The smaller one; NaN if one is NaN, unless the other is −Inf.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    -max(-a, -b)
}

/// −1, 0 or 1 by the sign; NaN, 0 and −0 as they are.
pub(super) fn sgn(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// Exact of powers of two.
pub(super) fn log2(value: f64) -> f64 {
    // Anything else than a positive number has no exponent to take apart.
    if !(value > 0.0 && value.is_finite()) {
        return value.ln();
    }
    let (fraction, exponent) = split(value);
    if fraction == 0.5 {
        return exponent - 1.0;
    }
    fraction.ln() * LOG2_E + exponent
}

/// By the natural logarithm: not exact of powers of ten.
pub(super) fn log10(value: f64) -> f64 {
    value.ln() * LOG10_E
}

/// Near 1, `ln(x + √(x² − 1))` would lose half of the digits.
pub(super) fn acosh(value: f64) -> f64 {
    const LARGE: f64 = (1_u64 << 28) as f64;
    if value < 1.0 || value.is_nan() {
        f64::NAN
    } else if value >= LARGE {
        value.ln() + LN_2
    } else if value > 2.0 {
        (2.0 * value - 1.0 / (value + (value * value - 1.0).sqrt())).ln()
    } else {
        let above = value - 1.0;
        (above + (2.0 * above + above * above).sqrt()).ln_1p()
    }
}

/// By its magnitude: for a negative number the sum under the logarithm would cancel out.
pub(super) fn asinh(value: f64) -> f64 {
    const LARGE: f64 = (1_u64 << 28) as f64;
    let x = value.abs();
    let result = if x > LARGE {
        x.ln() + LN_2
    } else if x > 2.0 {
        (2.0 * x + 1.0 / ((x * x + 1.0).sqrt() + x)).ln()
    } else {
        (x + x * x / (1.0 + (1.0 + x * x).sqrt())).ln_1p()
    };
    result.copysign(value)
}

/// By its magnitude, as [`asinh`].
pub(super) fn atanh(value: f64) -> f64 {
    let x = value.abs();
    let twice = x + x;
    let result = if x < 0.5 {
        0.5 * (twice + twice * x / (1.0 - x)).ln_1p()
    } else {
        0.5 * (twice / (1.0 - x)).ln_1p()
    };
    result.copysign(value)
}

/// From radians to degrees.
pub(super) fn deg(value: f64) -> f64 {
    // One product alone, which is not infinite on the way.
    value * (180.0 / PI)
}

/// From degrees to radians.
pub(super) fn rad(value: f64) -> f64 {
    value * (PI / 180.0)
}

/// A number as `fraction × 2^exponent`, the fraction from a half up to 1.
fn split(value: f64) -> (f64, f64) {
    // Of a subnormal number the exponent is not in the bits.
    let (value, shift) = if value < f64::MIN_POSITIVE {
        (value * (1_u64 << 52) as f64, 52)
    } else {
        (value, 0)
    };
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1022 - shift;
    let fraction = f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52);
    (fraction, f64::from(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    fn same(got: f64, expected: f64, what: &str) {
        assert!(
            got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()),
            "{what}: {got:?}, not {expected:?}"
        );
    }

    #[test]
    fn infinity_wins_over_nan() {
        let check = |a: f64, b: f64, smaller: f64, larger: f64| {
            for (a, b) in [(a, b), (b, a)] {
                same(max(a, b), larger, "max");
                same(min(a, b), smaller, "min");
            }
        };
        check(1.0, 2.0, 1.0, 2.0);
        check(0.0, -0.0, -0.0, 0.0);
        check(-0.0, -0.0, -0.0, -0.0);
        check(NAN, 1.0, NAN, NAN);
        check(NAN, INF, NAN, INF);
        check(NAN, -INF, -INF, NAN);
        check(-INF, INF, -INF, INF);
    }

    #[test]
    fn signs_are_those_of_numbers() {
        for (value, sign) in [(5.0, 1.0), (-INF, -1.0), (0.0, 0.0), (-0.0, -0.0), (NAN, NAN)] {
            same(sgn(value), sign, "sgn");
        }
    }

    /// Printed by Go 1.19.
    #[test]
    fn logarithms_are_gos() {
        for (value, of_2, of_10) in [
            (8.0, 3.0, 0.9030899869919435),
            (1000.0, 9.965784284662087, 3.0),
            (1e15, 49.82892142331043, 14.999999999999998),
            (0.1, -std::f64::consts::LOG2_10, -0.9999999999999999),
            // Of subnormal numbers Go's natural logarithm is wrong, so this one is not Go's.
            (5e-324, -1074.0, -323.30621534311575),
            (0.0, -INF, -INF),
            (INF, INF, INF),
            (-1.0, NAN, NAN),
            (NAN, NAN, NAN),
        ] {
            same(log2(value), of_2, "log2");
            same(log10(value), of_10, "log10");
        }
    }

    #[test]
    fn inverse_hyperbolics_keep_their_digits() {
        let near = |got: f64, expected: f64| {
            assert!(
                ((got - expected) / expected).abs() < 4e-16,
                "{got:?}, not {expected:?}"
            );
        };
        near(acosh(1.0 + 2_f64.powi(-40)), 1.3486991523485068e-6);
        near(acosh(3.0), 1.7627471740390859);
        near(acosh(1e300), 691.4686750787736);
        near(asinh(-1e-10), -1e-10);
        near(asinh(-3.0), -1.8184464592320668);
        near(asinh(1e300), 691.4686750787736);
        near(atanh(-(1.0 - 2_f64.powi(-40))), -14.20951720147865);
        near(atanh(1e-10), 1e-10);
        for (got, expected) in [
            (acosh(1.0), 0.0),
            (acosh(0.5), NAN),
            (acosh(INF), INF),
            (asinh(-0.0), -0.0),
            (asinh(-INF), -INF),
            (atanh(-0.0), -0.0),
            (atanh(1.0), INF),
            (atanh(-1.0), -INF),
            (atanh(1.5), NAN),
        ] {
            same(got, expected, "special");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_split_without_loss(bits in 1..0x7ff0_0000_0000_0000_u64) {
            let value = f64::from_bits(bits);
            let (fraction, exponent) = split(value);
            prop_assert!((0.5..1.0).contains(&fraction));
            let half = (exponent / 2.0) as i32;
            prop_assert_eq!(fraction * 2_f64.powi(half) * 2_f64.powi(exponent as i32 - half), value);
        }
    }
}
