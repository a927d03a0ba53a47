//! How old what looks back over the steps of members is, and whether it has ended: pods that are scraped, in two clusters.

use std::sync::Arc;

use fleetgauge::federated::{FederatedConfig, FederatedSource, Member};
use fleetgauge::policy::Policy;
use fleetgauge::reading::{Reading, ReadingSpec, Readings, ReasonCode};
use fleetgauge::source::Outcome;
use fleetgauge::time::{Clock, Timestamp};
use fleetgauge::{MetricsSource, Params, SourceRegistry};

use super::evaluated;
use crate::support::fleet::{Fleet, SECOND, START, config, page};

/// Pods `a` and `b` in the one cluster, `c` in the other.
struct Clusters {
    eu: Fleet,
    us: Fleet,
    both: FederatedSource,
}

impl Clusters {
    async fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_millis(START * 1_000));
        let eu = Fleet::by(&[("a", page("x 1")), ("b", page("x 6"))], config(), &clock);
        let us = Fleet::by(&[("c", page("x 2"))], config(), &clock);
        let sources = SourceRegistry::new();
        sources.register("eu", Arc::new(eu.source.clone())).unwrap();
        sources.register("us", Arc::new(us.source.clone())).unwrap();
        let config = ["eu", "us"]
            .into_iter()
            .fold(FederatedConfig::new("fleet"), |config, name| {
                config.with_member(Member::new(name, name).with_label("cluster", name))
            });
        let both = FederatedSource::with_clock(config, &sources, clock.0.clone()).unwrap();
        let clusters = Self { eu, us, both };
        clusters.passes(0).await;
        clusters
    }

    /// Lets so many seconds pass, and scrapes all pods.
    async fn passes(&self, seconds: u32) {
        self.eu.hands.advance(seconds * SECOND);
        for fleet in [&self.eu, &self.us] {
            fleet.ask("x").await.unwrap();
        }
    }
}

/// The number, its age in seconds, and whether it has ended.
fn told(outcome: Outcome) -> (f64, Option<u64>, bool) {
    let result = outcome.unwrap();
    let age = result.age(0);
    let value = result.values().next().unwrap().value;
    (value, age.duration().map(|age| age.as_secs()), age.is_ended())
}

#[tokio::test]
async fn a_subquery_over_members_has_ended_where_it_has_in_one_of_them() {
    let mut clusters = Clusters::new().await;
    clusters.passes(1).await;
    let texts = [
        "max_over_time(sum(x)[5s:1s])",
        "max_over_time(sum(rate(x[5s]) or x)[5s:1s])",
        "quantile_over_time(scalar(count(x)) / 9, x[5s])",
    ];
    for text in texts {
        let alone = told(clusters.eu.ask(text).await);
        let both = told(evaluated(&clusters.both, text).await);
        assert_eq!((both.1, both.2), (alone.1, false), "{text}");
    }
    clusters.eu.remove("b").await;
    clusters.passes(1).await;
    for text in texts {
        let alone = clusters.eu.ask(text).await.unwrap();
        let has_ended =
            |result: &fleetgauge::MetricResult| (0..result.len()).any(|row| result.age(row).is_ended());
        let both = evaluated(&clusters.both, text).await.unwrap();
        assert_eq!((has_ended(&alone), has_ended(&both)), (true, true), "{text}");
    }
    // What nobody looks back at is no matter of it any more.
    clusters.passes(9).await;
    for text in texts {
        let (_, age, has_ended) = told(evaluated(&clusters.both, text).await);
        assert_eq!((age.is_some(), has_ended), (true, false), "{text}");
    }
}

/// Guards against the number of a moment ago that goes on as one of now while a shard is known not to report.
#[tokio::test]
async fn a_member_that_stops_withholds_what_it_was_part_of_at_once() {
    let mut clusters = Clusters::new().await;
    let read = |clusters: &Clusters, policy: Policy| {
        let spec = ReadingSpec::new("queue", "q".parse().unwrap()).policy(policy);
        let readings = Readings::new(spec, clusters.eu.clock.clone()).unwrap();
        readings.update(&clusters.both.lookup("q", &Params::new()), None);
        let mut reader = readings.reader();
        let of = |reading: Reading<'_>| {
            (
                reading.value(),
                reading.reason().map(|reason| (reason.code, reason.text.clone())),
            )
        };
        of(reader.get(&[]))
    };
    let _ = evaluated(&clusters.both, "sum(x)").await.unwrap();
    assert_eq!(read(&clusters, Policy::default()), (Some(9.0), None));
    // Its pod fails, and there is nothing of it.
    let (_, server) = clusters.us.remove("c").await;
    drop(server);
    clusters.eu.hands.advance(SECOND);
    let refreshed = clusters
        .both
        .refresh(fleetgauge::RefreshSpec::queries(["q"]))
        .await;
    assert!(refreshed["q"].is_err(), "{refreshed:?}");
    assert!(clusters.both.get("q", &Params::new()).is_some());
    let (value, reason) = read(&clusters, Policy::default());
    let (code, text) = reason.unwrap();
    assert_eq!((value, code), (None, ReasonCode::Failed));
    assert!(text.contains("1 of 2 reported; missing: us"), "{text}");
}
