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
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
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
    let config = EngineConfig::default().with_max_samples(5_000_000);
    let [start, end] = [0, 399].map(|minute| Timestamp::from_millis(minute * MINUTE));
    let minute = Duration::from_secs(60);
    let answer = Engine::new(config).range(&store, "x * on () group_left y", start, end, minute);
    let error = answer.expect_err("too many pairs").to_string();
    assert_eq!(error, "query exceeds the limit of 5000000 samples");
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

/// Each kind of expression, over series of a metric `x` with the labels `i` and `le` and of a metric `y` with the label
/// `i`; those that need no more than the series themselves do not stand here.
const COSTLY: [&str; 38] = [
    "x",
    "x[2m]",
    "abs(x)",
    "clamp_max(x, 1)",
    "day_of_week(x)",
    "-x",
    "x + 1",
    "x > bool 0",
    "x * on (i) y",
    "x * on (i) group_left (job) y",
    "x and on (i) y",
    "x unless on (i) y",
    "x or y",
    "sum(x)",
    "sum by (i) (x)",
    "sum without (le) (x)",
    "stddev by (i) (x)",
    "quantile by (i) (0.5, x)",
    "topk(5, x)",
    "bottomk by (i) (5, x)",
    "limitk(5, x)",
    "limit_ratio(0.5, x)",
    "count_values(\"v\", x)",
    "label_replace(x, \"a\", \"$1\", \"i\", \"(.*)\")",
    "label_join(x, \"a\", \"-\", \"i\", \"le\")",
    "histogram_quantile(0.5, x)",
    "histogram_fraction(0, 1, x)",
    "histogram_quantiles(x, \"q\", 0.5, 0.9)",
    "info(x, {__name__=\"y\"})",
    "absent(x)",
    "scalar(x)",
    "timestamp(x)",
    "sort(x)",
    "sort_by_label(x, \"i\")",
    "rate(x[2m])",
    "quantile_over_time(0.5, x[2m])",
    "absent_over_time(x[2m])",
    "max_over_time(sum by (i) (x)[1m:1s])",
];

fn costly_store(series: usize) -> Store {
    let xs: String = (0..series)
        .map(|i| format!("x{{i=\"{i}\",le=\"{}\"}} 1 2\n", i % 7))
        .collect();
    Store::new(&(xs + &many("y", series)))
}

/// What all of them hold at least is bounded; beyond it each says so.
#[test]
fn the_bytes_of_each_kind_of_expression_are_bounded() {
    let store = costly_store(1000);
    let limited = |bytes, query: &str| {
        let engine = Engine::new(EngineConfig::default().with_max_bytes(bytes));
        engine.instant(&store, query, Timestamp::from_millis(MINUTE))
    };
    for query in COSTLY {
        let answer = limited(50_000, query);
        let error = answer.expect_err(query);
        assert_eq!(
            error.to_string(),
            "query exceeds the limit of 50000 bytes",
            "{query}"
        );
        assert_eq!(error.reason(), "bytes");
        if let Err(error) = limited(EngineConfig::default().max_bytes, query) {
            panic!("{query}: {error}");
        }
    }
}

/// What functions and operators make is counted beside what they are given.
#[test]
fn the_bytes_of_what_is_made_are_counted() {
    let store = costly_store(1000);
    // The least limit, to ten thousand bytes, with which there is an answer.
    let needs = |query: &str, steps: u32| {
        let answers = |kilobytes: usize| {
            let config = EngineConfig::default().with_max_bytes(kilobytes * 1000);
            !fails(config, &store, query, steps).starts_with("bytes: ")
        };
        let (mut low, mut high) = (0, 100_000);
        while low + 10 < high {
            let middle = (low + high) / 2;
            *if answers(middle) { &mut high } else { &mut low } = middle;
        }
        high
    };
    let plain = needs("x", 1);
    let check = |query: &str, more: std::ops::Range<usize>| {
        let more_than_plain = needs(query, 1).saturating_sub(plain);
        assert!(
            more.contains(&more_than_plain),
            "{query}: {more_than_plain} kB more"
        );
    };
    // A thousand values of a thousand bytes, and their copies in the answer.
    let long = "z".repeat(1000);
    check(
        &format!("label_replace(x, \"a\", \"{long}\", \"i\", \".*\")"),
        2000..2500,
    );
    check(
        &format!("label_join(x, \"a\", \"{long}\", \"i\", \"le\")"),
        2000..2500,
    );
    check("count_values by (i) (\"v\", x)", 100..1000);
    check("sort(x)", 50..200);
    check("topk(1000, x)", 100..500);
    check("x + on (i) group_left () y", 100..1000);
    check("sum by (i) (x)", 100..600);
    check("histogram_quantile(0.5, x)", 100..600);
    // Numbers wait for each other: thirty times a hundred thousand at 8 bytes each.
    let nested = format!("{}time(){}", "(time() + ".repeat(29), ")".repeat(29));
    let query = format!("sum_over_time(vector({nested})[100s:1ms])");
    assert!(needs(&query, 1) >= 30 * 800, "{}", needs(&query, 1));
}

/// The clock is looked at within each kind of expression, and not only between them.
#[test]
fn the_time_limit_holds_within_each_kind_of_expression() {
    use crate::budget::CHECKS;

    // As often as there is work for a millisecond.
    const SERIES: usize = 5000;
    let store = costly_store(SERIES);
    // Looks are counted on this thread.
    let engine = Engine::new(EngineConfig::default().with_threads(1));
    let looks = |query: &str| {
        let before = CHECKS.get();
        if let Err(error) = engine.instant(&store, query, Timestamp::from_millis(MINUTE)) {
            panic!("{query}: {error}");
        }
        CHECKS.get() - before
    };
    let of_x = looks("x");
    assert!(of_x >= SERIES / 1000, "{of_x}");
    for query in COSTLY {
        let more = looks(query);
        assert!(more >= SERIES / 1000, "{query}: {more}");
    }
    // Beside what is spent on their arguments; the final sort, which some have not, is as long as one look at each.
    for (query, arguments) in [
        ("label_replace(x, \"a\", \"$1\", \"i\", \"(.*)\")", "x"),
        ("label_join(x, \"a\", \"-\", \"i\", \"le\")", "x"),
        ("count_values(\"v\", x)", "x"),
        ("sum by (i) (x)", "x"),
        ("topk(5, x)", "x"),
        ("limit_ratio(0.5, x)", "x"),
        ("abs(x)", "x"),
        ("histogram_quantile(0.5, x)", "x"),
        ("x * on (i) y", "x or y"),
    ] {
        let without_sort = looks(&format!("scalar({arguments})"));
        let more = looks(&format!("scalar({query})")).saturating_sub(without_sort);
        assert!(more >= SERIES / 1000, "{query}: {more} more than {arguments}");
    }
}

/// Guards the grouping of label sets: in turn, and by the same values under names that all differ.
#[test]
fn series_of_many_shapes_are_grouped_in_linear_time() {
    let text: String = (0..20_000)
        .map(|i| format!("m{{l{i}=\"v\",a=\"{}\"}} 1\n", i % 3))
        .collect();
    let store = Store::new(&text);
    let answer = store.at(0.0, "count(sum without (a) (m))");
    assert_eq!(answer, "{} 20000");
}
