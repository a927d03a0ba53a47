//! Reads pages of OpenMetrics 2.0 as Prometheus 3.16 reads them.
//!
//! A line may be all series of a histogram or summary, as a message of Protocol Buffers is; so it is read into the same memory,
//! where the texts of its series are written. The lines of other series are OpenMetrics 1.0, but for a start timestamp that may
//! follow, and for names: a family is called as its samples are, `x_total` as well, and has no others. A `# TYPE` line holds
//! until a line of another family.
//!
//! *Source*: <https://prometheus.io/docs/specs/om/open_metrics_spec_2_0/>.

use std::borrow::Cow;

use memchr::memrchr;

use super::comment::{self, Comment};
use super::composite::Composite;
use super::event::Event;
use super::fault::{Fault, Reason};
use super::format::Format;
use super::label::{Labels, Span, find_labels, find_next_close};
use super::limits::Limits;
use super::line::{Line, Lines};
use super::messages::{Item, Messages, Metric, Names, Native, Series, Wish};
use super::metric_type::MetricType;
use super::name::{name_length, skip_blanks};
use super::native::Histograms;
use super::number;
use super::report::{Cut, Report};

const FORMAT: Format = Format::OpenMetrics2;

/// Looks at a whole page. What is wrong with it goes into `report`; of what was cut off, the reason is given.
pub(super) fn read(
    page: &[u8],
    messages: &mut Messages,
    wish: Wish<'_>,
    spans: &mut Vec<Span>,
    report: &mut Report,
) -> Option<Cut> {
    messages.clear();
    // Half a line may be half a number.
    let (lines, tail) = page.split_at(memrchr(b'\n', page).map_or(0, |newline| newline + 1));
    let mut reader = Reader {
        messages,
        wish,
        spans,
        report,
        family: Family::default(),
        line_type: None,
        number: 0,
    };
    let line_bytes = wish.limits.line_bytes.min(u32::MAX as usize);
    let mut lines = Lines::new(lines);
    let mut has_ended = false;
    while let Some(line) = lines.next() {
        if has_ended {
            return Some(Cut::AfterEof);
        }
        reader.number += 1;
        reader.line_type = None;
        let (bytes, read) = match line {
            Line::Text(text) if text.len() <= line_bytes => (text.as_bytes(), reader.line(text)),
            Line::Text(text) => {
                let (bytes, limit) = (text.len(), wish.limits.line_bytes);
                (text.as_bytes(), Err(Reason::LineTooLong { bytes, limit }.at(0)))
            }
            Line::NotUtf8 { line, at } => (line, Err(Reason::NotUtf8.at(at))),
        };
        match read {
            Ok(is_end) => has_ended = is_end,
            Err(fault) => reader.add(bytes, fault),
        }
        if let Err(enough) = reader.messages.check_size(wish.limits) {
            return Some(enough.0);
        }
    }
    match tail {
        [] if has_ended => None,
        [] => Some(Cut::NoEof),
        _ if has_ended => Some(Cut::AfterEof),
        _ => reader.tail(tail),
    }
}

struct Reader<'p, 'a> {
    messages: &'p mut Messages,
    wish: Wish<'p>,
    spans: &'p mut Vec<Span>,
    report: &'p mut Report,
    family: Family<'a>,
    /// The type of the family that the line is of, as far as the line has been read.
    line_type: Option<MetricType>,
    /// Its number, from 1.
    number: usize,
}

/// The family whose lines are being read.
struct Family<'a> {
    name: Cow<'a, str>,
    metric_type: MetricType,
    has_unit: bool,
    /// The names of its series, once they were needed.
    names: Option<Names>,
}

/// What comes before a line's value.
struct Head<'a> {
    line: &'a str,
    start: usize,
    braces: Option<(usize, usize)>,
    end: usize,
}

/// What comes after it.
#[derive(Clone, Copy, Default)]
struct Times {
    timestamp: Option<i64>,
    start_timestamp: Option<i64>,
}

impl Default for Family<'_> {
    fn default() -> Self {
        Self {
            name: Cow::default(),
            metric_type: MetricType::Unknown,
            has_unit: false,
            names: None,
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'_, 'a> {
    /// Reads a line, and tells whether it is the end mark.
    fn line(&mut self, line: &'a str) -> Result<bool, Fault> {
        let start = skip_blanks(line.as_bytes(), 0);
        match line.as_bytes().get(start) {
            None => {
                self.ignore();
                Ok(false)
            }
            Some(b'#') => self.comment(line, start),
            Some(_) => {
                let (items, texts) = self.messages.mark();
                let read = self.sample(line, start);
                if read.is_err() {
                    // What has been read of it is no whole, and the names may be among it.
                    self.messages.take_back(items, texts);
                    self.family.names = None;
                }
                read.map(|()| false)
            }
        }
    }

    fn comment(&mut self, line: &'a str, start: usize) -> Result<bool, Fault> {
        let event = match comment::read(line, start, FORMAT, self.wish.limits)? {
            Comment::Metadata(event) => event,
            other => {
                self.ignore();
                return Ok(matches!(other, Comment::Eof));
            }
        };
        let (Event::Type { family, .. } | Event::Help { family, .. } | Event::Unit { family, .. }) = &event
        else {
            return Ok(false);
        };
        self.enter(family.clone());
        match &event {
            Event::Type { metric_type, family } => {
                if *metric_type == MetricType::Info && !family.ends_with("_info") {
                    return Err(not_of_type("the name of an info must end with \"_info\"").at(start));
                }
                self.family.metric_type = *metric_type;
                // They depend on it.
                self.family.names = None;
            }
            Event::Unit { unit, .. } => self.family.has_unit = !unit.is_empty(),
            _ => {}
        }
        let is_bare = matches!(self.family.metric_type, MetricType::Info | MetricType::StateSet);
        if is_bare && self.family.has_unit {
            return Err(not_of_type("an info or stateset has no unit").at(start));
        }
        let wanted = self.wish.wanted;
        if wanted.is_some_and(|wanted| !wanted.selects_family(&self.family.name)) {
            self.skip();
            return Ok(false);
        }
        let family = self.messages.push_text(&self.family.name);
        let item = match event {
            Event::Type { metric_type, .. } => Item::Type(family, metric_type),
            Event::Help { text, .. } => Item::Help(family, self.messages.push_text(&text)),
            Event::Unit { unit, .. } => Item::Unit(family, self.messages.push_text(unit)),
            _ => return Ok(false),
        };
        self.messages.items.push(item);
        Ok(false)
    }

    fn sample(&mut self, line: &'a str, start: usize) -> Result<(), Fault> {
        let (name, head) = self.head(line, start)?;
        self.enter(name);
        self.line_type = Some(self.family.metric_type).filter(|known| *known != MetricType::Unknown);
        let wanted = self.wish.wanted;
        if wanted.is_some_and(|wanted| !wanted.selects_family(&self.family.name)) {
            self.skip();
            return Ok(());
        }
        let at = skip_blanks(line.as_bytes(), head.end);
        match line.as_bytes().get(at) {
            None => Err(Reason::ExpectedValue.at(at)),
            Some(b'{') => self.whole(&head, at),
            Some(_) if wanted.is_some_and(|wanted| !wanted.selects(&self.family.name)) => {
                self.skip();
                Ok(())
            }
            Some(_) => self.number(&head, at),
        }
    }

    /// Reads the name, and finds the labels.
    fn head(&mut self, line: &'a str, start: usize) -> Result<(Cow<'a, str>, Head<'a>), Fault> {
        let (bytes, limits) = (line.as_bytes(), self.wish.limits);
        let mut head = Head {
            line,
            start,
            braces: None,
            end: start,
        };
        let mut name = None;
        if bytes[start] != b'{' {
            head.end += name_length(&bytes[start..], true);
            let (bytes, limit) = (head.end - start, limits.name_bytes);
            if bytes == 0 {
                return Err(Reason::ExpectedName.at(start));
            }
            if bytes > limit {
                return Err(Reason::NameTooLong { bytes, limit }.at(start));
            }
            name = Some(Cow::Borrowed(&line[start..head.end]));
        }
        let open = head.end;
        match bytes.get(open) {
            Some(b'{') => {
                let close = find_next_close(bytes, open)?;
                (head.braces, head.end) = (Some((open, close)), close + 1);
                if name.is_none() {
                    let place = find_labels(line, open, close, FORMAT, limits, self.spans)?;
                    name = place.map(|place| place.text(line));
                }
            }
            None | Some(b' ' | b'\t') => {}
            Some(_) => return Err(Reason::NameNeedsQuotes.at(open)),
        }
        Ok((name.ok_or(Reason::ExpectedName.at(start))?, head))
    }

    /// Reads a line whose value is a number.
    fn number(&mut self, head: &Head<'a>, at: usize) -> Result<(), Fault> {
        let line = head.line;
        let (value, length) = number::value(&line.as_bytes()[at..]).map_err(|reason| reason.at(at))?;
        let metric_type = self.family.metric_type;
        let problem = match metric_type {
            MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Summary => {
                Some("the value of a histogram or summary must be a composite one")
            }
            MetricType::Counter if value.is_nan() => Some("the value of a counter must be a number"),
            MetricType::Info if value != 1.0 => Some("the value of an info must be 1"),
            MetricType::StateSet if value != 0.0 && value != 1.0 => {
                Some("the value of a stateset must be 0 or 1")
            }
            MetricType::StateSet
                if {
                    labels(head, self.wish.limits, self.spans)?
                        .get(&self.family.name)
                        .is_none()
                } =>
            {
                Some("a stateset must have a label that is called as it is")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(not_of_type(problem).at(at));
        }
        let times = self.times(line, at + length)?;
        let name = self.messages.push_text(&self.family.name);
        let text = self.messages.push_text(&line[head.start..head.end]);
        let series = Series {
            name,
            text,
            metric_type,
            at: self.number,
            timestamp: times.timestamp,
            start_timestamp: times.start_timestamp,
        };
        self.messages.items.push(Item::Sample(series, value));
        Ok(())
    }

    /// Reads a line that is a whole histogram or summary.
    fn whole(&mut self, head: &Head<'a>, at: usize) -> Result<(), Fault> {
        let (limits, metric_type) = (self.wish.limits, self.family.metric_type);
        if !metric_type.has_parts() {
            let problem =
                "the value must be a number: it is not of a histogram or summary, as far as is known";
            return Err(not_of_type(problem).at(at));
        }
        let (composite, end) = Composite::read(head.line, at, metric_type)?;
        let times = self.times(head.line, end)?;
        let names = self.names();
        let labels = labels(head, limits, self.spans)?;
        self.messages.set_labels(labels);
        let (count, sum) = composite.count_and_sum()?;
        let metric = Metric {
            metric_type,
            value: None,
            at: self.number,
            timestamp: times.timestamp,
            start_timestamp: times.start_timestamp,
            count,
            sum,
            is_native: composite.is_native(),
        };
        let first = self.messages.items.len();
        let here = |fault: Fault| fault.reason.at(at);
        if metric.is_native && self.wish.histograms != Histograms::Classic {
            let histogram = Native::Read(Box::new(composite.native(limits)?));
            let series = self.messages.series(&names.name, None, &metric, limits);
            let item = Item::Histogram(series.map_err(here)?, histogram);
            self.messages.items.push(item);
        }
        let is_read = self.messages.items.len() > first;
        if !is_read || self.wish.histograms == Histograms::Both && composite.has_buckets() {
            let bound = metric.bound_label();
            if labels.get(bound).is_some() {
                let name = bound.into();
                return Err(Reason::DuplicateLabel { name }.at(head.end));
            }
            if labels.len() >= limits.labels {
                let limit = limits.labels;
                return Err(Reason::TooManyLabels { limit }.at(head.end));
            }
            let buckets = &mut self.messages.buckets;
            let mut each = &names.bucket;
            if metric_type == MetricType::Summary {
                each = &names.name;
                composite.quantiles(limits, buckets)?;
            } else if composite.has_buckets() {
                composite.buckets(limits, buckets)?;
            } else {
                *buckets = vec![(f64::INFINITY, count)];
            }
            self.messages.parts(&names, each, &metric, limits).map_err(here)?;
        }
        self.messages.drop_unwanted(first, self.wish, self.report);
        Ok(())
    }

    /// Reads what follows a value: a timestamp, a start timestamp and, without looking into them, exemplars.
    fn times(&self, line: &str, at: usize) -> Result<Times, Fault> {
        let mut times = Times::default();
        let mut at = skip_blanks(line.as_bytes(), at);
        while at < line.len() && !line[at..].starts_with('#') {
            let word = line[at..].split([' ', '\t']).next().unwrap_or_default();
            let (time, digits) = match word.strip_prefix("st@") {
                Some(digits) => (&mut times.start_timestamp, digits),
                // The one comes before the other.
                None if times.start_timestamp.is_some() => return Err(Reason::TrailingText.at(at)),
                None => (&mut times.timestamp, word),
            };
            let read = number::timestamp(digits, FORMAT).map_err(|reason| reason.at(at))?;
            if time.replace(read).is_some() {
                return Err(Reason::TrailingText.at(at));
            }
            at = skip_blanks(line.as_bytes(), at + word.len());
        }
        // As in Prometheus, the beginning of time is not known.
        times.start_timestamp = times.start_timestamp.filter(|&start| start != 0);
        Ok(times)
    }

    /// Goes on with the family of this name.
    fn enter(&mut self, name: Cow<'a, str>) {
        if self.family.name != name {
            self.messages.forget_bounds();
            self.family = Family {
                name,
                ..Family::default()
            };
        }
    }

    /// The names of the family's series, which is a histogram or summary.
    fn names(&mut self) -> Names {
        let suffixes = match self.family.metric_type {
            MetricType::GaugeHistogram => ["_bucket", "_gsum", "_gcount"],
            _ => ["_bucket", "_sum", "_count"],
        };
        let Family { name, names, .. } = &mut self.family;
        let messages = &mut *self.messages;
        names
            .get_or_insert_with(|| messages.names(name, suffixes))
            .clone()
    }

    /// Looks at a last line without a line feed. Only the end mark is whole nevertheless.
    fn tail(&mut self, tail: &'a [u8]) -> Option<Cut> {
        let text = std::str::from_utf8(tail).unwrap_or_default();
        let start = skip_blanks(tail, 0);
        let is_comment = text.as_bytes().get(start) == Some(&b'#');
        if is_comment
            && matches!(
                comment::read(text, start, FORMAT, self.wish.limits),
                Ok(Comment::Eof)
            )
        {
            self.ignore();
            return None;
        }
        self.line_type = None;
        self.number += 1;
        self.add(tail, Reason::UnfinishedLine.at(tail.len()));
        Some(Cut::UnfinishedLine)
    }

    #[cold]
    fn add(&mut self, line: &[u8], fault: Fault) {
        let (limits, wanted) = (self.wish.limits, self.wish.wanted);
        self.report.lines += 1;
        self.report
            .add((self.number, line), self.line_type, fault, limits, wanted);
    }

    fn ignore(&mut self) {
        self.report.lines += 1;
        self.report.ignored += 1;
    }

    fn skip(&mut self) {
        self.report.lines += 1;
        self.report.skipped += 1;
    }
}

// === helpers ===

/// The labels of a line; the metric's name is among them if there is none before.
fn labels<'s, 'a>(
    head: &Head<'a>,
    limits: &Limits,
    spans: &'s mut Vec<Span>,
) -> Result<Labels<'s, 'a>, Fault> {
    spans.clear();
    if let Some((open, close)) = head.braces {
        let name = find_labels(head.line, open, close, FORMAT, limits, spans)?;
        if name.is_some() && open > head.start {
            return Err(Reason::NameTwice.at(open));
        }
    }
    Ok(Labels::new(head.line, spans))
}

fn not_of_type(problem: &'static str) -> Reason {
    Reason::NotOfType { problem }
}
