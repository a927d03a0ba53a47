//! What does a composed source add to the answers that it is computed from?
//!
//! Ten inputs of a thousand series each, all of them cached by their sources: one refresh of a composed query. The
//! alternative is the sum written by hand over the same cached answers.
//!
//! The aim is under 2 ms for a sum over all inputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use divan::Bencher;
use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::result::AnswerBuilder;
use fleetgauge::sample::Stamp;
use fleetgauge::{FixedBackend, MetricsSource, Params, QueryTemplate, RefreshSpec, SourceRegistry};

const INPUTS: usize = 10;
const SERIES: usize = 1_000;

fn main() {
    divan::main();
}

fn sources() -> SourceRegistry {
    let sources = SourceRegistry::new();
    for input in 0..INPUTS {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for series in 0..SERIES {
            let (pod, variant) = (
                format!("vllm-llama-8b-{series:05}"),
                format!("variant-{}", series % 20),
            );
            let labels = [("namespace", "chat"), ("pod", &*pod), ("variant", &*variant)];
            answer
                .series(labels, (series + input) as f64, SystemTime::now().into())
                .expect("labels");
        }
        let source = FixedBackend::new().answer("q", answer.build()).into_source();
        source
            .query_list()
            .must_register(QueryTemplate::promql("q", "up").ttl(Duration::from_secs(3_600)));
        sources
            .register(&format!("source{input}"), Arc::new(source))
            .expect("a new name");
    }
    sources
}

fn composed(bencher: Bencher<'_, '_>, expression: &str) {
    let inputs = (0..INPUTS).map(|i| Input::new(format!("in{i}"), format!("source{i}"), "q"));
    let config = inputs.fold(ComposedConfig::new("fleet"), ComposedConfig::with_input);
    let config = config.with_query(QueryTemplate::promql("composed", expression));
    let source = ComposedSource::new(config, &sources()).expect("stands up");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    bencher.bench_local(|| {
        let spec = RefreshSpec::queries(["composed"]).max_age(Duration::from_secs(3_600));
        let results = runtime.block_on(source.refresh(spec));
        assert!(results.is_complete() && !results["composed"].as_ref().expect("an answer").is_no_data());
    });
}

#[divan::bench(name = "compose_sum/10_inputs_1k_series")]
fn sum(bencher: Bencher<'_, '_>) {
    composed(bencher, r#"sum by (variant) ({__name__=~"in.*"})"#);
}

#[divan::bench(name = "compose_join/10_inputs_1k_series")]
fn join(bencher: Bencher<'_, '_>) {
    let inputs: Vec<_> = (0..INPUTS).map(|i| format!("in{i}")).collect();
    composed(bencher, &inputs.join(" + on (namespace, pod) "));
}

#[divan::bench(name = "sum_by_hand/10_inputs_1k_series")]
fn by_hand(bencher: Bencher<'_, '_>) {
    let sources = sources();
    let sources: Vec<_> = sources
        .list()
        .iter()
        .filter_map(|name| sources.get(name))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for source in &sources {
        runtime.block_on(source.refresh(RefreshSpec::queries(["q"])));
    }
    bencher.bench_local(|| {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for source in &sources {
            let cached = source.get("q", &Params::new()).expect("cached");
            for value in cached.result().values() {
                match sums.get_mut(value.label("variant")) {
                    Some(sum) => *sum += value.value,
                    None => drop(sums.insert(value.label("variant").to_owned(), value.value)),
                }
            }
        }
        sums
    });
}
