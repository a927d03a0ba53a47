//! Answers as Prometheus's HTTP API gives them: the object under `data`.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats>

use fleetgauge_core::label::Labels;
use fleetgauge_core::result::{Answer, AnswerKind, Series};
use fleetgauge_core::sample::{MetricValue, Number};
use fleetgauge_core::time::Timestamp;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, SerializeTuple, Serializer};

use super::json::JsonNumber;

/// `{"resultType": …, "result": …}`, with `warnings` and `infos` where there are any, which Prometheus has beside
/// `data`.
pub(crate) struct Data<'a> {
    pub(crate) answer: &'a Answer,
    /// Of what was evaluated, before those of the answer.
    pub(crate) warnings: &'a [String],
}

struct VectorEntry<'a>(MetricValue<'a>);

struct MatrixEntry<'a>(Series<'a>);

struct Metric<'a>(Labels<'a>);

/// `[1763930000.5, "3"]`
struct Pair<T>(Timestamp, T);

/// A number as text, since JSON has none for NaN.
struct Text(f64);

// === impl Serialize ===

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut data = serializer.serialize_struct("Data", 4)?;
        let Self { answer, warnings } = self;
        let at = answer.at().unwrap_or_default();
        match (answer.kind(), answer.text(), answer.values().next()) {
            (_, Some(text), _) => {
                data.serialize_field("resultType", "string")?;
                data.serialize_field("result", &Pair(at, text))?;
            }
            (AnswerKind::Scalar, _, Some(scalar)) => {
                data.serialize_field("resultType", "scalar")?;
                data.serialize_field("result", &Pair(at, Text(scalar.value)))?;
            }
            (AnswerKind::Matrix, ..) => {
                data.serialize_field("resultType", "matrix")?;
                data.serialize_field("result", &answer.series().map(MatrixEntry).collect::<Vec<_>>())?;
            }
            _ => {
                data.serialize_field("resultType", "vector")?;
                data.serialize_field("result", &answer.values().map(VectorEntry).collect::<Vec<_>>())?;
            }
        }
        let warnings = warnings.iter().map(String::as_str).chain(answer.warnings());
        for (name, remarks) in [
            ("warnings", warnings.collect::<Vec<_>>()),
            ("infos", answer.infos().collect()),
        ] {
            if !remarks.is_empty() {
                data.serialize_field(name, &remarks)?;
            }
        }
        data.end()
    }
}

impl Serialize for VectorEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Series", 2)?;
        entry.serialize_field("metric", &Metric(self.0.labels))?;
        entry.serialize_field("value", &Pair(self.0.timestamp, Text(self.0.value)))?;
        entry.end()
    }
}

impl Serialize for MatrixEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Series", 2)?;
        entry.serialize_field("metric", &Metric(self.0.labels()))?;
        let points = self
            .0
            .points()
            .map(|point| Pair(point.timestamp, Text(point.value)));
        entry.serialize_field("values", &points.collect::<Vec<_>>())?;
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

#[cfg(test)]
mod tests {
    use fleetgauge_core::result::AnswerBuilder;
    use fleetgauge_core::sample::Stamp;

    use super::*;

    #[test]
    fn answers_are_the_data_object_of_the_api() {
        let check = |build: &dyn Fn(&mut AnswerBuilder), warnings: &[String], expected: &str| {
            let mut answer = AnswerBuilder::new(Stamp::Evaluated);
            build(&mut answer);
            let answer = &answer.build();
            let data = Data { answer, warnings };
            assert_eq!(serde_json::to_string(&data).unwrap(), expected);
        };
        let at = Timestamp::from_millis;
        check(
            &|answer| answer.scalar(f64::NAN, at(1_500)),
            &[],
            r#"{"resultType":"scalar","result":[1.5,"NaN"]}"#,
        );
        check(
            &|answer| answer.text("x", at(2_000)),
            &[],
            r#"{"resultType":"string","result":[2,"x"]}"#,
        );
        check(
            &|answer| {
                let labels = [("__name__", "up"), ("pod", "a\"")];
                answer.series(labels, 1.0, at(1_000)).unwrap();
            },
            &[],
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","pod":"a\""},"value":[1,"1"]}]}"#,
        );
        check(
            &|answer| {
                answer.point(1.0, at(1_000));
                answer.point(0.5, at(2_000));
                answer.end_points().unwrap();
            },
            &[],
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2,"0.5"]]}]}"#,
        );
        check(
            &|answer| answer.matrix(),
            &[],
            r#"{"resultType":"matrix","result":[]}"#,
        );
        check(
            &|answer| {
                answer.warning("b");
                answer.info("c");
            },
            &["a".to_owned()],
            r#"{"resultType":"vector","result":[],"warnings":["a","b"],"infos":["c"]}"#,
        );
    }
}
