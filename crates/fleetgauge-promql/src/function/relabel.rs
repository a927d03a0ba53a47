//! Functions that write labels: `label_replace` and `label_join`.

use std::sync::Arc;

use crate::budget::{Budget, REGEX_WORK, SERIES_WORK};
use crate::error::EvalError;
use crate::label::METRIC_NAME;
use crate::pattern::Pattern;
use crate::value::Vector;

/// `label_replace(vector, destination, replacement, source, pattern)`: where the whole source label fits the
/// pattern.
pub(super) fn label_replace(
    mut vector: Vector,
    destination: &str,
    replacement: &str,
    source: &str,
    pattern: &str,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    let Ok(regex) = Pattern::new(pattern) else {
        return Err(EvalError::execution(format!(
            "invalid regular expression in label_replace(): {pattern}"
        )));
    };
    check_name(destination, "destination", "label_replace")?;
    let template = regex.template(replacement);
    for i in 0..vector.len() {
        let labels = &mut vector.labels.to_mut()[i];
        let value = labels.get(source).unwrap_or_default();
        budget.spend(SERIES_WORK + value.len() * REGEX_WORK)?;
        let replaced = regex
            .captures(value)
            .map(|captures| concatenated(template.texts(&captures), "label_replace"));
        if let Some(replaced) = replaced.transpose()? {
            budget.take_bytes(labels.bytes_with(destination, &replaced))?;
            *labels = labels.with(destination, &replaced);
            if destination == METRIC_NAME {
                vector.keep_name(i);
            }
        }
    }
    vector.merge_duplicates(budget)?;
    Ok(vector)
}

/// `label_join(vector, destination, separator, source, …)`
pub(super) fn label_join(
    mut vector: Vector,
    destination: &str,
    separator: &str,
    sources: &[Arc<str>],
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    for source in sources {
        check_name(source, "source", "label_join")?;
    }
    check_name(destination, "destination", "label_join")?;
    for i in 0..vector.len() {
        let labels = &mut vector.labels.to_mut()[i];
        let values = sources.iter().enumerate().flat_map(|(i, source)| {
            let separator = if i > 0 { separator } else { "" };
            [separator, labels.get(source).unwrap_or_default()]
        });
        let joined = concatenated(values, "label_join")?;
        budget.spend_series(labels.bytes_with(destination, &joined) + sources.len())?;
        *labels = labels.with(destination, &joined);
        if destination == METRIC_NAME {
            vector.keep_name(i);
        }
    }
    vector.merge_duplicates(budget)?;
    Ok(vector)
}

/// How long the value of a label may become. Prometheus has no such bound, so that a dozen calls that each
/// write a label eight times into itself take all memory there is.
const MAX_VALUE_BYTES: usize = 16 << 10;

fn concatenated<'a>(texts: impl Iterator<Item = &'a str>, function: &str) -> Result<String, EvalError> {
    let mut value = String::new();
    for text in texts {
        if value.len() + text.len() > MAX_VALUE_BYTES {
            return Err(EvalError::execution(format!(
                "{function}() makes a label value of more than {MAX_VALUE_BYTES} bytes"
            )));
        }
        value.push_str(text);
    }
    Ok(value)
}

/// Since Prometheus 3 any text but the empty one can be a label's name.
fn check_name(name: &str, role: &str, function: &str) -> Result<(), EvalError> {
    if name.is_empty() {
        return Err(EvalError::execution(format!(
            "invalid {role} label name in {function}(): {name}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{budget, rows, vector};
    use super::*;
    use crate::value::ABSENT;

    #[test]
    fn labels_are_replaced_where_the_pattern_fits() {
        let check = |destination: &str, replacement: &str, source: &str, pattern: &str, expected: &str| {
            let input = vector(&[(r#"x{pod="vllm-17",zone="a"}"#, &[1.0])]);
            let replaced = label_replace(input, destination, replacement, source, pattern, &mut budget())
                .expect("valid");
            assert_eq!(
                rows(&replaced),
                [format!("{expected} 1")],
                "{replacement} of {pattern}"
            );
        };
        check(
            "id",
            "$1",
            "pod",
            r".*-(\d+)",
            r#"x{id="17", pod="vllm-17", zone="a"}"#,
        );
        check(
            "id",
            "${n}x",
            "pod",
            r"(?P<n>\w+)-.*",
            r#"x{id="vllmx", pod="vllm-17", zone="a"}"#,
        );
        check(
            "pod",
            "$2-$1",
            "pod",
            "(.*)-(.*)",
            r#"x{pod="17-vllm", zone="a"}"#,
        );
        // The whole value must fit.
        check("id", "y", "pod", r"vllm", r#"x{pod="vllm-17", zone="a"}"#);
        // A label that is not there is empty, and what becomes empty goes.
        check(
            "id",
            "none",
            "other",
            "",
            r#"x{id="none", pod="vllm-17", zone="a"}"#,
        );
        check("zone", "$1", "pod", "vllm-17(.*)", r#"x{pod="vllm-17"}"#);
        check("zone", "", "pod", ".*", r#"x{pod="vllm-17"}"#);
        // The metric's name is a label, too.
        check("__name__", "y", "pod", ".*", r#"y{pod="vllm-17", zone="a"}"#);
        check("__name__", "", "pod", ".*", r#"{pod="vllm-17", zone="a"}"#);
        check(
            "n",
            "$1",
            "__name__",
            "(.*)",
            r#"x{n="x", pod="vllm-17", zone="a"}"#,
        );
        check(
            "näme",
            "$0",
            "zone",
            ".*",
            r#"x{"näme"="a", pod="vllm-17", zone="a"}"#,
        );
    }

    #[test]
    fn a_point_is_any_character() {
        let input = vector(&[("x{a=\"1\n2\"}", &[1.0])]);
        let replaced = label_replace(input, "b", "$1", "a", "1.(2)", &mut budget()).expect("valid");
        assert_eq!(rows(&replaced), [r#"x{a="1\n2", b="2"} 1"#]);
    }

    /// Regression: nested calls multiplied a label until memory was used up.
    #[test]
    fn a_label_does_not_grow_without_end() {
        let half = "a".repeat(MAX_VALUE_BYTES / 2);
        let input = || vector(&[(&*format!(r#"x{{a="{half}",b="1"}}"#), &[1.0])]);
        assert!(label_replace(input(), "c", "$1$1", "a", "(.*)", &mut budget()).is_ok());
        let error = label_replace(input(), "c", "$1$1.", "a", "(.*)", &mut budget()).expect_err("too long");
        assert!(error.to_string().contains("more than 16384 bytes"), "{error}");
        let sources = |names: &[&str]| names.iter().map(|&name| name.into()).collect::<Vec<_>>();
        assert!(label_join(input(), "c", "", &sources(&["a", "a"]), &mut budget()).is_ok());
        assert!(label_join(input(), "c", "", &sources(&["a", "b", "a"]), &mut budget()).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |result: Result<Vector, EvalError>, expected: &str| {
            assert_eq!(result.expect_err("refused").to_string(), expected);
        };
        let input = || {
            vector(&[
                (r#"x{pod="a"}"#, &[1.0, ABSENT]),
                (r#"x{pod="b"}"#, &[ABSENT, 1.0]),
            ])
        };
        check(
            label_replace(input(), "a", "", "pod", "(", &mut budget()),
            "invalid regular expression in label_replace(): (",
        );
        check(
            label_replace(input(), "", "", "pod", "", &mut budget()),
            "invalid destination label name in label_replace(): ",
        );
        check(
            label_join(input(), "a", "", &["pod".into(), "".into()], &mut budget()),
            "invalid source label name in label_join(): ",
        );
        check(
            label_join(input(), "", "", &[], &mut budget()),
            "invalid destination label name in label_join(): ",
        );
        let both = || vector(&[(r#"x{pod="a"}"#, &[1.0]), (r#"x{pod="b"}"#, &[2.0])]);
        let same = "vector cannot contain metrics with the same labelset";
        check(
            label_replace(both(), "pod", "c", "pod", ".*", &mut budget()),
            same,
        );
        check(
            label_join(both(), "pod", "", &["zone".into()], &mut budget()),
            same,
        );
        // Those that never meet are one.
        let one = label_replace(input(), "pod", "c", "pod", ".*", &mut budget()).expect("one");
        assert_eq!(rows(&one), [r#"x{pod="c"} 1 1"#]);
    }

    #[test]
    fn labels_are_joined() {
        let check = |sources: &[&str], expected: &str| {
            let input = vector(&[(r#"x{a="1",b="2",c="3"}"#, &[1.0])]);
            let sources: Vec<_> = sources.iter().copied().map(Arc::from).collect();
            let joined = label_join(input, "c", "-", &sources, &mut budget()).expect("valid");
            assert_eq!(rows(&joined), [format!("{expected} 1")], "{sources:?}");
        };
        check(&["a", "b"], r#"x{a="1", b="2", c="1-2"}"#);
        check(&["c", "c"], r#"x{a="1", b="2", c="3-3"}"#);
        check(&["a", "z", "b"], r#"x{a="1", b="2", c="1--2"}"#);
        check(&["z"], r#"x{a="1", b="2"}"#);
        check(&[], r#"x{a="1", b="2"}"#);
        check(&["__name__", "a"], r#"x{a="1", b="2", c="x-1"}"#);
    }
}
