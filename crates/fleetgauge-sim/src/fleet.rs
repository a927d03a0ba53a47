//! The fleet: who is in it, how its time goes, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::fault::{Fault, Script};
use crate::pod::{Pod, Template};
use crate::server::{Order, Port};
use crate::variant::{EngineKind, Workload};
use crate::world::{TURN_NS, World, as_duration};

mod builder;

pub use builder::{DEFAULT_EPOCH, FleetBuilder, StartError};

/// A running fleet.
///
/// Not `Clone`: whoever holds it owns its ports and tasks, and dropping it ends them.
/// [`Fleet::shutdown`] also waits until they are gone.
#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    driver: Option<JoinHandle<()>>,
}

/// A pod of one fleet; stays the same when the pod gets another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(usize);

/// A pod as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimPod {
    /// For [`Fleet::inject`].
    pub id: PodId,
    /// Its namespace.
    pub namespace: String,
    /// Its present name.
    pub name: String,
    /// The variant that it belongs to.
    pub variant: String,
    /// What keeps it.
    pub workload: Workload,
    /// What it runs.
    pub engine: EngineKind,
    /// The model that it serves.
    pub model: String,
    /// Where it listens, or would if it were alive.
    pub address: SocketAddr,
    /// Where its metrics are, as in `http://127.0.0.1:40123/metrics`.
    pub url: String,
    /// What is wrong with it now.
    pub fault: Option<Fault>,
}

/// Why a fault could not be put in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The id is of another fleet.
    #[error("no such pod in this fleet")]
    UnknownPod,
    /// A pod that is named by its ordinal keeps its name when it is replaced.
    #[error("pod {pod} of {workload} is named by its ordinal and can't get another name")]
    FixedName {
        /// The pod.
        pod: String,
        /// What keeps it.
        workload: Workload,
    },
    /// The port of a pod that starts again could not be opened.
    #[error("the port of pod {pod} can't be opened")]
    Port {
        /// The pod.
        pod: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug)]
struct Shared {
    members: Vec<Member>,
    clockwork: Mutex<Clockwork>,
    /// Time since the start, warm-up left out, for those who don't wait for the clockwork.
    elapsed_ns: AtomicU64,
}

#[derive(Debug)]
struct Member {
    template: Arc<Template>,
    pod: Arc<Pod>,
    port: Port,
}

/// What moves the time; held while it moves.
#[derive(Debug)]
struct Clockwork {
    worlds: Vec<World>,
    /// The turns done end here.
    now_ns: u64,
    /// Where the time should stand; less than a turn ahead.
    target_ns: u64,
    /// When the fleet started: the end of the warm-up.
    origin_ns: u64,
    /// Pod, when the script began, and the script.
    scripts: Vec<(PodId, u64, Script)>,
}

// === impl Fleet ===

impl Fleet {
    /// All pods, as they are now, by variant and replica.
    pub fn pods(&self) -> Vec<SimPod> {
        let members = self.shared.members.iter().enumerate();
        members
            .map(|(index, member)| member.describe(PodId(index)))
            .collect()
    }

    /// The pod of that name, if there is one now.
    pub fn find(&self, namespace: &str, name: &str) -> Option<PodId> {
        let fits = |m: &Member| m.template.variant.namespace == namespace && m.pod.lock().name == name;
        self.shared.members.iter().position(fits).map(PodId)
    }

    /// Puts `fault` in force now; when it returns, clients meet it.
    ///
    /// *Errors*: an id of another fleet, a name that is fixed, a port that can't be opened again. Nothing is
    /// changed by the first two.
    pub async fn inject(&self, pod: PodId, fault: Fault) -> Result<(), FaultError> {
        let clockwork = self.shared.clockwork.lock().await;
        self.shared.suffer(pod, fault, clockwork.now_ns).await
    }

    /// Lets `script` happen to a pod, beginning now.
    ///
    /// *Errors*: an id of another fleet. A step that can't be done is left out.
    pub async fn schedule(&self, pod: PodId, script: Script) -> Result<(), FaultError> {
        if pod.0 >= self.shared.members.len() {
            return Err(FaultError::UnknownPod);
        }
        let mut clockwork = self.shared.clockwork.lock().await;
        let now_ns = clockwork.now_ns;
        clockwork.scripts.push((pod, now_ns, script));
        Ok(())
    }

    /// Lets simulated time pass; when it returns, it has, and faults that fell due are in force.
    ///
    /// Time goes in turns of 100 ms; what is less is kept for the next step, so how a time is cut into steps
    /// makes no difference.
    pub async fn step(&self, by: Duration) {
        self.shared.step(by).await;
    }

    /// Simulated time since the start, warm-up left out.
    pub fn elapsed(&self) -> Duration {
        as_duration(self.shared.elapsed_ns.load(Ordering::Relaxed))
    }

    /// All pods as targets in the format of Prometheus's `file_sd`, with labels `namespace`, `pod`, `job`
    /// (the variant). Dead pods are listed as well: a scraper should see that they are down.
    ///
    /// Source: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config>.
    pub fn targets_file_sd(&self) -> String {
        let groups = self.pods().into_iter().map(|pod| {
            serde_json::json!({
                "targets": [pod.address.to_string()],
                "labels": {"namespace": pod.namespace, "pod": pod.name, "job": pod.variant},
            })
        });
        format!("{:#}\n", serde_json::Value::Array(groups.collect()))
    }

    /// Ends the fleet; when it returns, no port and no task of it is left.
    pub async fn shutdown(mut self) {
        if let Some(driver) = self.driver.take() {
            driver.abort();
            // Cancelled, which is what was wanted.
            let _ = driver.await;
        }
        for member in &self.shared.members {
            member.port.close().await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The ports go with `shared`, which the driver holds too.
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

// === impl Member ===

impl Member {
    fn describe(&self, id: PodId) -> SimPod {
        let variant = &self.template.variant;
        let state = self.pod.lock();
        let address = self.port.address();
        SimPod {
            id,
            namespace: variant.namespace.clone(),
            name: state.name.clone(),
            variant: variant.name.clone(),
            workload: variant.workload.clone(),
            engine: variant.engine.clone(),
            model: variant.model.clone(),
            address,
            url: format!("http://{address}/metrics"),
            fault: state.fault,
        }
    }
}

// === impl Shared ===

impl Shared {
    async fn suffer(&self, id: PodId, fault: Fault, now_ns: u64) -> Result<(), FaultError> {
        let Some(member) = self.members.get(id.0) else {
            return Err(FaultError::UnknownPod);
        };
        let (done, was_dead, pod) = {
            let mut state = member.pod.lock();
            let was_dead = state.is_dead();
            (state.suffer(fault, now_ns), was_dead, state.name.clone())
        };
        if !done {
            return Err(FaultError::FixedName {
                pod,
                workload: member.template.variant.workload.clone(),
            });
        }
        let order = match fault {
            Fault::Die => Order::Close,
            Fault::Restart | Fault::Rename => Order::Open,
            _ if was_dead => Order::Open,
            _ => return Ok(()),
        };
        member
            .port
            .order(order)
            .await
            .map_err(|source| FaultError::Port { pod, source })
    }

    async fn step(&self, by: Duration) {
        let mut clockwork = self.clockwork.lock().await;
        let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        clockwork.target_ns = clockwork.target_ns.saturating_add(by_ns);
        while clockwork.target_ns - clockwork.now_ns >= TURN_NS {
            let (begin_ns, end_ns) = (clockwork.now_ns, clockwork.now_ns + TURN_NS);
            for (pod, fault) in clockwork.faults(begin_ns, end_ns) {
                // A script may ask for what can't be; the fleet goes on.
                let _ = self.suffer(pod, fault, begin_ns).await;
            }
            for world in &mut clockwork.worlds {
                world.turn(end_ns);
                // Between variants, so that scrapes of a large fleet don't wait for all of it.
                tokio::task::yield_now().await;
            }
            clockwork.now_ns = end_ns;
            self.elapsed_ns
                .store(end_ns.saturating_sub(clockwork.origin_ns), Ordering::Relaxed);
        }
    }
}

// === impl Clockwork ===

impl Clockwork {
    /// What is due at the beginning of a turn.
    fn faults(&self, begin_ns: u64, end_ns: u64) -> Vec<(PodId, Fault)> {
        let mut due = Vec::new();
        for (pod, start_ns, script) in &self.scripts {
            let since = |ns: u64| as_duration(ns.saturating_sub(*start_ns));
            due.extend(
                script
                    .due(since(begin_ns), since(end_ns))
                    .map(|fault| (*pod, fault)),
            );
        }
        due
    }
}

/// Moves the time of `shared` with the real one, `speed` times as fast.
async fn drive(shared: Arc<Shared>, speed: f64) {
    /// Short against a scrape interval, long against what a turn of a large fleet costs.
    const TICK: Duration = Duration::from_millis(200);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = ticks.tick().await;
    loop {
        let now = ticks.tick().await;
        // A machine that can't keep up gets a slower fleet, not one that hangs in arrears.
        let passed = now.saturating_duration_since(last).min(5 * TICK);
        last = now;
        let mut rest = passed.mul_f64(speed);
        // Turn by turn, so that a fault need not wait for the whole.
        while !rest.is_zero() {
            let turn = rest.min(as_duration(TURN_NS));
            shared.step(turn).await;
            rest -= turn;
        }
    }
}
