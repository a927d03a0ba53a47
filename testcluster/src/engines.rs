//! Simulated engines under the load of users, and what they truly have.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

/// How long a request takes; what users do next is done then.
const TICK: Duration = Duration::from_millis(50);

/// How many requests come, or are over, at each tick.
const AT_ONCE: u32 = 2;

/// How many requests an engine works at; the others wait.
const SLOTS: u32 = 4;

/// How far back it is known what there was.
const KEPT: Duration = Duration::from_secs(60);

/// The engines of Deployments, a pod's by its label `app`. Each Deployment has users, each of whom has one request with one of its
/// engines at any time: so what is asked of it does not depend on how many engines there are, and how much waits does.
///
/// One handle; its clones are the same engines. Time goes while the runtime does in which it was started.
#[derive(Clone)]
pub struct Engines {
    state: Arc<Mutex<State>>,
    _ticker: Arc<Ticker>,
}

struct Ticker(AbortHandle);

#[derive(Default)]
struct State {
    users: BTreeMap<String, u32>,
    /// By the pod's UID.
    engines: BTreeMap<String, Engine>,
    is_mute: bool,
    /// What all engines of each Deployment had, from the oldest on.
    before: VecDeque<(Instant, HashMap<String, u32>)>,
}

struct Engine {
    deployment: String,
    requests: u32,
    hangs: bool,
}

/// A pod's place among the engines, until its last answer is over.
struct Place {
    uid: String,
    state: Arc<Mutex<State>>,
}

// === impl Engines ===

impl Engines {
    /// Starts time, within the present runtime.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let ticking = state.clone();
        let ticker = tokio::spawn(async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                lock(&ticking).tick();
            }
        });
        Self {
            state,
            _ticker: Arc::new(Ticker(ticker.abort_handle())),
        }
    }

    /// What a pod answers, for a [`NodeAgent`](crate::NodeAgent): its page, as vLLM names things.
    pub fn router(&self, pod: &Pod) -> Router {
        let uid = pod.uid().unwrap_or_default();
        let deployment = pod.labels().get("app").cloned().unwrap_or_default();
        let engine = Engine {
            deployment,
            requests: 0,
            hangs: false,
        };
        lock(&self.state).engines.insert(uid.clone(), engine);
        let place = Arc::new(Place {
            uid,
            state: self.state.clone(),
        });
        let page = async move || match place.page() {
            Some(page) => page,
            None => future::pending().await,
        };
        Router::new().route("/metrics", get(page))
    }

    /// From now on a Deployment has so many users.
    pub fn set_users(&self, deployment: &str, users: u32) {
        self.state().users.insert(deployment.to_owned(), users);
    }

    /// Half of the engines of each Deployment, rounded up, do not answer any more, and what they work at is not done.
    pub fn hang_half(&self) {
        let mut state = self.state();
        let deployments: Vec<String> = state.users.keys().cloned().collect();
        for deployment in deployments {
            let mut engines: Vec<_> = state.of(&deployment).collect();
            let half = engines.len().div_ceil(2);
            engines
                .iter_mut()
                .take(half)
                .for_each(|engine| engine.hangs = true);
        }
    }

    /// All answer, and none of them with a metric of its own.
    pub fn mute(&self) {
        self.state().is_mute = true;
    }

    /// All is well again.
    pub fn heal(&self) {
        let mut state = self.state();
        state.is_mute = false;
        state.engines.values_mut().for_each(|engine| engine.hangs = false);
    }

    /// How many engines a Deployment has.
    pub fn count(&self, deployment: &str) -> usize {
        self.state().of(deployment).count()
    }

    /// How many requests all engines of a Deployment have now.
    pub fn requests(&self, deployment: &str) -> u32 {
        self.state().of(deployment).map(|engine| engine.requests).sum()
    }

    /// How many of them wait.
    pub fn waiting(&self, deployment: &str) -> u32 {
        self.state().of(deployment).map(|engine| engine.waiting()).sum()
    }

    /// The fewest requests that a Deployment's engines have had within this time, a minute at most.
    pub fn fewest(&self, deployment: &str, within: Duration) -> u32 {
        let state = self.state();
        let since = Instant::now().checked_sub(within);
        let of = |(_, all): &(Instant, HashMap<String, u32>)| all.get(deployment).copied().unwrap_or(0);
        let recent = state.before.iter().rev();
        let recent = recent.take_while(|(at, _)| since.is_none_or(|since| *at >= since));
        recent.map(of).min().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl State ===

impl State {
    fn of(&mut self, deployment: &str) -> impl Iterator<Item = &mut Engine> {
        self.engines
            .values_mut()
            .filter(move |engine| engine.deployment == deployment)
    }

    fn tick(&mut self) {
        let users = self.users.clone();
        let mut all = HashMap::new();
        for (deployment, users) in users {
            let requests: u32 = self.of(&deployment).map(|engine| engine.requests).sum();
            if requests == users {
                self.balance(&deployment);
            }
            for _ in 0..AT_ONCE.min(users.saturating_sub(requests)) {
                self.add(&deployment);
            }
            for _ in 0..AT_ONCE.min(requests.saturating_sub(users)) {
                self.take(&deployment);
            }
            let requests = self.of(&deployment).map(|engine| engine.requests).sum();
            all.insert(deployment, requests);
        }
        let now = Instant::now();
        self.before.push_back((now, all));
        while self.before.front().is_some_and(|(at, _)| now - *at > KEPT) {
            self.before.pop_front();
        }
    }

    /// One goes to another engine, where it has to wait less.
    fn balance(&mut self, deployment: &str) {
        let healthy = || {
            self.engines
                .values()
                .filter(|engine| engine.is_at_work(deployment))
        };
        let most = healthy().map(|engine| engine.requests).max();
        let least = healthy().map(|engine| engine.requests).min();
        if let (Some(most), Some(least)) = (most, least)
            && most > least + 1
        {
            self.take(deployment);
            self.add(deployment);
        }
    }

    fn add(&mut self, deployment: &str) {
        let healthy = self.of(deployment).filter(|engine| !engine.hangs);
        if let Some(engine) = healthy.min_by_key(|engine| engine.requests) {
            engine.requests += 1;
        }
    }

    fn take(&mut self, deployment: &str) {
        let healthy = self.of(deployment).filter(|engine| !engine.hangs);
        if let Some(engine) = healthy.max_by_key(|engine| engine.requests) {
            engine.requests = engine.requests.saturating_sub(1);
        }
    }
}

// === impl Engine ===

impl Engine {
    fn is_at_work(&self, deployment: &str) -> bool {
        self.deployment == deployment && !self.hangs
    }

    fn waiting(&self) -> u32 {
        self.requests.saturating_sub(SLOTS)
    }
}

// === impl Place ===

impl Place {
    /// `None` while it hangs.
    fn page(&self) -> Option<String> {
        let state = lock(&self.state);
        let engine = state.engines.get(&self.uid)?;
        if engine.hangs {
            return None;
        }
        if state.is_mute {
            return Some("python_info{version=\"3.12\"} 1\n".to_owned());
        }
        let (waiting, running) = (engine.waiting(), engine.requests.min(SLOTS));
        Some(format!(
            "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{model_name=\"llama\"}} {running}\n\
             # TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{{model_name=\"llama\"}} {waiting}\n"
        ))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.state).engines.remove(&self.uid);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
