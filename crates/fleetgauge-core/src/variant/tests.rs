//! What must hold of the whole: tables of pods, changes, and readers beside writers.

mod join;
mod properties;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::completeness::{Completeness, Report};
use crate::pod::PodIdentity;
use crate::result::AnswerBuilder;
use crate::sample::Stamp;
use crate::time::Timestamp;

fn variant(text: &str) -> VariantRef {
    text.parse().unwrap()
}

/// A mapper with `variant` (as `namespace/name`) registered with `Kind/name`.
fn mapper(variants: &[(&str, &str)]) -> PodVaMapper {
    let mapper = PodVaMapper::new();
    for (of, workload) in variants {
        let (kind, name) = workload.split_once('/').unwrap();
        let kind = match kind {
            "Deployment" => WorkloadKind::Deployment,
            "StatefulSet" => WorkloadKind::StatefulSet,
            _ => WorkloadKind::LeaderWorkerSet,
        };
        let of = variant(of);
        let registered = mapper.register(of.name(), of.namespace(), Workload::new(kind, name));
        assert_eq!(registered, Ok(of));
    }
    mapper
}

/// Looks `pod` up, as `name` or `namespace/name`, and compares with what the answer prints.
fn check(mapper: &PodVaMapper, pod: &str, expected: &str) {
    let mapping = match pod.split_once('/') {
        Some((namespace, pod)) => mapper.variant_for_pod_in(namespace, pod),
        None => mapper.variant_for_pod(pod),
    };
    assert_eq!(mapping.to_string(), expected, "{pod}");
}

const NO_FIT: &str = "unmapped: no registered workload names its pods like this";

#[test]
fn each_kind_by_its_own_rule() {
    let mapper = mapper(&[
        ("a/d", "Deployment/llama"),
        ("a/s", "StatefulSet/qwen"),
        ("a/l", "LeaderWorkerSet/deepseek"),
    ]);
    check(&mapper, "llama-7d9c5b6f4-x2x9z", "a/d");
    check(&mapper, "a/llama-7d9c5b6f4-x2x9z", "a/d");
    check(&mapper, "llama-0", NO_FIT);
    check(&mapper, "qwen-0", "a/s");
    check(&mapper, "a/qwen-12", "a/s");
    check(&mapper, "qwen-0-1", NO_FIT);
    check(&mapper, "qwen-7d9c5b6f4-x2x9z", NO_FIT);
    check(&mapper, "deepseek-3", "a/l");
    check(&mapper, "deepseek-3-7", "a/l");
    check(&mapper, "deepseek-3-0", NO_FIT);
    check(&mapper, "deepseek-3-7-1", NO_FIT);
}

#[test]
fn the_seeds_example_is_no_name_that_kubernetes_gives() {
    let mapper = PodVaMapper::new();
    mapper
        .register("llama-8b-autoscaler", "default", "llama-deployment")
        .unwrap();
    check(&mapper, "llama-deployment-abc123-xyz", NO_FIT);
    check(
        &mapper,
        "llama-deployment-7d9c5b6f4-x2x9z",
        "default/llama-8b-autoscaler",
    );
}

#[test]
fn decision_10_a_pod_that_fits_several_variants_is_ambiguous_never_the_first() {
    let long = "n".repeat(58);
    let mapper = mapper(&[
        // One workload, two variants.
        ("a/twin-1", "Deployment/twin"),
        ("a/twin-2", "Deployment/twin"),
        // One name, two namespaces.
        ("a/both", "StatefulSet/both"),
        ("b/both", "StatefulSet/both"),
        // One name, several kinds.
        ("a/kind-s", "StatefulSet/kind"),
        ("a/kind-l", "LeaderWorkerSet/kind"),
        ("a/kind-d", "Deployment/kind"),
        // A worker of a group, or a pod of a StatefulSet that is named like the group.
        ("a/group-l", "LeaderWorkerSet/x"),
        ("a/group-s", "StatefulSet/x-0"),
        // Cut to the same 58 bytes.
        ("a/long-1", &format!("Deployment/{long}1")),
        ("a/long-2", &format!("Deployment/{long}2")),
        ("a/long-3", &format!("Deployment/{}", &long[..57])),
    ]);
    check(
        &mapper,
        "a/twin-7d9c5b6f4-x2x9z",
        "ambiguous: a/twin-1 or a/twin-2",
    );
    check(&mapper, "both-0", "ambiguous: a/both or b/both");
    check(&mapper, "a/both-0", "a/both");
    check(&mapper, "b/both-0", "b/both");
    check(&mapper, "kind-0", "ambiguous: a/kind-l or a/kind-s");
    check(&mapper, "kind-0-1", "a/kind-l");
    check(&mapper, "kind-7d9c5b6f4-x2x9z", "a/kind-d");
    // Digits alone: hash and random characters, or group and worker.
    check(&mapper, "kind-5678-24567", "ambiguous: a/kind-d or a/kind-l");
    check(&mapper, "x-0-1", "ambiguous: a/group-l or a/group-s");
    check(&mapper, "x-1-1", "a/group-l");
    check(
        &mapper,
        &format!("{long}x2x9z"),
        "ambiguous: a/long-1 or a/long-2",
    );
    check(&mapper, &format!("{}-x2x9z", &long[..57]), "a/long-3");
}

#[test]
fn decision_10_an_unmapped_pod_has_a_reason() {
    check(
        &PodVaMapper::new(),
        "llama-0",
        "unmapped: no variant is registered",
    );
    let mapper = mapper(&[("a/d", "Deployment/llama")]);
    check(&mapper, "qwen-0", NO_FIT);
    check(&mapper, "", NO_FIT);
    check(
        &mapper,
        "b/llama-7d9c5b6f4-x2x9z",
        "unmapped: no variant is registered in the pod's namespace",
    );
    mapper.remove(&variant("a/d"));
    check(
        &mapper,
        "a/llama-7d9c5b6f4-x2x9z",
        "unmapped: no variant is registered",
    );
}

#[test]
fn a_name_that_begins_another_does_not_take_its_pods() {
    let mapper = mapper(&[
        ("a/short", "Deployment/llama"),
        ("a/long", "Deployment/llama-8b"),
        ("a/hash", "Deployment/llama-8b-7d9c5b6f4"),
    ]);
    check(&mapper, "llama-7d9c5b6f4-x2x9z", "a/short");
    check(&mapper, "llama-8b-7d9c5b6f4-x2x9z", "a/long");
    check(&mapper, "llama-8b-7d9c5b6f4-7d9c5b6f4-x2x9z", "a/hash");
    check(&mapper, "llama-70b-7d9c5b6f4-x2x9z", NO_FIT);
}

#[test]
fn a_rank_belongs_to_its_pods_variant_unless_a_pod_has_that_very_name() {
    let mapper = mapper(&[
        ("a/d", "Deployment/llama"),
        ("a/s", "StatefulSet/qwen"),
        ("a/l", "LeaderWorkerSet/deepseek"),
        ("a/twin-1", "Deployment/twin"),
        ("a/twin-2", "Deployment/twin"),
        // Its pods are named as the ranks of a pod `x-0` are.
        ("a/x", "StatefulSet/x"),
        ("a/x-rank", "StatefulSet/x-0-rank"),
        ("b/x", "StatefulSet/x"),
    ]);
    check(&mapper, "llama-7d9c5b6f4-x2x9z-rank-0", "a/d");
    check(&mapper, "a/llama-7d9c5b6f4-x2x9z-rank-12", "a/d");
    check(&mapper, "qwen-0-rank-3", "a/s");
    check(&mapper, "deepseek-3-7-rank-1", "a/l");
    check(
        &mapper,
        "twin-7d9c5b6f4-x2x9z-rank-0",
        "ambiguous: a/twin-1 or a/twin-2",
    );
    check(&mapper, "a/x-0-rank-1", "a/x-rank");
    check(&mapper, "b/x-0-rank-1", "b/x");
    check(&mapper, "x-0-rank-1", "a/x-rank");
    // A rank of a pod that is named like a rank.
    check(&mapper, "a/x-0-rank-1-rank-2", "a/x-rank");
    check(&mapper, "a/qwen-0-rank-3-rank-1", NO_FIT);
    check(&mapper, "llama-rank-0", NO_FIT);
    check(&mapper, "llama-7d9c5b6f4-x2x9z-rank-00", NO_FIT);
    check(&mapper, "-rank-0", NO_FIT);
    check(
        &mapper,
        "c/qwen-0-rank-0",
        "unmapped: no variant is registered in the pod's namespace",
    );
}

#[test]
fn registrations_are_refused_with_the_name_at_fault() {
    let mapper = mapper(&[("a/d", "Deployment/llama")]);
    let refused = |name: &str, namespace: &str, workload: &str| {
        let error = mapper.register(name, namespace, workload).unwrap_err();
        (error.reason(), error.to_string())
    };
    for workload in ["llama", "qwen"] {
        let (reason, text) = refused("d", "a", workload);
        assert_eq!(reason, "duplicate");
        assert_eq!(text, "variant a/d is registered already, with Deployment llama");
    }
    for (name, namespace, workload, expected) in [
        ("D", "a", "x", "\"D\" is not a variant name"),
        ("d", "a.b", "x", "\"a.b\" is not a namespace name"),
        ("e", "a", "x_y", "\"x_y\" is not a Deployment name"),
        ("e", "a", "", "\"\" is not a Deployment name"),
    ] {
        let (reason, text) = refused(name, namespace, workload);
        assert_eq!(reason, "bad_name");
        assert!(text.starts_with(expected), "{text}");
    }
    assert_eq!(mapper.snapshot().len(), 1);
}

#[test]
fn a_variant_moves_to_another_workload() {
    let mapper = mapper(&[("a/d", "Deployment/llama"), ("a/e", "Deployment/llama")]);
    let moved = mapper.replace(variant("a/d"), Workload::stateful_set("qwen"));
    assert_eq!(moved, Ok(Some("llama".into())));
    check(&mapper, "a/llama-7d9c5b6f4-x2x9z", "a/e");
    check(&mapper, "a/qwen-0", "a/d");
    assert!(mapper.replace(variant("a/d"), "Qwen").is_err());
    check(&mapper, "a/qwen-0", "a/d");
    assert_eq!(mapper.remove(&variant("a/x")), None);
}

#[test]
fn a_batch_with_an_error_changes_nothing() {
    let mapper = mapper(&[("a/d", "Deployment/llama")]);
    let failed = mapper.update(|index| {
        index.remove(&variant("a/d"));
        index.register(variant("a/e"), "qwen")?;
        index.register(variant("a/e"), "qwen")
    });
    assert!(failed.is_err());
    assert_eq!(
        mapper.snapshot().list(),
        [(&variant("a/d"), &Workload::deployment("llama"))]
    );
}

#[test]
fn a_panic_in_a_batch_changes_nothing_and_stops_nobody() {
    let mapper = mapper(&[("a/d", "Deployment/llama")]);
    let inside = mapper.clone();
    let panicked = std::thread::spawn(move || {
        let _: Result<(), ()> = inside.update(|index| {
            index.remove(&variant("a/d"));
            panic!("on purpose")
        });
    });
    assert!(panicked.join().is_err());
    check(&mapper, "llama-7d9c5b6f4-x2x9z", "a/d");
    mapper.register("e", "a", "qwen").unwrap();
}

#[test]
fn readers_see_the_old_world_or_the_new_one() {
    const PODS: [&str; 2] = ["llama-7d9c5b6f4-x2x9z", "qwen-0"];
    let world = |name: &str| {
        let mut index = VariantIndex::new();
        for (suffix, workload) in [("1", "llama".into()), ("2", Workload::stateful_set("qwen"))] {
            let name = format!("{name}-{suffix}");
            index
                .register(VariantRef::new("a", &name).unwrap(), workload)
                .unwrap();
        }
        index
    };
    let (old, new) = (world("old"), world("new"));
    let mapper = PodVaMapper::new();
    mapper.replace_all(old.clone());
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let snapshot = mapper.snapshot();
                    let worlds = PODS.map(|pod| {
                        let mapping = snapshot.variant_for(PodRef::new(pod));
                        mapping.variant().unwrap().name()[..3].to_owned()
                    });
                    assert_eq!(worlds[0], worlds[1]);
                    assert!(mapper.variant_for_pod(PODS[0]).variant().is_some());
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // As many replacements as it takes for the readers to have been at work during them; bounded, since a
        // reader that failed reads no more.
        let mut replaced = 0;
        while replaced < 2_000 || (reads.load(Ordering::Relaxed) < 2_000 && replaced < 5_000_000) {
            mapper.replace_all(if replaced % 2 == 0 { &new } else { &old }.clone());
            replaced += 1;
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn writers_do_not_lose_each_others_changes() {
    let mapper = PodVaMapper::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mapper = mapper.clone();
            scope.spawn(move || {
                for i in 0..50 {
                    mapper.register(&format!("v{thread}-{i}"), "a", "llama").unwrap();
                }
            });
        }
    });
    assert_eq!(mapper.snapshot().len(), 200);
}

/// Guards against values that go to the variant of a pod's name where the query has dropped the label that names another one.
#[test]
fn a_label_that_the_query_drops_tells_the_variant_nevertheless() {
    let pod = "llama-7d9c5b6f4-x2x9z";
    let mapper = PodVaMapper::new();
    let by_name = mapper.register("by-name", "chat", "llama").unwrap();
    let label = |name: &str| match name {
        "namespace" => Some("chat"),
        "pod" => Some(pod),
        VARIANT_LABEL => Some("by-label"),
        _ => None,
    };
    let mut known = Completeness::known();
    known.add_pod(&Arc::new(PodIdentity::of(label).unwrap()), "", Report::Reported);
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    let now = Timestamp::from_secs_f64(0.0);
    answer
        .series([("namespace", "chat"), ("pod", pod)], 3.0, now)
        .unwrap();
    answer.completeness(Arc::new(known));
    let result = MetricResult::new("queue".parse().unwrap(), now, answer.build());
    let join = mapper.join(&result);
    assert!(join.for_variant(&by_name).is_none());
    let by_label = VariantRef::new("chat", "by-label").unwrap();
    assert_eq!(join.for_variant(&by_label).unwrap()[0].value, 3.0);
    // Whoever goes by names alone does so.
    let by_names = mapper.join_by(&result, &PodLabels::default().without_variant());
    assert_eq!(by_names.for_variant(&by_name).unwrap()[0].value, 3.0);
}
