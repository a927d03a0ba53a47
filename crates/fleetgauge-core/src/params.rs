//! Parameters: the values that a caller gives for the placeholders of its query templates.
//!
//! [`ParamSpec`] is what a template declares (name, kind, required or not); [`Params`] is what a caller gives.
//! One map serves a whole batch, so a name that a query does not declare is not an error.
//! This module stores and finds values; whether a value fits the place where it lands is the business of
//! [`template`](crate::template).

use std::fmt;
use std::str::FromStr;

/// The parameter that names a Kubernetes namespace.
pub const PARAM_NAMESPACE: &str = "namespace";
/// The parameter that names a served model.
pub const PARAM_MODEL_ID: &str = "modelID";
/// The parameter that selects pods; a regular expression, usually optional.
pub const PARAM_POD_FILTER: &str = "podFilter";

/// What a parameter's value is, and so where it may stand in a query.
///
/// *Source*: the lexical elements of PromQL, <https://prometheus.io/docs/prometheus/latest/querying/basics/>.
#[non_exhaustive]
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// Any text. It arrives as exactly that text: escaped in a string, regex-quoted in a matcher's regex, and in
    /// code it must be the one token that fits there.
    Text,
    /// A regular expression (RE2), for the string of `=~` and `!~` only.
    Regex,
    /// A metric name such as `vllm:num_requests_waiting`.
    MetricName,
    /// A label name such as `pod`.
    LabelName,
    /// A duration such as `5m` or `1h30m`.
    Duration,
    /// A number such as `0.99`, `-3`, `1e3` or `-Inf`.
    Number,
    /// A number from 0 to 1: of others, a quantile is ±Inf, and one of NaN has no data.
    Quantile,
    /// A list of texts, for the string of `=~` and `!~` only: it matches exactly these, and no other.
    Texts,
    /// A list of label names, for `by (…)` and its kin only.
    LabelNames,
}

/// The declaration of one parameter of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParamSpec {
    name: Box<str>,
    kind: ParamKind,
    required: bool,
}

/// The values of a batch, by parameter name.
///
/// A parameter whose kind is a list has several values, in their order. One without any is absent: there is no
/// empty list, which could be taken for "all".
///
/// *Shape*: a small vector sorted by name; a look-up compares a handful of strings and allocates nothing.
///
/// ```
/// use fleetgauge_core::params::Params;
///
/// let params = Params::new().with("namespace", "llm").with_list("models", ["llama-8b", "qwen,v2"]);
/// assert_eq!(params.get("namespace"), Some("llm"));
/// assert_eq!(params.values("models").collect::<Vec<_>>(), ["llama-8b", "qwen,v2"]);
/// assert_eq!(Params::from([("a", "1"), ("b", "2")]), Params::from([("b", "2"), ("a", "1")]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params {
    entries: Vec<(Box<str>, Box<str>)>,
}

/// A name has several values.
pub(crate) struct Several;

/// A word that is not the name of a [`ParamKind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown parameter kind {given:?}: one of text, regex, metric, label, duration, number, quantile, texts, labels is known"
)]
pub struct UnknownParamKind {
    /// The word as it was given, shortened when it is long.
    pub given: String,
}

// === impl ParamKind ===

impl ParamKind {
    const ALL: [ParamKind; 9] = [
        ParamKind::Text,
        ParamKind::Regex,
        ParamKind::MetricName,
        ParamKind::LabelName,
        ParamKind::Duration,
        ParamKind::Number,
        ParamKind::Quantile,
        ParamKind::Texts,
        ParamKind::LabelNames,
    ];

    /// The kind of a parameter whose declaration does not say: [`PARAM_POD_FILTER`] is a regex, others are text.
    #[must_use]
    pub fn default_for(name: &str) -> Self {
        if name == PARAM_POD_FILTER {
            Self::Regex
        } else {
            Self::Text
        }
    }

    /// Whether a parameter of this kind may have several values.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self, Self::Texts | Self::LabelNames)
    }

    /// The kind's word in configuration: `text`, `regex`, `metric`, `label`, `duration`, `number`, `quantile`,
    /// `texts` or `labels`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Regex => "regex",
            Self::MetricName => "metric",
            Self::LabelName => "label",
            Self::Duration => "duration",
            Self::Number => "number",
            Self::Quantile => "quantile",
            Self::Texts => "texts",
            Self::LabelNames => "labels",
        }
    }
}

impl fmt::Display for ParamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ParamKind {
    type Err = UnknownParamKind;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == given)
            .ok_or_else(|| UnknownParamKind {
                given: given.chars().take(40).collect(),
            })
    }
}

// === impl ParamSpec ===

impl ParamSpec {
    /// A parameter without which the query cannot be rendered.
    pub fn required(name: impl Into<String>, kind: ParamKind) -> Self {
        Self {
            name: name.into().into_boxed_str(),
            kind,
            required: true,
        }
    }

    /// A parameter that may be absent: false in a condition, and an error where it is printed.
    pub fn optional(name: impl Into<String>, kind: ParamKind) -> Self {
        Self {
            name: name.into().into_boxed_str(),
            kind,
            required: false,
        }
    }

    /// The name that placeholders use, without the dot.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the value is.
    #[must_use]
    pub fn kind(&self) -> ParamKind {
        self.kind
    }

    /// Whether rendering fails without it.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.required
    }
}

// === impl Params ===

impl Params {
    /// No values.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The same values and this one; earlier values of that name are replaced.
    #[must_use]
    pub fn with(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.insert(name, value);
        self
    }

    /// The same values and this list; earlier values of that name are replaced. An empty list leaves the parameter
    /// absent.
    #[must_use]
    pub fn with_list<V: AsRef<str>>(
        mut self,
        name: impl AsRef<str>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let name = name.as_ref();
        let at = self.range(name);
        let values = values
            .into_iter()
            .map(|value| (name.into(), value.as_ref().into()));
        self.entries.splice(at, values);
        self
    }

    /// Sets a value; earlier values of that name are replaced.
    pub fn insert(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let name = name.as_ref();
        let at = self.range(name);
        self.entries.splice(at, [(name.into(), value.as_ref().into())]);
    }

    /// Adds a value behind those that the name has, which makes a list of them.
    pub fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let name = name.as_ref();
        let at = self.range(name).end;
        self.entries.insert(at, (name.into(), value.as_ref().into()));
    }

    /// The value of that name; the first of a list.
    #[inline]
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|at| &*self.entries[at].1)
    }

    /// All values of that name, in their order.
    #[inline]
    pub fn values<'a>(&'a self, name: &str) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.entries(name).iter().map(|(_, value)| &**value)
    }

    /// The value of that name, unless it is a list of several.
    #[inline]
    pub(crate) fn single(&self, name: &str) -> Option<&str> {
        match self.entries(name) {
            [(_, value)] => Some(value),
            _ => None,
        }
    }

    /// The value of that name, if there is one.
    ///
    /// *Errors*: where there are several.
    #[inline]
    pub(crate) fn at_most_one(&self, name: &str) -> Result<Option<&str>, Several> {
        let Some(at) = self.find(name) else {
            return Ok(None);
        };
        match self.entries.get(at + 1) {
            Some((next, _)) if **next == *name => Err(Several),
            _ => Ok(Some(&self.entries[at].1)),
        }
    }

    /// The entries of that name.
    #[inline]
    pub(crate) fn entries(&self, name: &str) -> &[(Box<str>, Box<str>)] {
        let Some(first) = self.find(name) else { return &[] };
        let others = self.entries[first + 1..]
            .iter()
            .take_while(|(known, _)| **known == *name);
        &self.entries[first..=first + others.count()]
    }

    /// The place of the first value of that name.
    #[inline]
    fn find(&self, name: &str) -> Option<usize> {
        // Batches carry two to five parameters: comparing each (length first) beats a binary search's branches.
        if self.entries.len() <= 8 {
            return self.entries.iter().position(|(known, _)| **known == *name);
        }
        let at = self.entries.partition_point(|(known, _)| **known < *name);
        self.entries
            .get(at)
            .is_some_and(|(known, _)| **known == *name)
            .then_some(at)
    }

    /// Where the values of that name are, or would be.
    fn range(&self, name: &str) -> std::ops::Range<usize> {
        let start = self.entries.partition_point(|(known, _)| **known < *name);
        let of_name = self.entries[start..].partition_point(|(known, _)| **known == *name);
        start..start + of_name
    }

    /// How many values there are, each of a list counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and values, in the order of the names; the name of a list once for each of its values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Params {
    /// A later value replaces an earlier one of the same name.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut params = Self::new();
        params.extend(pairs);
        params
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Extend<(K, V)> for Params {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.insert(name, value);
        }
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> From<[(K, V); N]> for Params {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back_as_they_are_written() {
        for kind in ParamKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "Text".parse::<ParamKind>().unwrap_err();
        assert!(
            error.to_string().starts_with("unknown parameter kind \"Text\""),
            "{error}"
        );
    }

    #[test]
    fn only_the_pod_filter_is_a_regex_by_default() {
        assert_eq!(ParamKind::default_for(PARAM_POD_FILTER), ParamKind::Regex);
        assert_eq!(ParamKind::default_for(PARAM_NAMESPACE), ParamKind::Text);
        assert_eq!(ParamKind::default_for("podfilter"), ParamKind::Text);
    }

    #[test]
    fn a_later_value_replaces_an_earlier_one() {
        let mut params = Params::from([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(params.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        params.insert("a", "4");
        assert_eq!(
            (params.get("a"), params.get("c"), params.len()),
            (Some("4"), None, 2)
        );
    }

    #[test]
    fn a_list_is_its_values_and_no_joined_text() {
        let mut params = Params::new().with("b", "1").with_list("a", ["x", "y,z"]);
        params.push("c", "first");
        params.push("c", "second");
        let values = |params: &Params, name: &str| params.values(name).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(values(&params, "a"), ["x", "y,z"]);
        assert_eq!(values(&params, "c"), ["first", "second"]);
        assert_eq!(
            (params.get("a"), params.single("a"), params.single("b")),
            (Some("x"), None, Some("1"))
        );
        assert_ne!(params, params.clone().with("a", "x,y,z"));
        assert_eq!(values(&params.clone().with("a", "one"), "a"), ["one"]);
        let none = params.with_list("a", [""; 0]);
        assert_eq!((none.get("a"), none.values("a").len(), none.len()), (None, 0, 3));
    }

    #[test]
    fn values_are_found_in_small_and_large_maps() {
        for size in [0_usize, 1, 8, 9, 100] {
            let params: Params = (0..size).map(|n| (format!("p{n}"), n.to_string())).collect();
            for n in 0..size {
                assert_eq!(params.get(&format!("p{n}")), Some(&*n.to_string()), "{size}");
            }
            assert_eq!(params.get("q"), None);
        }
    }
}
