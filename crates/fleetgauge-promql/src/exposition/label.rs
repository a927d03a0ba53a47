//! The labels between the braces of a sample.
//!
//! They are found as positions in the line first, which needs no allocation and no second look at the text,
//! and turned into strings when they are read.

use std::borrow::Cow;
use std::fmt;

use fleetgauge_core::label::METRIC_NAME;
use memchr::{memchr, memchr2};

use super::fault::{Fault, Reason, excerpt};
use super::format::Format;
use super::limits::Limits;
use super::name::{name_length, skip_blanks};

/// The labels of one sample, as exposed: in the order of the line, without the metric's name.
///
/// An empty value is given as it stands; it means the same as no label.
#[derive(Clone, Copy)]
pub struct Labels<'p, 'a> {
    line: &'a str,
    spans: &'p [Span],
}

/// Where a label lies in its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    name: Place,
    value: Place,
}

/// Where a text lies in its line, quotes excluded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    start: u32,
    end: u32,
    escaped: bool,
}

// === impl Labels ===

impl<'p, 'a> Labels<'p, 'a> {
    pub(super) fn new(line: &'a str, spans: &'p [Span]) -> Self {
        Self { line, spans }
    }

    /// The pairs of name and value; owned only where the line has escapes.
    #[inline]
    pub fn iter(self) -> impl ExactSizeIterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'p, 'a> {
        let line = self.line;
        self.spans
            .iter()
            .map(move |span| (span.name.text(line), span.value.text(line)))
    }

    /// The value of the label `name`, if the sample has it.
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// How many labels there are.
    pub fn len(self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.spans.is_empty()
    }
}

impl fmt::Debug for Labels<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

// === impl Place ===

impl Place {
    fn new(start: usize, end: usize, escaped: bool) -> Self {
        // Lines are shorter than that, by their limit.
        let narrow = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: narrow(start),
            end: narrow(end),
            escaped,
        }
    }

    #[inline]
    fn raw(self, line: &str) -> &str {
        &line[self.start as usize..self.end as usize]
    }

    #[inline]
    pub(super) fn text(self, line: &str) -> Cow<'_, str> {
        match self.escaped {
            false => Cow::Borrowed(self.raw(line)),
            true => Cow::Owned(unescape(self.raw(line), true)),
        }
    }

    fn is_same(self, other: Self, line: &str) -> bool {
        match self.escaped || other.escaped {
            false => self.len() == other.len() && self.raw(line) == other.raw(line),
            true => self.text(line) == other.text(line),
        }
    }

    pub(super) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// Where the brace that opens at `open` is closed, quotes regarded.
pub(super) fn find_close(line: &[u8], open: usize) -> Result<usize, Fault> {
    let unclosed = || Reason::UnclosedLabels.at(open);
    // After the labels come only numbers, so their brace is the last one, which is near the end of the
    // line. An exemplar has braces of its own.
    if memchr(b'#', &line[open..]).is_none() {
        let close = memchr::memrchr(b'}', &line[open..]).ok_or_else(unclosed)?;
        return Ok(open + close);
    }
    find_next_close(line, open)
}

/// As [`find_close`], where braces may follow.
pub(super) fn find_next_close(line: &[u8], open: usize) -> Result<usize, Fault> {
    let unclosed = || Reason::UnclosedLabels.at(open);
    let mut at = open + 1;
    loop {
        at += memchr2(b'"', b'}', &line[at..]).ok_or_else(unclosed)?;
        if line[at] == b'}' {
            return Ok(at);
        }
        at = quoted(line, at, line.len())?.1;
    }
}

/// Finds the labels between the braces at `open` and `close`, and the place of the metric's name if it is
/// among them.
pub(super) fn find_labels(
    line: &str,
    open: usize,
    close: usize,
    format: Format,
    limits: &Limits,
    spans: &mut Vec<Span>,
) -> Result<Option<Place>, Fault> {
    spans.clear();
    let bytes = line.as_bytes();
    let mut metric_name = None;
    let mut at = skip_blanks(bytes, open + 1);
    while at < close {
        let start = at;
        let name = match bytes[at] {
            b'"' => {
                let (place, end) = quoted(bytes, at, close)?;
                at = end;
                place
            }
            _ => {
                at += name_length(&bytes[at..], false);
                Place::new(start, at, false)
            }
        };
        if name.len() == 0 {
            return Err(Reason::ExpectedLabelName.at(start));
        }
        check_length(name.len(), limits.name_bytes)
            .map_err(|(bytes, limit)| Reason::NameTooLong { bytes, limit }.at(start))?;
        at = skip_blanks(bytes, at);
        if bytes[start] == b'"' && matches!(bytes[at], b',' | b'}') {
            if metric_name.replace(name).is_some() {
                return Err(Reason::NameTwice.at(start));
            }
        } else {
            if bytes[at] != b'=' {
                return Err(equals_fault(bytes[start], bytes[at]).at(at));
            }
            at = skip_blanks(bytes, at + 1);
            if bytes[at] != b'"' {
                return Err(Reason::ExpectedLabelValue.at(at));
            }
            let (value, end) = quoted(bytes, at, close)?;
            check_length(value.len(), limits.label_value_bytes)
                .map_err(|(bytes, limit)| Reason::LabelValueTooLong { bytes, limit }.at(at))?;
            at = skip_blanks(bytes, end);
            add(line, Span { name, value }, limits, spans).map_err(|reason| reason.at(start))?;
        }
        match bytes[at] {
            b',' => at = skip_blanks(bytes, at + 1),
            // Prometheus reads labels without a comma between in the text format, so somebody writes them.
            _ if at < close && format.is_open_metrics() => return Err(Reason::ExpectedComma.at(at)),
            _ => {}
        }
    }
    Ok(metric_name)
}

#[inline]
fn add(line: &str, span: Span, limits: &Limits, spans: &mut Vec<Span>) -> Result<(), Reason> {
    let is_same = |other: &Span| other.name.is_same(span.name, line);
    // The metric's name is a label of that name already.
    if spans.iter().any(is_same) || is_metric_name(span.name, line) {
        let name = excerpt(span.name.text(line).as_bytes());
        return Err(Reason::DuplicateLabel { name });
    }
    if spans.len() >= limits.labels {
        return Err(Reason::TooManyLabels { limit: limits.labels });
    }
    spans.push(span);
    Ok(())
}

#[inline]
fn is_metric_name(name: Place, line: &str) -> bool {
    (name.len() == METRIC_NAME.len() || name.escaped) && name.text(line) == METRIC_NAME
}

fn check_length(bytes: usize, limit: usize) -> Result<(), (usize, usize)> {
    if bytes > limit {
        Err((bytes, limit))
    } else {
        Ok(())
    }
}

#[cold]
fn equals_fault(first: u8, found: u8) -> Reason {
    // `{pod.name="x"}`: the name went on with what it cannot hold.
    match first != b'"' && !matches!(found, b' ' | b'\t' | b'"' | b',' | b'}') {
        true => Reason::NameNeedsQuotes,
        false => Reason::ExpectedEquals,
    }
}

/// The text in the quotes that open at `at`, and where it goes on after them; they close before `end`.
#[inline]
pub(super) fn quoted(line: &[u8], at: usize, end: usize) -> Result<(Place, usize), Fault> {
    let start = at + 1;
    let (mut from, mut escaped) = (start, false);
    loop {
        let found = line.get(from..end).and_then(|text| memchr2(b'"', b'\\', text));
        let Some(found) = found else {
            return Err(Reason::UnclosedQuote.at(at));
        };
        if line[from + found] == b'"' {
            let close = from + found;
            return Ok((Place::new(start, close, escaped), close + 1));
        }
        escaped = true;
        from += found + 2;
    }
}

/// Replaces `\\`, `\n` and, where quotes are escaped, `\"`; other backslashes stand for themselves, as in
/// Prometheus.
pub(super) fn unescape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let (replaced, length) = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => ('\\', 2),
            Some(b'n') => ('\n', 2),
            Some(b'"') if quotes => ('"', 2),
            _ => ('\\', 1),
        };
        out.push(replaced);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}
