//! What the pages say, and that they say the same again.
#![allow(missing_docs, clippy::unwrap_used)]

use crate::common;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{ask, get, page, samples, sum, values};
use fleetgauge_sim::{EngineKind, Fault, Fleet, Limits, Load, Shape, SimPod, Variant};

const SECOND: Duration = Duration::from_secs(1);

fn variant(name: &str, engine: EngineKind) -> Variant {
    Variant::new("ns", name, engine, "meta-llama/Llama-3.1-8B-Instruct").with_load(Load::Steady { rate: 6.0 })
}

async fn start(variants: impl IntoIterator<Item = Variant>) -> (Fleet, Vec<SimPod>) {
    let builder = Fleet::builder().seed(3).stepped_by_hand();
    let fleet = variants
        .into_iter()
        .fold(builder, |builder, v| builder.variant(v))
        .start()
        .await
        .unwrap();
    let pods = fleet.pods();
    (fleet, pods)
}

async fn pages(fleet: &Fleet) -> Vec<String> {
    let mut pages = Vec::new();
    for pod in fleet.pods().into_iter().filter(|pod| pod.fault.is_none()) {
        pages.push(page(pod.address).await);
    }
    pages
}

/// The pages but for the ports, which the system chooses.
async fn portless(fleet: &Fleet) -> Vec<String> {
    let mut pages = pages(fleet).await;
    for pod in fleet.pods() {
        let port = format!("port=\"{}\"", pod.address.port());
        pages.iter_mut().for_each(|page| *page = page.replace(&port, ""));
    }
    pages
}

#[tokio::test]
async fn the_same_seed_and_steps_give_the_same_pages() {
    let demo = async |seed, cut: u32| {
        let fleet = Fleet::demo(12)
            .seed(seed)
            .stepped_by_hand()
            .start()
            .await
            .unwrap();
        let pod = fleet.pods()[0].id;
        for _ in 0..cut {
            fleet.step(40 * SECOND / cut).await;
        }
        fleet.inject(pod, Fault::Rename).await.unwrap();
        fleet.step(10 * SECOND).await;
        let names: Vec<String> = fleet.pods().into_iter().map(|pod| pod.name).collect();
        (names, portless(&fleet).await)
    };
    let once = demo(5, 1).await;
    assert_eq!(once, demo(5, 1).await);
    assert_eq!(
        once,
        demo(5, 400).await,
        "how the time is cut makes no difference"
    );
    let other = demo(6, 1).await;
    assert!(once.0 != other.0 && once.1 != other.1);
}

#[tokio::test]
async fn a_page_between_steps_stays_as_it_is() {
    let (fleet, pods) = start([variant("v", EngineKind::Vllm { ranks: 1 })]).await;
    fleet.step(20 * SECOND).await;
    let first = page(pods[0].address).await;
    assert_eq!(first, page(pods[0].address).await);
    fleet.step(SECOND).await;
    assert_ne!(first, page(pods[0].address).await);
}

/// Buckets rise to the count, and each histogram has all it must have.
fn check_histograms(page: &str) -> usize {
    let mut buckets: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let all: BTreeMap<&str, f64> = samples(page).into_iter().collect();
    for (series, value) in samples(page) {
        let Some((name, labels)) = series.split_once("_bucket{") else {
            continue;
        };
        let others = labels
            .trim_end_matches('}')
            .split(',')
            .filter(|label| !label.starts_with("le="));
        let others = others.collect::<Vec<_>>().join(",");
        let braced = if others.is_empty() {
            String::new()
        } else {
            format!("{{{others}}}")
        };
        buckets
            .entry(format!("{name}_count{braced}"))
            .or_default()
            .push(value);
    }
    for (count, buckets) in &buckets {
        assert!(buckets.is_sorted(), "{count}: {buckets:?}");
        assert_eq!(buckets.last(), all.get(count.as_str()), "{count}");
        assert!(
            all.contains_key(count.replacen("_count", "_sum", 1).as_str()),
            "{count}"
        );
    }
    buckets.len()
}

#[tokio::test]
async fn a_vllm_page_adds_up() {
    let tight = Limits {
        num_gpu_blocks: 400,
        ..Limits::default()
    };
    let two = variant("two", EngineKind::Vllm { ranks: 2 })
        .with_limits(tight)
        .with_load(Load::Steady { rate: 9.0 });
    let (fleet, pods) = start([two]).await;
    for _ in 0..6 {
        fleet.step(20 * SECOND).await;
        let text = page(pods[0].address).await;
        assert_eq!(check_histograms(&text), 2 * 16 + 3);
        for rank in ["engine=\"0\"", "engine=\"1\""] {
            let of = |name: &str| sum(&text, name, rank);
            let success = |reason: &str| {
                sum(
                    &text,
                    "vllm:request_success_total",
                    &format!("{rank},finished_reason=\"{reason}\""),
                )
            };
            let finished = success("stop") + success("length");
            for name in [
                "e2e_request_latency_seconds",
                "request_prompt_tokens",
                "request_queue_time_seconds",
            ] {
                assert_eq!(of(&format!("vllm:{name}_count")), finished, "{name}");
            }
            let first = of("vllm:time_to_first_token_seconds_count");
            assert!(first >= finished);
            assert_eq!(
                of("vllm:generation_tokens_total"),
                first + of("vllm:inter_token_latency_seconds_count")
            );
            let usage = of("vllm:kv_cache_usage_perc");
            assert!((0.0..=1.0).contains(&usage) && (usage * 400.0 - (usage * 400.0).round()).abs() < 1e-9);
            assert!(of("vllm:prefix_cache_hits_total") <= of("vllm:prefix_cache_queries_total"));
            assert!(of("vllm:prefix_cache_hits_total") > 0.0);
            assert!(of("vllm:num_requests_running") <= 64.0);
        }
        let http = sum(&text, "http_requests_total", "2xx");
        let finished = ["stop", "length"].map(|reason| sum(&text, "vllm:request_success_total", reason));
        assert_eq!(http, finished[0] + finished[1]);
    }
    let text = page(pods[0].address).await;
    assert!(
        sum(&text, "vllm:num_preemptions_total", "") > 0.0,
        "a tight cache preempts"
    );
    assert!(sum(&text, "vllm:request_success_total", "length") > 0.0);
    assert!(sum(&text, "vllm:request_success_total", "abort") > 0.0);
}

#[tokio::test]
async fn every_engine_shows_the_names_that_queries_ask_for() {
    let engines = [
        ("vllm", EngineKind::Vllm { ranks: 1 }),
        ("sglang", EngineKind::Sglang { ranks: 2 }),
        ("trtllm", EngineKind::TensorRtLlm),
        ("epp", EngineKind::Epp { pool: "vllm".into() }),
    ];
    let (fleet, _) = start(engines.map(|(name, engine)| variant(name, engine))).await;
    fleet.step(20 * SECOND).await;
    let pages = pages(&fleet).await;
    let model = "model_name=\"meta-llama/Llama-3.1-8B-Instruct\"";
    let check = |page: usize, part: &str, names: &str| {
        for name in names.split_whitespace() {
            assert!(!values(&pages[page], name, part).is_empty(), "{name} with {part}");
        }
    };
    check(0, model, "vllm:kv_cache_usage_perc vllm:num_requests_waiting vllm:num_requests_running
        vllm:request_prompt_tokens_sum vllm:request_generation_tokens_count vllm:prefix_cache_hits_total
        vllm:prefix_cache_queries_total vllm:time_to_first_token_seconds_bucket vllm:inter_token_latency_seconds_bucket
        vllm:e2e_request_latency_seconds_sum vllm:request_queue_time_seconds_sum vllm:request_inference_time_seconds_sum
        vllm:request_prefill_time_seconds_sum vllm:request_decode_time_seconds_sum vllm:generation_tokens_total
        vllm:prompt_tokens_total vllm:num_preemptions_total vllm:request_success_total vllm:iteration_tokens_total_bucket");
    check(0, "num_gpu_blocks=\"2048\"", "vllm:cache_config_info");
    for part in ["priority=\"\"", "priority=\"0\"", "dp_rank=\"1\""] {
        check(1, part, "sglang:num_queue_reqs sglang:num_running_reqs");
    }
    check(1, model, "sglang:token_usage sglang:max_total_num_tokens sglang:prompt_tokens_histogram_sum
        sglang:generation_tokens_histogram_count sglang:cached_tokens_total sglang:prompt_tokens_total
        sglang:time_to_first_token_seconds_sum sglang:inter_token_latency_seconds_sum sglang:e2e_request_latency_seconds_sum
        sglang:queue_time_seconds_sum sglang:num_requests_total sglang:generation_tokens_total");
    check(2, model, "trtllm_kv_cache_utilization trtllm_num_requests_waiting trtllm_num_requests_running
        trtllm_kv_cache_max_blocks trtllm_kv_cache_tokens_per_block trtllm_kv_cache_reused_blocks_total
        trtllm_kv_cache_missed_blocks_total trtllm_time_to_first_token_seconds_sum trtllm_time_per_output_token_seconds_sum
        trtllm_e2e_request_latency_seconds_sum trtllm_request_queue_time_seconds_sum trtllm_request_success_total
        trtllm_prompt_tokens_total trtllm_generation_tokens_total");
    check(
        3,
        "target_model_name=",
        "llm_d_epp_flow_control_queue_size llm_d_epp_flow_control_queue_bytes
        inference_extension_flow_control_queue_size inference_extension_flow_control_queue_bytes",
    );
    check(
        3,
        "name=\"vllm\"",
        "llm_d_epp_average_queue_size llm_d_epp_average_kv_cache_utilization llm_d_epp_ready_endpoints
        inference_pool_average_queue_size inference_pool_average_kv_cache_utilization inference_pool_ready_pods",
    );
    check(3, "endpoint_name=\"vllm-", "llm_d_epp_scheduler_attempts_total");
    check(
        3,
        "pod_name=\"vllm-",
        "inference_extension_scheduler_attempts_total",
    );
    for page in &pages {
        check_histograms(page);
    }
    // Parts of a queue add up to its total.
    let running = |priority: &str| {
        sum(
            &pages[1],
            "sglang:num_running_reqs",
            &format!("priority=\"{priority}\""),
        )
    };
    assert_eq!(running(""), running("0") + running("1"));
    // What the picker sent is what the pod got.
    let pod = &fleet.pods()[0].name;
    let sent = sum(
        &pages[3],
        "inference_extension_scheduler_attempts_total",
        &format!("pod_name=\"{pod}\""),
    );
    let got = sum(&pages[0], "vllm:request_success_total", "")
        + sum(&pages[0], "vllm:num_requests_running", "")
        + sum(&pages[0], "vllm:num_requests_waiting", "");
    assert!(sent > 50.0);
    assert_eq!(sent, got);
}

#[tokio::test]
async fn the_picker_holds_requests_back_when_all_pods_are_full() {
    let small = Limits {
        max_num_seqs: 2,
        ..Limits::default()
    };
    let pool = variant("pool", EngineKind::Vllm { ranks: 1 })
        .with_limits(small)
        .with_replicas(2);
    let (fleet, pods) = start([pool, variant("epp", EngineKind::Epp { pool: "pool".into() })]).await;
    fleet.step(30 * SECOND).await;
    let held = || async {
        sum(
            &page(pods[2].address).await,
            "inference_extension_flow_control_queue_size",
            "",
        )
    };
    assert!(held().await > 10.0);
    fleet.inject(pods[2].id, Fault::Restart).await.unwrap();
    assert_eq!(held().await, 0.0);
    fleet.inject(pods[0].id, Fault::Die).await.unwrap();
    fleet.step(SECOND).await;
    assert_eq!(
        sum(&page(pods[2].address).await, "inference_pool_ready_pods", ""),
        1.0
    );
}

#[tokio::test]
async fn pages_are_as_large_as_the_real_ones_and_idle_pods_say_zero() {
    let idle = variant("idle", EngineKind::Vllm { ranks: 1 }).with_load(Load::Idle);
    let (fleet, pods) = start([variant("two", EngineKind::Vllm { ranks: 2 }), idle]).await;
    fleet.step(60 * SECOND).await;
    let (two, idle) = (page(pods[0].address).await, page(pods[1].address).await);
    println!(
        "two ranks {} bytes, {} samples; one rank {} bytes, {} samples",
        two.len(),
        samples(&two).len(),
        idle.len(),
        samples(&idle).len()
    );
    assert!((90_000..130_000).contains(&two.len()), "{}", two.len());
    assert!((45_000..75_000).contains(&idle.len()), "{}", idle.len());
    for name in [
        "vllm:num_requests_running",
        "vllm:request_success_total",
        "vllm:e2e_request_latency_seconds_count",
    ] {
        assert_eq!(sum(&idle, name, ""), 0.0);
    }
}

#[tokio::test]
async fn formats_encodings_and_kept_connections() {
    let (fleet, pods) = start([
        variant("v", EngineKind::Vllm { ranks: 1 }),
        variant("s", EngineKind::Sglang { ranks: 1 }),
    ])
    .await;
    fleet.step(20 * SECOND).await;
    for pod in &pods {
        let plain = get(pod.address, "/metrics", "").await.unwrap();
        assert!(
            plain
                .head
                .contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{}",
            plain.head
        );
        let packed = get(pod.address, "/metrics", "Accept-Encoding: deflate, gzip\r\n")
            .await
            .unwrap();
        assert!(packed.head.contains("content-encoding: gzip\r\n"));
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(packed.body.as_slice())
            .read_to_string(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, plain.text());
        let open = get(
            pod.address,
            "/metrics",
            "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n",
        )
        .await
        .unwrap();
        assert!(
            open.head
                .contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n")
        );
        assert!(open.text().ends_with("# EOF\n"));
        let sorted = |page: &str| {
            let mut samples: Vec<String> = samples(page).iter().map(|sample| format!("{sample:?}")).collect();
            samples.sort();
            samples
        };
        assert_eq!(
            sorted(&open.text()),
            sorted(&plain.text()),
            "the same samples in both formats"
        );
    }
    let address = pods[0].address;
    let twice = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        (
            ask(&mut stream, "/metrics", "").unwrap().status,
            ask(&mut stream, "/metrics", "").unwrap().status,
        )
    };
    assert_eq!(tokio::task::spawn_blocking(twice).await.unwrap(), (200, 200));
}

#[tokio::test]
async fn targets_are_a_file_that_prometheus_reads() {
    let fleet = Fleet::demo(10).stepped_by_hand().start().await.unwrap();
    let groups: Vec<serde_json::Value> = serde_json::from_str(&fleet.targets_file_sd()).unwrap();
    let pods = fleet.pods();
    assert_eq!(groups.len(), 10);
    for (group, pod) in groups.iter().zip(&pods) {
        assert_eq!(group["targets"][0], pod.address.to_string());
        assert_eq!(group["labels"]["pod"], pod.name.as_str());
        assert_eq!(group["labels"]["namespace"], pod.namespace.as_str());
        assert_eq!(group["labels"]["job"], pod.variant.as_str());
    }
    let count = |f: fn(&SimPod) -> &String| {
        pods.iter()
            .map(f)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    assert_eq!((count(|pod| &pod.namespace), count(|pod| &pod.variant)), (2, 4));
    for size in 0..30 {
        let pods = Fleet::demo(size).stepped_by_hand().start().await.unwrap().pods();
        assert_eq!(pods.len(), size);
    }
}

#[tokio::test]
async fn promtool_reads_every_page() {
    let fleet = Fleet::demo(10).stepped_by_hand().start().await.unwrap();
    fleet.step(5 * SECOND).await;
    for text in pages(&fleet).await {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("promtool is on the PATH: apt-get install prometheus");
        let mut stdin = promtool.stdin.take().unwrap();
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, text.as_bytes()));
        let output = promtool.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        // 3 is for names it finds unusual, which are what the real servers use.
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
        assert!(!said.contains("error while linting"), "{said}");
    }
}

#[tokio::test]
async fn aborts_and_lengths_follow_the_shape() {
    let shape = Shape {
        max_tokens: 20,
        abort_ratio: 0.0,
        patience: 3_600 * SECOND,
        ..Shape::default()
    };
    let (fleet, pods) = start([variant("v", EngineKind::Vllm { ranks: 1 }).with_shape(shape)]).await;
    fleet.step(60 * SECOND).await;
    let text = page(pods[0].address).await;
    let success = |reason: &str| sum(&text, "vllm:request_success_total", reason);
    assert_eq!(success("abort"), 0.0);
    assert!(success("length") > 20.0 * success("stop"));
    assert_eq!(
        values(&text, "vllm:request_generation_tokens_bucket", "le=\"20.0\""),
        [success("stop") + success("length")]
    );
}
