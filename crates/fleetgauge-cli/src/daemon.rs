//! The daemon: sources, metrics and doors of one configuration, joined, and read anew when it changes.

mod authority;
mod files;
mod opened;
mod remotes;
mod signals;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use fleetgauge::scrape::ScrapeSource;
use fleetgauge_core::source::MetricsSource;
use fleetgauge_core::time::Clock;
use fleetgauge_server::door::api::{self, Api, SourceView};
use fleetgauge_server::door::keda::{self, KedaConfig};
use fleetgauge_server::door::kubernetes;
use fleetgauge_server::door::kubernetes::caller::{Cluster as _, Unanswered};
use fleetgauge_server::door::listener::Limits;
use fleetgauge_server::door::own::OwnMetrics;
use fleetgauge_server::door::prometheus::{
    self, History, PrometheusApi, PrometheusApiConfig, ScrapedSource, Served,
};
use fleetgauge_server::door::{dashboard, fallback, health, reload};
use fleetgauge_server::readiness::Readiness;
use fleetgauge_server::scheduler::{Fleet, Scheduler};
use fleetgauge_server::series::{ReadingSeries, ReadingWindow};
use fleetgauge_server::store::Store;
use fleetgauge_server::variant::Variant;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::{Serve, SourceArgs};
use crate::cluster::Cluster;
use crate::config::{self, Config, DEFAULT_ADDRESS, DoorSection, Environment, PROMETHEUS, SourceKind};
use crate::log::{Log, LogFormat};
use crate::sources::Sources;

use authority::Authority;
use files::{Contents, Watched};
use opened::Opened;
use remotes::Remotes;
pub(crate) use signals::Signals;
use signals::Told;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// So often files are read that change while they are read.
const MAX_TRIES: usize = 5;

/// How long readings are kept as series.
const READINGS_KEPT: Duration = Duration::from_secs(900);

/// What is kept fresh, and by which sources.
///
/// Cheap to clone; clones are the same daemon.
#[derive(Clone)]
pub(crate) struct Daemon(Arc<Inner>);

struct Inner {
    file: PathBuf,
    environment: Environment,
    scheduler: Scheduler,
    readiness: Readiness,
    api: Api,
    prometheus: PrometheusApi,
    /// Who may ask for external metrics.
    authority: Authority,
    /// The readings as series.
    series: ReadingWindow,
    stop: CancellationToken,
    /// Asks for the configuration to be read anew.
    reload: Notify,
    log: Log,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sources: BTreeMap<String, Made>,
    /// What is kept fresh, and the variants of it that the file describes.
    fleet: Fleet,
    configured: Vec<Variant>,
    cluster: Option<Cluster>,
    /// Follows the cluster's variants.
    following: Option<AbortHandle>,
    /// The files of the configuration.
    files: Watched,
    /// What was taken at the start alone.
    server: Option<DoorSection>,
    keda: Option<DoorSection>,
    external_metrics: Option<DoorSection>,
    log_format: LogFormat,
    opened: Vec<Opened>,
    /// The servers that are written to.
    remotes: Remotes,
}

/// The doors that are open.
pub(crate) struct Doors {
    serving: TaskTracker,
    closing: CancellationToken,
    /// Where the JSON door and those beside it are, as `http://127.0.0.1:9095`.
    pub(crate) server: String,
    /// Where KEDA's door is.
    pub(crate) keda: Option<SocketAddr>,
}

/// A source that was made, and what it was made from.
#[derive(Clone)]
struct Made {
    content: String,
    source: Arc<dyn MetricsSource>,
    scraping: Option<ScrapeSource>,
}

// === impl Daemon ===

impl Daemon {
    /// The daemon of `config`, which begins to collect.
    ///
    /// *Errors*: a source cannot be made, or a metric not be kept fresh.
    pub(crate) fn start(
        args: &Serve,
        (config, contents): (&Config, Contents),
        environment: Environment,
        log: Log,
    ) -> anyhow::Result<Self> {
        let store = Store::new(Clock::system());
        let scheduler = Scheduler::new(store.clone());
        let readiness = Readiness::new(store.clone(), args.ready_after);
        let stop = CancellationToken::new();
        let series = ReadingSeries::new(store, READINGS_KEPT);
        let window = series.window();
        tokio::spawn(series.follow(stop.clone()));
        let daemon = Self(Arc::new(Inner {
            file: args.config.clone(),
            environment,
            api: Api::new(&scheduler, readiness.clone(), stop.clone()),
            prometheus: PrometheusApi::new(PrometheusApiConfig::default()),
            authority: Authority::default(),
            series: window,
            scheduler,
            readiness,
            stop,
            reload: Notify::new(),
            log,
            state: Mutex::default(),
        }));
        let mut state = daemon.state();
        state.files = Watched::new(contents);
        state.server.clone_from(&config.server);
        state.keda.clone_from(&config.keda);
        state.external_metrics.clone_from(&config.external_metrics);
        state.log_format = config.log.format;
        daemon.apply(config, &mut state)?;
        drop(state);
        Ok(daemon)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the doors.
    ///
    /// *Errors*: one of them cannot be opened.
    pub(crate) async fn open(&self, config: &Config, args: &Serve) -> anyhow::Result<Doors> {
        let section = config.server.clone();
        let mut server = section.unwrap_or(DoorSection {
            listen: DEFAULT_ADDRESS,
            tls: None,
            bearer_token_file: None,
            insecure: false,
        });
        if let Some(listen) = args.listen {
            let moved = server.at(listen);
            server = moved.with_context(|| {
                format!("--listen, and the section `server` of {}", args.config.display())
            })?;
        }
        let (opened, listener) = Opened::open("server", &server, Limits::default()).await?;
        let access = opened.access();
        self.state().opened.push(opened);
        let own = OwnMetrics::new(&self.0.api);
        let daemon = self.clone();
        let pages = health::routes(self.0.readiness.clone())
            .merge(reload::routes(access.clone(), move || {
                daemon.reload_and_tell("POST /-/reload")
            }))
            .merge(own.routes(access.clone()));
        let json = api::routes(self.0.api.clone(), access.clone());
        let dashboard = dashboard::routes(self.0.api.clone(), self.0.prometheus.clone(), &access);
        let prometheus = access.guard(prometheus::routes(self.0.prometheus.clone()));
        let router = own
            .counted("pages", fallback::pages(pages, dashboard::error_page))
            .merge(own.counted("dashboard", dashboard))
            .merge(own.counted("json", json))
            .merge(own.counted("prometheus", prometheus));
        own.count_connections("server", listener.counts());
        let scheme = if server.tls.is_some() { "https" } else { "http" };
        let mut doors = Doors {
            serving: TaskTracker::new(),
            closing: CancellationToken::new(),
            server: format!("{scheme}://{}", listener.address()?),
            keda: None,
        };
        tracing::info!("serving at {}", doors.server);
        doors.serving.spawn(listener.serve(router, doors.closing.clone()));
        if let Some(keda) = &config.keda {
            doors.keda = Some(self.open_keda(keda, &own, &doors).await?);
        }
        if let Some(door) = &config.external_metrics {
            self.open_external_metrics(door, &own, &doors).await?;
        }
        Ok(doors)
    }

    /// Serves until the process is told to end.
    ///
    /// *Errors*: signals cannot be listened for.
    pub(crate) async fn serve(&self, doors: Doors, mut signals: Signals) -> anyhow::Result<()> {
        let watching = tokio::spawn(self.clone().watch_files());
        while signals.next().await? == Told::Reload {
            self.0.reload.notify_one();
        }
        tokio::spawn(async move {
            // Whoever asks a second time does not wait for what is under way.
            while signals.next().await.is_ok_and(|told| told == Told::Reload) {}
            std::process::exit(1);
        });
        tracing::info!("shutting down");
        watching.abort();
        self.end(doors).await;
        Ok(())
    }

    /// Closes the doors, and ends what is under way.
    pub(crate) async fn end(&self, doors: Doors) {
        self.0.readiness.end();
        self.0.stop.cancel();
        if let Some(following) = self.state().following.take() {
            following.abort();
        }
        doors.closing.cancel();
        doors.serving.close();
        doors.serving.wait().await;
        self.0.scheduler.shutdown().await;
        // Last, when nothing comes any more but what is scraped.
        let remotes = self.state().remotes.end();
        remotes.wait().await;
    }

    /// Opens KEDA's door.
    ///
    /// *Errors*: it cannot be opened.
    async fn open_keda(
        &self,
        door: &DoorSection,
        own: &OwnMetrics,
        doors: &Doors,
    ) -> anyhow::Result<SocketAddr> {
        let mut config = KedaConfig::default();
        let (opened, listener) = Opened::open("keda", door, config.limits()).await?;
        config.access = opened.access();
        self.state().opened.push(opened);
        own.count_connections("keda", listener.counts());
        let address = listener.address()?;
        tracing::info!("serving KEDA at {address}");
        let Inner {
            scheduler,
            readiness,
            stop,
            ..
        } = &*self.0;
        let routes = keda::routes(scheduler.store().clone(), readiness.clone(), config, stop.clone());
        let routes = own.counted("keda", routes);
        doors.serving.spawn(listener.serve(routes, doors.closing.clone()));
        Ok(address)
    }

    /// Opens the door of the External and Custom Metrics API.
    ///
    /// *Errors*: it cannot be opened.
    async fn open_external_metrics(
        &self,
        door: &DoorSection,
        own: &OwnMetrics,
        doors: &Doors,
    ) -> anyhow::Result<()> {
        let (opened, listener) = Opened::open("external_metrics", door, Limits::default()).await?;
        self.state().opened.push(opened);
        own.count_connections("external_metrics", listener.counts());
        tracing::info!(
            "serving the metrics APIs of Kubernetes at {}",
            listener.address()?
        );
        let Inner {
            scheduler,
            readiness,
            authority,
            ..
        } = &*self.0;
        let trusted = authority.clone();
        readiness.need(move || match trusted.trust() {
            Ok(_) => Ok(()),
            Err(Unanswered(why)) => Err(format!("whose certificates external_metrics believes: {why}")),
        });
        let routes = kubernetes::routes(
            scheduler.store().clone(),
            readiness.clone(),
            Arc::new(authority.clone()),
            authority.clone(),
        );
        let routes = own.counted("external_metrics", routes);
        doors.serving.spawn(listener.serve(routes, doors.closing.clone()));
        Ok(())
    }

    // --- reading anew ---

    /// Reads the configuration anew, and takes it if it is right.
    ///
    /// *Errors*: what is wrong; nothing has changed.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let mut state = self.state();
        let before = state.files.now();
        let (config, contents) = match read(&self.0.file) {
            Ok(read) => read,
            Err(error) => {
                state.files = Watched::new(before);
                self.0.api.reloaded(Err(format!("{error:#}")));
                return Err(error);
            }
        };
        state.files = Watched::new(contents);
        anyhow::ensure!(!self.0.stop.is_cancelled(), "the daemon is shutting down");
        let applied = self.apply(&config, &mut state);
        self.0
            .api
            .reloaded(applied.as_ref().copied().map_err(|error| format!("{error:#}")));
        if applied.is_ok() {
            self.0.log.set_level(config.log.level);
            self.tell_restart(&config, &state);
        }
        applied
    }

    /// Says what the configuration says otherwise than at the start, and is taken at a start alone.
    fn tell_restart(&self, config: &Config, state: &State) {
        let changed = [
            ("server", config.server != state.server),
            ("keda", config.keda != state.keda),
            (
                "external_metrics",
                config.external_metrics != state.external_metrics,
            ),
            ("log.format", config.log.format != state.log_format),
        ];
        let changed = changed.into_iter().filter(|(_, has_changed)| *has_changed);
        let changed: BTreeSet<_> = changed.map(|(what, _)| what).collect();
        let named = changed.iter().copied().collect::<Vec<_>>().join(", ");
        if self.0.api.needs_restart(changed) && !named.is_empty() {
            tracing::warn!(
                "changed in the configuration, and taken at a start alone: {named}; restart for it"
            );
        }
    }

    /// As [`reload`](Self::reload), and logs what became of it.
    fn reload_and_tell(&self, why: &str) -> anyhow::Result<()> {
        let reloaded = self.reload();
        match &reloaded {
            Ok(()) => tracing::info!("configuration read again ({why})"),
            Err(error) => {
                tracing::error!("the configuration that was read again ({why}) is not taken: {error:#}");
            }
        }
        reloaded
    }

    /// Reads the configuration anew when its files change, and when that is asked for.
    pub(crate) async fn watch_files(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked_for = tokio::select! {
                _ = ticks.tick() => false,
                () = self.0.reload.notified() => true,
            };
            let daemon = self.clone();
            // A disk or a network that hangs holds up nothing else. What panics is logged by then.
            let _ = tokio::task::spawn_blocking(move || {
                if is_asked_for {
                    // It is logged, and nobody else waits to hear it.
                    let _ = daemon.reload_and_tell("SIGHUP");
                } else {
                    daemon.look_at_files();
                }
            })
            .await;
        }
    }

    fn look_at_files(&self) {
        let has_changed = {
            let mut state = self.state();
            state.opened.iter_mut().for_each(Opened::renew);
            state.files.look()
        };
        if has_changed {
            let _ = self.reload_and_tell("its files have changed");
        }
    }

    /// Keeps the variants of `cluster` fresh from now on, if they are not those that are followed already.
    fn follow(&self, cluster: Option<Cluster>, state: &mut State) {
        let is_same = match (&state.cluster, &cluster) {
            (Some(before), Some(now)) => before.is_same(now),
            (before, now) => before.is_none() && now.is_none(),
        };
        state.cluster.clone_from(&cluster);
        if is_same {
            return;
        }
        if let Some(following) = state.following.take() {
            following.abort();
        }
        self.0.readiness.wait_for(None);
        if let Some(cluster) = cluster {
            self.0.readiness.wait_for(Some("the cluster".to_owned()));
            let daemon = self.clone();
            let following = cluster.follow(move |unknown| {
                daemon.take_variants();
                daemon.0.readiness.wait_for(unknown);
            });
            state.following = Some(tokio::spawn(following).abort_handle());
        }
    }

    /// Keeps fresh what is read for each variant, for those that there are now.
    fn take_variants(&self) {
        let mut state = self.state();
        let Some(cluster) = &state.cluster else { return };
        let variants = cluster.variants(&state.configured);
        if variants == state.fleet.variants || self.0.stop.is_cancelled() {
            return;
        }
        let fleet = Fleet {
            variants,
            ..state.fleet.clone()
        };
        if let Err(error) = self.0.scheduler.apply(&fleet) {
            tracing::error!("the variants that the cluster has now are not taken: {error}");
            return;
        }
        let named = |variants: &[Variant]| -> BTreeSet<_> {
            variants.iter().map(|variant| variant.variant.clone()).collect()
        };
        let (before, now) = (named(&state.fleet.variants), named(&fleet.variants));
        now.difference(&before)
            .for_each(|came| tracing::info!("kubernetes: the variant {came} is there"));
        before
            .difference(&now)
            .for_each(|went| tracing::info!("kubernetes: the variant {went} is gone"));
        self.0.api.set_variants(fleet.variants.clone());
        state.fleet = fleet;
    }

    /// Keeps fresh what `config` says. Sources of which it says what it said before stay.
    fn apply(&self, config: &Config, state: &mut State) -> anyhow::Result<()> {
        let Inner {
            environment,
            scheduler,
            api,
            ..
        } = &*self.0;
        let args = SourceArgs::default();
        let sources = Sources::new(config, environment, &args);
        let same_cluster = |cluster: &&Cluster| {
            config
                .kubernetes
                .as_ref()
                .is_some_and(|section| cluster.is(section))
        };
        let kept_cluster = state.cluster.as_ref().filter(same_cluster);
        if let Some(cluster) = kept_cluster {
            sources.keep_cluster(cluster.clone());
        }
        let is_cluster_kept = kept_cluster.is_some();
        let cluster = sources.cluster()?;
        let mut names: Vec<&str> = config.sources.iter().map(|source| &*source.name).collect();
        let asks_prometheus = config
            .metrics
            .iter()
            .any(|metric| &*metric.spec.source == PROMETHEUS);
        if !names.contains(&PROMETHEUS)
            && (asks_prometheus || config::names_prometheus(config, environment, &args))
        {
            names.push(PROMETHEUS);
        }
        let kept = |name: &str| {
            let made = state.sources.get(name)?;
            (made.content == content(config, name)).then_some(&made.source)
        };
        for name in &names {
            if let Some(source) = kept(name) {
                sources.keep(name, Arc::clone(source))?;
            }
        }
        // What may fail comes first; then those that stay get their queries, which others may ask them for.
        let (layered, others): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| sources.is_layered(name));
        let mut fleet = Fleet::default();
        for name in &others {
            fleet.sources.insert((*name).to_owned(), sources.open(name)?);
        }
        for (name, source) in others.iter().filter_map(|name| Some((name, kept(name)?))) {
            let list = source.query_list();
            // Those that are asked for by name alone are of the sources, and not of the file.
            let of_sources = list.all().into_iter().map(|query| query.template().clone());
            let of_sources = of_sources.filter(|query| query.only_by_name);
            list.replace_all(config.all_queries().cloned().chain(of_sources))
                .with_context(|| format!("source {name}"))?;
        }
        for name in &layered {
            fleet.sources.insert((*name).to_owned(), sources.open(name)?);
        }
        fleet.metrics = config.metrics.iter().map(|metric| metric.spec.clone()).collect();
        fleet.variants = match &cluster {
            Some(cluster) => cluster.variants(&config.variants),
            None => config.variants.clone(),
        };
        fleet.pods = cluster
            .as_ref()
            .map(|cluster| cluster.pod_variants(&config.variants));
        let remotes = state.remotes.prepare(&config.remote_write, environment)?;
        scheduler.apply(&fleet)?;
        state.fleet = fleet.clone();
        state.configured.clone_from(&config.variants);

        let mut scraping = sources.into_scraping();
        let mut made = BTreeMap::new();
        let mut views = Vec::new();
        for (name, source) in fleet.sources {
            let before = state
                .sources
                .get(&name)
                .filter(|made| Arc::ptr_eq(&made.source, &source));
            let scraping = before
                .and_then(|made| made.scraping.clone())
                .or_else(|| scraping.remove(&name));
            views.push(SourceView {
                name: name.clone(),
                kind: kind(config, &name),
                source: Arc::clone(&source),
                scraping: scraping.clone(),
            });
            let content = content(config, &name);
            made.insert(
                name,
                Made {
                    content,
                    source,
                    scraping,
                },
            );
        }
        let scraped = views.iter().filter_map(|view| {
            let (interval, timeout) = config.source(&view.name)?.scrape_times()?;
            Some(ScrapedSource {
                name: view.name.as_str().into(),
                source: view.scraping.clone()?,
                interval,
                timeout,
            })
        });
        let shard = config.shard.map(|shard| shard.shard(environment)).transpose()?;
        let windows = views.iter().filter_map(|view| view.scraping.as_ref());
        let mut windows: Vec<_> = windows.map(|scraping| scraping.window().clone()).collect();
        let readings = self.0.series.window();
        let (remotes, history) = state.remotes.run(remotes, &windows, readings);
        api.set_remotes(remotes);
        windows.push(readings.clone());
        let history = history.and_then(|(name, remote)| {
            let source = views.iter().find(|view| view.name == name)?;
            Some(History {
                source: Arc::clone(&source.source),
                name,
                remote,
                windows,
                silent: Arc::default(),
            })
        });
        self.0.prometheus.serve(Served {
            scraped: scraped.collect(),
            series: vec![Arc::new(self.0.series.clone())],
            shard,
            history,
        });
        state.sources = made;
        if state.external_metrics.is_some() && !is_cluster_kept {
            self.0.authority.renew(cluster.as_ref());
        }
        self.follow(cluster, state);
        api.set_sources(views, fleet.variants);
        Ok(())
    }
}

/// Reads a configuration, and what its files held: they are read again where they change meanwhile, as by a link that is
/// swapped, so that a pack of before is not read with a configuration of after.
///
/// *Errors*: it is not valid.
pub(crate) fn read(file: &Path) -> anyhow::Result<(Config, Contents)> {
    let main = [file.to_owned()];
    let mut before = Contents::of(&main);
    for _ in 0..MAX_TRIES {
        let of_main = Contents::of(&main);
        let config = match config::read_if_given(Some(file)) {
            Err(_) if of_main != Contents::of(&main) => continue,
            read => read?,
        };
        let after = Contents::of(&config.files);
        // One file is of one version, and standard input is read once.
        if config.files == main || file == Path::new("-") || file == Path::new("/dev/stdin") {
            return Ok((config, of_main));
        }
        if before == after {
            return Ok((config, after));
        }
        before = after;
    }
    anyhow::bail!("{}: it changes all the time while it is read", file.display())
}

/// What the file says of the source `name`; of one that asks others, also of these, and of what they are asked.
fn content(config: &Config, name: &str) -> String {
    let Some(source) = config.source(name) else {
        return config.prometheus_content.clone();
    };
    let needed = source.needs();
    if needed.is_empty() {
        let cluster = config.kubernetes.as_ref().filter(|_| source.needs_cluster());
        let of_cluster = cluster.map_or("", |cluster| &cluster.content);
        let shard = config.shard.map(|shard| format!("{shard:?}"));
        return [&*source.content, of_cluster, &shard.unwrap_or_default()].join("\n");
    }
    // Circles are refused when the file is read.
    let needed = needed.into_iter().map(|name| content(config, name));
    let queries = config.all_queries().map(|query| format!("{query:?}"));
    let parts: Vec<_> = [source.content.clone()]
        .into_iter()
        .chain(needed)
        .chain(queries)
        .collect();
    parts.join("\n")
}

fn kind(config: &Config, name: &str) -> &'static str {
    match config.source(name).map(|source| &source.kind) {
        None | Some(SourceKind::Prometheus(_)) => "prometheus",
        Some(SourceKind::Scrape(_)) => "scrape",
        Some(SourceKind::Composed(_)) => "composed",
        Some(SourceKind::Federated(_)) => "federated",
    }
}
