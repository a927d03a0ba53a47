//! Properties of the exposition parser.

use fleetgauge_promql::exposition::{Encoder, Event, Format, Limits, MetricType, Parser};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::support::{exposition_body, vllm_page};

/// What can be printed, and what is said when it is read back.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Type(String, MetricType),
    Help(String, String),
    Unit(String, String),
    Sample(String, Vec<(String, String)>, u64, Option<i64>),
}

fn encode(format: Format, page: &[Said]) -> String {
    let mut encoder = Encoder::new(format);
    for said in page {
        match said {
            Said::Type(family, metric_type) => encoder.metric_type(family, *metric_type),
            Said::Help(family, text) => encoder.help(family, text),
            Said::Unit(family, unit) => encoder.unit(family, unit),
            Said::Sample(name, labels, bits, timestamp) => {
                let labels = labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
                encoder.sample(name, labels, f64::from_bits(*bits), *timestamp);
            }
        }
    }
    encoder.finish()
}

fn read(format: Format, body: &str) -> Vec<Said> {
    let mut parser = Parser::new().with_limits(Limits::default());
    let mut page = parser.page(format, body.as_bytes());
    let mut said = Vec::new();
    while let Some(event) = page.next() {
        said.push(match event {
            Event::Type { family, metric_type } => Said::Type(family.into(), metric_type),
            Event::Help { family, text } => Said::Help(family.into(), text.into()),
            Event::Unit { family, unit } => Said::Unit(family.into(), unit.into()),
            Event::Sample(sample) => {
                let labels = page.labels().expect("the labels are good").iter();
                let labels = labels.map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
                Said::Sample(
                    sample.name().into(),
                    labels,
                    sample.value.to_bits(),
                    sample.timestamp,
                )
            }
            other => panic!("unexpected {other:?}"),
        });
    }
    let report = page.finish();
    assert!(report.is_complete(), "{report:?}\n{body}");
    said
}

/// Names that need quotes, and some that do not.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}",
        "[a-z\\\\\"{}=,# \n.é]{1,6}",
        "\\PC{1,6}"
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z\\\\\"{}=,# \n\t.é]{0,8}", any::<String>()]
}

fn said() -> impl Strategy<Value = Said> {
    // What ends in a carriage return cannot be told from CRLF.
    let help = text().prop_filter("CR", |text| !text.ends_with('\r'));
    let value = prop_oneof![
        any::<f64>(),
        (0..1_000_000_u32).prop_map(f64::from),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::NAN),
    ]
    // There is one way to write NaN, so there is one NaN.
    .prop_map(|value| {
        if value.is_nan() {
            f64::NAN.to_bits()
        } else {
            value.to_bits()
        }
    });
    let label = name().prop_filter("the metric's name", |name| name != "__name__");
    let labels = btree_map(label, text(), 0..5).prop_map(|labels| labels.into_iter().collect());
    prop_oneof![
        1 => (name(), prop_oneof![Just(MetricType::Gauge), Just(MetricType::Histogram), Just(MetricType::Unknown)])
            .prop_map(|(family, metric_type)| Said::Type(family, metric_type)),
        1 => (name(), help).prop_map(|(family, text)| Said::Help(family, text)),
        1 => (name(), "[a-z]{1,8}").prop_map(|(family, unit)| Said::Unit(family, unit)),
        5 => (name(), labels, value, option::of(any::<i64>()))
            .prop_map(|(name, labels, value, timestamp)| Said::Sample(name, labels, value, timestamp)),
    ]
}

/// Bytes that come close to a page.
fn nearly_a_page() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "a",
            "up",
            "_total",
            "{",
            "}",
            "\"",
            "=",
            ",",
            " ",
            "\t",
            "\n",
            "\r\n",
            "\\",
            "#",
            "# TYPE ",
            "# HELP ",
            "# UNIT ",
            "# EOF",
            "counter",
            "1",
            ".5",
            "e9",
            "0x1p3",
            "NaN",
            "+Inf",
            "a{b=\"c\"} 1",
            "a{b=\"c\",d=\"e\"} 2\n",
            "a{d=\"e\",b=\"c\"} 3\n",
            "up{b=\"c\"d=\"e\"} 4\n",
            "a{b=\"c\",b=\"c\"} 5\n",
            "a{\"b\"=\"c\"} 6\n",
            "é",
            "{\"a\"} 2",
            "__name__",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..3),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(page in vec(said(), 0..12)) {
        prop_assert_eq!(&read(Format::OpenMetrics, &encode(Format::OpenMetrics, &page)), &page);
        let without_units: Vec<_> = page.into_iter().filter(|said| !matches!(said, Said::Unit(..))).collect();
        prop_assert_eq!(&read(Format::Text, &encode(Format::Text, &without_units)), &without_units);
    }

    #[test]
    fn any_bytes_are_read_without_panic(page in vec(any::<u8>(), 0..300)) {
        exposition_body::check(&page);
    }

    #[test]
    fn any_nearly_good_page_is_read_without_panic(page in nearly_a_page()) {
        exposition_body::check(&page);
    }
}

#[test]
fn a_page_cut_off_anywhere_is_read_without_panic() {
    let page = vllm_page::vllm_page(1);
    let start = page.find("vllm:request_success_total{").expect("it is there");
    for end in start..start + 400 {
        exposition_body::check(&page.as_bytes()[start - 200..end]);
    }
}

#[test]
fn a_vllm_page_is_read_whole() {
    let body = vllm_page::vllm_page(1);
    let said = read(Format::Text, &body);
    let samples = said
        .iter()
        .filter(|said| matches!(said, Said::Sample(..)))
        .count();
    assert_eq!(
        samples,
        body.lines().filter(|line| !line.starts_with('#')).count()
    );
    assert!(
        (90_000..120_000).contains(&body.len()) && (800..900).contains(&samples),
        "{} {samples}",
        body.len()
    );
    // Printed by us and read back, it says the same.
    assert_eq!(
        read(Format::OpenMetrics, &encode(Format::OpenMetrics, &said)),
        said
    );
}
