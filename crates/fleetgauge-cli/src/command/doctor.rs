//! `fleetgauge doctor`: which queries answer, and why others do not.

mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use fleetgauge::composed::InputQuery;
use fleetgauge::doctor::{Finding, Severity};
use fleetgauge_core::params::Params;
use fleetgauge_core::policy::OnNoData;
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::{MetricsSource, RefreshSpec};

use super::render;
use crate::cli::{Doctor, OutputFormat};
use crate::config::{self, Config, Environment, PROMETHEUS, SourceKind};
use crate::failure::{Reported, Usage};
use crate::output::{self, doctor, json};
use crate::sources::Sources;

/// The pack that is examined where nothing is named.
const DEFAULT_PACK: &str = "inference";
/// What findings of the cluster have in the place of a source.
const CLUSTER: &str = "kubernetes";
/// How often pods are scraped before they are asked, so that rates have what they need.
const SCRAPES: u32 = 4;
const BETWEEN_SCRAPES: Duration = Duration::from_millis(300);
/// After which time it is told how far the examination is.
const IS_LONG: Duration = Duration::from_secs(1);

/// For how long a source is examined, if nothing else is said.
const DEADLINE: Duration = Duration::from_secs(60);
/// How many metrics that ask for a query are named.
const MAX_NAMED: usize = 3;

/// Queries that are asked with the same parameters.
#[derive(Default)]
struct Asking {
    params: Params,
    queries: Vec<QueryTemplate>,
    /// By which metrics, by the name of the query.
    metrics: BTreeMap<String, Vec<String>>,
}

pub(super) fn run(args: &Doctor) -> anyhow::Result<()> {
    let findings = examine(args)?;
    match args.output {
        OutputFormat::Table => output::print_line(&doctor::text(&findings))?,
        OutputFormat::Json => output::print(&json::to_line(&json::doctor::Findings::new(&findings))?)?,
    }
    let is_error = |(_, finding): &(String, Finding)| finding.severity == Severity::Error;
    match findings.iter().any(is_error) {
        true => Err(Reported.into()),
        false => Ok(()),
    }
}

/// The findings, each with the source that was asked.
fn examine(args: &Doctor) -> anyhow::Result<Vec<(String, Finding)>> {
    let environment = Environment::of_collector()?;
    let config = config::read_if_given(args.source.config.as_deref())?;
    let sources = Sources::new(&config, &environment, &args.source);
    let asked = asked(args, &config, &environment, &sources)?;
    // The cluster is a part of the configuration; who names something else does not mean it.
    let is_all = args.packs.is_empty() && !args.source.names_one();
    let has_cluster = is_all && config.kubernetes.is_some();
    let wanted = wanted(args, &config, &sources, &asked, has_cluster)?;
    let given = render::values(&args.params);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut findings = Vec::new();
        if has_cluster && let Some(cluster) = sources.cluster()? {
            let found = cluster.examine(&config, &args.service_account).await;
            findings.extend(found.into_iter().map(|finding| (CLUSTER.to_owned(), finding)));
        }
        for (name, queries) in asked.iter().zip(&wanted) {
            if queries.is_empty() {
                continue;
            }
            let source = sources.open(name)?;
            if sources.is_scraped(name) {
                collect(&*source).await;
                if let Some(scraping) = sources.scraping(name).filter(|_| has_cluster) {
                    let found = target::examine(&scraping);
                    findings.extend(found.into_iter().map(|finding| (name.clone(), finding)));
                }
            }
            let began = Instant::now();
            for asking in askings(&config, name, queries) {
                let mut params = given.clone();
                let of_metric = asking.params.iter().filter(|(name, _)| given.get(name).is_none());
                of_metric.for_each(|(name, value)| params.push(name, value));
                let left = args.deadline.unwrap_or(DEADLINE).saturating_sub(began.elapsed());
                let doctor = fleetgauge::doctor::Doctor::new(Arc::clone(&source))
                    .params(params)
                    .deadline(left);
                let progress = Progress::new(&asking.queries);
                let found = doctor.examine_with(&asking.queries, |i| progress.show(i)).await;
                progress.clear();
                findings.extend(found.into_iter().map(|mut finding| {
                    if let Some(metrics) = asking.metrics.get(&finding.query) {
                        finding.what += &format!(", as {} it", asks(metrics));
                    }
                    (name.clone(), finding)
                }));
            }
        }
        Ok(findings)
    })
}

/// The sources that are asked: the one that is named, or all of the configuration.
fn asked(
    args: &Doctor,
    config: &Config,
    environment: &Environment,
    sources: &Sources<'_>,
) -> anyhow::Result<Vec<String>> {
    let of = &args.source;
    if args.source.names_one() || config.sources.is_empty() {
        return Ok(vec![sources.chosen(None)?]);
    }
    let mut names: Vec<String> = config.sources.iter().map(|source| source.name.clone()).collect();
    if config::names_prometheus(config, environment, of) && config.source(PROMETHEUS).is_none() {
        names.insert(0, PROMETHEUS.to_owned());
    }
    Ok(names)
}

/// For each of the sources `asked`, the queries that are examined there.
fn wanted(
    args: &Doctor,
    config: &Config,
    sources: &Sources<'_>,
    asked: &[String],
    has_cluster: bool,
) -> anyhow::Result<Vec<Vec<QueryTemplate>>> {
    let mut wanted: Vec<Vec<QueryTemplate>> = vec![Vec::new(); asked.len()];
    if args.packs.is_empty() {
        for (queries, source) in wanted.iter_mut().zip(asked) {
            // Packs have queries of engines that nobody may have here.
            if !config.metrics.is_empty() {
                let used = used(config, source);
                let of_source = sources.queries(source);
                queries.extend(of_source.filter(|query| used.contains(&*query.name)).cloned());
                continue;
            }
            if sources.is_composed(source) {
                queries.extend(sources.queries(source).cloned());
                continue;
            }
            queries.extend(config.queries.iter().cloned());
            let of_packs = config.packs.iter().flat_map(|pack| pack.queries());
            queries.extend(of_packs.cloned());
        }
        if config.metrics.is_empty() && asked.len() == 1 {
            let queries = &mut wanted[0];
            if queries.is_empty() {
                let pack = config.builtin.iter().filter(|pack| pack.name() == DEFAULT_PACK);
                queries.extend(pack.flat_map(|pack| pack.queries().iter().cloned()));
            }
        }
        if wanted.iter().all(Vec::is_empty) && !has_cluster {
            bail!(Usage(
                "the configuration has no queries; name packs, as `fleetgauge doctor vllm`".to_owned()
            ));
        }
        return Ok(wanted);
    }
    for name in &args.packs {
        let mut is_known = false;
        for (queries, source) in wanted.iter_mut().zip(asked) {
            let of_pack = |query: &&QueryTemplate| {
                let (pack, _) = query.name.split_once('/').unwrap_or_default();
                query.name == *name || pack == name
            };
            for query in sources.queries(source).filter(of_pack) {
                is_known = true;
                if !queries.iter().any(|known| known.name == query.name) {
                    queries.push(query.clone());
                }
            }
        }
        if !is_known {
            let packs = config.all_packs().map(fleetgauge::Pack::name);
            let queries = config.all_queries().map(|query| &*query.name);
            let hint = similar(name, packs.chain(queries));
            let hint = hint.map_or_else(
                || "`fleetgauge packs` lists the packs".to_owned(),
                |hint| format!("did you mean {hint:?}?"),
            );
            bail!(Usage(format!(
                "there is no pack or query {}; {hint}",
                Excerpt(name)
            )));
        }
    }
    Ok(wanted)
}

/// The `queries` of `source` by the parameters with which metrics ask for them, and last those that are asked for by none, or for each
/// variant, whose parameters are found out.
fn askings(config: &Config, source: &str, queries: &[QueryTemplate]) -> Vec<Asking> {
    let mut askings: Vec<Asking> = Vec::new();
    let mut asked = BTreeSet::new();
    for metric in &config.metrics {
        let spec = &metric.spec;
        let query = queries.iter().find(|query| query.name == spec.query.as_str());
        let Some(query) = query.filter(|_| *spec.source == *source && spec.for_each.is_none()) else {
            continue;
        };
        asked.insert(&*query.name);
        let known = askings.iter().position(|asking| asking.params == spec.params);
        let at = known.unwrap_or_else(|| {
            askings.push(Asking {
                params: spec.params.clone(),
                ..Asking::default()
            });
            askings.len() - 1
        });
        let asking = &mut askings[at];
        let metrics = asking.metrics.entry(query.name.clone()).or_default();
        metrics.push(spec.name.to_string());
        if !asking.queries.iter().any(|known| known.name == query.name) {
            asking.queries.push(query.clone());
        }
    }
    let others: Vec<_> = queries
        .iter()
        .filter(|query| !asked.contains(&*query.name))
        .cloned()
        .collect();
    if !others.is_empty() {
        askings.push(Asking {
            queries: others,
            ..Asking::default()
        });
    }
    askings
}

/// Who asks for a query, in words.
fn asks(metrics: &[String]) -> String {
    let named = metrics[..metrics.len().min(MAX_NAMED)].join(", ");
    match metrics.len() {
        1 => format!("the metric {named} asks"),
        len if len > MAX_NAMED => format!("the metrics {named} and {} more ask", len - MAX_NAMED),
        _ => format!("the metrics {named} ask"),
    }
}

/// The names of the queries that the metrics ask of `source`, be it through others.
fn used<'a>(config: &'a Config, source: &str) -> BTreeSet<&'a str> {
    let mut asked: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut next: Vec<(&str, &str)> = Vec::new();
    for metric in &config.metrics {
        let spec = &metric.spec;
        let proof = match &spec.policy.on_no_data {
            Some(OnNoData::Value { when, .. }) => Some(when.as_str()),
            _ => None,
        };
        let queries = [spec.query.as_str()].into_iter().chain(proof);
        next.extend(queries.map(|query| (&*spec.source, query)));
    }
    while let Some((name, query)) = next.pop() {
        if !asked.insert((name, query)) {
            continue;
        }
        let beside = config.all_queries().find(|known| known.name == query);
        let beside = beside
            .into_iter()
            .flat_map(|query| query.expected.iter().map(|other| other.as_str()));
        next.extend(beside.map(|other| (name, other)));
        match config.source(name).map(|source| &source.kind) {
            Some(SourceKind::Composed(composed)) => next.extend(composed.config.inputs.iter().filter_map(
                |input| match &input.query {
                    InputQuery::Named(query) => Some((&*input.source, &**query)),
                    InputQuery::Own(_) => None,
                },
            )),
            Some(SourceKind::Federated(federated)) => {
                let members = federated.config.members.iter();
                next.extend(
                    members
                        .flat_map(|member| &member.sources)
                        .map(|source| (&**source, query)),
                );
            }
            _ => {}
        }
    }
    let of_source = asked.into_iter().filter(|(name, _)| *name == source);
    of_source.map(|(_, query)| query).collect()
}

/// Scrapes pods often enough for rates.
async fn collect(source: &dyn MetricsSource) {
    const NAME: &str = "doctor:collect";
    if source
        .query_list()
        .register(QueryTemplate::metric_name(NAME, "up").only_by_name())
        .is_err()
    {
        return;
    }
    for i in 0..SCRAPES {
        if i > 0 {
            tokio::time::sleep(BETWEEN_SCRAPES).await;
        }
        // What fails will fail again, and is told then.
        let results = source.refresh(RefreshSpec::queries([NAME])).await;
        if !results.is_complete() {
            break;
        }
    }
    source.query_list().remove(NAME);
}

/// On a terminal, how far an examination is that takes long.
struct Progress<'a> {
    queries: &'a [QueryTemplate],
    began: Instant,
    is_shown: bool,
}

// === impl Progress ===

impl<'a> Progress<'a> {
    fn new(queries: &'a [QueryTemplate]) -> Self {
        Self {
            queries,
            began: Instant::now(),
            is_shown: io::stderr().is_terminal(),
        }
    }

    fn show(&self, i: usize) {
        if self.is_shown && self.began.elapsed() > IS_LONG {
            let name = output::lines(&self.queries[i].name);
            let _ = write!(
                io::stderr(),
                "\r\x1b[K{} of {}: {name}",
                i + 1,
                self.queries.len()
            );
        }
    }

    fn clear(&self) {
        if self.is_shown && self.began.elapsed() > IS_LONG {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
