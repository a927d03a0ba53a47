//! The real Prometheus, asked over one connection that stays open.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use fleetgauge_testkit::{Prometheus, http};
use serde_json::Value as Json;

use super::data::{self, Series};

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
}

/// An answer that can be compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The labels of each series, and its samples by time in milliseconds.
    pub(crate) series: BTreeMap<String, BTreeMap<i64, f64>>,
    /// The labels of the series as they came.
    pub(crate) order: Vec<String>,
    /// Warnings and infos.
    pub(crate) notes: BTreeSet<String>,
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
        }
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn push(&mut self, labels: String, samples: BTreeMap<i64, f64>) {
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
        let server = builder.data(&data::open_metrics(all)).start().unwrap();
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
            answer.push("scalar".to_owned(), [sample(result)].into());
        }
        "string" => {
            answer.push(format!("string {}", result[1]), BTreeMap::new());
        }
        _ => {
            for series in result.as_array().unwrap() {
                let labels: BTreeMap<_, _> = series["metric"].as_object().unwrap().iter().collect();
                let samples = match series.get("value") {
                    Some(value) => [sample(value)].into(),
                    None => series["values"].as_array().unwrap().iter().map(sample).collect(),
                };
                answer.push(
                    key(labels.iter().map(|(n, v)| (n.as_str(), v.as_str().unwrap()))),
                    samples,
                );
            }
        }
    }
    answer
}

/// `[1700000000.5, "3"]`
fn sample(pair: &Json) -> (i64, f64) {
    let at = (pair[0].as_f64().unwrap() * 1000.0).round() as i64;
    (at - data::START, pair[1].as_str().unwrap().parse().unwrap())
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
