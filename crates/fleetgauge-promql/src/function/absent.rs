//! `absent` and `absent_over_time`: a sample where there is none.
//!
//! The engine calls these, because the labels of the answer are read off how the argument is written.

use std::collections::BTreeMap;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::label::{LabelSet, SCHEMA};
use crate::matcher::{MatchOp, Matcher};
use crate::value::{ABSENT, Vector, is_absent};

/// The labels of what is absent: those that the selector says outright.
///
/// A label that is matched twice is left out, even if both times by the same value; so Prometheus does.
pub(crate) fn labels(matchers: &[Matcher]) -> LabelSet {
    let mut known = BTreeMap::new();
    let mut taken = Vec::new();
    for matcher in matchers.iter().filter(|m| !SCHEMA.contains(&m.name())) {
        let name = matcher.name();
        if matcher.op() == MatchOp::Equal && !taken.contains(&name) {
            known.insert(name, matcher.value());
            taken.push(name);
        } else {
            known.remove(name);
        }
    }
    LabelSet::from_pairs(known)
}

/// 1 at each step where `vector` has no sample.
pub(crate) fn absent(vector: &Vector, labels: LabelSet, budget: &mut Budget) -> Result<Vector, EvalError> {
    budget.take_vector(1, vector.width())?;
    let mut result = Vector::new(vector.width());
    let row = result.push_absent(labels);
    row.fill(1.0);
    for (_, values) in vector.rows() {
        budget.spend(values.len())?;
        for (place, &value) in row.iter_mut().zip(values) {
            if !is_absent(value) {
                *place = ABSENT;
            }
        }
    }
    result.retain_present();
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{budget, rows, vector};
    use super::*;

    #[test]
    fn one_where_there_is_nothing() {
        let labels = LabelSet::from_pairs([("job", "a")]);
        let check = |input: &Vector, expected: &[&str]| {
            let absent = absent(input, labels.clone(), &mut budget()).expect("small");
            assert_eq!(rows(&absent), expected);
        };
        check(&Vector::new(2), &[r#"{job="a"} 1 1"#]);
        check(
            &vector(&[("x", &[ABSENT, 5.0, ABSENT]), ("y", &[ABSENT, ABSENT, f64::NAN])]),
            &[r#"{job="a"} 1 _ _"#],
        );
        check(&vector(&[("x", &[1.0, 1.0])]), &[]);
    }

    #[test]
    fn labels_are_those_said_outright() {
        let regex = Matcher::new("zone", MatchOp::Regex, "a|b").expect("valid");
        let not = Matcher::new("pod", MatchOp::NotEqual, "x").expect("valid");
        let equal = Matcher::equal;
        let check = |matchers: &[Matcher], expected: &str| {
            assert_eq!(labels(matchers).to_string(), expected);
        };
        check(&[], "{}");
        check(
            &[equal("__name__", "x"), equal("job", "a"), regex.clone()],
            r#"{job="a"}"#,
        );
        check(
            &[equal("job", "a"), equal("job", "b"), equal("pod", "c")],
            r#"{pod="c"}"#,
        );
        check(&[equal("job", "a"), equal("job", "a")], "{}");
        check(&[equal("pod", "a"), not.clone()], "{}");
        // The other way round it stays: only an equality says what was taken.
        check(&[not, equal("pod", "a")], r#"{pod="a"}"#);
        check(&[equal("job", "")], "{}");
    }
}
