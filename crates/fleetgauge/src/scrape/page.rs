//! From the bytes of a page to the window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::pod::is_of_endpoint_picker;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::exposition::{Cut, Event, Format, Parser, Report};
use fleetgauge_promql::window::{self, AppendError, Appender, ScrapeBatch, Window, Withdrawn};

use super::config::{PROCESS_START, ScrapeConfig};
use super::converted::Conversion;
use crate::client::failure::excerpt;
use fleetgauge_core::target::Target;

/// The way into the window for one target.
pub(super) struct PageWriter {
    /// What the target exposes.
    exposed: Appender,
    /// What is reported of the target: `up` and the like. These do not go stale when it fails.
    reported: Appender,
    lookback_delta: Duration,
    /// When the target's process began, as its last page said.
    process_start: Option<Timestamp>,
    /// Whether its last scrape failed.
    has_failed: bool,
}

/// What is known of a target that went, for when it is back.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    metrics: window::Past,
    process_start: Option<Timestamp>,
    has_failed: bool,
}

/// What one scrape says of its target, besides the page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScrapeSummary {
    pub(super) is_up: bool,
    pub(super) seconds: f64,
    pub(super) samples: usize,
    pub(super) series_added: usize,
}

/// What became of a page that was read.
#[derive(Debug, Default)]
pub(super) struct PageOutcome {
    pub(super) samples: usize,
    pub(super) series_added: usize,
    pub(super) bad_lines: usize,
    pub(super) refused: usize,
    /// When the process began, if it says so; of several the one that began first.
    pub(super) process_start: Option<Timestamp>,
    /// Whether there are new series of an endpoint picker's own metrics.
    pub(super) is_of_picker: bool,
    /// What is wrong with it.
    pub(super) problem: Option<String>,
}

/// What a page is read with and into. Few are needed, as few scrapes are being read at any moment.
#[derive(Default)]
pub(super) struct PageBuffer {
    pub(super) body: Vec<u8>,
    pub(super) parser: Parser,
    /// Where classic histograms are converted.
    conversion: Option<Conversion>,
}

/// The buffers that nobody uses now.
pub(super) struct PageBuffers {
    parser: Parser,
    conversion: Option<Conversion>,
    idle: Mutex<Vec<PageBuffer>>,
}

/// What is reported of each scrape.
pub(super) const REPORTED: [&str; 4] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_series_added",
];

/// A buffer that has become larger is given back instead of kept.
const KEPT_BYTES: usize = 1 << 20;
const KEPT_BUFFERS: usize = 64;

// === impl PageBuffers ===

impl PageBuffers {
    pub(super) fn new(config: &ScrapeConfig) -> Self {
        let mut parser = Parser::new()
            .with_limits(config.limits.clone())
            .with_histograms(config.histograms());
        if let Some(wanted) = &config.wanted {
            parser = parser.with_wanted(wanted.clone());
        }
        Self {
            parser,
            conversion: Conversion::of(config),
            idle: Mutex::default(),
        }
    }

    pub(super) fn take(&self) -> PageBuffer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| PageBuffer {
            body: Vec::new(),
            parser: self.parser.clone(),
            conversion: self.conversion.clone(),
        })
    }

    pub(super) fn give_back(&self, mut buffer: PageBuffer) {
        if buffer.body.capacity() > KEPT_BYTES {
            buffer.body = Vec::new();
        }
        buffer.parser.shrink_to(KEPT_BYTES);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_BUFFERS {
            idle.push(buffer);
        }
    }
}

// === impl Past ===

impl Past {
    /// Whether nothing is known of it.
    pub(super) fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    /// The same, in less memory where `other`'s is alike.
    pub(super) fn sharing(mut self, other: &Self) -> Self {
        self.metrics = self.metrics.sharing(&other.metrics);
        self
    }
}

// === impl PageWriter ===

impl PageWriter {
    pub(super) fn new(window: &Window, target: &Target, lookback_delta: Duration) -> Self {
        Self {
            exposed: window.appender(target.labels()),
            reported: window.appender(target.labels()),
            lookback_delta,
            process_start: None,
            has_failed: false,
        }
    }

    /// Reads a page and appends it, dated `at`. What it loses, the window tells those whom it may concern.
    ///
    /// *Errors*: [`FetchError::Malformed`] if there is nothing but bad lines, or its end is missing;
    /// [`FetchError::TooLarge`] if it holds too many samples. Nothing of it is then appended: what is not
    /// on half a page has not gone.
    pub(super) fn write(
        &mut self,
        buffer: &mut PageBuffer,
        format: Format,
        at: Timestamp,
    ) -> Result<PageOutcome, FetchError> {
        let mut batch = self.exposed.scrape(at);
        loop {
            let read = read(buffer, format, &mut batch, at, self.lookback_delta)?;
            // Series that the page has no longer make room for those that were refused.
            if !batch.make_room() {
                let outcome = read.commit(batch);
                self.look_whether_it_began_anew(outcome.process_start, at);
                return Ok(outcome);
            }
        }
    }

    /// Takes over what is known of the target from when it was there before.
    pub(super) fn is_back(&mut self, past: Past) {
        self.exposed.is_back(past.metrics);
        (self.process_start, self.has_failed) = (past.process_start, past.has_failed);
    }

    /// What is known of the target, for when it is back.
    pub(super) fn past(&self) -> Past {
        Past {
            metrics: self.exposed.past(),
            process_start: self.process_start,
            has_failed: self.has_failed,
        }
    }

    /// What the target exposed and exposes no longer, though it answers.
    pub(super) fn withdrawn(&self) -> &Withdrawn {
        self.exposed.withdrawn()
    }

    /// A process that has just begun may have nothing to tell of a metric yet.
    fn look_whether_it_began_anew(&mut self, process_start: Option<Timestamp>, at: Timestamp) {
        let began_anew = match (self.process_start, process_start) {
            (Some(before), Some(now)) => before != now,
            // It does not say. One that began anew mostly failed to answer meanwhile.
            _ => self.has_failed,
        };
        if began_anew {
            self.exposed.began_anew(at);
        }
        self.process_start = process_start;
        self.has_failed = false;
    }

    /// Appends what is reported of a scrape that began at `at`.
    ///
    /// *Source*: <https://prometheus.io/docs/concepts/jobs_instances/#automatically-generated-labels-and-time-series>.
    pub(super) fn report(&mut self, at: Timestamp, scrape: ScrapeSummary) {
        self.has_failed = !scrape.is_up;
        let mut batch = self.reported.scrape(at);
        let is_up = if scrape.is_up { 1.0 } else { 0.0 };
        let values = [
            is_up,
            scrape.seconds,
            scrape.samples as f64,
            scrape.series_added as f64,
        ];
        loop {
            for (name, value) in REPORTED.into_iter().zip(values) {
                // Refused where the window is full, which the window counts and tells.
                let _ = batch.append(name, value, None, |labels| labels.label("__name__", name));
            }
            if !batch.make_room() {
                break;
            }
        }
        batch.commit();
    }

    /// Lets the target's series go: it fails for too long.
    pub(super) fn mark_stale(&mut self, at: Timestamp) {
        self.exposed.mark_stale(at);
    }

    /// Lets all series go: the target is no more.
    pub(super) fn mark_gone(&mut self, at: Timestamp) {
        self.exposed.mark_stale(at);
        self.reported.mark_stale(at);
    }
}

/// A page that was read, and what is wrong with it.
struct ReadPage {
    report: Report,
    refusal: Option<AppendError>,
    /// What it exposes that is the scraper's to say.
    own_name: Option<&'static str>,
    process_start: Option<Timestamp>,
    is_of_picker: bool,
    dated: Dated,
    /// How many samples are left out as parts of histograms, and how many histograms there are in their place.
    converted: (usize, usize),
    /// The classic histograms that could not be converted: by their metrics how many, and why the first one.
    unconverted: BTreeMap<String, (usize, &'static str)>,
}

/// Samples that their target dates itself.
#[derive(Default)]
struct Dated {
    /// Whether some count as of the scrape, since they are dated a little later.
    is_ahead: bool,
    /// The metrics of those that are dated so far back that no query of now sees them.
    old: BTreeSet<Box<str>>,
    /// The metrics of those that are left out, since they are dated too far ahead.
    future: BTreeSet<Box<str>>,
}

/// By how much a target's clock may be ahead: what it dates then counts as of the scrape.
const CLOCK_AHEAD: Duration = Duration::from_secs(5);

/// *Errors*: as [`PageWriter::write`].
fn read(
    buffer: &mut PageBuffer,
    format: Format,
    batch: &mut ScrapeBatch<'_>,
    at: Timestamp,
    lookback_delta: Duration,
) -> Result<ReadPage, FetchError> {
    let PageBuffer {
        body,
        parser,
        conversion,
    } = buffer;
    let mut dated = Dated::default();
    let mut page = parser.page(format, body);
    let mut refusal = None;
    let mut own_name = None;
    let mut is_of_picker = false;
    let mut process_start: Option<Timestamp> = None;
    let mut converted = (0, 0);
    if let Some(conversion) = conversion {
        conversion.begin();
    }
    while let Some(event) = page.next() {
        let (name, timestamp) = match &event {
            Event::Sample(sample) => (sample.name(), sample.timestamp),
            Event::Histogram(sample) => (sample.name(), sample.timestamp),
            _ => continue,
        };
        if let Some(conversion) = conversion {
            match &event {
                Event::Sample(sample) => {
                    if let Some(part) = conversion.part(sample, format)
                        // Without, it is counted as bad.
                        && let Some(labels) = page.labels()
                    {
                        conversion.add(part, sample, labels);
                        if !conversion.keeps_classic() {
                            converted.0 += 1;
                            continue;
                        }
                    }
                }
                Event::Histogram(sample) => {
                    if let Some(labels) = page.labels() {
                        conversion.add_native(sample, labels);
                    }
                }
                _ => {}
            }
        }
        let Some(own) = dated.own_time(name, timestamp, at, lookback_delta) else {
            continue;
        };
        // Without a name the series is refused, as one must be whose labels cannot be read.
        let reported = REPORTED.into_iter().find(|own| *own == name);
        let appended = match event {
            Event::Sample(sample) => {
                if sample.name() == PROCESS_START && sample.value > 0.0 {
                    let start = Timestamp::from_secs_f64(sample.value);
                    process_start = Some(process_start.map_or(start, |first| first.min(start)));
                }
                batch.append(sample.series(), sample.value, own, |labels| {
                    own_name = own_name.or(reported);
                    is_of_picker |= is_of_endpoint_picker(sample.name());
                    if reported.is_none()
                        && let Some(exposed) = page.labels()
                    {
                        labels.label("__name__", sample.name());
                        for (name, value) in sample.kept(exposed) {
                            labels.label(&name, &value);
                        }
                    }
                })
            }
            Event::Histogram(sample) => {
                let (name, series) = (sample.name(), sample.series());
                batch.append_histogram(series, sample.histogram, own, |labels| {
                    own_name = own_name.or(reported);
                    if reported.is_none()
                        && let Some(exposed) = page.labels()
                    {
                        labels.label("__name__", name);
                        for (name, value) in exposed.iter() {
                            labels.label(&name, &value);
                        }
                    }
                })
            }
            _ => continue,
        };
        // Of one without a name the parser counts the line as bad.
        note_refusal(&mut refusal, appended);
    }
    let report = page.finish();
    let mut unconverted = BTreeMap::new();
    for one in conversion.iter_mut().flat_map(|all| all.finish(&report.lost)) {
        let name = one.labels.first().map_or("", |(_, name)| name.as_str());
        let histogram = match one.histogram {
            Ok(histogram) => histogram,
            Err(why) => {
                unconverted.entry(name.to_owned()).or_insert((0, why)).0 += 1;
                continue;
            }
        };
        let Some(own) = dated.own_time(name, one.timestamp, at, lookback_delta) else {
            continue;
        };
        converted.1 += 1;
        let reported = REPORTED.into_iter().find(|own| *own == name);
        let appended = batch.append_histogram(&one.series, histogram, own, |labels| {
            own_name = own_name.or(reported);
            if reported.is_none() {
                one.labels
                    .iter()
                    .for_each(|(name, value)| labels.label(name, value));
            }
        });
        note_refusal(&mut refusal, appended);
    }
    let malformed = |detail| Err(FetchError::Malformed { detail, source: None });
    match report.cut {
        Some(Cut::TooManySamples { limit }) => Err(FetchError::TooLarge {
            limit: limit as u64,
            unit: "samples",
        }),
        // Said before what an HTML page's first line fails at.
        _ if report.samples == 0 && report.errors > 0 => {
            malformed(format!("no exposition: {}", first_error(&report)))
        }
        Some(
            cut @ (Cut::NoEof | Cut::UnfinishedLine | Cut::UnfinishedMessage | Cut::BodyTooLarge { .. }),
        ) => malformed(cut.to_string()),
        _ => Ok(ReadPage {
            report,
            refusal,
            own_name,
            process_start,
            is_of_picker,
            dated,
            converted,
            unconverted,
        }),
    }
}

/// Keeps the first refusal; not that of a series without a name, of which something else tells.
fn note_refusal(first: &mut Option<AppendError>, appended: Result<(), AppendError>) {
    if let Err(error) = appended
        && first.is_none()
        && error != AppendError::NoMetricName
    {
        *first = Some(error);
    }
}

fn note(metrics: &mut BTreeSet<Box<str>>, metric: &str) {
    if !metrics.contains(metric) {
        metrics.insert(metric.into());
    }
}

fn first_error(report: &Report) -> String {
    let first = report.first_errors.first();
    first.map(|error| excerpt(&error.to_string())).unwrap_or_default()
}

// === impl Dated ===

impl Dated {
    /// The time of its own that a sample of the metric `name` is kept with, if it has one; `None` if it is left out.
    fn own_time(
        &mut self,
        name: &str,
        timestamp: Option<i64>,
        at: Timestamp,
        lookback_delta: Duration,
    ) -> Option<Option<Timestamp>> {
        let own = timestamp.map(Timestamp::from_millis);
        if own.is_some_and(|own| own > at.saturating_add(CLOCK_AHEAD)) {
            // Kept, it would be the newest of its series for as long: what follows, the end of the series included,
            // would come too late to be taken.
            note(&mut self.future, name);
            return None;
        }
        if own.is_some_and(|own| own > at) {
            // It would be in no answer until its time comes, and what is asked for then may be told by a newer one.
            self.is_ahead = true;
            return Some(None);
        }
        if own.is_some_and(|own| own.saturating_add(lookback_delta) <= at) {
            note(&mut self.old, name);
        }
        Some(own)
    }
}

// === impl ReadPage ===

impl ReadPage {
    /// Writes the page, and says what it lacks.
    fn commit(self, mut batch: ScrapeBatch<'_>) -> PageOutcome {
        let Self {
            report,
            refusal,
            own_name,
            process_start,
            is_of_picker,
            dated,
            converted,
            unconverted,
        } = self;
        let mut problems = Vec::new();
        if report.errors > 0 {
            let bad = format!("{} bad lines, the first: {}", report.errors, first_error(&report));
            report
                .lost
                .names()
                .for_each(|name| batch.unread(Some(name), &bad));
            if report.lost.has_unnamed() {
                batch.unread(None, &bad);
            }
            problems.push(bad);
        }
        if let Some(cut) = report.cut {
            batch.unread(None, &cut.to_string());
            problems.push(cut.to_string());
        }
        if let Some((name, (_, why))) = unconverted.first_key_value() {
            let count: usize = unconverted.values().map(|(count, _)| count).sum();
            problems.push(format!(
                "{} not converted, the first: {name}: {why}",
                counted(count, "histogram")
            ));
            for (name, (_, why)) in &unconverted {
                batch.unread(Some(name), why);
            }
        }
        if let Some(name) = own_name {
            let why = format!("exposes {name}, which is the scraper's to say: left out");
            batch.unread(Some(name), &why);
            problems.push(why);
        }
        let not_seen = [
            (
                &dated.future,
                "samples are dated by their target more than 5 s ahead: left out",
            ),
            (
                &dated.old,
                "samples are dated by their target before the lookback: they are not seen now",
            ),
        ];
        for (metrics, why) in not_seen {
            if !metrics.is_empty() {
                metrics.iter().for_each(|name| batch.unread(Some(name), why));
                problems.push(why.to_owned());
            }
        }
        if dated.is_ahead {
            problems.push(
                "samples are dated up to 5 s ahead by their target: they count as of the scrape".to_owned(),
            );
        }
        let committed = batch.commit();
        let unordered = committed.out_of_order + committed.duplicates + committed.out_of_bounds;
        if unordered > 0 {
            problems.push(format!(
                "{} out of order, out of bounds or twice with different values",
                counted(unordered, "sample")
            ));
        }
        problems.extend(
            refusal.map(|error| format!("{} refused: {error}", counted(committed.refused, "sample"))),
        );
        if committed.left_out > 0 {
            let left_out = committed.left_out;
            problems.push(format!(
                "{} left out, since others of their histograms are missing",
                counted(left_out, "bucket")
            ));
        }
        PageOutcome {
            samples: (report.samples + converted.1).saturating_sub(converted.0),
            series_added: committed.series_added,
            bad_lines: report.errors,
            refused: committed.refused,
            process_start,
            is_of_picker,
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
        }
    }
}

/// `1 sample`, `2 samples`
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
