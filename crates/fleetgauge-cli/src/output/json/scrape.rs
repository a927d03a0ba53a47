//! The JSON of `fleetgauge scrape`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::JsonNumber;
use crate::scraped::{SampleLine, Scraped};

/// What became of each target, in the order of the command line.
#[derive(serde::Serialize)]
pub(crate) struct Targets<'a> {
    targets: Vec<Target<'a>>,
}

#[derive(serde::Serialize)]
struct Target<'a> {
    url: &'a str,
    error: Option<&'a str>,
    samples: Vec<Sample<'a>>,
    /// Lines that could not be read, and metrics that were asked for and are not exposed.
    warnings: &'a [String],
}

#[derive(serde::Serialize)]
struct Sample<'a> {
    name: &'a str,
    labels: LabelPairs<'a>,
    value: JsonNumber,
    timestamp: Option<JsonNumber>,
}

struct LabelPairs<'a>(&'a [(String, String)]);

// === impl Targets ===

impl<'a> Targets<'a> {
    pub(crate) fn new(scraped: &'a [Scraped]) -> Self {
        let targets = scraped.iter().map(|target| Target {
            url: &target.url,
            error: target.error.as_deref(),
            samples: target.samples.iter().map(Sample::new).collect(),
            warnings: &target.warnings,
        });
        Self {
            targets: targets.collect(),
        }
    }
}

impl<'a> Sample<'a> {
    fn new(sample: &'a SampleLine) -> Self {
        Self {
            name: &sample.name,
            labels: LabelPairs(&sample.labels),
            value: JsonNumber(sample.value),
            timestamp: sample.timestamp.map(JsonNumber),
        }
    }
}

impl Serialize for LabelPairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
