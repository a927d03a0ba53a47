//! Between numbers and vectors: `scalar`, `vector`, `time`, `pi`, `min_of`, `max_of`; and what the query's
//! steps are.

use std::f64::consts::PI;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::label::LabelSet;
use crate::value::{Steps, Vector, is_absent};

/// `scalar(vector)`: the number of its only series at each step, and NaN if there is none or more.
pub(super) fn scalar(vector: &Vector, budget: &mut Budget) -> Result<Vec<f64>, EvalError> {
    budget.take_list::<Option<f64>>(vector.width())?;
    let mut found = vec![None; vector.width()];
    for (_, values) in vector.rows() {
        budget.spend(values.len())?;
        for (place, &value) in found.iter_mut().zip(values) {
            if !is_absent(value) {
                *place = Some(place.map_or(value, |_| f64::NAN));
            }
        }
    }
    Ok(found.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

/// `vector(scalar)`: one series without labels.
pub(super) fn vector(values: &[f64]) -> Vector {
    let mut vector = Vector::new(values.len());
    vector.push(LabelSet::empty(), values);
    vector
}

/// `time()`: when each step is. *Unit*: seconds since the Unix epoch.
pub(super) fn time(steps: &Steps) -> Vec<f64> {
    steps.iter().map(|at| at as f64 / 1000.0).collect()
}

/// `pi()`
pub(super) fn pi(steps: &Steps) -> Vec<f64> {
    vec![PI; steps.count]
}

/// `min_of(a, b)`, and `max_of`
pub(super) fn of_two(function: fn(f64, f64) -> f64, mut a: Vec<f64>, b: &[f64]) -> Vec<f64> {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = function(*a, b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::super::maths;
    use super::super::tests::{budget, rows, vector as rows_of};
    use super::*;
    use crate::value::ABSENT;

    const STEPS: Steps = Steps {
        start: 1_500,
        step: 250,
        count: 3,
        until: 2_000,
    };

    #[test]
    fn a_scalar_is_the_only_series() {
        let check = |vector: Vector, expected: [f64; 3]| {
            // By their texts, so that NaN is equal to NaN.
            assert_eq!(
                format!("{:?}", scalar(&vector, &mut budget()).expect("small")),
                format!("{expected:?}")
            );
        };
        check(Vector::new(3), [f64::NAN; 3]);
        check(
            rows_of(&[("x", &[1.0, ABSENT, f64::INFINITY])]),
            [1.0, f64::NAN, f64::INFINITY],
        );
        let two: &[(&str, &[f64])] = &[("x", &[1.0, ABSENT, 3.0]), ("y", &[ABSENT, 2.0, 3.0])];
        check(rows_of(two), [1.0, 2.0, f64::NAN]);
    }

    #[test]
    fn a_vector_has_no_labels() {
        assert_eq!(rows(&vector(&[1.0, f64::NAN])), ["{} 1 NaN"]);
    }

    #[test]
    fn steps_have_times() {
        assert_eq!(time(&STEPS), [1.5, 1.75, 2.0]);
        assert_eq!(pi(&STEPS), [PI; 3]);
    }

    #[test]
    fn of_two_numbers_one_is_taken() {
        let of = |function: fn(f64, f64) -> f64| of_two(function, vec![1.0, 5.0, -0.0], &[2.0, -5.0, 0.0]);
        assert_eq!(of(maths::min), [1.0, -5.0, -0.0]);
        assert_eq!(of(maths::max), [2.0, 5.0, 0.0]);
    }
}
