//! Serves a fleet until Ctrl-C: `cargo run --release -p fleetgauge-sim --example serve -- [PODS] [FILE_SD] [large]`.
//!
//! The targets are written to the second argument, for a real Prometheus, or printed. With `large` all pods
//! are vLLM servers with two ranks, whose pages are about 100 KB: for measuring collectors.

use fleetgauge_sim::{EngineKind, Fleet, Load, Variant};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let pods = arguments.next().map_or(Ok(10), |pods| pods.parse())?;
    let file = arguments.next();
    let fleet = match arguments.next().as_deref() {
        Some("large") => {
            let large = Variant::new(
                "ns",
                "large",
                EngineKind::Vllm { ranks: 2 },
                "meta-llama/Llama-3.1-8B-Instruct",
            )
            .with_replicas(pods)
            .with_load(Load::Steady { rate: 5.0 });
            Fleet::builder().variant(large)
        }
        _ => Fleet::demo(pods),
    };
    let started = std::time::Instant::now();
    let fleet = fleet.start().await?;
    eprintln!("{pods} pods after {:?}", started.elapsed());
    match file {
        Some(file) => std::fs::write(file, fleet.targets_file_sd())?,
        None => print!("{}", fleet.targets_file_sd()),
    }
    tokio::signal::ctrl_c().await?;
    fleet.shutdown().await;
    Ok(())
}
