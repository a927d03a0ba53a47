//! The source that a command asks: what its flags, the environment and the configuration name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use fleetgauge::composed::ComposedSource;
use fleetgauge::federated::FederatedSource;
use fleetgauge::scrape::{ScrapeConfig, ScrapeSource};
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::registry::SourceRegistry;
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::MetricsSource;
use fleetgauge_core::target::{StaticTargets, TargetDiscovery};
use fleetgauge_server::metric::MetricSpec;

use crate::cli::SourceArgs;
use crate::cluster::Cluster;
use crate::config::{self, Config, Discovery, Environment, PROMETHEUS, SourceKind};
use crate::failure::Usage;
use crate::place::{Place, without_user};

/// The source of the flag `--scrape`.
const SCRAPED: &str = "scrape";

/// The sources of a configuration, made as they are needed.
pub(crate) struct Sources<'a> {
    config: &'a Config,
    environment: &'a Environment,
    args: &'a SourceArgs,
    made: SourceRegistry,
    /// Those of them that scrape.
    scraping: Mutex<BTreeMap<String, ScrapeSource>>,
    /// Once it was needed.
    cluster: Mutex<Option<Cluster>>,
}

// === impl Sources ===

impl<'a> Sources<'a> {
    pub(crate) fn new(config: &'a Config, environment: &'a Environment, args: &'a SourceArgs) -> Self {
        Self {
            config,
            environment,
            args,
            made: SourceRegistry::new(),
            scraping: Mutex::default(),
            cluster: Mutex::default(),
        }
    }

    /// Takes one that is there already as the source `name`.
    pub(crate) fn keep(&self, name: &str, source: Arc<dyn MetricsSource>) -> anyhow::Result<()> {
        Ok(self.made.register(name, source)?)
    }

    /// Takes the cluster that was opened before.
    pub(crate) fn keep_cluster(&self, cluster: Cluster) {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
    }

    /// The cluster that the configuration names, if it does. It is opened once.
    ///
    /// *Errors*: it cannot be.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) fn cluster(&self) -> anyhow::Result<Option<Cluster>> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if let (None, Some(section)) = (&*cluster, &self.config.kubernetes) {
            *cluster = Some(Cluster::open(section, self.environment)?);
        }
        Ok(cluster.clone())
    }

    /// The source `name`, if it was made here and scrapes.
    pub(crate) fn scraping(&self, name: &str) -> Option<ScrapeSource> {
        let scraping = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        scraping.get(name).cloned()
    }

    /// Those that were made here and scrape, by name.
    pub(crate) fn into_scraping(self) -> BTreeMap<String, ScrapeSource> {
        self.scraping.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the source that is asked, for the query `query` if one is named.
    ///
    /// *Errors*: there is no such source, or it is not clear which is meant.
    pub(crate) fn chosen(&self, query: Option<&str>) -> anyhow::Result<String> {
        if !self.args.scrape.is_empty() {
            return Ok(SCRAPED.to_owned());
        }
        if let Some(name) = &self.args.source {
            self.check_flags(name)?;
            return Ok(name.clone());
        }
        let own = self.config.sources.iter().filter(|source| match &source.kind {
            SourceKind::Composed(composed) => {
                let mut names = composed.config.queries.iter().map(|query| &*query.name);
                query.is_some_and(|query| names.any(|name| name == query))
            }
            _ => false,
        });
        let own: Vec<&str> = own.map(|source| &*source.name).collect();
        let all: Vec<&str> = self.config.sources.iter().map(|source| &*source.name).collect();
        let candidates = match &*own {
            [] if config::names_prometheus(self.config, self.environment, self.args) => {
                return Ok(PROMETHEUS.to_owned());
            }
            [] => all,
            _ => own,
        };
        match &*candidates {
            // It says what is missing.
            [] => Ok(PROMETHEUS.to_owned()),
            [one] => {
                self.check_flags(one)?;
                Ok((*one).to_owned())
            }
            several => {
                let names = several.join(", ");
                Err(Usage(format!(
                    "several sources can be asked; choose one with --source: {names}"
                ))
                .into())
            }
        }
    }

    /// The metrics of the configuration.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = &'a MetricSpec> + Clone + use<'a> {
        self.config.metrics.iter().map(|metric| &metric.spec)
    }

    /// The metric of this name, where no query has it.
    pub(crate) fn metric(&self, name: &str) -> Option<&'a MetricSpec> {
        let sources = self.config.sources.iter().map(|source| &*source.name);
        let mut queries = sources
            .chain([PROMETHEUS])
            .flat_map(|source| self.queries(source));
        match queries.any(|query| query.name == name) {
            true => None,
            false => self.metrics().find(|metric| metric.name.as_str() == name),
        }
    }

    /// The queries that `source` has from its start.
    pub(crate) fn queries(&self, source: &str) -> Box<dyn Iterator<Item = &'a QueryTemplate> + 'a> {
        match self.config.source(source).map(|source| &source.kind) {
            Some(SourceKind::Composed(composed)) => Box::new(composed.config.queries.iter()),
            _ => Box::new(self.config.all_queries()),
        }
    }

    /// Whether `source` computes from others, by queries of its own.
    pub(crate) fn is_composed(&self, source: &str) -> bool {
        let source = self.config.source(source);
        source.is_some_and(|source| matches!(source.kind, SourceKind::Composed(_)))
    }

    /// Whether `source` answers from others.
    pub(crate) fn is_layered(&self, source: &str) -> bool {
        let source = self.config.source(source);
        source.is_some_and(|source| !source.needs().is_empty())
    }

    /// Whether `source` scrapes pods itself.
    pub(crate) fn is_scraped(&self, source: &str) -> bool {
        match self.config.source(source).map(|source| &source.kind) {
            None => source == SCRAPED && !self.args.scrape.is_empty(),
            Some(kind) => matches!(kind, SourceKind::Scrape(_)),
        }
    }

    /// Whether `source` is a Prometheus, which does not know who should report.
    pub(crate) fn is_prometheus(&self, source: &str) -> bool {
        match self.config.source(source).map(|source| &source.kind) {
            None => source == PROMETHEUS,
            Some(kind) => matches!(kind, SourceKind::Prometheus(_)),
        }
    }

    /// Makes the source `name`, and those that it needs. What they are asked for begins now.
    ///
    /// *Errors*: it cannot be made.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) fn open(&self, name: &str) -> anyhow::Result<Arc<dyn MetricsSource>> {
        if let Some(source) = self.made.get(name) {
            return Ok(source);
        }
        let source = self.make(name)?;
        self.made.register(name, Arc::clone(&source))?;
        Ok(source)
    }

    fn make(&self, name: &str) -> anyhow::Result<Arc<dyn MetricsSource>> {
        let (config, environment, args) = (self.config, self.environment, self.args);
        let in_file = |error: fleetgauge::prometheus::ConfigError| anyhow!("source {name}: {error}");
        let source: Arc<dyn MetricsSource> = match config.source(name).map(|source| &source.kind) {
            _ if name == PROMETHEUS => {
                let source = config::prometheus_source(config, environment, args)?;
                let named = |error| config::name_flag(error, &args.access, Some(args));
                Arc::new(source.build().map_err(named)?)
            }
            None if name == SCRAPED && !args.scrape.is_empty() => Arc::new(self.scraped()?),
            None => return Err(self.unknown(name)),
            Some(SourceKind::Prometheus(section)) => {
                let source = config::described_source(section, environment);
                let source = source.with_context(|| format!("source {name}"))?;
                Arc::new(source.build().map_err(in_file)?)
            }
            Some(SourceKind::Scrape(section)) => {
                let source = section.source_config(environment);
                let mut source = source.with_context(|| format!("source {name}"))?;
                source.shard = config.shard.map(|shard| shard.shard(environment)).transpose()?;
                let discoveries: Vec<_> = section
                    .discoveries
                    .iter()
                    .map(|one| self.discovery(one))
                    .collect::<Result<_, _>>()?;
                let source = ScrapeSource::start(source, discoveries).map_err(in_file)?;
                let mut scraping = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
                scraping.insert(name.to_owned(), source.clone());
                Arc::new(source)
            }
            Some(SourceKind::Composed(composed)) => {
                self.open_needed(name)?;
                let config = composed.config.clone();
                return Ok(Arc::new(ComposedSource::new(config, &self.made)?));
            }
            Some(SourceKind::Federated(federated)) => {
                self.open_needed(name)?;
                Arc::new(FederatedSource::new(federated.config.clone(), &self.made)?)
            }
        };
        for query in config.all_queries() {
            let registered = source.query_list().register(query.clone());
            registered.with_context(|| format!("source {name}"))?;
        }
        Ok(source)
    }

    fn discovery(&self, discovery: &Discovery) -> anyhow::Result<Arc<dyn TargetDiscovery>> {
        match discovery {
            Discovery::Made(discovery) => Ok(Arc::clone(discovery)),
            Discovery::Pods(pods) => Ok(self.named_cluster()?.pods(pods)),
            Discovery::Services(services) => Ok(self.named_cluster()?.services(services)),
        }
    }

    fn named_cluster(&self) -> anyhow::Result<Cluster> {
        self.cluster()?.context("the configuration names no cluster")
    }

    /// Makes the sources that `name` asks.
    fn open_needed(&self, name: &str) -> anyhow::Result<()> {
        let needed = self.config.source(name).map(|source| source.needs());
        for source in needed.unwrap_or_default() {
            self.open(source)?;
        }
        Ok(())
    }

    /// The pods of `--scrape`.
    fn scraped(&self) -> anyhow::Result<ScrapeSource> {
        let args = self.args;
        let mut targets = StaticTargets::default();
        for url in &args.scrape {
            let place = Place::parse(url)
                .map_err(|problem| Usage(format!("--scrape {}: {problem}", without_user(url))))?;
            if place.has_credentials() {
                let message = "--scrape takes no user and password in a URL; use --bearer-token-file, or a source of \
                               the configuration file";
                return Err(Usage(message.to_owned()).into());
            }
            let labels = place.labels();
            targets = targets.with_target(labels.iter().map(|(name, value)| (&**name, &**value)));
        }
        let access = &args.access;
        let mut config = ScrapeConfig::new("fleetgauge");
        if let Some(file) = &access.bearer_token_file {
            config = config.with_bearer_token_file(file);
        }
        if let Some(timeout) = args.timeout {
            config.interval = config.interval.max(timeout);
            config.timeout = Some(timeout);
        }
        config.tls = access.tls();
        config.proxy = config::proxy(access.proxy.as_deref(), None, self.environment)?;
        let named = |error| config::name_flag(error, access, None);
        ScrapeSource::start(config, [Arc::new(targets) as _]).map_err(named)
    }

    /// Flags that describe a server are for that of `--prometheus`.
    fn check_flags(&self, source: &str) -> anyhow::Result<()> {
        if source != PROMETHEUS && self.config.source(source).is_none() {
            return Err(self.unknown(source));
        }
        match self.args.server_flag() {
            Some(flag) if source != PROMETHEUS => Err(Usage(format!(
                "{flag} is for the source prometheus, and {source} is asked, which the configuration file describes"
            ))
            .into()),
            _ => Ok(()),
        }
    }

    fn unknown(&self, name: &str) -> anyhow::Error {
        let names = || self.config.sources.iter().map(|source| &*source.name);
        let remedy = match (similar(name, names()), self.args.config.is_some()) {
            (Some(similar), _) => format!("did you mean {similar:?}?"),
            (None, true) => {
                let names: Vec<_> = names().chain([PROMETHEUS]).collect();
                format!("there are {}", names.join(", "))
            }
            (None, false) => "sources are described in the file of --config".to_owned(),
        };
        Usage(format!("there is no source {}; {remedy}", Excerpt(name))).into()
    }
}
