//! What is asked beside a query, and what answers are told by it: against a scripted server.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleetgauge::prometheus::{Companions, PrometheusBackend, PrometheusSource, PrometheusSourceConfig};
use fleetgauge_core::age::{Age, AgeKind};
use fleetgauge_core::backend::{self, Backend};
use fleetgauge_core::policy::Policy;
use fleetgauge_core::query::{QueryTemplate, QueryType, Shape};
use fleetgauge_core::reading::{Found, ReadingSpec, Status, judge};
use fleetgauge_core::result::Answer as Values;
use fleetgauge_core::source::{MetricsSource, RefreshSpec};
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_testkit::faulty::{Gate, Request};
use fleetgauge_testkit::{Answer, FaultyServer};
use serde_json::Value;

/// A row: its pod, and a number.
type Row = (&'static str, f64);

/// What is asked, as a form or in a URL.
fn parameter(request: &Request, name: &str) -> Option<String> {
    let form = match request.target.split_once('?') {
        Some((_, query)) => query.to_owned(),
        None => request.body_text(),
    };
    let mut pairs = form_urlencoded::parse(form.as_bytes());
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn rows(time: f64, rows: &[Row]) -> Answer {
    let labels: Vec<_> = rows.iter().map(|(pod, _)| [("pod", *pod)]).collect();
    let series: Vec<(&[(&str, &str)], f64)> = (labels.iter().zip(rows))
        .map(|(labels, (_, value))| (&labels[..], *value))
        .collect();
    Answer::vector(time, &series)
}

fn no_rules() -> Answer {
    Answer::json(r#"{"status":"success","data":{"groups":[]}}"#)
}

/// A server whose answers depend on the query and the time that it is asked for; there are no rules and no counts of
/// samples unless `answer` has them.
fn serve(
    answer: impl Fn(&str, f64) -> Option<Answer> + Send + Sync + 'static,
) -> (FaultyServer, PrometheusSourceConfig) {
    let choose = move |request: &Request| {
        if request.target.starts_with("/api/v1/rules") {
            return answer("rules", 0.0).unwrap_or_else(no_rules);
        }
        let query = parameter(request, "query").unwrap();
        let time = parameter(request, "time").map_or(0.0, |time| time.parse().unwrap());
        let each = questions(&query).into_iter();
        let each = each.map(|one| answer(one, time).unwrap_or_else(|| rows(time, &[])));
        together(each.collect())
    };
    let server = FaultyServer::start([Answer::choose(choose)]).unwrap();
    let config = PrometheusSourceConfig::new(server.url()).with_companions(Companions::all());
    (server, config)
}

/// The questions that a text is of.
fn questions(mut text: &str) -> Vec<&str> {
    let mut questions = Vec::new();
    let end = |number: usize| format!(r#", "__asked__", "{number}", "", "")"#);
    while let Some((question, rest)) = text.split_once(&end(questions.len())) {
        questions.push(question.strip_prefix("label_replace(").unwrap());
        text = rest.strip_prefix(" or ").unwrap_or(rest);
    }
    if questions.is_empty() {
        questions.push(text);
    }
    questions
}

/// The answer to several questions in one text: the rows of each, or the first that is no success.
fn together(mut answers: Vec<Answer>) -> Answer {
    if answers.len() == 1 {
        return answers.remove(0);
    }
    let mut all = Vec::new();
    let mut whole = Value::Null;
    for (number, answer) in answers.iter().enumerate() {
        whole = match answer.body().map(serde_json::from_slice::<Value>) {
            Some(Ok(body)) if body["status"] == "success" && body["warnings"].is_null() => body,
            _ => return answer.clone(),
        };
        for mut row in whole["data"]["result"].as_array().unwrap().clone() {
            row["metric"]["__asked__"] = number.to_string().into();
            all.push(row);
        }
    }
    whole["data"]["result"] = all.into();
    Answer::json(whole.to_string())
}

fn request(text: &str) -> backend::Request {
    backend::Request::new(
        "q".parse().unwrap(),
        QueryType::PromQl,
        text,
        Duration::from_secs(30),
    )
}

async fn fetch(config: &PrometheusSourceConfig, text: &str) -> Values {
    let backend = PrometheusBackend::new(config).unwrap();
    backend.fetch(&request(text)).await.unwrap()
}

/// Seconds, kind and whether it has ended of each row's age.
fn ages(answer: &Values) -> Vec<(String, Option<u64>, AgeKind, bool)> {
    let age = |row| {
        answer
            .provenance()
            .map_or(Age::UNKNOWN, |provenance| provenance.age(row))
    };
    let series = answer.series().enumerate();
    let told = series.map(|(row, series)| {
        let age = age(row);
        let pod = series.labels().get("pod").unwrap_or_default().to_owned();
        (
            pod,
            age.duration().map(|age| age.as_secs()),
            age.kind(),
            age.is_ended(),
        )
    });
    told.collect()
}

fn warnings(answer: &Values) -> String {
    answer.warnings().collect::<Vec<_>>().join("; ")
}

fn told(pod: &str, age: u64, kind: AgeKind, ended: bool) -> (String, Option<u64>, AgeKind, bool) {
    (pod.to_owned(), Some(age), kind, ended)
}

fn unknown(pod: &str) -> (String, Option<u64>, AgeKind, bool) {
    (pod.to_owned(), None, AgeKind::Unknown, false)
}

const X_AGES: &str = "timestamp(x)";
const RATE: &str = "rate(x[5m])";
const RATE_AGES: &str = "(timestamp(x) or max_over_time(timestamp(x)[5m:15s])) >= time() - 300";

#[tokio::test]
async fn without_the_setting_nothing_is_asked_beside_a_query() {
    let (server, config) = serve(|_, time| Some(rows(time, &[("a", 1.0)])));
    let answer = fetch(&config.with_companions(Companions::none()), "x").await;
    let asked = server.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(parameter(&asked[0], "time"), None);
    assert_eq!(ages(&answer), [unknown("a")]);
    assert_eq!(answer.warnings().len(), 0);
}

#[tokio::test]
async fn a_query_and_its_companions_are_sent_at_once_for_one_time() {
    let gate = Gate::new();
    let shut = gate.clone();
    let (server, config) = serve(move |query, time| {
        let answer = match query {
            "x or y" => rows(time, &[("a", 1.0), ("b", 2.0)]),
            "timestamp(x) or timestamp(y)" => rows(time, &[("a", time - 4.0), ("b", time - 9.0)]),
            "clamp(x == bool 0, 1, 1) or clamp(y == bool 0, 2, 2)" => rows(time, &[("a", 1.0), ("b", 2.0)]),
            "rules" => no_rules(),
            query if query.contains("count_over_time") => rows(time, &[]),
            other => panic!("{other}"),
        };
        Some(answer.gated(&shut))
    });
    let backend = Arc::new(PrometheusBackend::new(&config).unwrap());
    let asking = tokio::spawn({
        let backend = Arc::clone(&backend);
        async move { backend.fetch(&request("x or y")).await.unwrap() }
    });
    // All of them are there before any of them is answered.
    server.until(|counters| counters.in_flight == 5).await.unwrap();
    gate.open();
    let answer = asking.await.unwrap();
    assert_eq!(
        ages(&answer),
        [
            told("a", 4, AgeKind::Exact, false),
            told("b", 9, AgeKind::Exact, false)
        ]
    );
    let provenance = answer.provenance().unwrap();
    assert_eq!([0, 1].map(|row| provenance.branch(row)), [Some(0), Some(1)]);
    assert_eq!(answer.warnings().len(), 0, "{}", warnings(&answer));
    let origin = provenance.origin().unwrap();
    assert_eq!((&*origin.query, &*origin.text), ("q", "x or y"));

    let times: Vec<_> = server
        .requests()
        .iter()
        .filter_map(|request| parameter(request, "time"))
        .collect();
    assert!(
        times.len() == 4 && times.iter().all(|time| *time == times[0]),
        "{times:?}"
    );
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!((now - times[0].parse::<f64>().unwrap()).abs() < 30.0, "{times:?}");

    // Rules and counts are not asked for each time, and what has few rows is asked together, unless it took long: on a machine that is
    // busy, the one before may have.
    let is_together = async {
        loop {
            let before = server.requests().len();
            backend.fetch(&request("x or y")).await.unwrap();
            let asked = server.requests().len() - before;
            assert!((2..=3).contains(&asked), "{asked}");
            if asked == 2 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_together)
        .await
        .unwrap();
}

/// What is told of each query is its own, and the queries of a refresh are asked for one time.
#[tokio::test]
async fn what_is_asked_beside_the_queries_of_a_refresh_is_one_request() {
    const QUERIES: [&str; 3] = ["x", "y", "rate(z[5m])"];
    let (server, config) = serve(|query, time| {
        let age = |age: f64| Some(rows(time, &[("a", time - age)]));
        match query {
            "x" | "y" | "rate(z[5m])" => Some(rows(time, &[("a", 1.0)])),
            X_AGES => age(3.0),
            "timestamp(y)" => age(7.0),
            "rules" => None,
            query if query.contains("__selector__") => None,
            query if query.contains('z') => age(11.0),
            other => panic!("{other}"),
        }
    });
    let source = PrometheusSource::new(config.with_companions(Companions::ages())).unwrap();
    for (name, text) in ["a", "b", "c"].into_iter().zip(QUERIES) {
        source
            .query_list()
            .must_register(QueryTemplate::promql(name, text));
    }
    source.refresh(RefreshSpec::all()).await;
    // Where the one before took long, as it may on a machine that is busy, it is a request for each.
    let is_together = async {
        loop {
            let before = server.requests().len();
            let results = source.refresh(RefreshSpec::all()).await;
            let asked = server.requests().split_off(before);
            assert!((4..=6).contains(&asked.len()), "{asked:?}");
            if asked.len() == QUERIES.len() + 1 {
                return (results, asked);
            }
        }
    };
    let is_together = tokio::time::timeout(Duration::from_secs(60), is_together);
    let (results, asked) = is_together.await.unwrap();
    let told = ["a", "b", "c"].map(|name| {
        let age = results[name].as_ref().unwrap().age(0).duration();
        age.map(|age| age.as_secs())
    });
    assert_eq!(told, [Some(3), Some(7), Some(11)]);
    let mut times: Vec<_> = asked.iter().map(|asked| parameter(asked, "time")).collect();
    times.dedup();
    assert_eq!(times.len(), 1, "{times:?}");
}

#[tokio::test]
async fn of_a_given_time_it_is_told_how_old_the_values_were_then() {
    let (server, config) = serve(|query, time| match query {
        "x" => Some(rows(time, &[("a", 1.0)])),
        X_AGES => Some(rows(time, &[("a", 70.0)])),
        _ => None,
    });
    let backend = PrometheusBackend::new(&config).unwrap();
    let at = Timestamp::from_millis(100_500);
    let answer = backend.fetch(&request("x").with_at(at)).await.unwrap();
    assert_eq!(
        answer.provenance().unwrap().age(0),
        Age::exact(Duration::from_millis(30_500))
    );
    let times = server.requests();
    let times: Vec<_> = times
        .iter()
        .filter_map(|request| parameter(request, "time"))
        .collect();
    assert!(times.iter().all(|time| time == "100.500"), "{times:?}");
}

/// Of a `rate`, which can outlive its series.
#[tokio::test]
async fn values_whose_series_have_ended_are_marked() {
    let (_server, config) = serve(|query, time| match query {
        RATE => Some(rows(
            time,
            &[
                ("live", 1.0),
                ("ended", 2.0),
                ("partly", 3.0),
                ("new", 4.0),
                ("brief", 5.0),
            ],
        )),
        // In another order, and with a row that the query has not.
        RATE_AGES => Some(rows(
            time,
            &[
                ("ended", time - 200.0),
                ("other", time),
                ("partly", time - 90.0),
                ("live", time - 3.0),
            ],
        )),
        X_AGES => Some(rows(
            time,
            &[("new", time), ("partly", time - 2.0), ("live", time - 3.0)],
        )),
        _ => None,
    });
    let answer = fetch(&config, RATE).await;
    let expected = [
        told("live", 3, AgeKind::Exact, false),
        told("ended", 200, AgeKind::AtMost, true),
        // A part of what it is computed from has ended, by at most a step of the subquery earlier than it seems.
        told("partly", 90, AgeKind::AtMost, true),
        unknown("new"),
        ("brief".to_owned(), None, AgeKind::Unknown, true),
    ];
    assert_eq!(ages(&answer), expected);
    assert!(
        warnings(&answer).contains("how old 2 of the 5 values are is not known"),
        "{}",
        warnings(&answer)
    );
    assert!(answer.is_complete());
}

/// What is smoothed stays as it was for the lookback where its pod is gone, of which `timestamp(x)` says nothing.
#[tokio::test]
async fn what_is_smoothed_is_marked_where_its_series_has_ended() {
    const SEEN: &str = "(timestamp(x) or max_over_time(timestamp(x)[5m:15s])) >= time() - 300";
    let (_server, config) = serve(|query, time| match query {
        "x smoothed" => Some(rows(time, &[("live", 1.0), ("ended", 2.0)])),
        "sum(x smoothed)" => Some(Answer::vector(time, &[(&[], 3.0)])),
        X_AGES => Some(rows(time, &[("live", time - 3.0)])),
        "min(timestamp(x))" => Some(Answer::vector(time, &[(&[], time - 3.0)])),
        _ if query == format!("{SEEN} and x smoothed") => {
            Some(rows(time, &[("live", time - 3.0), ("ended", time - 200.0)]))
        }
        _ if query == format!("min({SEEN} and x smoothed)") => {
            Some(Answer::vector(time, &[(&[], time - 200.0)]))
        }
        _ => None,
    });
    let expected = [
        told("live", 3, AgeKind::Exact, false),
        told("ended", 200, AgeKind::AtMost, true),
    ];
    assert_eq!(ages(&fetch(&config, "x smoothed").await), expected);
    let sum = fetch(&config, "sum(x smoothed)").await;
    assert_eq!(ages(&sum), [told("", 200, AgeKind::AtMost, true)]);
}

#[tokio::test]
async fn where_rows_cannot_be_told_apart_their_age_is_a_bound() {
    let (_server, config) = serve(|query, time| match query {
        "count_values(\"pod\", x)" => Some(rows(time, &[("1", 1.0), ("2", 2.0)])),
        "min(timestamp(x))" => Some(Answer::vector(time, &[(&[], time - 50.0)])),
        _ => None,
    });
    let answer = fetch(&config, "count_values(\"pod\", x)").await;
    assert_eq!(
        ages(&answer),
        [
            told("1", 50, AgeKind::AtMost, false),
            told("2", 50, AgeKind::AtMost, false)
        ]
    );
    assert_eq!(answer.warnings().len(), 0);
}

/// Guards against pods that are gone and count as long as the range reaches back to them.
#[tokio::test]
async fn where_rows_cannot_be_told_apart_all_have_ended_where_a_series_has() {
    const QUERY: &str = "count_values(\"pod\", max_over_time(x[1m]))";
    const SEEN: &str = "(timestamp(x) or max_over_time(timestamp(x)[1m:3s])) >= time() - 60";
    for has_ended in [true, false] {
        let (_server, config) = serve(move |query, time| match query {
            QUERY => Some(rows(time, &[("1", 2.0)])),
            _ if query == format!("min({SEEN})") => Some(Answer::vector(time, &[(&[], time - 50.0)])),
            _ if query == format!("min({SEEN} unless timestamp(x))") => {
                let gone: &[(&[(&str, &str)], f64)] = &[(&[], time - 50.0)];
                Some(Answer::vector(time, &gone[..usize::from(has_ended)]))
            }
            _ => None,
        });
        let answer = fetch(&config, QUERY).await;
        assert_eq!(ages(&answer), [told("1", 50, AgeKind::AtMost, has_ended)]);
    }
}

#[tokio::test]
async fn what_no_sample_contributes_to_is_ageless() {
    let (server, config) = serve(|_, time| Some(Answer::vector(time, &[(&[], 1.0)])));
    let answer = fetch(&config, "vector(1)").await;
    assert_eq!(answer.provenance().unwrap().age(0), Age::AGELESS);
    assert!(server.requests().len() <= 2);
}

/// A part of the storage did not answer.
fn partial(time: f64) -> Answer {
    Answer::json(format!(
        r#"{{"status":"success","isPartial":true,"data":{{"resultType":"vector","result":[
            {{"metric":{{"pod":"a"}},"value":[{time},"{time}"]}}]}}}}"#
    ))
}

#[tokio::test]
async fn a_companion_that_is_not_usable_costs_ages_and_no_value() {
    type Case = (fn(f64) -> Option<Answer>, &'static str);
    let cases: [Case; 8] = [
        (
            |_| Some(Answer::prometheus_error(422, "execution", "too many samples")),
            "too many samples",
        ),
        (|_| Some(Answer::status(503)), "503"),
        (|_| Some(Answer::close()), "not known"),
        (|_| Some(Answer::malformed_json()), "not known"),
        (|_| Some(Answer::hang()), "not answered in time"),
        (
            |time| Some(rows(time, &[("b", time)])),
            "the companion has no such rows",
        ),
        (
            |time| Some(rows(time, &[("a", f64::NAN)])),
            "the companion has no such rows",
        ),
        (|time| Some(partial(time)), "as partial"),
    ];
    for (companion, expected) in cases {
        let (_server, config) = serve(move |query, time| match query {
            "x" => Some(rows(time, &[("a", 1.0)])),
            X_AGES => companion(time),
            _ => None,
        });
        let answer = fetch(&config, "x").await;
        assert_eq!(answer.values().next().unwrap().value, 1.0);
        assert_eq!(ages(&answer), [unknown("a")], "{expected}");
        let warned = warnings(&answer);
        assert!(
            warned.starts_with("how old") && warned.contains(expected),
            "{warned}"
        );
        assert!(answer.is_complete(), "{warned}");
    }
}

#[tokio::test]
async fn without_the_word_who_reports_no_value_passes_for_live() {
    let (_server, config) = serve(|query, time| match query {
        RATE => Some(rows(time, &[("a", 1.0)])),
        RATE_AGES => Some(rows(time, &[("a", time - 3.0)])),
        X_AGES => Some(partial(time)),
        _ => None,
    });
    let answer = fetch(&config, RATE).await;
    assert_eq!(ages(&answer), [unknown("a")]);
    assert!(warnings(&answer).contains("as partial"), "{}", warnings(&answer));
}

#[tokio::test]
async fn the_value_is_there_within_its_timeout_whatever_a_companion_does() {
    let (_server, config) = serve(|query, time| match query {
        "x" => Some(rows(time, &[("a", 1.0)]).after(Duration::from_millis(100))),
        _ => Some(Answer::hang()),
    });
    let config = config.with_query_timeout(Duration::from_millis(500));
    let source = PrometheusSource::new(config).unwrap();
    source.query_list().must_register(QueryTemplate::promql("q", "x"));
    let results = source.refresh(RefreshSpec::all()).await;
    let result = results["q"].as_ref().unwrap();
    assert_eq!(result.values().next().unwrap().value, 1.0);
    assert_eq!(result.age(0), Age::UNKNOWN);
}

#[tokio::test]
async fn a_query_that_fails_fails_whatever_its_companions_say() {
    let (_server, config) = serve(|query, time| match query {
        "x" => Some(Answer::prometheus_error(422, "execution", "too many samples")),
        X_AGES => Some(rows(time, &[("a", time)])),
        _ => None,
    });
    let backend = PrometheusBackend::new(&config).unwrap();
    let error = backend.fetch(&request("x")).await.unwrap_err();
    assert!(error.to_string().contains("too many samples"), "{error}");
}

#[tokio::test]
async fn rows_that_differ_by_their_names_alone_have_no_age_of_their_own() {
    let (_server, config) = serve(|query, time| match query {
        r#"{pod="a"}"# => Some(Answer::vector(
            time,
            &[
                (&[("__name__", "x"), ("pod", "a")], 1.0),
                (&[("__name__", "y"), ("pod", "a")], 2.0),
            ],
        )),
        // As a server might that does not mind.
        _ => Some(rows(time, &[("a", time)])),
    });
    let answer = fetch(&config, r#"{pod="a"}"#).await;
    assert_eq!(ages(&answer), [unknown("a"), unknown("a")]);
    assert!(
        warnings(&answer).contains("differ by their metric names alone"),
        "{}",
        warnings(&answer)
    );
}

#[tokio::test]
async fn the_metric_name_does_not_tell_rows_apart_otherwise() {
    let (_server, config) = serve(|query, time| match query {
        "x" => Some(Answer::vector(time, &[(&[("__name__", "x"), ("pod", "a")], 1.0)])),
        X_AGES => Some(rows(time, &[("a", time - 7.0)])),
        _ => None,
    });
    assert_eq!(
        ages(&fetch(&config, "x").await),
        [told("a", 7, AgeKind::Exact, false)]
    );
}

#[tokio::test]
async fn the_age_of_a_recorded_sample_is_a_lower_bound() {
    const RULES: &str =
        r#"{"status":"success","data":{"groups":[{"rules":[{"name":"x","type":"recording"}]}]}}"#;
    type Rules = fn() -> Answer;
    let cases: [(Rules, &str, AgeKind); 4] = [
        (|| Answer::json(RULES), "x", AgeKind::AtLeast),
        (|| Answer::json(RULES), "y", AgeKind::Exact),
        (no_rules, "x", AgeKind::Exact),
        // Nobody knows.
        (|| Answer::status(404), "x", AgeKind::AtLeast),
    ];
    for (rules, query, expected) in cases {
        let (_server, config) = serve(move |asked, time| match asked {
            "rules" => Some(rules()),
            "timestamp(x)" | "timestamp(y)" => Some(rows(time, &[("a", time - 7.0)])),
            "x" | "y" => Some(rows(time, &[("a", 1.0)])),
            _ => None,
        });
        let answer = fetch(&config, query).await;
        assert_eq!(ages(&answer), [told("a", 7, expected, false)], "{query}");
        assert_eq!(answer.warnings().len(), 0);
    }
}

/// Its header `Date` tells.
#[tokio::test]
async fn a_server_whose_clock_differs_is_asked_by_its_own() {
    for ahead in [-600, 600] {
        let now = || {
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs_f64()
        };
        let (server, config) = serve(move |query, time| {
            let theirs = now() + f64::from(ahead);
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(theirs);
            // The sample is a second old.
            let is_near = (time - theirs).abs() < 60.0;
            let answer = match query {
                "x" if is_near => rows(time, &[("a", 1.0)]),
                X_AGES if is_near => rows(time, &[("a", time - 1.0)]),
                "rules" => no_rules(),
                _ => rows(time, &[]),
            };
            Some(answer.header("Date", &httpdate::fmt_http_date(date)))
        });
        let backend = PrometheusBackend::new(&config).unwrap();
        let answer = backend.fetch(&request("x")).await.unwrap();
        let told = ages(&answer);
        assert_eq!(
            (told.len(), told[0].2),
            (1, AgeKind::Exact),
            "{told:?}, {}",
            warnings(&answer)
        );
        assert!(told[0].1.unwrap() <= 4, "{told:?}");
        // From then on it is known.
        let before = server.requests().len();
        backend.fetch(&request("x")).await.unwrap();
        assert_eq!(server.requests().len() - before, 2);
    }
}

#[tokio::test]
async fn a_clock_that_cannot_be_gone_by_tells_no_age() {
    let (_server, config) = serve(|query, time| {
        let answer = match query {
            "x" => rows(time, &[("a", 1.0)]),
            X_AGES => rows(time, &[("a", time - 1.0)]),
            "rules" => no_rules(),
            _ => rows(time, &[]),
        };
        // Another one each time: an hour after what it is asked for.
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(time + 3_600.0);
        Some(answer.header("Date", &httpdate::fmt_http_date(date)))
    });
    let answer = fetch(&config, "x").await;
    assert_eq!((answer.len(), ages(&answer)), (1, vec![unknown("a")]));
    assert!(warnings(&answer).contains("clock jumps"), "{}", warnings(&answer));
}

#[tokio::test]
async fn what_is_not_promql_has_values_and_no_ages() {
    let (server, config) = serve(|_, time| Some(rows(time, &[("a", 1.0)])));
    let answer = fetch(&config, "rollup_rate(x[5m]) default 0").await;
    assert_eq!(ages(&answer), [unknown("a")]);
    assert!(warnings(&answer).contains("not PromQL"), "{}", warnings(&answer));
    assert!(server.requests().len() <= 2);
}

#[tokio::test]
async fn a_query_says_for_itself_what_is_asked_beside_it() {
    let (server, config) = serve(|query, time| match query {
        "x" => Some(rows(time, &[("a", 1.0)])),
        X_AGES => Some(rows(time, &[("a", time - 7.0)])),
        _ => None,
    });
    let check = async |source: Companions, query: Option<Companions>, expected: bool| {
        let source = PrometheusSource::new(config.clone().with_companions(source)).unwrap();
        let mut template = QueryTemplate::promql("q", "x");
        template.companions = query;
        source.query_list().must_register(template);
        let results = source.refresh(RefreshSpec::all()).await;
        assert_eq!(results["q"].as_ref().unwrap().age(0) != Age::UNKNOWN, expected);
    };
    check(Companions::none(), None, false).await;
    check(Companions::none(), Some(Companions::ages()), true).await;
    check(Companions::ages(), None, true).await;
    check(Companions::ages(), Some(Companions::none()), false).await;
    let asked = server.requests().len();
    // A range has steps, and no companions.
    let backend = PrometheusBackend::new(&config).unwrap();
    let second = Duration::from_secs(1);
    let range = Shape::Range {
        window: second,
        step: second,
    };
    // The answer is a vector, which it must not be.
    backend.fetch(&request("x").with_shape(range)).await.unwrap_err();
    assert_eq!(server.requests().len(), asked + 1);
}

#[tokio::test]
async fn windows_and_lifetimes_that_are_too_short_for_the_samples_are_told() {
    const COUNTS: &str =
        r#"label_replace(max(count_over_time(x[5m]) and x offset 5m), "__selector__", "0", "", "")"#;
    let check = async |query: &'static str, samples: Option<f64>, ttl: u64, expected: &[&str]| {
        let (_server, config) = serve(move |asked, time| match asked {
            COUNTS => samples.map(|samples| Answer::vector(time, &[(&[("__selector__", "0")], samples)])),
            _ if asked == query => Some(rows(time, &[("a", 1.0)])),
            _ => Some(rows(time, &[("a", time - 1.0)])),
        });
        let source = PrometheusSource::new(config).unwrap();
        let template = QueryTemplate::promql("q", query).ttl(Duration::from_secs(ttl));
        source.query_list().must_register(template);
        // Each answer says it, and each but once.
        for _ in 0..2 {
            let results = source.refresh(RefreshSpec::all()).await;
            let result = results["q"].as_ref().unwrap();
            let told: Vec<_> = result.warnings().collect();
            assert_eq!(told.len(), expected.len(), "{query}: {told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.contains(expected), "{told}");
            }
            assert!(result.is_complete());
        }
    };
    let rate = "rate(x[1m]) + rate(x[1m])";
    check(rate, Some(20.0), 30, &[]).await;
    check(rate, Some(10.0), 30, &["rate(x[1m]) has fewer than 4 samples"]).await;
    check(rate, Some(5.0), 60, &["rate(x[1m]) has no value at times"]).await;
    check("x", Some(5.0), 30, &["samples are about 60s apart: a longer ttl"]).await;
    // None has been there for long enough to be counted.
    check(rate, None, 1, &[]).await;
}

#[tokio::test]
async fn a_reading_with_a_max_age_says_what_to_do() {
    let check = async |companions: Companions, age: f64, max_age: u64, expected: (Status, &str)| {
        let (_server, config) = serve(move |query, time| match query {
            "x" => Some(rows(time, &[("a", 1.0)])),
            X_AGES => Some(rows(time, &[("a", time - age)])),
            "rules" => None,
            _ => Some(Answer::vector(time, &[(&[("__selector__", "0")], 5.0)])),
        });
        let source = PrometheusSource::new(config.with_companions(companions)).unwrap();
        source
            .query_list()
            .must_register(QueryTemplate::promql("q", "x").ttl(Duration::from_secs(60)));
        source.refresh(RefreshSpec::all()).await;
        let policy = Policy::default().max_age(Duration::from_secs(max_age));
        let spec = ReadingSpec::new("m", "q".parse().unwrap())
            .source("main")
            .policy(policy);
        let clock = Clock::system();
        let found = Found::from(&source.lookup("q", &Default::default()));
        let set = judge(&Arc::new(spec), &found, None, None, clock.now());
        let reading = set.rows(clock.now()).next().unwrap();
        let text = reading
            .reason()
            .map_or_else(String::new, |reason| reason.text.to_string());
        assert_eq!(reading.status(), expected.0, "{text}");
        assert!(text.contains(expected.1), "{text}");
        assert_eq!(&*reading.origin().unwrap().source, "main");
        assert_eq!(&*reading.origin().unwrap().text, "x");
    };
    check(Companions::ages(), 3.0, 120, (Status::Value, "")).await;
    check(
        Companions::none(),
        3.0,
        120,
        (Status::Withheld, "`companions: ages`"),
    )
    .await;
    check(
        Companions::ages(),
        f64::NAN,
        120,
        (Status::Withheld, "the warnings of its answer say why"),
    )
    .await;
    check(
        Companions::ages(),
        300.0,
        120,
        (Status::Withheld, "older than max_age, 120s"),
    )
    .await;
    check(
        Companions::ages(),
        35.0,
        30,
        (Status::Withheld, "set max_age to 120s or more"),
    )
    .await;
}

const RATE_OLDEST: &str =
    r#"label_replace(min(timestamp(x) or present_over_time(x[5m])), "__told__", "oldest", "", "")"#;
const X_COUNTS: &str =
    r#"label_replace(max(count_over_time(x[5m]) and x offset 5m), "__selector__", "0", "", "")"#;

/// How the query `rate(x[5m])` of two pods is answered the second time: the first time, its samples are 15 seconds apart,
/// and of several times within them.
async fn asked_again(
    oldest: impl Fn(f64) -> Option<Answer> + Send + Sync + 'static,
) -> (Values, Vec<String>) {
    let (server, config) = serve(move |query, time| match query {
        X_COUNTS => Some(Answer::vector(time, &[(&[("__selector__", "0")], 20.0)])),
        RATE => Some(rows(time, &[("a", 1.0), ("b", 2.0)])),
        RATE_AGES | X_AGES => Some(rows(time, &[("a", time - 3.0), ("b", time - 9.0)])),
        "rules" => None,
        RATE_OLDEST => oldest(time),
        other => panic!("{other}"),
    });
    let backend = PrometheusBackend::new(&config.with_companions(Companions::ages())).unwrap();
    let first = backend.fetch(&request(RATE)).await.unwrap();
    let each = [
        told("a", 3, AgeKind::Exact, false),
        told("b", 9, AgeKind::Exact, false),
    ];
    assert_eq!(ages(&first), each);
    let before = server.requests().len();
    let again = backend.fetch(&request(RATE)).await.unwrap();
    let asked = server.requests().split_off(before);
    // All of it for one time.
    let times: Vec<_> = asked.iter().map(|asked| parameter(asked, "time")).collect();
    assert!(
        times.iter().all(|time| time.is_some() && *time == times[0]),
        "{times:?}"
    );
    let mut asked: Vec<_> = asked
        .iter()
        .filter_map(|asked| parameter(asked, "query"))
        .flat_map(|text| {
            let each = questions(&text).into_iter();
            each.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let origin = again.provenance().unwrap().origin().unwrap().clone();
    let mut sent: Vec<_> = origin.sent.iter().map(|sent| sent.to_string()).collect();
    sent.push(origin.text.to_string());
    asked.sort();
    sent.sort();
    assert_eq!(asked, sent, "what was sent is told");
    (again, asked)
}

/// The row that tells the oldest sample.
fn oldest(time: f64, age: f64) -> Answer {
    Answer::vector(time, &[(&[("__told__", "oldest")], time - age)])
}

#[tokio::test]
async fn where_nothing_is_old_or_has_ended_no_row_is_asked_for_its_age() {
    let (answer, asked) = asked_again(|time| Some(oldest(time, 14.0))).await;
    assert_eq!(asked, [RATE_OLDEST, RATE]);
    let bound = |pod| told(pod, 14, AgeKind::AtMost, false);
    assert_eq!(ages(&answer), [bound("a"), bound("b")]);
    assert_eq!(answer.warnings().len(), 0);
}

#[tokio::test]
async fn where_something_may_be_old_or_have_ended_each_row_is_asked_for_its_age() {
    type Told = fn(f64) -> Option<Answer>;
    let cases: [(&str, Told); 6] = [
        ("a series has ended", |time| Some(oldest(time, time))),
        ("older than a late scrape", |time| Some(oldest(time, 23.0))),
        ("of the future", |time| Some(oldest(time, -60.0))),
        ("none", |_| None),
        ("partial", |time| Some(partial(time))),
        ("refused", |_| {
            Some(Answer::prometheus_error(422, "execution", "no such function"))
        }),
    ];
    for (why, told_oldest) in cases {
        let (answer, asked) = asked_again(told_oldest).await;
        assert_eq!(asked, [RATE_AGES, RATE_OLDEST, RATE, X_AGES], "{why}");
        let each = [
            told("a", 3, AgeKind::Exact, false),
            told("b", 9, AgeKind::Exact, false),
        ];
        assert_eq!(ages(&answer), each, "{why}");
        assert_eq!(answer.warnings().len(), 0, "{why}");
    }
}
