//! Functions that take each number for itself: rounding, clamping, logarithms, trigonometry.
//!
//! All steps of all series are computed in place, and "no sample" stays what it is. Histograms are left out before.

use super::maths;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::{ABSENT, Vector, is_absent};

/// A loop of its own for each function, rather than one that calls through a pointer for each number.
macro_rules! each_number {
    ($function:expr) => {
        Implementation::EachNumber(|values| {
            for value in values
                .iter_mut()
                .filter(|value| !$crate::value::is_absent(**value))
            {
                *value = $function(*value);
            }
        })
    };
}

pub(super) use each_number;

/// Applies a function of one number.
pub(super) fn apply(
    function: fn(&mut [f64]),
    mut vector: Vector,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    for values in vector.values_mut().chunks_mut(COMPUTED_AT_ONCE) {
        budget.spend(values.len().saturating_mul(FUNCTION_WORK))?;
        function(values);
    }
    without_names(vector, budget)
}

/// Between two looks at the budget.
const COMPUTED_AT_ONCE: usize = 1 << 14;

/// The work of a function of one number, of which the hyperbolic ones take longest.
const FUNCTION_WORK: usize = 4;

/// Applies a function of a number and its step; `None` leaves no sample.
pub(super) fn apply_with_step(
    mut vector: Vector,
    budget: &mut Budget,
    function: impl Fn(f64, usize) -> Option<f64>,
) -> Result<Vector, EvalError> {
    for series in 0..vector.len() {
        budget.spend(vector.width().saturating_mul(FUNCTION_WORK))?;
        for (step, value) in vector.row_mut(series).iter_mut().enumerate() {
            if !is_absent(*value) {
                *value = function(*value, step).unwrap_or(ABSENT);
            }
        }
    }
    vector.retain_present();
    without_names(vector, budget)
}

/// `round(vector, to_nearest)`: halves go up.
pub(super) fn round(vector: Vector, to_nearest: &[f64], budget: &mut Budget) -> Result<Vector, EvalError> {
    apply_with_step(vector, budget, |value, step| {
        // By the inverse, which is exact for 0.1 and the like more often.
        let inverse = 1.0 / to_nearest[step];
        Some((value * inverse + 0.5).floor() / inverse)
    })
}

/// `clamp(vector, min, max)`: nothing at the steps where the limits exclude everything.
pub(super) fn clamp(
    vector: Vector,
    min: &[f64],
    max: &[f64],
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    apply_with_step(vector, budget, |value, step| {
        let (min, max) = (min[step], max[step]);
        let is_empty = max < min;
        (!is_empty).then(|| maths::max(min, maths::min(max, value)))
    })
}

/// What a function computes is another metric, so the names go.
fn without_names(mut vector: Vector, budget: &mut Budget) -> Result<Vector, EvalError> {
    if vector.drop_names(budget)? {
        vector.merge_duplicates(budget)?;
    }
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{budget, each_number, evaluate, rows, vector};
    use super::*;
    use crate::value::Operand;
    use proptest::prelude::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    fn one(name: &str, value: f64) -> f64 {
        let mut values = [value];
        each_number(name)(&mut values);
        values[0]
    }

    #[test]
    fn functions_of_one_number() {
        let check = |name: &str, value: f64, expected: f64| {
            let got = one(name, value);
            let is_equal = (got - expected).abs() <= 4e-16 * expected.abs()
                || got == expected
                || (got.is_nan() && expected.is_nan());
            assert!(is_equal, "{name}({value}): {got}, not {expected}");
        };
        check("abs", -1.5, 1.5);
        check("abs", -INF, INF);
        check("ceil", -1.5, -1.0);
        check("ceil", 1.2, 2.0);
        check("floor", -1.5, -2.0);
        check("floor", NAN, NAN);
        check("exp", 1.0, std::f64::consts::E);
        check("exp", -INF, 0.0);
        check("ln", std::f64::consts::E, 1.0);
        check("ln", 0.0, -INF);
        check("ln", -1.0, NAN);
        check("log2", 1024.0, 10.0);
        check("log10", 100.0, 2.0);
        check("sqrt", 2.25, 1.5);
        check("sqrt", -1.0, NAN);
        check("sgn", -7.0, -1.0);
        check("sin", 0.5, 0.479425538604203);
        check("cos", 0.5, 0.8775825618903728);
        check("tan", 0.5, 0.5463024898437905);
        check("asin", 0.5, std::f64::consts::FRAC_PI_6);
        check("acos", 0.5, 1.0471975511965976);
        check("atan", 0.5, 0.4636476090008061);
        check("asin", 1.5, NAN);
        check("sinh", 0.5, 0.5210953054937474);
        check("cosh", 0.5, 1.1276259652063807);
        check("tanh", 0.5, 0.46211715726000974);
        check("asinh", 0.5, 0.48121182505960347);
        check("acosh", 1.5, 0.9624236501192069);
        check("atanh", 0.5, 0.5493061443340548);
        check("deg", std::f64::consts::PI, 180.0);
        check("rad", 90.0, std::f64::consts::FRAC_PI_2);
    }

    #[test]
    fn no_sample_stays_no_sample() {
        for name in ["abs", "floor", "exp", "sgn", "sin", "rad", "log2"] {
            assert!(is_absent(one(name, ABSENT)), "{name}");
        }
        let input = vector(&[(r#"x{a="1"}"#, &[-1.0, ABSENT, NAN])]);
        assert_eq!(
            rows(&evaluate("abs", vec![Operand::Vector(input)])),
            [r#"{a="1"} 1 _ NaN"#]
        );
    }

    #[test]
    fn series_that_become_one_must_not_meet() {
        let input = |second: &[f64]| vector(&[(r#"x{a="1"}"#, &[1.0, ABSENT]), (r#"y{a="1"}"#, second)]);
        let merged = without_names(input(&[ABSENT, 2.0]), &mut budget()).expect("never at one step");
        assert_eq!(rows(&merged), [r#"{a="1"} 1 2"#]);
        let error = without_names(input(&[3.0, ABSENT]), &mut budget()).expect_err("two at one step");
        assert_eq!(
            error.to_string(),
            "vector cannot contain metrics with the same labelset"
        );
    }

    #[test]
    fn halves_are_rounded_up() {
        let check = |value: f64, to_nearest: f64, expected: &str| {
            let rounded =
                round(vector(&[("x", &[value])]), &[to_nearest], &mut budget()).expect("one series");
            assert_eq!(
                rows(&rounded),
                [format!("{{}} {expected}")],
                "{value} to {to_nearest}"
            );
        };
        check(2.5, 1.0, "3");
        check(-2.5, 1.0, "-2");
        check(-0.5, 1.0, "0");
        check(1.25, 0.5, "1.5");
        check(4.4, 5.0, "5");
        check(0.15, 0.1, "0.2");
        check(7.0, 0.0, "NaN");
        check(INF, 1.0, "+Inf");
        check(3.0, INF, "NaN");
        check(-1.4, -1.0, "-1");
    }

    #[test]
    fn limits_may_change_from_step_to_step() {
        let input = || vector(&[("x", &[5.0, 5.0, NAN, ABSENT, 5.0]), ("y{a=\"1\"}", &[-1.0; 5])]);
        let clamped = clamp(
            input(),
            &[0.0, 0.0, 0.0, 0.0, 9.0],
            &[3.0, 9.0, 9.0, 9.0, 0.0],
            &mut budget(),
        )
        .expect("two");
        assert_eq!(rows(&clamped), ["{} 3 5 NaN _ _", r#"{a="1"} 0 0 0 0 _"#]);
        let nan = clamp(input(), &[NAN; 5], &[INF; 5], &mut budget()).expect("two");
        assert_eq!(
            rows(&nan),
            ["{} NaN NaN NaN _ NaN", r#"{a="1"} NaN NaN NaN NaN NaN"#]
        );
        assert_eq!(
            clamp(input(), &[1.0; 5], &[0.0; 5], &mut budget())
                .expect("none")
                .len(),
            0
        );
    }

    proptest! {
        #[test]
        fn rounding_moves_by_half_a_unit_at_most(value in -1e6..1e6, to_nearest in 0.001..1e3) {
            let rounded = round(vector(&[("x", &[value])]), &[to_nearest], &mut budget()).unwrap();
            prop_assert!((rounded.row(0)[0] - value).abs() <= to_nearest * (0.5 + 1e-6));
        }

        #[test]
        fn what_is_clamped_is_within(value in prop::num::f64::NORMAL, a in -1e9..1e9, width in 0.0..1e9) {
            let clamped = clamp(vector(&[("x", &[value])]), &[a], &[a + width], &mut budget()).unwrap();
            prop_assert!((a..=a + width).contains(&clamped.row(0)[0]));
        }
    }
}
