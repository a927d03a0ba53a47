//! The fleet of the demo.

use std::time::Duration;

use crate::fault::{Fault, Script};
use crate::fleet::{Fleet, FleetBuilder};
use crate::load::{Lengths, Load, Shape};
use crate::scheduler::Limits;
use crate::variant::{EngineKind, Variant, WorkloadKind};

impl Fleet {
    /// A fleet worth looking at: `pods` pods in four variants and two namespaces. Of five or more, one misbehaves
    /// by script. It is not started yet, so that seed, speed and clock can be set.
    pub fn demo(pods: usize) -> FleetBuilder {
        fleet(pods)
    }
}

/// Four variants in two namespaces, as many pods as asked for: with fewer than four, as many variants as
/// there are pods.
fn fleet(pods: usize) -> FleetBuilder {
    let seconds = Duration::from_secs;
    let picker = usize::from(pods >= 4);
    let two_rank = if pods >= 2 { (pods / 5).max(1) } else { 0 };
    let sglang = if pods >= 3 { (pods * 3 / 10).max(1) } else { 0 };
    let llama = pods - picker - two_rank - sglang;

    let llama = Variant::new(
        "chat",
        "llama-8b",
        EngineKind::Vllm { ranks: 1 },
        "meta-llama/Llama-3.1-8B-Instruct",
    )
    .with_workload(WorkloadKind::Deployment, "vllm-llama-8b")
    .with_replicas(llama)
    .with_load(Load::Burst {
        base: 4.0,
        peak: 14.0,
        period: seconds(60),
        length: seconds(15),
    })
    // The second pod is the one that misbehaves; a lone one is left in peace.
    .with_script(1, misbehaviour());
    let picker = Variant::new(
        "chat",
        "llama-8b-epp",
        EngineKind::Epp {
            pool: "llama-8b".into(),
        },
        "",
    )
    .with_replicas(picker);
    let deepseek = Variant::new(
        "chat",
        "deepseek",
        EngineKind::Vllm { ranks: 2 },
        "deepseek-ai/DeepSeek-V3.1",
    )
    .with_workload(WorkloadKind::LeaderWorkerSet, "vllm-deepseek")
    .with_replicas(two_rank)
    .with_limits(Limits {
        step_seconds: 0.022,
        step_seconds_per_prefill_token: 0.000_12,
        ..Limits::default()
    })
    .with_shape(Shape {
        prompt: Lengths::new(900.0, 0.8, 16_384),
        ..Shape::default()
    })
    .with_load(Load::Ramp {
        from: 2.0,
        to: 7.0,
        over: seconds(300),
    });
    let qwen = Variant::new(
        "research",
        "qwen-7b",
        EngineKind::Sglang { ranks: 1 },
        "Qwen/Qwen2.5-7B-Instruct",
    )
    .with_workload(WorkloadKind::Deployment, "sglang-qwen-7b")
    .with_replicas(sglang)
    .with_load(Load::Steady { rate: 5.0 });
    // Enough time for full batches; a large fleet shows itself at once instead.
    let warm_up = if pods <= 100 { seconds(30) } else { seconds(3) };
    let variants = [llama, picker, deepseek, qwen]
        .into_iter()
        .filter(|variant| variant.replicas > 0);
    variants
        .fold(Fleet::builder(), FleetBuilder::variant)
        .warm_up(warm_up)
}

/// A round through what a scraper should survive, with quiet in between.
fn misbehaviour() -> Script {
    let seconds = Duration::from_secs;
    Script::new()
        .at(seconds(10), Fault::Hang)
        .at(seconds(22), Fault::Recover)
        .at(seconds(34), Fault::ServerError)
        .at(seconds(46), Fault::Recover)
        .at(seconds(58), Fault::NotANumber)
        .at(seconds(70), Fault::Recover)
        .at(seconds(82), Fault::Die)
        .at(seconds(94), Fault::Recover)
        .at(seconds(106), Fault::CutOff)
        .at(seconds(118), Fault::Recover)
        .at(seconds(130), Fault::Rename)
        .repeat_every(seconds(150))
}
