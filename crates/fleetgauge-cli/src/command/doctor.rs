//! `fleetgauge doctor`: which queries answer, and why others do not.

mod target;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::bail;
use fleetgauge::doctor::{Finding, Severity};
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::{MetricsSource, RefreshSpec};

use super::render;
use crate::cli::{Doctor, OutputFormat};
use crate::config::{self, Config, Environment, PROMETHEUS};
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
    let is_all = args.packs.is_empty() && !is_named(args);
    let has_cluster = is_all && config.kubernetes.is_some();
    let wanted = wanted(args, &config, &sources, &asked, has_cluster)?;
    let params = render::values(&args.params);
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
            let mut doctor = fleetgauge::doctor::Doctor::new(source).params(params.clone());
            if let Some(deadline) = args.deadline {
                doctor = doctor.deadline(deadline);
            }
            let progress = Progress::new(queries);
            let found = doctor.examine_with(queries, |i| progress.show(i)).await;
            progress.clear();
            findings.extend(found.into_iter().map(|finding| (name.clone(), finding)));
        }
        Ok(findings)
    })
}

/// Whether a source is named, of all that there may be.
fn is_named(args: &Doctor) -> bool {
    let of = &args.source;
    !of.scrape.is_empty() || of.source.is_some() || of.prometheus.is_some()
}

/// The sources that are asked: the one that is named, or all of the configuration.
fn asked(
    args: &Doctor,
    config: &Config,
    environment: &Environment,
    sources: &Sources<'_>,
) -> anyhow::Result<Vec<String>> {
    let of = &args.source;
    if is_named(args) || config.sources.is_empty() {
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
            if sources.is_composed(source) {
                queries.extend(sources.queries(source).cloned());
                continue;
            }
            queries.extend(config.queries.iter().cloned());
            queries.extend(
                config
                    .packs
                    .iter()
                    .flat_map(|pack| pack.queries().iter().cloned()),
            );
            if queries.is_empty() && asked.len() == 1 {
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
