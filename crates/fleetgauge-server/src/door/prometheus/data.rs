//! Answers as Prometheus's HTTP API gives them: the object under `data`.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats>

use fleetgauge_core::histogram::{Bucket, Histogram};
use fleetgauge_core::label::Labels;
use fleetgauge_core::result::{Answer, AnswerKind, Series};
use fleetgauge_core::sample::{MetricValue, Number, SampleValue};
use fleetgauge_core::time::Timestamp;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, SerializeTuple, Serializer};

/// `{"resultType": …, "result": …}`
#[derive(Clone, Copy, Debug)]
pub struct QueryData<'a> {
    answer: &'a Answer,
    limit: usize,
}

struct Vector<'a>(QueryData<'a>);

struct Matrix<'a>(QueryData<'a>);

struct VectorEntry<'a>(MetricValue<'a>);

struct MatrixEntry<'a>(Series<'a>);

/// All samples of a series, which are numbers.
struct Points<'a>(Series<'a>);

/// The numbers among the samples of a series.
struct Numbers<'a>(Series<'a>);

/// The native histograms among them.
struct Histograms<'a>(Series<'a>);

/// `{"count": "4", "sum": "6.5", "buckets": [[0, "1", "2", "4"]]}`, without buckets that have observed nothing.
struct OneHistogram<'a>(&'a Histogram);

struct Buckets<'a>(&'a [Bucket]);

struct OneBucket<'a>(&'a Bucket);

struct Metric<'a>(Labels<'a>);

/// `[1763930000.5, "3"]`
struct Pair<T>(Timestamp, T);

/// A number as text, since JSON has none for NaN.
struct Text(f64);

// === impl QueryData ===

impl<'a> QueryData<'a> {
    /// All of `answer`.
    pub fn new(answer: &'a Answer) -> Self {
        Self {
            answer,
            limit: usize::MAX,
        }
    }

    /// Its first `limit` series.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Whether series are left out.
    pub fn is_cut(&self) -> bool {
        let count = match self.answer.kind() {
            AnswerKind::Matrix => self.answer.series().len(),
            AnswerKind::Vector => self.answer.len(),
            _ => 0,
        };
        count > self.limit
    }
}

// === impl Serialize ===

impl Serialize for QueryData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut data = serializer.serialize_struct("Data", 2)?;
        let answer = self.answer;
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
                data.serialize_field("result", &Matrix(*self))?;
            }
            _ => {
                data.serialize_field("resultType", "vector")?;
                data.serialize_field("result", &Vector(*self))?;
            }
        }
        data.end()
    }
}

impl Serialize for Vector<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.answer.values().take(self.0.limit).map(VectorEntry))
    }
}

impl Serialize for Matrix<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.answer.series().take(self.0.limit).map(MatrixEntry))
    }
}

impl Serialize for VectorEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Series", 2)?;
        entry.serialize_field("metric", &Metric(self.0.labels))?;
        match self.0.sample() {
            SampleValue::Histogram(histogram) => {
                entry.serialize_field("histogram", &Pair(self.0.timestamp, OneHistogram(histogram)))?;
            }
            _ => entry.serialize_field("value", &Pair(self.0.timestamp, Text(self.0.value)))?,
        }
        entry.end()
    }
}

impl Serialize for MatrixEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Series", 2)?;
        entry.serialize_field("metric", &Metric(self.0.labels()))?;
        if !self.0.has_histograms() {
            entry.serialize_field("values", &Points(self.0))?;
            return entry.end();
        }
        let is_number = |(_, value)| matches!(value, SampleValue::Number(_));
        if self.0.samples().any(is_number) {
            entry.serialize_field("values", &Numbers(self.0))?;
        }
        entry.serialize_field("histograms", &Histograms(self.0))?;
        entry.end()
    }
}

impl Serialize for Points<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let points = self.0.points();
        serializer.collect_seq(points.map(|point| Pair(point.timestamp, Text(point.value))))
    }
}

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.samples().filter_map(|(at, value)| match value {
            SampleValue::Number(number) => Some(Pair(at, Text(number))),
            _ => None,
        }))
    }
}

impl Serialize for Histograms<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.samples().filter_map(|(at, value)| match value {
            SampleValue::Histogram(histogram) => Some(Pair(at, OneHistogram(histogram))),
            _ => None,
        }))
    }
}

impl Serialize for OneHistogram<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Histogram { count, sum, buckets } = self.0;
        let mut histogram = serializer.serialize_struct("Histogram", 3)?;
        histogram.serialize_field("count", &Text(*count))?;
        histogram.serialize_field("sum", &Text(*sum))?;
        if buckets.iter().any(|bucket| bucket.count != 0.0) {
            histogram.serialize_field("buckets", &Buckets(buckets))?;
        }
        histogram.end()
    }
}

impl Serialize for Buckets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let buckets = self.0.iter().filter(|bucket| bucket.count != 0.0);
        serializer.collect_seq(buckets.map(OneBucket))
    }
}

impl Serialize for OneBucket<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Bucket {
            bounds,
            lower,
            upper,
            count,
        } = *self.0;
        (bounds.number(), Text(lower), Text(upper), Text(count)).serialize(serializer)
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
        match self.0.as_millis() {
            millis if millis % 1_000 == 0 => pair.serialize_element(&(millis / 1_000))?,
            _ => pair.serialize_element(&self.0.as_secs_f64())?,
        }
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
    use fleetgauge_core::histogram::Bounds;
    use fleetgauge_core::result::AnswerBuilder;
    use fleetgauge_core::sample::Stamp;

    use super::*;

    #[test]
    fn answers_are_the_data_object_of_the_api() {
        let check = |build: &dyn Fn(&mut AnswerBuilder), limit: usize, expected: &str, is_cut: bool| {
            let mut answer = AnswerBuilder::new(Stamp::Evaluated);
            build(&mut answer);
            let answer = &answer.build();
            let data = QueryData::new(answer).limit(limit);
            assert_eq!(serde_json::to_string(&data).unwrap(), expected);
            assert_eq!(data.is_cut(), is_cut, "{expected}");
        };
        let at = Timestamp::from_millis;
        check(
            &|answer| answer.scalar(f64::NAN, at(1_500)),
            0,
            r#"{"resultType":"scalar","result":[1.5,"NaN"]}"#,
            false,
        );
        check(
            &|answer| answer.text("x", at(2_000)),
            0,
            r#"{"resultType":"string","result":[2,"x"]}"#,
            false,
        );
        let two = |answer: &mut AnswerBuilder| {
            let labels = [("__name__", "up"), ("pod", "a\"")];
            answer.series(labels, 1.0, at(1_000)).unwrap();
            answer.series([("pod", "b")], f64::INFINITY, at(1_000)).unwrap();
        };
        check(
            &two,
            1,
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","pod":"a\""},"value":[1,"1"]}]}"#,
            true,
        );
        check(
            &|answer| {
                answer.point(1.0, at(1_000));
                answer.point(0.5, at(2_000));
                answer.end_points().unwrap();
            },
            1,
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2,"0.5"]]}]}"#,
            false,
        );
        let histogram = |count| Histogram {
            count,
            sum: 0.1,
            buckets: [(Bounds::OpenLeft, count), (Bounds::Open, 0.0)]
                .map(|(bounds, count)| Bucket {
                    bounds,
                    lower: 1e21,
                    upper: f64::INFINITY,
                    count,
                })
                .into(),
        };
        check(
            &|answer| {
                answer.label("pod", "a");
                answer.end_histogram(histogram(2.5), at(1_500)).unwrap();
                answer.series([("pod", "b")], 1.0, at(1_500)).unwrap();
            },
            2,
            r#"{"resultType":"vector","result":[{"metric":{"pod":"a"},"histogram":[1.5,{"count":"2.5","sum":"0.1","buckets":[[0,"1e+21","+Inf","2.5"]]}]},{"metric":{"pod":"b"},"value":[1.5,"1"]}]}"#,
            false,
        );
        check(
            &|answer| {
                answer.label("pod", "a");
                answer.point(1.0, at(1_000));
                answer.histogram(histogram(1.0), at(2_000));
                answer.point(2.0, at(3_000));
                answer.end_points().unwrap();
                answer.label("pod", "b");
                answer.histogram(histogram(0.0), at(2_000));
                answer.end_points().unwrap();
                answer.label("pod", "c");
                answer.point(1.0, at(1_000));
                answer.end_points().unwrap();
            },
            3,
            r#"{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[[1,"1"],[3,"2"]],"histograms":[[2,{"count":"1","sum":"0.1","buckets":[[0,"1e+21","+Inf","1"]]}]]},{"metric":{"pod":"b"},"histograms":[[2,{"count":"0","sum":"0.1"}]]},{"metric":{"pod":"c"},"values":[[1,"1"]]}]}"#,
            false,
        );
        check(
            &|answer| answer.matrix(),
            1,
            r#"{"resultType":"matrix","result":[]}"#,
            false,
        );
    }
}
