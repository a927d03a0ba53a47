//! Readings as series, which PromQL is evaluated over: a window that is written whenever a reading changes.
//!
//! | series | what |
//! |---|---|
//! | `fleetgauge_reading` | the number; none where it is withheld |
//! | `fleetgauge_reading_age_seconds` | how old it was when it was written, where that is known |
//! | `fleetgauge_reading_held` | 1 while the number is the last good one, held; 0 while it is measured |
//! | `fleetgauge_reading_withheld` | 1 while there is no number; the label `reason` says why |
//!
//! Each has the label `metric` and the labels of the row; a row's own `metric` or `reason` is `exported_metric` or
//! `exported_reason`, as Prometheus does it. What is no more has a staleness marker at once, also where time alone makes it
//! so. A query that reads numbers is told which of them are withheld. All is written anew now and then, so that no reading
//! that is seldom refreshed falls out of a query's lookback.

mod name;
mod withheld;
mod written;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::reading::Status;
use fleetgauge_core::time::{Moment, Timestamp};
use fleetgauge_promql::window::{Appender, ScrapeBatch, Window, WindowConfig};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::{Entry, Row, Snapshot, Store};

pub use name::{READING, READING_AGE, READING_HELD, READING_WITHHELD};
pub use withheld::ReadingWindow;
use written::{Pass, Written};

/// How often all readings are written, also those that do not change.
const WRITE_ALL_EVERY: Duration = Duration::from_secs(30);

/// How far two passes over what has changed are apart at least: a thousand metrics change a thousand times a second.
const BETWEEN_PASSES: Duration = Duration::from_millis(5);

/// The reason where a metric is read for each variant, and there are none, or none that is known.
const NO_VARIANTS: &str = "no_variants";

/// A wall clock that was set back by less is waited for: what is written meanwhile is a millisecond apart.
const MAX_CLOCK_STEP: Duration = Duration::from_secs(1);

/// Writes the readings of a [`Store`] into a [`Window`].
pub struct ReadingSeries {
    store: Store,
    window: Window,
    written: Written,
    metrics: BTreeMap<Box<str>, MetricSeries>,
    text: String,
}

/// The series of one metric.
struct MetricSeries {
    entry: Arc<Entry>,
    appender: Appender,
    /// The number of the change that was written last.
    written: Option<u64>,
    /// When it was written.
    at: Timestamp,
    /// When time alone makes a reading of it another one.
    changes_at: Option<Moment>,
}

// === impl ReadingSeries ===

impl ReadingSeries {
    /// For the readings of `store`, kept for as long as `retention`. Nothing is written before [`follow`](Self::follow).
    pub fn new(store: Store, retention: Duration) -> Self {
        let mut config = WindowConfig::default();
        config.retention = retention;
        config.max_clock_step = MAX_CLOCK_STEP;
        Self {
            written: Written::new(store.clock().clone(), WRITE_ALL_EVERY),
            store,
            window: Window::new(config),
            metrics: BTreeMap::new(),
            text: String::new(),
        }
    }

    /// The series.
    pub fn window(&self) -> ReadingWindow {
        ReadingWindow {
            window: self.window.clone(),
            written: self.written.clone(),
        }
    }

    /// Writes what changes until `stop`.
    pub async fn follow(mut self, stop: CancellationToken) {
        let mut changes = self.store.changes();
        let mut write_all = tokio::time::interval(WRITE_ALL_EVERY);
        loop {
            changes.borrow_and_update();
            self.write_changed();
            let pass = Instant::now();
            let left = self.time_left();
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => {
                    // `self` holds the store, so there is one who sends.
                    if changed.is_err() {
                        return;
                    }
                }
                _ = write_all.tick() => self.write_all(),
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(pass + BETWEEN_PASSES) => {}
            }
        }
    }

    /// Until time alone makes a reading another one.
    fn time_left(&self) -> Option<Duration> {
        let next = self
            .metrics
            .values()
            .filter_map(|metric| metric.changes_at)
            .min()?;
        Some(next.saturating_since(self.store.clock().now()))
    }

    /// Has all metrics written at the next pass, and lets go of what is too old.
    fn write_all(&mut self) {
        self.metrics.values_mut().for_each(|metric| metric.written = None);
        let now = self.store.clock().wall();
        self.window.expire(now);
        let kept = i64::try_from(self.window.config().retention.as_millis()).unwrap_or(i64::MAX);
        self.written
            .expire(Timestamp::from_millis(now.as_millis().saturating_sub(kept)));
    }

    /// Writes the metrics that have changed, or whose time has come.
    fn write_changed(&mut self) {
        self.written.begin();
        let entries = self.store.all();
        let now = self.store.clock().now();
        for entry in &entries {
            let name = entry.spec().name.as_str();
            let metric = match self.metrics.get_mut(name) {
                // A metric that is defined anew is another one, with a page of its own: what the old one had and it has
                // not goes stale all the same.
                Some(metric) => {
                    if !Arc::ptr_eq(&metric.entry, entry) {
                        metric.entry = Arc::clone(entry);
                        metric.written = None;
                    }
                    metric
                }
                None => self.metrics.entry(name.into()).or_insert(MetricSeries {
                    entry: Arc::clone(entry),
                    appender: self.window.appender([("metric", name)]),
                    written: None,
                    at: Timestamp::from_millis(i64::MIN / 2),
                    changes_at: None,
                }),
            };
            let is_due = metric.changes_at.is_some_and(|at| at <= now);
            if is_due || metric.written != Some(entry.changed()) {
                metric.write(&self.store, &mut self.text);
            }
        }
        if self.metrics.len() > entries.len() {
            self.forget(&entries);
        }
        let passes = self.metrics.values().map(|metric| Pass {
            oldest: metric.at,
            newest: metric.at,
            changes_at: metric.changes_at,
        });
        self.written.end(passes.reduce(Pass::and));
    }

    /// Ends the series of the metrics that are no more.
    fn forget(&mut self, entries: &[Arc<Entry>]) {
        let names: HashSet<&str> = entries.iter().map(|entry| entry.spec().name.as_str()).collect();
        let now = self.store.clock().wall();
        self.metrics.retain(|name, metric| {
            let stays = names.contains(&**name);
            if !stays {
                metric.appender.mark_stale(metric.stamp(now));
            }
            stays
        });
    }
}

// === impl MetricSeries ===

impl MetricSeries {
    /// The time of what is written at `now`: later than what was written before.
    fn stamp(&self, now: Timestamp) -> Timestamp {
        let next = Timestamp::from_millis(self.at.as_millis().saturating_add(1));
        match next.saturating_since(now) <= MAX_CLOCK_STEP {
            true => now.max(next),
            false => now,
        }
    }

    fn write(&mut self, store: &Store, text: &mut String) {
        // Before it is read: what changes meanwhile is written again.
        self.written = Some(self.entry.changed());
        let snapshot = self.entry.read(store.clock());
        let at = self.stamp(store.clock().wall());
        self.at = at;
        let mut page = self.appender.scrape(at);
        append_all(&mut page, &snapshot, text);
        // At a limit the rows that are gone make room, and the page is written once more.
        if page.make_room() {
            append_all(&mut page, &snapshot, text);
        }
        let changes = snapshot.rows().filter_map(|row| row.reading().changes_at());
        self.changes_at = changes.min();
        page.commit();
    }
}

fn append_all(page: &mut ScrapeBatch<'_>, snapshot: &Snapshot, text: &mut String) {
    let mut append = |name: &str, row: Row<'_>, reason: Option<&str>, value: f64| {
        key(text, name, row, reason);
        let appended = page.append(text, value, None, |labels| {
            labels.label("__name__", name);
            let own = row.labels();
            let renamed = free("reason", |name| own.clone().any(|(known, _)| known == name));
            for (label, value) in own {
                labels.label(if label == "reason" { &renamed } else { label }, value);
            }
            if let Some(reason) = reason {
                labels.label("reason", reason);
            }
        });
        if let Err(error) = appended {
            // The window tells it in the answers that lack the series.
            tracing::debug!(series = name, %error, "a reading was not kept as a series");
        }
    };
    for row in snapshot.rows() {
        let reading = row.reading();
        match (reading.value(), row.refusal()) {
            (Some(value), _) => {
                append(READING, row, None, value);
                let is_held = reading.status() == Status::Held;
                append(READING_HELD, row, None, f64::from(u8::from(is_held)));
                if let Some(age) = reading.age() {
                    append(READING_AGE, row, None, age.as_secs_f64());
                }
            }
            (None, Some((reason, _))) => append(READING_WITHHELD, row, Some(reason.as_str()), 1.0),
            (None, None) => {}
        }
    }
    // Nobody would know that something is lacking.
    if snapshot.rows().next().is_none() {
        let appended = page.append(NO_VARIANTS, 1.0, None, |labels| {
            labels.label("__name__", READING_WITHHELD);
            labels.label("reason", NO_VARIANTS);
        });
        if let Err(error) = appended {
            tracing::debug!(series = READING_WITHHELD, %error, "a reading was not kept as a series");
        }
    }
}

/// `name` with as many prefixes as it takes to be free.
fn free(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut free = format!("exported_{name}");
    while is_taken(&free) {
        free.insert_str(0, "exported_");
    }
    free
}

/// The text by which the appender knows a series: no two series have the same.
fn key(text: &mut String, name: &str, row: Row<'_>, reason: Option<&str>) {
    text.clear();
    text.push_str(name);
    for (label, value) in row.labels().chain(reason.map(|reason| ("\n", reason))) {
        // Writing to a string does not fail.
        let _ = write!(text, "\n{}={label}{}={value}", label.len(), value.len());
    }
}
