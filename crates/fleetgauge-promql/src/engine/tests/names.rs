//! Which operations take the metric name away, and what becomes of series that are the same without it.

use super::*;

#[test]
fn names_go_where_the_number_is_another() {
    let store = Store::new("x{a=\"1\"} 2\ny{a=\"1\"} 2");
    for query in [
        "x + 1",
        "-x",
        "x * y",
        "x > bool 1",
        "x == bool y",
        "abs(x)",
        "rate(x[5m]) or x + 0",
        "sum_over_time(x[5m])",
        "1 - x",
        "x ^ 2",
        "timestamp(x)",
        "x atan2 y",
    ] {
        assert!(
            store.at(0.0, query).starts_with(r#"{a="1"} "#),
            "{query}: {}",
            store.at(0.0, query)
        );
    }
    for query in [
        "x",
        "+x",
        "x > 1",
        "1 < x",
        "x == y",
        "x and y",
        "x or y",
        "x unless z",
        "topk(1, x)",
        "last_over_time(x[5m])",
        "sort(x)",
    ] {
        assert!(store.at(0.0, query).starts_with(r#"x{a="1"} 2"#), "{query}");
    }
    store.check("sum by (__name__) (x)", &["x 2"]);
}

#[test]
fn series_that_become_the_same_are_an_error() {
    let same = ["error: vector cannot contain metrics with the same labelset"];
    let store = Store::new("x{a=\"1\"} 2\ny{a=\"1\"} 2\nz{a=\"2\"} 3");
    let all = r#"{__name__=~"x|y"}"#;
    for query in [
        format!("{all} + 1"),
        format!("-{all}"),
        format!("abs({all})"),
        format!("rate({all}[5m]) or last_over_time({all}[5m]) or sum_over_time({all}[5m])"),
        format!("sum_over_time({all}[5m])"),
        format!("timestamp({all})"),
        format!(r#"label_replace({all}, "__name__", "q", "", "")"#),
    ] {
        store.check(&query, &same);
    }
    store.check(r#"{__name__=~"x|z"} + 1"#, &[r#"{a="1"} 3"#, r#"{a="2"} 4"#]);
}

/// Two series that are never there at the same time become one.
#[test]
fn series_that_become_the_same_one_after_the_other_are_one() {
    let store = Store::new("x 1 stale\ny _ _ 3 4");
    let all = r#"{__name__=~"x|y"}"#;
    store.check_over(4, &format!("{all} + 1"), &["{} 2@0 4@2 5@3"]);
    store.check_over(4, &format!("abs({all})"), &["{} 1@0 3@2 4@3"]);
    store.check_over(4, "x + 0 or y + 0", &["{} 1@0 3@2 4@3"]);
    store.check_over(4, &format!("-{all}"), &["{} -1@0 -3@2 -4@3"]);
    store.check_over(4, &format!("sum_over_time({all}[1m])"), &["{} 1@0 3@2 4@3"]);
    // Where their ranges overlap they are there at the same time.
    let same = ["error: vector cannot contain metrics with the same labelset"];
    store.check_over(4, &format!("sum_over_time({all}[3m])"), &same);
}

#[test]
fn the_order_is_by_labels_unless_the_query_says_another() {
    let store = Store::new("x{a=\"1\"} 3\nx{a=\"2\"} 1\nx{a=\"3\"} 2");
    store.check("x", &[r#"x{a="1"} 3"#, r#"x{a="2"} 1"#, r#"x{a="3"} 2"#]);
    store.check("sort(x)", &[r#"x{a="2"} 1"#, r#"x{a="3"} 2"#, r#"x{a="1"} 3"#]);
    store.check(
        "sort_desc(x) * 2",
        &[r#"{a="1"} 6"#, r#"{a="3"} 4"#, r#"{a="2"} 2"#],
    );
    store.check("bottomk(2, x)", &[r#"x{a="2"} 1"#, r#"x{a="3"} 2"#]);
    store.check(
        "sum by (a) (sort(x))",
        &[r#"{a="1"} 3"#, r#"{a="2"} 1"#, r#"{a="3"} 2"#],
    );
}

/// As Prometheus has it where it is not asked for anything else: a name goes at once, and nobody can read it any more.
#[test]
fn names_go_at_once_unless_they_are_to_go_at_the_end() {
    let mut store = MemoryStore::new();
    let at = Timestamp::from_millis(0);
    for (name, bound) in [("x", "1"), ("y", "1")] {
        let labels = LabelSet::from_pairs([("__name__", name), ("le", bound)]);
        let sample = Sample {
            timestamp: at,
            value: 1.0,
        };
        store.append(&labels, sample).expect("no conflict");
    }
    let evaluate = |delayed: bool, query: &str| {
        let mut features = Features::default();
        features.delayed_names = delayed;
        let engine = Engine::new(EngineConfig::default().with_features(features));
        let evaluation = engine
            .instant(&store, query, at)
            .map_err(|error| error.to_string());
        evaluation.map(|evaluation| -> Vec<Vec<String>> {
            let rows = evaluation.answer.series();
            rows.map(|row| {
                row.labels()
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect()
            })
            .collect()
        })
    };
    let of = |texts: &[&str]| vec![texts.iter().map(ToString::to_string).collect::<Vec<_>>()];
    let same = "vector cannot contain metrics with the same labelset";
    let query = r#"count(-{le="1"})"#;
    assert_eq!(evaluate(false, query).expect_err("two of the same"), same);
    assert_eq!(evaluate(true, query).expect("one"), of(&[]));
    let query = r#"label_join(-x{le="1"}, "was", "", "__name__")"#;
    assert_eq!(evaluate(false, query).expect("one"), of(&["le=1"]));
    assert_eq!(evaluate(true, query).expect("one"), of(&["le=1", "was=x"]));
    // A comparison keeps the name of its left side, which has none any more or still has it.
    let query = r#"-x{le="1"} > bool -3 > -y"#;
    assert_eq!(evaluate(false, query).expect("one"), of(&["le=1"]));
    assert_eq!(evaluate(true, query).expect("one"), of(&["__name__=x", "le=1"]));
}
