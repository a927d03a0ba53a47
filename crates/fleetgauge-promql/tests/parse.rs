//! The parser against another one: what `promql-parser` takes, this one takes, and the other way round.
//!
//! Where they differ by intent, [`is_known`] says so.

use std::panic;

use fleetgauge_promql::parse::Expression;
use proptest::prelude::*;
use proptest::sample::select;

/// What queries are made of.
const PIECES: &[&str] = &[
    "x",
    "y:z",
    "sum",
    "topk",
    "count_values",
    "rate",
    "abs",
    "label_replace",
    "time",
    "vector",
    "scalar",
    "round",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "[5m]",
    "[5m:1m]",
    "[1h:]",
    ",",
    ":",
    "@",
    "@ 5",
    "@ start()",
    "@ end()",
    "offset 5m",
    "offset -1h",
    "offset",
    "by (a)",
    "without (a, b)",
    "by",
    "on (a)",
    "ignoring (b)",
    "on ()",
    "group_left",
    "group_right (c)",
    "bool",
    "and",
    "or",
    "unless",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "atan2",
    "==",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "=",
    "=~",
    "!~",
    "1",
    "2.5",
    "0x1f",
    "1e3",
    "Inf",
    "nan",
    "5m",
    "1h30m",
    "\"a\"",
    "'b'",
    "`c`",
    "{a=\"b\"}",
    "{a=~\"b.*\"}",
    "{a!=\"\"}",
    "{\"m\"}",
    "{\"l\"=\"v\"}",
    "# c\n",
];

/// An expression whose parts fit, more or less.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(
            &[
                "x",
                "y",
                "x{a=\"b\"}",
                "{a=\"b\"}",
                "x offset 5m",
                "x @ 5",
                "x @ end() offset 1m"
            ][..]
        ),
        select(
            &[
                "1",
                "2.5",
                "Inf",
                "-3",
                "time()",
                "\"s\"",
                "x[5m]",
                "x[5m] offset -1m",
                "x[5m:1m]"
            ][..]
        ),
    ]
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = select(
            &[
                "+",
                "-",
                "*",
                "/",
                "%",
                "^",
                "atan2",
                "==",
                "> bool",
                "and",
                "or",
                "unless",
                "+ on (a)",
                "* on (a) group_left",
                "/ ignoring (a) group_right (b)",
                "and on (a)",
                "== bool on ()",
                "* on (a) group_left (a)",
            ][..],
        );
        let function = select(
            &[
                "abs",
                "rate",
                "sum_over_time",
                "scalar",
                "vector",
                "absent",
                "sort",
                "timestamp",
                "year",
            ][..],
        );
        let aggregation = select(
            &[
                "sum",
                "avg by (a)",
                "count without (b)",
                "topk",
                "quantile by (a)",
                "group",
            ][..],
        );
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (aggregation.clone(), inner.clone()).prop_map(|(f, a)| format!("{f} ({a})")),
            (aggregation, inner.clone(), inner.clone()).prop_map(|(f, a, b)| format!("{f} ({a}, {b})")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.prop_map(|a| format!("({a})[5m:30s]")),
        ]
    })
}

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(select(PIECES), 1..9).prop_map(|pieces| pieces.join(" "))
}

/// Where the other parser takes what Prometheus refuses.
fn is_known(query: &str, ours: &Result<(), String>) -> bool {
    let _ = query;
    match ours {
        Err(why) => why.contains("unary expression only allowed on"),
        Ok(()) => false,
    }
}

fn check(query: &str) -> Result<(), TestCaseError> {
    let ours = Expression::parse(query)
        .map(|_| ())
        .map_err(|error| error.to_string());
    // It panics on some offsets.
    let Ok(theirs) = panic::catch_unwind(|| promql_parser::parser::parse(query).map(|_| ())) else {
        return Ok(());
    };
    if ours.is_ok() != theirs.is_ok() && !is_known(query, &ours) {
        return Err(TestCaseError::fail(format!(
            "{query}\nours: {ours:?}\ntheirs: {theirs:?}"
        )));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn expressions_are_judged_as_by_another_parser(query in expression()) {
        check(&query)?;
    }

    #[test]
    fn token_soup_is_judged_as_by_another_parser(query in soup()) {
        check(&query)?;
    }

    /// Any text at all is read or refused, with a place that is in it.
    #[test]
    fn every_text_is_read_or_refused(query in any::<String>()) {
        if let Err(error) = Expression::parse(&query) {
            prop_assert!(error.offset() <= query.len());
            prop_assert!(query.is_char_boundary(error.offset()));
        }
    }
}
