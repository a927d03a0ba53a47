//! The packs against a real Prometheus, which holds the fleet of `packs/fleet.series` and of the pages of `packs/pages`,
//! and against the embedded evaluator over the same samples: every answer that is asserted here is that of both.
//!
//! Two jobs scrape each server, which must not show. `packs/expected.txt` has the answer of every query that answers by
//! server; the others are here.
#![allow(clippy::unwrap_used, missing_docs)]

mod fleet;

use std::collections::{BTreeMap, BTreeSet};

use fleetgauge::pack::Pack;
use fleetgauge::transform::{self, EvaluatedAt, TransformContext};
use fleetgauge_core::params::Params;
use fleetgauge_core::query_list::QueryList;
use fleetgauge_core::time::Timestamp;
use fleetgauge_core::variant::VariantIndex;
use fleetgauge_promql::parse::Expression;
use fleetgauge_testkit::Prometheus;

use fleet::{Fleet, RENAMED, SERVERS, Vector, assert_same, lines};

pub(crate) use fleet::{JOBS, SAMPLES, START, STEP, Series, params, prometheus, series};

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
