//! A request as the API takes it: a form.

use std::time::Duration;

use fleetgauge_core::backend::{FetchError, Request};
use fleetgauge_core::query::Shape;
use fleetgauge_core::time::Timestamp;

use crate::client::Secret;

/// Parameters that the backend sets itself.
pub(super) const OWN_PARAMS: [&str; 6] = ["query", "time", "start", "end", "step", "timeout"];

/// The form that asks `query` at `now`, as a POST's body or a GET's query string.
///
/// A range that ends now ends at the last multiple of its step, as Grafana asks for it: the same times are asked
/// for again and again, which caches before a Prometheus live on, and graphs do not jitter. A given end is kept.
///
/// *Errors*: [`FetchError::Rejected`] for a step that the API cannot take.
///
/// The server is told how long the answer is waited for, so that it does not go on computing for nobody.
pub(super) fn form(
    query: &Request,
    extra: &[(String, Secret)],
    now: Timestamp,
) -> Result<String, FetchError> {
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(query.text.len() * 2 + 64));
    form.append_pair("query", &query.promql());
    match (query.shape, query.steps(now)?) {
        (_, Some(steps)) => {
            form.append_pair("start", &in_seconds(steps.start().as_millis()));
            form.append_pair("end", &in_seconds(steps.end().as_millis()));
            form.append_pair(
                "step",
                &in_seconds(i64::try_from(steps.step().as_millis()).unwrap_or(i64::MAX)),
            );
        }
        (Shape::Instant, None) => {
            if let Some(at) = query.at.or(query.now) {
                form.append_pair("time", &in_seconds(at.as_millis()));
            }
        }
        // Shapes to come.
        _ => {
            let what = format!("{:?}", query.shape);
            return Err(FetchError::Unsupported { what });
        }
    }
    form.append_pair("timeout", &seconds(query.timeout));
    for (name, value) in extra {
        form.append_pair(name, value.expose());
    }
    Ok(form.finish())
}

/// A time or a step in milliseconds, as the API reads it.
fn in_seconds(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    format!("{sign}{}.{:03}", millis / 1000, millis % 1000)
}

/// In seconds with milliseconds, which every server of this API reads; rounded up, as zero means "no time".
fn seconds(timeout: Duration) -> String {
    let millis = timeout.as_nanos().div_ceil(1_000_000).max(1);
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetgauge_core::query::QueryType;

    #[test]
    fn queries_become_forms() {
        let check = |query_type, text: &str, timeout, expected: &str| {
            let name = "q".parse().unwrap();
            let query = Request::new(name, query_type, text, timeout);
            let form = form(&query, &[("a b".into(), Secret::from("ü"))], Timestamp::default());
            assert_eq!(form.unwrap(), expected);
        };
        check(
            QueryType::PromQl,
            "sum(x{a=\"b\"}) + 1",
            Duration::from_secs(10),
            "query=sum%28x%7Ba%3D%22b%22%7D%29+%2B+1&timeout=10.000&a+b=%C3%BC",
        );
        check(
            QueryType::MetricName,
            "vllm:x",
            Duration::from_nanos(1),
            "query=%7B__name__%3D%22vllm%3Ax%22%7D&timeout=0.001&a+b=%C3%BC",
        );
    }

    #[test]
    fn times_and_ranges_become_forms() {
        let check = |shape, at: Option<i64>, expected: Result<&str, &str>| {
            let name = "q".parse().unwrap();
            let mut query =
                Request::new(name, QueryType::PromQl, "up", Duration::from_secs(1)).with_shape(shape);
            query.at = at.map(Timestamp::from_millis);
            let form = form(&query, &[], Timestamp::from_millis(1_763_930_007_250));
            let form = form.map_err(|error| error.to_string());
            let (given, wanted) = (form.as_deref(), expected);
            match (given, wanted) {
                (Ok(given), Ok(wanted)) => assert_eq!(given, format!("query=up{wanted}&timeout=1.000")),
                (Err(given), Err(wanted)) => assert!(given.contains(wanted), "{given}"),
                _ => panic!("{given:?}, not {wanted:?}"),
            }
        };
        let range = |window, step| Shape::Range {
            window: Duration::from_millis(window),
            step: Duration::from_millis(step),
        };
        check(Shape::Instant, None, Ok(""));
        check(Shape::Instant, Some(1_500), Ok("&time=1.500"));
        check(Shape::Instant, Some(-1), Ok("&time=-0.001"));
        let now = Request::new(
            "q".parse().unwrap(),
            QueryType::PromQl,
            "up",
            Duration::from_secs(1),
        )
        .with_now(Timestamp::from_millis(2_000));
        let now = form(&now, &[], Timestamp::default()).unwrap();
        assert_eq!(now, "query=up&time=2.000&timeout=1.000");
        // The end is a multiple of the step, unless it is given.
        let aligned = "&start=1763929905.000&end=1763930005.000&step=5.000";
        check(range(100_000, 5_000), None, Ok(aligned));
        let given = "&start=-93.000&end=7.000&step=5.000";
        check(range(100_000, 5_000), Some(7_000), Ok(given));
        check(
            range(0, 250),
            Some(7_000),
            Ok("&start=7.000&end=7.000&step=0.250"),
        );
        check(range(1, 0), None, Err("step of a range must be more than zero"));
        let fine = Shape::Range {
            window: Duration::from_secs(1),
            step: Duration::from_micros(1),
        };
        check(fine, None, Err("whole number of milliseconds"));
        let long = Shape::Range {
            window: Duration::MAX,
            step: Duration::from_secs(1),
        };
        check(long, None, Err("the window of a range"));
    }
}
