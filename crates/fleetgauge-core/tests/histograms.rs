//! A native histogram is answered to those who take it, and is nowhere read as a number.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use fleetgauge_core::backend::Request;
use fleetgauge_core::histogram::{Bounds, Bucket, Histogram};
use fleetgauge_core::policy::Policy;
use fleetgauge_core::query::{QueryTemplate, QueryType, Shape};
use fleetgauge_core::reading::{ReadingSpec, Readings, ReasonCode};
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::{SampleValue, Stamp};
use fleetgauge_core::source::{CachedSource, FixedBackend, MetricsSource, RefreshSpec};
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_core::transform::{LabelChange, TransformStep};

const STEP: Duration = Duration::from_secs(15);

fn histogram(count: f64) -> Histogram {
    Histogram {
        count,
        sum: 3.0,
        buckets: [Bucket {
            bounds: Bounds::OpenLeft,
            lower: 1.0,
            upper: 2.0,
            count,
        }]
        .into(),
    }
}

/// A number, and a histogram behind it.
fn mixed() -> Answer {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.series([("pod", "a")], 1.0, Timestamp::default()).unwrap();
    answer.label("pod", "b");
    answer
        .end_histogram(histogram(4.0), Timestamp::default())
        .unwrap();
    answer.build()
}

fn source(query: QueryTemplate) -> CachedSource {
    let source = FixedBackend::new()
        .answer("q", mixed())
        .answer("weights", mixed())
        .into_source();
    source.query_list().must_register(query);
    source
}

async fn refused(source: &CachedSource, spec: RefreshSpec) -> String {
    let results = source.refresh(spec).await;
    results["q"].as_ref().unwrap_err().to_string()
}

const REFUSAL: &str = r#"the native histogram {pod="b"}, which is no number; reduce it in the query, as with histogram_quantile"#;

#[tokio::test]
async fn who_does_not_take_histograms_gets_an_error_with_the_series() {
    let source = source(QueryTemplate::promql("q", "q"));
    for spec in [
        RefreshSpec::all(),
        RefreshSpec::all().range(Duration::from_secs(60), STEP),
    ] {
        let error = refused(&source, spec).await;
        assert!(error.contains(REFUSAL), "{error}");
    }
    assert!(source.get("q", &Default::default()).is_none());
    let request = Request::new(
        "q".parse().unwrap(),
        QueryType::PromQl,
        "q",
        Duration::from_secs(5),
    );
    let error = source.ask(request.clone()).await.unwrap_err().to_string();
    assert!(error.contains(REFUSAL), "{error}");
    let answer = source.ask(request.with_histograms(true)).await.unwrap();
    assert!(answer.has_histograms());
}

#[tokio::test]
async fn who_takes_histograms_has_them_beside_the_numbers() {
    let source = source(QueryTemplate::promql("q", "q").histograms());
    let results = source.refresh(RefreshSpec::all()).await;
    let result = results["q"].as_ref().unwrap();
    let values: Vec<_> = result.values().map(|value| value.to_string()).collect();
    assert_eq!(
        values,
        [
            r#"{pod="a"} => 1 @[0]"#,
            r#"{pod="b"} => {count:4, sum:3, (1,2]:4} @[0]"#
        ]
    );
    // Who looks at the number alone finds none.
    assert!(result.values().nth(1).unwrap().is_undefined());

    // A range is asked for anew each time: what is held is numbers or not.
    let (window, step) = (Duration::from_secs(30), STEP);
    for _ in 0..2 {
        let results = source.refresh_range(RefreshSpec::all(), window, step).await;
        let result = results["q"].as_ref().unwrap();
        let of_b = result.answer().series().nth(1).unwrap();
        let is_histogram =
            |(_, value): &(Timestamp, SampleValue<'_>)| *value == SampleValue::Histogram(&histogram(4.0));
        assert_eq!(of_b.samples().filter(is_histogram).count(), 3);
    }
    let shape = Shape::Range { window, step };
    assert!(
        source
            .lookup_shape("q", &Default::default(), shape)
            .value()
            .is_some()
    );
}

#[tokio::test]
async fn what_is_done_with_answers_is_done_with_numbers() {
    let drop = TransformStep::Labels(LabelChange::Drop(vec!["pod".to_owned()]));
    let query = QueryTemplate::promql("q", "q").histograms().transform(drop);
    let error = refused(&source(query), RefreshSpec::all()).await;
    assert!(error.contains(REFUSAL), "{error}");

    // Beside a query that is asked for numbers alone, another may take histograms.
    let expecting = QueryTemplate::promql("q", "q")
        .histograms()
        .expected("weights".parse().unwrap());
    let source = source(expecting);
    source
        .query_list()
        .must_register(QueryTemplate::promql("weights", "w").histograms());
    let error = refused(&source, RefreshSpec::queries(["q"])).await;
    assert!(
        error.contains("\"weights\", which is asked beside the query, gives the native"),
        "{error}"
    );
}

#[tokio::test]
async fn no_reading_is_made_of_a_histogram() {
    let source = source(QueryTemplate::promql("q", "q").histograms());
    source.refresh(RefreshSpec::all()).await;
    let spec = ReadingSpec::new("reading", "q".parse().unwrap()).policy(Policy::default());
    let readings = Readings::new(spec, Clock::system()).unwrap();
    readings.update(&source.lookup("q", &Default::default()), None);
    let mut reader = readings.reader();
    for pod in ["a", "b"] {
        let reading = reader.get(&[("pod", pod)]);
        assert_eq!(reading.value(), None);
        let reason = reading.reason().unwrap();
        assert_eq!(reason.code, ReasonCode::NotAVector);
        assert!(reason.text.contains(REFUSAL), "{}", reason.text);
    }
}
