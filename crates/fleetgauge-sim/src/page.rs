//! Pages from one description: a server says once which samples it has, and that is used twice.
//!
//! A [`Skeleton`] holds a page's text without its numbers; it depends on labels only, so all pods of a
//! variant share it. Rendering collects the numbers by walking the same description again and fills them in,
//! which is what makes thousands of pages a second affordable. Numbers are matched by their order in the
//! walk, hence the rule for descriptions: *which samples there are may depend on the configuration, never
//! on the state*.

use crate::histogram::Histogram;

mod skeleton;

pub(crate) use skeleton::{Outline, Skeleton};

/// What a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    /// A gauge that is 1 and has the news in its labels.
    Info,
    Histogram,
    Summary,
}

/// The text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text 0.0.4 as the Python client writes it: `_created` apart, as families of their own.
    PythonText,
    /// Text 0.0.4 as the Go client writes it: `_sum` before `_count`, `le` last.
    GoText,
    /// OpenMetrics 1.0 as the Python client writes it.
    OpenMetrics,
}

/// Name and value.
pub(crate) type Label<'a> = (&'a str, &'a str);

/// What takes a description.
pub(crate) trait Sink {
    /// Begins a family. Counters are named without `_total`, as the clients' code has it.
    fn family(&mut self, name: &str, kind: Kind, help: &str);

    /// A sample of the family, named with `suffix`.
    fn sample(&mut self, suffix: &str, labels: &[Label<'_>], value: f64);

    /// A sample of a histogram's `_bucket`.
    fn bucket(&mut self, labels: &[Label<'_>], le: f64, value: f64);

    /// When the sample of these labels came to be. *Unit*: seconds since the Unix epoch.
    fn created(&mut self, labels: &[Label<'_>], seconds: f64);

    /// A gauge without children of its own.
    fn gauge(&mut self, name: &str, help: &str, labels: &[Label<'_>], value: f64) {
        self.family(name, Kind::Gauge, help);
        self.sample("", labels, value);
    }

    /// One child of a counter family.
    fn counter(&mut self, labels: &[Label<'_>], value: u64, created: Option<f64>) {
        self.sample("_total", labels, value as f64);
        if let Some(seconds) = created {
            self.created(labels, seconds);
        }
    }

    /// One child of a histogram family.
    fn histogram(&mut self, labels: &[Label<'_>], histogram: &Histogram, created: Option<f64>) {
        for (le, count) in histogram.buckets() {
            self.bucket(labels, le, count as f64);
        }
        self.sum_and_count(labels, histogram.sum(), histogram.count(), created);
    }

    /// One child of a histogram family that adds several up, which have the same bounds.
    fn merged<'a>(
        &mut self,
        labels: &[Label<'_>],
        parts: impl Iterator<Item = &'a Histogram>,
        created: Option<f64>,
    ) {
        if let Some(whole) = Histogram::merged(parts) {
            self.histogram(labels, &whole, created);
        }
    }

    /// What histograms and summaries have beside their buckets or quantiles.
    fn sum_and_count(&mut self, labels: &[Label<'_>], sum: f64, count: u64, created: Option<f64>) {
        self.sample("_count", labels, count as f64);
        self.sample("_sum", labels, sum);
        if let Some(seconds) = created {
            self.created(labels, seconds);
        }
    }
}

/// Collects the numbers of a page.
#[derive(Debug)]
pub(crate) struct Numbers<'a> {
    pub(crate) values: &'a mut Vec<f64>,
    /// Whether gauges are exposed as NaN.
    pub(crate) not_a_number: bool,
    gauge: bool,
}

// === impl Numbers ===

impl<'a> Numbers<'a> {
    /// Into `values`, which is emptied first.
    pub(crate) fn new(values: &'a mut Vec<f64>, not_a_number: bool) -> Self {
        values.clear();
        Self {
            values,
            not_a_number,
            gauge: false,
        }
    }
}

impl Sink for Numbers<'_> {
    #[inline]
    fn family(&mut self, name: &str, kind: Kind, _: &str) {
        // The process is well; it is the engine whose arithmetic went wrong.
        self.gauge = self.not_a_number && kind == Kind::Gauge && !name.starts_with("process_");
    }

    #[inline]
    fn sample(&mut self, _: &str, _: &[Label<'_>], value: f64) {
        self.values.push(if self.gauge { f64::NAN } else { value });
    }

    #[inline]
    fn bucket(&mut self, _: &[Label<'_>], _: f64, value: f64) {
        self.values.push(value);
    }

    #[inline]
    fn created(&mut self, _: &[Label<'_>], seconds: f64) {
        self.values.push(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(sink: &mut impl Sink) {
        let mut histogram = Histogram::new(&[0.5, 2.0]);
        histogram.observe(1.25);
        let labels = [("z", "a\"b\\"), ("engine", "0")];
        sink.family("x:asked", Kind::Counter, "Asked.");
        sink.counter(&labels, 3, Some(2.5));
        sink.family("x:seconds", Kind::Histogram, "Took.");
        sink.histogram(&labels[1..], &histogram, Some(2.5));
        sink.gauge("x:now", "Now.", &[], 7.0);
    }

    fn page(format: Format, not_a_number: bool) -> String {
        let mut outline = Outline::new(format);
        describe(&mut outline);
        let mut values = Vec::new();
        describe(&mut Numbers::new(&mut values, not_a_number));
        let mut out = Vec::new();
        outline.finish().render(&values, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_of_the_python_client() {
        let expected = r#"# HELP x:asked_total Asked.
# TYPE x:asked_total counter
x:asked_total{engine="0",z="a\"b\\"} 3.0
# HELP x:asked_created Asked.
# TYPE x:asked_created gauge
x:asked_created{engine="0",z="a\"b\\"} 2.5
# HELP x:seconds Took.
# TYPE x:seconds histogram
x:seconds_bucket{engine="0",le="0.5"} 0.0
x:seconds_bucket{engine="0",le="2.0"} 1.0
x:seconds_bucket{engine="0",le="+Inf"} 1.0
x:seconds_count{engine="0"} 1.0
x:seconds_sum{engine="0"} 1.25
# HELP x:seconds_created Took.
# TYPE x:seconds_created gauge
x:seconds_created{engine="0"} 2.5
# HELP x:now Now.
# TYPE x:now gauge
x:now 7.0
"#;
        assert_eq!(page(Format::PythonText, false), expected);
        let sick = expected.replace("x:now 7.0", "x:now NaN");
        assert_eq!(page(Format::PythonText, true), sick, "only gauges are NaN");
    }

    #[test]
    fn text_of_the_go_client() {
        let text = page(Format::GoText, false);
        let lines = "x:seconds_bucket{engine=\"0\",le=\"+Inf\"} 1\nx:seconds_sum{engine=\"0\"} 1.25\nx:seconds_count{engine=\"0\"} 1\n";
        assert!(text.contains(lines), "{text}");
    }

    #[test]
    fn open_metrics_keeps_a_family_together() {
        let text = page(Format::OpenMetrics, false);
        let asked =
            "# TYPE x:asked counter\nx:asked_total{engine=\"0\",z=\"a\\\"b\\\\\"} 3.0\nx:asked_created{";
        assert!(text.contains(asked), "{text}");
        assert!(text.ends_with("x:now 7.0\n# EOF\n"), "{text}");
    }
}
