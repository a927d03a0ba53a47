//! The example programs, run against a real Prometheus as a reader of the README would run them.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use fleetgauge_testkit::{OpenMetrics, Prometheus};

/// Two pods of one Deployment in namespace `chat`, each with a GPU, the second with two data-parallel ranks, and a pod
/// of a workload that nobody registered.
fn fleet() -> Prometheus {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = u32::try_from(now).unwrap();
    let window = (now - 300, now + 120, 15);
    let mut fleet = OpenMetrics::new();
    let pods = [
        ("vllm-llama-8b-7d9c5b6f4-x2x9z", "0", 0.25, 1.0),
        ("vllm-llama-8b-7d9c5b6f4-kq7hd", "0", 0.5, 2.0),
        ("vllm-llama-8b-7d9c5b6f4-kq7hd", "1", 0.75, 3.0),
        ("stray-0", "0", 0.125, 0.0),
    ];
    for (pod, engine, usage, waiting) in pods {
        let labels = [
            ("namespace", "chat"),
            ("model_name", "meta-llama/Llama-3.1-8B-Instruct"),
            ("pod", pod),
            ("engine", engine),
            ("job", "vllm"),
        ];
        fleet = fleet
            .steady("vllm:kv_cache_usage_perc", &labels, usage, window)
            .steady("vllm:num_requests_waiting", &labels, waiting, window)
            .steady("vllm:num_requests_running", &labels, 4.0, window);
    }
    for (pod, used) in [
        ("vllm-llama-8b-7d9c5b6f4-x2x9z", 60.0),
        ("vllm-llama-8b-7d9c5b6f4-kq7hd", 76.0),
    ] {
        let labels = [
            ("namespace", "chat"),
            ("pod", pod),
            ("UUID", pod),
            ("job", "dcgm"),
        ];
        fleet = fleet.steady("DCGM_FI_DEV_FB_USED", &labels, used, window).steady(
            "DCGM_FI_DEV_FB_FREE",
            &labels,
            80.0 - used,
            window,
        );
    }
    // A queue that grows by one a second.
    let grown = |i: u32| (f64::from(now - 300 + i), f64::from(i));
    let samples: Vec<_> = (0..=420).step_by(15).map(grown).collect();
    fleet = fleet.series(
        "llm_d_epp_flow_control_queue_size",
        &[("namespace", "chat")],
        &samples,
    );
    Prometheus::builder().data(&fleet).start().unwrap()
}

/// What the example prints on standard output. Cargo builds examples beside the tests.
fn run(example: &str, url: &str) -> String {
    let deps: PathBuf = std::env::current_exe().unwrap().parent().unwrap().into();
    let program = deps.with_file_name("examples").join(example);
    let output = Command::new(program)
        .env_clear()
        .env("PROMETHEUS_BASE_URL", url)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_examples_do_what_they_say_against_a_live_prometheus() {
    let prometheus = fleet();
    let url = prometheus.url();

    let quick_start = run("quick_start", &url);
    let expected = [
        "stray-0: 12.5 %",
        "vllm-llama-8b-7d9c5b6f4-kq7hd: 75.0 %",
        "vllm-llama-8b-7d9c5b6f4-x2x9z: 25.0 %",
    ];
    assert_eq!(sorted(&quick_start), expected);

    let single = run("single_query", &url);
    assert_eq!(single.lines().count(), 4, "a series each, ranks apart: {single}");
    assert!(single.contains(r#"engine="1""#), "{single}");

    let batch = run("batch_queries", &url);
    for line in [
        r#"kv_cache: {pod="vllm-llama-8b-7d9c5b6f4-kq7hd"} => 0.75"#,
        r#"queue_depth: {pod="vllm-llama-8b-7d9c5b6f4-kq7hd"} => 5"#,
        r#"running: {pod="vllm-llama-8b-7d9c5b6f4-kq7hd"} => 8"#,
    ] {
        assert!(batch.contains(line), "{line} in {batch}");
    }

    let all = run("refresh_all", &url);
    assert!(all.contains("inference/queue_length: 3 values"), "{all}");
    assert!(all.contains("inference/avg_ttft: 0 values"), "{all}");

    let cached = run("cached_access", &url);
    assert!(cached.contains("no-such-pod: unknown"), "{cached}");
    assert!(
        cached.contains("fullest over 1,000 reads: Some(0.75)"),
        "{cached}"
    );

    let joined = run("join_sources", &url);
    let expected = [
        "waiting_by_memory: vllm-llama-8b-7d9c5b6f4-kq7hd 5.26",
        "waiting_by_memory: vllm-llama-8b-7d9c5b6f4-x2x9z 1.33",
        "waiting_with_memory_left: vllm-llama-8b-7d9c5b6f4-x2x9z 1.00",
    ];
    assert_eq!(sorted(&joined), expected);

    let forecast = run("forecast", &url);
    let numbers: Vec<f64> = ["backlog: ", "backlog_in_5m: "]
        .iter()
        .filter_map(|name| {
            let line = forecast.lines().find_map(|line| line.strip_prefix(name))?;
            line.split(' ').next()?.parse().ok()
        })
        .collect();
    assert!(
        matches!(numbers[..], [now, then] if now > 0.0 && then == now + 300.0),
        "{forecast}"
    );
    let clusters = run("two_clusters", &url);
    for line in [
        "eu: 4 series",
        "us: 2 series",
        "by_cluster: 2 of 2 reported",
        "inference/queue_length: 5 pods",
        "by_cluster: 1 of 2 reported; missing: us (",
    ] {
        assert!(clusters.contains(line), "{line} in {clusters}");
    }

    let aggregated = run("aggregate_sources", &url);
    let number = |name: &str| {
        let line = aggregated
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_suffix(" waiting"));
        line.and_then(|number| number.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("{name} in {aggregated}"))
    };
    assert_eq!(number("there: "), 6.0, "{aggregated}");
    assert_eq!(number("total: "), number("here: ") + 6.0, "{aggregated}");
}

#[test]
fn the_example_that_needs_no_prometheus_needs_none() {
    assert_eq!(run("testing_with_fixed_source", ""), "all as expected\n");
}

#[test]
fn the_controller_holds_while_half_of_its_pods_are_gone() {
    let said = run("controller_loop", "");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 6, "{said}");
    for turn in [0, 1, 4, 5] {
        assert!(
            lines[turn].starts_with("enough, ") && lines[turn].ends_with("; 4 of 4 reported"),
            "{said}"
        );
    }
    for turn in [2, 3] {
        assert!(
            lines[turn].starts_with("hold, Held (incomplete): Some("),
            "{said}"
        );
    }
}

#[test]
fn the_example_that_scrapes_pods_brings_its_own() {
    let scraped = run("scrape_pods", "");
    assert_eq!(scraped.matches(" waiting").count(), 2, "{scraped}");
    assert_eq!(scraped.matches(": unknown, unreachable").count(), 1, "{scraped}");
}

#[test]
fn the_example_that_asks_packs_of_pods_has_rates_at_its_second_look() {
    let tables = run("packs_on_pods", "");
    let cells: Vec<Vec<_>> = tables
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let pods = ["sglang-", "trtllm-", "vllm-", "vllm-"];
    // Two tables, each with a line of names before and an empty one after.
    assert_eq!(cells.len(), 2 * (pods.len() + 2), "{tables}");
    for (row, pod) in pods.iter().enumerate() {
        let (first, second) = (&cells[row + 1], &cells[row + pods.len() + 3]);
        assert!(first[0].starts_with(pod) && first[0] == second[0], "{tables}");
        // Also if the interval came round meanwhile, nothing has happened between the two scrapes.
        assert_eq!(first[4], "-", "{tables}");
        let is_known = |cell: &&str| cell.parse::<f64>().is_ok_and(|value| value > 0.0);
        assert!(second[1..].iter().all(is_known), "{tables}");
    }
}

#[test]
fn the_readme_shows_the_quick_start_as_it_is() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let example = std::fs::read_to_string(root.join("examples/quick_start.rs")).unwrap();
    let code = example.split_once("\n\n").unwrap().1;
    assert!(
        readme.contains(code),
        "the README's quick start differs from examples/quick_start.rs"
    );
}
