//! The series of a vector or matrix: labels and samples.

use std::fmt;

use fleetgauge_core::result::AnswerBuilder;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::histogram::{HistogramPoints, OneHistogram};
use super::leaf::{Number, Pair, Point, Text};
use super::reader::{Reader, once};

/// The series of a vector or matrix.
pub(super) struct AllSeries<'r> {
    pub(super) reader: &'r mut Reader,
    pub(super) matrix: bool,
}

struct OneSeries<'r> {
    reader: &'r mut Reader,
    matrix: bool,
}

struct SeriesLabels<'r>(&'r mut AnswerBuilder);

/// The points of a matrix' series, each newer than the one before; gives the newest, `None` if there is none.
struct Points<'r>(&'r mut AnswerBuilder);

impl<'de> DeserializeSeed<'de> for AllSeries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AllSeries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of series")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { reader, matrix } = self;
        while seq.next_element_seed(OneSeries { reader, matrix })?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for OneSeries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneSeries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a series: an object with `metric` and its samples")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, matrix } = self;
        let (field, histogram_field) = if matrix {
            ("values", "histograms")
        } else {
            ("value", "histogram")
        };
        let (mut labelled, mut histograms, mut point) = (false, None, None);
        while let Some(key) = map.next_key_seed(Text)? {
            if key == "metric" {
                if std::mem::replace(&mut labelled, true) {
                    return Err(A::Error::duplicate_field("metric"));
                }
                map.next_value_seed(SeriesLabels(&mut reader.answer))?;
            } else if key == field {
                let value = if matrix {
                    map.next_value_seed(Points(&mut reader.answer))?
                } else {
                    Some(map.next_value_seed(Pair(Number))?)
                };
                once(&mut point, value, field)?;
            } else if key == histogram_field {
                let found = match matrix {
                    true => map.next_value_seed(HistogramPoints)?,
                    false => vec![map.next_value_seed(Pair(OneHistogram))?],
                };
                once(&mut histograms, found, histogram_field)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if !labelled {
            return Err(A::Error::missing_field("metric"));
        }
        if let Some(histograms) = histograms.filter(|histograms| !histograms.is_empty()) {
            // In a matrix, numbers of the same series may stand beside them.
            return match (matrix, point) {
                (true, _) => reader.end_mixed(histograms),
                (false, None) => reader.end_histogram(histograms),
                (false, Some(_)) => Err(A::Error::custom("a series with a number and a histogram")),
            };
        }
        match point {
            None => Err(A::Error::missing_field(field)),
            Some(None) => Err(A::Error::custom("a series without samples")),
            Some(Some(_)) if matrix => reader.end_points(),
            Some(Some(point)) => reader.end_series(point),
        }
    }
}

impl<'de> DeserializeSeed<'de> for SeriesLabels<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SeriesLabels<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels: an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Text)? {
            let value = map.next_value_seed(Text)?;
            self.0.label(&name, &value);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Points<'_> {
    type Value = Option<Point>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<Point>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Points<'_> {
    type Value = Option<Point>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of samples")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Point>, A::Error> {
        let mut newest: Option<Point> = None;
        while let Some(point) = seq.next_element_seed(Pair(Number))? {
            if newest.is_some_and(|newest| point.0 <= newest.0) {
                return Err(A::Error::custom(
                    "points that are not in the order of their times",
                ));
            }
            self.0.point(point.1, point.0);
            newest = Some(point);
        }
        Ok(newest)
    }
}
