//! The Prometheus door against a real Prometheus 3 that holds the same samples: the same data, codes and types of errors;
//! the words of errors are our own.

use fleetgauge_testkit::Prometheus;
use fleetgauge_testkit::http::percent_encode;
use serde_json::Value;

use crate::support::door::{Door, START, ask, open_metrics};
use crate::support::provided;

/// Pairs of a route and its parameters, as `name=value` without escapes, by blanks between two lines.
const ASKED: &[(&str, &[&str])] = &[
    ("query", &["query=1+1", "time=T0"]),
    ("query", &["query=up", "time=T0"]),
    ("query", &["query=up", "time=T5.25"]),
    ("query", &["query=up", "time=2023-11-14T22:18:20Z"]),
    ("query", &["query=up", "time=2023-11-15T00:18:20.5+02:00"]),
    ("query", &["query=odd", "time=T300"]),
    ("query", &["query=large", "time=T300"]),
    ("query", &["query=small", "time=T300"]),
    ("query", &["query=\"text\"", "time=T0"]),
    ("query", &["query=queue[1m]", "time=T300"]),
    ("query", &["query=sort_desc(queue)", "time=T300"]),
    ("query", &["query=up", "time=T900"]),
    ("query", &["query=up", "time=T890", "lookback_delta=1m"]),
    ("query", &["query=up", "time=T890", "lookback_delta=600"]),
    ("query", &["query=up", "time=T600", "lookback_delta=-1"]),
    ("query", &["query=up", "time=T0", "lookback_delta=x"]),
    ("query", &["query=queue", "time=T300", "limit=2"]),
    ("query", &["query=queue", "time=T300", "limit=0"]),
    ("query", &["query=1", "time=T300", "limit=1"]),
    ("query", &["query=queue[1m]", "time=T300", "limit=1"]),
    ("query", &["query=queue", "limit=-1"]),
    ("query", &["query=queue", "limit=x"]),
    ("query", &["query=queue", "time=yesterday"]),
    ("query", &["query=queue", "time=2023-02-30T00:00:00Z"]),
    ("query", &["query=queue", "time=T0", "timeout=x"]),
    ("query", &["query=sum((", "time=T0", "timeout=0"]),
    ("query", &["query=queue", "time=T0", "timeout=1m"]),
    ("query", &["query="]),
    ("query", &[]),
    ("query", &["query=sum(("]),
    ("query", &["query=nothing", "time=T0"]),
    ("query", &["query=rate(queue)"]),
    (
        "query",
        &[
            "query=label_replace(up, \"job\", \"x\", \"\", \"\") + on(job) up",
            "time=T0",
        ],
    ),
    ("query", &["query=up * on () queue", "time=T0"]),
    ("query", &["query=rate(queue[1m])", "time=T300"]),
    ("query", &["query=quantile(2, queue)", "time=T300"]),
    ("query_range", &["query=queue", "start=T0", "end=T60", "step=15"]),
    ("query_range", &["query=queue", "start=T0", "end=T60", "step=15s"]),
    ("query_range", &["query=queue", "start=T0", "end=T60", "step=0.5"]),
    (
        "query_range",
        &[
            "query=sum by (model) (rate(requests_total[1m]))",
            "start=T0",
            "end=T600",
            "step=1m",
        ],
    ),
    ("query_range", &["query=time()", "start=T0.5", "end=T3", "step=1"]),
    ("query_range", &["query=up", "start=T0", "end=T0", "step=1"]),
    (
        "query_range",
        &["query=queue", "start=T0", "end=T60", "step=15", "limit=1"],
    ),
    ("query_range", &["query=queue", "start=T60", "end=T0", "step=15"]),
    ("query_range", &["query=queue", "start=T0", "end=T60", "step=0"]),
    ("query_range", &["query=queue", "start=T0", "end=T60", "step=-1"]),
    ("query_range", &["query=queue", "start=T0", "end=T60", "step=x"]),
    ("query_range", &["query=queue", "start=T0", "end=T60"]),
    ("query_range", &["query=queue", "start=T0", "step=15"]),
    ("query_range", &["query=queue", "end=T60", "step=15"]),
    ("query_range", &["query=queue", "start=x", "end=T60", "step=15"]),
    ("query_range", &["query=1", "start=T0", "end=T11000", "step=1"]),
    ("query_range", &["query=1", "start=T0", "end=T11001", "step=1"]),
    (
        "query_range",
        &["query=queue[1m]", "start=T0", "end=T60", "step=15"],
    ),
    (
        "query_range",
        &["query=\"text\"", "start=T0", "end=T60", "step=15"],
    ),
    ("query_range", &["query=sum((", "start=T0", "end=T60", "step=15"]),
    (
        "query_range",
        &["query=queue", "start=T0", "end=T60", "step=1e300"],
    ),
    ("query_exemplars", &["query=up", "start=T0", "end=T60"]),
    ("query_exemplars", &["query=up", "start=T60", "end=T0"]),
    ("query_exemplars", &["query=sum(("]),
    ("query_exemplars", &["query=up", "start=x"]),
    ("format_query", &["query=sum by(pod)(rate(up{job=\"a\"}[1m]))>0"]),
    ("format_query", &["query=sum(("]),
    ("format_query", &[]),
    ("series", &["match[]=up", "start=T0", "end=T600"]),
    (
        "series",
        &[
            "match[]=up",
            "match[]=queue{pod=\"p0\"}",
            "match[]=up{job=\"a\"}",
            "start=T0",
            "end=T600",
        ],
    ),
    ("series", &["match[]={__name__=~\"u.*\",job!=\"a\"}"]),
    ("series", &["match[]=up", "limit=1", "start=T0", "end=T600"]),
    ("series", &["match[]=up", "limit=x"]),
    ("series", &["match[]=up", "start=x"]),
    ("series", &["match[]=up", "end=x"]),
    ("series", &["match[]=up", "start=T600", "end=T0"]),
    ("series", &["match[]={job=\"\"}"]),
    ("series", &["match[]={}"]),
    ("series", &["match[]=up offset 5m"]),
    ("series", &["match[]=sum(up)"]),
    ("series", &["match[]=(up)"]),
    ("series", &["match[]=up[5m]"]),
    ("series", &["match[]=up{"]),
    ("series", &["match[]=up", "match[]="]),
    ("series", &[]),
    ("labels", &[]),
    ("labels", &["match[]=queue"]),
    ("labels", &["match[]=queue", "match[]=up"]),
    ("labels", &["limit=2"]),
    ("labels", &["limit=-2"]),
    ("labels", &["start=x"]),
    ("labels", &["end=x"]),
    ("labels", &["match[]={}"]),
    ("labels", &["match[]=nothing"]),
    ("label/pod/values", &[]),
    ("label/pod/values", &["match[]=queue{model=\"llama\"}"]),
    ("label/pod/values", &["limit=1"]),
    ("label/pod/values", &["limit=x"]),
    ("label/pod/values", &["start=x"]),
    ("label/pod/values", &["match[]=sum(("]),
    ("label/__name__/values", &[]),
    ("label/nothing/values", &[]),
    ("label/a.b/values", &[]),
    ("label/U__po_64_/values", &[]),
    ("metadata", &[]),
    ("metadata", &["metric=up"]),
    ("metadata", &["limit=1"]),
    ("metadata", &["limit=x"]),
    ("metadata", &["limit_per_metric=x"]),
    ("targets", &[]),
    ("targets", &["state=active"]),
    ("targets", &["state=dropped"]),
    ("targets", &["state=any"]),
    ("targets", &["state=x"]),
    ("scrape_pools", &[]),
    ("rules", &[]),
    ("rules", &["type=alert"]),
    ("rules", &["type=x"]),
    ("alerts", &[]),
    ("alertmanagers", &[]),
    ("status/nothing", &[]),
    ("nothing", &[]),
];

/// Which routes take a form as well.
const POSTED: [&str; 6] = [
    "query",
    "query_range",
    "query_exemplars",
    "format_query",
    "series",
    "labels",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus 3"]
async fn it_answers_as_prometheus_3_does() {
    let prometheus = Prometheus::builder()
        .program(provided("FLEETGAUGE_PROMETHEUS_3"))
        .promtool(provided("FLEETGAUGE_PROMTOOL_3"))
        .data(&open_metrics())
        .start()
        .unwrap();
    let door = Door::open().await;
    let mut differ = Vec::new();
    let mut compare = |method: &str, path: &str, form: Option<&str>| {
        let of = |addr| {
            let (status, answer) = ask(addr, method, path, form);
            (status, comparable(answer))
        };
        let (ours, theirs) = (of(door.addr), of(prometheus.addr()));
        // There Prometheus answers with a text.
        let is_same = match theirs.0 {
            404 | 405 => ours.0 == theirs.0,
            _ => ours == theirs,
        };
        if !is_same {
            differ.push(format!(
                "{method} {path} {form:?}\n   ours: {ours:?}\n theirs: {theirs:?}"
            ));
        }
    };
    for (route, params) in ASKED {
        let pairs = params.iter().map(|param| {
            let (name, value) = param.split_once('=').unwrap();
            let value = match value.strip_prefix('T').map(str::parse::<f64>) {
                Some(Ok(offset)) => (START as f64 + offset).to_string(),
                _ => value.to_owned(),
            };
            format!("{}={}", percent_encode(name), percent_encode(&value))
        });
        let form = pairs.collect::<Vec<_>>().join("&");
        let path = format!("/api/v1/{route}");
        compare("GET", &format!("{path}?{form}"), None);
        match POSTED.contains(route) {
            true => compare("POST", &path, Some(&form)),
            false => compare("POST", &path, Some("x=y")),
        }
        compare("PATCH", &path, None);
    }
    compare("POST", "/api/v1/query?query=2&time=1", Some("query=1"));
    assert!(
        differ.is_empty(),
        "{} differ:\n{}",
        differ.len(),
        differ.join("\n")
    );
}

/// What is compared of an answer: not the words, nor the order of what has none.
fn comparable(mut answer: Value) -> Value {
    if let Some(error) = answer.get_mut("error") {
        *error = Value::Null;
    }
    // Whoever asks for what the data does not reach is told so by us.
    if let Some(Value::Array(warnings)) = answer.get_mut("warnings") {
        warnings.retain(|warning| {
            let warning = warning.as_str().unwrap_or_default();
            warning.starts_with("PromQL") || warning == "results truncated due to limit"
        });
        if warnings.is_empty() {
            answer.as_object_mut().unwrap().remove("warnings");
        }
    }
    let data = &mut answer["data"];
    if let Value::String(text) = data {
        // On one line, or several; with blanks that mean nothing, or without.
        text.retain(|c| !c.is_whitespace());
    }
    if let Value::Object(all) = data {
        // We know something of our own.
        all.retain(|name, _| !name.starts_with("fleetgauge_reading"));
    }
    let result = match data {
        Value::Array(_) => Some(data),
        Value::Object(data) => data.get_mut("result"),
        _ => None,
    };
    if let Some(Value::Array(all)) = result
        && all.iter().all(Value::is_object)
    {
        all.sort_by_cached_key(ToString::to_string);
    }
    numbers(&mut answer);
    answer
}

/// All numbers as floats: `1` and `1.000` are one.
fn numbers(value: &mut Value) {
    match value {
        Value::Number(number) => *value = Value::from(number.as_f64().unwrap_or_default()),
        Value::Array(all) => all.iter_mut().for_each(numbers),
        Value::Object(all) => all.values_mut().for_each(numbers),
        _ => {}
    }
}
