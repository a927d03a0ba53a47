//! What Prometheus remarks on a query, beside its answer.

/// How those remarks begin by which values were left out of an answer for what they are, without the word for their kind.
/// Those on the resets of histograms that are aggregated cost no value.
///
/// *Source*: <https://pkg.go.dev/github.com/prometheus/prometheus/util/annotations>.
const LEFT_OUT: [&str; 9] = [
    "bucket label \"le\" is missing or has a malformed value",
    "conflicting counter resets during histogram addition",
    "conflicting counter resets during histogram subtraction",
    "encountered a mix of histograms and floats for",
    "ignored histogram",
    "incompatible bucket layout encountered for binary operator",
    "incompatible sample types encountered for binary operator",
    "vector contains a mix of classic and native histograms",
    "vector contains a mix of histograms with exponential and custom buckets",
];

/// The remark without the word for its kind, which a remark on a query begins with: `PromQL warning: `, `PromQL info: `.
pub fn on_query(remark: &str) -> Option<&str> {
    let kinds = ["PromQL warning:", "PromQL info:"];
    kinds.iter().find_map(|kind| remark.strip_prefix(kind))
}

/// Whether a remark on a query says that values were left out of its answer for what they are: numbers among histograms, or
/// histograms of different kinds. What the answer would be with them, nobody knows.
pub fn leaves_out(remark: &str) -> bool {
    on_query(remark).is_some_and(|text| {
        let text = text.trim_start();
        LEFT_OUT.iter().any(|begin| text.starts_with(begin))
    })
}
