//! Every query ends, and says which bound it met.

use super::*;

fn fails(config: EngineConfig, store: &Store, query: &str, steps: u32) -> String {
    let end = Timestamp::from_millis(i64::from(steps - 1) * 1000);
    let engine = Engine::new(config);
    let answer = engine.range(
        store,
        query,
        Timestamp::from_millis(0),
        end,
        Duration::from_secs(1),
    );
    answer.map_or_else(
        |error| format!("{}: {error}", error.reason()),
        |_| "an answer".into(),
    )
}

fn many(name: &str, series: usize) -> String {
    (0..series).map(|i| format!("{name}{{i=\"{i}\"}} 1\n")).collect()
}

#[test]
fn each_bound_is_named() {
    let store = Store::new(&many("x", 100));
    let config = EngineConfig::default;
    let check = |config, query, steps, expected: &str| {
        assert_eq!(fails(config, &store, query, steps), expected, "{query}");
    };
    let samples = "samples: query exceeds the limit of 1000 samples";
    check(config().with_max_samples(1000), "x", 11, samples);
    check(config().with_max_samples(1000), "x", 5, "an answer");
    check(
        config().with_max_samples(1000),
        "vector(1)[1y:1ms]",
        1,
        "execution: invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
    );
    check(
        config().with_max_samples(1000),
        "sum_over_time(vector(1)[1y:1ms])",
        1,
        samples,
    );
    check(
        config().with_max_series(99),
        "x",
        1,
        "series: query exceeds the limit of 99 series",
    );
    check(
        config().with_max_series(99),
        "rate(x[5m])",
        1,
        "series: query exceeds the limit of 99 series",
    );
    check(
        config().with_max_steps(10),
        "x",
        12,
        "steps: query exceeds the limit of 10 steps",
    );
    check(config().with_max_steps(10), "x", 11, "an answer");
    check(
        config(),
        "x",
        11_002,
        "steps: query exceeds the limit of 11000 steps",
    );
}

/// A store whose clock moves when it is asked.
struct Slow(Store, fleetgauge_core::time::ManualClock);

impl Queryable for Slow {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<Arc<dyn SeriesSamples>> {
        self.1.advance(Duration::from_secs(3));
        self.0.select(matchers, from, to)
    }
}

#[test]
fn a_query_that_takes_too_long_ends() {
    let (clock, hand) = Clock::manual(Timestamp::from_millis(0));
    let store = Slow(Store::new("x 1"), hand);
    let engine = Engine::new(
        EngineConfig::default()
            .with_clock(clock)
            .with_timeout(Duration::from_secs(4)),
    );
    let at = Timestamp::from_millis(0);
    assert!(engine.instant(&store, "x", at).is_ok());
    let error = engine.instant(&store, "x + x", at).expect_err("six seconds");
    assert_eq!(error.to_string(), "query exceeds the time limit of 4s");
    assert_eq!(error.reason(), "timeout");
}

/// Without bounds on them, these would be a hundred million pairs.
#[test]
fn a_cross_product_is_refused_or_bounded() {
    let store = Store::new(&(many("x", 10_000) + &many("y", 10_000)));
    let answer = store.at(0.0, "x * on () y");
    assert!(
        answer.starts_with("error: found duplicate series for the match group {}"),
        "{answer}"
    );
    let answer = store.at(0.0, "x * on () group_left y");
    assert!(
        answer.starts_with("error: found duplicate series for the match group {}"),
        "{answer}"
    );
    let answer = store.at(0.0, "x * on () group_left (i) topk(1, y)");
    assert!(
        answer.starts_with("error: multiple matches for labels: grouping labels must ensure unique"),
        "{answer}"
    );

    // Never at the same time, so that no pair is ambiguous.
    let apart: String = (0..400)
        .map(|i| format!("y{{i=\"{i}\"}} {}1 stale\n", "_ ".repeat(i)))
        .collect();
    let store = Store::new(&(many("x", 3000).replace(" 1\n", &format!("{}\n", " 1".repeat(400))) + &apart));
    let answer = store.over(400, "x * on () group_left y");
    assert_eq!(answer, "error: query exceeds the limit of 50000000 samples");
}

#[test]
fn ends_of_time_and_odd_steps_are_survived() {
    let store = Store::new("x 1 2 3");
    let engine = Engine::default();
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX].map(Timestamp::from_millis);
    let queries = [
        "x",
        "x offset 290y",
        "x offset -290y",
        "rate(x[290y])",
        "x @ 9e15",
        "x[290y:289y]",
        "x[5m:1m] offset -290y",
        "timestamp(x)",
        "time()",
        "day_of_month()",
        "predict_linear(x[290y], 1e300)",
    ];
    for query in queries {
        for at in ends {
            let _ = engine.instant(&store, query, at);
            for end in ends {
                for step in [Duration::from_millis(1), Duration::MAX] {
                    let _ = engine.range(&store, query, at, end, step);
                }
            }
        }
    }
    let zero = Timestamp::from_millis(0);
    let refused = |start, end, step| {
        engine
            .range(&store, "x", start, end, step)
            .expect_err("refused")
            .to_string()
    };
    assert!(refused(zero, zero, Duration::from_micros(999)).starts_with("zero or negative query resolution"));
    let one = Timestamp::from_millis(1);
    assert_eq!(
        refused(one, zero, Duration::from_secs(1)),
        "end timestamp must not be before start time"
    );
}

/// The deepest that the parser lets through, on a thread with the stack that tokio gives.
#[test]
fn deep_queries_are_evaluated_without_overflow() {
    let run = || {
        let store = Store::new("x 1");
        let nested = |open: &str, close: &str| open.repeat(120) + "x" + &close.repeat(120);
        for query in [
            nested("abs(", ")"),
            nested("sum(", ")"),
            nested("(", ")"),
            nested("-", ""),
            nested("sum(", ") by (a)"),
            vec!["x"; 120].join("+"),
            vec!["x"; 120].join(" or "),
            "max_over_time((".repeat(50) + "x" + &")[1m:1m])".repeat(50),
        ] {
            let answer = store.at(0.0, &query);
            assert!(!answer.contains("parse error"), "{query}: {answer}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run);
    thread.expect("a thread").join().expect("no overflow");
}
