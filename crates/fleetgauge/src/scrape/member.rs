//! One target of the pool: its loop, and what others see of it and ask of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleetgauge_core::backend::{FetchError, RenderedQuery};
use fleetgauge_core::target::Target;
use fleetgauge_core::time::{Clock, Moment, Timestamp};
use fleetgauge_promql::window::Window;
use tokio::sync::{Notify, oneshot};

use super::page::{PageOutcome, PageWriter, ScrapeSummary};
use super::schedule::Schedule;
use super::scraper::{Common, Scraper};
use super::status::{ScrapeFailure, TargetHealth, TargetStatus, add};

/// From this size on, reading a page would keep a thread of the runtime from its other tasks for a while, so
/// it is done on one that may block.
const LARGE_BYTES: usize = 1 << 20;

/// A target of the pool.
pub(super) struct Member {
    pub(super) target: Target,
    clock: Clock,
    state: Mutex<State>,
    /// Wakes the loop: somebody wants a scrape.
    wanted: Notify,
    /// Wakes those who wait for a scrape.
    scraped: Notify,
}

/// How fresh a scrape must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    asked_at: Instant,
    max_age: Option<Duration>,
}

#[derive(Default)]
struct State {
    /// Somebody waits for a scrape that has not begun.
    is_wanted: bool,
    running: Option<Begun>,
    last: Option<Ended>,
    is_gone: bool,
    error: Option<Arc<FetchError>>,
    failing_since: Timestamp,
    consecutive_failures: u64,
    last_success: Option<(Timestamp, Moment)>,
    problem: Option<String>,
    is_stale: bool,
    samples: usize,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Begun {
    instant: Instant,
    moment: Moment,
    at: Timestamp,
}

#[derive(Clone, Copy)]
struct Ended {
    begun: Begun,
    instant: Instant,
}

// === impl Need ===

impl Need {
    pub(super) fn of(query: &RenderedQuery) -> Self {
        Self {
            asked_at: query.asked_at,
            max_age: query.max_age,
        }
    }

    /// Whether a scrape under way is worth waiting for.
    fn accepts_running(self, begun: Begun, now: Moment) -> bool {
        self.max_age.is_none() || self.accepts_begun(begun, now)
    }

    fn accepts(self, ended: Ended, now: Moment) -> bool {
        match self.max_age {
            // "Now" shares what was under way.
            None => ended.instant > self.asked_at,
            Some(_) => self.accepts_begun(ended.begun, now),
        }
    }

    fn accepts_begun(self, begun: Begun, now: Moment) -> bool {
        let Some(max_age) = self.max_age else { return false };
        // Its age when the caller asked: what the caller has waited since is not held against it.
        let age = now
            .saturating_since(begun.moment)
            .saturating_sub(self.asked_at.elapsed());
        begun.instant >= self.asked_at || age < max_age
    }
}

// === impl Member ===

impl Member {
    pub(super) fn new(target: Target, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            target,
            clock,
            state: Mutex::default(),
            wanted: Notify::new(),
            scraped: Notify::new(),
        })
    }

    /// Asks for a scrape, unless there is one that is fresh enough, or one under way that will be.
    pub(super) fn ask(&self, need: Need) {
        let mut state = self.lock();
        if state.is_wanted || state.serves(need, &self.clock) {
            return;
        }
        let will = |running: Begun| need.accepts_running(running, self.clock.now());
        if !state.running.is_some_and(will) {
            state.is_wanted = true;
            drop(state);
            self.wanted.notify_one();
        }
    }

    /// Waits for a scrape that is fresh enough; not for one of a target that is gone.
    pub(super) async fn scraped(&self, need: Need) {
        loop {
            let scraped = self.scraped.notified();
            if self.lock().serves(need, &self.clock) {
                return;
            }
            // The scrape that was under way may have ended, and not have served.
            self.ask(need);
            scraped.await;
        }
    }

    /// When its last page is dated.
    pub(super) fn last_at(&self) -> Option<Timestamp> {
        Some(self.lock().last?.begun.at)
    }

    /// Why the target's scrapes fail, if they do.
    pub(super) fn failure(&self) -> Option<Arc<FetchError>> {
        self.lock().error.clone()
    }

    /// Whether its last scrape timed out.
    pub(super) fn is_hanging(&self) -> bool {
        matches!(self.lock().error.as_deref(), Some(FetchError::Timeout { .. }))
    }

    /// Whether a scrape has ever ended.
    pub(super) fn health(&self) -> TargetHealth {
        let state = self.lock();
        match (&state.last, &state.error) {
            (None, _) => TargetHealth::Unknown,
            (_, None) => TargetHealth::Up,
            (_, Some(_)) => TargetHealth::Down,
        }
    }

    /// How long ago its last scrape began that succeeded.
    pub(super) fn age(&self) -> Option<Duration> {
        let (_, moment) = self.lock().last_success?;
        Some(self.clock.now().saturating_since(moment))
    }

    pub(super) fn status(&self) -> TargetStatus {
        let health = self.health();
        let state = self.lock();
        TargetStatus {
            labels: self.target.labels().clone(),
            url: self.target.url(),
            health,
            last_scrape: state.last.map(|ended| ended.begun.at),
            last_success: state.last_success.map(|(at, _)| at),
            last_error: (state.error.as_ref()).map(|error| ScrapeFailure::new(error, state.failing_since)),
            consecutive_failures: state.consecutive_failures,
            problem: state.problem.clone(),
            is_stale: state.is_stale,
            samples: state.samples,
            bytes: state.bytes,
            duration: state
                .last
                .map(|ended| ended.instant.saturating_duration_since(ended.begun.instant))
                .unwrap_or_default(),
        }
    }

    /// Lets those go who wait for a scrape: there will be none.
    pub(super) fn leave(&self) {
        self.lock().is_gone = true;
        self.scraped.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn serves(&self, need: Need, clock: &Clock) -> bool {
        self.is_gone || self.last.is_some_and(|ended| need.accepts(ended, clock.now()))
    }
}

// === the loop ===

/// Scrapes one target until it is stopped.
pub(super) struct ScrapeLoop {
    member: Arc<Member>,
    common: Arc<Common>,
    scraper: Scraper,
    /// Away while a large page is read on another thread.
    writer: Option<PageWriter>,
    window: Window,
}

impl ScrapeLoop {
    /// *Errors*: in words, if the target's URL is none.
    pub(super) fn new(member: Arc<Member>, common: Arc<Common>, window: &Window) -> Result<Self, String> {
        Ok(Self {
            scraper: Scraper::new(Arc::clone(&common), &member.target)?,
            writer: Some(PageWriter::new(window, &member.target)),
            window: window.clone(),
            member,
            common,
        })
    }

    /// Scrapes at every tick and on demand, until `stop` comes or its sender is dropped; then lets the
    /// target's series go.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let member = Arc::clone(&self.member);
        let interval = self.common.config.interval;
        let mut schedule = Schedule::new(interval, &member.target, &member.clock);
        loop {
            let due = tokio::select! {
                biased;
                _ = &mut stop => break,
                () = member.wanted.notified() => None,
                due = schedule.tick() => Some(due),
                () = self.until_stale() => {
                    self.let_go_if_stale();
                    continue;
                }
            };
            // A permit may be left from a want that a tick has served.
            if due.is_none() && !member.lock().is_wanted {
                continue;
            }
            let at = match due {
                Some(due) => schedule.date(due, member.clock.wall()),
                None => member.clock.wall(),
            };
            let at = self.after_last(at);
            tokio::select! {
                biased;
                _ = &mut stop => break,
                () = self.scrape(at) => {}
            }
        }
        self.writer().mark_gone(member.clock.wall());
        member.leave();
    }

    /// `at`, or just after the page before, if that is not older: two scrapes of one millisecond, or a wall
    /// clock that was set back a little. The window would refuse the page.
    fn after_last(&self, at: Timestamp) -> Timestamp {
        let Some(last) = self.member.last_at() else {
            return at;
        };
        let back = last.saturating_since(at);
        if at <= last && back < self.common.config.window.max_clock_step {
            last.saturating_add(Duration::from_millis(1))
        } else {
            at
        }
    }

    async fn scrape(&mut self, at: Timestamp) {
        let begun = self.begin(at);
        let outcome = self.fetch_and_write(at).await;
        self.end(begun, outcome);
    }

    fn begin(&self, at: Timestamp) -> Begun {
        let begun = Begun {
            instant: Instant::now(),
            moment: self.member.clock.now(),
            at,
        };
        let mut state = self.member.lock();
        state.is_wanted = false;
        state.running = Some(begun);
        begun
    }

    /// The page's outcome and its length.
    async fn fetch_and_write(&mut self, at: Timestamp) -> Result<(PageOutcome, usize), FetchError> {
        let common = Arc::clone(&self.common);
        let mut bench = common.benches.take();
        let (format, body) = self.scraper.fetch(std::mem::take(&mut bench.body)).await?;
        bench.body = body;
        let bytes = bench.body.len();
        let mut writer = self.take_writer();
        let written = if bytes < LARGE_BYTES {
            let written = writer.write(&mut bench, format, at);
            self.writer = Some(writer);
            common.benches.give_back(bench);
            written
        } else {
            let read = move || {
                let written = writer.write(&mut bench, format, at);
                (writer, bench, written)
            };
            match tokio::task::spawn_blocking(read).await {
                Ok((writer, bench, written)) => {
                    self.writer = Some(writer);
                    common.benches.give_back(bench);
                    written
                }
                Err(_) => Err(FetchError::Aborted),
            }
        };
        written.map(|outcome| (outcome, bytes))
    }

    fn end(&mut self, begun: Begun, outcome: Result<(PageOutcome, usize), FetchError>) {
        let counts = &self.common.counts;
        let ended = Ended {
            begun,
            instant: Instant::now(),
        };
        let mut summary = ScrapeSummary {
            seconds: ended
                .instant
                .saturating_duration_since(begun.instant)
                .as_secs_f64(),
            ..ScrapeSummary::default()
        };
        add(&counts.scrapes, 1);
        match outcome {
            Ok((page, bytes)) => {
                add(&counts.samples, page.samples);
                add(&counts.bytes, bytes);
                add(&counts.bad_lines, page.bad_lines);
                add(&counts.samples_refused, page.refused);
                summary.is_up = true;
                summary.samples = page.samples;
                summary.series_added = page.series_added;
                self.succeeded(begun, page, bytes);
            }
            Err(error) => {
                counts.failure(&error);
                self.failed(begun, error);
            }
        }
        self.writer().report(begun.at, summary);
        // Told last: who waits reads the window next.
        let mut state = self.member.lock();
        state.running = None;
        state.last = Some(ended);
        drop(state);
        self.let_go_if_stale();
        self.member.scraped.notify_waiters();
    }

    fn succeeded(&self, begun: Begun, page: PageOutcome, bytes: usize) {
        let target = &self.member.target;
        let mut state = self.member.lock();
        if state.error.take().is_some() {
            let failures = state.consecutive_failures;
            tracing::info!(%target, url = target.url(), failures, "scraped again");
        }
        if let (None, Some(problem)) = (&state.problem, &page.problem) {
            tracing::warn!(%target, url = target.url(), "{problem}; the rest of the page is kept");
        }
        state.problem = page.problem;
        state.consecutive_failures = 0;
        state.is_stale = false;
        state.last_success = Some((begun.at, begun.moment));
        state.samples = page.samples;
        state.bytes = bytes;
    }

    fn failed(&self, begun: Begun, error: FetchError) {
        let target = &self.member.target;
        let mut state = self.member.lock();
        if state.error.is_none() {
            state.failing_since = begun.at;
            tracing::warn!(%target, url = target.url(), reason = error.reason(), "scrape failed: {error}");
        }
        state.error = Some(Arc::new(error));
        state.consecutive_failures += 1;
    }

    /// Waits until the values of a failing target are too old; for ever while it does not fail.
    async fn until_stale(&self) {
        let left = {
            let state = self.member.lock();
            match (&state.error, state.is_stale, state.last_success) {
                (Some(_), false, Some((_, moment))) => {
                    let age = self.member.clock.now().saturating_since(moment);
                    Some(self.common.config.stale_after().saturating_sub(age))
                }
                _ => None,
            }
        };
        match left {
            // The clock is a coarse one, and would be asked in vain at once.
            Some(left) => tokio::time::sleep(left.max(Duration::from_millis(10))).await,
            None => std::future::pending().await,
        }
    }

    fn let_go_if_stale(&mut self) {
        let member = Arc::clone(&self.member);
        let mut state = member.lock();
        let Some((_, moment)) = state.last_success else {
            return;
        };
        let age = member.clock.now().saturating_since(moment);
        if state.error.is_some() && !state.is_stale && age >= self.common.config.stale_after() {
            state.is_stale = true;
            drop(state);
            self.writer().mark_stale(member.clock.wall());
            let target = &member.target;
            tracing::warn!(%target, url = target.url(), ?age, "the last values are stale, and gone");
        }
    }

    fn writer(&mut self) -> &mut PageWriter {
        let Self {
            writer,
            window,
            member,
            ..
        } = self;
        writer.get_or_insert_with(|| PageWriter::new(window, &member.target))
    }

    /// A writer that got lost on another thread is replaced: the window knows the series still.
    fn take_writer(&mut self) -> PageWriter {
        self.writer();
        match self.writer.take() {
            Some(writer) => writer,
            None => PageWriter::new(&self.window, &self.member.target),
        }
    }
}
