//! Answers of the Prometheus HTTP API, decoded straight into columns.
//!
//! An instant vector of a fleet has thousands of series that repeat the same few labels, so nothing is built
//! on the way: each label goes from the body into the answer's shared text while the JSON is being read.
//! Nothing is guessed either. What is not exactly an answer of Prometheus is an error that says where it
//! departs from one; in particular no number that cannot be read ever becomes zero.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>.

mod histogram;
mod leaf;
mod reader;
mod series;

use std::fmt;
use std::sync::Arc;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::Stamp;
use fleetgauge_syntax::remark;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Unexpected, Visitor};

use self::leaf::{Notes, Number, Pair, Text};
use self::reader::{Reader, ResultType, Status, malformed, once};
use self::series::AllSeries;
use crate::client::failure::excerpt;

/// Decodes the body of an answer to `/api/v1/query`.
///
/// *Shape*: a vector gives one value per series and a scalar one without labels, all stamped with the time
/// of evaluation; a matrix (of a query such as `up[5m]`) all samples of each series with the times at which they were
/// taken; a string gives a text and no values. An answer with `isPartial`, or with a warning that is not about the query itself
/// or says that values were left out, is [incomplete](Answer::is_complete).
///
/// *Errors*: [`FetchError::Rejected`] for an error inside a well-formed answer, whatever its `status`, [`FetchError::Unsupported`]
/// if a series holds a native histogram, which is no number (the query is to reduce it, for instance with
/// `histogram_quantile`), [`FetchError::TooLarge`] if its labels exceed 4 GiB, and [`FetchError::Malformed`]
/// with line and column for everything else, including two series with equal labels.
///
/// ```
/// let body = br#"{"status": "success", "data": {"resultType": "vector", "result": [
///     {"metric": {"pod": "a"}, "value": [1763930000.5, "3"]}
/// ]}}"#;
/// let answer = fleetgauge::prometheus::decode_answer(body)?;
/// assert_eq!(answer.values().next().unwrap().value, 3.0);
/// # Ok::<(), fleetgauge::backend::FetchError>(())
/// ```
pub fn decode_answer(body: &[u8]) -> Result<Answer, FetchError> {
    numbers(decode(body, false)?)
}

/// As [`decode_answer`], for who takes native histograms, and does not read them as numbers: they are
/// [`MetricValue::histogram`](fleetgauge_core::sample::MetricValue::histogram) of a vector, and among
/// [`Series::samples`](fleetgauge_core::result::Series::samples) of a matrix.
///
/// *Errors*: as [`decode_answer`], but for histograms; one that cannot be read is [`FetchError::Malformed`].
///
/// ```
/// let body = br#"{"status": "success", "data": {"resultType": "vector", "result": [
///     {"metric": {"pod": "a"}, "histogram": [1763930000.5, {"count": "4", "sum": "6", "buckets": [[0, "1", "2", "4"]]}]}
/// ]}}"#;
/// let answer = fleetgauge::prometheus::decode_answer_with_histograms(body)?;
/// assert_eq!(answer.values().next().unwrap().histogram.unwrap().buckets[0].upper, 2.0);
/// # Ok::<(), fleetgauge::backend::FetchError>(())
/// ```
pub fn decode_answer_with_histograms(body: &[u8]) -> Result<Answer, FetchError> {
    decode(body, false)
}

/// Decodes the body of an answer to `/api/v1/query_range`.
///
/// *Shape*: a matrix with all points of each series, stamped with the times of evaluation. Warnings and `isPartial`
/// are as in [`decode_answer`].
///
/// *Errors*: as [`decode_answer`]; every other type than a matrix, and points that are not in the order of their times,
/// are [`FetchError::Malformed`].
///
/// ```
/// let body = br#"{"status": "success", "data": {"resultType": "matrix", "result": [
///     {"metric": {"pod": "a"}, "values": [[1763930000, "3"], [1763930015, "4"]]}
/// ]}}"#;
/// let answer = fleetgauge::prometheus::decode_range(body)?;
/// assert_eq!(answer.series().next().unwrap().points().last().unwrap().value, 4.0);
/// # Ok::<(), fleetgauge::backend::FetchError>(())
/// ```
pub fn decode_range(body: &[u8]) -> Result<Answer, FetchError> {
    numbers(decode(body, true)?)
}

/// As [`decode_range`], for who takes native histograms, as [`decode_answer_with_histograms`] has them.
///
/// *Errors*: as there.
pub fn decode_range_with_histograms(body: &[u8]) -> Result<Answer, FetchError> {
    decode(body, true)
}

fn numbers(answer: Answer) -> Result<Answer, FetchError> {
    answer.numbers().map_err(|error| FetchError::Unsupported {
        what: error.to_string(),
    })
}

fn decode(body: &[u8], range: bool) -> Result<Answer, FetchError> {
    let text = std::str::from_utf8(body).map_err(|error| FetchError::Malformed {
        detail: format!("not UTF-8 after byte {}", error.valid_up_to()),
        source: Some(Arc::new(error)),
    })?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(malformed(match text.trim_ascii() {
            "" => "an empty body".to_owned(),
            other => format!("expected a JSON object, found {:?}", excerpt(other)),
        }));
    }
    let new = || Reader {
        range,
        ..Reader::default()
    };
    let first = read(new(), text)?;
    // The answer's shape is named beside it. Prometheus names it first, but a JSON object has no order:
    // where the name came last, the text is read a second time.
    let reader = match (first.result_type, first.skipped) {
        (Some(known), true) => {
            let again = Reader {
                result_type: Some(known),
                ..new()
            };
            read(again, text)?
        }
        _ => first,
    };
    reader.finish()
}

fn read(mut reader: Reader, text: &str) -> Result<Reader, FetchError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Envelope(&mut reader)
        .deserialize(&mut json)
        .and_then(|()| json.end());
    match (read, reader.failure.take()) {
        (Ok(()), None) => Ok(reader),
        (_, Some(failure)) => Err(failure),
        // The parser's error is told here whole, but for its length: it may quote the answer.
        (Err(error), None) => Err(malformed(excerpt(&error.to_string()))),
    }
}

// === The envelope: status, error, warnings, data ===

struct Envelope<'r>(&'r mut Reader);
struct Data<'r>(&'r mut Reader);

impl<'de> DeserializeSeed<'de> for Envelope<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of the Prometheus API")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        while let Some(key) = map.next_key_seed(Text)? {
            match &*key {
                "status" => {
                    let status = match &*map.next_value_seed(Text)? {
                        "success" => Status::Success,
                        "error" => Status::Error,
                        other => {
                            let found = excerpt(other);
                            return Err(A::Error::invalid_value(
                                Unexpected::Str(&found),
                                &"`success` or `error`",
                            ));
                        }
                    };
                    once(&mut reader.status, status, "status")?;
                }
                "data" => {
                    if std::mem::replace(&mut reader.data, true) {
                        return Err(A::Error::duplicate_field("data"));
                    }
                    map.next_value_seed(Data(reader))?;
                }
                "errorType" => {
                    let text = map.next_value_seed(Text)?.into_owned();
                    once(&mut reader.error_type, text, "errorType")?;
                }
                "error" => {
                    let text = map.next_value_seed(Text)?.into_owned();
                    once(&mut reader.error, text, "error")?;
                }
                "warnings" => map.next_value_seed(Notes(|note: &str| warn(&mut reader.answer, note)))?,
                "infos" => map.next_value_seed(Notes(|note: &str| inform(&mut reader.answer, note)))?,
                "isPartial" => {
                    let partial: Option<bool> = map.next_value()?;
                    once(&mut reader.partial, partial.unwrap_or(false), "isPartial")?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Data<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `resultType` and `result`")
    }

    // As some servers write beside an error.
    fn visit_none<E>(self) -> Result<(), E> {
        self.0.data = false;
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        let mut named = false;
        while let Some(key) = map.next_key_seed(Text)? {
            match &*key {
                "resultType" => {
                    if std::mem::replace(&mut named, true) {
                        return Err(A::Error::duplicate_field("resultType"));
                    }
                    reader.result_type = Some(match &*map.next_value_seed(Text)? {
                        "vector" => ResultType::Vector,
                        "scalar" => ResultType::Scalar,
                        "string" => ResultType::String,
                        "matrix" => ResultType::Matrix,
                        other => {
                            let found = excerpt(other);
                            return Err(A::Error::invalid_value(
                                Unexpected::Str(&found),
                                &"`vector`, `scalar`, `string` or `matrix`",
                            ));
                        }
                    });
                }
                "result" => {
                    if std::mem::replace(&mut reader.result, true) {
                        return Err(A::Error::duplicate_field("result"));
                    }
                    match reader.result_type {
                        None => {
                            reader.skipped = true;
                            map.next_value::<IgnoredAny>()?;
                        }
                        Some(ResultType::Matrix) => {
                            reader.answer.matrix();
                            if !reader.range {
                                reader.answer.set_stamp(Stamp::Sampled);
                            }
                            map.next_value_seed(AllSeries { reader, matrix: true })?;
                        }
                        Some(_) if reader.range => {
                            return Err(A::Error::custom("a range has a matrix as its answer"));
                        }
                        Some(ResultType::Vector) => map.next_value_seed(AllSeries {
                            reader,
                            matrix: false,
                        })?,
                        Some(ResultType::Scalar) => {
                            let point = map.next_value_seed(Pair(Number))?;
                            reader.answer.scalar(point.1, point.0);
                        }
                        Some(ResultType::String) => {
                            let (at, text) = map.next_value_seed(Pair(Text))?;
                            reader.answer.text(&text, at);
                        }
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Keeps a warning of the server, and what it means for the answer.
///
/// The engine's own remarks on the query begin with `PromQL`; Thanos lists those on counters among its warnings
/// as well. All other warnings are of parts that did not answer: stores of Thanos, ingesters of Cortex, remote
/// storage of Prometheus, and remarks that are not told for their number. Of the engine's own, some say that values were left
/// out.
fn warn(answer: &mut AnswerBuilder, warning: &str) {
    let shown = match excerpt(warning) {
        nothing if nothing.trim().is_empty() => "the server gave a warning without a text".to_owned(),
        shown => shown,
    };
    match remark::on_query(warning).is_some() && !remark::leaves_out(warning) {
        true => answer.warning(&shown),
        false => answer.missing(&shown),
    }
}

/// Keeps an info of the server, which may say that values were left out as well, or that there are more infos.
fn inform(answer: &mut AnswerBuilder, info: &str) {
    match remark::leaves_out(info) || info.ends_with(" info annotations omitted") {
        true => answer.missing(&excerpt(info)),
        false => answer.info(&excerpt(info)),
    }
}

#[cfg(test)]
mod tests;
