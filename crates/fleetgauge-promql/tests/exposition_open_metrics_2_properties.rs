//! Pages of OpenMetrics 2.0 say what Protocol Buffers say, whatever it is.

use fleetgauge_core::sample::Number as Shown;
use fleetgauge_promql::exposition::{Encoder, Format, Histograms, MetricType, Parser};
use fleetgauge_syntax::number::OpenMetricsFloat;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::any_family::{Family, One, any_family};
use crate::support::exposition_body;
use crate::support::metric_family::{
    Bucket, Histogram, Metric, MetricFamily, Moment, family, histogram, labels, native, page, span,
};
use crate::support::said::read;

/// A page in text and in Protocol Buffers.
trait Composite {
    fn print_2(&self, page: &mut String);
}

impl Composite for Family {
    fn print_2(&self, page: &mut String) {
        let mut comments = Encoder::new(Format::OpenMetrics2);
        if !self.help.is_empty() {
            comments.help(&self.name, &self.help);
        }
        comments.metric_type(&self.name, self.metric_type);
        if !self.unit.is_empty() {
            comments.unit(&self.name, &self.unit);
        }
        *page += comments.finish().trim_end_matches("# EOF\n");
        for one in &self.metrics {
            *page += &series(&self.name, one);
            let list = |bound: Option<&str>| {
                let parts = one
                    .parts
                    .iter()
                    .map(|(bound, count)| format!("{}:{count}", OpenMetricsFloat(*bound)));
                parts
                    .chain(bound.map(str::to_owned))
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let infinite = format!("+Inf:{}", one.count);
            let (count, sum) = (one.count, Shown(one.number));
            *page += &match self.metric_type {
                MetricType::Histogram => {
                    format!(" {{count:{count},sum:{sum},bucket:[{}]}}", list(Some(&infinite)))
                }
                MetricType::Summary => format!(" {{count:{count},sum:{sum},quantile:[{}]}}", list(None)),
                _ => format!(" {sum}"),
            };
            if let Some(time) = one.timestamp {
                *page += &format!(" {}.{:03}", time / 1000, time % 1000);
            }
            page.push('\n');
        }
    }
}

/// The name and labels of a metric.
fn series(name: &str, one: &One) -> String {
    let mut line = Encoder::new(Format::OpenMetrics2);
    let labels = one.labels.iter().map(|(name, value)| (&**name, &**value));
    line.sample(name, labels, 0.0, None);
    line.finish().trim_end_matches(" 0\n# EOF\n").to_owned()
}

/// A native histogram that a program could have counted.
fn any_native() -> impl Strategy<Value = Histogram> {
    let side = || vec((-3..100_i32, vec(0..50_u32, 0..4)), 0..4);
    let classic = vec((-100..100_i32, any::<u32>()), 0..5);
    let moment = (0..1_000_i64, 0..1_000_i32);
    let scalars = (
        -4..=8_i32,
        0..4_u32,
        0..9_u32,
        any::<f64>(),
        any::<bool>(),
        moment,
    );
    (scalars, side(), side(), classic).prop_map(|(scalars, positive, negative, classic)| {
        let (schema, threshold, zeros, sum, is_float, (seconds, millis)) = scalars;
        let spans = |side: &[(i32, Vec<u32>)]| {
            let spans = side.iter().enumerate().map(|(at, (offset, counts))| {
                span(if at == 0 { *offset } else { offset.abs() }, counts.len() as u32)
            });
            spans.collect::<Vec<_>>()
        };
        let counts = |side: &[(i32, Vec<u32>)]| {
            let counts = side.iter().flat_map(|(_, counts)| counts).copied();
            counts.collect::<Vec<_>>()
        };
        let deltas = |counts: &[u32]| {
            let mut before = 0;
            let delta = |count: &u32| std::mem::replace(&mut before, i64::from(*count));
            let befores: Vec<_> = counts.iter().map(delta).collect();
            counts
                .iter()
                .zip(befores)
                .map(|(count, before)| i64::from(*count) - before)
                .collect::<Vec<_>>()
        };
        let halves = |counts: &[u32]| {
            counts
                .iter()
                .map(|count| f64::from(*count) + 0.5)
                .collect::<Vec<_>>()
        };
        let (above, below) = (counts(&positive), counts(&negative));
        let count = above.iter().chain(&below).sum::<u32>() + zeros;
        let mut bounds: Vec<_> = classic;
        bounds.sort_unstable();
        bounds.dedup_by_key(|(bound, _)| *bound);
        let mut all = Histogram {
            sample_sum: Some(sum),
            schema: Some(schema),
            zero_threshold: Some(f64::from(threshold) / 1024.0),
            positive_span: spans(&positive),
            negative_span: spans(&negative),
            bucket: bounds
                .into_iter()
                .map(|(bound, count)| (f64::from(bound) / 8.0, count))
                .chain([(f64::INFINITY, count)])
                .map(|(bound, count)| Bucket {
                    cumulative_count: Some(count.into()),
                    cumulative_count_float: None,
                    upper_bound: Some(bound),
                })
                .collect(),
            start_timestamp: Some(Moment {
                seconds,
                nanos: millis * 1_000_000,
            }),
            ..Histogram::default()
        };
        if is_float {
            all.sample_count_float = Some(f64::from(count) + 0.25);
            all.zero_count_float = Some(f64::from(zeros));
            (all.positive_count, all.negative_count) = (halves(&above), halves(&below));
        } else {
            (all.sample_count, all.zero_count) = (Some(count.into()), Some(zeros.into()));
            (all.positive_delta, all.negative_delta) = (deltas(&above), deltas(&below));
        }
        // By this a program says that there is a native form at all.
        if all.positive_span.is_empty() && all.negative_span.is_empty() {
            all.positive_span.push(span(0, 0));
        }
        all
    })
}

fn print_native(histogram: &Histogram) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(","));
    let spans = |spans: &[crate::support::metric_family::Span]| {
        let span = |span: &crate::support::metric_family::Span| {
            format!("{}:{}", span.offset.unwrap_or(0), span.length.unwrap_or(0))
        };
        list(spans.iter().map(span).collect())
    };
    let buckets = |deltas: &[i64], counts: &[f64]| {
        let mut count = 0;
        let whole = deltas.iter().map(|delta| {
            count += delta;
            count.to_string()
        });
        list(
            whole
                .chain(counts.iter().map(|count| Shown(*count).to_string()))
                .collect(),
        )
    };
    let either = |float: Option<f64>, whole: Option<u64>| {
        float.map_or_else(
            || whole.unwrap_or(0).to_string(),
            |count| Shown(count).to_string(),
        )
    };
    let bucket = |bucket: &Bucket| {
        let bound = bucket.upper_bound.unwrap_or(0.0);
        format!(
            "{}:{}",
            OpenMetricsFloat(bound),
            bucket.cumulative_count.unwrap_or(0)
        )
    };
    let start = histogram.start_timestamp.map_or(0, |start| {
        start.seconds * 1_000 + i64::from(start.nanos / 1_000_000)
    });
    format!(
        "{{count:{},sum:{},schema:{},zero_threshold:{},zero_count:{},negative_spans:{},negative_buckets:{},\
         positive_spans:{},positive_buckets:{},bucket:{}}} st@{}.{:03}",
        either(histogram.sample_count_float, histogram.sample_count),
        Shown(histogram.sample_sum.unwrap_or(0.0)),
        histogram.schema.unwrap_or(0),
        Shown(histogram.zero_threshold.unwrap_or(0.0)),
        either(histogram.zero_count_float, histogram.zero_count),
        spans(&histogram.negative_span),
        buckets(&histogram.negative_delta, &histogram.negative_count),
        spans(&histogram.positive_span),
        buckets(&histogram.positive_delta, &histogram.positive_count),
        list(histogram.bucket.iter().map(bucket).collect()),
        start / 1_000,
        start % 1_000,
    )
}

proptest! {
    /// The texts of the series are the same, too: by them a window knows a series again.
    #[test]
    fn both_formats_of_a_histogram_say_the_same(
        histograms in vec(any_native(), 1..4),
        value in "[a-z\\\\\"{}=,# .é]{0,8}",
        is_gauge: bool,
    ) {
        let metric = |histogram: &Histogram| Metric {
            label: labels([("a", &*value), ("b.c", "d")]),
            histogram: Some(histogram.clone()),
            ..Metric::default()
        };
        let metric_type = if is_gauge { 5 } else { 4 };
        let message = MetricFamily {
            metric: histograms.iter().map(metric).collect(),
            ..family("h", metric_type, Metric::default())
        };
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = format!("# TYPE h {}\n", if is_gauge { "gaugehistogram" } else { "histogram" });
        for histogram in &histograms {
            let mut value = print_native(histogram);
            if is_gauge {
                value = value.replace("count:", "gcount:").replace("zero_gcount:", "zero_count:").replace("sum:", "gsum:");
            }
            text += &format!("h{{a=\"{escaped}\",\"b.c\"=\"d\"}} {value}\n");
        }
        text += "# EOF\n";
        for mode in [Histograms::Classic, Histograms::Native, Histograms::Both] {
            let mut parser = Parser::new().with_histograms(mode);
            let (printed, report) = read(&mut parser, Format::OpenMetrics2, text.as_bytes());
            prop_assert!(report.is_complete(), "{:?}\n{}", report, text);
            let (said, report) = read(&mut parser, Format::Protobuf, &page([&message]));
            prop_assert!(report.is_complete(), "{:?}", report);
            // Here the two formats have other names.
            let printed: Vec<_> = printed.iter().map(|line| line.replace("h_g", "h_")).collect();
            prop_assert_eq!(printed, said);
        }
    }

    #[test]
    fn both_formats_of_a_page_say_the_same(mut families in vec(any_family(), 0..5)) {
        let mut text = String::new();
        families.dedup_by(|a, b| a.name == b.name);
        for family in &mut families {
            for one in &mut family.metrics {
                one.parts.sort_by(|a, b| a.0.total_cmp(&b.0));
                one.parts.dedup_by_key(|(bound, _)| *bound);
                if family.metric_type == MetricType::Summary {
                    one.parts.retain(|(quantile, _)| (0.0..=1.0).contains(quantile));
                }
                if family.metric_type == MetricType::Counter && one.number.is_nan() {
                    one.number = 0.0;
                }
            }
            family.print_2(&mut text);
        }
        text += "# EOF\n";
        let messages: Vec<_> = families.iter().map(Family::message).collect();
        let mut parser = Parser::new();
        let (printed, report) = read(&mut parser, Format::OpenMetrics2, text.as_bytes());
        prop_assert!(report.is_complete(), "{:?}\n{}", report, text);
        let (said, _) = read(&mut parser, Format::Protobuf, &page(&messages));
        prop_assert_eq!(printed, said);
    }

    #[test]
    fn any_nearly_good_page_is_read_without_panic(
        families in vec(any_family(), 1..3),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut text = format!("# TYPE h histogram\nh {}\n", print_native(&native()));
        families.iter().for_each(|family| family.print_2(&mut text));
        let mut body = (text + "# EOF\n").into_bytes();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        exposition_body::check(&body);
    }
}

/// Both readers hand on what a histogram is, and not only its text.
#[test]
fn a_histogram_of_both_formats_is_one() {
    let text = format!("# TYPE h histogram\nh {}\n# EOF\n", print_native(&native()));
    let mut parser = Parser::new().with_histograms(Histograms::Native);
    let (printed, _) = read(&mut parser, Format::OpenMetrics2, text.as_bytes());
    let mut parser = Parser::new().with_histograms(Histograms::Native);
    let (said, _) = read(&mut parser, Format::Protobuf, &page([&histogram("h", native())]));
    assert_eq!(printed, said);
}
