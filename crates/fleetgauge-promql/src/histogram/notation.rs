//! Histograms in the language of Prometheus's engine tests: `{{schema:0 count:3 sum:5 buckets:[1 2]}}`.

use fleetgauge_syntax::number::GoFloat;

use super::buckets::Buckets;
use super::error::HistogramError;
use super::shape::{CounterReset, FloatHistogram, Layout};

/// The schema that stands for custom bounds.
const CUSTOM_SCHEMA: i64 = -53;

/// Why a text is not a histogram.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotationError {
    /// It is not within double braces.
    #[error("expected a histogram in double braces, found {0:?}")]
    Braces(String),
    /// It has a part that is not known, or twice.
    #[error("{0:?} is not a part of a histogram, or stands there twice")]
    Part(String),
    /// A part has a value that it cannot have.
    #[error("{value:?} is not a value of {part}")]
    Value {
        /// The name of the part.
        part: String,
        /// What stands behind it.
        value: String,
    },
    /// Its parts make no histogram.
    #[error(transparent)]
    Histogram(#[from] HistogramError),
}

// === impl Histogram ===

impl FloatHistogram {
    /// Reads one as scripts have it. A part that is left out is zero or empty.
    ///
    /// *Errors*: [`NotationError`].
    ///
    /// ```
    /// use fleetgauge_promql::histogram::FloatHistogram;
    ///
    /// let seen = FloatHistogram::from_notation("{{count:3 sum:5 offset:1 buckets:[1 2]}}")?;
    /// assert_eq!(seen.to_string(), "{count:3, sum:5, (1,2]:1, (2,4]:2}");
    /// # Ok::<(), fleetgauge_promql::histogram::NotationError>(())
    /// ```
    pub fn from_notation(text: &str) -> Result<Self, NotationError> {
        let inside = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
        let mut rest = inside
            .ok_or_else(|| NotationError::Braces(text.to_owned()))?
            .trim();
        let mut parts: Vec<(&str, &str)> = Vec::new();
        while !rest.is_empty() {
            let (name, value, after) = part(rest).ok_or_else(|| NotationError::Part(rest.to_owned()))?;
            if parts.iter().any(|(known, _)| *known == name) {
                return Err(NotationError::Part(name.to_owned()));
            }
            parts.push((name, value));
            rest = after;
        }
        Parts(parts).histogram()
    }

    /// As scripts have it, with neighbours only where something was observed.
    pub fn notation(&self) -> String {
        let mut parts = Vec::new();
        match self.layout {
            Layout::Exponential(0) => {}
            Layout::Exponential(schema) => parts.push(format!("schema:{schema}")),
            Layout::Custom(_) => parts.push(format!("schema:{CUSTOM_SCHEMA}")),
        }
        for (name, number) in [
            ("count", self.count),
            ("sum", self.sum),
            ("z_bucket", self.zero_count),
            ("z_bucket_w", self.zero_threshold),
        ] {
            if number != 0.0 {
                parts.push(format!("{name}:{}", GoFloat(number)));
            }
        }
        if let Layout::Custom(bounds) = &self.layout {
            parts.push(format!("custom_values:{}", list(bounds.iter().copied())));
        }
        if self.counter_reset != CounterReset::Unknown {
            parts.push(format!("counter_reset_hint:{}", self.counter_reset.as_str()));
        }
        for (offset, name, buckets) in [
            ("offset", "buckets", &self.positive),
            ("n_offset", "n_buckets", &self.negative),
        ] {
            let observed = || buckets.iter().filter(|(_, count)| *count != 0.0);
            let (Some((first, _)), Some((last, _))) = (observed().next(), observed().next_back()) else {
                continue;
            };
            if first != 0 {
                parts.push(format!("{offset}:{first}"));
            }
            let mut counts = observed().peekable();
            let dense = (first..=last).map(|index| {
                let own = counts.next_if(|(at, _)| *at == index);
                own.map_or(0.0, |(_, count)| count)
            });
            parts.push(format!("{name}:{}", list(dense)));
        }
        format!("{{{{{}}}}}", parts.join(" "))
    }
}

// === impl CounterReset ===

impl CounterReset {
    const ALL: [Self; 4] = [Self::Unknown, Self::Reset, Self::NotReset, Self::Gauge];

    /// Its word in scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Reset => "reset",
            Self::NotReset => "not_reset",
            Self::Gauge => "gauge",
        }
    }
}

/// What stands between the braces.
struct Parts<'t>(Vec<(&'t str, &'t str)>);

// === impl Parts ===

impl<'t> Parts<'t> {
    fn histogram(mut self) -> Result<FloatHistogram, NotationError> {
        let schema = self.take("schema", whole)?.unwrap_or(0);
        let bounds = self.take("custom_values", numbers)?;
        let empty = match bounds {
            Some(bounds) if schema == CUSTOM_SCHEMA => FloatHistogram::custom(&bounds)?,
            None if schema == CUSTOM_SCHEMA => FloatHistogram::custom(&[])?,
            Some(_) => return Err(HistogramError::Schema(schema).into()),
            None => FloatHistogram::exponential(schema)?,
        };
        let width = self.take("z_bucket_w", number)?.unwrap_or(0.0);
        let zero = self.take("z_bucket", number)?.unwrap_or(0.0);
        let word = |text: &str| CounterReset::ALL.into_iter().find(|known| known.as_str() == text);
        let histogram = empty
            .with_zero(width, zero)?
            .with_count(self.take("count", number)?.unwrap_or(0.0))
            .with_sum(self.take("sum", number)?.unwrap_or(0.0))
            .with_counter_reset(self.take("counter_reset_hint", word)?.unwrap_or_default())
            .with_positive(self.buckets("offset", "buckets")?)
            .with_negative(self.buckets("n_offset", "n_buckets")?);
        match self.0.first() {
            Some((name, _)) => Err(NotationError::Part((*name).to_owned())),
            None => Ok(histogram),
        }
    }

    fn buckets(&mut self, offset: &str, name: &str) -> Result<Buckets, NotationError> {
        let first = self.take(offset, |text| i32::try_from(whole(text)?).ok())?;
        let counts = self.take(name, numbers)?.unwrap_or_default();
        Ok(Buckets::starting_at(first.unwrap_or(0), &counts)?)
    }

    /// The value of a part, if it is there.
    fn take<T>(&mut self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, NotationError> {
        let Some(at) = self.0.iter().position(|(known, _)| *known == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.remove(at);
        let bad = || NotationError::Value {
            part: name.to_owned(),
            value: value.to_owned(),
        };
        read(value).map(Some).ok_or_else(bad)
    }
}

/// The first part: its name, its value without brackets, and what follows.
fn part(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once(':')?;
    let (value, rest) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
    };
    let follows = rest.is_empty() || rest.starts_with(char::is_whitespace);
    follows.then(|| (name, value, rest.trim_start()))
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn whole(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn numbers(text: &str) -> Option<Vec<f64>> {
    text.split_whitespace().map(number).collect()
}

fn list(numbers: impl Iterator<Item = f64>) -> String {
    let numbers: Vec<_> = numbers.map(|number| GoFloat(number).to_string()).collect();
    format!("[{}]", numbers.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shown_again() {
        let check = |text: &str, expected: &str| {
            let read = FloatHistogram::from_notation(text).map(|read| read.notation());
            assert_eq!(read.as_deref(), Ok(expected), "{text}");
        };
        let same = |text| check(text, text);
        same("{{}}");
        same("{{count:10 sum:20 buckets:[1 2 1]}}");
        same(
            "{{schema:-2 count:1.5 sum:-Inf z_bucket:2 z_bucket_w:0.001 counter_reset_hint:gauge offset:-3 buckets:[1 0 1] n_offset:2 n_buckets:[4]}}",
        );
        same(
            "{{schema:-53 count:3 sum:5 custom_values:[5 10] counter_reset_hint:not_reset offset:1 buckets:[1 2]}}",
        );
        check(
            "{{ buckets:[0 1 0 2 0]  sum:NaN }}",
            "{{sum:NaN offset:1 buckets:[1 0 2]}}",
        );
        check("{{counter_reset_hint:unknown buckets:[] offset:7}}", "{{}}");
    }

    #[test]
    fn what_is_not_a_histogram_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = FloatHistogram::from_notation(text).expect_err("refused");
            assert_eq!(error.to_string(), expected, "{text}");
        };
        check(
            "{count:1}",
            r#"expected a histogram in double braces, found "{count:1}""#,
        );
        check(
            "{{count:1 count:1}}",
            r#""count" is not a part of a histogram, or stands there twice"#,
        );
        check(
            "{{size:1}}",
            r#""size" is not a part of a histogram, or stands there twice"#,
        );
        check(
            "{{count}}",
            r#""count" is not a part of a histogram, or stands there twice"#,
        );
        check(
            "{{buckets:[1 2}}",
            r#""buckets:[1 2" is not a part of a histogram, or stands there twice"#,
        );
        check("{{count:one}}", r#""one" is not a value of count"#);
        check("{{buckets:[1 x]}}", r#""1 x" is not a value of buckets"#);
        check(
            "{{counter_reset_hint:maybe}}",
            r#""maybe" is not a value of counter_reset_hint"#,
        );
        check("{{schema:9}}", "schema 9 is not between -4 and 8");
        check("{{z_bucket_w:-1}}", "zero bucket of width -1");
        check("{{schema:-53 custom_values:[2 1]}}", "custom bound 1 follows 2");
    }
}
