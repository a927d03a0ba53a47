//! Writes samples with timestamps as OpenMetrics text, for `promtool`, and as Prometheus text.
//!
//! Both formats want the samples of a family together, so series are grouped by name in the order in
//! which the names first came; labels are sorted. The same calls always give the same bytes.

use std::fmt::Write as _;

/// A document of series with explicit sample times.
#[derive(Clone, Debug, Default)]
pub struct OpenMetrics {
    families: Vec<(String, Vec<Series>)>,
}

#[derive(Clone, Debug)]
struct Series {
    labels: Vec<(String, String)>,
    samples: Vec<(f64, f64)>,
}

// === impl OpenMetrics ===

impl OpenMetrics {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a series: its metric name, labels, and samples as (Unix seconds, value).
    ///
    /// Every family is written with type `unknown`, so names need no suffix and PromQL sees them as given.
    #[must_use]
    pub fn series(
        mut self,
        name: impl Into<String>,
        labels: &[(&str, &str)],
        samples: &[(f64, f64)],
    ) -> Self {
        let mut labels: Vec<_> = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        labels.sort();
        let series = Series {
            labels,
            samples: samples.to_vec(),
        };
        let name = name.into();
        match self.families.iter_mut().find(|(family, _)| *family == name) {
            Some((_, all)) => all.push(series),
            None => self.families.push((name, vec![series])),
        }
        self
    }

    /// Adds a series with the same value at every `step` seconds from `start` to `end`, both included.
    #[must_use]
    pub fn steady(
        self,
        name: impl Into<String>,
        labels: &[(&str, &str)],
        value: f64,
        (start, end, step): (u32, u32, u32),
    ) -> Self {
        let samples: Vec<_> = (start..=end)
            .step_by(step.max(1) as usize)
            .map(|at| (f64::from(at), value))
            .collect();
        self.series(name, labels, &samples)
    }

    /// OpenMetrics text: timestamps in seconds, `# EOF` at the end.
    pub fn to_open_metrics(&self) -> String {
        let mut out = String::new();
        for (name, all) in &self.families {
            let _ = writeln!(out, "# TYPE {} unknown", quoted(name));
            self.write(&mut out, name, all, |out, at| {
                let _ = write!(out, "{at}");
            });
        }
        out.push_str("# EOF\n");
        out
    }

    /// Prometheus text (0.0.4): timestamps in milliseconds, as VictoriaMetrics imports it.
    pub fn to_prometheus_text(&self) -> String {
        let mut out = String::new();
        for (name, all) in &self.families {
            let _ = writeln!(out, "# TYPE {name} untyped");
            self.write(&mut out, name, all, |out, at| {
                let _ = write!(out, "{:.0}", at * 1000.0);
            });
        }
        out
    }

    fn write(&self, out: &mut String, name: &str, all: &[Series], time: impl Fn(&mut String, f64)) {
        let quoted_name = quoted(name);
        for series in all {
            // A name in quotes stands among the labels.
            let is_plain = quoted_name == name;
            let mut parts: Vec<String> = (!is_plain).then(|| quoted_name.clone()).into_iter().collect();
            for (label, value) in &series.labels {
                parts.push(format!("{}=\"{}\"", quoted(label), escape(value)));
            }
            let mut head = if is_plain { name.to_owned() } else { String::new() };
            if !parts.is_empty() {
                let _ = write!(head, "{{{}}}", parts.join(","));
            }
            for (at, value) in &series.samples {
                let _ = write!(out, "{head} {} ", number(*value));
                time(out, *at);
                out.push('\n');
            }
        }
    }
}

/// As it is where that is allowed, else in quotes, which Prometheus 3 reads.
fn quoted(name: &str) -> String {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let is_plain = name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit());
    if is_plain {
        return name.to_owned();
    }
    format!("\"{}\"", escape(name))
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_kept_together_and_values_are_escaped() {
        let document = OpenMetrics::new()
            .series(
                "vllm:a",
                &[("pod", "p-1"), ("namespace", "x\"y\\z\nw")],
                &[(10.0, 0.5), (20.5, f64::NAN)],
            )
            .series("b", &[], &[(10.0, f64::NEG_INFINITY)])
            .series("vllm:a", &[("pod", "p-2")], &[(10.0, 3.0)]);
        assert_eq!(
            document.to_open_metrics(),
            "# TYPE vllm:a unknown\n\
             vllm:a{namespace=\"x\\\"y\\\\z\\nw\",pod=\"p-1\"} 0.5 10\n\
             vllm:a{namespace=\"x\\\"y\\\\z\\nw\",pod=\"p-1\"} NaN 20.5\n\
             vllm:a{pod=\"p-2\"} 3 10\n\
             # TYPE b unknown\n\
             b -Inf 10\n\
             # EOF\n"
        );
        assert!(document.to_prometheus_text().contains("pod=\"p-1\"} NaN 20500\n"));
    }

    #[test]
    fn names_of_any_characters_are_quoted() {
        let text = OpenMetrics::new()
            .series("a.b", &[("c.d", "e")], &[(1.0, 2.0)])
            .to_open_metrics();
        assert_eq!(
            text,
            "# TYPE \"a.b\" unknown\n{\"a.b\",\"c.d\"=\"e\"} 2 1\n# EOF\n"
        );
    }

    #[test]
    fn a_steady_series_includes_both_ends() {
        let text = OpenMetrics::new()
            .steady("a", &[], 1.0, (100, 130, 15))
            .to_open_metrics();
        assert_eq!(text, "# TYPE a unknown\na 1 100\na 1 115\na 1 130\n# EOF\n");
    }
}
