//! Values sorted by variant.

use super::*;
use crate::result::AnswerBuilder;
use crate::sample::{Number, Stamp};
use crate::time::Timestamp;

fn result(series: &[(&[(&str, &str)], f64)]) -> MetricResult {
    let now = Timestamp::from_millis(1);
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    for (labels, value) in series {
        answer.series(labels.iter().copied(), *value, now).unwrap();
    }
    MetricResult::new("q".parse().unwrap(), now, answer.build())
}

#[test]
fn a_join_sorts_values_by_variant_and_keeps_the_rest() {
    let mapper = mapper(&[
        ("b/s", "StatefulSet/both"),
        ("a/s", "StatefulSet/both"),
        ("a/d", "Deployment/llama"),
        ("a/idle", "Deployment/idle"),
    ]);
    let result = result(&[
        (&[("namespace", "b"), ("pod", "both-0")], 1.0),
        (&[("namespace", "a"), ("pod", "llama-7d9c5b6f4-x2x9z")], 2.0),
        (&[("pod", "both-0")], 3.0),
        (&[("namespace", "b"), ("pod", "both-1")], f64::NAN),
        (&[("namespace", "c"), ("pod", "both-0")], 5.0),
        (&[("namespace", "a")], 6.0),
        (&[("pod", "llama-7d9c5b6f4-x2x9z")], 0.0),
    ]);
    let join = mapper.join(&result);
    let variants: Vec<_> = join
        .variants()
        .map(|(v, values)| (v.as_str(), values.len()))
        .collect();
    assert_eq!(variants, [("a/d", 2), ("b/s", 2)]);
    let of = |of: &str| -> Option<Vec<String>> {
        let values = join.for_variant(&variant(of))?;
        Some(values.iter().map(|v| Number(v.value).to_string()).collect())
    };
    assert_eq!(of("a/d").unwrap(), ["2", "0"]);
    assert_eq!(of("b/s").unwrap(), ["1", "NaN"], "undefined values stay visible");
    assert_eq!(
        of("a/idle"),
        None,
        "no data is not an empty list that sums to zero"
    );
    let [ambiguous] = join.ambiguous() else {
        panic!("{:?}", join.ambiguous())
    };
    assert_eq!(*ambiguous.candidates, [variant("a/s"), variant("b/s")]);
    let unmapped: Vec<_> = join
        .unmapped()
        .iter()
        .map(|u| (u.value.value, u.pod.map(|pod| pod.to_string()), u.reason.reason()))
        .collect();
    assert_eq!(
        unmapped,
        [
            (5.0, Some("c/both-0".to_owned()), "unknown_namespace"),
            (6.0, None, "no_pod_label"),
        ]
    );
    assert!(!join.is_complete());
}

#[test]
fn the_labels_that_name_the_pod_are_chosen() {
    let mapper = mapper(&[("a/s", "StatefulSet/qwen"), ("b/s", "StatefulSet/qwen")]);
    let result = result(&[
        (
            &[("namespace", "a"), ("pod", "epp-0"), ("endpoint_name", "qwen-0")],
            1.0,
        ),
        (
            &[("namespace", "a"), ("pod", "epp-0"), ("pod_name", "qwen-1")],
            2.0,
        ),
        (
            &[
                ("namespace", "x"),
                ("exported_namespace", "b"),
                ("pod_name", "qwen-1"),
            ],
            3.0,
        ),
    ]);
    let counts = |labels: PodLabels| {
        let join = mapper.join_by(&result, &labels);
        let count = |of| join.for_variant(&variant(of)).map_or(0, <[_]>::len);
        (
            count("a/s"),
            count("b/s"),
            join.ambiguous().len(),
            join.unmapped().len(),
        )
    };
    assert_eq!(counts(PodLabels::default()), (0, 0, 0, 3));
    let endpoints = PodLabels::default().with_pod(["endpoint_name", "pod_name"]);
    assert_eq!(counts(endpoints.clone()), (2, 0, 0, 1));
    assert_eq!(
        counts(endpoints.clone().with_namespace("exported_namespace")),
        (0, 1, 2, 0)
    );
    assert_eq!(counts(endpoints.without_namespace()), (0, 0, 3, 0));
}

#[test]
fn what_the_endpoint_picker_says_of_ranks_is_their_pods() {
    let mapper = mapper(&[("a/s", "StatefulSet/qwen")]);
    let named = |label, pod| [("namespace", "a"), ("pod", "epp-0"), (label, pod)];
    let result = result(&[
        (&named("model_server_pod", "qwen-0-rank-0"), 1.0),
        (&named("endpoint_name", "qwen-0-rank-1"), 2.0),
        (&named("pod_name", "qwen-1"), 3.0),
        (&named("pod_name", "gemma-0-rank-1"), 4.0),
    ]);
    let labels = PodLabels::default().with_pod(["model_server_pod", "endpoint_name", "pod_name"]);
    let join = mapper.join_by(&result, &labels);
    let values = join.for_variant(&variant("a/s")).unwrap().iter().map(|v| v.value);
    assert_eq!(values.collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    let [unmapped] = join.unmapped() else {
        panic!("{:?}", join.unmapped())
    };
    assert_eq!(
        unmapped.pod.unwrap().to_string(),
        "a/gemma-0-rank-1",
        "named as the series names it"
    );
}

#[test]
fn a_join_of_no_data_has_no_variant() {
    let mapper = mapper(&[("a/d", "Deployment/llama")]);
    let result = result(&[]);
    let join = mapper.join(&result);
    assert_eq!(
        (join.variants().len(), join.for_variant(&variant("a/d"))),
        (0, None)
    );
}

#[test]
fn a_label_names_the_variant_before_names_are_asked() {
    let mapper = mapper(&[("a/d", "Deployment/llama"), ("a/s", "StatefulSet/both")]);
    let result = result(&[
        (
            &[("namespace", "a"), ("pod", "both-0"), (VARIANT_LABEL, "d")],
            1.0,
        ),
        // Registered or not, and whatever else it has.
        (&[("namespace", "a"), (VARIANT_LABEL, "new")], 2.0),
        (&[("pod", "both-1"), (VARIANT_LABEL, "d")], 3.0),
        (
            &[("namespace", "a"), ("pod", "both-2"), (VARIANT_LABEL, "No Name")],
            4.0,
        ),
        (&[("namespace", "a"), ("pod", "both-3")], 5.0),
    ]);
    let join = mapper.join(&result);
    let values = |of: &str| join.for_variant(&variant(of)).map(|values| values[0].value);
    assert_eq!(
        (values("a/d"), values("a/new"), values("a/s")),
        (Some(1.0), Some(2.0), Some(5.0))
    );
    let unmapped: Vec<_> = join
        .unmapped()
        .iter()
        .map(|u| (u.value.value, u.reason.reason()))
        .collect();
    assert_eq!(
        unmapped,
        [(3.0, "no_namespace_label"), (4.0, "bad_variant_label")]
    );
    // Where names alone are to tell, or another label.
    let join = mapper.join_by(&result, &PodLabels::default().without_variant());
    assert_eq!(join.for_variant(&variant("a/s")).map(<[_]>::len), Some(4));
    let join = mapper.join_by(&result, &PodLabels::default().with_variant("pod"));
    assert_eq!(join.for_variant(&variant("a/both-3")).map(<[_]>::len), Some(1));
}
