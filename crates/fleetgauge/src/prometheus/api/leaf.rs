//! What answers are made of: strings, numbers, and pairs of time and value.

use std::borrow::Cow;
use std::fmt;

use fleetgauge_core::time::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Unexpected, Visitor};

use crate::client::failure::excerpt;

/// A string, borrowed from the body unless it holds escapes.
#[derive(Clone, Copy)]
pub(super) struct Text;

/// A list of strings, each handed on.
pub(super) struct Notes<F>(pub(super) F);

/// A number as Prometheus writes it: in a string.
#[derive(Clone, Copy)]
pub(super) struct Number;

/// `[<seconds>, <value>]`.
pub(super) struct Pair<V>(pub(super) V);

/// What a pair of time and number gives.
pub(super) type Point = (Timestamp, f64);

struct Seconds;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Cow<'de, str>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'de, F: FnMut(&str)> DeserializeSeed<'de> for Notes<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de, F: FnMut(&str)> Visitor<'de> for Notes<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(note) = seq.next_element_seed(Text)? {
            self.0(&note);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Number {
    type Value = f64;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<f64, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number in a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
        parse_number(text).ok_or_else(|| E::invalid_value(Unexpected::Str(&excerpt(text)), &self))
    }
}

/// The number that `text` denotes as Go prints numbers. Rust's own parser also takes `infinity` and `nan`,
/// and makes infinity of what is out of range.
pub(super) fn parse_number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|n: &f64| n.is_finite()),
    }
}

impl<'de, V: DeserializeSeed<'de>> DeserializeSeed<'de> for Pair<V> {
    type Value = (Timestamp, V::Value);

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, V: DeserializeSeed<'de>> Visitor<'de> for Pair<V> {
    type Value = (Timestamp, V::Value);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pair of time and value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let at = seq.next_element_seed(Seconds)?;
        let at = at.ok_or_else(|| A::Error::invalid_length(0, &"a pair of time and value"))?;
        let value = seq.next_element_seed(self.0)?;
        let value = value.ok_or_else(|| A::Error::invalid_length(1, &"a pair of time and value"))?;
        Ok((at, value))
    }
}

impl<'de> DeserializeSeed<'de> for Seconds {
    type Value = Timestamp;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Timestamp, D::Error> {
        json.deserialize_f64(self)
    }
}

/// What milliseconds in 64 bits reach, nearly: no server means a time beyond it.
const LAST_SECOND: f64 = 9.2e15;

impl Visitor<'_> for Seconds {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in seconds")
    }

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Timestamp, E> {
        if seconds.abs() < LAST_SECOND {
            Ok(Timestamp::from_secs_f64(seconds))
        } else {
            Err(E::invalid_value(Unexpected::Float(seconds), &self))
        }
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Timestamp, E> {
        self.visit_f64(seconds as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Timestamp, E> {
        self.visit_f64(seconds as f64)
    }
}
