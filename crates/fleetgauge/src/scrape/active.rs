//! One target that is scraped: its loop, and what others see of it and ask of it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleetgauge_core::backend::{FetchError, Request};
use fleetgauge_core::pod::PodIdentity;
use fleetgauge_core::target::Target;
use fleetgauge_core::time::{Clock, Moment, Timestamp};

use fleetgauge_promql::exposition::Format;
use fleetgauge_promql::missing::Read;
use fleetgauge_promql::window::{Lacked, Window, Withdrawn};
use futures_util::FutureExt;
use tokio::sync::{Notify, oneshot};

use super::absence::Absence;
use super::config::ScrapeConfig;
use super::connecting::with_turn;
use super::coverage::Coverage;
use super::page::{PageBuffer, PageOutcome, PageWriter, Past, REPORTED, ScrapeSummary};
use super::schedule::Schedule;
use super::scraper::{Common, Scraper};
use super::status::{TargetFailure, TargetHealth, TargetStatus, add};

/// From this size on, reading a page would keep a thread of the runtime from its other tasks for a while, so
/// it is done on one that may block.
const LARGE_BYTES: usize = 1 << 20;

/// A target that is scraped.
pub(super) struct ActiveTarget {
    pub(super) target: Target,
    /// The pod that its labels name.
    pub(super) pod: Option<Arc<PodIdentity>>,
    clock: Clock,
    /// When other targets went, if that was just before. One may have had the same labels, and its series have markers
    /// of that very millisecond.
    gone_before: Option<Timestamp>,
    /// When it was discovered, if it was not there before.
    appeared: Option<Moment>,
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
    coverage: Coverage,
    withdrawn: Withdrawn,
    /// Whether it has exposed what only endpoint pickers do.
    is_picker: bool,
    /// What is known of it, once it has gone.
    past: Option<Past>,
}

/// What a target has done of what is expected of it.
pub(super) enum Done {
    Reported,
    /// Nothing: it is an endpoint picker that never had what is asked for.
    Nothing,
    Missing(Absence),
    /// It reports, but its samples do not reach back as far as is asked for.
    Short(Absence),
    /// It has never answered, and appeared not long ago; or it has, and had not by the time that is asked for.
    Starting(Absence),
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
    pub(super) fn of(query: &Request) -> Self {
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

// === impl Done ===

impl Done {
    pub(super) fn why(&self) -> Option<&Absence> {
        match self {
            Self::Reported | Self::Nothing => None,
            Self::Missing(why) | Self::Short(why) | Self::Starting(why) => Some(why),
        }
    }
}

// === impl ActiveTarget ===

impl ActiveTarget {
    /// `is_new` if it is known that it was not there before now.
    pub(super) fn new(
        target: Target,
        clock: Clock,
        gone_before: Option<Timestamp>,
        is_new: bool,
    ) -> Arc<Self> {
        let state = State {
            coverage: Coverage::new(is_new.then(|| clock.wall())),
            ..State::default()
        };
        let label = |name: &str| target.labels().get(name).map(String::as_str);
        Arc::new(Self {
            pod: PodIdentity::of(label).map(Arc::new),
            target,
            gone_before,
            appeared: is_new.then(|| clock.now()),
            clock,
            state: Mutex::new(state),
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

    /// When the last page is dated that was read.
    pub(super) fn newest_at(&self) -> Option<Timestamp> {
        self.lock().last_success.map(|(at, _)| at)
    }

    /// When its last page is dated.
    pub(super) fn last_at(&self) -> Option<Timestamp> {
        Some(self.lock().last?.begun.at)
    }

    /// `at`, or just after the page or the targets before, if that is not older: two scrapes of one
    /// millisecond, or a wall clock that was set back, by less than `max_step`. The window would refuse what is dated `at`:
    /// a page, or that the series have ended.
    pub(super) fn after_last(&self, at: Timestamp, max_step: Duration) -> Timestamp {
        match self.last_at().or(self.gone_before) {
            Some(last) => after(last, at, max_step),
            None => at,
        }
    }

    /// Why its newest values are not those of now, if so, `in_time` being whether the scrape that was asked for has ended.
    pub(super) fn lagging(&self, in_time: bool) -> Option<Absence> {
        self.lock().lagging(in_time, &self.clock)
    }

    /// What it has done of what `reads` ask of it, all of which may select its series. `newest` was its
    /// [`newest_at`](Self::newest_at) before they were read: a scrape that came meanwhile may not have been seen.
    /// `has_exposed` says whether it has ever had a series of a read.
    pub(super) fn done(
        &self,
        in_time: bool,
        newest: Option<Timestamp>,
        reads: &[Read<'_>],
        config: &ScrapeConfig,
        has_exposed: impl Fn(&Read<'_>) -> bool,
    ) -> Done {
        let now = self.clock.wall();
        let state = self.lock();
        if let Some(why) = state.lagging(in_time, &self.clock) {
            // That it is down is known.
            let of_scrapes = |read: &Read<'_>| read.metric().is_some_and(|metric| REPORTED.contains(&metric));
            if state.last.is_some() && !state.is_gone && reads.iter().all(of_scrapes) {
                return Done::Reported;
            }
            // What it tells itself are other metrics than those of the engines behind it.
            if state.is_picker && !reads.iter().any(&has_exposed) {
                return Done::Nothing;
            }
            return match self.has_yet_to_start(&state, config) {
                true => Done::Starting(why),
                false => Done::Missing(why),
            };
        }
        if let Some(why) = state.withdrawn_from(reads) {
            return Done::Missing(why);
        }
        let Some(newest) = newest else {
            return Done::Missing(Absence::Late { age: None });
        };
        let short = reads.iter().find_map(|read| {
            if let Some(why) = state.lacked_by(read) {
                return Some(why);
            }
            let spacing = config.spacing();
            if let Some(gap) = Coverage::ends_before(newest, read.to, now, spacing) {
                return Some(Absence::OtherTime(gap));
            }
            // What it does not expose it has not counted before either.
            let lacks = state.coverage.lacks(read.since, read.to, spacing);
            let gap = lacks.filter(|_| has_exposed(read))?;
            let asked_since = read.since;
            Some(Absence::ShortWindow { asked_since, gap })
        });
        if let Some(short) = short {
            return Done::Short(short);
        }
        let first_after = |read: &Read<'_>| {
            state
                .coverage
                .first_after(read.to)
                .filter(|_| read.since == read.to)
        };
        let firsts = reads.iter().map(first_after);
        match firsts.collect::<Option<Vec<_>>>().as_deref() {
            Some([first, ..]) => Done::Starting(Absence::NotYet { first: *first }),
            _ => Done::Reported,
        }
    }

    /// Whether it appeared not long ago and has never answered: it is not expected to report.
    pub(super) fn is_starting(&self, config: &ScrapeConfig) -> bool {
        self.has_yet_to_start(&self.lock(), config)
    }

    fn has_yet_to_start(&self, state: &State, config: &ScrapeConfig) -> bool {
        let since = self
            .appeared
            .map(|appeared| self.clock.now().saturating_since(appeared));
        let is_new = since.is_some_and(|since| since < config.starting_for);
        is_new && !state.coverage.has_answered() && !state.is_gone
    }

    /// Whether it has ever been scraped with success.
    pub(super) fn has_answered(&self) -> bool {
        self.lock().coverage.has_answered()
    }

    /// Whether its last scrape timed out.
    pub(super) fn is_hanging(&self) -> bool {
        matches!(self.lock().error.as_deref(), Some(FetchError::Timeout { .. }))
    }

    pub(super) fn health(&self) -> TargetHealth {
        self.lock().health()
    }

    pub(super) fn status(&self) -> TargetStatus {
        let state = self.lock();
        TargetStatus {
            labels: self.target.labels().clone(),
            url: self.target.url(),
            health: state.health(),
            last_scrape: state.last.map(|ended| ended.begun.at),
            last_success: state.last_success.map(|(at, _)| at),
            last_error: state.error.clone().map(|error| TargetFailure {
                error,
                since: state.failing_since,
            }),
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

    /// What is known of it, once it has gone.
    pub(super) fn take_past(&self) -> Past {
        self.lock().past.take().unwrap_or_default()
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
    fn health(&self) -> TargetHealth {
        match (&self.last, &self.error) {
            (None, _) => TargetHealth::Unknown,
            (_, None) => TargetHealth::Up,
            (_, Some(_)) => TargetHealth::Down,
        }
    }

    fn lagging(&self, in_time: bool, clock: &Clock) -> Option<Absence> {
        if self.is_gone {
            return Some(Absence::Gone);
        }
        let age = || {
            let (_, moment) = self.last_success?;
            Some(clock.now().saturating_since(moment))
        };
        match &self.error {
            Some(error) => Some(Absence::Failed {
                error: Arc::clone(error),
                age: age(),
            }),
            None if !in_time || self.last.is_none() => Some(Absence::Late { age: age() }),
            None => None,
        }
    }

    /// Which of what is read it exposes no longer.
    fn withdrawn_from(&self, reads: &[Read<'_>]) -> Option<Absence> {
        let mut withdrawn = self.withdrawn.iter();
        let is_read = |metric: Option<&str>, since: Timestamp| {
            let mut reads = reads.iter();
            reads.any(|read| read.to >= since && read.may_select(metric, []))
        };
        let (metric, since) = withdrawn.find(|(metric, since)| is_read(*metric, *since))?;
        Some(Absence::Withdrawn {
            metric: metric.map(Box::from),
            since,
        })
    }

    /// What `read` may ask for of a time for which pages lacked it.
    fn lacked_by(&self, read: &Read<'_>) -> Option<Absence> {
        let is_read = |lacked: &&Lacked| {
            let is_over = lacked.to.is_none_or(|to| read.since < to);
            is_over && lacked.from <= read.to && read.may_select(lacked.metric.as_deref(), [])
        };
        let lacked = self.withdrawn.back().find(is_read)?;
        Some(Absence::Lacked(lacked.clone()))
    }

    fn serves(&self, need: Need, clock: &Clock) -> bool {
        self.is_gone || self.last.is_some_and(|ended| need.accepts(ended, clock.now()))
    }
}

// === the loop ===

/// Scrapes one target until it is stopped.
pub(super) struct ScrapeLoop {
    active: Arc<ActiveTarget>,
    common: Arc<Common>,
    scraper: Scraper,
    schedule: Schedule,
    /// Shared with the thread on which a large page is read, and never given away: it alone knows which series
    /// the target has, and so which of them go with it.
    writer: Arc<Mutex<PageWriter>>,
}

impl ScrapeLoop {
    /// With what is known of the target, if it was there before.
    ///
    /// *Errors*: in words, if the target's URL is not valid.
    pub(super) fn new(
        active: Arc<ActiveTarget>,
        common: Arc<Common>,
        window: &Window,
        past: Option<Past>,
    ) -> Result<Self, String> {
        let mut writer = PageWriter::new(window, &active.target, common.config.lookback_delta);
        if let Some(past) = past {
            writer.is_back(past);
        }
        Ok(Self {
            scraper: Scraper::new(Arc::clone(&common), &active.target)?,
            schedule: Schedule::new(common.config.interval, &active.target, &active.clock),
            writer: Arc::new(Mutex::new(writer)),
            active,
            common,
        })
    }

    /// Scrapes at every tick and on demand, until `stop` comes or its sender is dropped; then lets the
    /// target's series go.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let active = Arc::clone(&self.active);
        // A scrape that panics has failed; the next one may not.
        while AssertUnwindSafe(self.run_until_panic(&mut stop))
            .catch_unwind()
            .await
            .is_err()
        {
            self.panicked();
        }
        // Said first: who finds its series gone is to know why.
        active.leave();
        let mut writer = lock(&self.writer);
        writer.mark_gone(self.after_last(active.clock.wall()));
        active.lock().past = Some(writer.past());
    }

    async fn run_until_panic(&mut self, stop: &mut oneshot::Receiver<()>) {
        let (active, common) = (Arc::clone(&self.active), Arc::clone(&self.common));
        loop {
            let due = tokio::select! {
                biased;
                _ = &mut *stop => return,
                () = active.wanted.notified() => None,
                due = self.schedule.tick() => Some(due),
                () = until_stale(&active, &common) => {
                    self.let_go_if_stale();
                    continue;
                }
            };
            // A permit may be left from a want that a tick has served.
            if due.is_none() && !active.lock().is_wanted {
                continue;
            }
            // One that hung takes no more of what connecting takes than its handshake.
            let takes_turn = !self.scraper.is_connected() && !active.is_hanging();
            let turn = tokio::select! {
                biased;
                _ = &mut *stop => return,
                turn = common.connecting.turn(), if takes_turn => turn,
                () = std::future::ready(()), if !takes_turn => None,
            };
            let at = match due {
                Some(due) => self.schedule.date(due, active.clock.wall()),
                None => active.clock.wall(),
            };
            let begun = self.begin(self.after_last(at));
            let page = {
                let fetching = self.fetch();
                tokio::select! {
                    biased;
                    _ = &mut *stop => return,
                    page = with_turn(turn, fetching) => page,
                }
            };
            // Not interrupted: what has begun to be written is to be known when the target goes.
            let outcome = match page {
                Ok((format, buffer)) => self.write(begun.at, format, buffer).await,
                Err(error) => Err(error),
            };
            self.end(begun, outcome);
        }
    }

    fn after_last(&self, at: Timestamp) -> Timestamp {
        self.active
            .after_last(at, self.common.config.window.max_clock_step)
    }

    fn begin(&self, at: Timestamp) -> Begun {
        let begun = Begun {
            instant: Instant::now(),
            moment: self.active.clock.now(),
            at,
        };
        let mut state = self.active.lock();
        state.is_wanted = false;
        state.running = Some(begun);
        begun
    }

    async fn fetch(&mut self) -> Result<(Format, PageBuffer), FetchError> {
        let mut buffer = self.common.buffers.take();
        let (format, body) = self.scraper.fetch(std::mem::take(&mut buffer.body)).await?;
        buffer.body = body;
        Ok((format, buffer))
    }

    /// The page's outcome and its length.
    async fn write(
        &self,
        at: Timestamp,
        format: Format,
        mut buffer: PageBuffer,
    ) -> Result<(PageOutcome, usize), FetchError> {
        let bytes = buffer.body.len();
        let writer = Arc::clone(&self.writer);
        let write = move || {
            let written = lock(&writer).write(&mut buffer, format, at);
            (buffer, written)
        };
        let (buffer, written) = if bytes < LARGE_BYTES {
            write()
        } else {
            match tokio::task::spawn_blocking(write).await {
                Ok(done) => done,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => return Err(FetchError::Aborted),
            }
        };
        self.common.buffers.give_back(buffer);
        written.map(|outcome| (outcome, bytes))
    }

    /// Ends the scrape that was under way when a panic came.
    fn panicked(&mut self) {
        let running = self.active.lock().running;
        let begun = running.unwrap_or_else(|| self.begin(self.after_last(self.active.clock.wall())));
        self.end(begun, Err(FetchError::Aborted));
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
        lock(&self.writer).report(begun.at, summary);
        // Told last: who waits reads the window next.
        let mut state = self.active.lock();
        state.running = None;
        state.last = Some(ended);
        drop(state);
        self.let_go_if_stale();
        self.active.scraped.notify_waiters();
    }

    fn succeeded(&self, begun: Begun, page: PageOutcome, bytes: usize) {
        let target = &self.active.target;
        let (failures, problem) = {
            let writer = lock(&self.writer);
            let mut state = self.active.lock();
            let failures = (state.error.take()).map(|_| std::mem::take(&mut state.consecutive_failures));
            let is_new = state.problem.is_none();
            state.problem = page.problem;
            state.is_picker |= page.is_of_picker;
            state.is_stale = false;
            state.last_success = Some((begun.at, begun.moment));
            let config = &self.common.config;
            let retention = i64::try_from(config.window.retention.as_millis()).unwrap_or(i64::MAX);
            let reached = Timestamp::from_millis(begun.at.as_millis().saturating_sub(retention));
            state.coverage.expire(reached);
            state
                .coverage
                .scraped(begun.at, page.process_start, config.spacing());
            state.samples = page.samples;
            state.bytes = bytes;
            if state.withdrawn != *writer.withdrawn() {
                state.withdrawn = writer.withdrawn().clone();
            }
            (failures, state.problem.clone().filter(|_| is_new))
        };
        if let Some(failures) = failures {
            tracing::info!(%target, url = target.url(), failures, "scraped again");
        }
        if let Some(problem) = problem {
            tracing::warn!(%target, url = target.url(), "{problem}; the rest of the page is kept");
        }
    }

    fn failed(&self, begun: Begun, error: FetchError) {
        let target = &self.active.target;
        let error = Arc::new(error);
        let is_new = {
            let mut state = self.active.lock();
            state.consecutive_failures += 1;
            state.error.replace(Arc::clone(&error)).is_none() && {
                state.failing_since = begun.at;
                true
            }
        };
        if is_new {
            tracing::warn!(%target, url = target.url(), reason = error.reason(), "scrape failed: {error}");
        }
    }

    fn let_go_if_stale(&mut self) {
        let active = Arc::clone(&self.active);
        let mut state = active.lock();
        let Some((newest, moment)) = state.last_success else {
            return;
        };
        let age = active.clock.now().saturating_since(moment);
        if state.error.is_some() && !state.is_stale && age >= self.common.config.stale_after() {
            state.is_stale = true;
            drop(state);
            let max_step = self.common.config.window.max_clock_step;
            lock(&self.writer).mark_stale(after(newest, active.clock.wall(), max_step));
            let target = &active.target;
            tracing::warn!(%target, url = target.url(), ?age, "the last values are stale, and gone");
        }
    }
}

/// `at`, or just after `last`, if that is not older by more than a clock may be set back a little.
fn after(last: Timestamp, at: Timestamp, max_step: Duration) -> Timestamp {
    match at <= last && last.saturating_since(at) < max_step {
        true => last.saturating_add(Duration::from_millis(1)),
        false => at,
    }
}

/// Waits until the values of a failing target are too old; for ever while it does not fail.
async fn until_stale(active: &ActiveTarget, common: &Common) {
    let left = {
        let state = active.lock();
        match (&state.error, state.is_stale, state.last_success) {
            (Some(_), false, Some((_, moment))) => {
                let age = active.clock.now().saturating_since(moment);
                Some(common.config.stale_after().saturating_sub(age))
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

/// A page that panicked while it was written is not written further; the writer goes on with the next.
fn lock(writer: &Mutex<PageWriter>) -> MutexGuard<'_, PageWriter> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}
