use super::*;

fn told(query: &str, newest: Newest) -> String {
    match age(&crate::parse(query).unwrap(), newest) {
        Age::Exact(companion) => companion.to_string(),
        Age::Bound(bound) => format!("bound: {bound}"),
        Age::Ageless => "ageless".to_owned(),
    }
}

#[test]
fn companions_have_the_form_of_the_query() {
    let check = |query: &str, expected: &str| assert_eq!(told(query, Newest::TsOfLast), expected);
    check("x", "timestamp(x)");
    check("x offset 1m", "timestamp(x offset 1m) + 60");
    check("x offset -1m", "timestamp(x offset -1m) + -60");
    check("x @ 100", "timestamp(x @ 100.000) + (time() - 100)");
    check("x @ 100 offset 30s", "timestamp(x @ 70.000) + (time() - 70)");
    check("x @ end() offset 1m", "timestamp(x offset 1m) + 60");
    check("x[5m]", "ts_of_last_over_time(x[5m])");
    check("-abs(x) * 2 == bool 3", "timestamp(x)");
    check("sum by (pod) (x)", "min by (pod) (timestamp(x))");
    check("avg without (pod) (x)", "min without (pod) (timestamp(x))");
    check("topk(2, x)", "timestamp(x)");
    check("sort_desc(x > 5)", "timestamp(x)");
    check("sum(x > 5)", "min(timestamp(x) and x > 5)");
    check("max(max_over_time(x[1m]))", "min(ts_of_last_over_time(x[1m]))");
    check(
        "max(rate(x[1m]))",
        "min(ts_of_last_over_time(x[1m]) and rate(x[1m]))",
    );
    // An extended one reads samples before its range or time, for as long as the lookback.
    check("x smoothed", "ts_of_last_over_time(x[5m]) and x smoothed");
    check(
        "x smoothed @ 100",
        "(ts_of_last_over_time(x[5m] @ 100.000) and x smoothed @ 100.000) + (time() - 100)",
    );
    check("x anchored", "timestamp(x)");
    check("rate(x[1m] smoothed)", "ts_of_last_over_time(x[6m])");
    check(
        "max(rate(x[1m] smoothed offset 10s))",
        "min(ts_of_last_over_time(x[6m] offset 10s) + 10 and rate(x[1m] smoothed offset 10s))",
    );
    // Whose newest sample is before the range has no row.
    check("resets(x[1m] anchored)", "ts_of_last_over_time(x[1m])");
    check(
        "max_over_time((x smoothed)[1h:1m])",
        "max_over_time((ts_of_last_over_time(x[5m]) and x smoothed)[1h:1m])",
    );
    check(
        "max_over_time(sum by (pod) (x)[1h:1m] offset 5m)",
        "min by (pod) (max_over_time(timestamp(x)[1h:1m] offset 5m) + 300)",
    );
    check(
        "max_over_time((x offset 1m)[1h:] @ 7200)",
        "max_over_time(timestamp(x offset 1m)[1h:] @ 7200.000) + (time() - 7140)",
    );
    check(
        "a / on (pod) b",
        r#"min by (pod) (label_replace(timestamp(a), "__side__", "left", "", "") or label_replace(timestamp(b), "__side__", "right", "", ""))"#,
    );
    check(
        "a * on (pod) group_left (gpu) b",
        "timestamp(a) <= on (pod) group_left (gpu) timestamp(b) or timestamp(b) < on (pod) group_right (gpu) timestamp(a)",
    );
    check("a and b", "timestamp(a)");
    check("sum(a unless b)", "min(timestamp(a) and (a unless b))");
    check("a or b", "timestamp(a) or timestamp(b)");
    // What leaves out histograms may leave a row to the other side.
    check("abs(a) or b", "timestamp(a) and abs(a) or timestamp(b)");
    check(
        "max by (pod) (a) or b",
        "min by (pod) (timestamp(a)) and max by (pod) (a) or timestamp(b)",
    );
    // By its name it is none.
    check(
        "max by (pod) (a_total) or b",
        "min by (pod) (timestamp(a_total)) or timestamp(b)",
    );
    check(
        "count by (pod) (a) or b",
        "min by (pod) (timestamp(a)) or timestamp(b)",
    );
    check(
        "abs(a) or vector(0)",
        "timestamp(a) or clamp(vector(0) == bool 0, Inf, Inf)",
    );
    // At some of several steps.
    check(
        "last_over_time(abs(a)[5m:1m])",
        "max_over_time((timestamp(a) and abs(a))[5m:1m])",
    );
    check(
        "last_over_time((1 - a)[5m:1m])",
        "max_over_time((timestamp(a) and 1 - a)[5m:1m])",
    );
    check(
        "last_over_time((a / 2)[5m:1m])",
        "max_over_time(timestamp(a)[5m:1m])",
    );
    check(
        "sum_over_time(max_over_time(a[1m])[5m:1m])",
        "max_over_time((ts_of_last_over_time(a[1m]) and max_over_time(a[1m]))[5m:1m])",
    );
    check(
        "sum_over_time(abs(count(a))[5m:1m])",
        "min(max_over_time(timestamp(a)[5m:1m]))",
    );
    check(
        "sum_over_time(abs(sum(a))[5m:1m])",
        "bound: min(min_over_time(timestamp(a)[5m:1m]))",
    );
    // Of rows that are not there no equal ones are made.
    check(
        r#"label_join(a > 1, "p", "", "q")"#,
        r#"label_join(timestamp(a) and a > 1, "p", "", "q")"#,
    );
    check(
        "a > 1 or on (pod) b",
        "timestamp(a) and a > 1 or on (pod) timestamp(b)",
    );
    check(
        "a or vector(0)",
        "timestamp(a) or clamp(vector(0) == bool 0, Inf, Inf)",
    );
    check(
        "a / scalar(b)",
        "clamp_max(timestamp(a), scalar(min(timestamp(b)) or vector(time())))",
    );
    check("scalar(b)", "vector(scalar(min(timestamp(b)) or vector(time())))");
    check(
        "histogram_quantile(0.9, sum by (le, pod) (rate(b[1m])))",
        "min without (le) (min by (le, pod) (ts_of_last_over_time(b[1m]) and rate(b[1m])))",
    );
    check(
        r#"label_replace(x, "a", "$1", "b", "(.*)")"#,
        r#"label_replace(timestamp(x), "a", "$1", "b", "(.*)")"#,
    );
    check("absent(x)", "clamp(absent(x) == bool 0, Inf, Inf)");
    for query in ["1", "vector(1)", "hour() > 5", "time()", "'text'"] {
        check(query, "ageless");
    }
}

#[test]
fn ranges_are_asked_for_by_what_2_42_knows() {
    let check = |query: &str, expected: &str| assert_eq!(told(query, Newest::Subquery), expected);
    check(
        "rate(x[5m])",
        "(timestamp(x) or max_over_time(timestamp(x)[5m:15s])) >= time() - 300",
    );
    check(
        "rate(x[5s] offset 1m)",
        "((timestamp(x offset 1m) or max_over_time(timestamp(x)[5s:1s] offset 1m)) >= time() - 65) + 60",
    );
    check(
        "rate(x[1d] @ 100)",
        "((timestamp(x @ 100.000) or max_over_time(timestamp(x)[1d:1m] @ 100.000)) >= -86300) + (time() - 100)",
    );
}

#[test]
fn where_rows_cannot_be_told_apart_there_is_a_bound() {
    let check =
        |query: &str, expected: &str| assert_eq!(told(query, Newest::TsOfLast), format!("bound: {expected}"));
    check("count_values('v', x)", "min(timestamp(x))");
    check(
        "count_values('v', x smoothed)",
        "min(ts_of_last_over_time(x[5m]))",
    );
    check("sum by (__name__) (x + x)", "min(timestamp(x))");
    check(
        "max_over_time((x > y)[5m:])",
        r#"min(min(min_over_time(timestamp(x)[5m:])) or label_replace(min(min_over_time(timestamp(y)[5m:])), "__side__", "1", "", ""))"#,
    );
    check(
        "info(x, {version='1'})",
        r#"min(min(timestamp(target_info{version="1"})) or label_replace(min(timestamp(x)), "__side__", "1", "", ""))"#,
    );
    // Where both are of one time, so are the info series, else they are of that of the query.
    check(
        "info(x @ start() offset 1m or y @ 100)",
        r#"min(min(timestamp(target_info)) or label_replace(min(timestamp(target_info offset 1m) + 60), "__side__", "1", "", "") or label_replace(min(timestamp(x offset 1m) + 60), "__side__", "2", "", "") or label_replace(min(timestamp(y @ 100.000) + (time() - 100)), "__side__", "3", "", ""))"#,
    );
    // What doubles at each operator.
    let joins = " * on (pod) group_left () (b".repeat(20) + &")".repeat(20);
    assert!(told(&format!("a{joins}"), Newest::TsOfLast).starts_with("bound: min("));
}

#[test]
fn who_reports_is_asked_without_comparisons() {
    let check = |query: &str, expected: Option<&str>| {
        let companion = reporting(&crate::parse(query).unwrap());
        assert_eq!(
            companion.map(|companion| companion.to_string()).as_deref(),
            expected
        );
    };
    check("x > 5", Some("timestamp(x)"));
    check(
        "sum by (pod) (rate(x[5m]) > 0)",
        Some("min by (pod) (timestamp(x))"),
    );
    check(
        "sum by (pod) (a) / (sum by (pod) (b) > 0)",
        Some(
            "min by (pod) (timestamp(a)) <= min by (pod) (timestamp(b)) or min by (pod) (timestamp(b)) < min by (pod) (timestamp(a))",
        ),
    );
    check("a > 1 or b > 1", Some("timestamp(a) or timestamp(b)"));
    check(
        "x smoothed + rate(x[1m] anchored)",
        Some("timestamp(x) <= timestamp(x) or timestamp(x) < timestamp(x)"),
    );
    // Who is there at the last of the steps.
    check(
        "sum(max_over_time(x[1m:5s] offset 10s))",
        Some("min(max_over_time(timestamp(x)[5s:5s] offset 10s) + 10)"),
    );
    check("count_values('v', x)", None);
    check("vector(1)", None);
}

#[test]
fn where_rows_cannot_be_told_apart_it_is_asked_whether_any_series_has_ended() {
    let check = |query: &str, expected: Option<&str>| {
        let companion = ended(&crate::parse(query).unwrap(), Newest::Subquery);
        assert_eq!(
            companion.map(|companion| companion.to_string()).as_deref(),
            expected
        );
    };
    check(
        "count_values('v', rate(x[1m]))",
        Some("min((timestamp(x) or max_over_time(timestamp(x)[1m:3s])) >= time() - 60 unless timestamp(x))"),
    );
    check(
        "max_over_time((x > y)[1m:5s])",
        Some(
            r#"min(max_over_time(timestamp(x)[1m:5s]) unless max_over_time(timestamp(x)[5s:5s])) or label_replace(min(max_over_time(timestamp(y)[1m:5s]) unless max_over_time(timestamp(y)[5s:5s])), "__side__", "1", "", "")"#,
        ),
    );
    check("count_values('v', x)", None);
    let seen = "(timestamp(x) or max_over_time(timestamp(x)[5m:15s])) >= time() - 300";
    check(
        "count_values('v', x smoothed)",
        Some(&format!("min({seen} unless timestamp(x))")),
    );
    let seen = "(timestamp(x) or max_over_time(timestamp(x)[1m:3s])) >= time() - 60";
    check(
        "count_values('v', rate(x[1m] anchored))",
        Some(&format!("min({seen} unless timestamp(x))")),
    );
}
