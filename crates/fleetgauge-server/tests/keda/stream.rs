//! Streams that tell whether there is work.

use std::time::{Duration, Instant};

use fleetgauge_server::door::keda::KedaConfig;
use futures_util::future::join_all;
use tonic::Code;

use super::{Door, assert_silent, fleet, h100, is_active, numbers, object, until, until_number};

#[tokio::test]
async fn work_is_told_when_it_comes_and_when_it_goes() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    let object = object("h100", &[("metric", "queue"), ("activation", "3")]);
    until_number(&door, &object, 2.5).await;
    let stream = scaler.stream_is_active(object.clone()).await;
    let mut stream = stream.unwrap().into_inner();
    let mut next = async || stream.message().await.unwrap().unwrap().result;
    assert!(!next().await);

    // The slowest of them tells of this machine; the fastest tells of the door.
    let mut fastest = Duration::MAX;
    for value in [4.0, 0.0, 4.0, 0.0, 4.0] {
        let since = Instant::now();
        door.set("queue", value);
        assert_eq!(next().await, value > 3.0);
        fastest = fastest.min(since.elapsed());
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");

    // Another number, and none at all, are no news of whether there is work.
    door.set("queue", 5.0);
    until_number(&door, &object, 5.0).await;
    assert_silent(next()).await;
    door.backend.forget("queue");
    let asked = scaler.clone();
    let ask = || async { is_active(&mut asked.clone(), &object).await };
    assert!(until(&door, ask, Result::is_err).await.is_err());
    assert_silent(next()).await;
    door.set("queue", 6.0);
    until_number(&door, &object, 6.0).await;
    assert_silent(next()).await;
    door.set("queue", 0.0);
    assert!(!next().await);

    // One that opens while there is no number is told the first that comes.
    door.backend.forget("queue");
    let ask = || async { is_active(&mut asked.clone(), &object).await };
    assert!(until(&door, ask, Result::is_err).await.is_err());
    let mut late = scaler
        .stream_is_active(object.clone())
        .await
        .unwrap()
        .into_inner();
    assert_silent(late.message()).await;
    door.set("queue", 7.0);
    assert!(late.message().await.unwrap().unwrap().result);
    assert!(next().await);

    // What no time will mend ends it, or does not let it begin.
    let status = scaler.stream_is_active(h100("queu")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let mut fleet = fleet(&door.backend);
    fleet.metrics.retain(|metric| metric.name.as_str() != "queue");
    door.scheduler.apply(&fleet).unwrap();
    assert_eq!(late.message().await.unwrap_err().code(), Code::NotFound);
    door.close().await;
}

#[tokio::test]
async fn streams_end_well_when_the_door_closes_and_when_their_caller_gives_up() {
    let door = Door::open().await;
    let mut scaler = door.scaler().await;
    let mut activity = scaler.stream_is_active(h100("slow")).await.unwrap().into_inner();
    let mut specs = scaler
        .stream_metric_spec(h100("slow"))
        .await
        .unwrap()
        .into_inner();
    assert!(specs.message().await.unwrap().is_some());

    let mut request = tonic::Request::new(h100("slow"));
    request.set_timeout(Duration::from_millis(500));
    let mut short = scaler.stream_is_active(request).await.unwrap().into_inner();
    assert_eq!(short.message().await.unwrap_err().code(), Code::DeadlineExceeded);

    let since = Instant::now();
    door.close().await;
    // The listener would have cut them after 5 s, which is an error.
    assert!(since.elapsed() < Duration::from_secs(4));
    assert!(activity.message().await.unwrap().is_none());
    assert!(specs.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_thousand_streams_are_told_and_cost_the_others_nothing() {
    let mut config = KedaConfig::default();
    config.max_streams = 1_000;
    let door = Door::with(config, None).await;
    let mut fleet = fleet(&door.backend);
    fleet.metrics.retain(|metric| metric.name.as_str() == "queue");
    fleet.metrics[0].every = Duration::from_millis(200);
    door.scheduler.apply(&fleet).unwrap();
    until_number(&door, &h100("queue"), 2.5).await;
    let scaler = door.scaler().await;
    let open = |_| {
        let mut scaler = scaler.clone();
        async move {
            let mut stream = scaler.stream_is_active(h100("queue")).await.unwrap().into_inner();
            assert!(stream.message().await.unwrap().unwrap().result);
            stream
        }
    };
    let mut streams = join_all((0..1_000).map(open)).await;

    // One more is refused and not kept waiting, on this connection and on another one; numbers are told on both.
    let mut other = door.scaler().await;
    for scaler in [&mut scaler.clone(), &mut other] {
        let status = scaler.stream_is_active(h100("queue")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        for _ in 0..20 {
            assert_eq!(numbers(scaler, &h100("queue")).await.unwrap(), (3, 2.5));
        }
    }
    door.set("queue", 0.0);
    let told = join_all(streams.iter_mut().map(|stream| stream.message())).await;
    assert!(told.into_iter().all(|told| !told.unwrap().unwrap().result));

    // Whoever goes makes room.
    streams.truncate(999);
    let ask = || async { scaler.clone().stream_is_active(h100("queue")).await };
    until(&door, ask, Result::is_ok).await.unwrap();
    door.close().await;
}
