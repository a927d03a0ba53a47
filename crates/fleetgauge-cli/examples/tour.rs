//! A tour of the command line on a real Prometheus: starts one on a free loopback port with ten minutes of a
//! small made-up fleet in it, asks it, and stops it. `cargo xtask tour` runs it with what it needs.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use fleetgauge_testkit::{OpenMetrics, Prometheus};

const NAMESPACE: (&str, &str) = ("namespace", "llm");
const MODEL: (&str, &str) = ("model_name", "llama-8b");

fn main() -> Result<()> {
    // Cargo puts the binary one directory above its examples.
    let binary = std::env::current_exe()?.with_file_name("../fleetgauge");
    let binary = binary
        .canonicalize()
        .context("build the binary first: cargo build -p fleetgauge-cli")?;
    let prometheus = Prometheus::builder().data(&fleet()?).start()?;
    let params = ["-p", "namespace=llm", "-p", "modelID=llama-8b"];
    for query in [
        "inference/kv_cache_usage",
        "inference/queue_length",
        "inference/avg_ttft",
    ] {
        let args = [&["query", query][..], &params].concat();
        run(&binary, &args, &prometheus.url())?;
    }
    // A question without an answer says so; it does not say 0.
    let args = [
        "query",
        "inference/queue_length",
        "-p",
        "namespace=llm",
        "-p",
        "modelID=none-such",
    ];
    run(&binary, &args, &prometheus.url())
}

fn run(binary: &Path, args: &[&str], url: &str) -> Result<()> {
    println!("$ fleetgauge {} --prometheus {url}", args.join(" "));
    let status = Command::new(binary)
        .args(args)
        .args(["--prometheus", url])
        .status()?;
    ensure!(status.success(), "fleetgauge ended with {status}");
    println!();
    Ok(())
}

/// A vLLM server with two data-parallel ranks, one with a single rank, one that is idle, and an SGLang server.
fn fleet() -> Result<OpenMetrics> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let now = u32::try_from(now)?;
    let all = (now - 600, now + 60, 15);
    let mut fleet = OpenMetrics::new();
    let vllm = [
        ("llama-8b-7d9c5b6f4-x2x9z", "0", 0.62, 6.0, 9.0),
        ("llama-8b-7d9c5b6f4-x2x9z", "1", 0.91, 3.0, 11.0),
        ("llama-8b-7d9c5b6f4-kq7hd", "0", 0.34, 0.0, 4.0),
        ("llama-8b-7d9c5b6f4-m4vnc", "0", 0.0, 0.0, 0.0),
    ];
    for (pod, engine, usage, waiting, rate) in vllm {
        let labels = [NAMESPACE, MODEL, ("pod", pod), ("engine", engine)];
        fleet = fleet
            .steady("vllm:kv_cache_usage_perc", &labels, usage, all)
            .steady("vllm:num_requests_waiting", &labels, waiting, all);
        for (name, step) in [
            ("vllm:time_to_first_token_seconds_sum", 0.18 * rate),
            ("vllm:time_to_first_token_seconds_count", rate),
        ] {
            let samples: Vec<_> = (0..=44_u32)
                .map(|i| (f64::from(now - 600 + 15 * i), f64::from(i) * step))
                .collect();
            fleet = fleet.series(name, &labels, &samples);
        }
    }
    let labels = [NAMESPACE, MODEL, ("pod", "llama-8b-sglang-0"), ("dp_rank", "0")];
    let queue = [&labels[..], &[("priority", "")]].concat();
    Ok(fleet.steady("sglang:token_usage", &labels, 0.48, all).steady(
        "sglang:num_queue_reqs",
        &queue,
        2.0,
        all,
    ))
}
