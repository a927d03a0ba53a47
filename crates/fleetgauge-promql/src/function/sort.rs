//! The order of an answer: `sort`, `sort_desc`, `sort_by_label` and `sort_by_label_desc`.
//!
//! Only the answer to an instant query has one.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::label::LabelSet;
use crate::value::Vector;

/// By value; NaN last in either direction.
pub(super) fn by_value(vector: &Vector, descending: bool, budget: &mut Budget) -> Result<Vector, EvalError> {
    ordered(vector, budget, |a, b| {
        let (a, b) = (vector.row(a)[0], vector.row(b)[0]);
        let order = a
            .partial_cmp(&b)
            .map(|order| if descending { order.reverse() } else { order });
        order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    })
}

/// By the labels `names`, one after the other, then by all: numbers in texts by their size.
pub(super) fn by_label(
    vector: &Vector,
    names: &[Arc<str>],
    descending: bool,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    ordered(vector, budget, |a, b| {
        let order = compare_labels(&vector.labels[a], &vector.labels[b], names);
        if descending { order.reverse() } else { order }
    })
}

fn ordered(
    vector: &Vector,
    budget: &mut Budget,
    compare: impl Fn(usize, usize) -> Ordering,
) -> Result<Vector, EvalError> {
    budget.take_list::<usize>(vector.len())?;
    budget.take_vector(vector.len(), vector.width())?;
    let mut order: Vec<usize> = (0..vector.len()).collect();
    budget.sort_by(&mut order, |&a, &b| compare(a, b))?;
    Ok(vector.reordered(&order))
}

fn compare_labels(a: &LabelSet, b: &LabelSet, names: &[Arc<str>]) -> Ordering {
    let by_name = names.iter().map(|name| {
        let [a, b] = [a, b].map(|labels| labels.get(name).unwrap_or_default());
        natural(a, b)
    });
    by_name
        .fold(Ordering::Equal, Ordering::then)
        .then_with(|| a.cmp(b))
}

/// `pod-2` before `pod-10`: digits count as a number.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    loop {
        let (chunk_a, chunk_b);
        (chunk_a, rest_a) = chunk(rest_a);
        (chunk_b, rest_b) = chunk(rest_b);
        if chunk_a.is_empty() || chunk_b.is_empty() {
            // The one that ends is first. Of equal numbers in different digits, the texts decide.
            return chunk_a.len().cmp(&chunk_b.len()).then_with(|| a.cmp(b));
        }
        let order = match (number(chunk_a), number(chunk_b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => chunk_a.cmp(chunk_b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Something by which digits sort as numbers, of whatever size: how many there are, then the digits.
fn number(chunk: &str) -> Option<(usize, &str)> {
    if !chunk.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = chunk.trim_start_matches('0');
    Some((digits.len(), digits))
}

/// What the text begins with, digits or no digits, and the rest.
fn chunk(text: &str) -> (&str, &str) {
    let is_digit = |c: char| c.is_ascii_digit();
    let starts_with_digit = text.starts_with(is_digit);
    let end = text
        .find(|c| is_digit(c) != starts_with_digit)
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{budget, rows, vector};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nan_is_last_in_both_directions() {
        let input = vector(&[
            ("a", &[f64::NAN]),
            ("b", &[2.0]),
            ("c", &[f64::INFINITY]),
            ("d", &[-1.0]),
            ("e", &[2.0]),
        ]);
        assert_eq!(
            rows(&by_value(&input, false, &mut budget()).expect("small")),
            ["d -1", "b 2", "e 2", "c +Inf", "a NaN"]
        );
        assert_eq!(
            rows(&by_value(&input, true, &mut budget()).expect("small")),
            ["c +Inf", "b 2", "e 2", "d -1", "a NaN"]
        );
    }

    #[test]
    fn labels_sort_as_people_count() {
        let input = vector(&[
            (r#"x{pod="p-10",zone="b"}"#, &[1.0]),
            (r#"x{pod="p-2",zone="a"}"#, &[2.0]),
            (r#"x{pod="p-2",zone="b"}"#, &[3.0]),
            (r#"x{zone="c"}"#, &[4.0]),
        ]);
        let values = |vector: Vector| (0..4).map(|i| vector.row(i)[0]).collect::<Vec<_>>();
        let names = |names: &[&str]| names.iter().copied().map(Arc::from).collect::<Vec<_>>();
        assert_eq!(
            values(by_label(&input, &names(&["pod"]), false, &mut budget()).expect("small")),
            [4.0, 2.0, 3.0, 1.0]
        );
        assert_eq!(
            values(by_label(&input, &names(&["pod"]), true, &mut budget()).expect("small")),
            [1.0, 3.0, 2.0, 4.0]
        );
        assert_eq!(
            values(by_label(&input, &names(&["zone", "pod"]), false, &mut budget()).expect("small")),
            [2.0, 3.0, 1.0, 4.0]
        );
        assert_eq!(
            values(by_label(&input, &names(&["none"]), false, &mut budget()).expect("small")),
            [1.0, 2.0, 3.0, 4.0]
        );
    }

    #[test]
    fn texts_are_compared_in_chunks() {
        let ascending = [
            "",
            "0",
            "007",
            "7",
            "10",
            "99999999999999999999",
            "a",
            "a1b2",
            "a1b10",
            "a2",
            "b",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(natural(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(natural(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
    }

    proptest! {
        /// What is not one, `sort_by` panics about.
        #[test]
        fn the_order_of_texts_is_total(mut texts in prop::collection::vec("[0-9a]{0,21}", 3)) {
            texts.sort_by(|a, b| natural(a, b));
            let [a, b, c] = &texts[..] else { unreachable!() };
            prop_assert!(natural(a, b).is_le() && natural(b, c).is_le() && natural(a, c).is_le());
            prop_assert_eq!(natural(a, c).reverse(), natural(c, a));
            prop_assert_eq!(natural(a, b).is_eq(), a == b);
        }
    }
}
