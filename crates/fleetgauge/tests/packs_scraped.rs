//! Every query of the packs whose servers are simulated gives the same answer from the scrape source and from a real Prometheus, over a
//! simulated fleet of all engines.
//!
//! Compared twice. **Live**: a Prometheus scrapes the fleet beside the source. The fleet is stepped by hand and
//! stands still until both have seen it, so both see the same states, only at other times and not equally often:
//! what does not depend on when must be the same, and a rate may differ by what it extrapolates. **Exported**:
//! a second Prometheus is given the very samples that the source holds, and must answer the same to the last
//! digits.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::sample::Stamp;
use fleetgauge::scrape::{FileDiscovery, ScrapeConfig, ScrapeSource};
use fleetgauge::time::{Clock, Timestamp};
use fleetgauge::transform::{self, EvaluatedAt, TransformContext};
use fleetgauge::variant::VariantIndex;
use fleetgauge::{MetricsSource, Pack, Params, RefreshSpec};
use fleetgauge_core::result::{AnswerBuilder, AnswerKind};
use fleetgauge_promql::engine::Engine;
use fleetgauge_sim::{EngineKind, Fleet, Limits, Load, Variant};
use fleetgauge_testkit::{OpenMetrics, Prometheus};
use tokio::runtime::Runtime;

/// So long that no scrape of the source begins by itself, in the middle of a step.
const NEVER: Duration = Duration::from_secs(300 * 24 * 3600);
const STATES: usize = 8;
const PODS: usize = 6;
/// The packs of what the simulator simulates; `tests/packs.rs` has pages for the others.
const SIMULATED: [&str; 5] = ["inference", "vllm", "sglang", "trtllm", "epp"];
/// The shortest range of the packs. While all samples are within, both see the same first and last state.
const RANGE: Duration = Duration::from_secs(60);

/// Value by labels.
type Vector = BTreeMap<BTreeMap<String, String>, f64>;

/// How far an answer may be off, and why.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A gauge, or its maximum: the same states were seen.
    Level,
    /// Rate by rate of one target, or a quantile of its rates: what each is extrapolated by cancels out.
    Ratio,
    /// A rate or an increase: extrapolated from what was seen.
    Rate,
}

// === impl Kind ===

impl Kind {
    fn of(query: &str) -> Self {
        let name = query.split_once('/').unwrap().1;
        let is_ratio = name.starts_with("avg_") || name.ends_with("_quantile");
        match name {
            "prefix_cache_hit_rate" => Self::Ratio,
            _ if is_ratio => Self::Ratio,
            _ if name.ends_with("_rate") || name == "model_request_count" => Self::Rate,
            _ => Self::Level,
        }
    }
}

/// What the source answered: the time of the evaluation, and the values.
struct Answer {
    query: String,
    promql: String,
    at: Timestamp,
    values: Vector,
}

fn fleet() -> fleetgauge_sim::FleetBuilder {
    // Too little memory and too short a batch for the load: requests wait, at the servers and before them,
    // and are thrown out of the cache.
    let limits = Limits {
        num_gpu_blocks: 700,
        max_num_seqs: 12,
        ..Limits::default()
    };
    let variant = |name: &str, engine, model: &str| {
        Variant::new("chat", name, engine, model)
            .with_load(Load::Steady { rate: 6.0 })
            .with_limits(limits)
            .with_gzip(false)
    };
    Fleet::builder()
        .seed(3)
        .variant(variant("llama", EngineKind::Vllm { ranks: 1 }, "org/model-8b").with_replicas(2))
        .variant(variant("ranks", EngineKind::Vllm { ranks: 2 }, "org/model-70b"))
        .variant(variant("sglang", EngineKind::Sglang { ranks: 2 }, "org/model-8b"))
        .variant(variant("trt", EngineKind::TensorRtLlm, "org/model-8b"))
        .variant(variant(
            "picker",
            EngineKind::Epp { pool: "llama".into() },
            "org/model-8b",
        ))
        // So that counters are far from zero: there, 2.42 extrapolates otherwise than 3.x does.
        .warm_up(Duration::from_secs(120))
        .stepped_by_hand()
}

fn selections() -> [Params; 4] {
    let selection = |model: &str, q: &str| {
        Params::from([
            ("namespace", "chat"),
            ("modelID", model),
            ("q", q),
            ("retentionPeriod", "5m"),
        ])
    };
    [
        selection("org/model-8b", "0.5"),
        selection("org/model-8b", "0.99").with("podFilter", "(llama|trt)-.*"),
        selection("org/model-70b", "0.9"),
        selection("org/model-8b", "0.9").with("pool", "llama"),
    ]
}

/// The fleet, and those who scrape it.
struct Setup {
    runtime: Runtime,
    fleet: Fleet,
    source: ScrapeSource,
    prometheus: Prometheus,
    _targets: tempfile::TempDir,
}

// === impl Setup ===

impl Setup {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let fleet = runtime.block_on(fleet().start()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("targets.json");
        std::fs::write(&file, fleet.targets_file_sd()).unwrap();
        let config = format!(
            "scrape_configs:\n- job_name: pods\n  scrape_interval: 500ms\n  scrape_timeout: 500ms\n  file_sd_configs:\n  - files: [{file:?}]\n"
        );
        let prometheus = Prometheus::builder().config(config).start().unwrap();
        prometheus.wait_for(&format!("count(up == 1) == {PODS}")).unwrap();
        let source = runtime.block_on(async {
            let config = ScrapeConfig::new("pods").with_interval(NEVER);
            ScrapeSource::start(config, [Arc::new(FileDiscovery::new([file])) as _]).unwrap()
        });
        for pack in SIMULATED.iter().filter_map(|name| Pack::builtin(name)) {
            pack.register_into(source.query_list()).unwrap();
        }
        let setup = Self {
            runtime,
            fleet,
            source,
            prometheus,
            _targets: dir,
        };
        setup.scrape();
        setup
    }

    /// One scrape of all targets by the source.
    fn scrape(&self) {
        let spec = RefreshSpec::queries(["all_metrics"]).max_age(Duration::ZERO);
        let results = self.runtime.block_on(self.source.refresh(spec));
        assert!(results.is_complete(), "{results:?}");
        let targets = self.source.targets();
        assert_eq!(targets.len(), PODS);
        assert!(
            targets.iter().all(|target| target.last_error.is_none()),
            "{targets:?}"
        );
    }

    /// The fleet moves on, and stands still until both have scraped it.
    fn step(&self) {
        // Nobody scrapes while it moves. The scrape of the source comes after what Prometheus had under way.
        self.prometheus.pause().unwrap();
        self.scrape();
        self.runtime.block_on(self.fleet.step(Duration::from_secs(4)));
        let moved = Clock::system().wall().as_secs_f64();
        self.prometheus.resume().unwrap();
        self.scrape();
        // Twice, so that there is not too much to extrapolate.
        let seen = format!(
            "count(up == 1) == {PODS} and on () min(timestamp(up)) > {:.3}",
            moved + 0.5
        );
        self.prometheus.wait_for(&seen).unwrap();
        self.scrape();
    }

    /// The answer of the source to every query, without another scrape.
    fn answers(&self, params: &Params) -> Vec<Answer> {
        let spec = RefreshSpec::all().params(params.clone()).max_age(NEVER);
        let results = self.runtime.block_on(self.source.refresh(spec));
        let mut answers = Vec::new();
        for (query, outcome) in results.iter().filter(|(query, _)| query.contains('/')) {
            let result = outcome
                .as_ref()
                .unwrap_or_else(|error| panic!("{query}: {error}"));
            assert_eq!(
                result.warnings().len(),
                0,
                "{query}: {:?}",
                result.warnings().collect::<Vec<_>>()
            );
            let at = result.values().next().map(|value| value.timestamp);
            answers.push(Answer {
                query: query.to_owned(),
                promql: self.source.query_list().render(query, params).unwrap(),
                at: at.unwrap_or(result.collected_at()),
                values: result.values().map(|v| (v.labels.to_map(), v.value)).collect(),
            });
        }
        answers
    }

    /// How often each target was scraped in the last minute, at least; by Prometheus, and by the source.
    fn scrapes(&self) -> [f64; 2] {
        let (promql, now) = ("min(count_over_time(up[1m]))", Clock::system().wall());
        let only = |vector: Vector| vector.into_values().next().unwrap();
        [
            only(ask(&self.prometheus, promql, now)),
            only(evaluate(&self.source, promql, now)),
        ]
    }
}

fn ask(prometheus: &Prometheus, promql: &str, at: Timestamp) -> Vector {
    let result = prometheus.query(promql, Some(at.as_secs_f64())).unwrap();
    let value = |series: &serde_json::Value| series["value"][1].as_str().unwrap().parse().unwrap();
    let labels = |series: &serde_json::Value| serde_json::from_value(series["metric"].clone()).unwrap();
    let series = result.as_array().unwrap().iter();
    series.map(|series| (labels(series), value(series))).collect()
}

/// What `query` makes of `rows`.
fn made(source: &ScrapeSource, query: &str, rows: &Vector, at: Timestamp) -> Vector {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    for (labels, value) in rows {
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        answer.series(labels, *value, at).unwrap();
    }
    let registered = source.query_list().get(query).unwrap();
    let context = TransformContext {
        at: EvaluatedAt::Once(at),
        variants: &VariantIndex::new(),
        weights: &[],
    };
    let made = transform::apply(&registered.template().transform, answer.build(), context).unwrap();
    made.values().map(|v| (v.labels.to_map(), v.value)).collect()
}

fn evaluate(source: &ScrapeSource, promql: &str, at: Timestamp) -> Vector {
    let answer = Engine::default()
        .instant(source.window(), promql, at)
        .unwrap()
        .answer;
    assert_eq!(answer.kind(), AnswerKind::Vector, "{promql}");
    answer.values().map(|s| (s.labels.to_map(), s.value)).collect()
}

/// Where the two differ by more than `tolerance`, relative to the larger.
fn differences(ours: &Vector, theirs: &Vector, tolerance: f64) -> Vec<String> {
    let all: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let same = |a: f64, b: f64| a == b || (a - b).abs() <= tolerance * a.abs().max(b.abs());
    let differ = |labels: &&&BTreeMap<_, _>| match (ours.get(**labels), theirs.get(**labels)) {
        (Some(a), Some(b)) => !same(*a, *b),
        _ => true,
    };
    let shown = |labels: &&BTreeMap<_, _>| {
        format!(
            "{labels:?}: {:?}, and {:?} by Prometheus",
            ours.get(*labels),
            theirs.get(*labels)
        )
    };
    all.iter().filter(differ).map(shown).collect()
}

/// A Prometheus that holds the samples of the source, those of metrics that `answers` ask for; and their times.
fn exported(source: &ScrapeSource, answers: &[Answer], now: Timestamp) -> (Prometheus, BTreeSet<Timestamp>) {
    let begin = Timestamp::default();
    let (mut data, mut times) = (OpenMetrics::new(), BTreeSet::new());
    for series in source.window().select(&[], begin, now).iter() {
        let labels = series.labels();
        let name = labels.metric_name();
        if !answers.iter().any(|answer| answer.promql.contains(name)) {
            continue;
        }
        let samples = series.samples(begin, now).into_iter().map(|sample| {
            assert!(!sample.is_stale(), "{labels}");
            times.insert(sample.timestamp);
            (sample.timestamp.as_secs_f64(), sample.value)
        });
        let samples: Vec<_> = samples.collect();
        let labels: Vec<_> = labels.iter().filter(|(label, _)| *label != "__name__").collect();
        data = data.series(name, &labels, &samples);
    }
    (Prometheus::builder().data(&data).start().unwrap(), times)
}

/// When a range of [`RANGE`] begins amid `times`, and at none of them: 2.42 takes a sample there, 3.x does not.
fn amid(times: &BTreeSet<Timestamp>) -> Timestamp {
    let mut begin = *times.iter().nth(times.len() / 2).unwrap();
    while times.contains(&begin) {
        begin = begin.saturating_add(Duration::from_millis(1));
    }
    begin.saturating_add(RANGE)
}

#[test]
fn every_pack_query_gives_the_answer_of_a_prometheus_that_scraped_the_same_fleet() {
    let setup = Setup::start();
    let begun = Clock::system().wall();
    (0..STATES).for_each(|_| setup.step());
    let answers: Vec<_> = selections()
        .iter()
        .flat_map(|params| setup.answers(params))
        .collect();
    let end = Clock::system().wall();
    assert!(
        end.saturating_since(begun) + Duration::from_secs(2) < RANGE,
        "too slow a machine to compare"
    );

    // A rate is the increase that was seen, extrapolated by at most 1.1 mean distances of samples at each end.
    let scrapes = setup.scrapes();
    let extrapolated = scrapes.map(|scrapes| 2.2 / (scrapes - 1.0));
    let tolerance = extrapolated.into_iter().fold(0.0, f64::max);
    assert!(tolerance < 0.25, "{scrapes:?} scrapes are too few to compare");
    let mut wrong = Vec::new();
    for Answer {
        query,
        promql,
        at,
        values,
    } in &answers
    {
        let tolerance = match Kind::of(query) {
            Kind::Level => 0.0,
            Kind::Ratio => 1e-9,
            Kind::Rate => tolerance,
        };
        let theirs = made(&setup.source, query, &ask(&setup.prometheus, promql, *at), *at);
        let found = differences(values, &theirs, tolerance).into_iter();
        wrong.extend(found.map(|difference| format!("live: {query}: {difference}\n{promql}")));
    }

    let (prometheus, times) = exported(&setup.source, &answers, end);
    let later = amid(&times);
    for answer in &answers {
        let (query, promql) = (&answer.query, &answer.promql);
        let mut compare = |ours: &Vector, at: Timestamp| {
            let theirs = made(&setup.source, query, &ask(&prometheus, promql, at), at);
            let found = differences(ours, &theirs, 1e-9).into_iter();
            wrong.extend(found.map(|found| format!("exported: {query} at {at}: {found}\n{promql}")));
        };
        compare(&answer.values, answer.at);
        // The ranges of a minute have lost their first samples by then.
        let ours = evaluate(&setup.source, promql, later);
        compare(&made(&setup.source, query, &ours, later), later);
    }
    assert!(
        wrong.is_empty(),
        "{} differences, as {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(8)]
    );

    // Nothing was compared with nothing, and no number is the same for being zero.
    let queries: BTreeSet<_> = answers.iter().map(|answer| &*answer.query).collect();
    let registered = setup.source.query_list().list();
    assert_eq!(
        queries.len(),
        registered.iter().filter(|query| query.contains('/')).count()
    );
    let is_told = |query: &&str| {
        let mut answers = answers.iter().filter(|answer| answer.query == *query);
        answers.any(|answer| answer.values.values().any(|value| *value > 0.0))
    };
    let untold: Vec<_> = queries.into_iter().filter(|query| !is_told(query)).collect();
    assert_eq!(untold, Vec::<&str>::new());
}
