//! Prints pages: for those who expose, and as the other half of the property that what is printed is read
//! back.

use std::fmt::Write as _;

use fleetgauge_core::sample::Number;

use super::format::Format;
use super::metric_type::MetricType;
use super::name::is_plain;

/// Prints a page, line by line.
///
/// Names are quoted where they must be. The text format has no words for some types of OpenMetrics, and
/// `untyped` stands for them; it has no units, and they are left out. Pages of Protocol Buffers are not printed: for that
/// format, it is the text format.
///
/// ```
/// use fleetgauge_promql::exposition::{Encoder, Format, MetricType};
/// let mut page = Encoder::new(Format::OpenMetrics);
/// page.metric_type("http.requests", MetricType::Counter);
/// page.sample("http.requests_total", [("code", "200")], 3.0, Some(1_763_930_000_500));
/// assert_eq!(
///     page.finish(),
///     "# TYPE \"http.requests\" counter\n{\"http.requests_total\",code=\"200\"} 3 1763930000.500\n# EOF\n"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Encoder {
    format: Format,
    out: String,
}

impl Encoder {
    /// An empty page.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            out: String::new(),
        }
    }

    /// Adds the type of a family. Its samples must follow.
    pub fn metric_type(&mut self, family: &str, metric_type: MetricType) {
        use MetricType::{GaugeHistogram, Info, StateSet, Unknown};
        let word = match (self.format, metric_type) {
            (Format::Text | Format::Protobuf, GaugeHistogram | Info | StateSet | Unknown) => "untyped",
            (_, metric_type) => metric_type.name(),
        };
        self.metadata("TYPE", family, word);
    }

    /// Adds the help text of a family.
    pub fn help(&mut self, family: &str, text: &str) {
        let quotes = self.format.is_open_metrics();
        self.metadata("HELP", family, "");
        self.out.pop();
        push_escaped(&mut self.out, text, quotes);
        self.out.push('\n');
    }

    /// Adds the unit of a family.
    pub fn unit(&mut self, family: &str, unit: &str) {
        if self.format.is_open_metrics() {
            self.metadata("UNIT", family, unit);
        }
    }

    /// Adds a sample; `timestamp` in milliseconds since the Unix epoch.
    pub fn sample<'a>(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        value: f64,
        timestamp: Option<i64>,
    ) {
        let is_plain_name = is_plain(name, true);
        if is_plain_name {
            self.out.push_str(name);
        }
        let mut opened = !is_plain_name;
        if opened {
            self.out.push('{');
            push_quoted(&mut self.out, name);
        }
        for (label, value) in labels {
            self.out.push(if opened { ',' } else { '{' });
            opened = true;
            push_pair(&mut self.out, label, value);
        }
        if opened {
            self.out.push('}');
        }
        // Writing to a string does not fail.
        let _ = write!(self.out, " {}", Number(value));
        if let Some(millis) = timestamp {
            let _ = match self.format {
                Format::Text | Format::Protobuf => write!(self.out, " {millis}"),
                Format::OpenMetrics | Format::OpenMetrics2 => {
                    let sign = if millis < 0 { "-" } else { "" };
                    let millis = millis.unsigned_abs();
                    write!(self.out, " {sign}{}.{:03}", millis / 1000, millis % 1000)
                }
            };
        }
        self.out.push('\n');
    }

    /// The page, ended as its format demands.
    pub fn finish(mut self) -> String {
        if self.format.is_open_metrics() {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn metadata(&mut self, word: &str, family: &str, text: &str) {
        let _ = write!(self.out, "# {word} ");
        match is_plain(family, true) {
            true => self.out.push_str(family),
            false => push_quoted(&mut self.out, family),
        }
        let _ = writeln!(self.out, " {text}");
    }
}

/// Adds a label to those that are there.
pub(super) fn push_label(out: &mut String, label: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    push_pair(out, label, value);
}

fn push_pair(out: &mut String, label: &str, value: &str) {
    match is_plain(label, false) {
        true => out.push_str(label),
        false => push_quoted(out, label),
    }
    out.push('=');
    push_quoted(out, value);
}

pub(super) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text, true);
    out.push('"');
}

fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}
