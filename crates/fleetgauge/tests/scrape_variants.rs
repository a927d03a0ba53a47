//! What is read of one variant of those that are scraped, and whom it stands on.

use fleetgauge::policy::Fold;
use fleetgauge::query::Folds;
use fleetgauge::variant::{VariantIndex, VariantRef, Workload};
use fleetgauge_core::transform::fold_for_variant;
use fleetgauge_testkit::Answer;

use crate::support::fleet::{Fleet, page};

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
