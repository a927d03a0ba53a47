//! Native histograms: `{"count": "4", "sum": "6.5", "buckets": [[0, "1", "2", "4"]]}`.

use std::fmt;

use fleetgauge_core::histogram::{Bounds, Bucket, Histogram};
use fleetgauge_core::time::Timestamp;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::leaf::{Number, Pair, Text};
use super::reader::once;

/// One has no more buckets. The finest schema has 256 between two powers of two.
const MAX_BUCKETS: usize = 65_536;

#[derive(Clone, Copy)]
pub(super) struct OneHistogram;

/// The histograms of a matrix' series, each newer than the one before.
pub(super) struct HistogramPoints;

struct Buckets;

struct OneBucket;

/// A bound of a bucket.
struct Bound;

impl<'de> DeserializeSeed<'de> for OneHistogram {
    type Value = Histogram;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Histogram, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneHistogram {
    type Value = Histogram;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a native histogram: an object with `count` and `sum`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Histogram, A::Error> {
        let (mut count, mut sum, mut buckets) = (None, None, None);
        while let Some(key) = map.next_key_seed(Text)? {
            match &*key {
                "count" => once(&mut count, map.next_value_seed(Number)?, "count")?,
                "sum" => once(&mut sum, map.next_value_seed(Number)?, "sum")?,
                "buckets" => once(&mut buckets, map.next_value_seed(Buckets)?, "buckets")?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Histogram {
            count: count.ok_or_else(|| A::Error::missing_field("count"))?,
            sum: sum.ok_or_else(|| A::Error::missing_field("sum"))?,
            // They are left out where nothing was observed.
            buckets: buckets.unwrap_or_default(),
        })
    }
}

impl<'de> DeserializeSeed<'de> for HistogramPoints {
    type Value = Vec<(Timestamp, Histogram)>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for HistogramPoints {
    type Value = Vec<(Timestamp, Histogram)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of native histograms")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut points: Self::Value = Vec::new();
        while let Some(point) = seq.next_element_seed(Pair(OneHistogram))? {
            if points.last().is_some_and(|(newest, _)| point.0 <= *newest) {
                return Err(A::Error::custom(
                    "histograms that are not in the order of their times",
                ));
            }
            points.push(point);
        }
        Ok(points)
    }
}

impl<'de> DeserializeSeed<'de> for Buckets {
    type Value = Box<[Bucket]>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Box<[Bucket]>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Buckets {
    type Value = Box<[Bucket]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of buckets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Box<[Bucket]>, A::Error> {
        let mut buckets = Vec::new();
        while let Some(bucket) = seq.next_element_seed(OneBucket)? {
            if buckets.len() == MAX_BUCKETS {
                return Err(A::Error::custom(format!(
                    "a histogram of more than {MAX_BUCKETS} buckets"
                )));
            }
            buckets.push(bucket);
        }
        Ok(buckets.into())
    }
}

impl<'de> DeserializeSeed<'de> for OneBucket {
    type Value = Bucket;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Bucket, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for OneBucket {
    type Value = Bucket;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bucket: which bounds are in it, the lower and the upper one, and a count")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bucket, A::Error> {
        let missing = |place| A::Error::invalid_length(place, &Self);
        let number: u64 = seq.next_element()?.ok_or_else(|| missing(0))?;
        let bounds = Bounds::from_number(number)
            .ok_or_else(|| A::Error::invalid_value(Unexpected::Unsigned(number), &"a number from 0 to 3"))?;
        Ok(Bucket {
            bounds,
            lower: seq.next_element_seed(Bound)?.ok_or_else(|| missing(1))?,
            upper: seq.next_element_seed(Bound)?.ok_or_else(|| missing(2))?,
            count: seq.next_element_seed(Number)?.ok_or_else(|| missing(3))?,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Bound {
    type Value = f64;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<f64, D::Error> {
        match Number.deserialize(json)? {
            bound if bound.is_nan() => Err(D::Error::custom("a bucket whose bound is NaN")),
            bound => Ok(bound),
        }
    }
}
