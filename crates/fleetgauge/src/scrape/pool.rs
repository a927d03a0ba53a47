//! All targets of a source: discovered, scraped while they are there, and let go.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetgauge_core::target::{Discovered, DiscoveryError, Target, TargetDiscovery, TargetLabels};
use fleetgauge_core::time::Clock;
use fleetgauge_promql::window::Window;
use futures_util::FutureExt;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::member::{Member, ScrapeLoop};
use super::scraper::Common;
use super::status::{ScrapeStats, TargetHealth, add};
use super::view::Gap;
use crate::client::failure::excerpt;

/// How long a discovery may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the window drops what is out of its retention.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(30);

/// The targets of one source.
pub(super) struct Pool {
    common: Arc<Common>,
    window: Window,
    discoveries: Mutex<Vec<Slot>>,
    /// Whether every discovery has answered once.
    is_discovered: watch::Sender<bool>,
    /// Held while the targets are brought in line with what is discovered.
    syncing: tokio::sync::Mutex<()>,
    running: Mutex<Running>,
    duplicate: AtomicUsize,
    dropped: AtomicUsize,
}

/// What is known from one discovery.
struct Slot {
    name: String,
    targets: Vec<TargetLabels>,
    has_answered: bool,
    /// Whether what it said first has come into effect: its targets are there.
    is_in_effect: bool,
    /// Why what is known is not as of now.
    problem: Option<DiscoveryError>,
}

#[derive(Default)]
struct Running {
    /// By position of discovery.
    members: Vec<Arc<Member>>,
    loops: HashMap<Target, Loop>,
    /// The tasks of the pool itself.
    tasks: Vec<JoinHandle<()>>,
    is_closed: bool,
    /// The targets that are left out.
    left_out: Vec<Gap>,
}

struct Loop {
    member: Arc<Member>,
    /// Dropped to stop it.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The targets that are to be scraped, and what is wrong with the others.
#[derive(Default)]
struct Wanted {
    targets: Vec<Target>,
    duplicate: usize,
    dropped: usize,
    left_out: Vec<Gap>,
}

// === impl Pool ===

impl Pool {
    /// Starts to discover and to scrape, in the background of the current runtime.
    pub(super) fn start(
        common: Common,
        window: Window,
        discoveries: Vec<Arc<dyn TargetDiscovery>>,
    ) -> Arc<Self> {
        let slot = |discovery: &Arc<dyn TargetDiscovery>| Slot {
            name: excerpt(discovery.name()),
            targets: Vec::new(),
            has_answered: false,
            is_in_effect: false,
            problem: None,
        };
        let pool = Arc::new(Self {
            common: Arc::new(common),
            window,
            discoveries: Mutex::new(discoveries.iter().map(slot).collect()),
            is_discovered: watch::Sender::new(discoveries.is_empty()),
            syncing: tokio::sync::Mutex::new(()),
            running: Mutex::default(),
            duplicate: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
        });
        let mut tasks = Vec::new();
        for (at, discovery) in discoveries.into_iter().enumerate() {
            tasks.push(tokio::spawn(Arc::clone(&pool).discover(at, discovery)));
        }
        let (window, clock) = (pool.window.clone(), pool.clock().clone());
        tasks.push(tokio::spawn(expire(window, clock)));
        pool.running().tasks = tasks;
        pool
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.common.clock
    }

    pub(super) fn common(&self) -> &Common {
        &self.common
    }

    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.running().members.clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.running().is_closed
    }

    /// Waits until every discovery has answered once, with targets or with an error.
    pub(super) async fn discovered(&self) {
        // The sender is our own, so it is there.
        let _ = self.is_discovered.subscribe().wait_for(|is| *is).await;
    }

    /// The discoveries' names.
    pub(super) fn discovery_names(&self) -> Vec<String> {
        self.slots().iter().map(|slot| slot.name.clone()).collect()
    }

    /// The discoveries that fail, and why; and whether they ever had an answer.
    pub(super) fn discovery_problems(&self) -> Vec<(String, DiscoveryError, bool)> {
        let slots = self.slots();
        let problem = |slot: &Slot| Some((slot.name.clone(), slot.problem.clone()?, slot.has_answered));
        slots.iter().filter_map(problem).collect()
    }

    /// What is not scraped: targets that are left out, and whatever a discovery that fails may know of.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let problems = self.discovery_problems().into_iter();
        let problems = problems.map(|(name, error, has_answered)| {
            let stay = if has_answered {
                "; the targets known before are used"
            } else {
                ""
            };
            Gap::of_any(format!("{name}: {error}{stay}"))
        });
        problems.chain(self.running().left_out.iter().cloned()).collect()
    }

    pub(super) fn stats(&self) -> ScrapeStats {
        let members = self.members();
        let up = |member: &&Arc<Member>| member.health() == TargetHealth::Up;
        ScrapeStats {
            targets: members.len(),
            targets_up: members.iter().filter(up).count(),
            targets_duplicate: self.duplicate.load(Ordering::Relaxed),
            targets_dropped: self.dropped.load(Ordering::Relaxed),
            window: self.window.stats(),
            ..self.common.counts.snapshot()
        }
    }

    /// Ends all tasks; gives them, to be waited for.
    pub(super) fn close(&self) -> Vec<JoinHandle<()>> {
        let mut running = self.running();
        running.is_closed = true;
        running.members.drain(..).for_each(|member| member.leave());
        let mut tasks = std::mem::take(&mut running.tasks);
        tasks.extend(running.loops.drain().map(|(_, one)| one.task));
        tasks.iter().for_each(JoinHandle::abort);
        tasks
    }

    async fn discover(self: Arc<Self>, at: usize, discovery: Arc<dyn TargetDiscovery>) {
        loop {
            let asked = AssertUnwindSafe(async { discovery.targets().await }).catch_unwind();
            let answer = match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_panic)) => Err(DiscoveryError::Aborted),
                Err(_) => Err(DiscoveryError::Timeout { after: PATIENCE }),
            };
            let has_changed = self.learn(at, answer);
            if has_changed {
                self.sync().await;
            }
            let is_discovered = {
                let mut slots = self.slots();
                slots[at].is_in_effect = true;
                slots.iter().all(|slot| slot.is_in_effect)
            };
            if is_discovered && !*self.is_discovered.borrow() {
                self.is_discovered.send_replace(true);
            }
            tokio::time::sleep(discovery.interval().max(Duration::from_millis(10))).await;
        }
    }

    /// Takes in what a discovery said. `true` if its targets are other ones than before.
    fn learn(&self, at: usize, answer: Result<Discovered, DiscoveryError>) -> bool {
        let mut slots = self.slots();
        let slot = &mut slots[at];
        let (targets, problem) = match answer {
            Ok(found) => (Some(found.targets), found.problem),
            Err(error) => (None, Some(error)),
        };
        let discovery = &slot.name;
        match (&slot.problem, &problem) {
            (None, Some(error)) => {
                let known = slot.targets.len();
                tracing::warn!(
                    discovery,
                    reason = error.reason(),
                    known,
                    "discovery failed: {error}; the targets known stay"
                );
            }
            (Some(_), None) => tracing::info!(discovery, "discovery works again"),
            _ => {}
        }
        add(
            &self.common.counts.discovery_failures,
            usize::from(problem.is_some()),
        );
        slot.problem = problem;
        let Some(targets) = targets else { return false };
        slot.has_answered = true;
        let has_changed = slot.targets != targets;
        slot.targets = targets;
        has_changed
    }

    /// Brings the targets in line with what is discovered.
    async fn sync(&self) {
        let _syncing = self.syncing.lock().await;
        let wanted = self.wanted();
        let stopped: Vec<_> = {
            let mut running = self.running();
            let kept: HashSet<&Target> = wanted.targets.iter().collect();
            running
                .loops
                .extract_if(|target, _| !kept.contains(target))
                .map(|(_, Loop { stop, task, .. })| {
                    drop(stop);
                    task
                })
                .collect()
        };
        // Their series go before others of the same labels come: a pod that is back at another address.
        let has_stopped = !stopped.is_empty();
        for task in stopped {
            let _ = task.await;
        }
        let gone_before = has_stopped.then(|| self.clock().wall());
        let mut running = self.running();
        if running.is_closed {
            return;
        }
        let mut dropped = wanted.dropped;
        let mut left_out = wanted.left_out;
        let mut members = Vec::with_capacity(wanted.targets.len());
        for target in wanted.targets {
            if let Some(one) = running.loops.get(&target) {
                members.push(Arc::clone(&one.member));
                continue;
            }
            let member = Member::new(target.clone(), self.clock().clone(), gone_before);
            match ScrapeLoop::new(Arc::clone(&member), Arc::clone(&self.common), &self.window) {
                Ok(one) => {
                    let (stop, stopped) = oneshot::channel();
                    let task = tokio::spawn(one.run(stopped));
                    members.push(Arc::clone(&member));
                    running.loops.insert(target, Loop { member, stop, task });
                }
                Err(error) => {
                    dropped += 1;
                    left_out.push(Gap::of_labels(Arc::new(target.labels().clone()), error));
                }
            }
        }
        running.members = members;
        self.duplicate.store(wanted.duplicate, Ordering::Relaxed);
        self.dropped.store(dropped, Ordering::Relaxed);
        if left_out.len() > MAX_LEFT_OUT {
            let more = left_out.len() - MAX_LEFT_OUT;
            left_out.truncate(MAX_LEFT_OUT);
            left_out.push(Gap::of_any(format!("{more} more targets are left out")));
        }
        if running.left_out != left_out && !left_out.is_empty() {
            let count = wanted.duplicate + dropped;
            let said: Vec<_> = left_out.iter().take(MAX_SAID).map(Gap::reason).collect();
            tracing::warn!(count, "targets are left out: {}", said.join("; "));
        }
        running.left_out = left_out;
    }

    /// Makes targets of what is discovered.
    fn wanted(&self) -> Wanted {
        let slots = self.slots();
        let config = &self.common.config;
        let mut wanted = Wanted::default();
        let mut known: HashMap<TargetLabels, Target> = HashMap::new();
        for labels in slots.iter().flat_map(|slot| &slot.targets) {
            let target = match Target::from_labels(labels, &config.defaults) {
                Ok(target) => target,
                Err(error) => {
                    wanted.drop(labels, error.to_string());
                    continue;
                }
            };
            // Two targets of the same labels would write the same series in turns, with each other's values.
            if let Some(first) = known.get(target.labels()) {
                wanted.duplicate += 1;
                // The same target may be found twice. Parameters are not part of a URL that is shown.
                if *first != target {
                    let (url, other) = (first.url(), target.url());
                    let why = format!("{other} has the same labels as {url}, which is scraped instead");
                    wanted.leave_out(target.labels(), why);
                }
                continue;
            }
            if wanted.targets.len() >= config.max_targets {
                let (limit, url) = (config.max_targets, target.url());
                wanted.drop(
                    target.labels(),
                    format!("{url} is not scraped: there are more than {limit} targets (max_targets)"),
                );
                continue;
            }
            known.insert(target.labels().clone(), target.clone());
            wanted.targets.push(target);
        }
        wanted
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.discoveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Wanted ===

/// How many of the targets that are left out are known one by one.
const MAX_LEFT_OUT: usize = 1_000;

/// How many of them are logged.
const MAX_SAID: usize = 5;

impl Wanted {
    fn drop(&mut self, labels: &TargetLabels, why: String) {
        self.dropped += 1;
        self.leave_out(labels, why);
    }

    fn leave_out(&mut self, labels: &TargetLabels, why: String) {
        // Those of discovery itself are not on series.
        let own = labels.iter().filter(|(name, _)| !name.starts_with("__"));
        let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.left_out.push(Gap::of_labels(Arc::new(own), why));
    }
}

// === helpers ===

async fn expire(window: Window, clock: Clock) {
    loop {
        tokio::time::sleep(EXPIRE_INTERVAL).await;
        let (window, at) = (window.clone(), clock.wall());
        // It walks over all series, of which there may be millions.
        let _ = tokio::task::spawn_blocking(move || window.expire(at)).await;
    }
}
