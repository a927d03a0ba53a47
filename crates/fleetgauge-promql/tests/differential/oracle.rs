//! The real Prometheus, asked over one connection that stays open.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use fleetgauge_core::histogram::{Bounds, Bucket, Histogram};
use fleetgauge_testkit::{OpenMetrics, Prometheus, http};
use serde_json::Value as Json;

use super::data::{self, Series};
use super::remote_write;

pub(crate) struct Oracle {
    _server: Prometheus,
    stream: BufReader<TcpStream>,
    host: String,
}

/// The programs of the Prometheus to ask.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) prometheus: PathBuf,
    pub(crate) promtool: PathBuf,
    pub(crate) flags: Vec<&'static str>,
    /// Whether it is sent its data, with histograms. Else it gets blocks that its promtool makes.
    pub(crate) takes_histograms: bool,
}

/// An answer that can be compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The labels of each series, and its samples by time in milliseconds.
    pub(crate) series: BTreeMap<String, BTreeMap<i64, Value>>,
    /// The labels of the series as they came.
    pub(crate) order: Vec<String>,
    /// Warnings and infos.
    pub(crate) notes: BTreeSet<String>,
}

/// What a series has at a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Histogram(Histogram),
}

/// What is asked: an instant, or a range.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// *Unit*: milliseconds after [`data::START`], as all below.
    At(i64),
    Range(i64, i64, i64),
}

// === impl Programs ===

impl Programs {
    /// Debian's.
    pub(crate) fn v2() -> Self {
        Self {
            prometheus: "prometheus".into(),
            promtool: "promtool".into(),
            flags: Vec::new(),
            takes_histograms: false,
        }
    }
}

// === impl Value ===

impl Value {
    /// The number, or how many a histogram has observed.
    pub(crate) fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Histogram(histogram) => histogram.count,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Histogram(histogram) => histogram.fmt(f),
        }
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn push(&mut self, labels: String, samples: BTreeMap<i64, Value>) {
        self.order.push(labels.clone());
        self.series.insert(labels, samples);
    }
}

// === impl Oracle ===

impl Oracle {
    pub(crate) fn start(programs: &Programs, all: &[Series]) -> Self {
        let mut builder = Prometheus::builder()
            .program(&programs.prometheus)
            .promtool(&programs.promtool);
        for flag in &programs.flags {
            builder = builder.flag(*flag);
        }
        let (of_blocks, sent) = match programs.takes_histograms {
            true => (OpenMetrics::new(), all),
            false => (data::open_metrics(all), &[][..]),
        };
        let server = builder.data(&of_blocks).start().unwrap();
        if !sent.is_empty() {
            remote_write::send(server.addr(), sent);
        }
        let stream = TcpStream::connect(server.addr()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self {
            host: server.addr().to_string(),
            stream: BufReader::new(stream),
            _server: server,
        }
    }

    /// The answer, or why there is none.
    pub(crate) fn ask(&mut self, query: &str, when: When) -> Result<Answer, String> {
        let query = http::percent_encode(query);
        let seconds = |at: i64| (data::START + at) as f64 / 1000.0;
        let (path, body) = match when {
            When::At(at) => ("query", format!("query={query}&time={}", seconds(at))),
            When::Range(start, end, step) => (
                "query_range",
                format!(
                    "query={query}&start={}&end={}&step={}",
                    seconds(start),
                    seconds(end),
                    step as f64 / 1000.0
                ),
            ),
        };
        let request = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nHost: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let json: Json = serde_json::from_slice(&self.read()).unwrap();
        if json["status"] != "success" {
            return Err(json["error"].as_str().unwrap_or_default().to_owned());
        }
        Ok(answer(&json))
    }

    /// Reads the body of an answer.
    fn read(&mut self) -> Vec<u8> {
        let mut length = None;
        let mut is_chunked = false;
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse().unwrap());
            }
            is_chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        let mut body = Vec::new();
        if !is_chunked {
            body.resize(length.expect("a length"), 0);
            self.stream.read_exact(&mut body).unwrap();
            return body;
        }
        loop {
            let size = usize::from_str_radix(&self.line(), 16).unwrap();
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..]).unwrap();
            self.line();
            if size == 0 {
                return body;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(
            self.stream.read_line(&mut line).unwrap() > 0,
            "the connection ended"
        );
        line.trim_end().to_owned()
    }
}

fn answer(json: &Json) -> Answer {
    let mut answer = Answer::default();
    for kind in ["warnings", "infos"] {
        let notes = json[kind].as_array().into_iter().flatten();
        answer
            .notes
            // Later versions do not name a metric without a name.
            .extend(notes.map(|note| note.as_str().unwrap().replace(" for metric name \"\"", "")));
    }
    let data = &json["data"];
    let result = &data["result"];
    match data["resultType"].as_str().unwrap() {
        "scalar" => {
            answer.push("scalar".to_owned(), [number(result)].into());
        }
        "string" => {
            answer.push(format!("string {}", result[1]), BTreeMap::new());
        }
        _ => {
            for series in result.as_array().unwrap() {
                let labels: BTreeMap<_, _> = series["metric"].as_object().unwrap().iter().collect();
                let many = |name: &str| series[name].as_array().into_iter().flatten();
                let numbers = series.get("value").into_iter().chain(many("values"));
                let histograms = series.get("histogram").into_iter().chain(many("histograms"));
                answer.push(
                    key(labels.iter().map(|(n, v)| (n.as_str(), v.as_str().unwrap()))),
                    numbers.map(number).chain(histograms.map(histogram)).collect(),
                );
            }
        }
    }
    answer
}

/// `[1700000000.5, "3"]`
fn number(pair: &Json) -> (i64, Value) {
    (at(pair), Value::Number(parse(&pair[1])))
}

/// `[1700000000.5, {"count": "3", "sum": "5", "buckets": [[0, "1", "2", "3"]]}]`
fn histogram(pair: &Json) -> (i64, Value) {
    let all = &pair[1];
    let bucket = |bucket: &Json| Bucket {
        bounds: match bucket[0].as_i64().unwrap() {
            0 => Bounds::OpenLeft,
            1 => Bounds::OpenRight,
            2 => Bounds::Open,
            _ => Bounds::Closed,
        },
        lower: parse(&bucket[1]),
        upper: parse(&bucket[2]),
        count: parse(&bucket[3]),
    };
    let buckets = all["buckets"].as_array().into_iter().flatten();
    let histogram = Histogram {
        count: parse(&all["count"]),
        sum: parse(&all["sum"]),
        buckets: buckets.map(bucket).collect(),
    };
    (at(pair), Value::Histogram(histogram))
}

fn at(pair: &Json) -> i64 {
    (pair[0].as_f64().unwrap() * 1000.0).round() as i64 - data::START
}

fn parse(text: &Json) -> f64 {
    text.as_str().unwrap().parse().unwrap()
}

/// What a series is compared by. `labels` are sorted.
pub(crate) fn key<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut key = String::from("{");
    for (name, value) in labels {
        let comma = if key.len() > 1 { "," } else { "" };
        key += &format!("{comma}{name}={value:?}");
    }
    key + "}"
}
