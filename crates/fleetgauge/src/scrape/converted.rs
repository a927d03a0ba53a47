//! Classic histograms of a page as native ones with custom buckets, for who wants them so.
//!
//! They are put together when the page has been read: the parts of one may stand anywhere on it, and only then is it known what
//! the page has lost. One that may lack a part is no histogram, and missed; a number of what is left of it would be wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter;

use fleetgauge_core::printable::Quoted;
use fleetgauge_promql::exposition::{
    Format, HistogramSample, Labels, LostMetrics, MetricType, Sample, Wanted,
};
use fleetgauge_promql::histogram::{ClassicHistogram, CounterReset, FloatHistogram};

use super::config::ScrapeConfig;

/// The classic histograms of a page, as they are gathered.
#[derive(Clone, Default)]
pub(super) struct Conversion {
    wanted: Option<Wanted>,
    keeps_classic: bool,
    /// By a text that no page has for a series: by that of its own, the window knows each of them again.
    gathered: BTreeMap<String, Gathered>,
}

/// What of a histogram a sample is.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Bucket,
    Count,
    Sum,
}

#[derive(Clone)]
struct Gathered {
    /// The metric's name and then the other labels, sorted.
    labels: Vec<(String, String)>,
    parts: ClassicHistogram,
    is_gauge: bool,
    timestamp: Option<i64>,
    fault: Option<&'static str>,
    /// Whether the page has it as a native one already, which is then the one that counts.
    is_native: bool,
}

/// A histogram that was put together.
pub(super) struct Converted {
    /// Its key in the window.
    pub(super) series: String,
    /// The metric's name first.
    pub(super) labels: Vec<(String, String)>,
    pub(super) timestamp: Option<i64>,
    /// Or why there is none.
    pub(super) histogram: Result<FloatHistogram, &'static str>,
}

// === impl Conversion ===

impl Conversion {
    /// That of a source, if it converts.
    pub(super) fn of(config: &ScrapeConfig) -> Option<Self> {
        config.convert_classic_histograms_to_nhcb.then(|| Self {
            wanted: config.wanted.clone(),
            keeps_classic: config.always_scrape_classic_histograms,
            ..Self::default()
        })
    }

    /// Forgets what is left of a page that was not read to its end.
    pub(super) fn begin(&mut self) {
        self.gathered.clear();
    }

    /// Whether parts that were taken are samples of their own as well.
    pub(super) fn keeps_classic(&self) -> bool {
        self.keeps_classic
    }

    /// Which part of a histogram that is to be converted a sample is, as far as its name tells.
    pub(super) fn part(&self, sample: &Sample<'_>, format: Format) -> Option<Part> {
        let is_histogram = match sample.metric_type() {
            Some(MetricType::Histogram) => true,
            // In other texts it is several lines, and Prometheus does not convert it.
            Some(MetricType::GaugeHistogram) => matches!(format, Format::Protobuf | Format::OpenMetrics2),
            _ => false,
        };
        let (name, part) = split(sample.name()).filter(|_| is_histogram)?;
        let is_wanted = |wanted: &Wanted| wanted.selects(name);
        self.wanted.as_ref().is_none_or(is_wanted).then_some(part)
    }

    /// Takes a part.
    pub(super) fn add(&mut self, part: Part, sample: &Sample<'_>, labels: Labels<'_, '_>) {
        let Some((name, _)) = split(sample.name()) else {
            return;
        };
        let is_gauge = sample.metric_type() == Some(MetricType::GaugeHistogram);
        let mut bound = None;
        let others = labels.iter().filter(|(name, value)| {
            if name == "le" {
                bound = value.parse().ok();
            }
            name != "le"
        });
        let others: Vec<_> = others.collect();
        let gathered = self.of_series(name, others, sample.timestamp);
        gathered.is_gauge = is_gauge;
        if gathered.timestamp != sample.timestamp {
            gathered.fault = Some("the parts of a classic histogram are dated differently");
        }
        let value = sample.value;
        let is_same = match (part, bound) {
            (Part::Count, _) => gathered.parts.set_count(value),
            (Part::Sum, _) => gathered.parts.set_sum(value),
            (Part::Bucket, Some(bound)) if !f64::is_nan(bound) => gathered.parts.add_bucket(bound, value),
            (Part::Bucket, _) => {
                gathered.fault = Some("a bucket of a classic histogram has no bound");
                true
            }
        };
        if !is_same {
            gathered.fault = Some("a part of a classic histogram is there twice, with different values");
        }
    }

    /// Notes that the page has a native histogram, in whose place none is made.
    pub(super) fn add_native(&mut self, sample: &HistogramSample<'_>, labels: Labels<'_, '_>) {
        let gathered = self.of_series(sample.name(), labels.iter().collect(), sample.timestamp);
        gathered.is_native = true;
    }

    /// What was gathered of the page, which has lost so much.
    pub(super) fn finish(&mut self, lost: &LostMetrics) -> impl Iterator<Item = Converted> {
        let gathered = std::mem::take(&mut self.gathered).into_iter();
        gathered.filter(|(_, one)| !one.is_native).map(|(series, one)| {
            let name = one.labels.first().map_or("", |(_, name)| name.as_str());
            let has_lost = ["", "_bucket", "_count", "_sum", "_gcount", "_gsum"]
                .iter()
                .any(|part| lost.may_include(&format!("{name}{part}")));
            Converted {
                series,
                timestamp: one.timestamp,
                histogram: match has_lost {
                    true => Err("a part of a classic histogram could not be read"),
                    false => one.fault.map_or(Ok(()), Err).and_then(|()| one.histogram()),
                },
                labels: one.labels,
            }
        })
    }

    /// What is known of the series with these labels, which is dated so where it is new.
    fn of_series(
        &mut self,
        name: &str,
        mut labels: Vec<(Cow<'_, str>, Cow<'_, str>)>,
        timestamp: Option<i64>,
    ) -> &mut Gathered {
        labels.sort_unstable();
        let mut key = format!("# {}", Quoted(name));
        for (label, value) in &labels {
            // Writing to a string does not fail.
            let _ = write!(key, ",{}={}", Quoted(label), Quoted(value));
        }
        self.gathered.entry(key).or_insert_with(|| {
            let others = labels
                .into_iter()
                .map(|(label, value)| (label.into_owned(), value.into_owned()));
            Gathered {
                labels: iter::once(("__name__".to_owned(), name.to_owned()))
                    .chain(others)
                    .collect(),
                parts: ClassicHistogram::default(),
                is_gauge: false,
                timestamp,
                fault: None,
                is_native: false,
            }
        })
    }
}

// === impl Gathered ===

impl Gathered {
    fn histogram(&self) -> Result<FloatHistogram, &'static str> {
        if !self.parts.has_count() {
            // Prometheus takes the count of the highest bucket, as if nothing had been above it.
            return Err("a classic histogram has neither a count nor a bucket up to +Inf");
        }
        let read = self.parts.clone().convert().map_err(|error| error.reason())?;
        let read = match self.parts.has_sum() {
            true => read,
            // Prometheus takes 0, which would be a mean of 0.
            false => read.with_sum(f64::NAN),
        };
        Ok(match self.is_gauge {
            true => read.with_counter_reset(CounterReset::Gauge),
            false => read,
        })
    }
}

// === helpers ===

/// The name of a histogram, and which part of it the sample of this name is.
fn split(name: &str) -> Option<(&str, Part)> {
    let parts = [
        ("_bucket", Part::Bucket),
        ("_count", Part::Count),
        ("_sum", Part::Sum),
        ("_gcount", Part::Count),
        ("_gsum", Part::Sum),
    ];
    parts
        .into_iter()
        .find_map(|(suffix, part)| Some((name.strip_suffix(suffix)?, part)))
}
