//! Answers as Prometheus's HTTP API gives them: the object under `data`.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats>

use fleetgauge_core::sample::Number;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::value::{MatrixSeries, Value, VectorSample};
use fleetgauge_promql::window::Sample;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, SerializeTuple, Serializer};

use super::json::JsonNumber;

/// `{"resultType": …, "result": …}`, with `warnings` and `infos` where there are any, which Prometheus has beside
/// `data`.
pub(crate) struct Data<'a> {
    pub(crate) value: &'a Value,
    pub(crate) warnings: &'a [String],
    pub(crate) infos: &'a [String],
}

struct VectorEntry<'a>(&'a VectorSample);

struct MatrixEntry<'a>(&'a MatrixSeries);

struct Metric<'a>(&'a LabelSet);

/// `[1763930000.5, "3"]`
struct Pair<T>(Timestamp, T);

/// A number as text, since JSON has none for NaN.
struct Text(f64);

// === impl Serialize ===

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut data = serializer.serialize_struct("Data", 4)?;
        match self.value {
            Value::Scalar(sample) => {
                data.serialize_field("resultType", "scalar")?;
                data.serialize_field("result", &pair(sample))?;
            }
            Value::Text { at, text } => {
                data.serialize_field("resultType", "string")?;
                data.serialize_field("result", &Pair(*at, text))?;
            }
            Value::Vector(all) => {
                data.serialize_field("resultType", "vector")?;
                data.serialize_field("result", &all.iter().map(VectorEntry).collect::<Vec<_>>())?;
            }
            Value::Matrix(all) => {
                data.serialize_field("resultType", "matrix")?;
                data.serialize_field("result", &all.iter().map(MatrixEntry).collect::<Vec<_>>())?;
            }
            other => return Err(serde::ser::Error::custom(format!("no JSON for {other:?}"))),
        }
        for (name, remarks) in [("warnings", self.warnings), ("infos", self.infos)] {
            if !remarks.is_empty() {
                data.serialize_field(name, remarks)?;
            }
        }
        data.end()
    }
}

impl Serialize for VectorEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Series", 2)?;
        entry.serialize_field("metric", &Metric(&self.0.labels))?;
        entry.serialize_field("value", &pair(&self.0.sample))?;
        entry.end()
    }
}

impl Serialize for MatrixEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Series", 2)?;
        entry.serialize_field("metric", &Metric(&self.0.labels))?;
        let values: Vec<_> = self.0.samples.iter().map(pair).collect();
        entry.serialize_field("values", &values)?;
        entry.end()
    }
}

impl Serialize for Metric<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<T: Serialize> Serialize for Pair<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&JsonNumber(self.0.as_secs_f64()))?;
        pair.serialize_element(&self.1)?;
        pair.end()
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Number(self.0))
    }
}

fn pair(sample: &Sample) -> Pair<Text> {
    Pair(sample.timestamp, Text(sample.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_data_object_of_the_api() {
        let check = |value: &Value, expected: &str| {
            let [warnings, infos] = [&[][..]; 2];
            let data = Data {
                value,
                warnings,
                infos,
            };
            assert_eq!(serde_json::to_string(&data).unwrap(), expected);
        };
        let sample = |millis, value| Sample {
            timestamp: Timestamp::from_millis(millis),
            value,
        };
        let labels = LabelSet::from_pairs([("__name__", "up"), ("pod", "a\"")]);
        check(
            &Value::Scalar(sample(1_500, f64::NAN)),
            r#"{"resultType":"scalar","result":[1.5,"NaN"]}"#,
        );
        let text = "x".to_owned();
        check(
            &Value::Text {
                at: Timestamp::from_millis(2_000),
                text,
            },
            r#"{"resultType":"string","result":[2,"x"]}"#,
        );
        check(
            &Value::Vector(vec![VectorSample {
                labels: labels.clone(),
                sample: sample(1_000, 1.0),
            }]),
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","pod":"a\""},"value":[1,"1"]}]}"#,
        );
        check(
            &Value::Matrix(vec![MatrixSeries {
                labels: LabelSet::empty(),
                samples: vec![sample(1_000, 1.0), sample(2_000, 0.5)],
            }]),
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2,"0.5"]]}]}"#,
        );
        check(&Value::Vector(vec![]), r#"{"resultType":"vector","result":[]}"#);
        let data = Data {
            value: &Value::Vector(vec![]),
            warnings: &["a".to_owned()],
            infos: &["b".to_owned()],
        };
        assert_eq!(
            serde_json::to_string(&data).unwrap(),
            r#"{"resultType":"vector","result":[],"warnings":["a"],"infos":["b"]}"#
        );
    }
}
