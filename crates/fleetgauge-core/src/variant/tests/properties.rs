//! Properties, over names made as the controllers make them.
//!
//! Each answer is compared with a forward model: which of the workloads could name a pod like this, asked of
//! one after the other.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::result::AnswerBuilder;
use crate::sample::Stamp;
use crate::time::Timestamp;

/// Names pods as the controllers do: written after them, and without regard to how the mapper reads names.
mod controllers {
    const ALPHANUMS: &str = "bcdfghjklmnpqrstvwxz2456789";

    fn alphanum(n: usize) -> char {
        char::from(ALPHANUMS.as_bytes()[n % ALPHANUMS.len()])
    }

    pub(super) fn safe_encode(text: &str) -> String {
        text.chars().map(|c| alphanum(c as usize)).collect()
    }

    pub(super) fn generate_name(base: &str, random: [u8; 5]) -> String {
        let base = &base[..base.len().min(63 - 5)];
        let random: String = random.iter().map(|&n| alphanum(n.into())).collect();
        format!("{base}{random}")
    }

    pub(super) fn deployment_pod(name: &str, hash: u32, random: [u8; 5]) -> String {
        let replica_set = format!("{name}-{}", safe_encode(&hash.to_string()));
        generate_name(&format!("{replica_set}-"), random)
    }

    pub(super) fn stateful_set_pod(name: &str, ordinal: i32) -> String {
        format!("{name}-{ordinal}")
    }

    pub(super) fn leader_pod(name: &str, group: i32) -> String {
        stateful_set_pod(name, group)
    }

    pub(super) fn rank_of(pod: &str, index: i32) -> String {
        format!("{pod}-rank-{index}")
    }

    pub(super) fn worker_pod(name: &str, group: i32, worker: i32) -> String {
        stateful_set_pod(&leader_pod(name, group), worker)
    }
}

/// The variants that a pod of this name can belong to: those that the controllers name so, or else those whose
/// pod this is a rank of.
fn expected(workloads: &[(VariantRef, Workload)], pod: &str) -> BTreeSet<VariantRef> {
    let of = |pod: &str| {
        let fits = workloads.iter().filter(|(_, workload)| can_be_of(workload, pod));
        fits.map(|(variant, _)| variant.clone()).collect::<BTreeSet<_>>()
    };
    let direct = of(pod);
    // Forwards again: each pod of which this can be a rank, written as the endpoint picker writes it.
    let rank = pod.rsplit('-').next().and_then(|index| index.parse::<i32>().ok());
    let ranks = pod.match_indices("-rank-").filter_map(|(at, _)| {
        let whole = controllers::rank_of(&pod[..at], rank.filter(|rank| *rank >= 0)?);
        (whole == pod).then(|| of(&pod[..at]))
    });
    if direct.is_empty() {
        ranks.flatten().collect()
    } else {
        direct
    }
}

/// Whether the controllers can name a pod of `workload` like this, asked forwards: of one workload at a time,
/// as the mapper must not.
fn can_be_of(workload: &Workload, pod: &str) -> bool {
    let ordinal = |text: &str| text.parse::<i32>().is_ok_and(|n| n >= 0 && n.to_string() == text);
    let Some(rest) = pod.strip_prefix(workload.name()) else {
        // Only a name that is cut is not the start of its pods' names.
        let cut = workload.kind() == WorkloadKind::Deployment
            && workload.name().len() > 58
            && pod.starts_with(&workload.name()[..58]);
        return cut && pod.len() == 63 && is_random(&pod[58..]);
    };
    let parts: Vec<&str> = rest.split('-').collect();
    match (workload.kind(), &parts[..]) {
        (WorkloadKind::StatefulSet, ["", n]) => ordinal(n),
        (WorkloadKind::LeaderWorkerSet, ["", n]) => ordinal(n),
        (WorkloadKind::LeaderWorkerSet, ["", n, worker]) => ordinal(n) && ordinal(worker) && *worker != "0",
        (WorkloadKind::Deployment, _) => {
            let Some(at) = pod.len().checked_sub(5) else {
                return false;
            };
            if !pod.is_char_boundary(at) || !is_random(&pod[at..]) {
                return false;
            }
            // Every hash that could stand there; how a cut one went on does not matter.
            let shown: Vec<char> = rest.chars().skip(1).take(10).collect();
            let mut hashes = vec![0, u32::MAX];
            for length in 1..=shown.len() {
                let digits: Option<String> = shown[..length].iter().map(|&c| digit(c)).collect();
                hashes.extend(digits.and_then(|digits| digits.parse::<u32>().ok()));
            }
            hashes.into_iter().any(|hash| {
                controllers::deployment_pod(workload.name(), hash, [0; 5])[..]
                    == format!("{}bbbbb", &pod[..at])
            })
        }
        _ => false,
    }
}

fn digit(c: char) -> Option<char> {
    ('0'..='9').find(|d| controllers::safe_encode(&d.to_string()) == c.to_string())
}

fn is_random(text: &str) -> bool {
    text.len() == 5 && text.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c))
}

/// Names that run into each other: few parts, which are also hashes, ordinals and random characters; and
/// names around the length at which Kubernetes cuts.
fn names() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "llama",
        "8b",
        "x",
        "0",
        "1",
        "5678",
        "24567",
        "bcdf",
        "7d9c5b6f4",
        "rank",
    ]);
    let short = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("-"));
    let ends = prop::sample::select(vec!["", "-", "-7", "-bcdf", "-b-", ".c", "8"]);
    let long = (40..64usize, ends).prop_map(|(length, end)| {
        let last = if end.ends_with('-') { "0" } else { "" };
        format!("{}{end}{last}", "n".repeat(length))
    });
    prop_oneof![3 => short, 1 => long]
}

fn workloads() -> impl Strategy<Value = Workload> {
    let kinds = [
        WorkloadKind::Deployment,
        WorkloadKind::StatefulSet,
        WorkloadKind::LeaderWorkerSet,
    ];
    (prop::sample::select(kinds.to_vec()), names()).prop_map(|(kind, name)| Workload::new(kind, name))
}

/// A pod of the workload, from numbers at will.
fn pod_of(workload: &Workload, (hash, random, group, worker): (u32, [u8; 5], i32, i32)) -> String {
    let name = workload.name();
    match workload.kind() {
        WorkloadKind::Deployment => controllers::deployment_pod(name, hash, random),
        WorkloadKind::StatefulSet => controllers::stateful_set_pod(name, group),
        WorkloadKind::LeaderWorkerSet if worker == 0 => controllers::leader_pod(name, group),
        WorkloadKind::LeaderWorkerSet => controllers::worker_pod(name, group, worker),
        WorkloadKind::Other => unreachable!("its pods are known by their owners alone"),
    }
}

fn numbers() -> impl Strategy<Value = (u32, [u8; 5], i32, i32)> {
    let hash = prop_oneof![Just(0), Just(u32::MAX), 0..20_000u32, any::<u32>()];
    // Digits of the alphabet are the last six and the one at 20.
    let random = prop_oneof![any::<[u8; 5]>(), prop::array::uniform5(20..27u8)];
    let ordinal = || prop_oneof![0..3, Just(5678), Just(24567), Just(i32::MAX)];
    (hash, random, ordinal(), ordinal())
}

fn index_of(workloads: &[(bool, Workload)]) -> (VariantIndex, Vec<VariantRef>) {
    let mut index = VariantIndex::new();
    let mut variants = Vec::new();
    for (i, (in_b, workload)) in workloads.iter().enumerate() {
        let namespace = if *in_b { "b" } else { "a" };
        let variant = VariantRef::new(namespace, &format!("v{i}")).unwrap();
        index.register(variant.clone(), workload.clone()).unwrap();
        variants.push(variant);
    }
    (index, variants)
}

fn candidates(mapping: Mapping) -> BTreeSet<VariantRef> {
    match mapping {
        Mapping::Mapped(variant) => BTreeSet::from([variant]),
        Mapping::Ambiguous(candidates) => {
            assert!(candidates.len() > 1 && candidates.is_sorted());
            candidates.iter().cloned().collect()
        }
        Mapping::Unmapped(_) => BTreeSet::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_pod_finds_its_variant_and_all_others_that_it_could_belong_to(
        workloads in prop::collection::vec((any::<bool>(), workloads()), 1..8),
        whose in any::<prop::sample::Index>(),
        numbers in numbers(),
        rank in prop_oneof![0..3, Just(24567), Just(i32::MAX)],
    ) {
        let (index, variants) = index_of(&workloads);
        let whose = whose.index(workloads.len());
        let pod = pod_of(&workloads[whose].1, numbers);
        let rank = controllers::rank_of(&pod, rank);
        let own = &variants[whose];
        let all: Vec<_> = variants.iter().cloned().zip(workloads.iter().map(|(_, w)| w.clone())).collect();
        let of_namespace: Vec<_> = all.iter().filter(|(v, _)| v.namespace() == own.namespace()).cloned().collect();
        for (namespace, workloads) in [("", &all), (own.namespace(), &of_namespace)] {
            let found = |pod: &str| candidates(index.variant_for(PodRef::new(pod).in_namespace(namespace)));
            prop_assert!(found(&pod).contains(own), "{pod}: {:?} without {own}", found(&pod));
            prop_assert_eq!(found(&pod), expected(workloads, &pod), "{}", &pod);
            let of_rank = found(&rank);
            prop_assert!(!of_rank.is_empty(), "{rank} fits nothing");
            prop_assert_eq!(of_rank, expected(workloads, &rank), "{}", &rank);
        }
    }

    #[test]
    fn any_text_maps_to_what_it_could_belong_to(
        workloads in prop::collection::vec((Just(false), workloads()), 1..8),
        whose in any::<prop::sample::Index>(),
        behind_a_name in prop::bool::weighted(0.7),
        text in prop_oneof![
            any::<String>(),
            "\\PC{50,70}",
            // Near what controllers append.
            "(-[0-2]{1,2}){1,3}",
            "(-[0-2]{1,2}){0,2}(-rank-[0-2]{0,2}){0,3}",
            "(-[4-9b-dfé]{0,11}){0,2}-?[024-9a-dzÅ]{0,6}",
        ],
    ) {
        let name = workloads[whose.index(workloads.len())].1.name();
        let pod = if behind_a_name { format!("{name}{text}") } else { text };
        let (index, variants) = index_of(&workloads);
        let found = candidates(index.variant_for(PodRef::new(&pod)));
        let all: Vec<_> = variants.into_iter().zip(workloads.into_iter().map(|(_, w)| w)).collect();
        prop_assert_eq!(found, expected(&all, &pod));
    }

    #[test]
    fn registering_and_removing_leaves_what_registering_the_rest_makes(
        workloads in prop::collection::vec((any::<bool>(), workloads()), 1..8),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        numbers in numbers(),
    ) {
        let (mut index, variants) = index_of(&workloads);
        let mut kept: Vec<_> = variants.iter().zip(&workloads).collect();
        for removed in removed {
            let at = removed.index(workloads.len());
            let was = kept.iter().any(|(v, _)| **v == variants[at]);
            prop_assert_eq!(index.remove(&variants[at]).is_some(), was);
            kept.retain(|(v, _)| **v != variants[at]);
        }
        let mut fresh = VariantIndex::new();
        for (variant, (_, workload)) in kept {
            fresh.register(variant.clone(), workload.clone()).unwrap();
        }
        prop_assert_eq!(index.list(), fresh.list());
        for (_, workload) in &workloads {
            let pod = pod_of(workload, numbers);
            for pod in ["", "a", "b"].map(|n| PodRef::new(&pod).in_namespace(n)) {
                prop_assert_eq!(index.variant_for(pod), fresh.variant_for(pod), "{}", pod);
            }
        }
    }

    #[test]
    fn a_join_has_every_value_exactly_once(
        workloads in prop::collection::vec((any::<bool>(), workloads()), 1..6),
        series in prop::collection::vec((any::<prop::sample::Index>(), numbers(), 0..4u8, 0..6u8), 0..30),
    ) {
        let (index, _) = index_of(&workloads);
        let now = Timestamp::from_millis(1);
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for (i, (whose, numbers, namespace, pod)) in series.iter().enumerate() {
            let name = match pod {
                0 => String::new(),
                1 => "stranger".to_owned(),
                2 => controllers::rank_of(&pod_of(&workloads[whose.index(workloads.len())].1, *numbers), 1),
                _ => pod_of(&workloads[whose.index(workloads.len())].1, *numbers),
            };
            let namespace = ["", "a", "b", "c"][usize::from(*namespace)];
            answer.series([("namespace", namespace), ("pod", &name)], i as f64, now).unwrap();
        }
        let result = MetricResult::new("q".parse().unwrap(), now, answer.build());
        let labels = PodLabels::default();
        let join = VariantJoin::new(&result, &index, &labels);
        let mut seen = Vec::new();
        for (variant, values) in join.variants() {
            prop_assert!(values.is_sorted_by(|a, b| a.value < b.value), "in the backend's order");
            prop_assert_eq!(join.for_variant(variant), Some(values));
            for value in values {
                let pod = labels.pod_of(value).unwrap();
                prop_assert_eq!(index.variant_for(pod), Mapping::Mapped(variant.clone()));
                seen.push(value.value);
            }
        }
        for ambiguous in join.ambiguous() {
            let expected = Mapping::Ambiguous(ambiguous.candidates.clone());
            prop_assert_eq!(index.variant_for(ambiguous.pod), expected);
            seen.push(ambiguous.value.value);
        }
        for unmapped in join.unmapped() {
            match unmapped.pod {
                Some(pod) => prop_assert_eq!(index.variant_for(pod), Mapping::Unmapped(unmapped.reason)),
                None => prop_assert_eq!(unmapped.reason, UnmappedReason::NoPodLabel),
            }
            seen.push(unmapped.value.value);
        }
        seen.sort_unstable_by(f64::total_cmp);
        prop_assert_eq!(seen, (0..series.len()).map(|i| i as f64).collect::<Vec<_>>());
        prop_assert!(join.variants().map(|(variant, _)| variant).is_sorted());
    }
}
