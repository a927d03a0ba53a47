//! The packs against a real Prometheus, which holds the fleet of `packs/fleet.series` and of the pages of `packs/pages`,
//! and against the embedded evaluator over the same samples: every answer that is asserted here is that of both.
//!
//! Two jobs scrape each server, which must not show. `packs/expected.txt` has the answer of every query that answers by
//! server; the others are here.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetgauge::pack::Pack;
use fleetgauge::transform::{self, EvaluatedAt, TransformContext};
use fleetgauge_core::label::Labels;
use fleetgauge_core::params::Params;
use fleetgauge_core::query_list::QueryList;
use fleetgauge_core::result::{Answer, AnswerBuilder, AnswerKind};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;
use fleetgauge_core::variant::VariantIndex;
use fleetgauge_promql::engine::Engine;
use fleetgauge_promql::exposition::{Event, Format, MetricType, Parser};
use fleetgauge_promql::parse::Expression;
use fleetgauge_promql::window::{Window, WindowConfig};
use fleetgauge_testkit::{OpenMetrics, Prometheus};

pub(crate) const START: u32 = 1_700_000_000;
pub(crate) const STEP: u32 = 15;
pub(crate) const SAMPLES: u32 = 81;

/// The servers whose answers `expected.txt` has, in the order of their addresses.
const SERVERS: [&str; 11] = [
    "vllm-0",
    "vllm-idle",
    "vllm-old",
    "",
    "sglang-0",
    "trtllm-0",
    "llamacpp-0",
    "tgi-0",
    "triton-0",
    "dynamo-0",
    "ray-0",
];

/// Pages as servers show them: file, text, the labels that the scrape configuration gives to the target, and whether it
/// honours those of the page.
const PAGES: [Page; 7] = [
    // The model's name is given by the configuration, where the page has none.
    (
        include_str!("packs/pages/llamacpp.prom"),
        &[
            ("pod", "llamacpp-0"),
            ("instance", "10.0.0.7:8000"),
            ("model_name", "llama"),
        ],
        false,
    ),
    (
        include_str!("packs/pages/tgi.prom"),
        &[
            ("pod", "tgi-0"),
            ("instance", "10.0.0.8:8000"),
            ("model_name", "llama"),
        ],
        false,
    ),
    (
        include_str!("packs/pages/triton.prom"),
        &[("pod", "triton-0"), ("instance", "10.0.0.9:8000")],
        false,
    ),
    (
        include_str!("packs/pages/dynamo.prom"),
        &[("pod", "dynamo-0"), ("instance", "10.0.0.10:8000")],
        false,
    ),
    (
        include_str!("packs/pages/ray.prom"),
        &[("pod", "ray-0"), ("instance", "10.0.0.11:8000")],
        false,
    ),
    (
        include_str!("packs/pages/dcgm.prom"),
        &[
            ("namespace", "gpu"),
            ("pod", "dcgm-exporter-a"),
            ("instance", "10.0.0.12:9400"),
        ],
        false,
    ),
    (
        include_str!("packs/pages/dcgm-honored.prom"),
        &[
            ("namespace", "gpu"),
            ("pod", "dcgm-exporter-b"),
            ("instance", "10.0.0.13:9400"),
        ],
        true,
    ),
];

/// What two jobs add to the series of one target: those of a PodMonitor, and those of a ServiceMonitor.
pub(crate) const JOBS: [&[(&str, &str)]; 2] = [
    &[("job", "llm/pods"), ("container", "server"), ("endpoint", "http")],
    &[("job", "servers"), ("service", "servers")],
];

/// Metrics that were renamed: the name, one that came before, and the label that was renamed with it. Both stand for the
/// names that begin so.
const RENAMED: [Rename; 24] = [
    ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", None),
    ("vllm:prefix_cache_", "vllm:gpu_prefix_cache_", None),
    (
        "vllm:inter_token_latency_seconds",
        "vllm:time_per_output_token_seconds",
        None,
    ),
    (
        "ray_vllm_kv_cache_usage_perc",
        "ray_vllm_gpu_cache_usage_perc",
        None,
    ),
    (
        "ray_vllm_kv_cache_usage_perc",
        "ray_vllm:gpu_cache_usage_perc",
        None,
    ),
    ("ray_vllm_prefix_cache_", "ray_vllm_gpu_prefix_cache_", None),
    ("ray_vllm_prefix_cache_", "ray_vllm:gpu_prefix_cache_", None),
    (
        "ray_vllm_inter_token_latency_seconds",
        "ray_vllm_time_per_output_token_seconds",
        None,
    ),
    (
        "ray_vllm_inter_token_latency_seconds",
        "ray_vllm:time_per_output_token_seconds",
        None,
    ),
    ("ray_vllm_", "ray_vllm:", None),
    (
        "sglang:inter_token_latency_seconds",
        "sglang:time_per_output_token_seconds",
        None,
    ),
    ("trtllm_request_", "trtllm:request_", None),
    (
        "trtllm_e2e_request_latency_seconds",
        "trtllm:e2e_request_latency_seconds",
        None,
    ),
    ("trtllm_time_", "trtllm:time_", None),
    (
        "dynamo_frontend_inflight_requests",
        "dynamo_frontend_inflight_requests_total",
        None,
    ),
    (
        "dynamo_frontend_inflight_requests",
        "nv_llm_http_service_inflight_requests",
        None,
    ),
    ("dynamo_frontend_request", "nv_llm_http_service_request", None),
    (
        "dynamo_frontend_time_to_first_token_seconds",
        "nv_llm_http_service_time_to_first_token_seconds",
        None,
    ),
    (
        "dynamo_frontend_inter_token_latency_seconds",
        "nv_llm_http_service_inter_token_latency_seconds",
        None,
    ),
    (
        "dynamo_frontend_output_sequence_tokens",
        "nv_llm_http_service_output_sequence_tokens",
        None,
    ),
    (
        "llm_d_epp_flow_control_queue_",
        "inference_extension_flow_control_queue_",
        None,
    ),
    (
        "llm_d_epp_scheduler_attempts_total",
        "inference_extension_scheduler_attempts_total",
        Some(("endpoint_name", "pod_name")),
    ),
    ("llm_d_epp_average_", "inference_pool_average_", None),
    ("llm_d_epp_ready_endpoints", "inference_pool_ready_pods", None),
];

type Rename = (&'static str, &'static str, Option<(&'static str, &'static str)>);

type Page = (&'static str, &'static [(&'static str, &'static str)], bool);

/// Labels (sorted, as PromQL writes them) and value.
type Vector = BTreeMap<String, f64>;

/// A series: its samples begin at `start` and grow by `growth`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    start: f64,
    growth: f64,
}

/// The fleet in memory, and who answers the packs' queries from it.
struct Fleet {
    window: Window,
    engine: Engine,
    queries: QueryList,
}

// === impl Series ===

impl Series {
    /// A line of `fleet.series`.
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.strip_suffix('}').unwrap().split_once('{').unwrap();
        let labels = labels.split(',').map(|l| l.split_once('=').unwrap());
        let labels = labels.map(|(k, v)| (k.to_owned(), v.trim_matches('"').to_owned()));
        let (start, growth) = value.split_once('+').unwrap_or((value, "0"));
        Self {
            name: name.to_owned(),
            labels: labels.collect(),
            start: start.parse().unwrap(),
            growth: growth.parse().unwrap(),
        }
    }

    /// The series of a page, as a job keeps them. What counts has grown from 0 to what the page shows; the rest stands.
    fn of_page((text, target, honor): &Page, job: &[(&str, &str)]) -> Vec<Self> {
        let mut target: BTreeMap<_, _> = target.iter().chain(job).copied().collect();
        target.entry("namespace").or_insert("llm");
        let mut parser = Parser::new();
        let mut page = parser.page(Format::Text, text.as_bytes());
        let mut all = Vec::new();
        while let Some(event) = page.next() {
            let Event::Sample(sample) = event else { continue };
            let counts = matches!(
                sample.metric_type(),
                Some(MetricType::Counter | MetricType::Histogram)
            );
            let mut labels: BTreeMap<String, String> = BTreeMap::new();
            for (name, value) in sample.kept(page.labels().unwrap()) {
                if value.is_empty() {
                    continue;
                }
                let is_taken = target.contains_key(&*name) && !honor;
                let name = if is_taken {
                    format!("exported_{name}")
                } else {
                    name.into_owned()
                };
                labels.insert(name, value.into_owned());
            }
            for (name, value) in &target {
                labels.entry((*name).to_owned()).or_insert((*value).to_owned());
            }
            all.push(Self {
                name: sample.name().to_owned(),
                labels,
                start: if counts { 0.0 } else { sample.value },
                growth: if counts {
                    sample.value / f64::from(SAMPLES - 1)
                } else {
                    0.0
                },
            });
        }
        assert_eq!(page.finish().errors, 0);
        all
    }

    pub(crate) fn samples(&self) -> Vec<(f64, f64)> {
        let sample = |i| {
            (
                f64::from(START + i * STEP),
                self.start + f64::from(i) * self.growth,
            )
        };
        (0..SAMPLES).map(sample).collect()
    }

    /// The same under a name that it had before.
    fn renamed(&self, (new, old, label): Rename) -> Option<Self> {
        let mut series = self.clone();
        series.name = format!("{old}{}", self.name.strip_prefix(new)?);
        if let Some((new, old)) = label
            && let Some(value) = series.labels.remove(new)
        {
            series.labels.insert(old.to_owned(), value);
        }
        Some(series)
    }
}

/// The whole fleet, as the jobs scrape it.
pub(crate) fn series(jobs: &[&[(&str, &str)]]) -> Vec<Series> {
    let mut all = Vec::new();
    for job in jobs {
        for line in lines(include_str!("packs/fleet.series")) {
            let mut series = Series::read(line);
            let job = job
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            series.labels.extend(job);
            all.push(series);
        }
        all.extend(PAGES.iter().flat_map(|page| Series::of_page(page, job)));
    }
    all
}

/// A Prometheus that holds these series.
pub(crate) fn prometheus(all: &[Series]) -> Prometheus {
    let data = all.iter().fold(OpenMetrics::new(), |data, series| {
        let labels: Vec<_> = series
            .labels
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        data.series(&series.name, &labels, &series.samples())
    });
    Prometheus::builder().data(&data).start().unwrap()
}

// === impl Fleet ===

impl Fleet {
    fn new(all: &[Series]) -> Self {
        let mut config = WindowConfig::default();
        config.retention = Duration::from_secs(u64::from(SAMPLES * STEP));
        let window = Window::new(config);
        let mut target = window.appender([("", ""); 0]);
        for series in all {
            let key = format!("{}{:?}", series.name, series.labels);
            for (time, value) in series.samples() {
                let mut page = target.scrape(Timestamp::from_secs_f64(time));
                let time = Some(Timestamp::from_secs_f64(time));
                let exposed = page.append(&key, value, time, |exposed| {
                    exposed.label("__name__", &series.name);
                    let labels = series.labels.iter();
                    labels.for_each(|(name, value)| exposed.label(name, value));
                });
                exposed.unwrap();
                assert_eq!(page.commit().appended, 1);
            }
        }
        let queries = QueryList::new();
        for pack in Pack::builtins() {
            pack.register_into(&queries).unwrap();
        }
        Self {
            window,
            engine: Engine::default(),
            queries,
        }
    }

    /// The answer to every query of every pack.
    fn answers(&self, params: &Params) -> BTreeMap<String, Vector> {
        let queries = self.queries.list().into_iter();
        let answer = |query: String| {
            let promql = self.queries.render(&query, params).unwrap();
            let answer = self.made(&query, self.evaluated(&promql));
            (query, answer)
        };
        queries.map(answer).collect()
    }

    fn evaluated(&self, promql: &str) -> Answer {
        let at = Timestamp::from_secs_f64(f64::from(START + (SAMPLES - 1) * STEP));
        let answer = self.engine.instant(&self.window, promql, at);
        let answer = answer.unwrap_or_else(|e| panic!("{e}\n{promql}")).answer;
        assert_eq!(answer.kind(), AnswerKind::Vector, "{promql}");
        answer
    }

    /// What `query` makes of `answer`.
    fn made(&self, query: &str, answer: Answer) -> Vector {
        let at = Timestamp::from_secs_f64(f64::from(START + (SAMPLES - 1) * STEP));
        let registered = self.queries.get(query).unwrap();
        let context = TransformContext {
            at: EvaluatedAt::Once(at),
            variants: &VariantIndex::new(),
            weights: &[],
        };
        let made = transform::apply(&registered.template().transform, answer, context);
        let made = made.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(
            made.warnings().len(),
            0,
            "{query}: {:?}",
            made.warnings().collect::<Vec<_>>()
        );
        rows(&made)
    }

    /// The answer of Prometheus, which is that of the evaluator.
    fn ask(&self, prometheus: &Prometheus, query: &str, params: &Params) -> Vector {
        let promql = self.queries.render(query, params).unwrap();
        let end = f64::from(START + (SAMPLES - 1) * STEP);
        let result = prometheus.query(&promql, Some(end));
        let result = result.unwrap_or_else(|error| panic!("{query}: {error}\n{promql}"));
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for series in result.as_array().unwrap() {
            let labels = series["metric"].as_object().unwrap().iter();
            labels.for_each(|(name, value)| answer.label(name, value.as_str().unwrap()));
            let value = series["value"][1].as_str().unwrap().parse().unwrap();
            answer.end_series(value, Timestamp::from_secs_f64(end)).unwrap();
        }
        let answer = answer.build();
        assert_same(query, &rows(&self.evaluated(&promql)), &rows(&answer));
        let found = self.made(query, answer);
        assert_same(query, &self.made(query, self.evaluated(&promql)), &found);
        found
    }
}

fn rows(answer: &Answer) -> Vector {
    let labels = |series: Labels<'_>| {
        let labels: Vec<_> = series
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        labels.join(", ")
    };
    answer.values().map(|s| (labels(s.labels), s.value)).collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

pub(crate) fn params() -> Params {
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

/// What `expected.txt` says of each query, with the labels that the servers have.
fn expected() -> BTreeMap<&'static str, Vector> {
    let labels = |pod: &str| {
        let at = SERVERS.iter().position(|known| *known == pod).unwrap() + 1;
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
    let ray = |worker: &str| {
        let config = "block_size=\"16\", engine=\"0\", instance=\"10.0.0.11:8000\", namespace=\"llm\"";
        &*format!("WorkerId=\"{worker}\", {config}, num_gpu_blocks=\"2048\", pod=\"ray-0\"").leak()
    };
    let vllm_pod = "namespace=\"llm\", pod=\"vllm-0\"";
    let sglang_pod = "namespace=\"llm\", pod=\"sglang-0\"";
    let pool = "name=\"llama-pool\", namespace=\"llm\"";
    let gemma = "name=\"gemma-pool\", namespace=\"llm\"";
    let qwen = "name=\"qwen-pool\", namespace=\"llm\"";
    vec![
        ("vllm/cache_config_info", vec![(config, 1.0), (config_1, 1.0)]),
        ("vllm/model_request_count", vec![(model, 80.0)]),
        ("sglang/model_request_count", vec![(model, 80.0)]),
        ("trtllm/model_request_count", vec![(model, 60.0)]),
        // One model on three engines is one model.
        ("inference/model_request_count", vec![(model, 760.0)]),
        ("ray/model_request_count", vec![(model, 90.0)]),
        ("tgi/model_request_count", vec![(model, 300.0)]),
        (
            "triton/model_request_count",
            vec![("model=\"llama\", namespace=\"llm\"", 150.0)],
        ),
        (
            "dynamo/model_request_count",
            vec![("model=\"llama\", namespace=\"llm\"", 150.0)],
        ),
        (
            "ray/cache_config_info",
            vec![(ray("5e6f"), 1.0), (ray("9c0d"), 1.0)],
        ),
        ("dcgm/gpu_utilization", vec![(vllm_pod, 0.7)]),
        ("dcgm/gpu_engine_active", vec![(vllm_pod, 0.8), (sglang_pod, 0.4)]),
        (
            "dcgm/gpu_memory_usage",
            vec![(vllm_pod, 0.75), (sglang_pod, 0.75)],
        ),
        (
            "dcgm/gpu_memory_used",
            vec![(vllm_pod, 104_857_600_000.0), (sglang_pod, 41_943_040_000.0)],
        ),
        ("dcgm/gpu_power", vec![(vllm_pod, 550.5), (sglang_pod, 240.0)]),
        ("dcgm/gpu_count", vec![(vllm_pod, 2.0), (sglang_pod, 2.0)]),
        // The two replicas add up; the two names that each series has do not.
        ("epp/scheduler_queue_size", vec![("", 7.0)]),
        ("epp/scheduler_queue_bytes", vec![("", 7000.0)]),
        ("epp/scheduler_dispatch_rate", dispatched.to_vec()),
        ("epp/pool_average_queue_size", vec![(pool, 2.5)]),
        ("epp/pool_average_kv_cache_usage", vec![(pool, 0.5)]),
        (
            "epp/pool_ready_pods",
            vec![(gemma, 2.0), (pool, 5.0), (qwen, 1.0)],
        ),
    ]
}

#[test]
fn every_query_folds_ranks_as_it_should() {
    let series = series(&JOBS);
    let (fleet, prometheus) = (Fleet::new(&series), prometheus(&series));
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
        let engines = [
            "vllm", "sglang", "trtllm", "ray", "triton", "tgi", "llamacpp", "epp",
        ];
        let engines = engines.iter().filter(|engine| {
            // It has one meaning, capacity in tokens: vLLM's is in labels.
            short != "cache_config_info" || !["vllm", "ray"].contains(engine)
        });
        let engines: Vec<_> = engines.map(|engine| format!("{engine}/{short}")).collect();
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
        assert_same(query, &fleet.ask(&prometheus, query, &params()), expected);
    }

    one_query_many_parameters(&fleet, &prometheus);
}

/// Part of the one test that starts a server.
fn one_query_many_parameters(fleet: &Fleet, prometheus: &Prometheus) {
    let check = |query: &str, params: Params, expected: &[f64]| {
        let found: Vec<_> = fleet.ask(prometheus, query, &params).into_values().collect();
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
    // Without a target model, on a replica of either version.
    check(
        "epp/scheduler_dispatch_rate",
        params().with("modelID", "qwen"),
        &[0.2, 0.4],
    );
    check("epp/pool_ready_pods", params().with("pool", "qwen-pool"), &[1.0]);
    // Servers that do not name their model answer for the one that the configuration names, or for any.
    check("tgi/queue_length", params().with("modelID", "qwen"), &[]);
    check("tgi/queue_length", Params::from([("namespace", "llm")]), &[4.0]);
    check(
        "llamacpp/queue_length",
        Params::from([("namespace", "llm")]),
        &[2.0],
    );
    check("dcgm/gpu_count", params().with("podFilter", "vllm-.*"), &[2.0]);
    check(
        "vllm/model_request_count",
        params().with("retentionPeriod", "10m"),
        &[160.0],
    );
}

#[test]
fn a_server_that_two_jobs_scrape_counts_once() {
    let twice = Fleet::new(&series(&JOBS)).answers(&params());
    for job in JOBS {
        for (query, expected) in Fleet::new(&series(&[job])).answers(&params()) {
            assert_same(&query, &twice[&query], &expected);
        }
    }
    // Two replicas of a Prometheus, whose answers were not made one.
    let replicas: [&[(&str, &str)]; 2] = [
        &[("prometheus", "monitoring/k8s"), ("prometheus_replica", "k8s-0")],
        &[("prometheus", "monitoring/k8s"), ("prometheus_replica", "k8s-1")],
    ];
    for (query, found) in Fleet::new(&series(&replicas)).answers(&params()) {
        assert_same(&query, &found, &twice[&query]);
    }
}

/// The whole fleet once more, in a second cluster.
#[test]
fn equal_pods_in_two_clusters_stay_two() {
    let here = Fleet::new(&series(&JOBS)).answers(&params());
    let clusters: Vec<Vec<(&str, &str)>> = ["eu", "us"]
        .iter()
        .flat_map(|cluster| JOBS.map(|job| job.iter().copied().chain([("cluster", *cluster)]).collect()))
        .collect();
    let jobs: Vec<&[(&str, &str)]> = clusters.iter().map(Vec::as_slice).collect();
    for (query, found) in Fleet::new(&series(&jobs)).answers(&params()) {
        let of_cluster = |cluster: &str| {
            let label = format!("cluster=\"{cluster}\"");
            let rows = found.iter().filter_map(|(labels, value)| {
                let others: Vec<_> = labels.split(", ").filter(|one| *one != label).collect();
                (others.len() < labels.split(", ").count()).then(|| (others.join(", "), *value))
            });
            rows.collect::<Vector>()
        };
        assert_eq!(found.len(), 2 * here[&query].len(), "{query}: {found:#?}");
        for cluster in ["eu", "us"] {
            assert_same(&query, &of_cluster(cluster), &here[&query]);
        }
    }
}

/// The label of llm-d goes along with each server.
#[test]
fn a_server_keeps_the_label_of_its_variant() {
    let line = |pod: &str, variant: &str| {
        let labels = format!(
            "namespace=\"llm\",pod=\"{pod}\",instance=\"{pod}:8000\",model_name=\"llama\",llm_d_ai_variant=\"{variant}\""
        );
        [
            ("vllm:num_requests_waiting", "3"),
            ("vllm:kv_cache_usage_perc", "0.5"),
        ]
        .map(|(name, value)| Series::read(&format!("{name}{{{labels}}} {value}")))
    };
    let fleet = Fleet::new(&[line("a", "h100"), line("b", "a100")].concat());
    let answers = fleet.answers(&params());
    for query in [
        "vllm/queue_length",
        "inference/kv_cache_usage",
        "inference/saturation",
    ] {
        let rows: Vec<_> = answers[query].keys().collect();
        assert_eq!(rows.len(), 2, "{query}");
        assert!(
            rows[0].contains("llm_d_ai_variant=\"h100\"") ^ rows[0].contains("llm_d_ai_variant=\"a100\"")
        );
    }
}

#[test]
fn saturation_follows_its_thresholds_and_needs_both_numbers() {
    let line = |name: &str, pod: &str, value: &str| {
        let labels = format!("namespace=\"llm\",pod=\"{pod}\",instance=\"{pod}:8000\",model_name=\"llama\"");
        Series::read(&format!("{name}{{{labels}}} {value}"))
    };
    let fleet = Fleet::new(&[
        line("vllm:num_requests_waiting", "both", "4"),
        line("vllm:kv_cache_usage_perc", "both", "0.6"),
        line("vllm:num_requests_waiting", "queue", "400"),
    ]);
    let check = |params: Params, expected: f64| {
        let answers = fleet.answers(&params);
        let saturation = &answers["inference/saturation"];
        let of = |pod: &str| {
            let found = saturation
                .iter()
                .find(|(labels, _)| labels.contains(&format!("pod=\"{pod}\"")));
            found.map(|(_, value)| *value)
        };
        assert!((of("both").unwrap() - expected).abs() < 1e-9, "{saturation:?}");
        assert!(of("queue").unwrap().is_nan(), "{saturation:?}");
    };
    check(params(), 0.8);
    check(params().with("kvCacheThreshold", "0.5"), 1.2);
    check(params().with("queueLengthThreshold", "2"), 2.0);
    check(
        params()
            .with("kvCacheThreshold", "0.2")
            .with("queueLengthThreshold", "1"),
        4.0,
    );
}

#[test]
fn a_capacity_in_labels_is_that_of_the_models_servers_and_undefined_where_it_is_no_number() {
    let line = |name: &str, pod: &str, more: &str| {
        let labels = format!("namespace=\"llm\",pod=\"{pod}\",instance=\"{pod}:8000\"{more}");
        Series::read(&format!("{name}{{{labels}}} 1"))
    };
    let config = |pod, blocks: &str| {
        let more = format!(",engine=\"0\",num_gpu_blocks=\"{blocks}\",block_size=\"16\"");
        line("vllm:cache_config_info", pod, &more)
    };
    let running = |pod, model: &str| {
        line(
            "vllm:num_requests_running",
            pod,
            &format!(",engine=\"0\",model_name=\"{model}\""),
        )
    };
    let fleet = Fleet::new(&[
        config("a", "100"),
        running("a", "llama"),
        config("b", "None"),
        running("b", "llama"),
        config("other", "500"),
        running("other", "qwen"),
    ]);
    for query in ["vllm/kv_capacity_tokens", "inference/kv_capacity_tokens"] {
        let promql = fleet.queries.render(query, &params()).unwrap();
        let registered = fleet.queries.get(query).unwrap();
        let context = TransformContext {
            at: EvaluatedAt::Once(Timestamp::from_secs_f64(f64::from(START + (SAMPLES - 1) * STEP))),
            variants: &VariantIndex::new(),
            weights: &[],
        };
        let made = transform::apply(
            &registered.template().transform,
            fleet.evaluated(&promql),
            context,
        );
        let made = made.unwrap();
        let values: Vec<_> = made
            .values()
            .map(|value| format!("{}={}", value.label("pod"), value.value))
            .collect();
        assert_eq!(values, ["a=1600", "b=NaN"], "{query}");
        let told = made.warnings().next().unwrap();
        assert!(told.contains("is no number") && told.contains("None"), "{told}");
    }
}

/// `saturation` is made of the unions that it is described by, and of no text of its own.
#[test]
fn saturation_has_the_parts_of_what_it_is_made_of() {
    let pack = Pack::builtin("inference").unwrap();
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let whole = flat(&pack.query("saturation").unwrap().template);
    for engine in ["vllm", "sglang", "trtllm", "ray", "triton", "llamacpp"] {
        let engine = Pack::builtin(engine).unwrap();
        for part in ["kv_cache_usage", "queue_length"] {
            assert!(
                whole.contains(&flat(&engine.query(part).unwrap().template)),
                "{}",
                engine.name()
            );
        }
    }
}

#[test]
fn two_ports_of_a_pod_are_two_servers() {
    let line = |port: u16, value| {
        let labels = format!("namespace=\"llm\",pod=\"p\",instance=\"10.0.0.1:{port}\",model_name=\"llama\"");
        Series::read(&format!("vllm:num_requests_waiting{{{labels}}} {value}"))
    };
    let fleet = Fleet::new(&[line(8000, 3), line(8001, 4)]);
    let answers = fleet.answers(&params());
    let values: Vec<_> = answers["vllm/queue_length"].values().collect();
    assert_eq!(values, [&3.0, &4.0]);
}

#[test]
fn a_renamed_metric_gives_the_same_answer_under_each_name_and_under_both() {
    let all = series(&[&[]]);
    let expected = Fleet::new(&all).answers(&params());
    let queries = Fleet::new(&[]).queries;
    let promqls: Vec<_> = expected
        .keys()
        .map(|query| queries.render(query, &params()).unwrap())
        .collect();
    for rename in RENAMED {
        let (new, old, _) = rename;
        // The queries that ask for the metric, and what they ask for besides.
        let affected: Vec<_> = promqls.iter().filter(|promql| promql.contains(new)).collect();
        let base = all
            .iter()
            .filter(|s| affected.iter().any(|promql| promql.contains(&s.name)));
        let base: Vec<_> = base.cloned().collect();
        let renamed: Vec<_> = base
            .iter()
            .filter_map(|s| Some((s, s.renamed(rename)?)))
            .collect();
        assert!(
            !renamed.is_empty() && !affected.is_empty(),
            "nothing is named {new}"
        );
        let check = |world: &str, replace: &dyn Fn(&Series) -> Vec<Series>| {
            // Where a server had the older name already, the same series comes out.
            let series = base
                .iter()
                .flat_map(replace)
                .map(|s| ((s.name.clone(), s.labels.clone()), s));
            let series: Vec<_> = series.collect::<BTreeMap<_, _>>().into_values().collect();
            let fleet = Fleet::new(&series);
            for (query, promql) in expected.keys().zip(&promqls).filter(|(_, p)| p.contains(new)) {
                assert_same(
                    &format!("{query}, {world}"),
                    &fleet.made(query, fleet.evaluated(promql)),
                    &expected[query],
                );
            }
        };
        let to_old = |s: &Series| s.renamed(rename).unwrap_or_else(|| s.clone());
        check(&format!("{old} alone"), &|s| vec![to_old(s)]);
        check(&format!("{new} and {old}"), &|s| vec![s.clone(), to_old(s)]);
        // In a rolling update, every other server is new.
        let servers: BTreeSet<_> = renamed.iter().map(|(s, _)| &s.labels["instance"]).collect();
        let old_ones: Vec<_> = servers.into_iter().step_by(2).collect();
        check(
            &format!("{old} on {old_ones:?}"),
            &|s| match old_ones.contains(&&s.labels["instance"]) {
                true => vec![to_old(s)],
                false => vec![s.clone()],
            },
        );
    }
}

#[test]
fn every_pack_says_what_it_works_with() {
    for pack in Pack::builtins() {
        let description = pack.description();
        assert!(
            description.contains("Works with "),
            "{}: {description}",
            pack.name()
        );
    }
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
