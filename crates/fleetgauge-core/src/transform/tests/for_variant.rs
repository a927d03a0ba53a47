//! What of an answer concerns one variant.

use super::*;
use crate::pod::VariantPod;
use crate::result::Ended;
use crate::variant::{Mapping, PodIndex, PodRef, UnmappedReason, WorkloadKind};

#[test]
fn of_a_variant_there_are_its_own_pods_and_what_belongs_to_its_model() {
    let variant = |name: &str| VariantRef::new("chat", name).unwrap();
    let mut index = VariantIndex::new();
    index
        .register(variant("h100"), Workload::deployment("llama"))
        .unwrap();
    index
        .register(variant("a100"), Workload::deployment("llama-a100"))
        .unwrap();
    let pod = |name| [("namespace", "chat"), ("pod", name)];
    let own = [
        pod("llama-7d4b9c6f5-xk2vp"),
        pod("llama-7d4b9c6f5-bcdfg"),
        pod("llama-a100-7d4b9c6f5-xk2vp"),
    ];
    let elsewhere = [("namespace", "other"), ("pod", "llama-7d4b9c6f5-xk2vp")];
    let rows: &[Row<'_>] = &[
        (&own[0], 1.0),
        (&own[1], 2.0),
        (&own[2], 4.0),
        (&elsewhere, 8.0),
        (&[("model_name", "llama")], 16.0),
    ];
    let of = |answer: &Answer, name: &str| {
        let folded = fold_for_variant(answer, PER_POD_AND_VARIANT, &variant(name), &index);
        let rows = folded.values().map(|v| (v.label(SCOPE).to_owned(), v.value));
        (rows.collect::<Vec<_>>(), folded.is_complete())
    };
    let model = (SCOPE_MODEL.to_owned(), 16.0);
    assert_eq!(
        of(&answer(rows), "h100"),
        (vec![(String::new(), 3.0), model.clone()], true)
    );
    assert_eq!(
        of(&answer(rows), "a100"),
        (vec![(String::new(), 4.0), model.clone()], true)
    );
    assert_eq!(of(&answer(rows), "l40"), (vec![model.clone()], true));

    // It may be its own, so what there is may be too small.
    let stranger = pod("somebody-else");
    let with_stranger = answer(&[rows[0], (&stranger, 32.0)]);
    assert_eq!(of(&with_stranger, "h100"), (vec![(String::new(), 1.0)], false));
}

/// One of a hundred pods of other variants is no comfort to a variant of two whose one is missing, and the pod of another is
/// not missing from it.
#[test]
fn the_pods_of_other_variants_do_not_count_for_the_completeness_of_one() {
    let variant = |name: &str| VariantRef::new("chat", name).unwrap();
    let mut index = VariantIndex::new();
    for (name, workload) in [("h100", "llama"), ("a100", "qwen")] {
        index
            .register(variant(name), Workload::deployment(workload))
            .unwrap();
    }
    let report = |pod: &str, report: Report<'_>, told: &mut Completeness| {
        let labels = [("namespace", "chat"), ("pod", pod)];
        let pod = PodIdentity::of(|name| labels.iter().find(|label| label.0 == name).map(|label| label.1));
        let pod = Arc::new(pod.unwrap());
        told.add_pod(&pod, &pod.to_string(), report);
    };
    let told = |missing: &[&str]| {
        let mut told = Completeness::known();
        for pod in [
            "llama-7d4b9c6f5-xk2vp",
            "llama-7d4b9c6f5-bcdfg",
            "qwen-7d4b9c6f5-xk2vp",
            "stranger",
        ] {
            let done = match missing.contains(&pod) {
                true => Report::Missing("it fails"),
                false => Report::Reported,
            };
            report(pod, done, &mut told);
        }
        Arc::new(told)
    };
    let pod = |pod| [("namespace", "chat"), ("pod", pod)];
    let rows = [pod("llama-7d4b9c6f5-xk2vp"), pod("qwen-7d4b9c6f5-xk2vp")];
    let by_pod: [Row<'_>; 2] = [(&rows[0], 1.0), (&rows[1], 2.0)];
    let of = |rows: &[Row<'_>], told: Arc<Completeness>, name: &str| {
        let answer = built(rows, |builder| builder.completeness(told));
        let folded = fold_for_variant(&answer, PER_POD_AND_VARIANT, &variant(name), &index);
        let completeness = folded.completeness().unwrap().to_string();
        assert_eq!(
            folded.is_complete(),
            !completeness.contains("missing"),
            "{completeness}"
        );
        completeness
    };
    let one_of_h100 = || told(&["llama-7d4b9c6f5-bcdfg"]);
    assert_eq!(
        of(&by_pod, one_of_h100(), "h100"),
        "1 of 2 reported; missing: chat/llama-7d4b9c6f5-bcdfg (it fails)"
    );
    // The stranger may be one of them, or not: it makes up for none of them.
    assert_eq!(of(&by_pod, one_of_h100(), "a100"), "1 of 1 reported");
    assert_eq!(
        of(&by_pod, told(&["stranger"]), "a100"),
        "1 of 2 reported; missing: chat/stranger (it fails)"
    );
    // What is not told by pod may be of any of them, and so may the lack of it.
    let of_all = "3 of 4 reported; missing: chat/llama-7d4b9c6f5-bcdfg (it fails)";
    assert_eq!(
        of(&[(&[("model_name", "m")], 3.0)], one_of_h100(), "a100"),
        of_all
    );
    assert_eq!(of(&[], one_of_h100(), "a100"), of_all);
    // What is computed from the rows of others stands on these, too.
    let mixed = Completeness::clone(&one_of_h100()).mixed();
    assert_eq!(of(&by_pod, Arc::new(mixed), "a100"), of_all);
    let mut with_a_member = Completeness::clone(&one_of_h100());
    with_a_member.add("the member eu", Report::Reported);
    assert_eq!(
        of(&by_pod, Arc::new(with_a_member), "a100"),
        "4 of 5 reported; missing: chat/llama-7d4b9c6f5-bcdfg (it fails)"
    );
}

/// A label says whose a pod is, also of rows that do not have it; where the pod's name says that it is another variant's,
/// neither is believed by that other one.
#[test]
fn a_pod_whose_label_names_another_variant_than_its_name_is_told() {
    let variant = |name: &str| VariantRef::new("chat", name).unwrap();
    let mut index = VariantIndex::new();
    for (name, workload) in [("h100", "llama"), ("a100", "qwen")] {
        index
            .register(variant(name), Workload::deployment(workload))
            .unwrap();
    }
    let pods = [
        ("llama-7d4b9c6f5-xk2vp", Some("h100-blue")),
        ("qwen-7d4b9c6f5-xk2vp", None),
    ];
    let mut told = Completeness::known();
    for (pod, label) in pods {
        let pod = PodIdentity::of(|name| match name {
            "namespace" => Some("chat"),
            "pod" => Some(pod),
            VARIANT_LABEL => label,
            _ => None,
        });
        let pod = Arc::new(pod.unwrap());
        told.add_pod(&pod, &pod.to_string(), Report::Reported);
    }
    let told = Arc::new(told);
    let plain = pods.map(|(pod, _)| [("namespace", "chat"), ("pod", pod)]);
    let labelled = [
        ("namespace", "chat"),
        ("pod", pods[0].0),
        (VARIANT_LABEL, "h100-blue"),
    ];
    let without: [Row<'_>; 2] = [(&plain[0], 1.0), (&plain[1], 2.0)];
    let with: [Row<'_>; 2] = [(&labelled, 1.0), (&plain[1], 2.0)];
    let of = |rows: &[Row<'_>], told: Option<&Arc<Completeness>>, name: &str| {
        let answer = built(rows, |builder| {
            told.into_iter()
                .for_each(|told| builder.completeness(Arc::clone(told)));
        });
        let folded = fold_for_variant(&answer, PER_POD_AND_VARIANT, &variant(name), &index);
        let values = folded.values().map(|value| value.value).collect::<Vec<_>>();
        (values, folded.completeness().map(ToString::to_string))
    };
    let why = "its name is that of a pod of this variant, and its label llm_d_ai_variant says that it belongs to \
               chat/h100-blue";
    let disputed = format!("0 of 1 reported; missing: chat/llama-7d4b9c6f5-xk2vp ({why})");
    for rows in [&without, &with] {
        assert_eq!(of(rows, Some(&told), "h100"), (vec![], Some(disputed.clone())));
        assert_eq!(
            of(rows, Some(&told), "a100"),
            (vec![2.0], Some("1 of 1 reported".to_owned()))
        );
        assert_eq!(
            of(rows, Some(&told), "h100-blue"),
            (vec![1.0], Some("1 of 1 reported".to_owned()))
        );
    }
    let unknown = format!("1 reported, of an unknown number; missing: pod llama-7d4b9c6f5-xk2vp ({why})");
    assert_eq!(of(&with, None, "h100"), (vec![], Some(unknown)));
}

/// Guards against variants whose numbers silently become those of their model where `labeldrop` takes their pods away.
#[test]
fn rows_that_should_name_a_pod_and_do_not_are_told() {
    let row: [Row<'_>; 1] = [(&[("namespace", "chat")], 1.0)];
    for (text, is_told) in [
        ("queue", true),
        ("sum by (namespace, pod) (queue)", true),
        ("sum by (namespace) (queue)", false),
        ("not { promql", false),
        ("", false),
    ] {
        let origin = Origin::new("pods", "queue").with_text(text);
        let answer = built(&row, |_| ()).with_origin(Arc::new(origin));
        let variant = VariantRef::new("chat", "h100").unwrap();
        let folded = fold_for_variant(&answer, PER_POD_AND_VARIANT, &variant, &VariantIndex::new());
        let warnings = folded.warnings().collect::<String>();
        assert_eq!(
            warnings.contains("do not name a pod"),
            is_told,
            "{text}: {warnings}"
        );
    }
}

/// Two pods of one variant, as a cluster knows them, and one that is starting.
#[derive(Debug)]
struct Cluster(VariantRef);

impl PodIndex for Cluster {
    fn variant_of(&self, _pod: PodRef<'_>, _labelled: Option<&VariantRef>) -> Mapping {
        Mapping::Mapped(self.0.clone())
    }

    fn pods_of(&self, _variant: &VariantRef) -> Option<Vec<VariantPod<'_>>> {
        let pod = |name, starting| VariantPod {
            namespace: "chat",
            name,
            starting,
            ready_since: None,
        };
        Some(vec![pod("a", None), pod("b", None), pod("c", Some("crash loop"))])
    }
}

/// Guards against a sum that looks whole where a Prometheus does not scrape a pod that the cluster has.
#[test]
fn a_pod_that_a_server_does_not_scrape_is_missed_where_the_cluster_has_it() {
    let variant = VariantRef::new("chat", "h100").unwrap();
    let pods = ["a", "b"].map(|pod| [("namespace", "chat"), ("pod", pod)]);
    let rows: [Row<'_>; 2] = [(&pods[0], 1.0), (&pods[1], 2.0)];
    let of = |rows: &[Row<'_>], text: &str| {
        let origin = Origin::new("central", "queue").with_text(text);
        let answer = built(rows, |_| ()).with_origin(Arc::new(origin)).as_sent();
        let cluster = Cluster(variant.clone());
        let folded = fold_for_variant(&answer, PER_POD_AND_VARIANT, &variant, &cluster);
        folded.completeness().map(ToString::to_string)
    };
    let starting = "; starting: chat/c (crash loop)";
    let why = "the cluster has it, and the server has no sample of it: it is not scraped there, or not yet";
    let by_pod = "sum by (namespace, pod) (queue)";
    assert_eq!(of(&rows, by_pod), Some(format!("2 of 2 reported{starting}")));
    let missing = format!("1 of 2 reported; missing: chat/b ({why}){starting}");
    assert_eq!(of(&rows[..1], by_pod), Some(missing));
    let none = format!("0 of 2 reported; missing: chat/a ({why}), chat/b ({why}){starting}");
    assert_eq!(of(&[], by_pod), Some(none));
    // An idle pod may have no row here.
    assert_eq!(of(&rows[..1], "sum by (namespace, pod) (queue) > 0"), None);
}

/// A pod of a StatefulSet that is back at another address is not the one that has ended, and the reason is of the variant's own pods.
#[test]
fn a_pod_that_is_back_elsewhere_does_not_end_its_variant() {
    let mut index = VariantIndex::new();
    for (name, workload) in [("h100", "llama"), ("a100", "qwen")] {
        let variant = VariantRef::new("chat", name).unwrap();
        index
            .register(variant, Workload::new(WorkloadKind::StatefulSet, workload))
            .unwrap();
    }
    let at = |pod: &'static str, instance: &'static str| {
        [("namespace", "chat"), ("pod", pod), ("instance", instance)]
    };
    let mut told = Completeness::known();
    for labels in [at("llama-0", "new"), at("qwen-0", "one")] {
        let pod = PodIdentity::of(|name| labels.iter().find(|label| label.0 == name).map(|label| label.1));
        told.add_pod(&Arc::new(pod.unwrap()), "", Report::Reported);
    }
    let ended = Age::exact(Duration::from_secs(9)).with_ended();
    type Aged<'a> = ([(&'a str, &'a str); 3], f64, bool);
    let of = |rows: &[Aged<'_>], name: &str| {
        let mut builder = AnswerBuilder::new(Stamp::Evaluated);
        for (labels, value, has_ended) in rows {
            builder.series(labels.iter().copied(), *value, NOW).unwrap();
            builder.age(if *has_ended {
                ended
            } else {
                Age::exact(Duration::ZERO)
            });
        }
        builder.completeness(Arc::new(told.clone()));
        let mut all = Ended::default();
        for pod in ["llama-0", "qwen-0"] {
            let labels = at(pod, "");
            let label = |name: &str| labels.iter().find(|label| label.0 == name).map(|label| label.1);
            all.add(label, String::new, ended.duration(), Duration::from_secs(51));
        }
        let both =
            "pod chat/llama-0 (9 s ago), pod chat/qwen-0 (9 s ago); the query looks back at it for 51 s more";
        assert_eq!(all.to_string(), both);
        let answer = builder.build().with_ended(all);
        let variant = VariantRef::new("chat", name).unwrap();
        let folded = fold_for_variant(&answer, PER_POD_AND_VARIANT, &variant, &index);
        let told = folded.provenance().unwrap();
        let value = folded.values().next().map(|value| value.value);
        (value, told.age(0).is_ended(), told.ended().unwrap().to_string())
    };
    let rows = [
        (at("llama-0", "old"), 7.0, true),
        (at("llama-0", "new"), 1.0, false),
        (at("qwen-0", "one"), 2.0, true),
    ];
    let (value, is_ended, _) = of(&rows, "h100");
    assert_eq!((value, is_ended), (Some(1.0), false));
    // One that fails at the place where it is known has ended.
    let (value, is_ended, why) = of(&rows, "a100");
    assert_eq!((value, is_ended), (Some(2.0), true));
    assert_eq!(
        why,
        "pod chat/qwen-0 (9 s ago); the query looks back at it for 51 s more"
    );
}

/// Guards against one pod without a port that withholds the numbers of variants that it is none of.
#[test]
fn a_pod_of_nobody_that_is_missing_is_missed_by_no_variant() {
    let variant = VariantRef::new("chat", "h100").unwrap();
    let mut index = VariantIndex::new();
    index
        .register(variant.clone(), Workload::deployment("llama"))
        .unwrap();
    let own = [("namespace", "chat"), ("pod", "llama-7d4b9c6f5-xk2vp")];
    let other = [("namespace", "chat"), ("pod", "stranger")];
    #[derive(Debug)]
    struct Owned(VariantIndex);
    impl PodIndex for Owned {
        fn variant_of(&self, pod: PodRef<'_>, _labelled: Option<&VariantRef>) -> Mapping {
            match pod.name() {
                "stranger" => Mapping::Unmapped(UnmappedReason::NoVariant),
                _ => self.0.variant_of(pod, None),
            }
        }
    }
    let mut told = Completeness::known();
    for (labels, report) in [
        (own, Report::Reported),
        (other, Report::Missing("has no port named \"metrics\"")),
    ] {
        let pod = PodIdentity::of(|name| labels.iter().find(|label| label.0 == name).map(|label| label.1));
        told.add_pod(&Arc::new(pod.unwrap()), "chat/stranger", report);
    }
    let answer = built(&[(&own, 1.0)], |builder| builder.completeness(Arc::new(told)));
    let folded = fold_for_variant(&answer, PER_POD_AND_VARIANT, &variant, &Owned(index));
    assert_eq!(folded.completeness().unwrap().to_string(), "1 of 1 reported");
}
