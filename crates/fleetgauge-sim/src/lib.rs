//! A simulated inference fleet: pods that serve realistic `/metrics` over real HTTP.
//!
//! For the demo, the tests and the benches, and for anybody who wants to point a Prometheus at a fleet
//! without owning one. Every pod is an HTTP server on a port of its own of the loopback interface; behind it
//! a small queueing model (arrivals, batch, KV blocks, prefix cache, preemption) drives the very metrics that
//! vLLM, SGLang, TensorRT-LLM or an endpoint picker expose. Pods fail on demand or by script.
//!
//! The same seed and the same steps give the same pages, byte for byte (but for the ports, which the system
//! chooses and an endpoint picker shows). No environment is read, and nothing
//! is kept beside the [`Fleet`]: when it is dropped, its ports and tasks go.
//!
//! ```
//! use std::time::Duration;
//! use fleetgauge_sim::{EngineKind, Fault, Fleet, Load, Variant};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let llama = Variant::new("chat", "llama", EngineKind::Vllm { ranks: 1 }, "meta-llama/Llama-3.1-8B-Instruct")
//!     .with_replicas(2)
//!     .with_load(Load::Steady { rate: 4.0 });
//! let fleet = Fleet::builder().seed(7).variant(llama).stepped_by_hand().start().await?;
//! fleet.step(Duration::from_secs(30)).await;
//! let pod = &fleet.pods()[0];
//! println!("curl {}", pod.url); // http://127.0.0.1:<port>/metrics
//! fleet.inject(pod.id, Fault::Die).await?; // connection refused from here on
//! fleet.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! To read on: `scheduler` is the model, `page` how pages are made, `world` how time goes.

mod dice;
mod load;

mod fault;
mod variant;

mod histogram;
mod kv;
mod request;
mod scheduler;
mod tally;

mod number;
mod page;
mod process;

mod sglang;
mod trtllm;
mod vllm;

mod epp;
mod gateway;

mod pod;
mod server;
mod world;

mod demo;
mod fleet;

pub use fault::{Fault, Script};
pub use fleet::{DEFAULT_EPOCH, FaultError, Fleet, FleetBuilder, PodId, SimPod, StartError};
pub use load::{Lengths, Load, Shape};
pub use scheduler::Limits;
pub use variant::{EngineKind, Variant, Workload, WorkloadKind};

/// Doors for the benches; not part of the public face.
#[doc(hidden)]
pub mod bench;
