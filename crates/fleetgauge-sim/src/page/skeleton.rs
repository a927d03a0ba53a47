//! A page's text without its numbers.

use super::{Format, Kind, Label, Sink};
use crate::number::{self, Style};

/// A page without its numbers.
#[derive(Debug)]
pub(crate) struct Skeleton {
    text: Vec<u8>,
    slots: Vec<Slot>,
    style: Style,
    /// Length of a page whose numbers are of usual length.
    usual_length: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Where in the text the number belongs.
    at: u32,
    /// Which number of the walk.
    value: u32,
}

/// Writes a [`Skeleton`].
#[derive(Debug)]
pub(crate) struct Outline {
    format: Format,
    page: Skeleton,
    /// `_created` samples of the family, which text 0.0.4 puts behind it.
    created: Vec<(String, u32)>,
    name: String,
    kind: Kind,
    help: String,
    values: u32,
}

// === impl Skeleton ===

impl Skeleton {
    /// Appends the page with these numbers.
    pub(crate) fn render(&self, values: &[f64], out: &mut Vec<u8>) {
        out.reserve(self.usual_length);
        let mut from = 0;
        for slot in &self.slots {
            out.extend_from_slice(&self.text[from..slot.at as usize]);
            from = slot.at as usize;
            let value = values.get(slot.value as usize).copied();
            number::write(out, value.unwrap_or(f64::NAN), self.style);
        }
        out.extend_from_slice(&self.text[from..]);
    }
}

// === impl Outline ===

impl Outline {
    pub(crate) fn new(format: Format) -> Self {
        let style = if format == Format::GoText {
            Style::Go
        } else {
            Style::Python
        };
        Self {
            format,
            page: Skeleton {
                text: Vec::new(),
                slots: Vec::new(),
                style,
                usual_length: 0,
            },
            created: Vec::new(),
            name: String::new(),
            kind: Kind::Gauge,
            help: String::new(),
            values: 0,
        }
    }

    pub(crate) fn finish(mut self) -> Skeleton {
        self.end_family();
        if self.format == Format::OpenMetrics {
            self.page.text.extend_from_slice(b"# EOF\n");
        }
        self.page.usual_length = self.page.text.len() + 8 * self.page.slots.len() + 4_096;
        self.page
    }

    fn end_family(&mut self) {
        if self.created.is_empty() {
            return;
        }
        let name = format!("{}_created", self.name);
        self.header(&name, "gauge", &self.help.clone());
        for (line, value) in std::mem::take(&mut self.created) {
            self.page.text.extend_from_slice(line.as_bytes());
            self.slot(value);
        }
    }

    fn header(&mut self, name: &str, kind: &str, help: &str) {
        let header = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.page.text.extend_from_slice(header.as_bytes());
    }

    fn slot(&mut self, value: u32) {
        let at = u32::try_from(self.page.text.len()).unwrap_or(u32::MAX);
        self.page.slots.push(Slot { at, value });
        self.page.text.push(b'\n');
    }

    /// A sample's line up to its number, with the labels in the order of the client.
    fn line(&self, suffix: &str, labels: &[Label<'_>], le: Option<&str>) -> String {
        let mut sorted: Vec<Label<'_>> = labels.to_vec();
        if self.format != Format::GoText {
            sorted.extend(le.map(|le| ("le", le)));
        }
        sorted.sort_unstable();
        if self.format == Format::GoText {
            sorted.extend(le.map(|le| ("le", le)));
        }
        let pairs: Vec<String> = sorted
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
            .collect();
        let braced = if pairs.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", pairs.join(","))
        };
        format!("{}{suffix}{braced} ", self.name)
    }

    fn put(&mut self, line: &str) {
        self.page.text.extend_from_slice(line.as_bytes());
        self.slot(self.values);
        self.values += 1;
    }
}

impl Sink for Outline {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.end_family();
        (self.name, self.kind, self.help) = (name.to_owned(), kind, help.to_owned());
        let (name, kind) = match kind {
            Kind::Counter if self.format == Format::OpenMetrics => (name.to_owned(), "counter"),
            Kind::Counter => (format!("{name}_total"), "counter"),
            Kind::Gauge | Kind::Info => (name.to_owned(), "gauge"),
            Kind::Histogram => (name.to_owned(), "histogram"),
            Kind::Summary => (name.to_owned(), "summary"),
        };
        self.header(&name, kind, help);
    }

    fn sample(&mut self, suffix: &str, labels: &[Label<'_>], _: f64) {
        self.put(&self.line(suffix, labels, None));
    }

    fn bucket(&mut self, labels: &[Label<'_>], le: f64, _: f64) {
        let mut text = Vec::new();
        number::write(&mut text, le, self.page.style);
        self.put(&self.line("_bucket", labels, Some(&String::from_utf8_lossy(&text))));
    }

    fn created(&mut self, labels: &[Label<'_>], _: f64) {
        let line = self.line("_created", labels, None);
        if self.format == Format::OpenMetrics {
            return self.put(&line);
        }
        self.created.push((line, self.values));
        self.values += 1;
    }

    fn sum_and_count(&mut self, labels: &[Label<'_>], sum: f64, count: u64, created: Option<f64>) {
        // The walk's order is the same in all formats, the page's isn't.
        let at = self.page.slots.len();
        let start = self.page.text.len();
        self.sample("_count", labels, count as f64);
        let middle = self.page.text.len();
        self.sample("_sum", labels, sum);
        if self.format == Format::GoText {
            let (count_line, sum_line) = ((middle - start) as u32, (self.page.text.len() - middle) as u32);
            self.page.text[start..].rotate_left(count_line as usize);
            self.page.slots.swap(at, at + 1);
            self.page.slots[at].at -= count_line;
            self.page.slots[at + 1].at += sum_line;
        }
        if let Some(seconds) = created {
            self.created(labels, seconds);
        }
    }
}

/// As the text formats want label values.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
