//! Who should have reported, where another query tells it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::completeness::{Completeness, Report};
use fleetgauge_core::params::Params;
use fleetgauge_core::policy::Policy;
use fleetgauge_core::query::{QueryTemplate, Shape};
use fleetgauge_core::query_list::RegisterError;
use fleetgauge_core::reading::{ReadingSpec, Readings, ReasonCode};
use fleetgauge_core::result::{Answer, AnswerBuilder, MetricResult, Origin};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::source::{CachedSource, CachedSourceConfig, MetricsSource, RefreshSpec, RetryPolicy};
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_core::transform::{LabelChange, TransformStep, VariantFold};
use fleetgauge_syntax::rewrite;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

const QUERY: &str = "sum by (namespace, pod) (rate(busy[1m])) > 0";
const EXPECTED: &str = "group by (namespace, pod) (up)";

type Fetched = Result<Answer, FetchError>;

/// What the query answers, who reports, who should; what is told, whether nothing is missing, and of what is warned.
type Case<'a> = (Answer, Fetched, Fetched, &'a str, bool, &'a [&'a str]);

/// Answers by text.
#[derive(Clone, Default)]
struct Texts {
    answers: Arc<Mutex<Vec<(String, Fetched)>>>,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Texts {
    fn with(self, text: &str, answer: Fetched) -> Self {
        self.answers.lock().unwrap().push((text.to_owned(), answer));
        self
    }

    fn source(&self) -> CachedSource {
        let mut config = CachedSourceConfig::default();
        config.retry = RetryPolicy::never();
        // What is asked beside a query must not wait for it.
        config.max_concurrency = 1;
        CachedSource::new(Arc::new(self.clone()), config)
    }
}

impl Backend for Texts {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Fetched> {
        self.asked.lock().unwrap().push(request.clone());
        let answers = self.answers.lock().unwrap();
        let found = answers.iter().find(|(text, _)| *text == request.text);
        let answer = found.map(|(_, answer)| answer.clone());
        async move { answer.unwrap_or_else(|| panic!("{} is not known", request.text)) }.boxed()
    }
}

fn rows(rows: &[(&[(&str, &str)], f64)]) -> AnswerBuilder {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    for (labels, value) in rows {
        let labels = labels.iter().copied();
        answer.series(labels, *value, Timestamp::default()).unwrap();
    }
    answer
}

/// One row for each of these pods.
fn pods(pods: &[&str]) -> Answer {
    let labels: Vec<_> = pods
        .iter()
        .map(|pod| [("namespace", "n"), ("pod", pod)])
        .collect();
    let with_values: Vec<_> = labels.iter().map(|labels| (&labels[..], 1.0)).collect();
    rows(&with_values).build()
}

fn failed() -> Fetched {
    Err(FetchError::Rejected {
        kind: "bad_data".into(),
        message: "no".into(),
    })
}

fn reporting(query: &str) -> String {
    let tree = fleetgauge_syntax::parse(query).unwrap();
    rewrite::reporting(&tree).unwrap().to_string()
}

fn query() -> QueryTemplate {
    QueryTemplate::promql("q", QUERY).expected("who".parse().unwrap())
}

async fn refresh(source: &CachedSource, query: QueryTemplate) -> Result<Arc<MetricResult>, String> {
    let name = query.name.clone();
    source.query_list().register(query).unwrap();
    source
        .query_list()
        .register(QueryTemplate::promql("who", EXPECTED))
        .unwrap();
    let results = source.refresh(RefreshSpec::queries([&*name])).await;
    results[&*name].clone().map_err(|error| error.to_string())
}

#[tokio::test]
async fn who_has_reported_is_told_by_what_should_report() {
    let undefined = rows(&[(&[("pod", "a")], f64::NAN)]).build();
    let nameless = rows(&[(&[], 2.0)]).build();
    let aggregate = rows(&[(&[("namespace", "n")], 2.0)]).build();
    let named = [("__name__", "up"), ("namespace", "n"), ("pod", "a")];
    let other = [("__name__", "down"), ("namespace", "n"), ("pod", "a")];
    let twice = rows(&[(&named, 1.0), (&other, 0.0)]).build();
    let mut partial = rows(&[(&[("namespace", "n"), ("pod", "a")], 1.0)]);
    partial.missing("a store did not answer");
    let ok = Ok::<Answer, FetchError>;
    let cases: &[Case<'_>] = &[
        (
            pods(&["a", "b"]),
            ok(pods(&["a", "b"])),
            ok(pods(&["a", "b"])),
            "2 of 2 reported",
            true,
            &[],
        ),
        // An idle pod reports; one that nobody expects is not counted.
        (
            pods(&["a"]),
            ok(pods(&["a", "b", "c"])),
            ok(pods(&["a", "b"])),
            "2 of 2 reported",
            true,
            &[],
        ),
        (
            pods(&["a"]),
            ok(pods(&["a"])),
            ok(pods(&["a", "b"])),
            r#"1 of 2 reported; missing: {namespace="n", pod="b"} (the query has no series of it)"#,
            false,
            &["1 of 2 reported"],
        ),
        // It is read from the past alone.
        (
            pods(&["a", "b"]),
            ok(pods(&["a"])),
            ok(pods(&["a", "b"])),
            r#"1 of 2 reported; missing: {namespace="n", pod="b"} (its series have ended)"#,
            false,
            &["1 of 2 reported"],
        ),
        // Two metrics tell of one pod, and a value of zero is a row.
        (
            pods(&["a"]),
            ok(pods(&["a"])),
            ok(twice),
            "1 of 1 reported",
            true,
            &[],
        ),
        // Who reports could not be asked.
        (
            pods(&["a", "b"]),
            failed(),
            ok(pods(&["a", "b"])),
            "2 of 2 reported",
            true,
            &[],
        ),
        (
            pods(&["a"]),
            failed(),
            ok(pods(&["a", "b"])),
            "1 of 2 reported; missing: {namespace=\"n\", pod=\"b\"} (the answer has no row of it, and who reports could \
             not be asked: rejected by the backend: no)",
            false,
            &["1 of 2 reported"],
        ),
        // Nobody is expected.
        (
            pods(&[]),
            ok(pods(&[])),
            ok(pods(&[])),
            "0 of 0 reported",
            true,
            &[],
        ),
        (
            pods(&["a"]),
            ok(pods(&["a"])),
            ok(pods(&[])),
            "0 reported, of an unknown number",
            true,
            &["nobody should report, and somebody does"],
        ),
        (
            pods(&[]),
            ok(pods(&["a"])),
            ok(pods(&[])),
            "0 reported, of an unknown number",
            true,
            &["nobody should report, and somebody does"],
        ),
        // It cannot be compared.
        (
            aggregate.clone(),
            ok(aggregate),
            ok(pods(&["a", "b"])),
            "0 reported, of an unknown number",
            true,
            &["no row of the query has the labels namespace, pod of the rows of \"who\""],
        ),
        (
            pods(&["a"]),
            ok(pods(&["a"])),
            ok(nameless),
            "0 reported, of an unknown number",
            true,
            &["a row of \"who\" has no labels"],
        ),
        // Who should report is not known.
        (
            pods(&["a"]),
            ok(pods(&["a"])),
            failed(),
            "",
            false,
            &["who should report is not known: query who: rejected"],
        ),
        (
            pods(&["a"]),
            ok(pods(&["a"])),
            ok(partial.build()),
            "",
            false,
            &["the answer of \"who\" is incomplete: a store did not answer"],
        ),
        (
            pods(&["a"]),
            ok(pods(&["a"])),
            ok(undefined),
            "",
            false,
            &["\"who\" is undefined for {pod=\"a\"}"],
        ),
    ];
    for (answer, reports, expected, told, is_complete, warnings) in cases {
        let backend = Texts::default()
            .with(QUERY, Ok(answer.clone()))
            .with(&reporting(QUERY), reports.clone())
            .with(EXPECTED, expected.clone());
        let result = refresh(&backend.source(), query()).await.unwrap();
        let answer = result.answer();
        let found = answer.completeness().map(|found| found.to_string());
        assert_eq!(found.unwrap_or_default(), *told);
        assert_eq!(answer.is_complete(), *is_complete, "{told}: {answer:?}");
        assert_eq!(answer.warnings().len(), warnings.len(), "{told}: {answer:?}");
        for (warning, expected) in answer.warnings().zip(*warnings) {
            assert!(warning.contains(expected), "{warning}");
        }
        // A reading that asks for nearly all of them is had only where they are known to have reported.
        let is_had = told.starts_with("2 of 2") || told.starts_with("1 of 1");
        for reading in judged(&backend.source(), query()).await {
            assert_eq!(reading.is_ok(), is_had, "{told}: {reading:?}");
        }
    }
}

/// The readings of what `query` answers, of which nine tenths must have reported.
async fn judged(source: &CachedSource, query: QueryTemplate) -> Vec<Result<f64, ReasonCode>> {
    let name = query.name.clone();
    let mut spec =
        ReadingSpec::new("m", name.parse().unwrap()).policy(Policy::default().min_completeness(0.9));
    spec.knows_completeness = true;
    let readings = Readings::new(spec, Clock::system()).unwrap();
    let _ = refresh(source, query).await;
    readings.update(&source.lookup(&name, &Params::new()), None);
    let judged = readings.judged();
    let rows = judged.rows(Clock::system().now());
    rows.map(|row| row.value().ok_or_else(|| row.reason().unwrap().code))
        .collect()
}

#[tokio::test]
async fn no_row_of_anybody_is_not_no_data() {
    let asking = |expected: Fetched| {
        Texts::default()
            .with(QUERY, Ok(pods(&[])))
            .with(&reporting(QUERY), Ok(pods(&[])))
            .with(EXPECTED, expected)
            .source()
    };
    let error = refresh(&asking(Ok(pods(&["a", "b"]))), query())
        .await
        .unwrap_err();
    assert!(
        error.contains(
            r#"no values, and not everything was asked: 0 of 2 reported; missing: {namespace="n", pod="a"}"#
        ),
        "{error}"
    );
    let error = refresh(&asking(failed()), query()).await.unwrap_err();
    assert!(
        error.contains("who should report is not known: query who"),
        "{error}"
    );
    let none = refresh(&asking(Ok(pods(&[]))), query()).await.unwrap();
    assert!(none.is_no_data() && none.is_complete());
}

#[tokio::test]
async fn rows_report_where_nothing_else_can_be_asked() {
    // No PromQL, so that nothing can be made of it.
    let text = "busy{} default 0";
    let asked = Texts::default()
        .with(
            text,
            Ok(pods(&["a", "b", "c"]).with_ages(vec![Age::exact(Duration::ZERO).with_ended()])),
        )
        .with(EXPECTED, Ok(pods(&["a", "b", "d"])));
    let query = QueryTemplate::promql("q", text).expected("who".parse().unwrap());
    let result = refresh(&asked.source(), query).await.unwrap();
    assert_eq!(
        result.answer().completeness().unwrap().to_string(),
        "1 of 3 reported; missing: {namespace=\"n\", pod=\"a\"} (its series have ended), {namespace=\"n\", pod=\"d\"} \
         (the answer has no row of it)"
    );
}

#[tokio::test]
async fn what_the_source_counts_itself_is_not_made_up_for() {
    let own = |reported: u64, missing: u64| {
        let mut own = Completeness::known();
        (0..reported).for_each(|_| own.add("", Report::Reported));
        (0..missing).for_each(|_| own.add("east", Report::Missing("timeout")));
        own
    };
    let mut unknown = Completeness::unknown();
    unknown.add("east", Report::Missing("timeout"));
    let half = r#"1 of 2 reported; missing: {namespace="n", pod="b"} (the query has no series of it)"#;
    let east = "9 of 10 reported; missing: east (timeout)";
    // What the source counts, who should report, and what is told and warned of.
    let cases: &[(Completeness, &[&str], &str, &[&str])] = &[
        (Completeness::unknown(), &["a", "b"], half, &[half]),
        // Of ten members all have reported, and of two pods one.
        (own(10, 0), &["a", "b"], half, &[half]),
        (own(9, 1), &["a", "b"], half, &[half, east]),
        (own(9, 1), &["a"], east, &[east]),
        (
            own(3, 9),
            &["a", "b"],
            "3 of 12 reported; missing: east (timeout)",
            &["3 of 12 reported", half],
        ),
        (own(3, 0), &["a"], "1 of 1 reported", &[]),
        (
            unknown,
            &["a"],
            "1 reported, of an unknown number; missing: east (timeout)",
            &["1 reported, of an unknown"],
        ),
    ];
    for (own, expected, told, warnings) in cases {
        let answer = pods(&["a"]).with_completeness(Arc::new(own.clone()));
        let asked = Texts::default()
            .with(QUERY, Ok(answer))
            .with(&reporting(QUERY), Ok(pods(&["a"])))
            .with(EXPECTED, Ok(pods(expected)));
        let result = refresh(&asked.source(), query()).await.unwrap();
        let found = result.answer().completeness().unwrap().to_string();
        assert!(found.starts_with(told), "{found}");
        assert_eq!(result.answer().is_complete(), warnings.is_empty(), "{found}");
        let found: Vec<_> = result.answer().warnings().collect();
        assert_eq!(found.len(), warnings.len(), "{found:?}");
        for (warning, expected) in found.iter().zip(*warnings) {
            assert!(warning.starts_with(expected), "{found:?}");
        }
    }
}

#[tokio::test]
async fn it_is_counted_before_rows_are_transformed() {
    let origin = |text: &str| Arc::new(Origin::new("", "q").with_text(text));
    let asked = Texts::default()
        .with(QUERY, Ok(pods(&["a"]).with_origin(origin(QUERY))))
        .with(&reporting(QUERY), Ok(pods(&["a"])))
        .with(EXPECTED, Ok(pods(&["a", "b"]).with_origin(origin(EXPECTED))));
    let query = query().transform(TransformStep::Labels(LabelChange::Drop(vec!["pod".into()])));
    let result = refresh(&asked.source(), query).await.unwrap();
    let answer = result.answer();
    assert_eq!(
        answer.values().next().unwrap().labels.to_string(),
        r#"{namespace="n"}"#
    );
    assert_eq!(answer.completeness().unwrap().ratio(), Some(0.5));
    assert!(!answer.is_complete());
    let sent: Vec<_> = answer.provenance().unwrap().origin().unwrap().sent.to_vec();
    assert_eq!(sent, [reporting(QUERY).into_boxed_str(), EXPECTED.into()]);
}

#[tokio::test]
async fn the_same_parameters_and_time_are_asked_for() {
    let filled = QUERY.replace("busy", r#"busy{namespace="n"}"#);
    let asked = Texts::default()
        .with(&filled, Ok(pods(&["a"])))
        .with(&reporting(&filled), Ok(pods(&["a"])))
        .with(r#"up{namespace="n"}"#, Ok(pods(&["a"])));
    let source = asked.source();
    let list = source.query_list();
    let template = QUERY.replace("busy", r#"busy{namespace="{{.namespace}}"}"#);
    let query = QueryTemplate::promql("q", template).params(["namespace"]);
    list.must_register(query.expected("who".parse().unwrap()));
    list.must_register(
        QueryTemplate::promql("who", r#"up{namespace="{{.namespace}}"}"#).params(["namespace"]),
    );
    let at = Timestamp::from_millis(1_700_000_000_000);
    let mut spec = RefreshSpec::queries(["q"]).params([("namespace", "n")]);
    spec.at = Some(at);
    let results = source.refresh(spec).await;
    assert!(results["q"].as_ref().unwrap().is_complete());
    let asked: Vec<_> = asked.asked.lock().unwrap().iter().map(|asked| asked.at).collect();
    assert_eq!(asked, [Some(at); 3]);
}

#[tokio::test]
async fn a_range_is_asked_for_alone() {
    let mut matrix = AnswerBuilder::new(Stamp::Evaluated);
    matrix.matrix();
    let asked = Texts::default().with(QUERY, Ok(matrix.build()));
    let source = asked.source();
    source.query_list().must_register(query());
    let spec = RefreshSpec::queries(["q"]).range(Duration::from_secs(60), Duration::from_secs(15));
    let results = source.refresh(spec).await;
    assert!(results["q"].as_ref().unwrap().answer().completeness().is_none());
    let asked = asked.asked.lock().unwrap();
    assert!(
        asked
            .iter()
            .all(|asked| asked.shape != Shape::Instant && asked.text == QUERY)
    );
}

#[tokio::test]
async fn what_is_asked_beside_asks_nothing_beside() {
    let source = Texts::default()
        .with(QUERY, Ok(pods(&["a"])))
        .with(&reporting(QUERY), Ok(pods(&["a"])))
        .with("b", Ok(pods(&["a"])))
        .source();
    let itself = source
        .query_list()
        .register(query().expected("q".parse().unwrap()));
    assert!(
        matches!(itself, Err(RegisterError::ExpectedByItself { .. })),
        "{itself:?}"
    );
    // A circle, in which each would wait for the other.
    source.query_list().must_register(query());
    let who = QueryTemplate::promql("who", "b");
    let by_each_other = [
        who.clone().expected("q".parse().unwrap()),
        who.transform(TransformStep::ByVariant(VariantFold::WeightedBy("q".into()))),
    ];
    for who in by_each_other {
        source.query_list().replace(who).unwrap();
        let results = source.refresh(RefreshSpec::queries(["q"])).await;
        let error = results["q"].as_ref().unwrap_err().to_string();
        assert!(
            error.contains(r#""who", which is asked beside the query, has a query of its own"#),
            "{error}"
        );
    }
    // One that is not there.
    source.query_list().remove("who");
    source
        .query_list()
        .replace(query().expected("whom".parse().unwrap()))
        .unwrap();
    let results = source.refresh(RefreshSpec::queries(["q"])).await;
    let result = results["q"].as_ref().unwrap();
    assert!(!result.is_complete());
    let warnings: Vec<_> = result.answer().warnings().collect();
    assert_eq!(
        warnings,
        [r#"who should report is not known: query "whom" is not registered"#]
    );
}
