//! What each step does with rows, and with what they stand on.

mod for_variant;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::age::Age;
use crate::completeness::{Completeness, Report};
use crate::pod::PodIdentity;
use crate::policy::Fold;
use crate::query::Folds;
use crate::result::{AnswerBuilder, MetricResult, Origin};
use crate::sample::Stamp;
use crate::variant::{VARIANT_LABEL, VariantIndex, VariantRef, Workload};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

type Row<'a> = (&'a [(&'a str, &'a str)], f64);

fn answer(rows: &[Row<'_>]) -> Answer {
    built(rows, |_| ())
}

fn built(rows: &[Row<'_>], more: impl FnOnce(&mut AnswerBuilder)) -> Answer {
    let mut builder = AnswerBuilder::new(Stamp::Evaluated);
    for (labels, value) in rows {
        builder.series(labels.iter().copied(), *value, NOW).unwrap();
    }
    more(&mut builder);
    builder.build()
}

/// Rows by time: each series with its points (time in seconds, value).
type Rows<'a> = [(&'a [(&'a str, &'a str)], &'a [(i64, f64)])];

fn matrix(rows: &Rows<'_>) -> Answer {
    let mut builder = AnswerBuilder::new(Stamp::Evaluated);
    builder.matrix();
    for (labels, points) in rows {
        labels.iter().for_each(|(name, value)| builder.label(name, value));
        for (time, value) in *points {
            builder.point(*value, Timestamp::from_millis(1_000 * time));
        }
        builder.end_points().unwrap();
    }
    builder.build()
}

fn variants() -> VariantIndex {
    let mut index = VariantIndex::new();
    for (name, workload) in [("llama-va", "llama"), ("qwen-va", "qwen")] {
        let variant = VariantRef::new("chat", name).unwrap();
        index.register(variant, Workload::stateful_set(workload)).unwrap();
    }
    for name in ["one", "other"] {
        let variant = VariantRef::new("chat", name).unwrap();
        index.register(variant, Workload::stateful_set("shared")).unwrap();
    }
    index
}

fn weighted(steps: &[TransformStep], answer: Answer, weights: &[Answer]) -> Result<Answer, TransformError> {
    let result = |answer: &Answer| Arc::new(MetricResult::new("w".parse().unwrap(), NOW, answer.clone()));
    let weights: Vec<_> = weights.iter().map(result).collect();
    let context = TransformContext {
        at: EvaluatedAt::Once(NOW),
        variants: &variants(),
        weights: &weights,
    };
    apply(steps, answer, context)
}

fn done(step: TransformStep, answer: Answer) -> Result<Answer, TransformError> {
    weighted(&[step], answer, &[])
}

/// Rows as text, sorted.
fn shown(answer: &Answer) -> Vec<String> {
    let values = answer
        .values()
        .map(|value| format!("{} {}", value.labels, value.value));
    let mut values: Vec<_> = values.collect();
    values.sort();
    values
}

fn warnings(answer: &Answer) -> String {
    answer.warnings().collect::<Vec<_>>().join("\n")
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn by(fold: Fold) -> TransformStep {
    TransformStep::ByVariant(VariantFold::By(fold))
}

#[test]
fn the_number_in_a_label_becomes_the_value() {
    let step = || TransformStep::LabelToValue("n".to_owned());
    let check = |text: &str, expected: Option<f64>| {
        let labels: &[_] = match text {
            "" => &[("pod", "a")],
            text => &[("n", text), ("pod", "a")],
        };
        let done = done(step(), answer(&[(labels, 1.0)])).unwrap();
        let value = done.values().next().expect("the row stays");
        match expected {
            Some(expected) => {
                assert_eq!(value.value, expected, "{text}");
                assert_eq!(done.warnings().len(), 0, "{text}");
            }
            None => {
                assert!(value.value.is_nan(), "{text}");
                assert!(
                    warnings(&done).contains("is no number in 1 rows"),
                    "{}",
                    warnings(&done)
                );
            }
        }
        assert_eq!(value.labels.get("pod"), Some("a"));
    };
    for (text, number) in [
        ("700", 700.0),
        ("-1.5", -1.5),
        ("1e3", 1000.0),
        ("+2", 2.0),
        (".5", 0.5),
    ] {
        check(text, Some(number));
    }
    for text in [
        "",
        "None",
        "NaN",
        "inf",
        "Infinity",
        "1_000",
        " 7",
        "7 ",
        "0x10",
        "16 tokens",
        "1e999",
        "--1",
        "٧",
    ] {
        check(text, None);
    }
    // Several are named, and the rest counted.
    let rows: Vec<_> = (0..9)
        .map(|i| vec![("pod".to_owned(), format!("p{i}"))])
        .collect();
    let mut builder = AnswerBuilder::new(Stamp::Evaluated);
    for row in &rows {
        let labels = row.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        builder.series(labels, 1.0, NOW).unwrap();
    }
    let done = done(step(), builder.build()).unwrap();
    let told = warnings(&done);
    assert!(
        told.contains("in 9 rows") && told.contains("and 4 more"),
        "{told}"
    );
}

#[test]
fn labels_are_kept_dropped_and_renamed() {
    let row: Row<'_> = (&[("__name__", "m"), ("a", "1"), ("b", "2")], 5.0);
    let check = |change: LabelChange, expected: &str| {
        let done = done(TransformStep::Labels(change), answer(&[row])).unwrap();
        assert_eq!(shown(&done), [expected]);
    };
    check(LabelChange::Keep(names(&["b", "c"])), "{b=\"2\"} 5");
    check(LabelChange::Drop(names(&["b", "c"])), "m{a=\"1\"} 5");
    let rename = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        LabelChange::Rename(pairs.collect())
    };
    check(rename(&[("a", "z")]), "m{b=\"2\", z=\"1\"} 5");
    // All at once.
    check(rename(&[("a", "b"), ("b", "a")]), "m{a=\"2\", b=\"1\"} 5");
    let error = done(TransformStep::Labels(rename(&[("a", "b")])), answer(&[row])).unwrap_err();
    assert!(error.to_string().contains("\"b\" occurs twice"), "{error}");
}

#[test]
fn two_rows_that_become_one_are_an_error() {
    let rows: [Row<'_>; 2] = [
        (&[("pod", "a"), ("rank", "0")], 1.0),
        (&[("pod", "a"), ("rank", "1")], 2.0),
    ];
    for change in [
        LabelChange::Keep(names(&["pod"])),
        LabelChange::Drop(names(&["rank"])),
    ] {
        let error = done(TransformStep::Labels(change), answer(&rows))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("labels makes two rows one: {pod=\"a\"}"),
            "{error}"
        );
    }
}

#[test]
fn what_rows_stand_on_goes_along() {
    let completeness = || {
        let mut known = Completeness::known();
        known.add("a", Report::Reported);
        known.add("b", Report::Missing("timeout"));
        Arc::new(known)
    };
    let given = || {
        let row: Row<'_> = (&[("pod", "llama-0"), ("namespace", "chat"), ("n", "x")], 1.0);
        built(&[row], |builder| {
            builder.age(Age::exact(Duration::from_secs(7)));
            builder.warning("not a counter");
            builder.info("a remark");
            builder.completeness(completeness());
            builder.origin(Arc::new(Origin::new("pods", "q")));
        })
    };
    for step in [
        TransformStep::LabelToValue("n".to_owned()),
        TransformStep::Labels(LabelChange::Drop(names(&["n"]))),
        by(Fold::Sum),
    ] {
        let name = step.name();
        let done = done(step, given()).unwrap();
        let told = done.provenance().expect("it is told");
        assert_eq!(told.age(0), Age::exact(Duration::from_secs(7)), "{name}");
        assert_eq!(done.completeness(), Some(&completeness()), "{name}");
        assert_eq!(&*told.origin().unwrap().source, "pods", "{name}");
        assert!(!done.is_complete() && !done.has_uncounted_loss(), "{name}");
        assert!(warnings(&done).contains("not a counter"), "{name}");
        assert_eq!(warnings(&done).matches("1 of 2 reported").count(), 1, "{name}");
        assert_eq!(done.infos().collect::<Vec<_>>(), ["a remark"], "{name}");
    }
    // A loss that nobody is missing for.
    let lossy = built(&[(&[("pod", "a")], 1.0)], |builder| builder.missing("a limit"));
    let done = done(TransformStep::Labels(LabelChange::Keep(names(&["pod"]))), lossy).unwrap();
    assert!(!done.is_complete() && done.has_uncounted_loss());
    assert_eq!(warnings(&done), "a limit");
}

#[test]
fn pods_of_a_variant_are_folded() {
    let check = |fold: Fold, values: &[f64], expected: f64| {
        let pods: Vec<_> = (0..values.len()).map(|i| format!("llama-{i}")).collect();
        let mut builder = AnswerBuilder::new(Stamp::Evaluated);
        for (pod, value) in pods.iter().zip(values) {
            builder
                .series([("namespace", "chat"), ("pod", pod.as_str())], *value, NOW)
                .unwrap();
        }
        let done = done(by(fold), builder.build()).unwrap();
        assert!(done.is_complete());
        let value = done.values().next().unwrap();
        assert_eq!(
            value.labels.to_string(),
            "{namespace=\"chat\", variant=\"llama-va\"}"
        );
        assert_eq!(
            value.value.to_bits(),
            expected.to_bits(),
            "{fold:?} of {values:?}"
        );
    };
    check(Fold::Sum, &[1.0, 2.5, 3.0], 6.5);
    check(Fold::Max, &[1.0, 2.5, -3.0], 2.5);
    check(Fold::Min, &[1.0, 2.5, -3.0], -3.0);
    check(Fold::Mean, &[1.0, 2.0, 6.0], 3.0);
    // What is not known of a part is not known of the whole, wherever it stands.
    for fold in Fold::ALL {
        check(fold, &[f64::NAN, 2.0], f64::NAN);
        check(fold, &[2.0, f64::NAN, 3.0], f64::NAN);
    }
    assert!(done(by(Fold::Sum), Answer::no_data()).unwrap().is_no_data());
}

#[test]
fn a_pod_that_belongs_to_no_variant_stays_and_is_missed() {
    let rows: [Row<'_>; 5] = [
        (&[("namespace", "chat"), ("pod", "llama-0")], 1.0),
        (&[("namespace", "chat"), ("pod", "stray"), ("instance", "a")], 8.0),
        (&[("namespace", "chat"), ("pod", "stray"), ("instance", "b")], 9.0),
        (&[("namespace", "chat"), ("pod", "shared-0")], 4.0),
        (&[("job", "x")], 5.0),
    ];
    let mut known = Completeness::known();
    for who in ["llama-0", "stray", "shared-0", "x"] {
        known.add(who, Report::Reported);
    }
    let given = built(&rows, |builder| builder.completeness(Arc::new(known)));
    for (given, expected) in [(given, Some(4)), (answer(&rows), None)] {
        let done = done(by(Fold::Sum), given).unwrap();
        assert_eq!(
            shown(&done),
            [
                "{instance=\"a\", namespace=\"chat\", pod=\"stray\", unmapped=\"no_workload_fits\"} 8",
                "{instance=\"b\", namespace=\"chat\", pod=\"stray\", unmapped=\"no_workload_fits\"} 9",
                "{job=\"x\", unmapped=\"no_pod_label\"} 5",
                "{namespace=\"chat\", pod=\"shared-0\", unmapped=\"ambiguous\"} 4",
                "{namespace=\"chat\", variant=\"llama-va\"} 1",
            ]
        );
        let completeness = done.completeness().unwrap();
        assert_eq!((completeness.expected(), completeness.reported()), (expected, 1));
        assert_eq!(completeness.missing().count(), 3);
        assert!(!done.is_complete());
        let told = warnings(&done);
        for reason in [
            "pod stray (no registered workload names its pods like this)",
            "pod shared-0 (ambiguous: chat/one or chat/other)",
            "{job=\"x\"} (the series has no label that names a pod)",
        ] {
            assert!(told.contains(reason), "{told}");
        }
    }
}

#[test]
fn a_label_tells_the_variant_before_names_do() {
    let rows: [Row<'_>; 4] = [
        (
            &[
                ("namespace", "chat"),
                ("pod", "llama-0"),
                (VARIANT_LABEL, "qwen-va"),
            ],
            1.0,
        ),
        (&[("namespace", "chat"), ("pod", "qwen-0")], 2.0),
        (&[("pod", "qwen-1"), (VARIANT_LABEL, "qwen-va")], 4.0),
        (
            &[
                ("namespace", "chat"),
                ("pod", "qwen-2"),
                (VARIANT_LABEL, "Not A Name"),
            ],
            8.0,
        ),
    ];
    let done = done(by(Fold::Sum), answer(&rows)).unwrap();
    let shown = shown(&done);
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(
        shown.contains(&"{namespace=\"chat\", variant=\"qwen-va\"} 3".to_owned()),
        "{shown:?}"
    );
    assert!(
        shown
            .iter()
            .any(|row| row.contains("unmapped=\"no_namespace_label\"} 4")),
        "{shown:?}"
    );
    assert!(
        shown
            .iter()
            .any(|row| row.contains("unmapped=\"bad_variant_label\"} 8")),
        "{shown:?}"
    );
    assert!(!done.is_complete());
}

#[test]
fn a_server_that_only_one_job_gives_the_label_counts_once() {
    let rows: [Row<'_>; 2] = [
        (
            &[
                ("namespace", "chat"),
                ("pod", "llama-0"),
                (VARIANT_LABEL, "llama-va"),
            ],
            3.0,
        ),
        (&[("namespace", "chat"), ("pod", "llama-0")], 3.0),
    ];
    let done = done(by(Fold::Sum), answer(&rows)).unwrap();
    assert_eq!(
        shown(&done),
        [
            "{namespace=\"chat\", pod=\"llama-0\", unmapped=\"twice\"} 3",
            "{namespace=\"chat\", variant=\"llama-va\"} 3",
        ]
    );
    assert!(warnings(&done).contains("the same server is there once more"));
}

#[test]
fn equal_pods_in_two_clusters_stay_two() {
    let rows: [Row<'_>; 2] = [
        (
            &[("cluster", "eu"), ("namespace", "chat"), ("pod", "llama-0")],
            1.0,
        ),
        (
            &[("cluster", "us"), ("namespace", "chat"), ("pod", "llama-0")],
            2.0,
        ),
    ];
    let done = done(by(Fold::Sum), answer(&rows)).unwrap();
    assert_eq!(
        shown(&done),
        [
            "{cluster=\"eu\", namespace=\"chat\", variant=\"llama-va\"} 1",
            "{cluster=\"us\", namespace=\"chat\", variant=\"llama-va\"} 2",
        ]
    );
}

#[test]
fn a_variant_is_as_old_as_its_oldest_pod() {
    let aged = |ages: [Option<u64>; 3]| {
        let mut builder = AnswerBuilder::new(Stamp::Evaluated);
        for (pod, age) in ["llama-0", "llama-1", "qwen-0"].into_iter().zip(ages) {
            builder
                .series([("namespace", "chat"), ("pod", pod)], 1.0, NOW)
                .unwrap();
            builder.age(age.map_or(Age::UNKNOWN, |age| Age::exact(Duration::from_secs(age))));
        }
        let done = done(by(Fold::Sum), builder.build()).unwrap();
        let told = done.provenance().unwrap();
        [0, 1].map(|row| told.age(row).duration().map(|age| age.as_secs()))
    };
    assert_eq!(aged([Some(3), Some(9), Some(1)]), [Some(9), Some(1)]);
    assert_eq!(aged([Some(3), None, Some(1)]), [None, Some(1)]);
    // Where the samples say it themselves.
    let mut builder = AnswerBuilder::new(Stamp::Sampled);
    for (pod, time) in [("llama-0", 5_000), ("llama-1", 3_000)] {
        let labels = [("namespace", "chat"), ("pod", pod)];
        builder.series(labels, 1.0, Timestamp::from_millis(time)).unwrap();
    }
    let done = done(by(Fold::Sum), builder.build()).unwrap();
    assert_eq!(
        done.values().next().unwrap().sampled_at(),
        Some(Timestamp::from_millis(3_000))
    );
    assert_eq!(done.len(), 1);
}

const WEIGHTED: &str = "rate";

fn weigh(values: &[Row<'_>], weights: &[Row<'_>]) -> Answer {
    let step = TransformStep::ByVariant(VariantFold::WeightedBy(WEIGHTED.to_owned()));
    weighted(&[step], answer(values), &[answer(weights)]).unwrap()
}

const LLAMA_0: &[(&str, &str)] = &[("namespace", "chat"), ("pod", "llama-0")];
const LLAMA_1: &[(&str, &str)] = &[("namespace", "chat"), ("pod", "llama-1")];

#[test]
fn means_are_weighted() {
    let done = weigh(
        &[(LLAMA_0, 1.0), (LLAMA_1, 4.0)],
        &[(LLAMA_0, 2.0), (LLAMA_1, 1.0)],
    );
    assert_eq!(shown(&done), ["{namespace=\"chat\", variant=\"llama-va\"} 2"]);
    assert!(done.is_complete());
    // The metric name of the weights, and an idle pod without a value, make no difference.
    let named: &[_] = &[("__name__", "rate"), ("namespace", "chat"), ("pod", "llama-0")];
    let done = weigh(&[(LLAMA_0, 1.5)], &[(named, 2.0), (LLAMA_1, 0.0)]);
    assert_eq!(shown(&done), ["{namespace=\"chat\", variant=\"llama-va\"} 1.5"]);
    assert!(done.is_complete(), "{}", warnings(&done));
}

#[test]
fn what_has_no_weight_is_not_left_out_silently() {
    // No weight, and weights that are none.
    for weight in [None, Some(f64::NAN), Some(-1.0), Some(f64::INFINITY)] {
        let mut weights: Vec<Row<'_>> = vec![(LLAMA_0, 2.0)];
        weights.extend(weight.map(|weight| (LLAMA_1, weight)));
        let done = weigh(&[(LLAMA_0, 1.0), (LLAMA_1, 4.0)], &weights);
        assert!(done.values().next().unwrap().value.is_nan(), "{weight:?}");
        assert!(!done.is_complete(), "{weight:?}");
        assert!(
            warnings(&done).contains("pod=\"llama-1\"} has no weight"),
            "{}",
            warnings(&done)
        );
    }
    // All weights zero: a mean of nothing.
    let done = weigh(&[(LLAMA_0, 1.0)], &[(LLAMA_0, 0.0)]);
    assert!(done.values().next().unwrap().value.is_nan());
    // A pod that counts and has no value.
    let done = weigh(&[(LLAMA_0, 1.0)], &[(LLAMA_0, 2.0), (LLAMA_1, 5.0)]);
    assert_eq!(done.values().next().unwrap().value, 1.0);
    assert!(!done.is_complete());
    assert!(
        warnings(&done).contains("pod=\"llama-1\"} counts, and has no value"),
        "{}",
        warnings(&done)
    );
    // Weights of which some are missing.
    let step = TransformStep::ByVariant(VariantFold::WeightedBy(WEIGHTED.to_owned()));
    let lossy = built(&[(LLAMA_0, 2.0)], |builder| builder.missing("a store is down"));
    let done = weighted(std::slice::from_ref(&step), answer(&[(LLAMA_0, 1.0)]), &[lossy]).unwrap();
    assert!(!done.is_complete());
    assert_eq!(warnings(&done), "rate: a store is down");
    // Weights of which two are of one row.
    let twice = answer(&[
        (LLAMA_0, 2.0),
        (
            &[("__name__", "x"), ("namespace", "chat"), ("pod", "llama-0")],
            3.0,
        ),
    ]);
    let error = weighted(&[step], answer(&[(LLAMA_0, 1.0)]), &[twice]).unwrap_err();
    assert!(matches!(error, TransformError::SameRows { .. }), "{error}");
}

#[test]
fn a_range_is_folded_step_by_step() {
    let given = matrix(&[
        (LLAMA_0, &[(0, 1.0), (15, 2.0)]),
        (LLAMA_1, &[(15, 5.0), (30, 7.0)]),
    ]);
    let points = |answer: &Answer| {
        let series = answer.series().next().unwrap();
        series
            .points()
            .map(|point| (point.timestamp.as_millis() / 1_000, point.value))
            .collect::<Vec<_>>()
    };
    let summed = done(by(Fold::Sum), given.clone()).unwrap();
    assert_eq!(summed.kind(), AnswerKind::Matrix);
    assert_eq!(points(&summed), [(0, 1.0), (15, 7.0), (30, 7.0)]);

    let weights = matrix(&[
        (LLAMA_0, &[(0, 1.0), (15, 3.0)]),
        (LLAMA_1, &[(15, 1.0), (30, 1.0)]),
    ]);
    let step = TransformStep::ByVariant(VariantFold::WeightedBy(WEIGHTED.to_owned()));
    let means = weighted(std::slice::from_ref(&step), given.clone(), &[weights]).unwrap();
    assert_eq!(points(&means), [(0, 1.0), (15, 2.75), (30, 7.0)]);
    assert!(means.is_complete(), "{}", warnings(&means));
    // A weight that is missing at one step.
    let weights = matrix(&[(LLAMA_0, &[(0, 1.0)]), (LLAMA_1, &[(15, 1.0), (30, 1.0)])]);
    let means = weighted(&[step], given, &[weights]).unwrap();
    let values: Vec<_> = points(&means)
        .into_iter()
        .map(|(_, value)| value.is_nan())
        .collect();
    assert_eq!(values, [false, true, false]);
    assert!(!means.is_complete());
}

#[test]
fn a_text_has_no_rows() {
    let mut text = AnswerBuilder::new(Stamp::Evaluated);
    text.text("a", NOW);
    assert_eq!(
        done(by(Fold::Sum), text.build()).unwrap_err(),
        TransformError::Text
    );
}

#[test]
fn steps_are_done_one_after_another() {
    let rows: [Row<'_>; 2] = [
        (
            &[("kubernetes_namespace", "chat"), ("pod", "llama-0"), ("n", "3")],
            1.0,
        ),
        (
            &[("kubernetes_namespace", "chat"), ("pod", "llama-1"), ("n", "4")],
            1.0,
        ),
    ];
    let steps = [
        TransformStep::LabelToValue("n".to_owned()),
        TransformStep::Labels(LabelChange::Rename(vec![(
            "kubernetes_namespace".into(),
            "namespace".into(),
        )])),
        by(Fold::Sum),
    ];
    let done = weighted(&steps, answer(&rows), &[]).unwrap();
    assert_eq!(shown(&done), ["{namespace=\"chat\", variant=\"llama-va\"} 7"]);
}

#[test]
fn steps_are_equal_if_they_do_the_same() {
    assert_eq!(by(Fold::Sum), by(Fold::Sum));
    assert_ne!(by(Fold::Sum), by(Fold::Max));
    assert_ne!(by(Fold::Sum), TransformStep::LabelToValue("sum".to_owned()));
    let weights = [
        by(Fold::Sum),
        TransformStep::ByVariant(VariantFold::WeightedBy("w".into())),
    ];
    assert_eq!(super::weights(&weights).collect::<Vec<_>>(), ["w"]);
}

proptest! {
    /// Whatever a label holds, its row stays, and is a number or NaN with a warning.
    #[test]
    fn any_label_is_a_number_or_undefined(text in "\\PC{0,12}|[-+.eE0-9]{0,8}") {
        let given = answer(&[(&[("n", text.as_str()), ("pod", "a")], 1.0)]);
        let done = done(TransformStep::LabelToValue("n".to_owned()), given).unwrap();
        prop_assert_eq!(done.len(), 1);
        let value = done.values().next().unwrap().value;
        prop_assert!(!value.is_infinite());
        prop_assert_eq!(value.is_nan(), done.warnings().len() == 1);
    }

    /// Nothing is lost on the way to variants: what is folded and what stays add up to all there was.
    #[test]
    fn a_sum_by_variant_is_the_sum(
        pods in prop::collection::btree_map(
            ("(llama|qwen|shared|stray)-[0-3]", "(|eu|us)", "(|llama-va|new)"), 1u32..1000, 0..12,
        )
    ) {
        let mut builder = AnswerBuilder::new(Stamp::Evaluated);
        for ((pod, cluster, variant), value) in &pods {
            let labels = [("cluster", cluster), ("pod", pod), (VARIANT_LABEL, variant)];
            let labels = labels.map(|(name, value)| (name, value.as_str()));
            builder.series(labels.into_iter().chain([("namespace", "chat")]), f64::from(*value), NOW).unwrap();
        }
        let done = done(by(Fold::Sum), builder.build()).unwrap();
        let sum: f64 = done.values().map(|value| value.value).sum();
        prop_assert_eq!(sum, f64::from(pods.values().sum::<u32>()));
        let stays = done.values().any(|value| value.labels.get(UNMAPPED).is_some());
        prop_assert_eq!(done.is_complete(), !stays);
        prop_assert!(done.duplicate_series().is_none());
    }
}

#[test]
fn a_step_prints_as_it_is_written() {
    let check = |step: TransformStep, expected: &str| assert_eq!(step.to_string(), expected);
    check(by(Fold::Sum), "by_variant: sum");
    check(
        TransformStep::ByVariant(VariantFold::WeightedBy("q".into())),
        "by_variant: {weighted_by: q}",
    );
    check(
        TransformStep::LabelToValue("blocks".into()),
        "label_to_value: blocks",
    );
    let labels = || vec!["a".to_owned(), "b".to_owned()];
    check(
        TransformStep::Labels(LabelChange::Keep(labels())),
        r#"labels: {keep: ["a", "b"]}"#,
    );
    check(
        TransformStep::Labels(LabelChange::Rename(vec![("a".into(), "b".into())])),
        r#"labels: {rename: {"a": "b"}}"#,
    );
}

// --- the rows of a metric as one ---

const PER_POD_AND_VARIANT: Folds = Folds::new(Fold::Max, Fold::Sum);

#[test]
fn rows_become_one_pod_by_pod() {
    let rows: &[Row<'_>] = &[
        (&[("pod", "a"), ("instance", "a:1")], 2.0),
        (&[("pod", "a"), ("instance", "a:2")], 5.0),
        (&[("pod", "b")], 4.0),
        (&[("queue", "q")], 1.0),
    ];
    let values = |answer: &Answer| {
        answer
            .values()
            .map(|v| (v.labels.to_string(), v.value))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        values(&fold(&answer(rows), PER_POD_AND_VARIANT)),
        [("{}".to_owned(), 10.0)]
    );
    assert!(fold(&answer(&[]), PER_POD_AND_VARIANT).is_no_data());
    let undefined = fold(
        &answer(&[rows[0], (&[("pod", "c")], f64::NAN)]),
        PER_POD_AND_VARIANT,
    );
    assert!(undefined.values().all(|value| value.is_undefined()) && undefined.len() == 1);

    let ages = [1, 9, 3, 2].map(|seconds| Age::exact(Duration::from_secs(seconds)));
    let aged = answer(rows).with_ages(ages.to_vec());
    let folded = fold(&aged, PER_POD_AND_VARIANT);
    assert_eq!(
        folded.provenance().unwrap().age(0).duration(),
        Some(Duration::from_secs(9))
    );
}
