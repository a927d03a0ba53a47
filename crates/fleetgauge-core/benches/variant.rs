//! Is a pod's variant found in the same time whether 10 variants are registered or 10,000, without an
//! allocation, and what does that cost the one who changes the variants?
//!
//! The alternative in the same run is what the Go original does: compare the pod's name with the prefix of
//! one workload after the other, and take the first. It is a plain scan without a lock, over names that differ
//! early, which favours it; and it answers wrongly where one name begins another.

use divan::Bencher;
use divan::counter::ItemsCount;
use fleetgauge_core::result::{AnswerBuilder, MetricResult};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::time::Timestamp;
use fleetgauge_core::variant::{Mapping, PodVaMapper, VariantIndex, VariantRef, Workload};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const NAMESPACES: usize = 4;
const SIZES: [usize; 2] = [10, 10_000];

fn main() {
    divan::main();
}

/// Every third workload of each kind.
fn workload(i: usize) -> Workload {
    let name = format!("{i}-llama-3-8b-instruct-decode");
    match i % 3 {
        0 => Workload::deployment(name),
        1 => Workload::stateful_set(name),
        _ => Workload::leader_worker_set(name),
    }
}

fn namespace(i: usize) -> String {
    format!("team-{}", i % NAMESPACES)
}

fn pod(i: usize, replica: usize) -> String {
    let name = workload(i).name().to_owned();
    match i % 3 {
        0 => {
            let digits = b"bcdfghjklm";
            let random =
                [replica / 1000, replica / 100, replica / 10, replica].map(|n| char::from(digits[n % 10]));
            format!("{name}-7d9c5b6f4-z{}", String::from_iter(random))
        }
        1 => format!("{name}-{replica}"),
        _ => format!("{name}-{replica}-1"),
    }
}

fn index(variants: usize) -> VariantIndex {
    let mut index = VariantIndex::new();
    for i in 0..variants {
        let variant = VariantRef::new(&namespace(i), &format!("variant-{i}")).expect("valid");
        index.register(variant, workload(i)).expect("registered once");
    }
    index
}

fn mapper(variants: usize) -> PodVaMapper {
    let mapper = PodVaMapper::new();
    mapper.replace_all(index(variants));
    mapper
}

/// Pods to ask for, in an order that shows no pattern: 1,000 of them, as one server's caches hold.
fn pods(variants: usize) -> Vec<(String, String)> {
    (0..1000)
        .map(|i| i * 7919 % variants)
        .map(|i| (namespace(i), pod(i, i % 10)))
        .collect()
}

/// Looks all the pods up: a time in microseconds is that of one look-up in nanoseconds.
fn each_pod(
    bencher: Bencher<'_, '_>,
    variants: usize,
    look_up: impl Fn(&str, &str) -> Option<VariantRef> + Sync,
) {
    let pods = pods(variants);
    bencher.counter(ItemsCount::new(pods.len())).bench(|| {
        for (namespace, pod) in &pods {
            divan::black_box(look_up(namespace, pod));
        }
    });
}

fn mapped(mapping: Mapping) -> Option<VariantRef> {
    match mapping {
        Mapping::Mapped(variant) => Some(variant),
        Mapping::Ambiguous(_) | Mapping::Unmapped(_) => None,
    }
}

#[divan::bench(args = SIZES, threads = [1, 2])]
fn variant_for_1k_pods_in(bencher: Bencher<'_, '_>, variants: usize) {
    let mapper = mapper(variants);
    each_pod(bencher, variants, |namespace, pod| {
        mapped(mapper.variant_for_pod_in(namespace, pod))
    });
}

#[divan::bench(args = SIZES)]
fn variant_for_1k_pods(bencher: Bencher<'_, '_>, variants: usize) {
    let mapper = mapper(variants);
    each_pod(bencher, variants, |_, pod| mapped(mapper.variant_for_pod(pod)));
}

#[divan::bench(args = SIZES)]
fn variant_for_1k_unmapped_pods(bencher: Bencher<'_, '_>, variants: usize) {
    let mapper = mapper(variants);
    each_pod(bencher, variants, |namespace, pod| {
        // A character less leaves a name that nothing fits.
        mapped(mapper.variant_for_pod_in(namespace, &pod[1..]))
    });
}

#[divan::bench(args = SIZES)]
fn alternative_prefix_scan_for_1k_pods(bencher: Bencher<'_, '_>, variants: usize) {
    let index = index(variants);
    let listed = index.list();
    let prefixes: Vec<(String, &VariantRef)> = listed
        .iter()
        .map(|(variant, workload)| (format!("{}-", workload.name()), *variant))
        .collect();
    each_pod(bencher, variants, |_, pod| {
        let found = prefixes
            .iter()
            .find(|(prefix, _)| pod.starts_with(prefix.as_str()));
        found.map(|(_, variant)| VariantRef::clone(variant))
    });
}

#[divan::bench(name = "join/10k_values_1k_variants")]
fn join(bencher: Bencher<'_, '_>) {
    let mapper = mapper(1_000);
    let now = Timestamp::from_secs_f64(1_763_930_000.5);
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    for i in 0..10_000 {
        let (variant, replica) = (i * 7919 % 1_000, i / 1_000);
        let labels = [
            ("instance", format!("10.0.{}.{}:8000", i / 250, i % 250)),
            ("namespace", namespace(variant)),
            ("pod", pod(variant, replica)),
        ];
        let labels = labels.iter().map(|(name, value)| (*name, value.as_str()));
        answer.series(labels, 1.0, now).expect("distinct labels");
    }
    let result = MetricResult::new("queue_length".parse().expect("valid"), now, answer.build());
    let joined = mapper.join(&result);
    assert!(joined.is_complete() && joined.variants().len() == 1_000);
    bencher
        .counter(ItemsCount::new(10_000usize))
        .bench(|| mapper.join(&result));
}

#[divan::bench(args = SIZES)]
fn register_and_remove_one_among(bencher: Bencher<'_, '_>, variants: usize) {
    let mapper = mapper(variants);
    bencher.bench(|| {
        let variant = mapper
            .register("one-more", "team-0", "one-more")
            .expect("removed before");
        mapper.remove(&variant)
    });
}

#[divan::bench]
fn replace_all_10k_variants(bencher: Bencher<'_, '_>) {
    let mapper = mapper(10_000);
    bencher.bench(|| mapper.replace_all(index(10_000)));
}
