//! What is read of one variant of those that are scraped, and whom it stands on.

use fleetgauge::policy::Fold;
use fleetgauge::query::Folds;
use fleetgauge::variant::{VariantIndex, VariantRef, Workload};
use fleetgauge_core::transform::{fold, fold_for_variant};
use fleetgauge_testkit::Answer;

use crate::support::fleet::{Fleet, SECOND, config, page};
use crate::support::scrape::until;

/// The numbers of the rows of the variant `name`, and how complete they are.
async fn of(fleet: &Fleet, query: &str, name: &str) -> (Vec<f64>, String) {
    let variant = |name: &str| VariantRef::new("chat", name).unwrap();
    let mut index = VariantIndex::new();
    for workload in ["llama", "qwen"] {
        index
            .register(variant(workload), Workload::stateful_set(workload))
            .unwrap();
    }
    let result = fleet.ask(query).await.unwrap();
    let folds = Folds::new(Fold::Max, Fold::Sum);
    let folded = fold_for_variant(result.answer(), folds, &variant(name), &index);
    let completeness = folded.completeness().unwrap();
    assert_eq!(folded.is_complete(), completeness.is_whole(), "{completeness}");
    let values = folded.values().map(|value| value.value).collect();
    (values, completeness.to_string())
}

#[tokio::test]
async fn a_variants_row_that_is_computed_from_anothers_pod_stands_on_that_pod() {
    let fleet = Fleet::new(&[("llama-0", page("x 2\ny 1")), ("qwen-0", page("x 3\ny 4"))]);
    fleet.ask("x").await.unwrap();
    fleet.answers("qwen-0", Answer::status(500));
    for query in [
        "x",
        "x / on (namespace, pod) y",
        "sum by (namespace, pod) (rate(x[1d]) + x)",
        "x or y",
    ] {
        let (_, completeness) = of(&fleet, query, "llama").await;
        assert!(
            completeness.starts_with("1 of 1 reported"),
            "{query}: {completeness}"
        );
    }
    for (query, value) in [
        ("x * on () group_left () sum(y)", 10.0),
        ("x / on (namespace) group_left () sum by (namespace) (x)", 0.4),
        ("x * scalar(max(y))", 8.0),
        ("x and on (namespace) (x > 2)", 2.0),
        ("topk(2, x)", 2.0),
        ("label_replace(x{pod='qwen-0'}, 'pod', 'llama-0', '', '')", 3.0),
    ] {
        let (values, completeness) = of(&fleet, query, "llama").await;
        assert_eq!(values, [value], "{query}");
        assert!(
            completeness.contains("missing: chat/qwen-0"),
            "{query}: {completeness}"
        );
    }
}

/// What is scaled down in order is gone: its queue of a minute ago is no reason to hold that of the others.
#[tokio::test]
async fn a_pod_that_left_in_order_does_not_withhold_the_sum_of_the_others() {
    let pods = ["llama-0", "llama-1", "qwen-0"].map(|pod| (pod, page("x 1\ny 1")));
    let mut fleet = Fleet::with_config(&pods, config().with_stale_after(10 * SECOND));
    let queries = [
        "max by (namespace, pod) (max_over_time(x[1m]))",
        "x * on () group_left () sum(max_over_time(y[1m]))",
    ];
    let [by_pod, mixed] = queries;
    fleet.ask(by_pod).await.unwrap();
    fleet.hands.advance(SECOND);
    fleet.remove("llama-1").await;
    fleet.hands.advance(SECOND);
    assert_eq!(
        of(&fleet, by_pod, "llama").await,
        (vec![1.0], "1 of 1 reported".to_owned())
    );
    let folds = Folds::new(Fold::Max, Fold::Sum);
    let folded = async |query: &str| {
        let result = fleet.ask(query).await.unwrap();
        let folded = fold(result.answer(), folds);
        let told = folded.provenance().unwrap();
        let value = folded.values().next().unwrap().value;
        (
            value,
            told.age(0).is_ended(),
            told.ended().map(ToString::to_string),
            folded.warnings().collect::<String>(),
        )
    };
    let (value, is_ended, _, warnings) = folded(by_pod).await;
    assert_eq!((value, is_ended), (2.0, false));
    assert!(
        warnings.contains("left out, since they are gone, and only their past is there: pod llama-1"),
        "{warnings}"
    );
    // What was added up before stands on it for as long as the range reaches back.
    let (value, is_ended, ended, _) = folded(mixed).await;
    assert_eq!((value, is_ended), (6.0, true));
    let why = "pod chat/llama-1 (2 s ago); the query looks back at it for 58 s more";
    assert_eq!(ended.as_deref(), Some(why));

    // One that fails is not gone.
    fleet.answers("llama-0", Answer::status(500));
    let _ = fleet.ask(by_pod).await;
    fleet.hands.advance(11 * SECOND);
    let _ = fleet.ask(by_pod).await;
    until("its values are stale", || {
        fleet.source.targets().iter().any(|target| target.is_stale)
    })
    .await;
    let (_, is_ended, ended, _) = folded(by_pod).await;
    assert!(is_ended);
    assert!(ended.unwrap().contains("pod chat/llama-0"));
}
