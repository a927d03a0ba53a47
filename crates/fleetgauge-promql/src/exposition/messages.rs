//! Reads pages of Protocol Buffers: families, one after the other, each behind its length.
//!
//! A series has no text there, by which scrapers key it, and a classic histogram is one message for many series. So the texts
//! of all series are written first, into memory that is used again for the next page; that is what the text format would have
//! had to be read for. The rest is looked at where it lies. Written by hand, since generated types copy each name and value
//! of each series of each page.
//!
//! What is broken costs what it is in: a metric, or, where it cannot be told where a metric ends, its family.
//!
//! *Source*: <https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>.

use std::fmt::Write as _;
use std::ops::Range;

use fleetgauge_syntax::number::OpenMetricsFloat;

use super::encode::{push_label, push_quoted};
use super::fault::{Fault, Reason};
use super::label::Labels;
use super::limits::Limits;
use super::metric_type::MetricType;
use super::name::is_plain;
use super::native::{self, Histograms, check_count};
use super::report::{Cut, Report};
use super::wanted::Wanted;
use super::wire::{Field, Message, varint};
use crate::histogram::FloatHistogram;

/// The texts of a page's series, and what it says of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Messages {
    pub(super) texts: String,
    pub(super) items: Vec<Item>,
    labels: String,
    /// The upper bounds of the histogram before as texts: those of a family are mostly the same.
    bounds: Vec<(u64, Range<usize>)>,
    bound_texts: String,
    pub(super) buckets: Vec<(f64, f64)>,
}

/// Something that a page says, texts by their place in [`Messages::texts`].
#[derive(Clone, Debug)]
pub(super) enum Item {
    Type(Range<usize>, MetricType),
    Help(Range<usize>, Range<usize>),
    Unit(Range<usize>, Range<usize>),
    Sample(Series, f64),
    Histogram(Series, Native),
}

/// A native histogram.
#[derive(Clone, Debug)]
pub(super) enum Native {
    /// By the place of its message in the page.
    Message(Range<usize>),
    Read(Box<FloatHistogram>),
}

#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: Range<usize>,
    pub(super) text: Range<usize>,
    pub(super) metric_type: MetricType,
    /// Where in the page its value is: at which byte, or, of a page of lines, in which line.
    pub(super) at: usize,
    pub(super) timestamp: Option<i64>,
    pub(super) start_timestamp: Option<i64>,
}

/// What a page is read with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'p> {
    pub(super) limits: &'p Limits,
    pub(super) wanted: Option<&'p Wanted>,
    pub(super) histograms: Histograms,
}

/// Why the page is not read on.
pub(super) struct Enough(pub(super) Cut);

/// What a family says of all its metrics.
#[derive(Clone, Copy, Default)]
struct Head<'a> {
    name: &'a str,
    help: Option<Message<'a>>,
    unit: &'a str,
    /// As a number, where it is said.
    metric_type: Option<u64>,
}

/// A metric: its value as it lies there, and what has been read of it.
pub(super) struct Metric<'a> {
    pub(super) metric_type: MetricType,
    pub(super) value: Option<Message<'a>>,
    /// As of [`Series::at`].
    pub(super) at: usize,
    pub(super) timestamp: Option<i64>,
    pub(super) start_timestamp: Option<i64>,
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) is_native: bool,
}

/// The names of a family's samples.
#[derive(Clone)]
pub(super) struct Names {
    pub(super) name: Range<usize>,
    pub(super) bucket: Range<usize>,
    pub(super) sum: Range<usize>,
    pub(super) count: Range<usize>,
}

// === impl Messages ===

impl Messages {
    /// Gives back what a large page took.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        if self.texts.capacity() > bytes {
            self.texts = String::new();
        }
        if self.items.capacity() * size_of::<Item>() > bytes {
            self.items = Vec::new();
        }
    }

    /// Looks at a whole page. What is wrong with it goes into `report`; of what was cut off, the reason is given.
    pub(super) fn read(&mut self, body: &[u8], wish: Wish<'_>, report: &mut Report) -> Option<Cut> {
        self.clear();
        let whole = body.get(..wish.limits.body_bytes).unwrap_or(body);
        let mut at = 0;
        while at < whole.len() {
            // Where a page is larger than allowed, a family at its end may be cut off, of which more is said elsewhere.
            let cut = (whole.len() == body.len()).then_some(Cut::UnfinishedMessage);
            let Some((length, prefix)) = varint(&whole[at..]) else {
                return cut;
            };
            at += prefix;
            let end = usize::try_from(length)
                .ok()
                .and_then(|length| at.checked_add(length));
            let Some(family) = end.and_then(|end| whole.get(at..end)) else {
                return cut;
            };
            let family = Message {
                bytes: family,
                start: at,
            };
            at += family.bytes.len();
            if let Err(Enough(cut)) = self.family(family, wish, report) {
                return Some(cut);
            }
        }
        None
    }

    fn family(&mut self, family: Message<'_>, wish: Wish<'_>, report: &mut Report) -> Result<(), Enough> {
        let mut head = Head::default();
        let (metric_type, metrics) = match head.read(family, wish.limits) {
            Ok(read) => read,
            Err(fault) => {
                // One that ended before it said its type may be of any.
                let family = (head.name, head.metric_type.and_then(MetricType::from_message));
                report.add_message(family, head.name, fault, wish.limits, wish.wanted);
                return Ok(());
            }
        };
        // As in Prometheus, a family without metrics says nothing.
        if metrics == 0 {
            return Ok(());
        }
        if wish
            .wanted
            .is_some_and(|wanted| !wanted.selects_family(head.name))
        {
            report.lines += metrics;
            report.skipped += metrics;
            return Ok(());
        }
        let (items, texts) = self.mark();
        self.metadata(&head, metric_type);
        let before = self.items.len();
        self.forget_bounds();
        let names = match metric_type.has_parts() {
            true => self.names(head.name, ["_bucket", "_sum", "_count"]),
            false => {
                let name = self.push_text(head.name);
                let [bucket, sum, count] = [(); 3].map(|()| name.clone());
                Names {
                    name,
                    bucket,
                    sum,
                    count,
                }
            }
        };
        for field in family.fields().flatten().filter(|field| field.number == 4) {
            let Ok(message) = field.message() else { continue };
            let (items, texts) = self.mark();
            let read = self.metric(message, metric_type, &names, wish);
            if let Err(fault) = read {
                // What has been read of it is no whole.
                self.take_back(items, texts);
                let family = (head.name, Some(metric_type));
                report.add_message(family, head.name, fault, wish.limits, wish.wanted);
            }
            self.drop_unwanted(items, wish, report);
            self.check_size(wish.limits)?;
        }
        if self.items.len() == before {
            self.take_back(items, texts);
        }
        Ok(())
    }

    fn metadata(&mut self, head: &Head<'_>, metric_type: MetricType) {
        let name = self.push_text(head.name);
        // It has been looked at before.
        let help = head.help.and_then(|help| help.text().ok());
        if let Some(help) = help.filter(|help| !help.is_empty()) {
            let help = self.push_text(help);
            self.items.push(Item::Help(name.clone(), help));
        }
        self.items.push(Item::Type(name.clone(), metric_type));
        if !head.unit.is_empty() {
            let unit = self.push_text(head.unit);
            self.items.push(Item::Unit(name, unit));
        }
    }

    /// Takes back the samples from the item `first` on whose names nobody wants.
    pub(super) fn drop_unwanted(&mut self, first: usize, wish: Wish<'_>, report: &mut Report) {
        let Some(wanted) = wish.wanted else { return };
        let Self { texts, items, .. } = self;
        let before = items.len();
        let mut at = 0;
        items.retain(|item| {
            at += 1;
            let (Item::Sample(series, _) | Item::Histogram(series, _)) = item else {
                return true;
            };
            at <= first || wanted.selects(&texts[series.name.clone()])
        });
        report.lines += before - items.len();
        report.skipped += before - items.len();
    }

    fn metric(
        &mut self,
        message: Message<'_>,
        metric_type: MetricType,
        names: &Names,
        wish: Wish<'_>,
    ) -> Result<(), Fault> {
        let mut metric = self.labels_and_value(message, metric_type)?;
        // What is not said is not zero.
        let value = metric.value.ok_or(Reason::ExpectedValue.at(message.start))?;
        metric.at = value.start;
        match metric_type {
            MetricType::Histogram | MetricType::GaugeHistogram => {
                self.read_histogram(value, &mut metric, wish.limits)?;
                if metric.is_native && wish.histograms != Histograms::Classic {
                    let series = self.series(&names.name, None, &metric, wish.limits)?;
                    let place = value.start..value.start + value.bytes.len();
                    self.items.push(Item::Histogram(series, Native::Message(place)));
                    if wish.histograms == Histograms::Native || self.buckets.is_empty() {
                        return Ok(());
                    }
                }
                self.end_buckets(metric.count)
                    .map_err(|reason| reason.at(value.start))?;
                self.parts(names, &names.bucket, &metric, wish.limits)
            }
            MetricType::Summary => {
                self.read_summary(value, &mut metric, wish.limits)?;
                self.parts(names, &names.name, &metric, wish.limits)
            }
            _ => {
                let mut number = 0.0;
                for field in value.fields() {
                    let field = field?;
                    match (field.number, metric_type) {
                        (1, _) => number = field.double()?,
                        (3, MetricType::Counter) => metric.start_timestamp = moment(field)?,
                        _ => {}
                    }
                }
                let series = self.series(&names.name, None, &metric, wish.limits)?;
                self.items.push(Item::Sample(series, number));
                Ok(())
            }
        }
    }

    /// The samples of a classic histogram or a summary, in the order of Prometheus. *`each`*: the name of those that have a
    /// bound or quantile.
    pub(super) fn parts(
        &mut self,
        names: &Names,
        each: &Range<usize>,
        metric: &Metric<'_>,
        limits: &Limits,
    ) -> Result<(), Fault> {
        for (name, value) in [(&names.count, metric.count), (&names.sum, metric.sum)] {
            let series = self.series(name, None, metric, limits)?;
            self.items.push(Item::Sample(series, value));
        }
        let buckets = std::mem::take(&mut self.buckets);
        let mut all = buckets.iter().enumerate();
        let read = all.try_for_each(|(at, (bound, value))| {
            if self.texts.len() > limits.body_bytes {
                // Here the page ends in any case.
                return Ok(());
            }
            let bound = self.bound(at, *bound);
            let series = self.series(each, Some(bound), metric, limits)?;
            self.items.push(Item::Sample(series, *value));
            Ok(())
        });
        self.buckets = buckets;
        read
    }

    /// Reads a metric but for its value, whose place is told; its labels into `self.labels`.
    fn labels_and_value<'a>(
        &mut self,
        message: Message<'a>,
        metric_type: MetricType,
    ) -> Result<Metric<'a>, Fault> {
        self.labels.clear();
        let mut metric = Metric {
            metric_type,
            value: None,
            at: message.start,
            timestamp: None,
            start_timestamp: None,
            count: 0.0,
            sum: 0.0,
            is_native: false,
        };
        let of_type = match metric_type {
            MetricType::Gauge => 2,
            MetricType::Counter => 3,
            MetricType::Summary => 4,
            MetricType::Histogram | MetricType::GaugeHistogram => 7,
            _ => 5,
        };
        for field in message.fields() {
            let field = field?;
            match field.number {
                1 => self.label(field.message()?)?,
                // As in Prometheus, the beginning of time is no time.
                6 => metric.timestamp = Some(field.varint()?.cast_signed()).filter(|&time| time != 0),
                number if number == of_type => metric.value = Some(field.message()?),
                _ => {}
            }
        }
        Ok(metric)
    }

    fn label(&mut self, label: Message<'_>) -> Result<(), Fault> {
        let (mut name, mut value) = ("", "");
        for field in label.fields() {
            let field = field?;
            match field.number {
                1 => name = field.text()?,
                2 => value = field.text()?,
                _ => {}
            }
        }
        if name.is_empty() {
            return Err(Reason::ExpectedLabelName.at(label.start));
        }
        push_label(&mut self.labels, name, value);
        Ok(())
    }

    fn read_histogram(
        &mut self,
        histogram: Message<'_>,
        metric: &mut Metric<'_>,
        limits: &Limits,
    ) -> Result<(), Fault> {
        self.buckets.clear();
        let (mut count, mut float) = (None, None);
        for field in histogram.fields() {
            let field = field?;
            match field.number {
                1 => count = Some(field.varint()?),
                2 => metric.sum = field.double()?,
                3 => self.bucket(field, limits)?,
                4 => float = Some(field.double()?),
                6 => metric.is_native |= field.double()? > 0.0,
                7 => metric.is_native |= field.varint()? > 0,
                9 | 12 => metric.is_native |= field.message().is_ok(),
                15 => metric.start_timestamp = moment(field)?,
                _ => {}
            }
        }
        let is_counted = count.is_some() || float.is_some();
        metric.count =
            either(float.unwrap_or(0.0), count.unwrap_or(0)).map_err(|reason| reason.at(histogram.start))?;
        // Clients may leave out what is zero, so that a count which is not said is one where nothing was observed.
        if !is_counted && metric.is_native {
            native::read(histogram, false, limits)?;
        }
        if !is_counted && let Some((_, counted)) = self.buckets.iter().find(|(_, counted)| *counted > 0.0) {
            let problem = format!("{counted} observations in a bucket, and no count");
            return Err(Reason::BadHistogram { problem }.at(histogram.start));
        }
        Ok(())
    }

    fn bucket(&mut self, field: Field<'_>, limits: &Limits) -> Result<(), Fault> {
        let (mut count, mut float, mut bound) = (0, 0.0, 0.0);
        for field in field.message()?.fields() {
            let field = field?;
            match field.number {
                1 => count = field.varint()?,
                2 => bound = field.double()?,
                4 => float = field.double()?,
                _ => {}
            }
        }
        either(float, count)
            .and_then(|count| self.push_bucket(bound, count, limits))
            .map_err(|reason| reason.at(field.at))
    }

    /// Adds the bucket up to infinity, unless it is there: all that was observed is in it.
    fn end_buckets(&mut self, count: f64) -> Result<(), Reason> {
        if self.buckets.iter().any(|(bound, _)| *bound == f64::INFINITY) {
            return Ok(());
        }
        if let Some((_, counted)) = self.buckets.iter().find(|(_, counted)| *counted > count) {
            let problem = format!("{counted} observations in a bucket, and a count of {count}");
            return Err(Reason::BadHistogram { problem });
        }
        self.buckets.push((f64::INFINITY, count));
        Ok(())
    }

    fn read_summary(
        &mut self,
        summary: Message<'_>,
        metric: &mut Metric<'_>,
        limits: &Limits,
    ) -> Result<(), Fault> {
        self.buckets.clear();
        for field in summary.fields() {
            let field = field?;
            match field.number {
                1 => metric.count = field.varint()? as f64,
                2 => metric.sum = field.double()?,
                3 => {
                    let (mut quantile, mut value) = (0.0, 0.0);
                    for field in field.message()?.fields() {
                        let field = field?;
                        match field.number {
                            1 => quantile = field.double()?,
                            2 => value = field.double()?,
                            _ => {}
                        }
                    }
                    self.push_bucket(quantile, value, limits)
                        .map_err(|reason| reason.at(field.at))?;
                }
                4 => metric.start_timestamp = moment(field)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn push_bucket(&mut self, bound: f64, value: f64, limits: &Limits) -> Result<(), Reason> {
        let limit = limits.buckets;
        if self.buckets.len() >= limit {
            return Err(Reason::TooManyBuckets { limit });
        }
        self.buckets.push((bound, value));
        Ok(())
    }

    /// The text of a bound, which is that of the bucket `at`.
    fn bound(&mut self, at: usize, bound: f64) -> Range<usize> {
        let bits = bound.to_bits();
        if let Some((known, text)) = self.bounds.get(at)
            && *known == bits
        {
            return text.clone();
        }
        let start = self.bound_texts.len();
        // Writing to a string does not fail.
        let _ = write!(self.bound_texts, "{}", OpenMetricsFloat(bound));
        let text = start..self.bound_texts.len();
        self.bounds.truncate(at);
        self.bounds.push((bits, text.clone()));
        text
    }

    /// Writes the text of a series. *`bound`*: the place of the text of its bound or quantile.
    pub(super) fn series(
        &mut self,
        name: &Range<usize>,
        bound: Option<Range<usize>>,
        metric: &Metric<'_>,
        limits: &Limits,
    ) -> Result<Series, Fault> {
        let start = self.texts.len();
        let is_plain = is_plain(&self.texts[name.clone()], true);
        if is_plain {
            self.texts.extend_from_within(name.clone());
        } else {
            let name = self.texts[name.clone()].to_owned();
            self.texts.push('{');
            push_quoted(&mut self.texts, &name);
        }
        let mut separator = if is_plain { '{' } else { ',' };
        if !self.labels.is_empty() {
            self.texts.push(separator);
            separator = ',';
            self.texts.push_str(&self.labels);
        }
        if let Some(bound) = bound {
            self.texts.push(separator);
            separator = ',';
            let label = metric.bound_label();
            let _ = write!(self.texts, "{label}=\"{}\"", &self.bound_texts[bound]);
        }
        if separator == ',' {
            self.texts.push('}');
        }
        let text = start..self.texts.len();
        let at = metric.at;
        let (bytes, limit) = (text.len(), limits.line_bytes.min(u32::MAX as usize));
        if bytes > limit {
            return Err(Reason::LineTooLong { bytes, limit }.at(at));
        }
        Ok(Series {
            name: name.clone(),
            text,
            metric_type: metric.metric_type,
            at,
            timestamp: metric.timestamp,
            start_timestamp: metric.start_timestamp,
        })
    }

    /// The names of a family whose metrics are several series each, with these suffixes of a bucket, sum and count.
    pub(super) fn names(&mut self, name: &str, suffixes: [&str; 3]) -> Names {
        let [bucket, sum, count] = suffixes.map(|suffix| {
            let start = self.push_text(name).start;
            start..self.push_text(suffix).end
        });
        Names {
            name: self.push_text(name),
            bucket,
            sum,
            count,
        }
    }

    /// Has these be the labels of the series that are written next.
    pub(super) fn set_labels(&mut self, labels: Labels<'_, '_>) {
        self.labels.clear();
        for (name, value) in labels.iter() {
            push_label(&mut self.labels, &name, &value);
        }
    }

    pub(super) fn push_text(&mut self, text: &str) -> Range<usize> {
        let start = self.texts.len();
        self.texts.push_str(text);
        start..self.texts.len()
    }

    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.items.clear();
    }

    /// How many items there are, and how much text.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.items.len(), self.texts.len())
    }

    /// Takes back what came after a [`mark`](Self::mark).
    pub(super) fn take_back(&mut self, items: usize, texts: usize) {
        self.items.truncate(items);
        self.texts.truncate(texts);
    }

    /// The texts of bounds are kept for the metrics of one family.
    pub(super) fn forget_bounds(&mut self) {
        self.bounds.clear();
        self.bound_texts.clear();
    }

    pub(super) fn check_size(&self, limits: &Limits) -> Result<(), Enough> {
        let (bytes, limit) = (self.texts.len(), limits.body_bytes);
        if bytes > limit {
            return Err(Enough(Cut::BodyTooLarge { bytes, limit }));
        }
        let limit = limits.samples;
        if self.items.len() > limit.saturating_mul(4) {
            return Err(Enough(Cut::TooManySamples { limit }));
        }
        Ok(())
    }
}

// === impl Metric ===

impl Metric<'_> {
    /// The label by which its series are told apart.
    pub(super) fn bound_label(&self) -> &'static str {
        match self.metric_type {
            MetricType::Summary => "quantile",
            _ => "le",
        }
    }
}

// === impl Head ===

impl<'a> Head<'a> {
    /// Reads what a family says of all its metrics. Gives its type, and how many metrics there are.
    fn read(&mut self, family: Message<'a>, limits: &Limits) -> Result<(MetricType, usize), Fault> {
        let mut metrics = 0;
        let mut type_at = family.start;
        for field in family.fields() {
            let field = field?;
            match field.number {
                1 => self.name = field.text()?,
                2 => self.help = Some(field.message()?),
                3 => (self.metric_type, type_at) = (Some(field.varint()?), field.at),
                4 => metrics += usize::from(field.message().map(|_| true)?),
                5 => self.unit = field.text()?,
                _ => {}
            }
        }
        if metrics == 0 {
            return Ok((MetricType::Unknown, 0));
        }
        if self.name.is_empty() {
            return Err(Reason::ExpectedName.at(family.start));
        }
        let (bytes, limit) = (self.name.len(), limits.name_bytes);
        if bytes > limit {
            return Err(Reason::NameTooLong { bytes, limit }.at(family.start));
        }
        self.help.map_or(Ok(""), Message::text)?;
        // What is not said is the first of them.
        let metric_type = MetricType::from_message(self.metric_type.unwrap_or(0));
        Ok((metric_type.ok_or(Reason::UnknownType.at(type_at))?, metrics))
    }
}

// === helpers ===

/// A count that is written in one of two ways.
fn either(float: f64, count: u64) -> Result<f64, Reason> {
    check_count(float)?;
    Ok(if float > 0.0 { float } else { count as f64 })
}

/// When what is counted began, in milliseconds.
fn moment(field: Field<'_>) -> Result<Option<i64>, Fault> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for field in field.message()?.fields() {
        let field = field?;
        match field.number {
            1 => seconds = field.varint()?.cast_signed(),
            2 => nanos = i64::from(field.varint()? as i32),
            _ => {}
        }
    }
    let millis = seconds
        .checked_mul(1000)
        .and_then(|m| m.checked_add(nanos / 1_000_000));
    let millis = millis.ok_or(Reason::BadTimestamp.at(field.at))?;
    Ok(Some(millis).filter(|&millis| millis != 0))
}
