//! What must hold for every query, however senseless: shared by the property test and the fuzz target.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fleetgauge_core::result::{Answer, AnswerKind};
use fleetgauge_core::sample::MetricValue;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig, EvalError};
use fleetgauge_promql::histogram::FloatHistogram;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::Sample;
use fleetgauge_promql::store::MemoryStore;

/// What soup is made of: a byte is a word.
pub(crate) const TOKENS: &[&str] = &[
    "x",
    "y_total",
    "h_bucket",
    "nosuch",
    "{a=\"1\"}",
    "{a=~\"1|2\"}",
    "{a!=\"\"}",
    "{b!~\".*\"}",
    "{",
    "}",
    "(",
    ")",
    "(",
    ")",
    "[5m]",
    "[1m:10s]",
    "[1h:]",
    "[",
    "]",
    ":",
    ",",
    ",",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "==",
    "!=",
    ">",
    "<",
    ">=",
    "<=",
    "=~",
    "=",
    "bool",
    "and",
    "or",
    "unless",
    "atan2",
    "on(a)",
    "on()",
    "ignoring(b)",
    "on(",
    "group_left(b)",
    "group_right()",
    "group_left",
    "by (a)",
    "without (b)",
    "by",
    "sum(",
    "avg(",
    "min(",
    "max(",
    "count(",
    "group(",
    "stddev(",
    "stdvar(",
    "topk(",
    "bottomk(",
    "quantile(",
    "count_values(",
    "limitk(",
    "limit_ratio(",
    "offset",
    "offset 1m",
    "offset -5m",
    "offset 1e30",
    "@",
    "@ 100",
    "@ start()",
    "@ end()",
    "@ -1e300",
    "\"a\"",
    "\"$1\"",
    "'(.*)'",
    "`b`",
    "\"",
    "0",
    "1",
    "-1",
    "0.5",
    "1e308",
    "1e-300",
    "Inf",
    "NaN",
    "0x1F",
    "5m",
    "1000y",
    "rate(",
    "increase(",
    "irate(",
    "delta(",
    "idelta(",
    "deriv(",
    "predict_linear(",
    "double_exponential_smoothing(",
    "avg_over_time(",
    "sum_over_time(",
    "quantile_over_time(",
    "mad_over_time(",
    "last_over_time(",
    "changes(",
    "resets(",
    "absent(",
    "absent_over_time(",
    "histogram_quantile(",
    "histogram_quantiles(",
    "histogram_fraction(",
    "histogram_count(",
    "histogram_sum(",
    "histogram_avg(",
    "histogram_stddev(",
    "histogram_stdvar(",
    "</",
    ">/",
    "native",
    "native",
    "custom",
    "mingled",
    "label_replace(",
    "label_join(",
    "sort(",
    "sort_by_label(",
    "clamp(",
    "round(",
    "abs(",
    "ln(",
    "hour(",
    "day_of_year(",
    "timestamp(",
    "time()",
    "scalar(",
    "vector(",
    "pi()",
    "info(",
    "ts_of_max_over_time(",
    "# comment\n",
    "\u{e9}",
    "x",
    "x",
    "y_total",
    "(",
    ")",
    ")",
    ")",
    "+",
    "*",
];

const MAX_SAMPLES: usize = 20_000;

static STORE: LazyLock<MemoryStore> = LazyLock::new(|| {
    let mut store = MemoryStore::new();
    let mut add = |name: &str, labels: &[(&str, &str)], value: fn(i64) -> f64| {
        let labels = LabelSet::from_pairs([("__name__", name)].into_iter().chain(labels.iter().copied()));
        for index in (0..60).filter(|index| index % 7 != 3) {
            let timestamp = Timestamp::from_millis(index * 10_000);
            let value = value(index);
            store
                .append(&labels, Sample { timestamp, value })
                .expect("no time twice");
        }
    };
    add("x", &[("a", "1"), ("b", "p")], |index| index as f64);
    add("x", &[("a", "2")], |index| (index % 5) as f64 - 2.0);
    add("x", &[("b", "p")], |index| {
        if index % 4 == 0 { f64::NAN } else { f64::INFINITY }
    });
    add("y_total", &[("a", "1")], |index| (index % 20) as f64);
    add("y_total", &[("a", "2")], |index| 1e308 * (index % 3) as f64);
    add("h_bucket", &[("le", "1")], |index| index as f64);
    add("h_bucket", &[("le", "+Inf")], |index| 2.0 * index as f64);
    add("h_bucket", &[("le", "much")], |_| 3.0);
    add("mingled", &[("a", "2")], |index| index as f64);
    let mut add = |name: &str, labels: &[(&str, &str)], value: fn(i64) -> Option<String>| {
        let labels = LabelSet::from_pairs([("__name__", name)].into_iter().chain(labels.iter().copied()));
        for index in 0..60 {
            let Some(notation) = value(index) else {
                continue;
            };
            let histogram = FloatHistogram::from_notation(&notation).expect("a histogram");
            store
                .append_histogram(
                    &labels,
                    Timestamp::from_millis(index * 10_000),
                    Arc::new(histogram),
                )
                .expect("no time twice");
        }
    };
    // With resets, of another schema each.
    add("native", &[("a", "1"), ("b", "p")], |index| {
        let (schema, count) = ((index / 20) * 6 - 4, index % 20);
        Some(format!(
            "{{{{schema:{schema} count:{} sum:{count} z_bucket:{count} z_bucket_w:0.5 buckets:[{count} 0 1] \
             n_offset:3 n_buckets:[{count}]}}}}",
            3 * count + 1
        ))
    });
    add("native", &[("a", "2")], |index| {
        let count = 1e308 * (index % 3) as f64;
        Some(format!(
            "{{{{schema:8 count:{count} sum:NaN counter_reset_hint:gauge offset:-1000 buckets:[{count} -1]}}}}"
        ))
    });
    add("custom", &[("a", "1")], |index| {
        Some(format!(
            "{{{{schema:-53 count:{index} sum:-1 custom_values:[-1 0 2.5] buckets:[{index} 0 0 {index}]}}}}"
        ))
    });
    add("custom", &[("a", "2")], |index| {
        (index % 2 == 0)
            .then(|| format!("{{{{schema:-53 count:{index} custom_values:[0] buckets:[0 {index}]}}}}"))
    });
    // Where the number of this name and these labels is not.
    add("mingled", &[("a", "2")], |index| {
        (index % 7 == 3).then(|| format!("{{{{count:{index} buckets:[{index}]}}}}"))
    });
    add("mingled", &[("a", "1")], |index| match index % 3 {
        0 => Some("{{}}".to_owned()),
        1 => Some("{{schema:-53 count:3 custom_values:[1] buckets:[1 2]}}".to_owned()),
        _ => None,
    });
    store
});

/// The query that bytes mean: a word each.
pub(crate) fn soup(bytes: &[u8]) -> String {
    let words: Vec<_> = bytes
        .iter()
        .map(|byte| TOKENS[usize::from(*byte) % TOKENS.len()])
        .collect();
    words.join(" ")
}

/// Evaluates a query within tight bounds, and checks that it stays in them, and that an instant is a range of
/// one step. Gives whether it was evaluated.
///
/// # Panics
/// When it does not.
pub(crate) fn check(query: &str) -> bool {
    let config = EngineConfig::default()
        .with_histograms(true)
        .with_max_samples(MAX_SAMPLES)
        .with_max_series(200)
        .with_max_steps(500);
    let engine = Engine::new(config);
    let at = Timestamp::from_millis(300_500);
    let instant = engine.instant(&*STORE, query, at);
    assert_eq!(
        engine.parse(query).is_err(),
        matches!(instant, Err(EvalError::Parse(_))),
        "{query}"
    );
    if let Ok(evaluation) = &instant {
        assert!(
            evaluation.samples <= MAX_SAMPLES,
            "{query}: {} samples",
            evaluation.samples
        );
    }
    let range = engine.range(&*STORE, query, at, at, Duration::from_secs(10));
    if let (Ok(instant), Ok(range)) = (&instant, &range) {
        let expected = as_text(&instant.answer);
        assert_eq!(as_text(&range.answer), expected, "{query}");
    }
    let end = Timestamp::from_millis(600_500);
    if let Ok(range) = engine.range(&*STORE, query, at, end, Duration::from_secs(30)) {
        assert!(range.samples <= MAX_SAMPLES, "{query}: {} samples", range.samples);
        let answer = range.answer;
        assert_eq!(answer.kind(), AnswerKind::Matrix, "{query}");
        for one in answer.series() {
            assert!((1..=11).contains(&one.len()), "{query}: {one:?}");
            let times = one.points().map(|point| point.timestamp);
            assert!(times.is_sorted_by(|a, b| a < b), "{query}: {one:?}");
        }
        let labels = answer.series().map(|one| one.labels());
        assert!(
            labels.is_sorted_by(|a, b| a.iter().lt(b.iter())),
            "{query}: {answer:?}"
        );
    }
    instant.is_ok()
}

/// The series and their values, sorted, so that an instant and a step of a range can be compared.
fn as_text(answer: &Answer) -> Vec<String> {
    let value = |one: MetricValue<'_>| match one.histogram {
        Some(histogram) => format!("{} {histogram}", one.labels),
        None => format!("{} {}", one.labels, one.value),
    };
    let values = answer.values().map(value);
    let mut lines: Vec<_> = values.chain(answer.text().map(str::to_owned)).collect();
    lines.sort();
    lines
}
