//! The fleet of `fleet.series` and of the pages of `pages`: its samples, in memory and in a Prometheus.

use std::collections::BTreeMap;
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
use fleetgauge_promql::window::{Window, WindowConfig};
use fleetgauge_testkit::{OpenMetrics, Prometheus};

pub(crate) const START: u32 = 1_700_000_000;
pub(crate) const STEP: u32 = 15;
pub(crate) const SAMPLES: u32 = 81;

/// The servers whose answers `expected.txt` has, in the order of their addresses.
pub(super) const SERVERS: [&str; 11] = [
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
pub(super) const PAGES: [Page; 7] = [
    // The model's name is given by the configuration, where the page has none.
    (
        include_str!("pages/llamacpp.prom"),
        &[
            ("pod", "llamacpp-0"),
            ("instance", "10.0.0.7:8000"),
            ("model_name", "llama"),
        ],
        false,
    ),
    (
        include_str!("pages/tgi.prom"),
        &[
            ("pod", "tgi-0"),
            ("instance", "10.0.0.8:8000"),
            ("model_name", "llama"),
        ],
        false,
    ),
    (
        include_str!("pages/triton.prom"),
        &[("pod", "triton-0"), ("instance", "10.0.0.9:8000")],
        false,
    ),
    (
        include_str!("pages/dynamo.prom"),
        &[("pod", "dynamo-0"), ("instance", "10.0.0.10:8000")],
        false,
    ),
    (
        include_str!("pages/ray.prom"),
        &[("pod", "ray-0"), ("instance", "10.0.0.11:8000")],
        false,
    ),
    (
        include_str!("pages/dcgm.prom"),
        &[
            ("namespace", "gpu"),
            ("pod", "dcgm-exporter-a"),
            ("instance", "10.0.0.12:9400"),
        ],
        false,
    ),
    (
        include_str!("pages/dcgm-honored.prom"),
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
pub(super) const RENAMED: [Rename; 24] = [
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
pub(super) type Vector = BTreeMap<String, f64>;

/// A series: its samples begin at `start` and grow by `growth`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    start: f64,
    growth: f64,
}

/// The fleet in memory, and who answers the packs' queries from it.
pub(super) struct Fleet {
    pub(super) window: Window,
    pub(super) engine: Engine,
    pub(super) queries: QueryList,
}

// === impl Series ===

impl Series {
    /// A line of `fleet.series`.
    pub(super) fn read(line: &str) -> Self {
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
    pub(super) fn renamed(&self, (new, old, label): Rename) -> Option<Self> {
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
        for line in lines(include_str!("fleet.series")) {
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
    pub(super) fn new(all: &[Series]) -> Self {
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
    pub(super) fn answers(&self, params: &Params) -> BTreeMap<String, Vector> {
        let queries = self.queries.list().into_iter();
        let answer = |query: String| {
            let promql = self.queries.render(&query, params).unwrap();
            let answer = self.made(&query, self.evaluated(&promql));
            (query, answer)
        };
        queries.map(answer).collect()
    }

    pub(super) fn evaluated(&self, promql: &str) -> Answer {
        let at = Timestamp::from_secs_f64(f64::from(START + (SAMPLES - 1) * STEP));
        let answer = self.engine.instant(&self.window, promql, at);
        let answer = answer.unwrap_or_else(|e| panic!("{e}\n{promql}")).answer;
        assert_eq!(answer.kind(), AnswerKind::Vector, "{promql}");
        answer
    }

    /// What `query` makes of `answer`.
    pub(super) fn made(&self, query: &str, answer: Answer) -> Vector {
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
    pub(super) fn ask(&self, prometheus: &Prometheus, query: &str, params: &Params) -> Vector {
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

pub(super) fn rows(answer: &Answer) -> Vector {
    let labels = |series: Labels<'_>| {
        let labels: Vec<_> = series
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        labels.join(", ")
    };
    answer.values().map(|s| (labels(s.labels), s.value)).collect()
}

pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
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

pub(super) fn assert_same(query: &str, found: &Vector, expected: &Vector) {
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1e-3);
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|((k, v), (l, w))| k == l && close(*v, *w));
    assert!(same, "{query}\n found    {found:#?}\n expected {expected:#?}");
}
