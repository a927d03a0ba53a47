//! A range query is an instant query at every step: the one law that evaluating all steps at once could break.

use proptest::prelude::*;

use super::*;

/// Every kind of expression, over whatever series there are.
const QUERIES: [&str; 62] = [
    "x",
    "x offset 2m",
    "x offset -3m",
    "x @ 240",
    "-x",
    "x + y",
    "x + on (a) group_left y",
    "x * ignoring (b) group_right (a) y",
    "x / on (a, b) y",
    "x % 3",
    "2 ^ x",
    "x > 2",
    "x > bool y",
    "1 <= bool x",
    "x == on (a, b) y",
    "x < ignoring (b) group_left y",
    "x and y",
    "x or y",
    "x unless y",
    "x and on (a) y",
    "x or on (b) y",
    "x unless ignoring (a) y",
    "{__name__=~\"x|y\"} + 0",
    "sum(x)",
    "sum by (a) (x)",
    "avg without (a) (x)",
    "min(x)",
    "max by (b) (x or y)",
    "count(x)",
    "count(x) by (a) > 1",
    "group by (a) (x)",
    "stddev(x)",
    "stdvar by (a) (x)",
    "topk by (a) (1, x)",
    "bottomk(2, x)",
    "topk(scalar(count(y)), x)",
    "quantile(0.3, x)",
    "quantile by (a) (scalar(y{a=\"0\",b=\"0\"}), x)",
    "count_values(\"v\", x)",
    "count_values without (a) (\"b\", x)",
    "limitk(2, x)",
    "limit_ratio(0.4, x)",
    "limit_ratio(-0.4, x)",
    "absent(x{a=\"0\"})",
    "absent_over_time(x{a=\"0\"}[2m])",
    "timestamp(x)",
    "timestamp(-x)",
    "rate(x[4m])",
    "sum by (a) (increase(x[4m]))",
    "delta(x[3m] offset 1m)",
    "last_over_time(x[2m])",
    "quantile_over_time(scalar(max(y)) / 10, x[5m])",
    "predict_linear(x[5m], 60)",
    "max_over_time(sum(x)[4m:1m])",
    "sum_over_time(x[5m:2m])",
    "avg_over_time(rate(x[3m])[5m:90s] offset 1m)",
    "sum_over_time(x[3m] @ 300)",
    "scalar(sum(x)) + x",
    "vector(time())",
    "clamp(x, 1, scalar(sum(y)))",
    "label_replace(x, \"c\", \"$1\", \"a\", \"(.*)\")",
    "sort(x) * 2 + scalar(x{a=\"0\",b=\"0\"})",
];

fn store() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        4 => (0_i32..6).prop_map(|v| v.to_string()),
        2 => Just("_".to_owned()),
        1 => Just("stale".to_owned()),
        1 => Just("NaN".to_owned()),
        1 => Just("-Inf".to_owned()),
    ];
    let series = (
        prop_oneof![Just("x"), Just("y")],
        0..3,
        0..2,
        prop::collection::vec(value, 12),
    );
    prop::collection::vec(series, 1..10).prop_map(|all| {
        let mut seen = Vec::new();
        let mut lines = String::new();
        for (name, a, b, values) in all {
            let labels = format!("{name}{{a=\"{a}\",b=\"{b}\"}}");
            if !seen.contains(&labels) {
                lines += &format!("{labels} {}\n", values.join(" "));
                seen.push(labels);
            }
        }
        lines
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_range_query_is_an_instant_query_at_every_step(lines in store(), start in -3_i64..6, step in 1_i64..4) {
        let store = Store::new(&lines);
        let engine = Engine::default();
        let (start, end, step) = (start * MINUTE + 7, 15 * MINUTE, step * 31_000);
        for query in QUERIES {
            let range = engine.range(
                &store,
                query,
                Timestamp::from_millis(start),
                Timestamp::from_millis(end),
                Duration::from_millis(step as u64),
            );
            let mut expected: Vec<(String, i64, u64)> = Vec::new();
            let read = |answer: &Answer| -> Vec<_> {
                let values = answer.values();
                let values = values.map(|v| (v.labels.to_string(), v.timestamp.as_millis(), v.value.to_bits()));
                values.collect()
            };
            let mut failed = None;
            for at in (start..=end).step_by(step as usize) {
                match engine.instant(&store, query, Timestamp::from_millis(at)) {
                    Ok(instant) => expected.extend(read(&instant.answer)),
                    Err(error) => failed = Some(error.to_string()),
                }
            }
            let mut got = match range {
                Ok(range) => read(&range.answer),
                Err(error) => {
                    prop_assert!(failed.is_some(), "{}: {}\n{}", query, error, lines);
                    continue;
                }
            };
            prop_assert_eq!(failed, None, "{}\n{}", query, lines);
            expected.sort();
            got.sort();
            prop_assert_eq!(&got, &expected, "{}\n{}", query, lines);
        }
    }
}
