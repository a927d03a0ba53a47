//! What a trigger's metadata say: which metric, what it is held to, which of its rows.

use std::collections::HashMap;

use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::similar::similar;

/// What a trigger asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trigger {
    /// The metric's name, as it was given.
    pub(super) metric: String,
    /// What it is held to; positive.
    pub(super) target: f64,
    /// There is work where the value is above it.
    pub(super) activation: f64,
    /// The labels of the row that is meant, where that is said; an empty value stands for a row without the label.
    pub(super) selector: Option<Vec<(String, String)>>,
}

/// What is wrong with a trigger's metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TriggerError {
    #[error("the trigger's metadata lacks `{key}`: {expected}")]
    Missing {
        key: &'static str,
        expected: &'static str,
    },
    #[error("{} of the trigger's metadata is not known; did you mean `{meant}`?", Excerpt(.key))]
    Unknown { key: String, meant: &'static str },
    #[error("`{key}` of the trigger's metadata is {}: {expected}", Excerpt(.given))]
    Invalid {
        key: &'static str,
        given: String,
        expected: &'static str,
    },
}

/// The largest number that KEDA can be told. It counts in thousandths, in 64 bits, and a larger number would come out
/// as another one, even as a negative one.
pub(super) const MAX: f64 = 9.0e15;
/// The smallest one above zero, for the same reason: a smaller one would come out as zero.
pub(super) const MIN: f64 = 0.001;

const METRIC: &str = "metric";
const TARGET: &str = "target";
const ACTIVATION: &str = "activation";
const SELECTOR: &str = "selector";
const OURS: [&str; 4] = [METRIC, TARGET, ACTIVATION, SELECTOR];
/// What KEDA reads itself, and passes on with the rest.
const KEDAS: [&str; 7] = [
    "scalerAddress",
    "enableTLS",
    "unsafeSsl",
    "caCert",
    "tlsCertFile",
    "tlsClientCert",
    "tlsClientKey",
];

const METRIC_EXPECTED: &str = "it is the name of a metric";
const TARGET_EXPECTED: &str = "it is a number from 0.001 to 9e15, the value that one replica is to have";
const ACTIVATION_EXPECTED: &str = "it is a number; there is work where the value is above it";
const SELECTOR_EXPECTED: &str = "it is `label=value`, several of them with commas between, and each label once; no value: without the label";

// === impl Trigger ===

impl Trigger {
    /// What `metadata` ask for. Keys that are not ours are others' business, unless one of ours was likely meant.
    pub(super) fn read(metadata: &HashMap<String, String>) -> Result<Self, TriggerError> {
        // The first by name, so that the same mistake is told the same way each time.
        if let Some((key, meant)) = metadata.keys().filter_map(|key| misspelt(key)).min() {
            let key = key.to_owned();
            return Err(TriggerError::Unknown { key, meant });
        }
        let get = |key: &'static str| metadata.get(key).map(|text| text.trim());
        let number = |key: &'static str, expected: &'static str, is_fine: fn(f64) -> bool| {
            let Some(text) = get(key) else {
                return Ok(None);
            };
            let read = text.parse().ok().filter(|number: &f64| is_fine(*number));
            read.map(Some)
                .ok_or_else(|| TriggerError::invalid(key, text, expected))
        };
        let missing = |key, expected| TriggerError::Missing { key, expected };
        let metric = get(METRIC).ok_or_else(|| missing(METRIC, METRIC_EXPECTED))?;
        if metric.is_empty() {
            return Err(TriggerError::invalid(METRIC, metric, METRIC_EXPECTED));
        }
        let target = number(TARGET, TARGET_EXPECTED, |target| (MIN..=MAX).contains(&target))?;
        let activation = number(ACTIVATION, ACTIVATION_EXPECTED, f64::is_finite)?;
        let selector = get(SELECTOR).map(|text| {
            selector(text).ok_or_else(|| TriggerError::invalid(SELECTOR, text, SELECTOR_EXPECTED))
        });
        Ok(Self {
            metric: metric.to_owned(),
            target: target.ok_or_else(|| missing(TARGET, TARGET_EXPECTED))?,
            activation: activation.unwrap_or(0.0),
            selector: selector.transpose()?,
        })
    }
}

// === impl TriggerError ===

impl TriggerError {
    fn invalid(key: &'static str, given: &str, expected: &'static str) -> Self {
        let given = given.to_owned();
        Self::Invalid { key, given, expected }
    }
}

/// Which of our keys was likely meant by one that nobody knows.
fn misspelt(key: &str) -> Option<(&str, &'static str)> {
    if OURS.contains(&key) || KEDAS.contains(&key) {
        return None;
    }
    let meant = similar(&key.to_ascii_lowercase(), OURS.into_iter())?;
    Some((key, meant))
}

fn selector(text: &str) -> Option<Vec<(String, String)>> {
    let mut labels: Vec<(String, String)> = Vec::new();
    for pair in text.split(',') {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        // `==`, `!=` and `=~` are other languages'.
        let is_name = name
            .bytes()
            .enumerate()
            .all(|(at, b)| b == b'_' || b.is_ascii_alphabetic() || (at > 0 && b.is_ascii_digit()));
        let is_known = labels.iter().any(|(known, _)| known == name);
        if name.is_empty() || !is_name || is_known || value.starts_with(['=', '~']) {
            return None;
        }
        labels.push((name.to_owned(), value.to_owned()));
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metadata: &[(&str, &str)]) -> Result<Trigger, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Trigger::read(&metadata.iter().map(owned).collect()).map_err(|error| error.to_string())
    }

    fn selected(text: &str) -> Option<Vec<(&str, &str)>> {
        Some(text.split(',').filter_map(|pair| pair.split_once('=')).collect())
    }

    #[test]
    fn a_trigger_is_read_with_what_keda_adds() {
        let metric = ("metric", "queue");
        for (rest, target, activation, expected) in [
            (&[("target", "2.5")][..], 2.5, 0.0, None),
            (&[("target", " 0.001 "), ("activation", "-1")], 0.001, -1.0, None),
            (
                &[("target", "1e3"), ("selector", "model=m, scope=")],
                1000.0,
                0.0,
                selected("model=m,scope="),
            ),
            (
                &[
                    ("target", "5"),
                    ("scalerAddress", "a:1"),
                    ("enableTLS", "true"),
                    ("caCert", "…"),
                    ("team", "chat"),
                ],
                5.0,
                0.0,
                None,
            ),
        ] {
            let mut metadata = rest.to_vec();
            metadata.push(metric);
            let trigger = read(&metadata).unwrap();
            let given = trigger.selector.as_ref().map(|labels| {
                let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                labels.collect::<Vec<_>>()
            });
            assert_eq!(
                (trigger.target, trigger.activation, given),
                (target, activation, expected),
                "{rest:?}"
            );
            assert_eq!(trigger.metric, "queue");
        }
    }

    #[test]
    fn what_is_wrong_with_a_trigger_is_said() {
        let (metric, target) = (("metric", "queue"), ("target", "5"));
        for (metadata, expected) in [
            (&[][..], "lacks `metric`"),
            (&[metric], "lacks `target`"),
            (
                &[("metric", " "), target],
                "`metric` of the trigger's metadata is \"\"",
            ),
            (&[metric, ("target", "0")], "from 0.001 to 9e15"),
            (&[metric, ("target", "-1")], "is \"-1\""),
            (&[metric, ("target", "NaN")], "is \"NaN\""),
            (&[metric, ("target", "inf")], "is \"inf\""),
            (&[metric, ("target", "0.0001")], "is \"0.0001\""),
            (&[metric, ("target", "1e16")], "is \"1e16\""),
            (&[metric, ("target", "5 requests")], "is \"5 requests\""),
            (&[metric, target, ("activation", "inf")], "`activation`"),
            (&[metric, target, ("activation", "")], "`activation`"),
            (
                &[metric, target, ("activationThreshold", "3")],
                "did you mean `activation`?",
            ),
            (
                &[metric, ("targetValue", "3")],
                "\"targetValue\" of the trigger's metadata is not known; did you mean `target`?",
            ),
            (&[("metricName", "queue"), target], "did you mean `metric`?"),
            (&[("METRIC", "queue"), target], "did you mean `metric`?"),
            (&[metric, target, ("selecter", "a=b")], "did you mean `selector`?"),
            (
                &[metric, target, ("activations", "3"), ("targets", "3")],
                "\"activations\"",
            ),
            (&[metric, target, ("selector", "")], "`label=value`"),
            (&[metric, target, ("selector", "a=b,")], "`label=value`"),
            (&[metric, target, ("selector", "a=b,a=c")], "each label once"),
            (&[metric, target, ("selector", "a==b")], "is \"a==b\""),
            (&[metric, target, ("selector", "a!=b")], "is \"a!=b\""),
            (&[metric, target, ("selector", "a=~b")], "is \"a=~b\""),
            (&[metric, target, ("selector", "a in (b)")], "`label=value`"),
        ] {
            let error = read(metadata).unwrap_err();
            assert!(error.contains(expected), "{metadata:?}: {error}");
        }
    }
}
