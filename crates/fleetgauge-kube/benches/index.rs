//! What does it cost to know 10,000 pods and whose of 500 variants each is: memory, an event, a question?
//!
//! The aims: 20 MiB, microseconds, 50 ns without a lock.
//!
//! The alternative in the same run is what a controller does without an index: of all pods, and what owns them, the one that is
//! asked for is looked for by its name.

use std::sync::Arc;

use arc_swap::ArcSwap;
use divan::Bencher;
use divan::counter::ItemsCount;
use fleetgauge_core::variant::{PodRef, PodVariants as _, VariantRef};
use fleetgauge_kube::cluster::ClusterIndex;
use fleetgauge_kube::object::{Kind, Object, Owner, PodState};
use fleetgauge_kube::owner::OwnerIndex;
use fleetgauge_kube::scaler::{Scaler, ScalerIndex, ToldModel, Workload};
use fleetgauge_kube::variant::ClusterVariants;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const PODS: usize = 10_000;
const VARIANTS: usize = 500;

fn main() {
    divan::main();
}

fn uid(number: usize) -> Box<str> {
    format!("5f0c3a1e-7b42-4c1d-9e0f-{number:012x}").into()
}

fn namespace(variant: usize) -> Box<str> {
    format!("inference-{}", variant % 7).into()
}

fn deployment(variant: usize) -> Box<str> {
    format!("llama-3-1-8b-instruct-decode-{variant}").into()
}

fn pod_name(number: usize) -> Box<str> {
    let variant = number % VARIANTS;
    format!("{}-7d9c5b6f4-{number:05}", deployment(variant)).into()
}

fn pod(number: usize) -> Object {
    let variant = number % VARIANTS;
    Object {
        uid: uid(number),
        namespace: namespace(variant),
        name: pod_name(number),
        controller: Some(Owner {
            kind: Kind::REPLICA_SET,
            name: format!("{}-7d9c5b6f4", deployment(variant)).into(),
            uid: uid(1_000_000 + variant),
        }),
        state: PodState::Serving,
        ready_since: None,
        variant: None,
        replicas: None,
    }
}

fn replica_set(variant: usize) -> Object {
    Object {
        uid: uid(1_000_000 + variant),
        namespace: namespace(variant),
        name: format!("{}-7d9c5b6f4", deployment(variant)).into(),
        controller: Some(Owner {
            kind: Kind::DEPLOYMENT,
            name: deployment(variant),
            uid: uid(2_000_000 + variant),
        }),
        state: PodState::Serving,
        ready_since: None,
        variant: None,
        replicas: None,
    }
}

fn scaler(variant: usize) -> (Box<str>, Scaler) {
    let name = format!("{}-hpa", deployment(variant));
    let workload = Workload {
        kind: Kind::DEPLOYMENT,
        name: deployment(variant),
    };
    let variant_ref = VariantRef::new(&namespace(variant), &name).expect("a valid name");
    let scaler = Scaler {
        variant: variant_ref,
        workload: Some(workload),
        controller: None,
        models: vec![ToldModel {
            by: "field spec.modelID".into(),
            model: "meta-llama/Llama-3.1-8B-Instruct".into(),
        }],
    };
    (uid(3_000_000 + variant), scaler)
}

fn index() -> ClusterIndex {
    let mut owners = OwnerIndex::new([Kind::REPLICA_SET]);
    owners.replace(&Kind::REPLICA_SET, (0..VARIANTS).map(replica_set));
    owners.replace(&Kind::POD, (0..PODS).map(pod));
    let mut scalers = ScalerIndex::new([Kind::HORIZONTAL_POD_AUTOSCALER]);
    scalers.replace(&Kind::HORIZONTAL_POD_AUTOSCALER, (0..VARIANTS).map(scaler));
    ClusterIndex::new(owners, scalers)
}

/// The allocated bytes are what it takes.
#[divan::bench(sample_count = 5)]
fn build(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(PODS)).bench_local(index);
}

/// A pod goes, and another one comes; each time readers get what is then known.
#[divan::bench]
fn two_events(bencher: Bencher<'_, '_>) {
    let mut index = index();
    let now = ArcSwap::from_pointee(index.clone());
    let mut number = 0;
    bencher.counter(ItemsCount::new(2_usize)).bench_local(|| {
        index.owners.remove(&Kind::POD, &uid(number));
        now.store(Arc::new(index.clone()));
        index.owners.apply(&Kind::POD, pod(PODS + number));
        now.store(Arc::new(index.clone()));
        number += 1;
    });
}

/// As a join of an answer asks: one look at the index, and then each row.
#[divan::bench]
fn thousand_lookups(bencher: Bencher<'_, '_>) {
    let variants = ClusterVariants::new(Arc::new(ArcSwap::from_pointee(index())), []);
    let asked: Vec<_> = (0..1_000)
        .map(|number| {
            (
                namespace(number * 9 % PODS % VARIANTS),
                pod_name(number * 9 % PODS),
            )
        })
        .collect();
    bencher.counter(ItemsCount::new(asked.len())).bench_local(|| {
        let now = variants.snapshot();
        let mapped = asked.iter().filter(|(namespace, name)| {
            let pod = PodRef::new(name).in_namespace(namespace);
            now.variant_of(pod, None).variant().is_some()
        });
        assert_eq!(mapped.count(), asked.len());
    });
}

/// Who should report, of one variant, at the first look after a change: the pods of all are sorted anew.
#[divan::bench]
fn pods_of_a_variant_after_a_change(bencher: Bencher<'_, '_>) {
    let now = Arc::new(ArcSwap::from_pointee(index()));
    let variant = VariantRef::new(&namespace(7), &format!("{}-hpa", deployment(7))).expect("a valid name");
    bencher.bench_local(|| {
        // A new handle has looked at nothing.
        let variants = ClusterVariants::new(now.clone(), []);
        let count = variants.snapshot().pods_of(&variant).map(|pods| pods.len());
        assert_eq!(count, Some(PODS / VARIANTS));
    });
}

#[divan::bench]
fn alternative_scan(bencher: Bencher<'_, '_>) {
    let pods: Vec<_> = (0..PODS).map(pod).collect();
    let sets: Vec<_> = (0..VARIANTS).map(replica_set).collect();
    let asked = (namespace(4_500 % VARIANTS), pod_name(4_500));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let (namespace, name) = &asked;
        let pod = pods
            .iter()
            .find(|pod| pod.namespace == *namespace && pod.name == *name);
        let owner = pod.and_then(|pod| pod.controller.as_ref());
        let set = sets
            .iter()
            .find(|set| owner.is_some_and(|owner| owner.uid == set.uid));
        set.and_then(|set| set.controller.as_ref())
            .map(|owner| owner.name.clone())
    });
}
