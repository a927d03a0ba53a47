//! What does rendering a checked, contextually escaped template cost, against the general path of the template
//! crate that formats our `printf` (which neither checks nor escapes)? And what does a registration cost?

use std::collections::BTreeMap;
use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box};
use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
use fleetgauge_core::template::Template;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const TWO_PARAMS: &str =
    r#"max by (pod) (vllm:kv_cache_usage_perc{namespace="{{.namespace}}",model_name="{{.modelID}}"})"#;
const CONDITION: &str = r#"max by (pod) (vllm:kv_cache_usage_perc{namespace="{{.namespace}}",model_name="{{.modelID}}"{{if .podFilter}},pod=~"{{.podFilter}}"{{end}}})"#;

fn main() {
    divan::main();
}

fn specs() -> [ParamSpec; 3] {
    [
        ParamSpec::required("namespace", ParamKind::Text),
        ParamSpec::required("modelID", ParamKind::Text),
        ParamSpec::optional("podFilter", ParamKind::Regex),
    ]
}

fn plain() -> Params {
    Params::from([
        ("namespace", "llm-inference"),
        ("modelID", "meta-llama/Llama-3.1-8B-Instruct"),
        ("podFilter", "vllm-.*"),
    ])
}

fn ours(bencher: Bencher<'_, '_>, source: &str, params: &Params) {
    let template = Template::compile(source, &specs()).expect("compiles");
    bencher.bench_local(|| black_box(&template).render(black_box(params)).expect("renders"));
}

fn gotmpl(bencher: Bencher<'_, '_>, source: &str, params: &Params) {
    let template = gotmpl::Template::new("q")
        .missing_key(gotmpl::MissingKey::Error)
        .parse(source)
        .expect("parses");
    bencher.bench_local(|| {
        let data: BTreeMap<Arc<str>, gotmpl::Value> = black_box(params)
            .iter()
            .map(|(name, value)| (Arc::from(name), gotmpl::Value::String(Arc::from(value))))
            .collect();
        template
            .execute_to_string(&gotmpl::Value::Map(Arc::new(data)))
            .expect("renders")
    });
}

#[divan::bench(name = "render/2_params_escaped")]
fn two_params(bencher: Bencher<'_, '_>) {
    ours(bencher, TWO_PARAMS, &plain());
}

#[divan::bench(name = "render/2_params_with_quotes_in_them")]
fn two_params_quotes(bencher: Bencher<'_, '_>) {
    ours(
        bencher,
        TWO_PARAMS,
        &plain().with("namespace", "a\"b").with("modelID", "c\\d"),
    );
}

#[divan::bench(name = "render/2_params_gotmpl_unescaped")]
fn two_params_gotmpl(bencher: Bencher<'_, '_>) {
    gotmpl(bencher, TWO_PARAMS, &plain());
}

#[divan::bench(name = "render/3_params_and_if_escaped")]
fn condition(bencher: Bencher<'_, '_>) {
    ours(bencher, CONDITION, &plain());
}

#[divan::bench(name = "render/3_params_and_if_gotmpl_unescaped")]
fn condition_gotmpl(bencher: Bencher<'_, '_>) {
    gotmpl(bencher, CONDITION, &plain());
}

#[divan::bench(name = "compile/2_params")]
fn compile() -> Template {
    Template::compile(black_box(TWO_PARAMS), &specs()).expect("compiles")
}

#[divan::bench(name = "params_get/3_params_hit")]
fn params_get(bencher: Bencher<'_, '_>) {
    let params = plain();
    bencher.bench_local(|| black_box(&params).get(black_box("podFilter")).map(str::len));
}
