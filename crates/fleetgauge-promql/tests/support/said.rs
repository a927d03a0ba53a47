//! What is read of a page, as lines that tests compare.

use fleetgauge_promql::exposition::{Event, Format, Histograms, Parser, Report};

use super::metric_family::{MetricFamily, page};

/// What a page says, a line an event, and what became of it.
pub(crate) fn read(parser: &mut Parser, format: Format, body: &[u8]) -> (Vec<String>, Report) {
    let mut said = Vec::new();
    let mut page = parser.page(format, body);
    while let Some(event) = page.next() {
        let text = match event {
            Event::Type { family, metric_type } => format!("type {family} {metric_type}"),
            Event::Help { family, text } => format!("help {family} {text:?}"),
            Event::Unit { family, unit } => format!("unit {family} {unit}"),
            Event::Sample(sample) => {
                let Some(labels) = page.labels() else { continue };
                let mut text = format!(
                    "{} {}{labels:?} {:?}",
                    sample.series(),
                    sample.name(),
                    sample.value
                );
                if let Some(time) = sample.timestamp {
                    text += &format!(" @{time}");
                }
                if let Some(time) = sample.start_timestamp {
                    text += &format!(" since {time}");
                }
                text
            }
            Event::Histogram(sample) => {
                let Some(labels) = page.labels() else { continue };
                let mut text = format!("{} {labels:?} {}", sample.series(), sample.histogram);
                text += &format!(
                    " {:?} {:?}",
                    sample.histogram.layout(),
                    sample.histogram.counter_reset()
                );
                text + &format!(" {:?} {:?}", sample.timestamp, sample.start_timestamp)
            }
            other => panic!("unexpected {other:?}"),
        };
        said.push(text);
    }
    (said, page.finish())
}

/// What a page of these messages says.
pub(crate) fn read_all(histograms: Histograms, families: &[MetricFamily]) -> (Vec<String>, Report) {
    let mut parser = Parser::new().with_histograms(histograms);
    read(&mut parser, Format::Protobuf, &page(families))
}
