//! A rendered query as the API takes it: a form.

use std::time::Duration;

use fleetgauge_core::backend::RenderedQuery;
use fleetgauge_core::query::QueryType;

use crate::client::Secret;

/// Parameters that the backend sets itself.
pub(super) const OWN_PARAMS: [&str; 3] = ["query", "time", "timeout"];

/// The form that asks `query`, as a POST's body or a GET's query string.
///
/// The server is told how long the answer is waited for, so that it does not go on computing for nobody.
pub(super) fn form(query: &RenderedQuery, extra: &[(String, Secret)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(query.text.len() * 2 + 64));
    match query.query_type {
        QueryType::PromQl => form.append_pair("query", &query.text),
        QueryType::MetricName => form.append_pair("query", &selector(&query.text)),
    };
    form.append_pair("timeout", &seconds(query.timeout));
    for (name, value) in extra {
        form.append_pair(name, value.expose());
    }
    form.finish()
}

/// The series of one metric. Written with the name in quotes, since `inf` or `bool` alone would be something
/// else than a metric, and names with other characters than `a-zA-Z0-9_:` could not be written at all.
fn selector(metric: &str) -> String {
    let escaped = metric
        .trim()
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n");
    format!("{{__name__=\"{escaped}\"}}")
}

/// In seconds with milliseconds, which every server of this API reads; rounded up, as zero means "no time".
fn seconds(timeout: Duration) -> String {
    let millis = timeout.as_nanos().div_ceil(1_000_000).max(1);
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_become_forms() {
        let check = |query_type, text: &str, timeout, expected: &str| {
            let name = "q".parse().unwrap();
            let query = RenderedQuery::new(name, query_type, text, timeout);
            assert_eq!(form(&query, &[("a b".into(), Secret::from("ü"))]), expected);
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
    fn metric_names_are_quoted() {
        assert_eq!(selector(" inf\n"), r#"{__name__="inf"}"#);
        assert_eq!(selector("a\"b\\c\nd"), r#"{__name__="a\"b\\c\nd"}"#);
    }
}
