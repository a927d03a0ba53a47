//! Asks the source, and puts together what is known of every pod that there is.
//!
//! A number is only shown as a value where it was measured lately: by a pod that is listed and whose last
//! scrape succeeded. For all else there is a reason.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::sample::{Number, Stamp};
use fleetgauge_core::source::{MetricsSource, Outcome, RefreshResults, RefreshSpec};
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_core::variant::{Mapping, PodVaMapper, VariantRef, Workload, WorkloadKind};
use fleetgauge_sim::{EngineKind, SimPod};
use futures_util::future::join_all;

use super::metric::{FIRST_TOKEN_RATE, Metric};
use super::snapshot::{Cell, NOT_YET, PodState, PodView, Snapshot, Status, VariantView};
use super::target::{PodKey, TargetState, Targets};

/// How long a pod that is gone is still shown.
const FAREWELL: Duration = Duration::from_secs(30);

/// The window of the rates behind `inference/avg_ttft`.
const WINDOW: Duration = Duration::from_secs(60);

/// Watches a fleet through a source.
pub(crate) struct Observer {
    source: Arc<dyn MetricsSource>,
    targets: Box<dyn Targets>,
    mapper: PodVaMapper,
    interval: Duration,
    clock: Clock,
    /// The pods that were listed at some time: when last, and what they were.
    seen: BTreeMap<PodKey, Seen>,
}

struct Seen {
    listed_at: Timestamp,
    /// Place of its variant, then its own.
    rank: (usize, usize),
    /// The first and the newest page of it.
    first_scraped_at: Option<Timestamp>,
    scraped_at: Option<Timestamp>,
}

/// What is known of the scrapes of one pod.
struct Scrapes {
    /// Since the newest page.
    age: Option<Duration>,
    /// Since the first.
    watched: Duration,
    /// Why the last scrape gave none.
    error: Option<String>,
}

/// Namespace and name of a model.
type Model = (String, String);

/// What was answered for one model: by metric, by pod.
struct Answers(Vec<Result<HashMap<PodKey, Found>, String>>);

/// What an answer holds for a pod.
#[derive(Clone, Copy)]
enum Found {
    One(Measured),
    Several(usize),
}

/// A number of an answer.
#[derive(Clone, Copy)]
struct Measured {
    value: f64,
    at: Timestamp,
    stamp: Stamp,
}

// === impl Observer ===

impl Observer {
    /// Watches `pods`, whose variants it registers with a mapper of its own, through `source`, which knows the
    /// queries ([`metric::register`](super::metric::register)).
    pub(crate) fn new(
        source: Arc<dyn MetricsSource>,
        targets: Box<dyn Targets>,
        pods: &[SimPod],
        interval: Duration,
    ) -> anyhow::Result<Self> {
        let mapper = PodVaMapper::new();
        for pod in pods {
            mapper.replace(VariantRef::new(&pod.namespace, &pod.variant)?, workload(pod))?;
        }
        Ok(Self {
            source,
            targets,
            mapper,
            interval,
            clock: Clock::system(),
            seen: BTreeMap::new(),
        })
    }

    /// What is known now. `list` gives the pods that there are; it is called when the answers are there, so
    /// that no answer is older than the list it is read with.
    pub(crate) async fn observe(&mut self, list: impl Fn() -> Vec<SimPod>) -> Snapshot {
        let models: Vec<_> = models(&list());
        let refreshes = models.iter().map(|(namespace, model)| {
            let names = Metric::ALL
                .map(Metric::query)
                .into_iter()
                .chain([FIRST_TOKEN_RATE]);
            let spec = RefreshSpec::queries(names)
                .params([("namespace", &**namespace), ("modelID", &**model)])
                // Whatever was scraped last: what is old is told by its age, and a pod that hangs must not
                // keep the others waiting.
                .max_age(Duration::MAX)
                .wait_at_most(self.interval.max(Duration::from_secs(1)));
            self.source.refresh(spec)
        });
        let results = join_all(refreshes).await;
        let answers = models
            .iter()
            .cloned()
            .zip(results.iter().map(Answers::new))
            .collect();
        let failed = results.iter().flat_map(RefreshResults::failures).next();
        let failed = failed.map(|(_, error)| error.to_string());
        let (states, problem) = match self.targets.states().await {
            Ok(states) => (states, failed),
            Err(problem) => (HashMap::new(), Some(problem)),
        };

        self.put_together(&list(), &answers, &states, problem)
    }

    /// What is known before anything was asked.
    pub(crate) fn blank(&mut self, listed: &[SimPod]) -> Snapshot {
        self.put_together(listed, &HashMap::new(), &HashMap::new(), None)
    }

    fn put_together(
        &mut self,
        listed: &[SimPod],
        answers: &HashMap<Model, Answers>,
        states: &HashMap<PodKey, TargetState>,
        problem: Option<String>,
    ) -> Snapshot {
        let now = self.clock.wall();
        let variants = variants(listed);
        let mut pods = Vec::new();
        for (place, pod) in listed.iter().enumerate() {
            let key = (pod.namespace.clone(), pod.name.clone());
            let rank = variants
                .iter()
                .position(|v| is_of(v, pod))
                .unwrap_or(variants.len());
            let seen = self.seen.entry(key.clone()).or_insert_with(|| Seen {
                listed_at: now,
                rank: (rank, place),
                first_scraped_at: None,
                scraped_at: None,
            });
            seen.listed_at = now;
            let state = states.get(&key).cloned().unwrap_or_default();
            let scrapes = seen.scrapes(state, now);
            let answers = answers.get(&(pod.namespace.clone(), pod.model.clone()));
            let view = self.pod(pod, &key, scrapes, answers, problem.as_deref());
            pods.push(((rank, 0, place), view));
        }
        pods.extend(self.gone(listed, now));
        pods.sort_by_key(|(rank, _)| *rank);
        let pods: Vec<_> = pods.into_iter().map(|(_, pod)| pod).collect();
        Snapshot {
            at: now,
            variants: variants.into_iter().map(|v| VariantView::new(v, &pods)).collect(),
            pods,
            problem,
        }
    }

    fn pod(
        &self,
        pod: &SimPod,
        key: &PodKey,
        scrapes: Scrapes,
        answers: Option<&Answers>,
        problem: Option<&str>,
    ) -> PodView {
        let (variant, unmapped) = self.variant(&pod.namespace, &pod.name);
        let Scrapes { age, watched, error } = scrapes;
        let now = self.clock.wall();
        let no_engine = matches!(pod.engine, EngineKind::Epp { .. });
        let failing = error.is_some();
        let wrong = match (error, age) {
            (Some(error), _) => Some(error),
            (None, None) => Some(problem.unwrap_or(NOT_YET).to_owned()),
            (None, Some(age)) if age > 3 * self.interval => {
                Some(format!("not scraped for {:.1} s", age.as_secs_f64()))
            }
            (None, Some(_)) => None,
        };
        let weight = answers.and_then(|answers| answers.number(Metric::ALL.len(), key));
        let cells = Metric::ALL.map(|metric| {
            if no_engine {
                return Cell::no_data("no engine: it routes requests");
            }
            let found = answers.map(|answers| answers.found(metric as usize, key));
            match found {
                Some(Err(error)) => Cell::error(error),
                Some(Ok(Some(Found::Several(count)))) => {
                    Cell::error(format!("{count} series answer for this pod"))
                }
                Some(Ok(Some(Found::One(found)))) => {
                    let age = found.age(age, now);
                    let is_old = age.is_some_and(|age| age > 3 * self.interval);
                    let why_old = || {
                        age.filter(|_| is_old)
                            .map(|age| format!("answered {:.1} s ago", age.as_secs_f64()))
                    };
                    measured(found.value, age, wrong.clone().or_else(why_old))
                }
                Some(Ok(None)) | None => match &wrong {
                    Some(wrong) if failing => Cell::error(wrong.clone()),
                    Some(wrong) => Cell::no_data(wrong.clone()),
                    None => Cell::no_data(why_nothing(metric, weight, watched)),
                },
            }
        });
        // An idle pod is only known by its being idle for a while.
        let counted = weight.is_some_and(|weight| weight > 0.0 || watched >= 3 * self.interval);
        PodView {
            settled: failing || age.is_some() && (no_engine || counted),
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            variant,
            reason: wrong.or(unmapped),
            age,
            cells,
            weight,
            state: if no_engine {
                PodState::NoEngine
            } else {
                PodState::Listed
            },
        }
    }

    /// The pods that were listed, and are no longer.
    fn gone(&mut self, listed: &[SimPod], now: Timestamp) -> Vec<((usize, usize, usize), PodView)> {
        self.seen
            .retain(|_, seen| now.saturating_since(seen.listed_at) < FAREWELL);
        let is_listed = |key: &PodKey| {
            listed
                .iter()
                .any(|pod| pod.namespace == key.0 && pod.name == key.1)
        };
        let gone = self.seen.iter().filter(|(key, _)| !is_listed(key));
        gone.map(|((namespace, pod), seen)| {
            let since = now.saturating_since(seen.listed_at);
            let reason = format!("gone for {:.0} s: no longer among the pods", since.as_secs_f64());
            let view = PodView {
                namespace: namespace.clone(),
                pod: pod.clone(),
                variant: self.variant(namespace, pod).0,
                age: seen.scraped_at.map(|at| now.saturating_since(at)),
                cells: Metric::ALL.map(|_| Cell::no_data(reason.clone())),
                reason: Some(reason),
                weight: None,
                state: PodState::Gone,
                settled: true,
            };
            ((seen.rank.0, 1, seen.rank.1), view)
        })
        .collect()
    }

    /// The pod's variant, or why it has none.
    fn variant(&self, namespace: &str, pod: &str) -> (Option<VariantRef>, Option<String>) {
        match self.mapper.variant_for_pod_in(namespace, pod) {
            Mapping::Mapped(variant) => (Some(variant), None),
            mapping => (None, Some(mapping.to_string())),
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Takes in what the collector says now.
    fn scrapes(&mut self, state: TargetState, now: Timestamp) -> Scrapes {
        self.scraped_at = state.scraped_at.or(self.scraped_at);
        self.first_scraped_at = self.first_scraped_at.or(self.scraped_at);
        let since = |at: Option<Timestamp>| at.map(|at| now.saturating_since(at));
        Scrapes {
            age: since(self.scraped_at),
            watched: since(self.first_scraped_at).unwrap_or_default(),
            error: state.error,
        }
    }
}

fn measured(value: f64, age: Option<Duration>, stale: Option<String>) -> Cell {
    let (status, reason) = match stale {
        Some(reason) => (Status::Stale, Some(reason)),
        None if !value.is_finite() => (Status::Undefined, Some(format!("exposed as {}", Number(value)))),
        None => (Status::Value, None),
    };
    Cell {
        status,
        value: Some(value),
        age,
        reason,
    }
}

/// Why a pod that was scraped lately has no value.
fn why_nothing(metric: Metric, weight: Option<f64>, watched: Duration) -> String {
    match (metric, weight) {
        (Metric::AvgTtft, None) => "no rate yet: it takes two scrapes".to_owned(),
        (Metric::AvgTtft, Some(_)) if watched < WINDOW => {
            format!(
                "no first token in the {:.0} s since the first scrape",
                watched.as_secs_f64()
            )
        }
        (Metric::AvgTtft, Some(_)) => "no requests in the last minute".to_owned(),
        _ => "the pod does not expose it".to_owned(),
    }
}

// === impl Measured ===

impl Measured {
    /// Since the sample was taken. Where the answer tells only when it was evaluated, the sample is at least as old as
    /// that, and as the newest scrape of the pod: the answer may be from before it.
    fn age(&self, since_scrape: Option<Duration>, now: Timestamp) -> Option<Duration> {
        let age = now.saturating_since(self.at);
        match self.stamp {
            Stamp::Sampled => Some(age),
            Stamp::Evaluated => since_scrape.map(|since| since.max(age)),
        }
    }
}

// === impl Answers ===

impl Answers {
    fn new(results: &RefreshResults) -> Self {
        let names = Metric::ALL
            .map(Metric::query)
            .into_iter()
            .chain([FIRST_TOKEN_RATE]);
        Self(names.map(|name| by_pod(&results[name])).collect())
    }

    fn found(&self, index: usize, key: &PodKey) -> Result<Option<Found>, String> {
        match &self.0[index] {
            Ok(values) => Ok(values.get(key).copied()),
            Err(error) => Err(error.clone()),
        }
    }

    fn number(&self, index: usize, key: &PodKey) -> Option<f64> {
        match self.found(index, key) {
            Ok(Some(Found::One(number))) => Some(number.value),
            _ => None,
        }
    }
}

fn by_pod(outcome: &Outcome) -> Result<HashMap<PodKey, Found>, String> {
    let result = outcome.as_ref().map_err(|error| match error.fetch_error() {
        Some(error) => error.to_string(),
        None => error.to_string(),
    })?;
    let mut pods = HashMap::new();
    for value in result.values() {
        let key = (value.label("namespace").to_owned(), value.label("pod").to_owned());
        pods.entry(key)
            .and_modify(|found| {
                *found = match found {
                    Found::One(_) => Found::Several(2),
                    Found::Several(count) => Found::Several(*count + 1),
                }
            })
            .or_insert(Found::One(Measured {
                value: value.value,
                at: value.timestamp,
                stamp: value.stamp,
            }));
    }
    Ok(pods)
}

// === the fleet ===

/// Namespace and model of what serves one, each once.
fn models(pods: &[SimPod]) -> Vec<Model> {
    let mut models = Vec::new();
    for pod in pods {
        let model = (pod.namespace.clone(), pod.model.clone());
        if !pod.model.is_empty() && !models.contains(&model) {
            models.push(model);
        }
    }
    models
}

fn variants(pods: &[SimPod]) -> Vec<VariantRef> {
    let mut variants: Vec<VariantRef> = Vec::new();
    for pod in pods {
        if !variants.iter().any(|variant| is_of(variant, pod)) {
            variants.extend(VariantRef::new(&pod.namespace, &pod.variant));
        }
    }
    variants
}

fn is_of(variant: &VariantRef, pod: &SimPod) -> bool {
    variant.namespace() == pod.namespace && variant.name() == pod.variant
}

fn workload(pod: &SimPod) -> Workload {
    let kind = match pod.workload.kind {
        fleetgauge_sim::WorkloadKind::StatefulSet => WorkloadKind::StatefulSet,
        fleetgauge_sim::WorkloadKind::LeaderWorkerSet => WorkloadKind::LeaderWorkerSet,
        _ => WorkloadKind::Deployment,
    };
    Workload::new(kind, pod.workload.name.as_str())
}
