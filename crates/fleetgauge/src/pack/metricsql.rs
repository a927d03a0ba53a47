//! What VictoriaMetrics adds to PromQL, so that a query for it is told from a mistake.
//!
//! *Source*: <https://docs.victoriametrics.com/victoriametrics/metricsql/>.

use fleetgauge_syntax::ParseError;

/// Functions and aggregations that PromQL does not have, and `WITH`; sorted.
#[rustfmt::skip]
const FUNCTIONS: &[&str] = &[
    "absent_over_time", "aggr_over_time", "alias", "any", "ascent_over_time", "bitmap_and", "bitmap_or",
    "bitmap_xor", "bottomk_avg", "bottomk_last", "bottomk_max", "bottomk_median", "bottomk_min",
    "buckets_limit", "changes_prometheus", "count_eq_over_time", "count_gt_over_time", "count_le_over_time",
    "count_ne_over_time", "count_values_over_time", "cubic_root", "decreases_over_time", "default_rollup",
    "delta_prometheus", "deriv_fast", "descent_over_time", "distinct", "distinct_over_time",
    "drop_common_labels", "drop_empty_series", "duration_over_time", "geomean", "geomean_over_time",
    "histogram", "histogram_over_time", "histogram_share", "hoeffding_bound_lower", "hoeffding_bound_upper",
    "holt_winters", "ideriv", "increase_prometheus", "increase_pure", "increases_over_time", "integrate",
    "interpolate", "iqr", "iqr_over_time", "keep_last_value", "keep_next_value", "label_copy", "label_del",
    "label_graphite_group", "label_keep", "label_lowercase", "label_map", "label_match", "label_mismatch",
    "label_move", "label_set", "label_transform", "label_uppercase", "label_value", "labels_equal", "lag",
    "lifetime", "limit_offset", "mad", "median", "median_over_time", "mode", "mode_over_time", "now",
    "outlier_iqr_over_time", "outliers_iqr", "outliers_mad", "outliersk", "prometheus_buckets", "quantiles",
    "quantiles_over_time", "rand", "rand_exponential", "rand_normal", "range_avg", "range_first",
    "range_last", "range_linear_regression", "range_mad", "range_max", "range_median", "range_min",
    "range_normalize", "range_quantile", "range_stddev", "range_stdvar", "range_sum", "range_trim_outliers",
    "range_trim_spikes", "range_trim_zscore", "range_zscore", "rate_over_sum", "rate_prometheus",
    "remove_resets", "rollup", "rollup_candlestick", "rollup_delta", "rollup_deriv", "rollup_increase",
    "rollup_rate", "rollup_scrape_interval", "ru", "running_avg", "running_max", "running_min", "running_sum",
    "scrape_interval", "share", "share_eq_over_time", "share_gt_over_time", "share_le_over_time",
    "smooth_exponential", "sort_by_label_numeric", "sort_by_label_numeric_desc", "sum2", "sum2_over_time",
    "sum_eq_over_time", "sum_gt_over_time", "sum_le_over_time", "tfirst_over_time", "timestamp_with_name",
    "timezone_offset", "tlast_change_over_time", "tlast_over_time", "tmax_over_time", "tmin_over_time",
    "topk_avg", "topk_last", "topk_max", "topk_median", "topk_min", "union", "with", "zscore",
    "zscore_over_time",
];
/// Words that stand where PromQL ends an expression.
const WORDS: [&str; 5] = ["default", "if", "ifnot", "keep_metric_names", "limit"];
/// What may follow the digits of a number.
const SUFFIXES: [&str; 12] = [
    "k", "kb", "ki", "kib", "mb", "mi", "mib", "gb", "gi", "gib", "ti", "tib",
];

/// Why what is not PromQL may yet be MetricsQL, if it may.
pub(super) fn explain(query: &str, error: &ParseError) -> Option<String> {
    if error
        .message()
        .starts_with("expected type range vector in call to function")
    {
        return Some(told("a function without a window"));
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (before, rest) = query.split_at_checked(error.offset())?;
    let word = rest.split(|c| !is_part(c)).next()?.to_ascii_lowercase();
    let last = before
        .trim_end()
        .rsplit(|c| !is_part(c))
        .next()?
        .to_ascii_lowercase();
    let is_function = |name: &str| FUNCTIONS.binary_search(&name).is_ok();
    let suffix = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let in_braces = before.rfind('{') > before.rfind('}');
    let what = match &*word {
        name if is_function(name) => name,
        // `any by (job) (up)`: the first word was read as a metric.
        "by" | "without" if is_function(&last) => &last,
        word if WORDS.contains(&word) => word,
        "or" if in_braces => "`or` between matchers",
        _ if suffix.len() < word.len() && SUFFIXES.contains(&suffix) => "a number with a unit",
        _ if suffix == "i" && suffix.len() < word.len() => "a duration in steps",
        _ => return None,
    };
    Some(told(what))
}

fn told(what: &str) -> String {
    format!("{what} is MetricsQL, which VictoriaMetrics takes and Prometheus does not")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metricsql_is_told_from_mistakes() {
        assert!(FUNCTIONS.is_sorted());
        let check = |query: &str, expected: Option<&str>| {
            let error = fleetgauge_syntax::parse(query).unwrap_err();
            let explained = explain(query, &error);
            let expected = expected.map(|what| format!("{what} is MetricsQL"));
            assert_eq!(
                explained
                    .as_deref()
                    .and_then(|told| told.split_once(", which"))
                    .map(|(what, _)| what.to_owned()),
                expected,
                "{query}: {error}"
            );
        };
        for (query, what) in [
            ("WITH (x = up) x", "with"),
            ("median_over_time(x[5m])", "median_over_time"),
            ("Rollup_Rate(x[5m])", "rollup_rate"),
            ("any(x)", "any"),
            ("any by (job) (x)", "any"),
            ("rate(x)", "a function without a window"),
            ("rate(x[5m]) keep_metric_names", "keep_metric_names"),
            ("x default 0", "default"),
            ("x if y", "if"),
            ("x ifnot (y > 1)", "ifnot"),
            ("sum(x) by (a) limit 3", "limit"),
            ("x{a=\"b\" or c=\"d\"}", "`or` between matchers"),
            ("x > 5Ki", "a number with a unit"),
            ("rate(x[5i])", "a duration in steps"),
        ] {
            check(query, Some(what));
        }
        for query in [
            "sum by pod (x)",
            "rates(x[5m])",
            "x{a=\"b\" c=\"d\"}",
            "histogram_quantile(0.9)",
            "sum(x) sum(y)",
            "increase(x[5 m])",
            "x{a=~\"b(c\"}",
            "x or",
            "sum(x",
        ] {
            check(query, None);
        }
    }
}
