//! Reads pages, line by line or message by message.

use std::borrow::Cow;

use memchr::memrchr;

use super::comment::{self, Comment};
use super::event::{Event, HistogramSample, Sample};
use super::fault::{Fault, Reason};
use super::format::Format;
use super::label::{Labels, Span, find_close, find_labels};
use super::limits::Limits;
use super::line::{Line, Lines};
use super::messages::{Item, Messages, Native, Wish};
use super::metric_type::MetricType;
use super::name::{is_name_byte, name_length, skip_blanks};
use super::native::{self, Histograms};
use super::number;
use super::open_metrics_2;
use super::report::{Cut, Place, Report};
use super::wanted::Wanted;
use super::wire::Message;

/// Reads pages one after the other with the same limits and wishes, and reuses its memory from page to
/// page.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    limits: Limits,
    wanted: Option<Wanted>,
    histograms: Histograms,
    spans: Vec<Span>,
    messages: Messages,
}

/// One page being read: an iterator over what its lines say.
#[derive(Debug)]
pub struct Page<'a> {
    format: Format,
    limits: &'a Limits,
    wanted: Option<&'a Wanted>,
    spans: &'a mut Vec<Span>,
    messages: Option<Said<'a>>,
    lines: Lines<'a>,
    /// What comes after the last line feed.
    tail: &'a [u8],
    /// The limit, and within what positions in a line can hold.
    line_bytes: usize,
    /// The name of the sample before. A family's samples come together, so comparing with it spares most
    /// lines the search for the end of their name and all that depends on the name alone.
    name: Name<'a>,
    /// Name and type of the `# TYPE` line before.
    family: Option<(Cow<'a, str>, MetricType)>,
    current: Option<Current<'a>>,
    ended: Ended,
    report: Report,
}

/// What a page says that was read before, and has not been given yet.
#[derive(Debug)]
struct Said<'a> {
    page: &'a [u8],
    texts: &'a str,
    items: std::vec::Drain<'a, Item>,
    /// Why that is not all of it.
    cut: Option<Cut>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Name<'a> {
    text: &'a str,
    is_wanted: bool,
    metric_type: Option<MetricType>,
}

/// The sample given last.
#[derive(Debug)]
struct Current<'a> {
    line: &'a str,
    braces: Option<(usize, usize)>,
    labels: State,
    /// Of a page that was read before, the metric's name, and where in the page the metric is: at which byte, or in which line.
    message: Option<(&'a str, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Unread,
    Read,
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    No,
    /// `# EOF` was read.
    AtEof,
    Yes,
}

// === impl Parser ===

impl Parser {
    /// With the default limits, for everything on a page.
    pub fn new() -> Self {
        Self::default()
    }

    fleetgauge_core::setters! {
        /// With these limits.
        with_limits(limits: Limits) => limits = limits;
        /// For these metrics alone.
        with_wanted(wanted: Wanted) => wanted = Some(wanted);
        /// With these forms of histograms where a page has two.
        with_histograms(histograms: Histograms) => histograms = histograms;
    }

    /// Starts a page.
    pub fn page<'a>(&'a mut self, format: Format, body: &'a [u8]) -> Page<'a> {
        Page::new(self, format, body)
    }

    /// Gives back the memory that a large page took, down to about so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.messages.shrink_to(bytes);
    }
}

// === impl Page ===

impl<'a> Page<'a> {
    pub(super) fn new(parser: &'a mut Parser, format: Format, body: &'a [u8]) -> Self {
        let Parser {
            limits,
            wanted,
            histograms,
            spans,
            messages,
        } = parser;
        let mut report = Report::default();
        let mut whole = body;
        if body.len() > limits.body_bytes {
            let (bytes, limit) = (body.len(), limits.body_bytes);
            report.cut(Cut::BodyTooLarge { bytes, limit });
            whole = &body[..limit];
        }
        let wish = Wish {
            limits,
            wanted: wanted.as_ref(),
            histograms: *histograms,
        };
        let mut said = None;
        let read = match format {
            Format::Text | Format::OpenMetrics => None,
            Format::OpenMetrics2 => Some(open_metrics_2::read(whole, messages, wish, spans, &mut report)),
            Format::Protobuf => Some(messages.read(body, wish, &mut report)),
        };
        if let Some(cut) = read {
            said = Some(Said {
                page: std::mem::take(&mut whole),
                texts: &messages.texts,
                items: messages.items.drain(..),
                cut,
            });
        }
        // Half a line may be half a number.
        let (lines, tail) = whole.split_at(memrchr(b'\n', whole).map_or(0, |newline| newline + 1));
        spans.clear();
        Self {
            format,
            limits,
            wanted: wanted.as_ref(),
            spans,
            messages: said,
            lines: Lines::new(lines),
            tail,
            line_bytes: limits.line_bytes.min(u32::MAX as usize),
            name: Name::default(),
            family: None,
            current: None,
            ended: Ended::No,
            report,
        }
    }

    /// The labels of the sample that was given last; `None` if they are bad, in which case the line is
    /// counted as an error and no longer as a sample, or if what was given last is no sample.
    ///
    /// A reader who does not ask for them takes a line with bad labels for a good one.
    #[inline]
    pub fn labels(&mut self) -> Option<Labels<'_, 'a>> {
        let current = self.current.as_mut()?;
        if current.labels == State::Unread {
            current.labels = State::Read;
            if let Some((open, close)) = current.braces {
                let line = current.line;
                match find_labels(line, open, close, self.format, self.limits, self.spans) {
                    Ok(None) => {}
                    // A series whose name is in quotes has no other.
                    Ok(Some(_)) if open == 0 && self.messages.is_some() => {}
                    // The name stands before the braces already.
                    Ok(Some(_)) => self.take_back(Reason::NameTwice.at(open)),
                    Err(fault) => self.take_back(fault),
                }
            } else {
                self.spans.clear();
            }
        }
        let current = self.current.as_ref()?;
        (current.labels == State::Read).then(|| Labels::new(current.line, self.spans))
    }

    /// What became of the page, as far as it was read.
    pub fn finish(self) -> Report {
        self.report
    }

    #[cold]
    fn take_back(&mut self, fault: Fault) {
        if let Some(current) = &mut self.current {
            current.labels = State::Bad;
            self.report.samples -= 1;
            let line = current.line;
            let Some((name, at)) = current.message else {
                return self.add(line.as_bytes(), fault);
            };
            let place = match self.format {
                Format::OpenMetrics2 => Place::in_line(at, line.as_bytes(), fault.at, self.limits),
                _ => Place::Byte(at),
            };
            self.report.lines -= 1;
            let family = (name, Some(MetricType::Unknown));
            self.report
                .add_at(place, family, line, fault.reason, self.limits, self.wanted);
        }
    }

    /// Adds a bad line, which is the last one that was read.
    #[cold]
    fn add(&mut self, line: &[u8], fault: Fault) {
        let line = (self.report.lines, line);
        let of_one = Some(MetricType::Unknown);
        self.report.add(line, of_one, fault, self.limits, self.wanted);
    }

    /// The next event of a page that was read before.
    fn next_message(&mut self) -> Option<Event<'a>> {
        loop {
            let said = self.messages.as_mut()?;
            let Some(item) = said.items.next() else {
                let cut = said.cut.take();
                if self.ended != Ended::Yes {
                    self.end(cut);
                }
                return None;
            };
            let texts = said.texts;
            let event = match item {
                Item::Type(name, metric_type) => Event::Type {
                    family: Cow::Borrowed(&texts[name]),
                    metric_type,
                },
                Item::Help(name, text) => Event::Help {
                    family: Cow::Borrowed(&texts[name]),
                    text: Cow::Borrowed(&texts[text]),
                },
                Item::Unit(name, unit) => Event::Unit {
                    family: Cow::Borrowed(&texts[name]),
                    unit: &texts[unit],
                },
                Item::Sample(series, value) => {
                    if self.has_enough() {
                        return None;
                    }
                    let (text, name) = (&texts[series.text], &texts[series.name]);
                    self.begin_message(text, name, series.at);
                    Event::Sample(Sample {
                        name: Cow::Borrowed(name),
                        series: text,
                        metric_type: Some(series.metric_type),
                        value,
                        timestamp: series.timestamp,
                        start_timestamp: series.start_timestamp,
                    })
                }
                Item::Histogram(series, histogram) => {
                    let (text, name) = (&texts[series.text], &texts[series.name]);
                    let histogram = match histogram {
                        Native::Read(histogram) => Ok(*histogram),
                        Native::Message(place) => {
                            let message = Message {
                                start: place.start,
                                bytes: said.page.get(place).unwrap_or_default(),
                            };
                            let is_gauge = series.metric_type == MetricType::GaugeHistogram;
                            native::read(message, is_gauge, self.limits)
                        }
                    };
                    let histogram = match histogram {
                        Ok(histogram) => histogram,
                        Err(fault) => {
                            let family = (name, Some(MetricType::Unknown));
                            self.report
                                .add_message(family, text, fault, self.limits, self.wanted);
                            continue;
                        }
                    };
                    if self.has_enough() {
                        return None;
                    }
                    self.begin_message(text, name, series.at);
                    Event::Histogram(Box::new(HistogramSample {
                        name,
                        series: text,
                        metric_type: series.metric_type,
                        histogram,
                        timestamp: series.timestamp,
                        start_timestamp: series.start_timestamp,
                    }))
                }
            };
            self.report.lines += 1;
            let is_metadata = matches!(
                event,
                Event::Type { .. } | Event::Help { .. } | Event::Unit { .. }
            );
            self.report.metadata += usize::from(is_metadata);
            return Some(event);
        }
    }

    /// Has the labels of a sample read from its text, of a page that was read before.
    fn begin_message(&mut self, text: &'a str, name: &'a str, at: usize) {
        let open = if text.starts_with('{') { 0 } else { name.len() };
        self.current = Some(Current {
            line: text,
            braces: (open < text.len()).then(|| (open, text.len() - 1)),
            labels: State::Unread,
            message: Some((name, at)),
        });
    }

    #[cold]
    fn end(&mut self, cut: Option<Cut>) {
        self.ended = Ended::Yes;
        if let Some(cut) = cut {
            self.report.cut(cut);
        }
    }

    /// Reads a line: an event, or none if it is blank, a comment, or nobody wants it.
    #[inline]
    fn read(&mut self, line: &'a str) -> Result<Option<Event<'a>>, Fault> {
        let bytes = line.as_bytes();
        let start = skip_blanks(bytes, 0);
        match bytes.get(start) {
            Some(b'#') => self.read_comment(line, start),
            Some(b'{') => self.read_quoted_sample(line, start),
            Some(_) => self.read_sample(line, start),
            None => {
                self.report.ignored += 1;
                Ok(None)
            }
        }
    }

    #[inline]
    fn read_sample(&mut self, line: &'a str, start: usize) -> Result<Option<Event<'a>>, Fault> {
        let bytes = line.as_bytes();
        let mut at = start + self.name.text.len();
        let is_name_before = !self.name.text.is_empty()
            && bytes[start..].starts_with(self.name.text.as_bytes())
            && !bytes.get(at).is_some_and(|&b| is_name_byte(b));
        if !is_name_before {
            at = start + self.read_name(line, start)?;
        }
        if !self.name.is_wanted {
            self.report.skipped += 1;
            return Ok(None);
        }
        let name_end = at;
        at = skip_blanks(bytes, at);
        let mut braces = None;
        let mut series_end = name_end;
        if bytes.get(at) == Some(&b'{') {
            let close = find_close(bytes, at)?;
            braces = Some((at, close));
            series_end = close + 1;
        } else if at == name_end && at < bytes.len() {
            return Err(Reason::NameNeedsQuotes.at(at));
        }
        let (value, timestamp) = self.read_numbers(line, series_end)?;
        if self.has_enough() {
            return Ok(None);
        }
        self.current = Some(Current {
            line,
            braces,
            labels: State::Unread,
            message: None,
        });
        Ok(Some(Event::Sample(Sample {
            name: Cow::Borrowed(self.name.text),
            series: &line[start..series_end],
            metric_type: self.name.metric_type,
            value,
            timestamp,
            start_timestamp: None,
        })))
    }

    /// Reads a name that is not the one before, and keeps what follows from it. Gives its length.
    fn read_name(&mut self, line: &'a str, start: usize) -> Result<usize, Fault> {
        let length = name_length(&line.as_bytes()[start..], true);
        if length == 0 {
            return Err(Reason::ExpectedName.at(start));
        }
        if length > self.limits.name_bytes {
            let limit = self.limits.name_bytes;
            return Err(Reason::NameTooLong { bytes: length, limit }.at(start));
        }
        let name = &line[start..start + length];
        self.name = Name {
            text: name,
            is_wanted: self.wanted.is_none_or(|wanted| wanted.selects(name)),
            metric_type: self.type_of(name),
        };
        Ok(length)
    }

    /// Reads `{"name",label="value"} 1`.
    fn read_quoted_sample(&mut self, line: &'a str, start: usize) -> Result<Option<Event<'a>>, Fault> {
        let close = find_close(line.as_bytes(), start)?;
        let name = find_labels(line, start, close, self.format, self.limits, self.spans)?
            .ok_or(Reason::ExpectedName.at(start))?
            .text(line);
        if self.wanted.is_some_and(|wanted| !wanted.selects(&name)) {
            self.report.skipped += 1;
            return Ok(None);
        }
        let (value, timestamp) = self.read_numbers(line, close + 1)?;
        if self.has_enough() {
            return Ok(None);
        }
        self.current = Some(Current {
            line,
            braces: Some((start, close)),
            labels: State::Read,
            message: None,
        });
        Ok(Some(Event::Sample(Sample {
            metric_type: self.type_of(&name),
            name,
            series: &line[start..=close],
            value,
            timestamp,
            start_timestamp: None,
        })))
    }

    /// Reads what follows the series: value, timestamp and, without looking into it, an exemplar.
    #[inline]
    fn read_numbers(&self, line: &str, series_end: usize) -> Result<(f64, Option<i64>), Fault> {
        let bytes = line.as_bytes();
        let at = skip_blanks(bytes, series_end);
        if at == bytes.len() {
            return Err(Reason::ExpectedValue.at(at));
        }
        let (value, length) = number::value(&bytes[at..]).map_err(|reason| reason.at(at))?;
        let at = skip_blanks(bytes, at + length);
        if at == bytes.len() {
            return Ok((value, None));
        }
        self.read_timestamp(line, at).map(|timestamp| (value, timestamp))
    }

    fn read_timestamp(&self, line: &str, at: usize) -> Result<Option<i64>, Fault> {
        // In the text format nothing may follow; but some clients write exemplars there all the same, and a bucket
        // that is lost costs the histogram.
        let is_exemplar = |text: &str| text.starts_with('#');
        let rest = &line[at..];
        if is_exemplar(rest) {
            return Ok(None);
        }
        let (text, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let timestamp = number::timestamp(text, self.format).map_err(|reason| reason.at(at))?;
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !is_exemplar(after) {
            return Err(Reason::TrailingText.at(line.len() - after.len()));
        }
        Ok(Some(timestamp))
    }

    fn read_comment(&mut self, line: &'a str, start: usize) -> Result<Option<Event<'a>>, Fault> {
        let event = match comment::read(line, start, self.format, self.limits)? {
            Comment::Metadata(event) => event,
            Comment::Eof => {
                self.ended = Ended::AtEof;
                self.report.ignored += 1;
                return Ok(None);
            }
            Comment::Other => {
                self.report.ignored += 1;
                return Ok(None);
            }
        };
        let (Event::Type { family, .. } | Event::Help { family, .. } | Event::Unit { family, .. }) = &event
        else {
            return Ok(None);
        };
        if self.wanted.is_some_and(|wanted| !wanted.selects_family(family)) {
            self.report.skipped += 1;
            return Ok(None);
        }
        if let Event::Type { family, metric_type } = &event {
            self.family = Some((family.clone(), *metric_type));
            self.name = Name::default();
        }
        self.report.metadata += 1;
        Ok(Some(event))
    }

    /// Counts a sample, or ends the page if it would be one too many.
    #[inline]
    fn has_enough(&mut self) -> bool {
        let limit = self.limits.samples;
        let has_enough = self.report.samples >= limit;
        match has_enough {
            true => self.end(Some(Cut::TooManySamples { limit })),
            false => self.report.samples += 1,
        }
        has_enough
    }

    /// Looks at a last line without a line feed. A sample on it is not given: it may be cut in its number.
    #[cold]
    fn read_tail(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        if tail.is_empty() || self.report.cut.is_some() {
            return;
        }
        if self.ended == Ended::AtEof {
            self.report.cut(Cut::AfterEof);
            return;
        }
        let before = self.report.clone();
        let read = match Lines::new(tail).next() {
            Some(Line::Text(text)) if text.len() <= self.line_bytes => self.read(text).map(drop),
            Some(Line::NotUtf8 { at, .. }) => Err(Reason::NotUtf8.at(at)),
            _ => Err(too_long(tail.len(), self.limits)),
        };
        self.current = None;
        if self.ended == Ended::AtEof {
            // The end mark is whole without a line feed, too.
            self.report.lines += 1;
            return;
        }
        self.report = before;
        self.report.lines += 1;
        let fault = read.err().unwrap_or(Reason::UnfinishedLine.at(tail.len()));
        self.add(tail, fault);
        self.report.cut(Cut::UnfinishedLine);
    }

    fn type_of(&self, name: &str) -> Option<MetricType> {
        let (family, metric_type) = self.family.as_ref()?;
        metric_type.covers(family, name).then_some(*metric_type)
    }
}

impl<'a> Iterator for Page<'a> {
    type Item = Event<'a>;

    #[inline]
    fn next(&mut self) -> Option<Event<'a>> {
        self.current = None;
        if self.messages.is_some() {
            return self.next_message();
        }
        while self.ended != Ended::Yes {
            let Some(line) = self.lines.next() else {
                self.read_tail();
                let is_whole = self.format == Format::Text || self.ended == Ended::AtEof;
                self.end((!is_whole).then_some(Cut::NoEof));
                break;
            };
            if self.ended == Ended::AtEof {
                self.end(Some(Cut::AfterEof));
                break;
            }
            let (bytes, read) = match line {
                Line::Text(text) if text.len() <= self.line_bytes => (text.as_bytes(), self.read(text)),
                Line::Text(text) => (text.as_bytes(), Err(too_long(text.len(), self.limits))),
                Line::NotUtf8 { line, at } => (line, Err(Reason::NotUtf8.at(at))),
            };
            self.report.lines += 1;
            match read {
                Ok(None) => {}
                Ok(event) => return event,
                Err(fault) => self.add(bytes, fault),
            }
        }
        None
    }
}

#[cold]
fn too_long(bytes: usize, limits: &Limits) -> Fault {
    let limit = limits.line_bytes;
    Reason::LineTooLong { bytes, limit }.at(0)
}
