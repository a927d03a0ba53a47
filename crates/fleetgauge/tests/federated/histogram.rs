//! Native histograms of members.

use fleetgauge::federated::Require;
use fleetgauge::histogram::{Bounds, Bucket, Histogram};
use fleetgauge::result::{Answer, AnswerBuilder};
use fleetgauge::sample::{SampleValue, Stamp};
use fleetgauge::source::Outcome;
use fleetgauge::time::Timestamp;
use fleetgauge::{FixedBackend, MetricsSource, QueryTemplate, RefreshSpec};

use super::{Fleet, NOW, SECOND, vector};

fn histogram(count: f64) -> Histogram {
    let mut histogram = Histogram::default();
    (histogram.count, histogram.sum) = (count, 3.0);
    histogram.buckets = [Bucket {
        bounds: Bounds::OpenLeft,
        lower: 1.0,
        upper: 2.0,
        count,
    }]
    .into();
    histogram
}

/// A histogram of `lat{pod="…"}`.
fn of_pod(pod: &str, count: f64) -> Answer {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.label("__name__", "lat");
    answer.label("pod", pod);
    answer.end_histogram(histogram(count), NOW).unwrap();
    answer.build()
}

/// The same at the end of a range, behind a number.
fn over_a_range(pod: &str, count: f64) -> Answer {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.matrix();
    answer.label("pod", pod);
    answer.point(1.0, Timestamp::from_millis(NOW.as_millis() - 1_000));
    answer.histogram(histogram(count), NOW);
    answer.end_points().unwrap();
    answer.build()
}

fn fleet(eu: Answer, us: Answer) -> Fleet {
    let backend = |answer| FixedBackend::new().answer("q:part0", answer);
    Fleet::new([("eu", backend(eu)), ("us", backend(us))])
}

/// What is answered to who takes histograms.
async fn taken(fleet: &Fleet, text: &str, spec: RefreshSpec) -> Outcome {
    let source = fleet.source();
    let query = QueryTemplate::promql("q", text).histograms();
    source.query_list().replace(query).unwrap();
    source.refresh(spec).await["q"].clone()
}

fn now() -> RefreshSpec {
    RefreshSpec::queries(["q"])
}

/// Series with their samples, a line each.
fn shown(answer: &Answer) -> Vec<String> {
    let series = answer.series().map(|series| {
        let samples = series.samples().map(|(at, value)| {
            let at = (at.as_millis() - NOW.as_millis()) / 1_000;
            match value {
                SampleValue::Histogram(histogram) => format!(" {histogram}@{at}"),
                other => format!(" {other:?}@{at}"),
            }
        });
        series.labels().to_string() + &samples.collect::<String>()
    });
    let mut series: Vec<_> = series.collect();
    series.sort();
    series
}

#[tokio::test]
async fn histograms_that_nothing_is_done_with_go_to_who_takes_them() {
    let fleet = fleet(of_pod("a", 4.0), of_pod("b", 5.0));
    for text in ["lat", "rate(lat[5m])", "sum by (cluster, pod) (lat)"] {
        let result = taken(&fleet, text, now()).await.expect(text);
        assert_eq!(
            shown(result.answer()),
            [
                r#"lat{cluster="eu", pod="a"} {count:4, sum:3, (1,2]:4}@0"#,
                r#"lat{cluster="us", pod="b"} {count:5, sum:3, (1,2]:5}@0"#,
            ],
            "{text}"
        );
        assert!(result.is_complete(), "{text}");
    }
}

#[tokio::test]
async fn so_do_those_of_ranges_between_numbers() {
    let fleet = fleet(over_a_range("a", 4.0), over_a_range("b", 5.0));
    let result = taken(&fleet, "lat", now().range(SECOND, SECOND)).await.unwrap();
    assert_eq!(
        shown(result.answer()),
        [
            r#"{cluster="eu", pod="a"} Number(1.0)@-1 {count:4, sum:3, (1,2]:4}@0"#,
            r#"{cluster="us", pod="b"} Number(1.0)@-1 {count:5, sum:3, (1,2]:5}@0"#,
        ]
    );
}

#[tokio::test]
async fn what_one_replica_lacks_of_histograms_is_had_of_the_other() {
    let newest = |backend: FixedBackend| backend.answer("q:newest", vector(&["100"]));
    let of = |answer| newest(FixedBackend::new().answer("q:part0", answer));
    let mut fleet = Fleet::new([("eu", of(of_pod("a", 4.0))), ("us", of(of_pod("b", 5.0)))]);
    fleet.members.push(("eu-1", of(of_pod("c", 6.0))));
    fleet.config.members[0].sources.push("eu-1".to_owned());
    let result = taken(&fleet, "lat", now()).await.unwrap();
    assert_eq!(
        shown(result.answer()),
        [
            r#"lat{cluster="eu", pod="a"} {count:4, sum:3, (1,2]:4}@0"#,
            r#"lat{cluster="eu", pod="c"} {count:6, sum:3, (1,2]:6}@0"#,
            r#"lat{cluster="us", pod="b"} {count:5, sum:3, (1,2]:5}@0"#,
        ]
    );
}

#[tokio::test]
async fn what_would_have_to_be_computed_of_them_here_is_refused_by_name() {
    let named = r#"the native histogram lat{pod="a"}, which is no number"#;
    let both = || fleet(of_pod("a", 4.0), of_pod("b", 5.0));
    for text in [
        "sum(lat)",
        "histogram_quantile(0.9, sum(rate(lat[5m])))",
        "lat or vector(0)",
        "count_values(\"x\", lat)",
    ] {
        let error = taken(&both(), text, now()).await.expect_err(text).to_string();
        assert!(error.contains(named), "{text}: {error}");
        // In a sum the metric's name is lost.
        let asked = error.contains("asked for \"sum by (cluster) (lat)\"");
        assert_eq!(asked, text == "sum(lat)", "{error}");
    }
    // So is the same by who takes numbers, as any.
    let fleet = both();
    let source = fleet.source();
    let query = QueryTemplate::promql("q", "lat");
    source.query_list().replace(query).unwrap();
    let error = source.refresh(now()).await["q"].clone().expect_err("no number");
    assert!(error.to_string().contains(named), "{error}");

    // Where one is enough, the member that has them is not among those that report, and is told.
    let fleet =
        self::fleet(of_pod("a", 4.0), vector(&["pod=b 5"])).with(|config| config.with_require(Require::Any));
    let result = taken(&fleet, "sum(lat)", now()).await.unwrap();
    assert_eq!(super::shown(result.answer()), ["{} 5"]);
    let warning = result.warnings().next().expect("a warning").to_owned();
    assert!(!result.is_complete() && warning.contains(named), "{warning}");
}
