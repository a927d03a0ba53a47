//! The functions of PromQL: their arguments and results.

use ValueType::{InstantVector, RangeVector, Scalar, Text};

use super::expr::ValueType;

/// What a function takes and gives.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    /// The last may be repeated or left out, as `more` says.
    pub(super) args: &'static [ValueType],
    pub(super) more: More,
    pub(crate) returns: ValueType,
    /// Why it is not evaluated here.
    pub(super) refused: Option<&'static str>,
}

/// How often the last argument of a function is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Once,
    /// Or not at all.
    Optional,
    /// Any number of times, also none.
    Any,
    /// At least once, and so often at most.
    UpTo(usize),
}

// === impl Signature ===

impl Signature {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        let at = FUNCTIONS.binary_search_by(|known| known.name.cmp(name)).ok()?;
        Some(&FUNCTIONS[at])
    }

    /// Those that are not refused.
    pub(super) fn evaluated() -> impl Iterator<Item = &'static Self> {
        FUNCTIONS.iter().filter(|function| function.refused.is_none())
    }

    #[cfg(test)]
    pub(super) fn refused() -> impl Iterator<Item = &'static Self> {
        FUNCTIONS.iter().filter(|function| function.refused.is_some())
    }

    /// The function whose name is most like `name`.
    pub(super) fn like(name: &str) -> Option<&'static str> {
        let name = name.to_ascii_lowercase();
        let likeness = |known: &str| strsim::jaro_winkler(known, &name);
        FUNCTIONS
            .iter()
            .map(|known| (likeness(known.name), known.name))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness > 0.85)
            .map(|(_, name)| name)
    }

    /// The least and the largest number of arguments.
    pub(super) fn arity(&self) -> (usize, usize) {
        let all = self.args.len();
        match self.more {
            More::Once => (all, all),
            More::Optional => (all - 1, all),
            More::Any => (all - 1, usize::MAX),
            More::UpTo(times) => (all, all - 1 + times),
        }
    }

    /// The type of the argument `i`.
    pub(super) fn arg(&self, i: usize) -> ValueType {
        self.args[i.min(self.args.len() - 1)]
    }
}

const fn function(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Signature {
    Signature {
        name,
        args,
        more: More::Once,
        returns,
        refused: None,
    }
}

/// From a vector to a vector.
const fn vector(name: &'static str) -> Signature {
    function(name, &[InstantVector], InstantVector)
}

/// Over a range.
const fn range(name: &'static str) -> Signature {
    function(name, &[RangeVector], InstantVector)
}

const fn more(more: More, signature: Signature) -> Signature {
    Signature { more, ..signature }
}

/// Of a time, or of now.
const fn calendar(name: &'static str) -> Signature {
    more(More::Optional, vector(name))
}

const fn refused(why: &'static str, signature: Signature) -> Signature {
    Signature {
        refused: Some(why),
        ..signature
    }
}

const NATIVE: &str = "is for native histograms, which are not supported here";

/// Sorted by name.
///
/// Source: <https://prometheus.io/docs/prometheus/latest/querying/functions/>.
static FUNCTIONS: &[Signature] = &[
    vector("abs"),
    vector("absent"),
    range("absent_over_time"),
    vector("acos"),
    vector("acosh"),
    vector("asin"),
    vector("asinh"),
    vector("atan"),
    vector("atanh"),
    range("avg_over_time"),
    vector("ceil"),
    range("changes"),
    function("clamp", &[InstantVector, Scalar, Scalar], InstantVector),
    function("clamp_max", &[InstantVector, Scalar], InstantVector),
    function("clamp_min", &[InstantVector, Scalar], InstantVector),
    vector("cos"),
    vector("cosh"),
    range("count_over_time"),
    calendar("day_of_month"),
    calendar("day_of_week"),
    calendar("day_of_year"),
    calendar("days_in_month"),
    vector("deg"),
    range("delta"),
    range("deriv"),
    function(
        "double_exponential_smoothing",
        &[RangeVector, Scalar, Scalar],
        InstantVector,
    ),
    vector("exp"),
    range("first_over_time"),
    vector("floor"),
    refused(NATIVE, vector("histogram_avg")),
    refused(NATIVE, vector("histogram_count")),
    function(
        "histogram_fraction",
        &[Scalar, Scalar, InstantVector],
        InstantVector,
    ),
    function("histogram_quantile", &[Scalar, InstantVector], InstantVector),
    more(
        More::UpTo(10),
        function(
            "histogram_quantiles",
            &[InstantVector, Text, Scalar],
            InstantVector,
        ),
    ),
    refused(NATIVE, vector("histogram_stddev")),
    refused(NATIVE, vector("histogram_stdvar")),
    refused(NATIVE, vector("histogram_sum")),
    calendar("hour"),
    range("idelta"),
    range("increase"),
    more(
        More::Optional,
        function("info", &[InstantVector, InstantVector], InstantVector),
    ),
    refused(
        "is not supported here: no release of Prometheus was found that has it",
        more(
            More::Optional,
            function("integral", &[RangeVector, Scalar], InstantVector),
        ),
    ),
    range("irate"),
    more(
        More::Any,
        function("label_join", &[InstantVector, Text, Text, Text], InstantVector),
    ),
    function(
        "label_replace",
        &[InstantVector, Text, Text, Text, Text],
        InstantVector,
    ),
    range("last_over_time"),
    vector("ln"),
    vector("log10"),
    vector("log2"),
    range("mad_over_time"),
    function("max_of", &[Scalar, Scalar], Scalar),
    range("max_over_time"),
    function("min_of", &[Scalar, Scalar], Scalar),
    range("min_over_time"),
    calendar("minute"),
    calendar("month"),
    function("pi", &[], Scalar),
    function("predict_linear", &[RangeVector, Scalar], InstantVector),
    range("present_over_time"),
    function("quantile_over_time", &[Scalar, RangeVector], InstantVector),
    vector("rad"),
    range("rate"),
    range("resets"),
    more(
        More::Optional,
        function("round", &[InstantVector, Scalar], InstantVector),
    ),
    function("scalar", &[InstantVector], Scalar),
    vector("sgn"),
    vector("sin"),
    vector("sinh"),
    vector("sort"),
    more(
        More::Any,
        function("sort_by_label", &[InstantVector, Text], InstantVector),
    ),
    more(
        More::Any,
        function("sort_by_label_desc", &[InstantVector, Text], InstantVector),
    ),
    vector("sort_desc"),
    vector("sqrt"),
    refused(
        "is not supported here: no start timestamps are kept",
        vector("start_timestamp"),
    ),
    range("stddev_over_time"),
    range("stdvar_over_time"),
    range("sum_over_time"),
    vector("tan"),
    vector("tanh"),
    function("time", &[], Scalar),
    vector("timestamp"),
    range("ts_of_first_over_time"),
    range("ts_of_last_over_time"),
    range("ts_of_max_over_time"),
    range("ts_of_min_over_time"),
    function("vector", &[Scalar], InstantVector),
    calendar("year"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_are_sorted() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn a_name_misspelt_is_recognised() {
        assert_eq!(Signature::like("rates"), Some("rate"));
        assert_eq!(Signature::like("histogram_quantil"), Some("histogram_quantile"));
        assert_eq!(Signature::like("xyzzy"), None);
    }
}
