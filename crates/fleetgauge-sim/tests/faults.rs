//! Each fault as a client on the other side of a real connection meets it.
#![allow(missing_docs, clippy::unwrap_used)]

use crate::common;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use common::{ask, get, page, sum, values};
use fleetgauge_sim::{
    DEFAULT_EPOCH, EngineKind, Fault, FaultError, Fleet, Load, Script, SimPod, StartError, Variant,
    WorkloadKind,
};

fn variant(name: &str) -> Variant {
    Variant::new("ns", name, EngineKind::Vllm { ranks: 1 }, "some/model")
        .with_load(Load::Steady { rate: 4.0 })
}

/// A fleet of one pod that has served for ten seconds.
async fn one_pod() -> (Fleet, SimPod) {
    let fleet = Fleet::builder()
        .seed(1)
        .variant(variant("v"))
        .stepped_by_hand()
        .start()
        .await
        .unwrap();
    fleet.step(Duration::from_secs(10)).await;
    let pod = fleet.pods().remove(0);
    (fleet, pod)
}

async fn refused(pod: &SimPod) -> bool {
    get(pod.address, "/metrics", "")
        .await
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn a_dead_pod_refuses_and_comes_back_as_a_new_process() {
    let (fleet, pod) = one_pod().await;
    let address = pod.address;
    let mut kept = TcpStream::connect(address).unwrap();
    let finished = sum(&page(address).await, "vllm:request_success_total", "");
    assert!(finished > 0.0);

    fleet.inject(pod.id, Fault::Die).await.unwrap();
    assert!(refused(&pod).await);
    let old = tokio::task::spawn_blocking(move || ask(&mut kept, "/metrics", ""))
        .await
        .unwrap();
    assert!(old.is_err(), "connections of old are closed");
    assert_eq!(fleet.pods()[0].fault, Some(Fault::Die));
    fleet.step(Duration::from_secs(5)).await;

    fleet.inject(pod.id, Fault::Recover).await.unwrap();
    let text = page(address).await;
    assert_eq!(sum(&text, "vllm:request_success_total", ""), 0.0);
    let started = sum(&text, "process_start_time_seconds", "");
    assert_eq!(started, DEFAULT_EPOCH.as_secs_f64() + 15.0);
    assert_eq!(fleet.pods()[0].name, pod.name);
    fleet.step(Duration::from_secs(10)).await;
    assert!(sum(&page(address).await, "vllm:request_success_total", "") > 0.0);
    fleet.shutdown().await;
    assert!(refused(&pod).await);
}

#[tokio::test]
async fn a_hung_pod_accepts_and_never_answers() {
    let (fleet, pod) = one_pod().await;
    fleet.inject(pod.id, Fault::Hang).await.unwrap();
    let address = pod.address;
    let wait = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        ask(&mut stream, "/metrics", "")
    };
    let error = tokio::task::spawn_blocking(wait).await.unwrap().unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error:?}"
    );
    fleet.inject(pod.id, Fault::Recover).await.unwrap();
    assert!(
        sum(&page(pod.address).await, "vllm:request_success_total", "") > 0.0,
        "the engine went on"
    );
}

#[tokio::test]
async fn errors_and_half_pages() {
    let (fleet, pod) = one_pod().await;
    let whole = get(pod.address, "/metrics", "").await.unwrap();
    assert_eq!(whole.body.len(), whole.announced);

    fleet.inject(pod.id, Fault::ServerError).await.unwrap();
    assert_eq!(get(pod.address, "/metrics", "").await.unwrap().status, 500);

    fleet.inject(pod.id, Fault::CutOff).await.unwrap();
    for headers in ["", "Accept-Encoding: gzip\r\n"] {
        let cut = get(pod.address, "/metrics", headers).await.unwrap();
        assert_eq!((cut.status, cut.body.len()), (200, cut.announced / 2));
    }
    assert_eq!(get(pod.address, "/other", "").await.unwrap().status, 404);
}

#[tokio::test]
async fn gauges_are_nan_and_counters_are_not() {
    let (fleet, pod) = one_pod().await;
    fleet.inject(pod.id, Fault::NotANumber).await.unwrap();
    let text = page(pod.address).await;
    for name in [
        "vllm:kv_cache_usage_perc",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
    ] {
        assert!(values(&text, name, "")[0].is_nan(), "{name}");
    }
    assert!(sum(&text, "vllm:request_success_total", "") > 0.0);
    assert_eq!(
        sum(&text, "vllm:cache_config_info", "num_gpu_blocks=\"2048\""),
        1.0
    );
}

#[tokio::test]
async fn a_restart_resets_and_a_renamed_pod_keeps_its_address() {
    let (fleet, pod) = one_pod().await;
    fleet.inject(pod.id, Fault::Restart).await.unwrap();
    let text = page(pod.address).await;
    assert_eq!(sum(&text, "vllm:generation_tokens_total", ""), 0.0);
    assert_eq!(
        sum(&text, "process_start_time_seconds", ""),
        DEFAULT_EPOCH.as_secs_f64() + 10.0
    );
    fleet.step(Duration::from_secs(3)).await;

    fleet.inject(pod.id, Fault::Rename).await.unwrap();
    let renamed = fleet.pods().remove(0);
    assert!(renamed.name != pod.name && renamed.address == pod.address);
    assert_eq!(
        (fleet.find("ns", &pod.name), fleet.find("ns", &renamed.name)),
        (None, Some(pod.id))
    );
    assert_eq!(
        sum(&page(pod.address).await, "vllm:generation_tokens_total", ""),
        0.0
    );
    assert!(fleet.targets_file_sd().contains(&renamed.name));
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    let set = variant("set").with_workload(WorkloadKind::StatefulSet, "set");
    let fleet = Fleet::builder()
        .variant(set)
        .stepped_by_hand()
        .start()
        .await
        .unwrap();
    let pod = fleet.pods().remove(0);
    let error = fleet.inject(pod.id, Fault::Rename).await.unwrap_err();
    assert!(matches!(error, FaultError::FixedName { .. }));
    assert_eq!(
        error.to_string(),
        "pod set-0 of StatefulSet/set is named by its ordinal and can't get another name"
    );

    let empty = Fleet::builder().stepped_by_hand().start().await.unwrap();
    assert!(matches!(
        empty.inject(pod.id, Fault::Die).await,
        Err(FaultError::UnknownPod)
    ));
    let twice = Fleet::builder()
        .variant(variant("v"))
        .variant(variant("v"))
        .start()
        .await;
    assert!(matches!(twice, Err(StartError::DuplicateVariant { .. })));
    let picker = Variant::new("other", "p", EngineKind::Epp { pool: "v".into() }, "");
    let lost = Fleet::builder()
        .variant(variant("v"))
        .variant(picker)
        .start()
        .await;
    assert!(matches!(lost, Err(StartError::UnknownPool { .. })));
    for speed in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        let started = Fleet::builder().speed(speed).start().await;
        assert!(matches!(started, Err(StartError::Speed { .. })));
    }
}

#[tokio::test]
async fn scripts_happen_in_simulated_time() {
    let seconds = Duration::from_secs;
    let script = Script::new()
        .at(seconds(5), Fault::ServerError)
        .at(seconds(8), Fault::Recover);
    let fleet = Fleet::builder().variant(variant("v").with_script(0, script).with_script(9, Script::new()));
    let fleet = fleet
        .warm_up(seconds(20))
        .stepped_by_hand()
        .start()
        .await
        .unwrap();
    let pod = fleet.pods().remove(0);
    let status = async || get(pod.address, "/metrics", "").await.unwrap().status;
    assert_eq!(status().await, 200);
    fleet.step(Duration::from_millis(5_100)).await;
    assert_eq!(
        (status().await, fleet.elapsed()),
        (500, Duration::from_millis(5_100))
    );
    fleet.step(seconds(3)).await;
    assert_eq!(status().await, 200);
    fleet
        .schedule(pod.id, Script::new().at(seconds(1), Fault::ServerError))
        .await
        .unwrap();
    fleet.step(Duration::from_millis(1_100)).await;
    assert_eq!(status().await, 500);
}

#[tokio::test]
async fn faults_come_and_go_in_any_order() {
    let (fleet, pod) = one_pod().await;
    for first in Fault::ALL {
        for second in Fault::ALL {
            fleet.inject(pod.id, first).await.unwrap();
            fleet.inject(pod.id, second).await.unwrap();
            fleet.inject(pod.id, Fault::Recover).await.unwrap();
            let answer = get(pod.address, "/metrics", "").await;
            assert_eq!(
                answer.unwrap().status,
                200,
                "after {} and {}",
                first.as_str(),
                second.as_str()
            );
        }
    }
}

#[tokio::test]
async fn time_goes_by_itself_and_faults_need_not_wait_for_it() {
    let fleet = Fleet::demo(4).speed(100.0).start().await.unwrap();
    let pod = fleet.pods().remove(0);
    let tokens = async || sum(&page(pod.address).await, "vllm:generation_tokens_total", "");
    let (before, start) = (tokens().await, fleet.elapsed());
    while fleet.elapsed() < start + Duration::from_secs(20) {
        tokio::task::yield_now().await;
    }
    assert!(tokens().await > before);
    fleet.inject(pod.id, Fault::Die).await.unwrap();
    assert!(refused(&pod).await);
    fleet.shutdown().await;
}

#[tokio::test]
async fn dropping_a_fleet_closes_its_ports() {
    let fleet = Fleet::demo(10).start().await.unwrap();
    let pods = fleet.pods();
    drop(fleet);
    // The tasks end when the runtime next turns to them.
    for pod in &pods {
        while !refused(pod).await {
            tokio::task::yield_now().await;
        }
    }
}
