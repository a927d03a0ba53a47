//! Where an operation leaves values out for what they are, who asks for it is told, whatever Prometheus says of it.

use fleetgauge_syntax::{Function, parse};

use super::*;

const HISTOGRAM: &str = "{{count:3 sum:6 buckets:[3]}}";
const CUSTOM: &str = "{{schema:-53 count:3 sum:6 custom_values:[2] buckets:[3]}}";

const OTHER_BOUNDS: &str = "{{schema:-53 count:3 sum:6 custom_values:[3] buckets:[3]}}";

/// Series with a value a minute from time 0 on.
fn store(series: &[(&str, &[&str])]) -> MemoryStore {
    let mut store = MemoryStore::new();
    for (labels, values) in series {
        let parsed = Expression::parse(labels).expect("a series");
        let Expr::Selector(selector) = parsed.root() else {
            panic!("{labels} is no series");
        };
        let labels = LabelSet::from_pairs(selector.matchers.iter().map(|m| (m.name(), m.value())));
        for (i, text) in values.iter().enumerate() {
            let timestamp = Timestamp::from_millis(i as i64 * MINUTE);
            let appended = match FloatHistogram::from_notation(text) {
                Ok(histogram) => store.append_histogram(&labels, timestamp, Arc::new(histogram)),
                Err(_) => {
                    let value = text.parse().expect("a number");
                    store.append(&labels, Sample { timestamp, value })
                }
            };
            appended.expect("one value a minute");
        }
    }
    store
}

/// Of each pod values of a kind of its own.
fn fleet() -> MemoryStore {
    store(&[
        ("x{pod=\"a\"}", &["5", "7"]),
        ("x{pod=\"b\"}", &[HISTOGRAM, HISTOGRAM]),
        ("x{pod=\"c\"}", &[CUSTOM, CUSTOM]),
        ("y{pod=\"a\"}", &[HISTOGRAM, HISTOGRAM]),
        ("y{pod=\"c\"}", &[OTHER_BOUNDS, OTHER_BOUNDS]),
        ("n", &["1", "2"]),
        ("h", &[HISTOGRAM, HISTOGRAM]),
        ("changes", &["1", HISTOGRAM]),
        ("other", &[HISTOGRAM, CUSTOM]),
    ])
}

/// The answer after a minute, at that time and as that of a range.
fn answers(store: &MemoryStore, query: &str, strict: bool) -> [Evaluation; 2] {
    let engine = Engine::new(
        EngineConfig::default()
            .with_histograms(true)
            .with_strict_kinds(strict),
    );
    let at = Timestamp::from_millis(MINUTE);
    [
        engine.instant(store, query, at).expect(query),
        engine
            .range(store, query, at, at, Duration::from_secs(60))
            .expect(query),
    ]
}

fn check(query: &str, is_complete: bool) {
    for evaluation in answers(&fleet(), query, true) {
        let answer = evaluation.answer;
        let warnings: Vec<_> = answer.warnings().collect();
        assert_eq!(answer.is_complete(), is_complete, "{query}: {warnings:?}");
        // Nothing is told twice.
        let all: Vec<_> = answer.warnings().chain(answer.infos()).collect();
        let each: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(each.len(), all.len(), "{query}: {all:?}");
    }
    // By itself it is as Prometheus has it: nothing but its own remarks.
    for evaluation in answers(&fleet(), query, false) {
        let answer = evaluation.answer;
        assert!(answer.is_complete(), "{query}");
        let texts = |notes: &[Annotation]| notes.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            answer.warnings().collect::<Vec<_>>(),
            texts(&evaluation.warnings),
            "{query}"
        );
        assert_eq!(
            answer.infos().collect::<Vec<_>>(),
            texts(&evaluation.infos),
            "{query}"
        );
    }
}

/// Whichever function it is: where it has fewer rows than it was given, or none for a kind, it says so.
#[test]
fn a_function_that_leaves_a_kind_out_says_so() {
    let ways = [
        "(x)",
        "(x[2m])",
        "(x, 9)",
        "(x, 1, 9)",
        "(0.5, x)",
        "(1, 9, x)",
        "(x[2m], 9)",
        "(x[2m], 0.5, 0.5)",
        "(0.5, x[2m])",
        "(x, \"q\", 0.5)",
        "(x, \"l\", \"\", \"pod\", \"pod\")",
        "(x, \"pod\")",
    ];
    let mut left_out = Vec::new();
    for function in Function::evaluated() {
        let queries = ways.iter().map(|way| format!("{}{way}", function.name()));
        let Some(query) = queries.into_iter().find(|query| parse(query).is_ok()) else {
            continue;
        };
        // That there is no series is about none of them.
        if matches!(function, Function::Absent | Function::AbsentOverTime) {
            continue;
        }
        let rows = answers(&fleet(), &query, false).map(|one| one.answer.len());
        let is_complete = rows == [3; 2] && function != Function::Scalar;
        check(&query, is_complete);
        if !is_complete {
            left_out.push(function.name());
        }
        // All there is of one kind that it does not take: that is not "no data".
        let of_one = ["n", "h"].map(|name| {
            query
                .replace("(x", &format!("({name}"))
                .replace(", x", &format!(", {name}"))
        });
        for query in of_one.iter().filter(|_| function != Function::Scalar) {
            let rows = answers(&fleet(), query, false).map(|one| one.answer.len());
            check(query, rows == [1; 2]);
        }
    }
    for name in [
        "abs",
        "clamp",
        "day_of_week",
        "histogram_count",
        "histogram_quantile",
        "max_over_time",
        "round",
        "sort",
    ] {
        assert!(left_out.contains(&name), "{name} of {left_out:?}");
    }
    for name in ["rate", "count_over_time", "label_join", "timestamp"] {
        assert!(!left_out.contains(&name), "{name}");
    }
}

#[test]
fn a_series_that_changes_its_kind_within_a_range_is_missed() {
    for name in ["changes", "other"] {
        for function in [
            "rate",
            "increase",
            "delta",
            "irate",
            "idelta",
            "sum_over_time",
            "avg_over_time",
        ] {
            // With other buckets a counter has begun anew, and all that it has counted since is there.
            let begins_anew = name == "other" && matches!(function, "rate" | "increase" | "irate");
            check(&format!("{function}({name}[2m])"), begins_anew);
            check(
                &format!("sum(histogram_count({function}({name}[2m])))"),
                begins_anew,
            );
        }
        for function in [
            "count_over_time",
            "last_over_time",
            "changes",
            "resets",
            "present_over_time",
        ] {
            check(&format!("{function}({name}[2m])"), true);
        }
    }
    check("max_over_time(changes[2m])", false);
    check("quantile_over_time(0.5, changes[2m])", false);
    check("changes smoothed", false);
}

#[test]
fn what_is_computed_of_several_says_which_kinds_did_not_fit() {
    let check = |queries: &[&str], is_complete: bool| {
        queries.iter().for_each(|query| check(query, is_complete));
    };
    let aggregations = [
        "sum(x)",
        "avg(x)",
        "min(x)",
        "max(x)",
        "stddev(x)",
        "stdvar(x)",
        "quantile(0.5, x)",
        "topk(3, x)",
        "bottomk by (pod) (1, x)",
        "sum(x{pod!=\"a\"})",
        "sum(histogram_count(x))",
        "histogram_count(sum(rate(x[2m])))",
    ];
    check(&aggregations, false);
    check(
        &[
            "count(x)",
            "group(x)",
            "limitk(3, x)",
            "sum by (pod) (x)",
            "count_values(\"v\", x)",
            "sum(n)",
            "sum(h)",
        ],
        true,
    );
    let operators = [
        "x + 1",
        "x > 0",
        "x == bool 1",
        "h + on () n",
        "h / on () h",
        "x + on (pod) x * 2 > 1",
        "n </ 1",
        // Of this Prometheus only says that the bounds of the last one were reconciled.
        "x + on (pod) y",
    ];
    check(&operators, false);
    check(
        &[
            "x * 2",
            "x / 2",
            "-x",
            "h + h",
            "h == h",
            "x and x",
            "x or n",
            "x unless n",
        ],
        true,
    );
}
