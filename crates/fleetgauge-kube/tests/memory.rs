//! What a pod costs.
//!
//! One test, since the allocator counts for the whole process.

use std::alloc::System;

use fleetgauge_kube::object::{Kind, Object, Owner, PodState};
use fleetgauge_kube::owner::OwnerIndex;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn live_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn uid(number: usize) -> Box<str> {
    format!("5f0c3a1e-7b42-4c1d-9e0f-{number:012x}").into()
}

/// A pod of a Deployment of a hundred.
fn pod(number: usize) -> Object {
    let set = number / 100;
    Object {
        uid: uid(number),
        namespace: format!("inference-{}", number % 7).into(),
        name: format!("llama-3-1-8b-instruct-decode-{set}-7d9c5b6f4-{number:05}").into(),
        controller: Some(Owner {
            kind: Kind::of("apps/v1", "ReplicaSet"),
            name: format!("llama-3-1-8b-instruct-decode-{set}-7d9c5b6f4").into(),
            uid: uid(1_000_000 + set),
        }),
        state: PodState::Starting("ContainerCreating".into()),
        ready_since: None,
        variant: Some("llama-3-1-8b-h100".into()),
        replicas: None,
    }
}

#[test]
fn a_pod_costs_no_more_than_a_kilobyte() {
    const PODS: usize = 10_000;
    let before = live_bytes();
    let mut index = OwnerIndex::new([Kind::REPLICA_SET]);
    index.replace(&Kind::POD, (0..PODS).map(pod));
    let listed = (live_bytes() - before) / PODS;
    // As a fleet that rolls over, again and again: each pod goes after another one has come.
    for number in 0..5 * PODS {
        index.apply(&Kind::POD, pod(PODS + number));
        index.remove(&Kind::POD, &uid(number));
    }
    let pods = index.watched(&Kind::POD).map_or(0, |pods| pods.objects().len());
    assert_eq!(pods, PODS);
    let rolled = (live_bytes() - before) / PODS;
    println!("{listed} bytes a pod when listed, {rolled} after all were replaced five times");
    assert!(listed.max(rolled) <= 1024, "{listed} and {rolled} bytes a pod");
}
