//! `fleetgauge demo`: a simulated fleet, collected over real HTTP.

mod alone;
mod hint;
mod served;
mod targets;

use std::fmt::Write as _;
use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use fleetgauge_core::source::MetricsSource as _;
use fleetgauge_sim::{Fault, Fleet};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};

use self::hint::{aside, binary, count, misbehaving, query_command, scrape_command};
use self::served::Served;
use crate::cli::{Demo, OutputFormat};
use crate::demo::metric;
use crate::demo::observer::Observer;
use crate::demo::pods::{self, PodTargets};
use crate::demo::prometheus::Prometheus;
use crate::demo::screen::{Screen, Size};
use crate::demo::snapshot::Snapshot;
use crate::demo::view::{self, LEGEND, Line, Paint, Room, Tone};
use crate::output::{self, json};

/// How long a Prometheus may take until its targets have been scraped twice: it gets to know them after five
/// seconds.
const PROMETHEUS_PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether they have.
const POLL: Duration = Duration::from_millis(50);

/// What collects the fleet's metrics.
enum Collector {
    Pods,
    Prometheus(Prometheus),
}

/// What the demo's parts share.
struct Stage<'a> {
    args: &'a Demo,
    fleet: &'a Arc<Fleet>,
    collector: Collector,
    observer: Observer,
    /// Beside a live table: a daemon, whose dashboard shows the same pods.
    served: Option<Served>,
    started: Instant,
}

/// Of more pods than these there is no dashboard beside the table: all would be scraped twice.
const SERVED_PODS: u16 = 200;

pub(super) fn run(args: &Demo) -> anyhow::Result<()> {
    allow_files(args.pods)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // From here on a signal ends the demo, and no longer the process.
        let signal = signal(args)?;
        let fleet = Fleet::demo(usize::from(args.pods)).seed(args.seed);
        let fleet = Arc::new(fleet.start().await?);
        let result = if args.serve {
            served::serve(args, &fleet, signal).await
        } else {
            tokio::select! {
                result = show(args, &fleet) => result,
                _ = signal => ended(args),
            }
        };
        // Where a discovery is just looking at it, dropping it ends it as well.
        if let Some(fleet) = Arc::into_inner(fleet) {
            fleet.shutdown().await;
        }
        result
    })
}

/// What runs until a signal ends it has done what it was asked for; the rest was to have an answer.
///
/// *Errors*: there is none.
fn ended(args: &Demo) -> anyhow::Result<()> {
    if args.serve || args.serve_fleet_only || is_live(args) {
        Ok(())
    } else {
        bail!("interrupted before there was an answer")
    }
}

async fn show(args: &Demo, fleet: &Arc<Fleet>) -> anyhow::Result<()> {
    if args.serve_fleet_only {
        return alone::serve(args, fleet).await;
    }
    let live = is_live(args);
    if !live {
        misbehave(fleet).await?;
    }
    let mut stage = Stage::set(args, fleet).await?;
    if live {
        if !args.prometheus && args.pods <= SERVED_PODS {
            stage.served = Some(Served::open(args, fleet).await?);
        }
        return stage.play().await;
    }
    let snapshot = stage.settled().await?;
    match args.output {
        OutputFormat::Json => {
            let line = json::to_line(&json::demo::Demo::new(&snapshot))?;
            aside(move || output::print(&line)).await?;
        }
        OutputFormat::Table => {
            let text = stage.plain(&snapshot);
            aside(move || output::print_line(&text)).await?;
        }
    }
    match snapshot.problem {
        Some(problem) => Err(anyhow!(problem)),
        None => Ok(()),
    }
}

/// On a terminal that can be drawn on, unless one snapshot was asked for.
fn is_live(args: &Demo) -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !args.once && args.output == OutputFormat::Table && !dumb && std::io::stdout().is_terminal()
}

/// Whoever sees the fleet once should see what a pod that hangs looks like; by the script none does yet.
async fn misbehave(fleet: &Fleet) -> anyhow::Result<()> {
    if let Some(pod) = misbehaving(&fleet.pods()) {
        fleet.inject(pod.id, Fault::Hang).await?;
    }
    Ok(())
}

// === impl Stage ===

impl<'a> Stage<'a> {
    async fn set(args: &'a Demo, fleet: &'a Arc<Fleet>) -> anyhow::Result<Self> {
        let (interval, pods) = (args.interval, fleet.pods());
        let (collector, observer) = if args.prometheus {
            let prometheus = Prometheus::start(fleet, interval).await?;
            let (source, targets) = prometheus.source(interval)?;
            metric::register(source.query_list())?;
            let observer = Observer::new(source, Box::new(targets), &pods, interval)?;
            (Collector::Prometheus(prometheus), observer)
        } else {
            let source = pods::scrape(fleet, interval)?;
            metric::register(source.query_list())?;
            let targets = PodTargets(source.clone());
            let observer = Observer::new(Arc::new(source), Box::new(targets), &pods, interval)?;
            (Collector::Pods, observer)
        };
        Ok(Self {
            args,
            fleet,
            collector,
            observer,
            served: None,
            started: Instant::now(),
        })
    }

    async fn observe(&mut self) -> anyhow::Result<Snapshot> {
        if let Collector::Prometheus(prometheus) = &mut self.collector {
            prometheus.update(self.fleet)?;
        }
        if let Some(served) = &mut self.served {
            served.update(self.fleet)?;
        }
        Ok(self.observer.observe(|| self.fleet.pods()).await)
    }

    /// The table, live, until this is dropped.
    async fn play(&mut self) -> anyhow::Result<()> {
        let screen = Screen::take().context("the terminal can't be drawn on")?;
        let paint = match std::env::var_os("NO_COLOR") {
            Some(set) if !set.is_empty() => Paint::Weights,
            _ => Paint::Colors,
        };
        let pause = self
            .args
            .interval
            .clamp(Duration::from_millis(250), Duration::from_secs(1))
            / 2;
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // At once, before anything is known.
        let mut first = Some(self.observer.blank(&self.fleet.pods()));
        loop {
            ticks.tick().await;
            let snapshot = match first.take() {
                Some(blank) => blank,
                None => self.observe().await?,
            };
            let size = Size::now();
            let lines = self.frame(&snapshot, size);
            let lines: Vec<_> = lines
                .iter()
                .map(|line| line.paint(paint, Some(size.columns)))
                .collect();
            screen.draw(lines)?;
        }
    }

    /// Title, table, legend and hints, cut to the screen.
    fn frame(&self, snapshot: &Snapshot, size: Size) -> Vec<Line> {
        let mut below = vec![vec![Line::default()]];
        below.push(view::wrapped(LEGEND, 0, size.columns, false, Tone::Faint));
        for hint in self.hints() {
            below.push(view::wrapped(&hint, 9, size.columns, true, Tone::Plain));
        }
        below.push(vec![Line::new("Ctrl-C ends the demo", Tone::Faint)]);
        let mut lines = self.title(snapshot, size.columns);
        // Where the screen is low, what there is to see goes before what there is to say.
        let table = 1 + snapshot.variants.len() + snapshot.pods.len();
        // The header, the variants, and how many pods there are besides.
        let least = 2 + snapshot.variants.len();
        if lines.len() + least > size.rows {
            let problem = snapshot.problem.iter();
            lines = problem.map(|problem| Line::new(problem, Tone::Bad)).collect();
        }
        let mut below = view::fitting(below, size.rows.saturating_sub(lines.len() + table));
        if lines.len() + least + below.len() > size.rows {
            below.clear();
        }
        let room = Room {
            columns: Some(size.columns),
            rows: Some(size.rows.saturating_sub(lines.len() + below.len())),
        };
        lines.extend(view::table(snapshot, room));
        lines.extend(below);
        lines
    }

    /// One snapshot, when all pods have told what they can; the last one if that takes too long.
    async fn settled(&mut self) -> anyhow::Result<Snapshot> {
        // The first scrapes are spread over an interval, one that hangs takes another, and a rate two scrapes.
        let patience = 4 * self.args.interval
            + match self.collector {
                Collector::Pods => Duration::ZERO,
                Collector::Prometheus(_) => PROMETHEUS_PATIENCE,
            };
        loop {
            let snapshot = self.observe().await?;
            if snapshot.is_settled() || self.started.elapsed() > patience {
                return Ok(snapshot);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn plain(&self, snapshot: &Snapshot) -> String {
        /// For what is read as text, not as a table.
        const COLUMNS: usize = 110;
        let mut lines = self.title(snapshot, COLUMNS);
        lines.extend(view::table(snapshot, Room::default()));
        lines.push(Line::default());
        lines.extend(view::wrapped(LEGEND, 0, COLUMNS, false, Tone::Plain));
        let mut text = String::new();
        for line in lines {
            let _ = writeln!(text, "{}", line.paint(Paint::None, None));
        }
        let binary = binary();
        let fails = match misbehaving(&self.fleet.pods()) {
            Some(_) => "; a pod fails in a new way every 24 s",
            None => "",
        };
        let _ = writeln!(
            text,
            "try: {binary} demo                      live, on a terminal{fails}\n     \
             {binary} demo -o json              the same for programs\n     \
             {binary} demo --serve              a daemon over the pods, its dashboard, and what to ask it\n     \
             {binary} demo --serve-fleet-only   the pods alone, for a collector of one's own"
        );
        text
    }

    /// What is shown, whatever keeps it from being shown, and a blank line.
    fn title(&self, snapshot: &Snapshot, columns: usize) -> Vec<Line> {
        let collector = match &self.collector {
            Collector::Pods => "and queried in this process".to_owned(),
            Collector::Prometheus(prometheus) => format!("by the Prometheus at {}", prometheus.url()),
        };
        let title = format!(
            "fleetgauge demo: {} in {}, scraped every {:?} {collector}",
            count(usize::from(self.args.pods), "simulated pod"),
            count(snapshot.variants.len(), "variant"),
            self.args.interval,
        );
        let mut lines = view::wrapped(&title, 0, columns, false, Tone::Strong);
        if let Some(problem) = &snapshot.problem {
            lines.extend(view::wrapped(problem, 0, columns, false, Tone::Bad));
        }
        lines.push(Line::default());
        lines
    }

    /// What to try next, with the ports of this very fleet.
    fn hints(&self) -> Vec<String> {
        let pods = self.fleet.pods();
        let query = match &self.collector {
            Collector::Pods => None,
            Collector::Prometheus(prometheus) => query_command(&pods, &prometheus.url()),
        };
        let lead = |index| if index == 0 { "try: " } else { "     " };
        let dashboard = self
            .served
            .as_ref()
            .map(|served| format!("{}/   the dashboard, for a browser", served.url()));
        let hints = dashboard
            .into_iter()
            .chain(scrape_command(&pods))
            .chain(query)
            .enumerate();
        hints
            .map(|(index, hint)| format!("{}{hint}", lead(index)))
            .collect()
    }
}

// === the process ===

/// A pod takes a file for its port, and two for the connection to it; two more where a dashboard is beside the table.
fn allow_files(pods: u16) -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let needed =
            64 + 5 * u64::from(pods.min(SERVED_PODS)) + 3 * u64::from(pods.saturating_sub(SERVED_PODS));
        let mut limit = getrlimit(Resource::Nofile);
        let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
        if enough(limit.current) {
            return Ok(());
        }
        if !enough(limit.maximum) {
            let allowed = limit.maximum.unwrap_or_default();
            bail!(
                "{pods} pods take {needed} open files, and the limit is {allowed}; raise it (ulimit -n), or take \
                 fewer --pods"
            );
        }
        limit.current = Some(needed);
        setrlimit(Resource::Nofile, limit).context("the limit on open files can't be raised")?;
    }
    Ok(())
}

/// How long the demo may take to end once a signal asks for it.
const ENDING: Duration = Duration::from_secs(1);

/// Waits for the first signal that asks the process to end; Ctrl-C is one. Signals count from the call on.
///
/// Whatever then waits for something that does not come, as for a terminal that does not read, is not waited for.
fn signal(args: &Demo) -> anyhow::Result<oneshot::Receiver<()>> {
    let asked = asked_to_end()?;
    let status = i32::from(ended(args).is_err());
    let (tell, signal) = oneshot::channel();
    tokio::spawn(async move {
        asked.await;
        // Not a task: the runtime may be ending already.
        thread::spawn(move || {
            thread::sleep(ENDING);
            std::process::exit(status);
        });
        let _ = tell.send(());
    });
    Ok(signal)
}

#[cfg(unix)]
fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without the signal there is no such end.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
