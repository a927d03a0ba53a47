//! Which metrics a page lost samples of: what an answer over that page cannot be trusted for.

use std::borrow::Cow;

use fleetgauge_core::label::METRIC_NAME;

use super::fault::{Fault, Reason};
use super::label::quoted;
use super::metric_type::MetricType;
use super::name::{name_length, skip_blanks};

/// How many names are kept. A page that loses more than these is broken as a whole.
const NAMES: usize = 64;

/// The metrics of which a page may have lost samples, by bad lines or by being [cut](super::Cut).
///
/// The name of a bad line's metric is often known where its labels or its value are not. A bad comment
/// costs no sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostMetrics {
    /// Sorted, each once.
    names: Vec<String>,
    unnamed: bool,
}

/// The name of the metric that a bad line is of.
#[derive(Debug, PartialEq)]
enum Found<'a> {
    /// The line is a comment or blank.
    NoSample,
    Name(Cow<'a, str>),
    /// There is a sample on the line, and nobody can say of what.
    Unreadable,
}

// === impl LostMetrics ===

impl LostMetrics {
    /// The names that could be read; for a part of a histogram or summary with its suffix.
    ///
    /// *Shape*: sorted, each once, at most 64.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether metrics beyond [`names`](Self::names) may have lost samples: a name could not be read, there
    /// are more of them than are kept, or the page was cut.
    pub fn has_unnamed(&self) -> bool {
        self.unnamed
    }

    /// Whether no sample was lost.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.unnamed
    }

    /// Whether samples of the metric `name` may have been lost.
    pub fn may_include(&self, name: &str) -> bool {
        self.unnamed || self.find(name).is_ok()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.names.binary_search_by(|known| known.as_str().cmp(name))
    }

    /// Notes the metric of a bad line, as far as it can be told, or the family that the line is all of, as
    /// [`add_family`](Self::add_family); names that `is_wanted` refuses were not to be read in any case.
    pub(super) fn add_line(
        &mut self,
        line: &[u8],
        fault: &Fault,
        name_bytes: usize,
        metric_type: Option<MetricType>,
        is_wanted: impl Fn(&str) -> bool,
    ) {
        match find_name(line, fault, name_bytes) {
            Found::NoSample => {}
            Found::Name(name) => self.add_family(&name, metric_type, is_wanted),
            Found::Unreadable => self.add_unnamed(),
        }
    }

    /// Notes all metrics that a family of this type has, or may have where the type is not known; without a name, any.
    pub(super) fn add_family(
        &mut self,
        family: &str,
        metric_type: Option<MetricType>,
        is_wanted: impl Fn(&str) -> bool,
    ) {
        if family.is_empty() {
            return self.add_unnamed();
        }
        let has_parts = metric_type.is_none_or(MetricType::has_parts);
        let suffixes: &[&str] = match (has_parts, metric_type) {
            (true, None | Some(MetricType::GaugeHistogram)) => {
                &["", "_bucket", "_sum", "_count", "_gsum", "_gcount"]
            }
            (true, _) => &["", "_bucket", "_sum", "_count"],
            (false, _) => &[""],
        };
        for name in suffixes.iter().map(|suffix| format!("{family}{suffix}")) {
            if is_wanted(&name) {
                self.add_name(&name);
            }
        }
    }

    pub(super) fn add_unnamed(&mut self) {
        self.unnamed = true;
    }

    fn add_name(&mut self, name: &str) {
        match self.find(name) {
            Ok(_) => {}
            Err(at) if self.names.len() < NAMES => self.names.insert(at, name.to_owned()),
            Err(_) => self.unnamed = true,
        }
    }
}

fn find_name<'a>(line: &'a [u8], fault: &Fault, name_bytes: usize) -> Found<'a> {
    let start = skip_blanks(line, 0);
    let rest = &line[start..];
    if matches!(rest, [] | [b'#', ..]) {
        return Found::NoSample;
    }
    // Two names are given, of which neither is better.
    let is_doubtful = match &fault.reason {
        Reason::NameTwice => true,
        Reason::DuplicateLabel { name } => name == METRIC_NAME,
        _ => false,
    };
    let name = match rest {
        _ if is_doubtful => None,
        [b'{', ..] => quoted_name(rest, name_bytes),
        _ => plain_name(rest, name_bytes),
    };
    name.map_or(Found::Unreadable, Found::Name)
}

fn plain_name(line: &[u8], name_bytes: usize) -> Option<Cow<'_, str>> {
    let length = name_length(&line[..line.len().min(name_bytes + 1)], true);
    let ends = matches!(line.get(length), None | Some(b' ' | b'\t' | b'{'));
    let name = std::str::from_utf8(&line[..length]).ok()?;
    ((1..=name_bytes).contains(&length) && ends).then_some(Cow::Borrowed(name))
}

/// The name in `{"name", ...`. Where it does not come first, it is not looked for.
fn quoted_name(line: &[u8], name_bytes: usize) -> Option<Cow<'_, str>> {
    let open = skip_blanks(line, 1);
    if line.get(open) != Some(&b'"') {
        return None;
    }
    let bound = line.len().min(open + name_bytes + 2);
    let (place, end) = quoted(line, open, bound).ok()?;
    // As it is a label's name in `{"name"="value"}`.
    let ends = matches!(line.get(skip_blanks(line, end)), Some(b',' | b'}'));
    let head = std::str::from_utf8(&line[..end]).ok()?;
    (place.len() > 0 && ends).then(|| place.text(head))
}
