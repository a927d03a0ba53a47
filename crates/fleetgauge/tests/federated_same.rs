//! A federation answers what one server answers that holds the series of all members with their labels: over generated
//! expressions, with members in memory, and over three real servers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::backend::{Backend, FetchError, Request};
use fleetgauge::federated::{FederatedConfig, FederatedSource, Member};
use fleetgauge::query::Shape;
use fleetgauge::result::{Answer, MetricResult};
use fleetgauge::time::Timestamp;
use fleetgauge::{
    CachedSource, MetricsSource, Pack, PrometheusSource, PrometheusSourceConfig, QueryType, RefreshSpec,
    SourceRegistry,
};
use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::sample::SampleValue;
use fleetgauge_promql::store::MemoryStore;
use fleetgauge_syntax::parse;
use fleetgauge_syntax::remark::leaves_out;
use fleetgauge_testkit::Prometheus;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Runtime;

use differential::compare;
use differential::data::{self, Series};
use differential::expr::Expr;
use differential::generate::{Choices, expression, time};
use differential::oracle::{self, Oracle, Programs, When};
use differential::random::Random;
use differential::version::Version;

use crate::packs;

/// The generator of the evaluator's own comparison with Prometheus.
#[path = "../../fleetgauge-promql/tests/differential"]
#[allow(dead_code)]
mod differential {
    pub(crate) mod compare;
    pub(crate) mod data;
    pub(crate) mod expr;
    pub(crate) mod generate;
    mod native;
    pub(crate) mod oracle;
    pub(crate) mod random;
    mod remote_write;
    mod series;
    pub(crate) mod version;
    mod vocabulary;
}

/// The members are told apart by this label, which most series have and many expressions name.
const MEMBER: &str = "job";
const MEMBERS: [&str; 2] = ["a", "b"];

/// A server in memory.
struct Memory {
    engine: Engine,
    store: MemoryStore,
}

// === impl Memory ===

impl Memory {
    fn answer(&self, request: &Request) -> Result<Answer, FetchError> {
        let (at, text) = (request.at.unwrap(), request.promql());
        let evaluated = match request.steps(at)? {
            None => self.engine.instant(&self.store, &text, at),
            Some(steps) => self
                .engine
                .range(&self.store, &text, steps.start(), steps.end(), steps.step()),
        };
        let evaluated = evaluated.map_err(|error| FetchError::Rejected {
            kind: "execution".into(),
            message: error.to_string(),
        });
        Ok(evaluated?.answer)
    }
}

impl Backend for Memory {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        std::future::ready(self.answer(request)).boxed()
    }
}

/// The series that the member holds, which lack its label; and all of those that any member holds, with it.
fn held(series: &[Series], member: &str) -> Vec<Series> {
    let own = series
        .iter()
        .filter(|one| one.labels.contains(&(MEMBER, member_of(member))));
    let mut own: Vec<Series> = own.cloned().collect();
    let labels = own.iter_mut().map(|one| &mut one.labels);
    labels.for_each(|labels| labels.retain(|(name, _)| *name != MEMBER));
    own
}

fn member_of(name: &str) -> &'static str {
    MEMBERS.into_iter().find(|member| *member == name).unwrap()
}

fn federated(sources: &SourceRegistry) -> FederatedSource {
    let config = MEMBERS
        .iter()
        .fold(FederatedConfig::new("all"), |config, member| {
            config.with_member(Member::new(*member, *member).with_label(MEMBER, *member))
        });
    FederatedSource::new(config, sources).unwrap()
}

fn request(query: &str, when: When) -> Request {
    let name = "q".parse().unwrap();
    let request = Request::new(name, QueryType::PromQl, query, Duration::from_secs(60));
    let at = |millis: i64| Timestamp::from_millis(data::START + millis);
    let millis = |millis: i64| Duration::from_millis(millis.unsigned_abs());
    match when {
        When::At(time) => request.with_at(at(time)),
        When::Range(start, end, step) => {
            let (window, step) = (millis(end - start), millis(step));
            request.with_at(at(end)).with_shape(Shape::Range { window, step })
        }
    }
}

/// Of series that are alike, others may be taken elsewhere.
fn has_ties(expr: &Expr) -> bool {
    let ranks = |part: &&Expr| {
        matches!(part, Expr::Aggregate { op: "topk" | "bottomk", args, .. }
        if !args[1].walk().iter().all(|part| match part {
            Expr::Selector(selector) => ["gauge", "other", "sparse"].contains(&selector.name),
            _ => true,
        }))
    };
    expr.walk().iter().any(ranks)
}

/// An expression that can be read, and its text.
fn readable(random: &mut Random, version: Version) -> (Expr, String) {
    loop {
        let expr = expression(&mut Choices::new(random, version));
        let text = expr.print(data::START);
        let current = text.replace("holt_winters", "double_exponential_smoothing");
        if parse(&current).is_ok() {
            return (expr, current);
        }
    }
}

fn when(random: &mut Random, version: Version) -> When {
    let start = time(&mut Choices::new(random, version));
    if random.chance(70) {
        return When::At(start);
    }
    let step = random.pick(&[15_000, 60_000, 7_000]);
    When::Range(start, start + step * random.below(12) as i64, step)
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |count| count.parse().unwrap())
}

#[derive(Debug, Default)]
struct Counts {
    compared: usize,
    answered: usize,
    joined: usize,
    refused: usize,
}

/// Whether a member has it, and a number at each time: of native histograms a federation hands on what it need not compute
/// with, and refuses the rest.
fn is_of_members(series: &Series) -> bool {
    let mut samples = series.samples.iter();
    series.labels.iter().any(|(name, _)| *name == MEMBER)
        && samples.all(|(_, value)| matches!(value, SampleValue::Float(_)))
}

/// Compares so many expressions with what `whole` answers.
fn compare_all(
    random: &mut Random,
    version: Version,
    (series, count): (&[Series], usize),
    federated: &FederatedSource,
    mut whole: impl FnMut(&str, When) -> Option<oracle::Answer>,
    counts: &mut Counts,
) {
    let runtime = Runtime::new().unwrap();
    let (engine, store) = (Engine::new(EngineConfig::default()), data::store(series));
    for _ in 0..count {
        let (expr, query) = readable(random, version);
        let when = when(random, version);
        if has_ties(&expr) {
            continue;
        }
        let Some(expected) = whole(&query, when) else {
            continue;
        };
        let request = request(&query, when);
        let plan = || {
            federated
                .plan(&request)
                .map_or_else(|error| error.to_string(), |plan| plan.to_string())
        };
        let got = match runtime.block_on(federated.ask(request.clone())) {
            Ok(got) => got,
            Err(error) => {
                let error = error.to_string();
                // Where conditions on the member label let nothing through, the whole looks at no parameter.
                let is_known = query.contains("info(")
                    || error.contains("range vector is not one value")
                    || error.contains("invalid smoothing factor")
                    // Where all is left out for its kind, that is not "no data".
                    || expected.series.is_empty() && error.contains("not everything was asked");
                assert!(is_known, "{query} at {when:?}: {error}\n{}", plan());
                counts.refused += 1;
                continue;
            }
        };
        // Of values of another kind, and of buckets without a bound, it says that they are left out.
        let says_why = |warning: &str| leaves_out(warning) || warning.contains("are left out of what is");
        assert!(
            got.is_complete() || got.warnings().any(says_why),
            "{query}: {:?}",
            got.warnings().collect::<Vec<_>>()
        );
        let scale = || compare::scale(&engine, &store, &expr, when);
        let difference = compare::difference(&expr, &expected, &compare::read(&got), scale);
        assert_eq!(difference, None, "{query} at {when:?}\n{}", plan());
        counts.compared += 1;
        counts.answered += usize::from(!expected.series.is_empty());
        counts.joined += usize::from(plan().lines().last().unwrap() != "part0");
    }
}

#[test]
fn members_give_together_what_one_would_give_that_had_all() {
    let engine = Engine::new(EngineConfig::default());
    let count = number("FLEETGAUGE_DIFFERENTIAL", 2_000);
    let mut random = Random::new(number("FLEETGAUGE_DIFFERENTIAL_SEED", 7) as u64);
    let mut counts = Counts::default();
    for _ in 0..4 {
        let mut series = data::generate(&mut random, Version::V3);
        series.retain(is_of_members);
        let sources = SourceRegistry::new();
        for member in MEMBERS {
            let memory = Memory {
                engine: engine.clone(),
                store: data::store(&held(&series, member)),
            };
            let source = CachedSource::new(Arc::new(memory), Default::default());
            sources.register(member, Arc::new(source)).unwrap();
        }
        let all = data::store(&series);
        let whole = |query: &str, when: When| compare::ours(&engine, &all, query, when).ok();
        let work = (&*series, count / 4);
        compare_all(
            &mut random,
            Version::V3,
            work,
            &federated(&sources),
            whole,
            &mut counts,
        );
    }
    println!("{counts:?}");
    let Counts {
        compared,
        answered,
        joined,
        refused,
    } = counts;
    assert!(
        compared * 2 > count && answered * 5 > count * 2 && joined * 10 > count && refused * 10 < compared
    );
}

/// A source over a server that holds these series, as a member.
fn member(sources: &SourceRegistry, name: &str, server: &Prometheus) {
    let source = PrometheusSource::new(PrometheusSourceConfig::new(server.url())).unwrap();
    sources.register(name, Arc::new(source)).unwrap();
}

#[test]
fn two_servers_give_together_what_a_third_gives_that_has_all() {
    let count = number("FLEETGAUGE_DIFFERENTIAL", 2_500);
    let mut random = Random::new(number("FLEETGAUGE_DIFFERENTIAL_SEED", 7) as u64);
    let mut series = data::generate(&mut random, Version::V2);
    series.retain(is_of_members);
    let servers = MEMBERS.map(|member| {
        let data = data::open_metrics(&held(&series, member));
        Prometheus::builder().data(&data).start().unwrap()
    });
    let sources = SourceRegistry::new();
    for (name, server) in MEMBERS.iter().zip(&servers) {
        member(&sources, name, server);
    }
    let mut whole = Oracle::start(&Programs::v2(), &series);
    // It was renamed since, which no part of a query may show.
    let known = |query: &str| !query.contains("double_exponential_smoothing");
    let whole = |query: &str, when: When| known(query).then(|| whole.ask(query, when).ok())?;
    let mut counts = Counts::default();
    let work = (&*series, count);
    compare_all(
        &mut random,
        Version::V2,
        work,
        &federated(&sources),
        whole,
        &mut counts,
    );
    println!("{counts:?}");
    assert!(counts.compared * 2 > count && counts.answered * 3 > count && counts.joined * 10 > count);
}

/// Series by their labels, each with its points.
fn rows(result: &MetricResult) -> BTreeMap<String, Vec<(i64, f64)>> {
    let rows = result.answer().series().map(|series| {
        let points = series
            .points()
            .map(|point| (point.timestamp.as_millis(), point.value));
        (series.labels().to_string(), points.collect())
    });
    rows.collect()
}

fn is_close(one: &[(i64, f64)], other: &[(i64, f64)]) -> bool {
    let mut pairs = one.iter().zip(other);
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) || a.is_nan() && b.is_nan();
    one.len() == other.len() && pairs.all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
}

/// Pods of the same names are in both clusters, and some in one alone.
#[tokio::test]
async fn every_query_of_the_packs_answers_of_two_clusters_as_of_one_server() {
    let [eu, us] = [0, 1].map(|cluster| {
        let mut all = packs::series(&packs::JOBS[cluster..=cluster]);
        all.retain(|one| cluster == 0 || one.labels.get("pod").is_none_or(|pod| pod.len() % 2 == 0));
        all
    });
    let labelled = |series: &[packs::Series], cluster: &str| {
        let mut series = series.to_vec();
        for one in &mut series {
            one.labels.insert("cluster".to_owned(), cluster.to_owned());
        }
        series
    };
    let servers = [packs::prometheus(&eu), packs::prometheus(&us)];
    let both = [labelled(&eu, "eu"), labelled(&us, "us")].concat();
    let all = packs::prometheus(&both);
    let whole = PrometheusSource::new(PrometheusSourceConfig::new(all.url())).unwrap();
    let sources = SourceRegistry::new();
    let config =
        ["eu", "us"]
            .iter()
            .zip(&servers)
            .fold(FederatedConfig::new("both"), |config, (name, server)| {
                member(&sources, name, server);
                config.with_member(Member::new(*name, *name).with_label("cluster", *name))
            });
    let federated = FederatedSource::new(config, &sources).unwrap();
    for pack in Pack::builtins() {
        pack.register_into(whole.query_list()).unwrap();
        pack.register_into(federated.query_list()).unwrap();
    }
    let names = whole.query_list().list();
    let end = Timestamp::from_millis(i64::from(packs::START + (packs::SAMPLES - 1) * packs::STEP) * 1_000);
    let spec = || {
        RefreshSpec::queries(names.clone())
            .params(packs::params())
            .at(end)
    };
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let mut answered = 0;
    for spec in [spec(), spec().range(minutes(10), minutes(1))] {
        let (expected, got) = tokio::join!(whole.refresh(spec.clone()), federated.refresh(spec));
        for (name, expected) in expected.iter() {
            let query = whole.query_list().render(name, &packs::params()).unwrap();
            let expected = expected.as_ref().unwrap_or_else(|error| panic!("{error}"));
            let got = got[name]
                .as_ref()
                .unwrap_or_else(|error| panic!("{error}\n{query}"));
            assert!(got.is_complete(), "{name}");
            let (expected, got) = (rows(expected), rows(got));
            let is_same = expected.len() == got.len()
                && expected
                    .iter()
                    .zip(&got)
                    .all(|(a, b)| a.0 == b.0 && is_close(a.1, b.1));
            assert!(
                is_same,
                "{name}\n expected {expected:#?}\n found {got:#?}\n{query}"
            );
            answered += usize::from(!expected.is_empty());
        }
    }
    assert!(answered > names.len(), "{answered} of {} twice", names.len());
}
