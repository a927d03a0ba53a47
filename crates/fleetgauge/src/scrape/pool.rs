//! All targets of a source: discovered, scraped while they are there, and let go.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetgauge_core::target::{
    ADDRESS, Discovered, DiscoveryError, Snapshot, Target, TargetDefaults, TargetDiscovery, TargetError,
    TargetLabels,
};
use fleetgauge_core::time::{Clock, Moment, Timestamp};
use fleetgauge_promql::window::Window;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::active::{ActiveTarget, Need, ScrapeLoop};
use super::config::ScrapeConfig;
use super::gap::{Gap, GapReason};
use super::page::Past;
use super::scraper::Common;
use super::shard::KnownTargets;
use super::status::{ScrapeStats, TargetHealth, add};
use super::targets::Targets;
use crate::client::failure::excerpt;

/// How long after its start a source waits for what its discoveries tell first.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// How long changes are gathered before they take effect, all at once.
const GATHER: Duration = Duration::from_millis(100);

/// How often the window drops what is out of its retention.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(30);

/// How many of the targets that are left out are known one by one.
const MAX_LEFT_OUT: usize = 1_000;

/// How many of them are logged.
const MAX_LOGGED: usize = 5;

/// The targets of one source.
pub(super) struct Pool {
    common: Arc<Common>,
    window: Window,
    discovery_names: Vec<Arc<str>>,
    started_at: Timestamp,
    /// Until when an answer waits for discoveries that have told nothing yet.
    first_word_until: Instant,
    /// Whether every discovery has told something, and it has taken effect. Sent whenever something does.
    is_discovered: watch::Sender<bool>,
    running: Mutex<Running>,
    duplicate: AtomicUsize,
    dropped: AtomicUsize,
    relabel_dropped: AtomicUsize,
    of_other_shards: AtomicUsize,
    known_targets: Mutex<KnownTargets>,
}

/// The targets of one moment, and what is wrong with what is known of them.
pub(super) struct Known {
    pub(super) targets: Arc<Targets>,
    /// Why there are none, if there are none.
    pub(super) none: Option<Arc<str>>,
    pub(super) gaps: Arc<[Gap]>,
    pub(super) is_closed: bool,
}

/// What is known from one discovery.
struct Slot {
    name: Arc<str>,
    /// The newest of what it told. `None`: nothing yet.
    known: Option<Discovered>,
}

/// What comes from a discovery.
enum Word {
    Snapshot(Snapshot),
    Panicked,
    Ended,
}

/// What a word has changed.
enum Change {
    Nothing,
    /// Only what is wrong.
    Problems,
    Targets,
    /// The discovery had told nothing before.
    FirstWord,
}

/// What has taken effect: all of it changes at once.
#[derive(Default)]
struct Running {
    targets: Arc<Targets>,
    none: Option<Arc<str>>,
    loops: HashMap<Target, Loop>,
    /// The tasks of the pool itself.
    tasks: Vec<JoinHandle<()>>,
    is_closed: bool,
    /// What is wrong with the discoveries.
    failing: Vec<Gap>,
    /// The targets that are left out.
    left_out: Vec<Gap>,
    /// Both of them, for those who ask.
    gaps: Arc<[Gap]>,
    /// Whether all targets have been known once: what appears after that is new.
    was_full: bool,
    /// Targets that have answered and went not long ago: they are not new when they are back.
    went: HashMap<Target, (Moment, Past)>,
}

struct Loop {
    active: Arc<ActiveTarget>,
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
    relabel_dropped: usize,
    of_other_shards: usize,
    known: KnownTargets,
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
            name: excerpt(discovery.name()).into(),
            known: None,
        };
        let slots: Vec<_> = discoveries.iter().map(slot).collect();
        let mut running = Running::default();
        running.set_failing(failing(&slots));
        let pool = Arc::new(Self {
            started_at: common.clock.wall(),
            common: Arc::new(common),
            window,
            discovery_names: slots.iter().map(|slot| Arc::clone(&slot.name)).collect(),
            first_word_until: Instant::now() + FIRST_WORD,
            is_discovered: watch::Sender::new(discoveries.is_empty()),
            running: Mutex::new(running),
            duplicate: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            relabel_dropped: AtomicUsize::new(0),
            of_other_shards: AtomicUsize::new(0),
            known_targets: Mutex::default(),
        });
        let words = stream::select_all((discoveries.into_iter().enumerate()).map(words_of));
        let following = tokio::spawn(Arc::clone(&pool).follow(slots, words));
        let expiring = tokio::spawn(expire(pool.window.clone(), pool.clock().clone()));
        pool.running().tasks = vec![following, expiring];
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

    /// Before this nothing can have been kept at `now`: it was not scraped yet, or is out of the retention.
    pub(super) fn kept_since(&self, now: Timestamp) -> Timestamp {
        let retention = self.window.config().retention.as_millis();
        let retention = i64::try_from(retention).unwrap_or(i64::MAX);
        self.started_at
            .max(Timestamp::from_millis(now.as_millis().saturating_sub(retention)))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.running().is_closed
    }

    /// Waits until every discovery has told something, be it an error; at most until `deadline`, and not later
    /// than some seconds after the start. Who has told nothing by then, [`known`](Self::known) says. Targets that
    /// are known before are asked meanwhile.
    pub(super) async fn discovered(&self, need: Need, deadline: Instant) {
        let mut is_discovered = self.is_discovered.subscribe();
        let until = deadline.min(self.first_word_until);
        while !*is_discovered.borrow_and_update() {
            self.known()
                .targets
                .all()
                .iter()
                .for_each(|active| active.ask(need));
            if tokio::time::timeout_at(until, is_discovered.changed())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// The discoveries' names.
    pub(super) fn discovery_names(&self) -> &[Arc<str>] {
        &self.discovery_names
    }

    /// The errors of the discoveries that fail.
    pub(super) fn discovery_errors(&self) -> Vec<(String, DiscoveryError)> {
        let running = self.running();
        let error = |gap: &Gap| match &gap.reason {
            GapReason::Discovery { discovery, error, .. } => Some((discovery.to_string(), error.clone())),
            _ => None,
        };
        running.failing.iter().filter_map(error).collect()
    }

    /// The targets, and what is not scraped: those that are left out, and whatever a discovery that fails or
    /// has told nothing yet may know of.
    pub(super) fn known(&self) -> Known {
        let running = self.running();
        Known {
            targets: Arc::clone(&running.targets),
            none: running.none.clone(),
            gaps: Arc::clone(&running.gaps),
            is_closed: running.is_closed,
        }
    }

    pub(super) fn stats(&self) -> ScrapeStats {
        let targets = Arc::clone(&self.running().targets);
        let targets = targets.all();
        let up = |active: &&Arc<ActiveTarget>| active.health() == TargetHealth::Up;
        ScrapeStats {
            targets: targets.len(),
            targets_up: targets.iter().filter(up).count(),
            targets_duplicate: self.duplicate.load(Ordering::Relaxed),
            targets_dropped: self.dropped.load(Ordering::Relaxed),
            targets_relabel_dropped: self.relabel_dropped.load(Ordering::Relaxed),
            targets_of_other_shards: self.of_other_shards.load(Ordering::Relaxed),
            window: self.window.stats(),
            ..self.common.counts.snapshot()
        }
    }

    /// The targets that are known of, whichever shard scrapes them.
    pub(super) fn known_targets(&self) -> KnownTargets {
        *self.all_known()
    }

    fn all_known(&self) -> MutexGuard<'_, KnownTargets> {
        self.known_targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all tasks; gives them, to be waited for.
    pub(super) fn close(&self) -> Vec<JoinHandle<()>> {
        let mut running = self.running();
        running.is_closed = true;
        let targets = std::mem::take(&mut running.targets);
        targets.all().iter().for_each(|active| active.leave());
        let mut tasks = std::mem::take(&mut running.tasks);
        tasks.extend(running.loops.drain().map(|(_, one)| one.task));
        tasks.iter().for_each(JoinHandle::abort);
        tasks
    }

    /// Takes in what the discoveries tell. What one tells first takes effect at once; changes are gathered.
    async fn follow(
        self: Arc<Self>,
        mut slots: Vec<Slot>,
        mut words: impl StreamExt<Item = (usize, Word)> + Unpin,
    ) {
        let mut have_targets_changed = false;
        let mut apply_at: Option<Instant> = None;
        loop {
            let word = match apply_at {
                None => words.next().await,
                Some(at) => tokio::time::timeout_at(at, words.next()).await.ok().flatten(),
            };
            let now = Instant::now();
            let change = match word {
                Some((at, word)) => self.learn(&mut slots[at], word),
                // All have ended, and this has taken effect.
                None if apply_at.is_none() => return,
                None => {
                    apply_at = Some(now);
                    Change::Nothing
                }
            };
            match change {
                Change::Nothing => {}
                // If targets are to come with it, it waits for them.
                Change::Problems => apply_at = apply_at.or(Some(now)),
                Change::Targets => {
                    have_targets_changed = true;
                    apply_at = apply_at.or(Some(now + GATHER));
                }
                Change::FirstWord => {
                    have_targets_changed = true;
                    apply_at = Some(now);
                }
            }
            // Looked at also when there is always a next word.
            if apply_at.is_some_and(|at| at <= now) {
                apply_at = None;
                self.apply(&slots, std::mem::take(&mut have_targets_changed))
                    .await;
            }
        }
    }

    /// Takes in what a discovery told.
    fn learn(&self, slot: &mut Slot, word: Word) -> Change {
        let discovery = &*slot.name;
        let before = slot.known.as_ref();
        let targets_before = before.map_or(&[][..], |known| &known.targets);
        let stay_with = |error| Discovered::new(targets_before.to_vec()).with_problems([error]);
        let problems_before = before.map_or(&[][..], |known| &known.problems);
        let now = match word {
            Word::Snapshot(Snapshot::NotYet) => return Change::Nothing,
            Word::Snapshot(Snapshot::Known(found)) => found,
            Word::Panicked => stay_with(DiscoveryError::Aborted),
            // After a panic there is nothing new to tell.
            Word::Ended if problems_before == [DiscoveryError::Aborted] => return Change::Nothing,
            Word::Ended => stay_with(DiscoveryError::Ended),
        };
        let is_wrong = |error: &&DiscoveryError| !error.is_starting();
        let wrong_before = problems_before.iter().find(is_wrong);
        match (wrong_before, now.problems.iter().find(is_wrong)) {
            (None, Some(error)) => {
                let (reason, known) = (error.reason(), now.targets.len());
                tracing::warn!(
                    discovery,
                    reason,
                    known,
                    "discovery failed: {error}; the targets known stay"
                );
            }
            (Some(_), None) => tracing::info!(discovery, "discovery works again"),
            _ => {}
        }
        let counts = &self.common.counts;
        let is_failing = now.problems.iter().any(|error| !error.is_starting());
        add(&counts.discovery_failures, usize::from(is_failing));
        let change = match before {
            None => Change::FirstWord,
            // Those of the same pointer are not looked at.
            Some(before) if before.targets != now.targets => Change::Targets,
            Some(before) if before.problems != now.problems => Change::Problems,
            Some(_) => Change::Nothing,
        };
        slot.known = Some(now);
        change
    }

    /// Lets what is known take effect.
    async fn apply(&self, slots: &[Slot], have_targets_changed: bool) {
        if have_targets_changed {
            self.sync(slots).await;
        } else {
            self.tell_problems(&mut self.running(), slots);
        }
        let is_sound = |slot: &Slot| {
            let known = slot.known.as_ref();
            known.is_some_and(|known| known.problems.iter().all(DiscoveryError::is_of_target))
        };
        if slots.iter().all(is_sound) {
            self.running().was_full = true;
        }
        if slots.iter().all(|slot| slot.known.is_some()) {
            self.is_discovered
                .send_if_modified(|is| !std::mem::replace(is, true));
        }
    }

    /// Brings the targets in line with what is discovered.
    async fn sync(&self, slots: &[Slot]) {
        let wanted = self.wanted(slots);
        let stopped: Vec<_> = {
            let mut running = self.running();
            let Running { loops, went, .. } = &mut *running;
            let (now, starting_for) = (self.clock().now(), self.common.config.starting_for);
            went.retain(|_, (left, _)| now.saturating_since(*left) < starting_for);
            let kept: HashSet<&Target> = wanted.targets.iter().collect();
            loops
                .extract_if(|target, _| !kept.contains(target))
                .map(|(target, Loop { active, stop, task })| {
                    drop(stop);
                    (target, active, task)
                })
                .collect()
        };
        // Their series go before others of the same labels come: a pod that is back at another address.
        let mut gone_before = None;
        let mut went: Vec<(Target, Past)> = Vec::new();
        for (target, active, task) in stopped {
            let _ = task.await;
            let max_step = self.common.config.window.max_clock_step;
            gone_before = gone_before.max(Some(active.after_last(self.clock().wall(), max_step)));
            let past = active.take_past();
            if active.has_answered() || !past.is_empty() {
                let past = match went.last() {
                    Some((_, other)) => past.sharing(other),
                    None => past,
                };
                went.push((target, past));
            }
        }
        let mut running = self.running();
        let now = self.clock().now();
        let went = went.into_iter().map(|(target, past)| (target, (now, past)));
        running.went.extend(went);
        if running.is_closed {
            return;
        }
        let mut dropped = wanted.dropped;
        let mut left_out = wanted.left_out;
        let mut targets = Vec::with_capacity(wanted.targets.len());
        for target in wanted.targets {
            if let Some(one) = running.loops.get(&target) {
                targets.push(Arc::clone(&one.active));
                continue;
            }
            // Where more went than there may be, it is not known which are back.
            let is_new = running.was_full
                && running.went.len() <= self.common.config.max_targets
                && !running.went.contains_key(&target);
            let active = ActiveTarget::new(target.clone(), self.clock().clone(), gone_before, is_new);
            let past = running.went.remove(&target).map(|(_, past)| past);
            let (common, window) = (Arc::clone(&self.common), &self.window);
            match ScrapeLoop::new(Arc::clone(&active), common, window, past) {
                Ok(one) => {
                    let (stop, stopped) = oneshot::channel();
                    let task = tokio::spawn(one.run(stopped));
                    targets.push(Arc::clone(&active));
                    running.loops.insert(target, Loop { active, stop, task });
                }
                Err(error) => {
                    dropped += 1;
                    left_out.push(Gap::of_target(target.labels(), GapReason::Url(error)));
                }
            }
        }
        self.duplicate.store(wanted.duplicate, Ordering::Relaxed);
        self.dropped.store(dropped, Ordering::Relaxed);
        self.relabel_dropped
            .store(wanted.relabel_dropped, Ordering::Relaxed);
        self.of_other_shards
            .store(wanted.of_other_shards, Ordering::Relaxed);
        *self.all_known() = wanted.known;
        if left_out.len() > MAX_LEFT_OUT {
            let more = left_out.len() - MAX_LEFT_OUT;
            left_out.truncate(MAX_LEFT_OUT);
            left_out.push(Gap::of_any(GapReason::More(more)));
        }
        if running.left_out != left_out && !left_out.is_empty() {
            let count = wanted.duplicate + dropped;
            let logged = left_out.iter().take(MAX_LOGGED);
            let logged: Vec<_> = logged.map(|gap| gap.reason.to_string()).collect();
            tracing::warn!(count, "targets are left out: {}", logged.join("; "));
        }
        running.left_out = left_out;
        running.targets = Arc::new(Targets::new(targets));
        self.tell_problems(&mut running, slots);
    }

    /// Sets what is wrong with the discoveries, and why there are no targets if that does not say it.
    fn tell_problems(&self, running: &mut Running, slots: &[Slot]) {
        running.set_failing(failing(slots));
        let had_none = running.none.is_some();
        running.none = self.none(running);
        if let Some(why) = running.none.as_ref().filter(|_| !had_none) {
            tracing::warn!("{why}");
        }
    }

    /// Why there are no targets, if there are none and nothing else says why.
    fn none(&self, running: &Running) -> Option<Arc<str>> {
        let says_why = |gap: &Gap| !matches!(gap.reason, GapReason::NoneReady { .. });
        if !running.targets.all().is_empty() || running.gaps.iter().any(says_why) {
            return None;
        }
        // There may be fewer pods than shards, and whoever asks one shard alone is told that it is one.
        if self.of_other_shards.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let names = self.discovery_names.join(", ");
        let why = match self.relabel_dropped.load(Ordering::Relaxed) {
            0 => format!("there are no targets: none was found by {names}"),
            dropped => {
                format!("there are no targets: relabel_configs drop all {dropped} that were found by {names}")
            }
        };
        Some(why.into())
    }

    /// Makes targets of what is discovered.
    fn wanted(&self, slots: &[Slot]) -> Wanted {
        let config = &self.common.config;
        let mut wanted = Wanted::default();
        let mut known: HashMap<TargetLabels, Target> = HashMap::new();
        let found = slots.iter().filter_map(|slot| slot.known.as_ref());
        for labels in found.flat_map(|found| &found.targets) {
            let target = match described(labels, config) {
                Ok(Some(target)) => target,
                Ok(None) => {
                    wanted.relabel_dropped += 1;
                    continue;
                }
                Err((labels, error)) => {
                    wanted.drop(&labels, GapReason::Invalid(error));
                    continue;
                }
            };
            if config.shard.is_some() {
                wanted.known.add(&target);
            }
            if config.shard.is_some_and(|shard| !shard.has(&target)) {
                wanted.of_other_shards += 1;
                continue;
            }
            // Two targets of the same labels would write the same series in turns, with each other's values.
            if let Some(first) = known.get(target.labels()) {
                wanted.duplicate += 1;
                // The same target may be found twice. Parameters are not part of a URL that is shown.
                if *first != target {
                    let (url, scraped) = (target.url(), first.url());
                    wanted.leave_out(target.labels(), GapReason::Duplicate { url, scraped });
                }
                continue;
            }
            if wanted.targets.len() >= config.max_targets {
                let (url, limit) = (target.url(), config.max_targets);
                wanted.drop(target.labels(), GapReason::TooMany { url, limit });
                continue;
            }
            known.insert(target.labels().clone(), target.clone());
            wanted.targets.push(target);
        }
        wanted
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Running ===

impl Running {
    /// Sets what is wrong with the discoveries, and tells it with what is left out now.
    fn set_failing(&mut self, failing: Vec<Gap>) {
        self.failing = failing;
        self.gaps = self.failing.iter().chain(&self.left_out).cloned().collect();
    }
}

// === impl Wanted ===

impl Wanted {
    fn drop(&mut self, labels: &TargetLabels, reason: GapReason) {
        self.dropped += 1;
        self.leave_out(labels, reason);
    }

    fn leave_out(&mut self, labels: &TargetLabels, reason: GapReason) {
        self.left_out.push(Gap::of_target(labels, reason));
    }
}

// === helpers ===

/// The target that was discovered; `None` if `relabel_configs` drop it.
///
/// *Errors*: why there is none, with what is known of the labels that its series would have.
fn described(
    discovered: &TargetLabels,
    config: &ScrapeConfig,
) -> Result<Option<Target>, (TargetLabels, TargetError)> {
    if config.relabeling.is_empty() {
        let target = Target::from_labels(discovered, &config.defaults);
        return target.map(Some).map_err(|error| (discovered.clone(), error));
    }
    let relabelled = config.relabeling.apply(discovered, &config.defaults);
    let relabelled = relabelled.map_err(|error| {
        // Rules may change any label.
        let address = discovered.get_key_value(ADDRESS).into_iter();
        (
            address
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            error,
        )
    })?;
    // What holds by default was there before, and is gone where the rules have taken it away.
    let of_rules =
        |labels| Target::from_labels(&labels, &TargetDefaults::default()).map_err(|error| (labels, error));
    relabelled.map(of_rules).transpose()
}

/// What a discovery tells, with its position. A panic ends it, and is told. The discovery is kept meanwhile: it may hold
/// what it is told by.
fn words_of((at, discovery): (usize, Arc<dyn TargetDiscovery>)) -> BoxStream<'static, (usize, Word)> {
    // It is asked inside, so that a panic of the call itself is caught too.
    let watched = Arc::clone(&discovery);
    let snapshots = stream::once(async { watched.watch() }).flatten();
    let caught = AssertUnwindSafe(snapshots).catch_unwind();
    caught
        .map(|next| next.map_or(Word::Panicked, Word::Snapshot))
        .chain(stream::iter([Word::Ended]))
        .map(move |word| {
            let _kept = &discovery;
            (at, word)
        })
        .boxed()
}

/// What is wrong with the discoveries.
fn failing(slots: &[Slot]) -> Vec<Gap> {
    let mut failing = Vec::new();
    for slot in slots {
        let discovery = || Arc::clone(&slot.name);
        let Some(known) = &slot.known else {
            let discovery = discovery();
            failing.push(Gap::of_any(GapReason::NotYet { discovery }));
            continue;
        };
        for error in &known.problems {
            if let DiscoveryError::Target { labels, .. } | DiscoveryError::Starting { labels, .. } = error {
                let reason = GapReason::NoTarget {
                    discovery: discovery(),
                    error: error.clone(),
                };
                failing.push(Gap::of_target(labels, reason));
                continue;
            }
            failing.push(Gap::of_any(GapReason::Discovery {
                discovery: discovery(),
                error: error.clone(),
                // What is not there had none.
                has_targets: !known.targets.is_empty() && !matches!(error, DiscoveryError::NotFound { .. }),
            }));
        }
        if known.are_ready_alone && known.targets.is_empty() {
            let discovery = discovery();
            failing.push(Gap::of_any(GapReason::NoneReady { discovery }));
        }
    }
    failing
}

async fn expire(window: Window, clock: Clock) {
    loop {
        tokio::time::sleep(EXPIRE_INTERVAL).await;
        let (window, at) = (window.clone(), clock.wall());
        // It walks over all series, of which there may be millions.
        let _ = tokio::task::spawn_blocking(move || window.expire(at)).await;
    }
}
