//! Members: what they are asked, what is made of their parts, and who has reported.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge::age::AgeKind;
use fleetgauge::backend::{Backend, Request};
use fleetgauge::federated::{FederatedConfig, FederatedSource, Member, Require};
use fleetgauge::prometheus::PrometheusBackend;
use fleetgauge::result::{Answer, AnswerBuilder, MetricResult};
use fleetgauge::sample::Stamp;
use fleetgauge::time::Timestamp;
use fleetgauge::{
    FixedBackend, MetricsSource, PrometheusSource, PrometheusSourceConfig, QueryTemplate, QueryType,
    RefreshSpec, SourceRegistry,
};
use fleetgauge_core::histogram::Histogram;
use fleetgauge_testkit::FaultyServer;
use fleetgauge_testkit::faulty;

use super::{
    Fleet, NOW, SECOND, answered, completeness, down, evaluated, matrix, refreshed, refused, shown, vector,
};
use crate::support::rows;

#[tokio::test]
async fn members_are_asked_for_their_part_at_one_time_and_get_their_labels() {
    type Rows = &'static [&'static str];
    let cases: [(&str, Rows, Rows, Rows); 7] = [
        (
            "queue",
            &["name=queue,pod=a 1"],
            &["name=queue,pod=a 2"],
            &[
                r#"queue{cluster="eu", pod="a"} 1"#,
                r#"queue{cluster="us", pod="a"} 2"#,
            ],
        ),
        ("sum(queue)", &["1"], &["2"], &["{} 3"]),
        ("count(queue)", &["3"], &["4"], &["{} 7"]),
        // One that answers with the label that it is to get.
        ("sum(queue)", &["cluster=eu 1"], &["2"], &["{} 3"]),
        (
            "max by (cluster) (queue)",
            &["cluster=eu 1"],
            &["2"],
            &[r#"{cluster="eu"} 1"#, r#"{cluster="us"} 2"#],
        ),
        (
            "topk(1, queue)",
            &["name=queue,pod=a 1"],
            &["name=queue,pod=a 2"],
            &[r#"queue{cluster="us", pod="a"} 2"#],
        ),
        (
            "histogram_quantile(0.5, sum by (le) (rate(b[1m])))",
            &["le=1 4", "le=+Inf 4"],
            &["le=1 0", "le=+Inf 4"],
            &["{} 1"],
        ),
    ];
    for (text, eu, us, expected) in cases {
        let fleet = Fleet::of(eu, us);
        let result = answered(&fleet.source(), text).await;
        assert_eq!(shown(result.answer()), expected, "{text}");
        assert_eq!(completeness(&result).to_string(), "2 of 2 reported", "{text}");
        assert!(result.is_complete(), "{text}");
        for (_, backend) in &fleet.members {
            let asked = backend.asked();
            assert!(
                asked
                    .iter()
                    .all(|request| (request.at, request.now) == (None, Some(NOW))),
                "{text}"
            );
            assert_eq!(asked.len(), 1, "{text}");
        }
    }
}

#[tokio::test]
async fn a_native_histogram_of_a_member_is_refused_by_its_name() {
    let answer = || {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        rows::pairs("name=latency,pod=a").for_each(|(name, value)| answer.label(name, value));
        let histogram = Histogram {
            count: 3.0,
            sum: 4.5,
            buckets: Box::default(),
        };
        answer.end_histogram(histogram, NOW).unwrap();
        FixedBackend::new().answer("q:part0", answer.build())
    };
    for text in ["latency", "sum(latency)", "histogram_count(sum(latency))"] {
        let number = FixedBackend::new().answer("q:part0", vector(&["name=latency,pod=b 7"]));
        let source = Fleet::new([("eu", number), ("us", answer())]).source();
        let says = r#"the native histogram latency{pod="a"}, which is no number"#;
        let error = refused(&source, text).await;
        assert!(error.contains(says), "{text}: {error}");
        // One who would take histograms gets no answer without them either.
        let query = QueryTemplate::promql("q", text).histograms();
        source.query_list().replace(query).unwrap();
        let results = source.refresh(RefreshSpec::queries(["q"])).await;
        let error = format!("{:?}", results["q"].as_ref().expect_err(text));
        assert!(error.contains("native histogram"), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_mean_is_not_the_mean_of_means() {
    let member = |sum, count| {
        FixedBackend::new()
            .answer("q:part0", vector(&[sum]))
            .answer("q:part1", vector(&[count]))
    };
    let fleet = Fleet::new([("eu", member("30", "3")), ("us", member("100", "1"))]);
    let source = fleet.source();
    assert_eq!(shown(answered(&source, "avg(queue)").await.answer()), ["{} 32.5"]);
    let request = Request::new("q".parse().unwrap(), QueryType::PromQl, "avg(queue)", SECOND);
    assert_eq!(
        source.plan(&request).unwrap().to_string(),
        "part0 = sum by (cluster) (queue)\npart1 = count by (cluster) (queue)\nsum(part0) / sum(part1)"
    );
}

#[tokio::test]
async fn what_no_member_can_know_alone_is_finished_here() {
    // One of them has no such series.
    let fleet = Fleet::of(&["name=queue,pod=a 5"], &[]);
    let source = fleet.source();
    for (text, expected) in [
        ("absent(queue)", &[][..]),
        ("scalar(queue)", &["{} 5"]),
        (
            "queue or vector(0)",
            &[r#"queue{cluster="eu", pod="a"} 5"#, "{} 0"],
        ),
        (
            "queue * on (pod) group_left () queue",
            &[r#"{cluster="eu", pod="a"} 25"#],
        ),
        ("quantile(0.5, queue)", &["{} 5"]),
        (r#"absent(queue{pod="b"})"#, &[r#"{pod="b"} 1"#]),
    ] {
        assert_eq!(shown(answered(&source, text).await.answer()), expected, "{text}");
    }
    let pushed: std::collections::BTreeSet<_> = fleet.asked("us").into_iter().map(|(_, text)| text).collect();
    assert_eq!(Vec::from_iter(pushed), ["queue", r#"queue{pod="b"}"#]);
}

#[tokio::test]
async fn samples_are_had_as_they_are() {
    let member = |rows: &[&str]| {
        FixedBackend::new()
            .answer("q:part0", vector(&["1"]))
            .answer("q:part1", matrix(rows))
    };
    let fleet = Fleet::new([
        ("eu", member(&["name=x,pod=a 1@-50 3@-10"])),
        ("us", member(&["name=x,pod=a 5@-70 7@-20"])),
    ]);
    let result = answered(&fleet.source(), "quantile_over_time(scalar(sum(y)) - 1, x[1m])").await;
    assert_eq!(
        shown(result.answer()),
        [r#"{cluster="eu", pod="a"} 3"#, r#"{cluster="us", pod="a"} 7"#]
    );
    assert_eq!(fleet.asked("eu")[1], ("part1".into(), "x[1m]".into()));
}

#[tokio::test]
async fn a_member_that_answers_with_another_members_label_is_an_error() {
    let check = async |eu: &[&str], expected: &str| {
        let fleet = Fleet::of(eu, &["1"]);
        let error = refused(&fleet.source(), "sum(queue)").await;
        assert!(error.contains(expected), "{error}");
    };
    check(
        &["cluster=us 1"],
        r#"missing: eu (the row {cluster="us"} carries cluster="us", and is to get cluster="eu""#,
    )
    .await;
    check(
        &["cluster=eu 1", "2"],
        "some of the rows of sum by (cluster) (queue) carry the labels of the member already, and others do not",
    )
    .await;
}

#[tokio::test]
async fn fewer_members_than_required_are_an_error_and_fewer_than_all_an_incomplete_answer() {
    let fleet = |require| {
        let (up, no) = (FixedBackend::new(), FixedBackend::new());
        let members = [
            ("ap", up.answer("q:part0", vector(&["1"]))),
            ("eu", no.failure("q:part0", down())),
            ("us", FixedBackend::new().answer("q:part0", vector(&["4"]))),
        ];
        Fleet::new(members).with(|config| config.with_require(require))
    };
    let reasons = "2 of 3 reported; missing: eu (backend unavailable (500): the disk is full)";
    for require in [Require::All, Require::AtLeast(3)] {
        let error = evaluated(&fleet(require).source(), "sum(queue)")
            .await
            .unwrap_err();
        let expected = format!("query q: 3 of 3 members are required: {reasons}");
        assert_eq!((error.reason(), error.to_string()), ("members", expected));
    }
    for require in [Require::Majority, Require::Any, Require::AtLeast(1)] {
        let result = answered(&fleet(require).source(), "sum(queue)").await;
        assert_eq!(shown(result.answer()), ["{} 5"]);
        assert!(!result.is_complete());
        assert_eq!(completeness(&result).to_string(), reasons);
        assert_eq!(Vec::from_iter(result.warnings()), [reasons]);
        assert_eq!(completeness(&result).expected(), Some(3));
    }
    // Whether there is any could be known of `eu` alone.
    let nobody = fleet(Require::Any);
    for (_, backend) in [&nobody.members[0], &nobody.members[2]] {
        backend.forget("q:part0");
    }
    let error = evaluated(&nobody.source(), "sum(queue)").await.unwrap_err();
    assert_eq!(error.reason(), "incomplete");
}

#[tokio::test]
async fn a_member_that_fails_one_part_is_in_none() {
    let whole = FixedBackend::new()
        .answer("q:part0", vector(&["1"]))
        .answer("q:part1", vector(&["1"]));
    let half = FixedBackend::new()
        .answer("q:part0", vector(&["9"]))
        .failure("q:part1", down());
    let fleet = Fleet::new([("eu", whole), ("us", half)]).with(|config| config.with_require(Require::Any));
    let result = answered(&fleet.source(), "avg(queue)").await;
    assert_eq!(shown(result.answer()), ["{} 1"]);
    assert!(!result.is_complete());
}

#[tokio::test]
async fn an_answer_that_lacks_something_makes_the_whole_incomplete() {
    let mut partial = AnswerBuilder::new(Stamp::Evaluated);
    partial.series([], 2.0, NOW).unwrap();
    partial.missing("store 3 did not answer");
    let us = FixedBackend::new().answer("q:part0", partial.build());
    let eu = FixedBackend::new().answer("q:part0", vector(&["1"]));
    let fleet = Fleet::new([("eu", eu), ("us", us)]);
    for text in ["sum(queue)", "sum by (cluster) (queue)"] {
        let result = answered(&fleet.source(), text).await;
        assert!(
            !result.is_complete() && result.answer().has_uncounted_loss(),
            "{text}"
        );
        assert_eq!(
            Vec::from_iter(result.warnings()),
            ["member us: store 3 did not answer"],
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_member_costs_its_own_timeout() {
    let hour = Duration::from_secs(3_600);
    let eu = FixedBackend::new()
        .answer("q:part0", vector(&["1"]))
        .delay("q:part0", SECOND);
    let us = FixedBackend::new()
        .answer("q:part0", vector(&["2"]))
        .delay("q:part0", hour);
    let timed = async |fleet: &Fleet| {
        let begun = tokio::time::Instant::now();
        let outcome = evaluated(&fleet.source(), "sum(queue)").await;
        (begun.elapsed(), outcome)
    };
    let fleet = Fleet::new([("eu", eu), ("us", us)]).with(|config| config.with_require(Require::Any));
    // By the timeout of the query, shortly before it ends.
    let (took, outcome) = timed(&fleet).await;
    assert!((9 * SECOND..10 * SECOND).contains(&took), "{took:?}");
    let result = outcome.unwrap();
    assert_eq!(shown(result.answer()), ["{} 1"]);
    assert_eq!(
        completeness(&result).to_string(),
        "1 of 2 reported; missing: us (no answer within 9.8s)"
    );
    // By its own.
    let fleet = fleet.with(|mut config| {
        config.members[1].timeout = Some(2 * SECOND);
        config
    });
    let (took, outcome) = timed(&fleet).await;
    assert!((2 * SECOND..3 * SECOND).contains(&took), "{took:?}");
    assert!(
        outcome
            .unwrap()
            .answer()
            .warnings()
            .any(|warning| warning.contains("no answer within 2s"))
    );
}

#[tokio::test]
async fn a_member_that_has_lost_its_series_does_not_report() {
    let us = FixedBackend::new().answer("q:part0", vector(&["2"]));
    let eu = FixedBackend::new().answer("q:part0", vector(&["1"]));
    let fleet = Fleet::new([("eu", eu), ("us", us.clone())]);
    let source = fleet.source();
    let text = "sum(queue > 0)";
    assert_eq!(shown(answered(&source, text).await.answer()), ["{} 3"]);
    fleet.clock.1.advance(30 * SECOND);

    // Nothing is greater, and the series are there.
    us.forget("q:part0");
    let _ = us.clone().answer("q:present", vector(&["1"]));
    assert_eq!(shown(answered(&source, text).await.answer()), ["{} 1"]);
    fleet.clock.1.advance(30 * SECOND);

    us.forget("q:present");
    let error = refused(&source, text).await;
    let expected = "missing: us (empty: nothing answers group(queue) any more, and 30s ago it did)";
    assert!(error.ends_with(expected), "{error}");
    assert!(
        fleet
            .asked("us")
            .contains(&("present".into(), "group(queue)".into()))
    );

    // By and by it is taken at its word.
    fleet.clock.1.advance(Duration::from_secs(270));
    assert_eq!(shown(answered(&source, text).await.answer()), ["{} 1"]);
    // Whoever never had any is so at once.
    assert!(
        Fleet::of(&[], &[])
            .source()
            .refresh(RefreshSpec::all())
            .await
            .is_complete()
    );
}

#[tokio::test]
async fn ranges_are_asked_for_as_ranges() {
    let member = |row| FixedBackend::new().answer("q:part0", matrix(&[row]));
    let fleet = Fleet::new([
        ("eu", member("pod=a 1@-30 2@-15 3@0 4@60 5@75 6@90")),
        ("us", member("pod=a 10@-15 20@0 30@90")),
    ]);
    let range = |spec: RefreshSpec| spec.range(30 * SECOND, 15 * SECOND);
    let source = fleet.source();
    let result = refreshed(&source, "sum by (pod) (queue)", range).await.unwrap();
    assert_eq!(shown(result.answer()), [r#"{pod="a"} 1@-30 12@-15 23@0"#]);
    assert!(result.is_complete());
    // What is held is continued, and stays complete.
    fleet.clock.1.advance(Duration::from_secs(90));
    let result = refreshed(&source, "sum by (pod) (queue)", range).await.unwrap();
    assert_eq!(shown(result.answer()), [r#"{pod="a"} 4@60 5@75 36@90"#]);
    assert_eq!(completeness(&result).expected(), Some(2));
    // The steps of a subquery are those that members are asked for.
    let result = evaluated(&source, "sum(max_over_time(sum by (pod) (queue)[30s:15s]))").await;
    assert!(result.is_ok(), "{result:?}");
    let mut asked = fleet.members[0].1.asked().into_iter();
    let ages = asked.next_back().unwrap();
    let of_last = "last_over_time(sum by (pod, cluster) (queue)[30s:15s])";
    assert_eq!((&*ages.text, ages.at.is_some()), (of_last, true));
    let subquery = asked.next_back().unwrap();
    assert_eq!(subquery.text, "sum by (pod, cluster) (queue)");
    let steps = subquery.steps(NOW).unwrap().unwrap();
    assert_eq!((steps.count(), steps.step()), (2, 15 * SECOND));
}

/// What it had before is no news of now: a sum that goes on without it would look whole.
#[tokio::test]
async fn a_member_whose_series_end_within_a_range_does_not_report() {
    let member = |row| FixedBackend::new().answer("q:part0", matrix(&[row]));
    let us = member("pod=a 10@-30 20@-15 30@0");
    let fleet = Fleet::new([
        ("eu", member("pod=a 1@-30 1@-15 1@0 1@15 1@30")),
        ("us", us.clone()),
    ]);
    let range = |spec: RefreshSpec| spec.range(30 * SECOND, 15 * SECOND);
    let (source, text) = (fleet.source(), "sum by (pod) (queue)");
    let result = refreshed(&source, text, range).await.unwrap();
    assert_eq!(shown(result.answer()), [r#"{pod="a"} 11@-30 21@-15 31@0"#]);
    fleet.clock.1.advance(30 * SECOND);
    let error = refreshed(&source, text, range).await.unwrap_err().to_string();
    let expected = "missing: us (empty: nothing answers group(queue) any more, and 30s ago it did)";
    assert!(error.ends_with(expected), "{error}");
    // The series are there, and the query lets none of them through.
    let _ = us.answer("q:present", vector(&["1"]));
    let result = refreshed(&source, text, range).await.unwrap();
    assert_eq!(shown(result.answer()), [r#"{pod="a"} 31@0 1@15 1@30"#]);
}

#[tokio::test]
async fn members_that_a_query_leaves_out_are_neither_asked_nor_expected() {
    let eu = FixedBackend::new().answer("q:part0", vector(&["1"]));
    let fleet = Fleet::new([("eu", eu), ("us", FixedBackend::new().failure("q:part0", down()))]);
    let source = fleet.source();
    for text in [
        r#"sum(queue{cluster="eu"})"#,
        r#"sum(queue{cluster!~"us|ap"})"#,
        r#"sum(queue{cluster="eu"} / capacity{cluster="eu"})"#,
    ] {
        let result = answered(&source, text).await;
        assert_eq!(shown(result.answer()), ["{} 1"], "{text}");
        assert_eq!(completeness(&result).to_string(), "1 of 1 reported", "{text}");
    }
    assert!(fleet.asked("us").is_empty());
    let nobody = answered(&source, r#"sum(queue{cluster="ap"})"#).await;
    assert!(nobody.is_no_data() && nobody.is_complete());
    // Here another one would be seen.
    let error = refused(&source, r#"sum(queue{cluster="eu"}) + sum(queue)"#).await;
    assert!(error.contains("1 of 2 reported"), "{error}");
}

#[tokio::test]
async fn ages_are_those_of_the_members_rows() {
    let before = |seconds: i64| Timestamp::from_millis(NOW.as_millis() - seconds * 1_000);
    let scraped = |seconds| rows::vector(Stamp::Sampled, before(seconds), &["name=queue,pod=a 1"]);
    let fleet = |us: Answer| {
        Fleet::new([
            ("eu", FixedBackend::new().answer("q:part0", scraped(4))),
            ("us", FixedBackend::new().answer("q:part0", us)),
        ])
    };
    let age = |result: &MetricResult, row| {
        let age = result.age(row);
        (age.duration().map(|age| age.as_secs()), age.kind())
    };
    let result = answered(&fleet(scraped(9)).source(), "queue").await;
    assert_eq!(age(&result, 0), (Some(4), AgeKind::Exact));
    assert_eq!(age(&result, 1), (Some(9), AgeKind::Exact));
    let result = answered(&fleet(scraped(9)).source(), "sum(queue)").await;
    assert_eq!(age(&result, 0), (Some(9), AgeKind::Exact));
    // A Prometheus does not tell them.
    let result = answered(&fleet(vector(&["name=queue,pod=a 1"])).source(), "queue").await;
    assert_eq!(age(&result, 0), (Some(4), AgeKind::Exact));
    assert_eq!(age(&result, 1), (None, AgeKind::Unknown));
    let result = answered(&fleet(vector(&["pod=a 1"])).source(), "sum(queue)").await;
    assert_eq!(age(&result, 0), (None, AgeKind::Unknown));
}

#[tokio::test]
async fn what_is_had_of_members_is_bounded() {
    let fleet = Fleet::of(&["pod=a 1", "pod=b 1"], &["pod=a 1", "pod=b 1"]);
    let check = async |series, bytes, expected: &str| {
        let fleet = Fleet::of(&["pod=a 1", "pod=b 1"], &["pod=a 1", "pod=b 1"])
            .with(|config| config.with_bounds(series, bytes));
        let error = evaluated(&fleet.source(), "quantile(0.5, queue)")
            .await
            .unwrap_err();
        assert_eq!(error.reason(), "too_large");
        assert!(error.to_string().ends_with(expected), "{error}");
    };
    check(3, 1 << 20, "more than 3 series of the members (max_series)").await;
    check(4, 100, "more than 100 bytes of the members (max_bytes)").await;
    answered(
        &fleet.with(|config| config.with_bounds(4, 1 << 20)).source(),
        "quantile(0.5, queue)",
    )
    .await;
}

#[tokio::test]
async fn members_whose_clocks_are_minutes_apart_are_an_error() {
    let answer = |by: i64| {
        let date = std::time::SystemTime::now();
        let by_seconds = Duration::from_secs(by.unsigned_abs());
        let date = if by < 0 {
            date - by_seconds
        } else {
            date + by_seconds
        };
        let answer = faulty::Answer::vector(1.0, &[(&[], 1.0)]);
        answer.header("Date", &httpdate::fmt_http_date(date))
    };
    let check = async |by: i64, expected: Option<&str>| {
        let server = FaultyServer::start([answer(by)]).unwrap();
        let config = PrometheusSourceConfig::new(server.url());
        let request = Request::new("q".parse().unwrap(), QueryType::PromQl, "x", 10 * SECOND);
        let backend = PrometheusBackend::new(&config).unwrap();
        // Nobody but a federation minds.
        backend.fetch(&request).await.unwrap();

        let sources = SourceRegistry::new();
        sources
            .register("eu", Arc::new(PrometheusSource::new(config).unwrap()))
            .unwrap();
        let us = FixedBackend::new()
            .answer("q:part0", vector(&["1"]))
            .into_source();
        sources.register("us", Arc::new(us)).unwrap();
        let config = FederatedConfig::new("fleet")
            .with_member(Member::new("eu", "eu").with_label("cluster", "eu"))
            .with_member(Member::new("us", "us").with_label("cluster", "us"));
        let fleet = FederatedSource::new(config, &sources).unwrap();
        let outcome = evaluated(&fleet, "sum(x)").await;
        match expected {
            None => drop(outcome.unwrap()),
            Some(expected) => {
                let error = outcome.unwrap_err().to_string();
                assert!(
                    error.contains("missing: eu (the clock of the server is "),
                    "{error}"
                );
                assert!(error.contains(expected), "{error}");
            }
        }
    };
    check(600, Some(" ahead of ours; set both clocks by NTP")).await;
    check(-600, Some(" behind ours")).await;
    check(-2, None).await;
    check(3, None).await;
}
