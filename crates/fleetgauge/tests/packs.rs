//! The packs against a real Prometheus, which holds the fleet of `packs/fleet.series`, and against the embedded
//! evaluator over the same samples: every answer that is asserted here is that of both.
//!
//! `packs/expected.txt` has the answer of every query that answers by pod; the others are here.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetgauge::pack::Pack;
use fleetgauge_core::params::Params;
use fleetgauge_core::query_list::QueryList;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::Engine;
use fleetgauge_promql::parse::Expression;
use fleetgauge_promql::value::Value;
use fleetgauge_promql::window::{Window, WindowConfig};
use fleetgauge_testkit::{OpenMetrics, Prometheus};

const START: u32 = 1_700_000_000;
const STEP: u32 = 15;
const SAMPLES: u32 = 81;

/// Labels (sorted, as PromQL writes them) and value.
type Vector = BTreeMap<String, f64>;

struct Fleet {
    prometheus: Prometheus,
    window: Window,
    engine: Engine,
    queries: QueryList,
}

impl Fleet {
    fn start() -> Self {
        let mut data = OpenMetrics::new();
        let mut config = WindowConfig::default();
        config.retention = Duration::from_secs(u64::from(SAMPLES * STEP));
        let window = Window::new(config);
        let mut target = window.appender([("", ""); 0]);
        for line in lines(include_str!("packs/fleet.series")) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.strip_suffix('}').unwrap().split_once('{').unwrap();
            let labels: Vec<_> = labels.split(',').map(|l| l.split_once('=').unwrap()).collect();
            let labels: Vec<_> = labels.iter().map(|(k, v)| (*k, v.trim_matches('"'))).collect();
            let (start, growth) = value.split_once('+').unwrap_or((value, "0"));
            let (start, growth): (f64, f64) = (start.parse().unwrap(), growth.parse().unwrap());
            let samples: Vec<_> = (0..SAMPLES)
                .map(|i| (f64::from(START + i * STEP), start + f64::from(i) * growth))
                .collect();
            for &(time, value) in &samples {
                let mut page = target.scrape(Timestamp::from_secs_f64(time));
                let time = Some(Timestamp::from_secs_f64(time));
                let exposed = page.append(line, value, time, |exposed| {
                    exposed.label("__name__", name);
                    labels.iter().for_each(|(name, value)| exposed.label(name, value));
                });
                exposed.unwrap();
                assert_eq!(page.commit().appended, 1);
            }
            data = data.series(name, &labels, &samples);
        }
        let queries = QueryList::new();
        for pack in Pack::builtins() {
            pack.register_into(&queries).unwrap();
        }
        let prometheus = Prometheus::builder().data(&data).start().unwrap();
        Self {
            prometheus,
            window,
            engine: Engine::default(),
            queries,
        }
    }

    fn evaluate(&self, promql: &str) -> Vector {
        let at = Timestamp::from_secs_f64(f64::from(START + (SAMPLES - 1) * STEP));
        let answer = self.engine.instant(&self.window, promql, at);
        let Value::Vector(vector) = answer.unwrap_or_else(|e| panic!("{e}\n{promql}")).value else {
            panic!("{promql} is no instant vector")
        };
        let labels = |series: &fleetgauge_promql::label::LabelSet| {
            let labels: Vec<_> = series
                .iter()
                .map(|(name, value)| format!("{name}=\"{value}\""))
                .collect();
            labels.join(", ")
        };
        vector
            .iter()
            .map(|s| (labels(&s.labels), s.sample.value))
            .collect()
    }

    fn ask(&self, query: &str, params: &Params) -> Vector {
        let promql = self.queries.render(query, params).unwrap();
        let end = f64::from(START + (SAMPLES - 1) * STEP);
        let result = self.prometheus.query(&promql, Some(end));
        let result = result.unwrap_or_else(|error| panic!("{query}: {error}\n{promql}"));
        let series = result.as_array().unwrap().iter().map(|series| {
            let labels: BTreeMap<_, _> = series["metric"].as_object().unwrap().iter().collect();
            let labels: Vec<_> = labels
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            (
                labels.join(", "),
                series["value"][1].as_str().unwrap().parse().unwrap(),
            )
        });
        let found = series.collect();
        assert_same(query, &self.evaluate(&promql), &found);
        found
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn params() -> Params {
    [
        ("namespace", "llm"),
        ("modelID", "llama"),
        ("q", "0.5"),
        ("retentionPeriod", "5m"),
    ]
    .into()
}

fn assert_same(query: &str, found: &Vector, expected: &Vector) {
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1e-3);
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|((k, v), (l, w))| k == l && close(*v, *w));
    assert!(same, "{query}\n found    {found:#?}\n expected {expected:#?}");
}

/// What `expected.txt` says of each query, with the labels that the pods have in `fleet.series`.
fn expected() -> BTreeMap<&'static str, Vector> {
    let pods = ["vllm-0", "vllm-idle", "vllm-old", "", "sglang-0", "trtllm-0"];
    let labels = |pod: &str| {
        let at = pods.iter().position(|known| *known == pod).unwrap() + 1;
        format!("instance=\"10.0.0.{at}:8000\", namespace=\"llm\", pod=\"{pod}\"")
    };
    let read = |line: &'static str| {
        let mut words = line.split_whitespace();
        let query = words.next().unwrap();
        let values = words.map(|word| {
            let (pod, value) = word.split_once('=').unwrap();
            (labels(pod), value.parse().unwrap())
        });
        (query, values.collect())
    };
    lines(include_str!("packs/expected.txt")).map(read).collect()
}

/// The queries that do not answer by pod: the labels of their answers, and the values.
fn others() -> Vec<(&'static str, Vec<(&'static str, f64)>)> {
    let config = "engine=\"0\", instance=\"10.0.0.1:8000\", namespace=\"llm\", num_gpu_blocks=\"1000\", pod=\"vllm-0\"";
    let config_1 =
        "engine=\"1\", instance=\"10.0.0.1:8000\", namespace=\"llm\", num_gpu_blocks=\"900\", pod=\"vllm-0\"";
    let config = &*format!("block_size=\"16\", {config}").leak();
    let config_1 = &*format!("block_size=\"16\", {config_1}").leak();
    let model = "model_name=\"llama\", namespace=\"llm\"";
    let dispatched = [
        ("namespace=\"llm\", pod_name=\"sglang-0\", port=\"30000\"", 0.1),
        ("namespace=\"llm\", pod_name=\"vllm-0\", port=\"8000\"", 0.6),
    ];
    let pool = "name=\"llama-pool\", namespace=\"llm\"";
    let qwen = "name=\"qwen-pool\", namespace=\"llm\"";
    vec![
        ("vllm/cache_config_info", vec![(config, 1.0), (config_1, 1.0)]),
        ("vllm/model_request_count", vec![(model, 80.0)]),
        ("sglang/model_request_count", vec![(model, 80.0)]),
        ("trtllm/model_request_count", vec![(model, 60.0)]),
        // One model on three engines is one model.
        ("inference/model_request_count", vec![(model, 220.0)]),
        // The two replicas add up; the two names that each series has do not.
        ("epp/scheduler_queue_size", vec![("", 7.0)]),
        ("epp/scheduler_queue_bytes", vec![("", 7000.0)]),
        ("epp/scheduler_dispatch_rate", dispatched.to_vec()),
        ("epp/pool_average_queue_size", vec![(pool, 2.5)]),
        ("epp/pool_average_kv_cache_usage", vec![(pool, 0.5)]),
        ("epp/pool_ready_pods", vec![(pool, 5.0), (qwen, 1.0)]),
    ]
}

#[test]
fn every_query_folds_ranks_as_it_should() {
    let fleet = Fleet::start();
    let mut all = expected();
    for (query, values) in others() {
        let values = values
            .into_iter()
            .map(|(labels, value)| (labels.to_owned(), value));
        all.insert(query, values.collect());
    }

    // The pack `inference` answers for all engines at once.
    let unions: Vec<_> = Pack::builtin("inference")
        .unwrap()
        .queries()
        .iter()
        .map(|q| q.name.clone())
        .collect();
    for union in &unions {
        let short = union.strip_prefix("inference/").unwrap();
        let engines = ["vllm", "sglang", "trtllm", "epp"].map(|engine| format!("{engine}/{short}"));
        let together = engines.iter().filter_map(|name| all.get(&**name)).flatten();
        let together = together.map(|(labels, value)| (labels.clone(), *value)).collect();
        all.entry(union).or_insert(together);
    }

    let asked: BTreeSet<_> = fleet.queries.list().into_iter().collect();
    assert_eq!(
        asked,
        all.keys().map(|name| (*name).to_owned()).collect(),
        "each query has an expected answer"
    );
    for (query, expected) in &all {
        assert!(!expected.is_empty(), "{query} shows nothing");
        assert_same(query, &fleet.ask(query, &params()), expected);
    }

    one_query_many_parameters(&fleet);
}

/// Part of the one test that starts a server.
fn one_query_many_parameters(fleet: &Fleet) {
    let check = |query: &str, params: Params, expected: &[f64]| {
        let found: Vec<_> = fleet.ask(query, &params).into_values().collect();
        assert_eq!(found.len(), expected.len(), "{query} {params:?}: {found:?}");
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close, "{query} {params:?}: {found:?}");
    };
    check("vllm/ttft_quantile", params().with("q", "0.99"), &[0.98]);
    check(
        "inference/queue_length",
        params().with("podFilter", "vllm-0|sglang-.*"),
        &[7.0, 11.0],
    );
    check("inference/avg_ttft", params().with("podFilter", "vllm-idle"), &[]);
    check(
        "inference/queue_length",
        params().with("modelID", "qwen"),
        &[100.0],
    );
    check(
        "inference/queue_length",
        params().with("modelID", "nobody\"} or up{a=\""),
        &[],
    );
    check(
        "inference/queue_length",
        params().with("namespace", "other"),
        &[100.0],
    );
    check(
        "epp/scheduler_queue_size",
        params().with("modelID", "qwen"),
        &[5.0],
    );
    check(
        "epp/scheduler_queue_size",
        params().with("modelID", "mistral"),
        &[6.0],
    );
    check(
        "epp/scheduler_queue_size",
        params().with("modelID", "gemma"),
        &[8.0],
    );
    check(
        "epp/scheduler_queue_size",
        params().with("modelID", "nobody"),
        &[],
    );
    check("epp/pool_ready_pods", params().with("pool", "qwen-pool"), &[1.0]);
    check(
        "vllm/model_request_count",
        params().with("retentionPeriod", "10m"),
        &[160.0],
    );
}

#[test]
fn every_query_renders_to_promql_with_and_without_its_optional_parameters() {
    for pack in Pack::builtins() {
        let queries = QueryList::new();
        pack.register_into(&queries).unwrap();
        for query in pack.queries() {
            for params in [params(), params().with("podFilter", "a|b").with("pool", "p")] {
                let promql = queries.render(&query.name, &params).unwrap();
                let parsed = promql_parser::parser::parse(&promql);
                assert!(parsed.is_ok(), "{}: {parsed:?}\n{promql}", query.name);
                let parsed = Expression::parse(&promql);
                assert!(parsed.is_ok(), "{}: {parsed:?}\n{promql}", query.name);
            }
        }
    }
}
