//! What became of a target that was scraped once: its samples, and what is wrong with its page.

use std::collections::{BTreeSet, HashSet};

use fleetgauge_core::printable::{ExcerptBytes, Printable};
use fleetgauge_promql::exposition::{Event, Format, Limits, Parser, Reason, Report, Wanted};

use crate::input::BYTE_ORDER_MARK;

/// One sample as it is printed.
#[derive(Debug)]
pub(crate) struct SampleLine {
    pub(crate) name: String,
    /// Sorted by name.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
    /// *Unit*: seconds since the Unix epoch.
    pub(crate) timestamp: Option<f64>,
}

/// What became of one target.
pub(crate) struct Scraped {
    pub(crate) url: String,
    pub(crate) error: Option<String>,
    pub(crate) samples: Vec<SampleLine>,
    /// What is wrong with a page that could be read nevertheless.
    pub(crate) warnings: Vec<String>,
}

/// So many metrics are named in the warnings of one kind.
const MAX_NAMED: usize = 5;

// === impl Scraped ===

impl Scraped {
    /// What is to be said of the target, on one line. Parameters of its URL may be secrets.
    pub(crate) fn tell(&self, what: &str) -> String {
        let url = self.url.split('?').next().unwrap_or_default();
        format!("{}: {}", Printable(url), Printable(what))
    }

    /// Reads the whole page: what is wrong on lines that nobody asked for is told as well.
    pub(crate) fn read(&mut self, format: Format, body: &[u8], metrics: &[String]) {
        let wanted = (!metrics.is_empty()).then(|| Wanted::new(metrics.iter().map(String::as_str)));
        let mut parser = Parser::new().with_limits(Limits::default());
        let mut page = parser.page(format, body);
        while let Some(event) = page.next() {
            let Event::Sample(sample) = event else { continue };
            let Some(labels) = page.labels() else { continue };
            if wanted
                .as_ref()
                .is_some_and(|wanted| !wanted.selects(sample.name()))
            {
                continue;
            }
            let labels = sample.kept(labels);
            let mut labels: Vec<_> = labels.map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
            labels.sort();
            self.samples.push(SampleLine {
                name: sample.name().to_owned(),
                labels,
                value: sample.value,
                timestamp: sample.timestamp.map(|millis| millis as f64 / 1000.0),
            });
        }
        let report = page.finish();
        if body.starts_with(BYTE_ORDER_MARK) {
            let what = "begins with a byte order mark (U+FEFF), which belongs to no exposition";
            self.warnings.push(what.to_owned());
        }
        self.tell_duplicates();
        self.judge(&report, body);
        if self.error.is_none() {
            for metric in metrics {
                let one = Wanted::new([metric.as_str()]);
                if !self.samples.iter().any(|sample| one.selects(&sample.name)) {
                    self.warnings.push(format!("exposes no metric {metric}"));
                }
            }
        }
    }

    /// A scraper keeps the first value of a series that a page has twice for the same time.
    fn tell_duplicates(&mut self) {
        let key = |sample: &SampleLine| {
            (
                sample.name.clone(),
                sample.labels.clone(),
                sample.timestamp.map(f64::to_bits),
            )
        };
        let mut seen = HashSet::with_capacity(self.samples.len());
        let twice: BTreeSet<_> = (self.samples.iter())
            .filter(|sample| !seen.insert(key(sample)))
            .map(|sample| sample.name.as_str())
            .collect();
        for name in twice.iter().take(MAX_NAMED) {
            let what = "has series that are there more than once; of each the first value counts";
            self.warnings.push(format!("{name} {what}"));
        }
        if let more @ 1.. = twice.len().saturating_sub(MAX_NAMED) {
            self.warnings.push(format!(
                "{more} more metrics have series that are there more than once"
            ));
        }
    }

    fn judge(&mut self, report: &Report, body: &[u8]) {
        let is_good_line = |reason: &Reason| matches!(reason, Reason::UnfinishedLine);
        let is_exposition = report.samples > 0
            || report.metadata > 0
            || report.errors == 0
            || report
                .first_errors
                .iter()
                .any(|error| is_good_line(&error.reason));
        if !is_exposition {
            self.error = Some(format!(
                "expected an exposition, found something else: {}",
                ExcerptBytes(body.trim_ascii(), 80)
            ));
            return;
        }
        self.warnings
            .extend(report.first_errors.iter().map(ToString::to_string));
        let undescribed = report.errors - report.first_errors.len();
        if undescribed > 0 {
            self.warnings
                .push(format!("{undescribed} more lines can't be read"));
        }
        let lines = match report.errors {
            0 => None,
            1 => Some("not all of it: 1 line can't be read".to_owned()),
            errors => Some(format!("not all of it: {errors} lines can't be read")),
        };
        self.error = report.cut.map(|cut| cut.to_string()).or(lines);
        if self.error.is_none() && report.samples == 0 {
            self.warnings.push("exposes no samples".to_owned());
        }
    }
}
