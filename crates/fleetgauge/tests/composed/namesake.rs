//! Two clusters that are scraped by a source each, and have pods of one name.

use std::sync::Arc;

use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::policy::Fold;
use fleetgauge::query::Folds;
use fleetgauge::scrape::{ScrapeConfig, ScrapeSource};
use fleetgauge::target::{StaticTargets, TargetDiscovery};
use fleetgauge::{MetricsSource, QueryTemplate, SourceRegistry};
use fleetgauge_core::transform::fold;
use fleetgauge_testkit::{Answer, FaultyServer};

use super::evaluated;
use crate::support::scrape::NEVER;

/// Two pods, and what is composed of both.
struct Clusters {
    pods: [FaultyServer; 2],
    composed: ComposedSource,
}

impl Clusters {
    /// A pod `chat/llama-0` in each, with these queues; `labels` is a label that all series of each source get, and the sources
    /// may scrape the pod of the first cluster both.
    fn new(labels: Option<[&str; 2]>, is_one_pod: bool) -> Self {
        let pods = [200, 2].map(|queue| {
            let page = Answer::text(format!("queue {queue}\nslots 1\n"));
            FaultyServer::start([page]).unwrap()
        });
        let sources = SourceRegistry::new();
        for (place, name) in ["eu", "us"].into_iter().enumerate() {
            let pod = if is_one_pod { &pods[0] } else { &pods[place] };
            let address = pod.addr().to_string();
            let targets = StaticTargets::default().with_target([
                ("__address__", &*address),
                ("namespace", "chat"),
                ("pod", "llama-0"),
            ]);
            let mut config = ScrapeConfig::new(name).with_interval(NEVER);
            if let Some(labels) = labels {
                config = config.with_label("cluster", labels[place]);
            }
            let source =
                ScrapeSource::start(config, [Arc::new(targets) as Arc<dyn TargetDiscovery>]).unwrap();
            for text in ["queue", "slots"] {
                let by = "namespace, pod, instance, cluster";
                let text = format!("max by ({by}) ({text})");
                let name = if text.contains("queue") { "queue" } else { "slots" };
                source
                    .query_list()
                    .must_register(QueryTemplate::promql(name, text));
            }
            sources.register(name, Arc::new(source)).unwrap();
        }
        let config = ComposedConfig::new("fleet")
            .with_input(Input::new("eu", "eu", "queue"))
            .with_input(Input::new("eu_slots", "eu", "slots"))
            .with_input(Input::new("us", "us", "queue"));
        Self {
            composed: ComposedSource::new(config, &sources).unwrap(),
            pods,
        }
    }

    /// The rows of a query as one number, and what its answer lacks.
    async fn folded(&self, text: &str) -> (f64, Option<String>) {
        let result = evaluated(&self.composed, text).await.unwrap();
        let folded = fold(result.answer(), Folds::new(Fold::Max, Fold::Sum));
        assert_eq!(folded.is_complete(), !folded.has_uncounted_loss());
        let mut warnings = folded.warnings();
        let lost = folded
            .has_uncounted_loss()
            .then(|| warnings.next().unwrap().to_owned());
        (folded.values().next().unwrap().value, lost)
    }
}

#[tokio::test]
async fn pods_of_one_name_in_two_clusters_are_not_taken_for_one() {
    let clusters = Clusters::new(None, false);
    let [eu, us] = clusters.pods.each_ref().map(FaultyServer::addr);
    let places = |lost: &str| {
        lost.contains(&format!("chat/llama-0 at {eu} (eu"))
            && lost.contains(&format!("and at {us} (us), are one"))
    };
    for text in [
        "eu or us",
        "{__name__=~'eu|us'}",
        "sum by (namespace, pod) (eu) or sum by (namespace, pod) (us)",
        "sum(sum by (namespace, pod) (eu) or sum by (namespace, pod) (us))",
        "sum(eu or on (pod) us)",
        "us / on (pod) eu_slots",
        "us and on (namespace, pod) eu_slots",
        "sum(max by (namespace, pod) (eu or us))",
        "count(group by (pod) ({__name__=~'eu|us'}))",
        "sum(max without (instance, job) (eu or us))",
        "sum(topk by (pod) (1, eu or us))",
    ] {
        let (_, lost) = clusters.folded(text).await;
        assert!(lost.as_deref().is_some_and(places), "{text}: {lost:?}");
    }
    // Each is counted before it is added to the other, or stands beside it.
    for (text, sum) in [
        ("sum(eu) + sum(us)", 202.0),
        ("sum(eu or us)", 202.0),
        ("sum(max by (namespace, pod, instance) (eu or us))", 202.0),
        ("sum({__name__=~'eu|us'})", 202.0),
        ("eu", 200.0),
        ("eu / on (pod) eu_slots", 200.0),
        ("eu + on () group_left () sum(us)", 202.0),
        (
            "label_replace(eu, 'cluster', 'eu', '', '') or label_replace(us, 'cluster', 'us', '', '')",
            202.0,
        ),
    ] {
        assert_eq!(clusters.folded(text).await, (sum, None), "{text}");
    }
}

#[tokio::test]
async fn pods_that_a_label_tells_apart_are_two_and_a_pod_that_two_sources_scrape_is_one() {
    let clusters = Clusters::new(Some(["eu", "us"]), false);
    assert_eq!(clusters.folded("eu or us").await, (202.0, None));
    let by_name = "sum by (namespace, pod) (eu or us)";
    assert!(clusters.folded(by_name).await.1.is_some());
    let clusters = Clusters::new(Some(["eu", "eu"]), false);
    assert!(clusters.folded("eu or us").await.1.is_some());
    let clusters = Clusters::new(None, true);
    assert_eq!(clusters.folded("eu or us").await, (200.0, None));
    assert_eq!(clusters.folded("us / on (pod) eu_slots").await, (200.0, None));
}
