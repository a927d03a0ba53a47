//! What a fleet is made of, checked before it starts.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fleetgauge_core::time::{Clock, Timestamp};
use tokio::sync::Mutex;

use super::{Clockwork, Fleet, Member, PodId, Shared, drive};
use crate::dice::Dice;
use crate::gateway::Gateway;
use crate::pod::{Pod, Template};
use crate::server::Port;
use crate::variant::{EngineKind, Variant};
use crate::world::World;

/// When the time of a fleet begins that is stepped by hand: 2026-01-01T00:00:00Z.
pub const DEFAULT_EPOCH: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Describes a [`Fleet`].
#[derive(Clone, Debug)]
#[must_use = "a fleet runs once it is started"]
pub struct FleetBuilder {
    seed: u64,
    variants: Vec<Variant>,
    /// Simulated seconds per second; `None`: by hand.
    speed: Option<f64>,
    warm_up: Duration,
    starts_at: Option<Timestamp>,
}

/// Why a fleet could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two variants have the same namespace and name.
    #[error("variant {namespace}/{name} is there twice")]
    DuplicateVariant {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An endpoint picker's pool is not a variant of its namespace, or an endpoint picker itself.
    #[error(
        "endpoint picker {namespace}/{name} routes for {pool:?}, which is not a variant that could be routed to"
    )]
    UnknownPool {
        /// The picker's namespace.
        namespace: String,
        /// The picker.
        name: String,
        /// What it names.
        pool: String,
    },
    /// A speed that is not above 0 and at most [`FleetBuilder::MAX_SPEED`].
    #[error("speed {speed} is not above 0 and at most {}", FleetBuilder::MAX_SPEED)]
    Speed {
        /// What was asked for.
        speed: f64,
    },
    /// A port could not be opened. A pod takes one file descriptor, and one for each connection.
    #[error("no port for pod {pod} (number {number})")]
    Port {
        /// The pod.
        pod: String,
        /// How many pods had theirs.
        number: usize,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

// === impl FleetBuilder ===

impl Default for FleetBuilder {
    fn default() -> Self {
        Self {
            seed: 0,
            variants: Vec::new(),
            speed: Some(1.0),
            warm_up: Duration::ZERO,
            starts_at: None,
        }
    }
}

impl Fleet {
    /// An empty fleet to begin with.
    pub fn builder() -> FleetBuilder {
        FleetBuilder::default()
    }
}

impl FleetBuilder {
    /// The highest speed that can be asked for.
    pub const MAX_SPEED: f64 = 10_000.0;

    /// What chance depends on; 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a variant.
    pub fn variant(mut self, variant: Variant) -> Self {
        self.variants.push(variant);
        self
    }

    /// Simulated seconds per second of real time; 1 by default, at most [`FleetBuilder::MAX_SPEED`]. How fast it can be depends on the machine
    /// and the number of pods; where that can't keep up, the simulated time is slower.
    pub fn speed(mut self, speed: f64) -> Self {
        self.speed = Some(speed);
        self
    }

    /// The time stands still but for [`Fleet::step`].
    pub fn stepped_by_hand(mut self) -> Self {
        self.speed = None;
        self
    }

    /// Lets this much time pass before the fleet is there to be seen, so that its batches are full and its
    /// counters counted. Scripts begin after it.
    pub fn warm_up(mut self, time: Duration) -> Self {
        self.warm_up = time;
        self
    }

    /// The wall time at which the fleet starts, warm-up included; by default the present one, and for a fleet
    /// that is stepped by hand [`DEFAULT_EPOCH`], so that its pages depend on the seed alone.
    pub fn starts_at(mut self, time: Timestamp) -> Self {
        self.starts_at = Some(time);
        self
    }

    /// Opens the ports and starts the time. Must be called within a tokio runtime with I/O and time.
    ///
    /// *Errors*: variants that don't fit together, or ports that can't be had; what was opened is closed.
    pub async fn start(self) -> Result<Fleet, StartError> {
        self.check()?;
        let epoch = match (self.starts_at, self.speed) {
            (Some(time), _) => time.as_secs_f64(),
            (None, None) => DEFAULT_EPOCH.as_secs_f64(),
            (None, Some(_)) => Clock::system().wall().as_secs_f64() - self.warm_up.as_secs_f64(),
        };
        let mut members: Vec<Member> = Vec::new();
        let mut groups = Vec::new();
        let mut scripts = Vec::new();
        for variant in &self.variants {
            let key = format!("{}/{}", variant.namespace, variant.name);
            let names = variant
                .workload
                .pod_names(variant.replicas, &mut Dice::new(self.seed, &key));
            let template = Arc::new(Template::new(variant.clone(), epoch));
            let first = members.len();
            for (replica, name) in names.into_iter().enumerate() {
                let dice = Dice::new(self.seed, &format!("{key}/{replica}"));
                let pod = Arc::new(Pod::new(
                    Arc::clone(&template),
                    name,
                    dice,
                    0,
                    self.picker(variant),
                ));
                let port = Port::open(Arc::clone(&pod)).map_err(|source| StartError::Port {
                    pod: pod.lock().name.clone(),
                    number: members.len(),
                    source,
                })?;
                members.push(Member {
                    template: Arc::clone(&template),
                    pod,
                    port,
                });
            }
            let own = variant
                .scripts
                .iter()
                .filter(|(replica, _)| *replica < variant.replicas);
            scripts.extend(own.map(|(replica, script)| (PodId(first + replica), script.clone())));
            groups.push((variant, first..members.len()));
        }
        let pods = |range: &std::ops::Range<usize>| -> Vec<Arc<Pod>> {
            members[range.clone()]
                .iter()
                .map(|member| Arc::clone(&member.pod))
                .collect()
        };
        let mut worlds = Vec::new();
        for (variant, range) in &groups {
            let leads = |(picker, range): &&(&Variant, std::ops::Range<usize>)| {
                let pool = matches!(&picker.engine, EngineKind::Epp { pool } if *pool == variant.name);
                pool && picker.namespace == variant.namespace && !range.is_empty()
            };
            let leader = groups
                .iter()
                .find(leads)
                .map(|(_, range)| Arc::clone(&members[range.start].pod));
            let picker = leader.and_then(|pod| {
                let gateway = pod.lock().gateway()?;
                Some((gateway, pod))
            });
            let dice = Dice::new(
                self.seed,
                &format!("{}/{} users", variant.namespace, variant.name),
            );
            worlds.push(World::new((*variant).clone(), pods(range), picker, dice));
        }
        let clockwork = Clockwork {
            worlds,
            now_ns: 0,
            target_ns: 0,
            origin_ns: u64::MAX,
            scripts: Vec::new(),
        };
        let shared = Shared {
            members,
            clockwork: Mutex::new(clockwork),
            elapsed_ns: AtomicU64::new(0),
        };
        shared.step(self.warm_up).await;
        {
            let mut clockwork = shared.clockwork.lock().await;
            let origin_ns = clockwork.now_ns;
            clockwork.origin_ns = origin_ns;
            clockwork.scripts = scripts
                .into_iter()
                .map(|(pod, script)| (pod, origin_ns, script))
                .collect();
        }
        let shared = Arc::new(shared);
        let driver = self
            .speed
            .map(|speed| tokio::spawn(drive(Arc::clone(&shared), speed)));
        Ok(Fleet { shared, driver })
    }

    fn check(&self) -> Result<(), StartError> {
        if let Some(speed) = self
            .speed
            .filter(|speed| !(*speed > 0.0 && *speed <= Self::MAX_SPEED))
        {
            return Err(StartError::Speed { speed });
        }
        let mut seen = HashSet::new();
        for Variant {
            namespace,
            name,
            engine,
            ..
        } in &self.variants
        {
            let (namespace, name) = (namespace.clone(), name.clone());
            if let EngineKind::Epp { pool } = engine {
                let fits = |v: &Variant| {
                    v.namespace == namespace && v.name == *pool && !matches!(v.engine, EngineKind::Epp { .. })
                };
                if !self.variants.iter().any(fits) {
                    return Err(StartError::UnknownPool {
                        namespace,
                        name,
                        pool: pool.clone(),
                    });
                }
            }
            if !seen.insert((namespace.clone(), name.clone())) {
                return Err(StartError::DuplicateVariant { namespace, name });
            }
        }
        Ok(())
    }

    /// The gateway of a pod of `variant`, if that is an endpoint picker.
    fn picker(&self, variant: &Variant) -> Option<Arc<std::sync::Mutex<Gateway>>> {
        let EngineKind::Epp { pool } = &variant.engine else {
            return None;
        };
        let fits = |v: &&Variant| v.namespace == variant.namespace && v.name == *pool;
        let model = self
            .variants
            .iter()
            .find(fits)
            .map_or(variant.model.as_str(), |v| &v.model);
        Some(Arc::new(std::sync::Mutex::new(Gateway::new(
            &variant.namespace,
            pool,
            model,
        ))))
    }
}
