//! The parameters of a request, read as Prometheus reads them.

use std::time::Duration;

use fleetgauge_core::printable::Quoted;
use fleetgauge_core::time::{Timestamp, parse_duration};
use fleetgauge_promql::matcher::Matcher;
use fleetgauge_promql::parse::metric_selector;

use super::reply::ApiError;
use super::time;

/// Names and values, those of the body before those of the URL.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(pub(super) Vec<(String, String)>);

/// *Unit*: nanoseconds; less than zero as well.
pub(super) type Nanos = i64;

/// How many selectors `match[]` may give.
const MAX_SELECTORS: usize = 1_000;

impl Params {
    /// The first value of `name`; empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        let mut named = self.0.iter().filter(|(known, _)| known == name);
        named.next().map_or("", |(_, value)| value)
    }

    /// All values of `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// A time: RFC 3339, or seconds since the epoch. `None` where it is not given.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_time(text)
                .map(Some)
                .map_err(|why| ApiError::param(name, why)),
        }
    }

    /// As [`time`](Self::time), which must be given.
    pub(super) fn required_time(&self, name: &str) -> Result<Timestamp, ApiError> {
        parse_time(self.get(name)).map_err(|why| ApiError::param(name, why))
    }

    /// A duration: a number of seconds, or as PromQL has it. `None` where it is not given.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Nanos>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_span(text)
                .map(Some)
                .map_err(|why| ApiError::param(name, why)),
        }
    }

    /// As [`duration`](Self::duration), which must be given.
    pub(super) fn required_duration(&self, name: &str) -> Result<Nanos, ApiError> {
        parse_span(self.get(name)).map_err(|why| ApiError::param(name, why))
    }

    /// How many are asked for at most; all where it is 0 or not given.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let limit = match self.get("limit") {
            "" => return Ok(usize::MAX),
            text => text,
        };
        match limit.parse::<i64>().map(usize::try_from) {
            Ok(Ok(0)) => Ok(usize::MAX),
            Ok(Ok(limit)) => Ok(limit),
            _ => Err(ApiError::param(
                "limit",
                format_args!("{} is not a whole number, 0 or more", Quoted(limit)),
            )),
        }
    }

    /// The selectors of `match[]`, each of which must have a condition that the empty text does not fit.
    pub(super) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        let given: Vec<&str> = self.all("match[]").collect();
        if given.len() > MAX_SELECTORS {
            let why = format!(
                "there are {} selectors, and at most {MAX_SELECTORS} are taken",
                given.len()
            );
            return Err(ApiError::param("match[]", why));
        }
        let selector = |text: &&str| {
            metric_selector(text)
                .map_err(|error| ApiError::param("match[]", format_args!("{}: {error}", Quoted(text))))
        };
        given.iter().map(selector).collect()
    }
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let fail = |why: &str| Err(format!("{} is not a time: {why}", Quoted(text)));
    let Ok(seconds) = text.parse::<f64>() else {
        return match time::parse(text) {
            Some(time) => Ok(time),
            None => fail("it takes RFC 3339, as 2006-01-02T15:04:05Z, or seconds since the epoch"),
        };
    };
    let bounds = time::MIN.as_secs_f64()..=time::MAX.as_secs_f64();
    match bounds.contains(&seconds) {
        true => Ok(Timestamp::from_secs_f64(seconds)),
        false => fail("it is out of range"),
    }
}

fn parse_span(text: &str) -> Result<Nanos, String> {
    let fail = |why: &str| Err(format!("{} is not a duration: {why}", Quoted(text)));
    let Ok(seconds) = text.parse::<f64>() else {
        return match parse_duration(text) {
            Ok(span) => Ok(nanos(span)),
            Err(error) => fail(&error.to_string()),
        };
    };
    let nanos = seconds * 1e9;
    match nanos.abs() <= i64::MAX as f64 {
        // What is cut off is less than a nanosecond.
        true => Ok(nanos as i64),
        false => fail("it is out of range"),
    }
}

fn nanos(span: Duration) -> Nanos {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(name: &str, value: &str) -> Params {
        Params(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        let check = |text: &str, expected: Option<i64>| {
            let time = params("t", text).required_time("t").ok();
            assert_eq!(time.map(Timestamp::as_millis), expected, "{text}");
        };
        check("1700000000", Some(1_700_000_000_000));
        check("1700000000.1234", Some(1_700_000_000_123));
        check("-1.5", Some(-1_500));
        check("1e3", Some(1_000_000));
        check("1970-01-01T00:00:01.5Z", Some(1_500));
        for text in ["", "now", "NaN", "inf", "1e300", "-1e300", "9.3e15", "1970-01-01"] {
            check(text, None);
        }
        assert_eq!(params("t", "").time("t").ok(), Some(None));
    }

    #[test]
    fn durations_are_seconds_or_as_in_queries() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(params("d", text).required_duration("d").ok(), expected, "{text}");
        };
        check("1.5", Some(1_500_000_000));
        check("1m30s", Some(90_000_000_000));
        check("-1", Some(-1_000_000_000));
        check("0", Some(0));
        for text in ["", "x", "1.5s", "NaN", "1e300", "-1s"] {
            check(text, None);
        }
    }

    #[test]
    fn limits_are_whole_numbers() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(params("limit", text).limit().ok(), expected, "{text}");
        };
        check("", Some(usize::MAX));
        check("0", Some(usize::MAX));
        check("7", Some(7));
        check("+7", Some(7));
        for text in ["-1", "1.5", "x", "++7", "99999999999999999999"] {
            check(text, None);
        }
    }
}
