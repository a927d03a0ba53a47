//! The functions of PromQL: what they are called, take and give.
//!
//! One row describes one function, and the rows are the variants of [`Function`]: an evaluator matches all of them, so
//! that a function which is described here and not implemented there does not compile, nor the other way round.

use ValueType::{InstantVector, RangeVector, Scalar, Text};

use crate::similar::similar;
use crate::value_type::ValueType;

/// What is to be known of a function without evaluating it.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    /// The last may be repeated or left out, as `more` says.
    pub(crate) args: &'static [ValueType],
    pub(crate) more: More,
    pub(crate) returns: ValueType,
    /// Whether its results are the same metric as its argument, and so keep the name.
    pub(crate) keeps_name: bool,
    /// Whether it looks at the step's own time, so that its result differs between steps where its arguments do not.
    pub(crate) is_timed: bool,
    /// Whether the order of its results means something.
    pub(crate) is_ordered: bool,
    /// Whether it is a number that follows from the times of the query, and that the parser puts in its place.
    pub(crate) is_of_query: bool,
    /// Why it is not evaluated here.
    pub(crate) refused: Option<&'static str>,
}

/// How often the last argument of a function is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    Once,
    /// Or not at all.
    Optional,
    /// Any number of times, also none.
    Any,
    /// At least once, and so often at most.
    UpTo(usize),
}

/// Makes of each row a variant of [`Function`] and its description.
macro_rules! functions {
    ($($variant:ident = $row:expr,)*) => {
        /// A function of PromQL, by its name.
        #[allow(missing_docs, reason = "Prometheus describes them, under the names of the variants")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Function {
            $($variant,)*
        }

        impl Function {
            /// All of them, sorted by name.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }

        static SIGNATURES: &[Signature] = &[$($row,)*];
    };
}

// Sorted by name.
//
// Source: <https://prometheus.io/docs/prometheus/latest/querying/functions/>.
functions! {
    Abs = vector("abs"),
    Absent = vector("absent"),
    AbsentOverTime = range("absent_over_time"),
    Acos = vector("acos"),
    Acosh = vector("acosh"),
    Asin = vector("asin"),
    Asinh = vector("asinh"),
    Atan = vector("atan"),
    Atanh = vector("atanh"),
    AvgOverTime = range("avg_over_time"),
    Ceil = vector("ceil"),
    Changes = range("changes"),
    Clamp = function("clamp", &[InstantVector, Scalar, Scalar], InstantVector),
    ClampMax = function("clamp_max", &[InstantVector, Scalar], InstantVector),
    ClampMin = function("clamp_min", &[InstantVector, Scalar], InstantVector),
    Cos = vector("cos"),
    Cosh = vector("cosh"),
    CountOverTime = range("count_over_time"),
    DayOfMonth = calendar("day_of_month"),
    DayOfWeek = calendar("day_of_week"),
    DayOfYear = calendar("day_of_year"),
    DaysInMonth = calendar("days_in_month"),
    Deg = vector("deg"),
    Delta = range("delta"),
    Deriv = range("deriv"),
    DoubleExponentialSmoothing = function(
        "double_exponential_smoothing",
        &[RangeVector, Scalar, Scalar],
        InstantVector,
    ),
    End = of_query("end"),
    Exp = vector("exp"),
    FirstOverTime = named(range("first_over_time")),
    Floor = vector("floor"),
    HistogramAvg = vector("histogram_avg"),
    HistogramCount = vector("histogram_count"),
    HistogramFraction = function("histogram_fraction", &[Scalar, Scalar, InstantVector], InstantVector),
    HistogramQuantile = function("histogram_quantile", &[Scalar, InstantVector], InstantVector),
    HistogramQuantiles = more(
        More::UpTo(10),
        function("histogram_quantiles", &[InstantVector, Text, Scalar], InstantVector),
    ),
    HistogramStddev = vector("histogram_stddev"),
    HistogramStdvar = vector("histogram_stdvar"),
    HistogramSum = vector("histogram_sum"),
    Hour = calendar("hour"),
    Idelta = range("idelta"),
    Increase = range("increase"),
    Info = named(
        timed(more(More::Optional, function("info", &[InstantVector, InstantVector], InstantVector))),
    ),
    Integral = more(More::Optional, function("integral", &[RangeVector, Scalar], InstantVector)),
    Irate = range("irate"),
    LabelJoin = named(
        more(More::Any, function("label_join", &[InstantVector, Text, Text, Text], InstantVector)),
    ),
    LabelReplace = named(function("label_replace", &[InstantVector, Text, Text, Text, Text], InstantVector)),
    LastOverTime = named(range("last_over_time")),
    Ln = vector("ln"),
    Log10 = vector("log10"),
    Log2 = vector("log2"),
    MadOverTime = range("mad_over_time"),
    MaxOf = function("max_of", &[Scalar, Scalar], Scalar),
    MaxOverTime = range("max_over_time"),
    MinOf = function("min_of", &[Scalar, Scalar], Scalar),
    MinOverTime = range("min_over_time"),
    Minute = calendar("minute"),
    Month = calendar("month"),
    Pi = function("pi", &[], Scalar),
    PredictLinear = timed(function("predict_linear", &[RangeVector, Scalar], InstantVector)),
    PresentOverTime = range("present_over_time"),
    QuantileOverTime = function("quantile_over_time", &[Scalar, RangeVector], InstantVector),
    Rad = vector("rad"),
    Range = of_query("range"),
    Rate = range("rate"),
    Resets = range("resets"),
    Round = more(More::Optional, function("round", &[InstantVector, Scalar], InstantVector)),
    Scalar = function("scalar", &[InstantVector], Scalar),
    Sgn = vector("sgn"),
    Sin = vector("sin"),
    Sinh = vector("sinh"),
    Sort = sorting(vector("sort")),
    SortByLabel = sorting(more(More::Any, function("sort_by_label", &[InstantVector, Text], InstantVector))),
    SortByLabelDesc = sorting(
        more(More::Any, function("sort_by_label_desc", &[InstantVector, Text], InstantVector)),
    ),
    SortDesc = sorting(vector("sort_desc")),
    Sqrt = vector("sqrt"),
    Start = of_query("start"),
    StartTimestamp = refused(
        "is experimental and not enabled (use-start-timestamps)",
        vector("start_timestamp"),
    ),
    StddevOverTime = range("stddev_over_time"),
    StdvarOverTime = range("stdvar_over_time"),
    Step = of_query("step"),
    SumOverTime = range("sum_over_time"),
    Tan = vector("tan"),
    Tanh = vector("tanh"),
    Time = timed(function("time", &[], Scalar)),
    Timestamp = timed(vector("timestamp")),
    TsOfFirstOverTime = range("ts_of_first_over_time"),
    TsOfLastOverTime = range("ts_of_last_over_time"),
    TsOfMaxOverTime = range("ts_of_max_over_time"),
    TsOfMinOverTime = range("ts_of_min_over_time"),
    Vector = function("vector", &[Scalar], InstantVector),
    Year = calendar("year"),
}

// === impl Function ===

impl Function {
    /// The function called `name`; also one that is refused.
    pub fn named(name: &str) -> Option<Self> {
        let at = SIGNATURES.binary_search_by(|known| known.name.cmp(name)).ok()?;
        Some(Self::ALL[at])
    }

    /// Those that can be evaluated, sorted by name.
    pub fn evaluated() -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|function| function.refused().is_none())
    }

    /// The name of the function that `name` was likely meant to be.
    pub(crate) fn like(name: &str) -> Option<&'static str> {
        similar(
            &name.to_ascii_lowercase(),
            SIGNATURES.iter().map(|known| known.name),
        )
    }

    /// As it is written in a query.
    pub fn name(self) -> &'static str {
        self.signature().name
    }

    /// What it gives.
    pub fn returns(self) -> ValueType {
        self.signature().returns
    }

    /// Whether one of its arguments is a range vector.
    pub fn takes_range(self) -> bool {
        self.signature().args.contains(&RangeVector)
    }

    /// Whether its results keep the metric name.
    pub fn keeps_name(self) -> bool {
        self.signature().keeps_name
    }

    /// Whether it is a number that follows from the times of the query: `step()`, `range()`, `start()`, `end()`.
    pub fn is_of_query(self) -> bool {
        self.signature().is_of_query
    }

    /// Why it is not evaluated here, if it is not.
    pub fn refused(self) -> Option<&'static str> {
        self.signature().refused
    }

    pub(crate) fn signature(self) -> &'static Signature {
        &SIGNATURES[self as usize]
    }
}

// === impl Signature ===

impl Signature {
    /// The least and the largest number of arguments.
    pub(crate) fn arity(&self) -> (usize, usize) {
        let all = self.args.len();
        match self.more {
            More::Once => (all, all),
            More::Optional => (all - 1, all),
            More::Any => (all - 1, usize::MAX),
            More::UpTo(times) => (all, all - 1 + times),
        }
    }

    /// The type of the argument `i`.
    pub(crate) fn arg(&self, i: usize) -> ValueType {
        self.args[i.min(self.args.len() - 1)]
    }
}

const fn function(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Signature {
    Signature {
        name,
        args,
        more: More::Once,
        returns,
        keeps_name: false,
        is_timed: false,
        is_ordered: false,
        is_of_query: false,
        refused: None,
    }
}

/// What the times of the query say.
const fn of_query(name: &'static str) -> Signature {
    Signature {
        is_of_query: true,
        ..function(name, &[], Scalar)
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
    timed(more(More::Optional, vector(name)))
}

const fn refused(why: &'static str, signature: Signature) -> Signature {
    Signature {
        refused: Some(why),
        ..signature
    }
}

/// Of which the results keep the metric name.
const fn named(signature: Signature) -> Signature {
    Signature {
        keeps_name: true,
        ..signature
    }
}

/// Of which the order of the results means something.
const fn sorting(signature: Signature) -> Signature {
    Signature {
        is_ordered: true,
        ..named(signature)
    }
}

/// Which looks at the step's own time.
const fn timed(signature: Signature) -> Signature {
    Signature {
        is_timed: true,
        ..signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_are_sorted() {
        assert!(SIGNATURES.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn a_name_misspelt_is_recognised() {
        assert_eq!(Function::like("rates"), Some("rate"));
        assert_eq!(Function::like("histogram_quantil"), Some("histogram_quantile"));
        assert_eq!(Function::like("xyzzy"), None);
    }
}
