//! What does a refresh cost beside the backend: 10 queries of 10 samples each, answered from memory?
//!
//! The alternative in the same run does the same work with a lock around everything and a thread hop per
//! query: it renders with `format!`, spawns a task per query and puts owned maps of labels into a map.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use divan::Bencher;
use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::params::Params;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::result::{Answer, AnswerBuilder};
use fleetgauge_core::sample::Stamp;
use fleetgauge_core::source::{CachedSource, CachedSourceConfig, MetricsSource, RefreshSpec};
use fleetgauge_core::time::Timestamp;
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};

// Without divan's allocation profiler: it would add its own cost to each of some hundred allocations.

const PODS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

fn main() {
    divan::main();
}

/// Builds each answer anew, as a decoder does.
struct Memory;

impl Backend for Memory {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        let now = Timestamp::from_millis(request.text.len() as i64);
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for (i, pod) in PODS.iter().enumerate() {
            let labels = [
                ("namespace", "llm-inference"),
                ("pod", pod),
                ("model_name", "llama-8b"),
            ];
            answer.series(labels, i as f64, now).unwrap();
        }
        future::ready(Ok(answer.build())).boxed()
    }
}

#[divan::bench]
fn refresh_10_queries_10_samples(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let source = CachedSource::new(Arc::new(Memory), CachedSourceConfig::default());
    for i in 0..10 {
        let template = r#"up{namespace="{{.namespace}}",model_name="{{.modelID}}"}"#;
        let query = QueryTemplate::promql(format!("query_{i}"), template).params(["namespace", "modelID"]);
        source.query_list().must_register(query);
    }
    let params: Params = [("namespace", "llm-inference"), ("modelID", "llama-8b")].into();
    bencher.bench_local(|| {
        let results = runtime.block_on(source.refresh(RefreshSpec::all().params(params.clone())));
        assert!(results.is_complete());
        results
    });
}

#[divan::bench]
fn alternative_task_per_query_owned_labels(bencher: Bencher<'_, '_>) {
    type Series = (HashMap<String, String>, f64);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cache: Arc<RwLock<HashMap<String, Arc<Vec<Series>>>>> = Arc::default();
    bencher.bench_local(|| {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..10)
                .map(|i| {
                    let cache = Arc::clone(&cache);
                    tokio::spawn(async move {
                        let text = format!(
                            "up{{namespace={:?},model_name={:?}}}",
                            "llm-inference", "llama-8b"
                        );
                        let series = PODS.iter().map(|pod| {
                            let labels = [
                                ("namespace", "llm-inference"),
                                ("pod", *pod),
                                ("model_name", "llama-8b"),
                            ];
                            let labels = labels.map(|(n, v)| (n.to_owned(), v.to_owned()));
                            (HashMap::from(labels), text.len() as f64)
                        });
                        let key = format!("query_{i}:modelID=llama-8b,namespace=llm-inference");
                        cache.write().unwrap().insert(key, Arc::new(series.collect()));
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}
