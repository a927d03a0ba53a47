//! What the demo shows of pods that fail: the reason, and never a number that nobody measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleetgauge_core::source::MetricsSource as _;
use fleetgauge_sim::{EngineKind, Fault, Fleet, Load, SimPod, Variant};

use super::metric::{self, Metric};
use super::observer::Observer;
use super::pods::{self, PodTargets};
use super::prometheus::Prometheus;
use super::snapshot::{Cell, PodState, PodView, Snapshot, Status};
use crate::output::json;

const INTERVAL: Duration = Duration::from_millis(300);
/// How long a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

const FAULTS: [Fault; 6] = [
    Fault::Die,
    Fault::Hang,
    Fault::ServerError,
    Fault::CutOff,
    Fault::NotANumber,
    Fault::Rename,
];

/// A pod for each fault and one that is well, each so busy that it is never without requests.
async fn fleet() -> Arc<Fleet> {
    let variant = Variant::new("chat", "llama", EngineKind::Vllm { ranks: 1 }, "llama-8b")
        .with_replicas(FAULTS.len() + 1)
        .with_load(Load::Steady { rate: 10.0 });
    let fleet = Fleet::builder().variant(variant).warm_up(Duration::from_secs(30));
    Arc::new(fleet.start().await.unwrap())
}

/// An observer, what it watches, and what its collector is told before each look.
struct Watch<'a> {
    observer: Observer,
    fleet: &'a Fleet,
    tell: Box<dyn FnMut() + 'a>,
}

/// Looks until `is_so`, and gives each look to `check`.
async fn until(
    watch: &mut Watch<'_>,
    event: &str,
    mut check: impl FnMut(&Snapshot),
    is_so: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
    let deadline = Instant::now() + PATIENCE;
    loop {
        (watch.tell)();
        let snapshot = watch.observer.observe(|| watch.fleet.pods()).await;
        check(&snapshot);
        if is_so(&snapshot) {
            return snapshot;
        }
        assert!(Instant::now() < deadline, "{event} did not come: {snapshot:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn find<'s>(snapshot: &'s Snapshot, pod: &str) -> &'s PodView {
    let found = snapshot.pods.iter().find(|view| view.pod == pod);
    found.unwrap_or_else(|| panic!("{pod} is not there: {snapshot:#?}"))
}

/// The first six pods, each under the name that it had.
fn injured(pods: &[SimPod]) -> Vec<(Fault, String)> {
    let names = pods.iter().map(|pod| pod.name.clone());
    FAULTS.into_iter().zip(names).collect()
}

fn shows(fault: Fault, pod: &PodView) -> bool {
    let says = |text: &str| pod.reason.as_ref().is_some_and(|reason| reason.contains(text));
    let running = pod.cell(Metric::RunningRequests);
    let not_a_value = running.status != Status::Value;
    match fault {
        Fault::Die => says("connection refused") && not_a_value,
        Fault::Hang => says("timeout after 300ms") && not_a_value,
        Fault::ServerError => says("HTTP 500") && not_a_value,
        Fault::CutOff => says("cut off") && not_a_value,
        Fault::NotANumber => {
            pod.reason.is_none()
                && running.status == Status::Undefined
                && running.value.is_some_and(f64::is_nan)
                && running.reason.as_deref() == Some("exposed as NaN")
        }
        Fault::Rename => says("gone") && pod.state == PodState::Gone && running.value.is_none(),
        _ => false,
    }
}

/// A busy pod never exposes 0 running requests and an empty cache. What took its place under another name does.
fn check_no_made_up_zero(snapshot: &Snapshot, injured: &[(Fault, String)]) {
    for (fault, name) in injured {
        // The farewell to a pod that is gone has an end.
        let Some(pod) = snapshot.pods.iter().find(|view| view.pod == *name) else {
            assert_eq!(*fault, Fault::Rename);
            continue;
        };
        for metric in [Metric::RunningRequests, Metric::KvCacheUsage] {
            assert_ne!(pod.cell(metric).value, Some(0.0), "{fault:?}: {pod:#?}");
        }
    }
    let total = snapshot.variants[0].total(Metric::RunningRequests);
    assert!(total.value.is_none_or(|value| value > 0.0), "{total:?}");
    assert!(
        total.counted == snapshot.variants[0].pods || total.reason.is_some(),
        "{total:?}"
    );
}

async fn check_faults(mut watch: Watch<'_>) {
    let fleet = watch.fleet;
    let watch = &mut watch;
    let injured = injured(&fleet.pods());
    let well = fleet.pods().pop().unwrap().name;
    let whole = |snapshot: &Snapshot| {
        let is_value = |pod: &PodView| pod.cells.iter().all(|cell| cell.status == Status::Value);
        // On a busy machine the values are there a little before it is known that no more will come.
        snapshot.pods.iter().all(is_value) && snapshot.is_settled()
    };
    let blank = watch.observer.blank(&fleet.pods());
    assert!(
        blank
            .pods
            .iter()
            .all(|pod| pod.cells.iter().all(|cell| cell.value.is_none()))
    );
    let snapshot = until(watch, "a first value of each pod", |_| (), whole).await;
    let variant = snapshot.pods[0].variant.as_ref().map(|variant| variant.as_str());
    assert_eq!(variant, Some("chat/llama"));
    assert_eq!(snapshot.variants[0].total(Metric::RunningRequests).reason, None);

    for (fault, pod) in FAULTS.into_iter().zip(fleet.pods()) {
        fleet.inject(pod.id, fault).await.unwrap();
    }
    let check = |snapshot: &Snapshot| check_no_made_up_zero(snapshot, &injured);
    let all_show = |snapshot: &Snapshot| {
        injured.iter().all(|(fault, name)| {
            let pod = snapshot.pods.iter().find(|view| view.pod == *name);
            pod.map_or(*fault == Fault::Rename, |pod| shows(*fault, pod))
        })
    };
    let snapshot = until(watch, "every reason", check, all_show).await;
    assert_eq!(
        find(&snapshot, &well).cell(Metric::RunningRequests).status,
        Status::Value
    );

    // The last values of those that do not answer go, and nothing takes their place.
    let is_gone = |pod: &PodView| {
        let gauges = [Metric::RunningRequests, Metric::KvCacheUsage].map(|metric| pod.cell(metric));
        let gone =
            |cell: &Cell| cell.status == Status::Error && cell.value.is_none() && cell.reason == pod.reason;
        gauges.into_iter().all(gone)
    };
    let silent = &injured[..4];
    let all_gone = |snapshot: &Snapshot| silent.iter().all(|(_, name)| is_gone(find(snapshot, name)));
    until(watch, "the end of the last values", check, all_gone).await;

    // The one with the new name is there, in the old one's variant.
    let renamed = &fleet.pods()[5].name;
    let has_value = |snapshot: &Snapshot| find(snapshot, renamed).cell(Metric::KvCacheUsage).value.is_some();
    let snapshot = until(watch, "a value under the new name", check, has_value).await;
    assert_eq!(find(&snapshot, renamed).variant, snapshot.pods[0].variant);

    // Whoever reads JSON sees the same.
    let line = json::to_line(&json::demo::Demo::new(&snapshot)).unwrap();
    let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
    for pod in read["pods"].as_array().unwrap() {
        let running = &pod["metrics"]["running_requests"];
        let view = find(&snapshot, pod["pod"].as_str().unwrap());
        assert_eq!(
            running["status"],
            view.cell(Metric::RunningRequests).status.as_str()
        );
        assert_eq!(
            running["value"].is_null(),
            view.cell(Metric::RunningRequests).value.is_none()
        );
    }

    // And what is over is over.
    for pod in fleet.pods() {
        fleet.inject(pod.id, Fault::Recover).await.unwrap();
    }
    let recovered = |snapshot: &Snapshot| {
        let there = snapshot.pods.iter().filter(|pod| pod.state == PodState::Listed);
        there.clone().count() == FAULTS.len() + 1 && there.clone().all(|pod| pod.reason.is_none())
    };
    until(watch, "recovery", |_| (), recovered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_scraped_directly_show_what_is_wrong_and_no_made_up_zero() {
    let fleet = fleet().await;
    let source = pods::scrape(&fleet, INTERVAL).unwrap();
    metric::register(source.query_list()).unwrap();
    let targets = PodTargets(source.clone());
    let observer = Observer::new(Arc::new(source), Box::new(targets), &fleet.pods(), INTERVAL).unwrap();
    let tell = Box::new(|| ());
    check_faults(Watch {
        observer,
        fleet: &fleet,
        tell,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_scraped_by_prometheus_show_what_is_wrong_and_no_made_up_zero() {
    let fleet = fleet().await;
    let mut prometheus = Prometheus::start(&fleet, INTERVAL).await.unwrap();
    let (source, targets) = prometheus.source(INTERVAL).unwrap();
    metric::register(source.query_list()).unwrap();
    let observer = Observer::new(source, Box::new(targets), &fleet.pods(), INTERVAL).unwrap();
    let tell = Box::new(|| prometheus.update(&fleet).unwrap());
    check_faults(Watch {
        observer,
        fleet: &fleet,
        tell,
    })
    .await;
}

/// A Prometheus that stands still answers nothing, and what it answered before grows old.
#[tokio::test(flavor = "multi_thread")]
#[cfg(unix)]
async fn a_prometheus_that_stands_still_or_ends_leaves_no_fresh_value() {
    use rustix::process::{Pid, Signal, kill_process};

    let fleet = fleet().await;
    let prometheus = Prometheus::start(&fleet, INTERVAL).await.unwrap();
    let (source, targets) = prometheus.source(INTERVAL).unwrap();
    metric::register(source.query_list()).unwrap();
    let mut watch = Watch {
        observer: Observer::new(source, Box::new(targets), &fleet.pods(), INTERVAL).unwrap(),
        fleet: &fleet,
        tell: Box::new(|| ()),
    };
    let whole = |snapshot: &Snapshot| {
        let is_value = |pod: &PodView| pod.cells.iter().all(|cell| cell.status == Status::Value);
        snapshot.problem.is_none() && snapshot.pods.iter().all(is_value)
    };
    until(&mut watch, "a first value of each pod", |_| (), whole).await;
    let send = |signal| kill_process(Pid::from_raw(prometheus.id().cast_signed()).unwrap(), signal).unwrap();
    let says = |why: &'static str| {
        move |snapshot: &Snapshot| {
            snapshot
                .problem
                .as_ref()
                .is_some_and(|problem| problem.contains(why))
        }
    };

    send(Signal::STOP);
    let first = until(&mut watch, "its silence", |_| (), says("no answer within 1s")).await;
    let check = |snapshot: &Snapshot| {
        let passed = snapshot.at.saturating_since(first.at);
        for (pod, before) in snapshot.pods.iter().zip(&first.pods) {
            let (age, before) = (pod.age.unwrap(), before.age.unwrap());
            // The clock is read once for the pods, and once for the snapshot.
            let slack = Duration::from_millis(100);
            assert!(
                age + slack >= before + passed,
                "{age:?} after {before:?} and {passed:?}"
            );
            let is_told = |cell: &Cell| cell.fresh().is_none() && cell.reason.is_some();
            assert!(pod.cells.iter().all(is_told), "{pod:#?}");
        }
        let total = snapshot.variants[0].total(Metric::RunningRequests);
        assert!(total.value.is_none() && total.reason.is_some(), "{total:?}");
    };
    let is_old = |snapshot: &Snapshot| snapshot.at.saturating_since(first.at) > 10 * INTERVAL;
    let snapshot = until(&mut watch, "ten intervals", check, is_old).await;
    for pod in &snapshot.pods {
        assert!(
            pod.reason
                .as_ref()
                .is_some_and(|reason| reason.contains("not scraped for")),
            "{pod:#?}"
        );
    }

    send(Signal::CONT);
    until(&mut watch, "values again", |_| (), whole).await;
    send(Signal::KILL);
    until(&mut watch, "its end", |_| (), says("refused")).await;
}
