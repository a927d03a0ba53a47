use std::sync::Arc;

use crate::budget::Budget;
use crate::config::EngineConfig;
use crate::engine::tests::Store;
use crate::engine::{Engine, Evaluation};
use crate::histogram::FloatHistogram;
use crate::label::{Groups, LabelSet, Projection};
use crate::store::MemoryStore;

fn store() -> Store {
    Store::new(
        r#"x{a="1",b="1"} 1
           x{a="1",b="2"} 3
           x{a="2",b="1"} NaN
           x{a="2",b="2"} 5"#,
    )
}

#[test]
fn groups_are_by_or_without_labels() {
    let store = store();
    store.check("count(x)", &["{} 4"]);
    store.check("count by (a) (x)", &[r#"{a="1"} 2"#, r#"{a="2"} 2"#]);
    store.check("count without (a) (x)", &[r#"{b="1"} 2"#, r#"{b="2"} 2"#]);
    store.check("count by (a, zone) (x)", &[r#"{a="1"} 2"#, r#"{a="2"} 2"#]);
    store.check(
        "count without () (x{a=\"1\"})",
        &[r#"{a="1", b="1"} 1"#, r#"{a="1", b="2"} 1"#],
    );
    store.check("count by (__name__) (x)", &["x 4"]);
    store.check("count(none)", &[]);
}

#[test]
fn aggregations_compute_what_prometheus_does() {
    let store = store();
    let one = r#"x{a="1"}"#;
    let check =
        |op: &str, expected: &str| store.check(&format!("{op}({one})"), &[&format!("{{}} {expected}")]);
    check("sum", "4");
    check("avg", "2");
    check("min", "1");
    check("max", "3");
    check("group", "1");
    check("stdvar", "1");
    check("stddev", "1");
    // NaN is a value, but neither the least nor the greatest.
    store.check("min by (a) (x)", &[r#"{a="1"} 1"#, r#"{a="2"} 5"#]);
    store.check("max by (a) (x)", &[r#"{a="1"} 3"#, r#"{a="2"} 5"#]);
    store.check("sum by (a) (x)", &[r#"{a="1"} 4"#, r#"{a="2"} NaN"#]);
    store.check(r#"min(x{a="2",b="1"})"#, &["{} NaN"]);

    let odd = Store::new(
        "big{i=\"1\"} 1e100\nbig{i=\"2\"} 1\nbig{i=\"3\"} -1e100\nbig{i=\"4\"} 1\nendless Inf\nmax{i=\"1\"} 1.7e308\nmax{i=\"2\"} 1.7e308",
    );
    odd.check("sum(big)", &["{} 2"]);
    odd.check("avg(big)", &["{} 0.5"]);
    odd.check("avg(max)", &["{} 170000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"]);
    odd.check("sum(endless)", &["{} inf"]);
    odd.check("stddev(endless)", &["{} NaN"]);
}

#[test]
fn the_best_are_chosen_in_their_order() {
    let store = store();
    store.check("topk(2, x)", &[r#"x{a="2", b="2"} 5"#, r#"x{a="1", b="2"} 3"#]);
    // NaN is worst.
    store.check("bottomk(2, x)", &[r#"x{a="1", b="1"} 1"#, r#"x{a="1", b="2"} 3"#]);
    store.check(
        "topk(9, x{a=\"2\"})",
        &[r#"x{a="2", b="2"} 5"#, r#"x{a="2", b="1"} NaN"#],
    );
    store.check(
        "topk by (a) (1, x)",
        &[r#"x{a="1", b="2"} 3"#, r#"x{a="2", b="2"} 5"#],
    );
    store.check("topk(1.9, x{a=\"1\"})", &[r#"x{a="1", b="2"} 3"#]);
    store.check("topk(0, x)", &[]);
    store.check("topk(-3, x)", &[]);
    store.check("limitk(1, x)", &[r#"x{a="1", b="1"} 1"#]);
    store.check(
        "limitk by (a) (1, x)",
        &[r#"x{a="1", b="1"} 1"#, r#"x{a="2", b="1"} NaN"#],
    );
    store.check("topk(NaN, x)", &["error: Parameter value is NaN"]);
    store.check("topk(1e30, x)", &["error: Scalar value 1e+30 overflows int64"]);
    store.check("bottomk(-Inf, x)", &["error: Scalar value -Inf underflows int64"]);
    let moving = Store::new("x{a=\"1\"} 1 5\nx{a=\"2\"} 2 2\nk 1 2");
    moving.check_over(2, "topk(1, x)", &[r#"x{a="1"} 5@1"#, r#"x{a="2"} 2@0"#]);
    moving.check_over(
        2,
        "topk(scalar(k), x)",
        &[r#"x{a="1"} 5@1"#, r#"x{a="2"} 2@0 2@1"#],
    );
}

#[test]
fn a_ratio_and_its_rest_take_each_series_once() {
    let lines: String = (0..1000).map(|i| format!("x{{i=\"{i}\"}} 1\n")).collect();
    let store = Store::new(&lines);
    store.check("count(limit_ratio(0.3, x) or limit_ratio(-0.7, x))", &["{} 1000"]);
    store.check("limit_ratio(0.3, x) and limit_ratio(-0.7, x)", &[]);
    store.check("count(limit_ratio(1, x))", &["{} 1000"]);
    store.check("count(limit_ratio(-2, x))", &["{} 1000"]);
    store.check("limit_ratio(0, x)", &[]);
    store.check("limit_ratio(NaN, x)", &["error: Ratio value is NaN"]);
    store.check(
        "count(limit_ratio(0.3, x)) > 250 < 350",
        &[&store.at(0.0, "count(limit_ratio(0.3, x))")],
    );
}

#[test]
fn values_are_counted_by_their_text() {
    let store =
        Store::new("x{a=\"1\"} 2\nx{a=\"2\"} 2\nx{a=\"3\"} 0.00001\nx{a=\"4\"} -Inf\nx{a=\"5\"} 1e21");
    store.check(
        "count_values(\"v\", x)",
        &[
            r#"{v="-Inf"} 1"#,
            r#"{v="0.00001"} 1"#,
            r#"{v="1000000000000000000000"} 1"#,
            r#"{v="2"} 2"#,
        ],
    );
    // The label of the value takes the place of one that is there.
    store.check("count_values without () (\"a\", x) > 1", &[r#"{a="2"} 2"#]);
    store.check(
        "count_values by (a) (\"v\", x{a=\"1\"})",
        &[r#"{a="1", v="2"} 1"#],
    );
    store.check("count_values without (v) (\"v\", x{a=\"1\"})", &[r#"{a="1"} 1"#]);
    store.check("count_values(\"\", x)", &["error: invalid label name \"\""]);
}

#[test]
fn quantiles_warn_of_what_none_can_be() {
    let store = store();
    store.check("quantile(0.5, x{a=\"1\"})", &["{} 2"]);
    store.check("quantile(2, x)", &["{} inf"]);
    let warnings = |query: &str| {
        let at = fleetgauge_core::time::Timestamp::from_millis(0);
        let Evaluation { warnings, .. } = Engine::default().instant(&store, query, at).expect("a vector");
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("quantile(2, x)"),
        ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]
    );
    assert_eq!(
        warnings("limit_ratio(-3, x)"),
        ["PromQL warning: ratio value should be between -1 and 1, got -3, capping to -1 (1:13)"]
    );
    assert!(warnings("quantile(0.5, x)").is_empty());
}

/// As Prometheus says it: of what chooses whole samples about the aggregation, of others about their vector.
#[test]
fn histograms_that_are_left_out_are_remarked_where_they_are() {
    let mut store = MemoryStore::new();
    let histogram = FloatHistogram::from_notation("{{count:3}}").expect("a histogram");
    let labels = LabelSet::from_pairs([("__name__", "h")]);
    let at = fleetgauge_core::time::Timestamp::from_millis(0);
    let appended = store.append_histogram(&labels, at, Arc::new(histogram));
    appended.expect("no conflict");
    let check = |query: &str, op: &str, column: usize| {
        let answer = Engine::default().instant(&store, query, at).expect("a vector");
        let infos: Vec<_> = answer.infos.iter().map(ToString::to_string).collect();
        let expected = format!("PromQL info: ignored histogram in {op} aggregation (1:{column})");
        assert_eq!(infos, [expected], "{query}");
    };
    check("quantile(0.5, h)", "quantile", 15);
    check("max by (a) (h)", "max", 13);
    check("1 + topk(3, h)", "topk", 5);
    check("bottomk(3, h)", "bottomk", 1);
}

/// Series in order, in the same order again, and in none; with equal and with different lists of names.
#[test]
fn groups_are_numbered_as_they_are_met() {
    let config = EngineConfig::default();
    let series = |i: usize, shape: usize| {
        let (pod, zone) = (format!("p{:02}", i % 12), format!("z{}", i % 5));
        let mut pairs = vec![("pod", pod), ("zone", zone)];
        match shape {
            0 => {}
            1 => pairs.push(("__name__", "x".to_owned())),
            2 => pairs.truncate(1),
            _ => pairs.push(("z_last", i.to_string())),
        }
        LabelSet::from_pairs(pairs)
    };
    let orders: [fn(usize) -> usize; 4] = [|i| i, |i| i % 7, |i| i * 5 % 24, |i| 48 - i];
    for added in orders {
        for found in orders {
            for shapes in 1..5 {
                let mut budget = Budget::new(&config);
                let by = [Arc::from("pod"), Arc::from("zone")];
                let mut groups = Groups::new(Projection::keep(&by));
                let mut known: Vec<[String; 2]> = Vec::new();
                let key =
                    |labels: &LabelSet| ["pod", "zone"].map(|name| labels.get(name).unwrap_or("").to_owned());
                for i in 0..24 {
                    let labels = series(added(i), i % shapes);
                    let expected = known.iter().position(|one| *one == key(&labels));
                    let expected = expected.unwrap_or_else(|| {
                        known.push(key(&labels));
                        known.len() - 1
                    });
                    assert_eq!(groups.add(&labels, &mut budget).unwrap(), expected, "{labels}");
                    assert_eq!(groups.len(), known.len());
                }
                for i in 0..48 {
                    let labels = series(found(i), (i + 1) % shapes);
                    let expected = known.iter().position(|one| *one == key(&labels));
                    assert_eq!(groups.find(&labels, &mut budget).unwrap(), expected, "{labels}");
                }
            }
        }
    }
}
