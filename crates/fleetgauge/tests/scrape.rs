//! A scrape source and servers that do as told, over real sockets: what is asked, what is answered, and when.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::scrape::{ScrapeSource, TargetHealth};
use fleetgauge::target::{StaticTargets, TargetDiscovery};
use fleetgauge::time::{Clock, Timestamp};
use fleetgauge::{MetricsSource, Params, RefreshSpec};
use fleetgauge_promql::window::Window;
use fleetgauge_testkit::{Answer, FaultyServer, Gate};

use crate::support::scrape as support;

use support::*;

const NOW: f64 = 1_763_930_000.0;

#[tokio::test]
async fn pages_are_scraped_and_answered_from() {
    let server = FaultyServer::start([Answer::text("a{x=\"1\",job=\"own\"} 2\na 3\n")]).unwrap();
    let source = start(config(), at(&server));
    let expected = [
        r#"a{exported_job="own", instance="i", job="test", x="1"} 2"#,
        r#"a{instance="i", job="test"} 3"#,
    ];
    assert_eq!(values(&source, "a").await, expected);
    let target = &source.targets()[0];
    assert_eq!((target.health, target.samples), (TargetHealth::Up, 2));
    // Kept alive: another scrape, the same connection.
    values(&source, "a").await;
    let seen = server.counters();
    assert_eq!((seen.requests, seen.connections), (2, 1));
    let cached = source.get("a", &Params::new()).unwrap();
    let sampled = cached.result().values().next().unwrap().sampled_at();
    assert_eq!(sampled, source.targets()[0].last_success);
}

#[tokio::test]
async fn honoured_labels_are_those_that_the_target_exposes() {
    let page = "a{instance=\"own\",x=\"1\"} 1\na{job=\"\",x=\"2\"} 2\na{x=\"3\"} 3\n";
    let server = FaultyServer::start([Answer::text(page)]).unwrap();
    let source = start(config().with_honor_labels(true), at(&server));
    let expected = [
        r#"a{instance="i", job="test", x="3"} 3"#,
        r#"a{instance="i", x="2"} 2"#,
        r#"a{instance="own", job="test", x="1"} 1"#,
    ];
    assert_eq!(values(&source, "a").await, expected);
    assert_eq!(values(&source, "up").await, [r#"up{instance="i", job="test"} 1"#]);
}

#[tokio::test]
async fn another_content_type_is_read_where_a_fallback_says_how() {
    let json = ("Content-Type", "application/json");
    let check =
        async |headers: &[(&str, &str)], page: &str, fallback: Option<&str>, expected: Option<&str>| {
            let server = FaultyServer::start([Answer::respond(200, headers, page)]).unwrap();
            let config = match fallback {
                Some(protocol) => config().with_fallback_scrape_protocol(protocol.parse().unwrap()),
                None => config(),
            };
            let found = refresh(&start(config, at(&server)), "a").await;
            let found = found.map(|result| lines(&result)[0].clone()).ok();
            let expected = expected.map(|value| format!(r#"a{{instance="i", job="test"}} {value}"#));
            assert_eq!(found, expected, "{headers:?} {page:?} {fallback:?}");
        };
    check(&[json], "a 1\n", None, None).await;
    check(&[json], "a 1\n", Some("PrometheusText0.0.4"), Some("1")).await;
    // OpenMetrics wants its end.
    check(&[json], "a 1\n", Some("OpenMetricsText1.0.0"), None).await;
    check(&[json], "a 1\n# EOF\n", Some("OpenMetricsText1.0.0"), Some("1")).await;
    check(&[], "a 1\n", None, Some("1")).await;
    check(&[], "a 1\n", Some("OpenMetricsText0.0.1"), None).await;
    // What the target says of a page is believed.
    let text = ("Content-Type", "text/plain");
    check(&[text], "a 1\n", Some("OpenMetricsText1.0.0"), Some("1")).await;
}

#[tokio::test]
async fn a_scrape_says_how_it_went() {
    let pages = [
        Answer::text("a 1\nb 2\n"),
        Answer::text("a 1\n"),
        Answer::status(500),
    ];
    let server = FaultyServer::start(pages).unwrap();
    let source = start(config(), at(&server));
    let mut rows = Vec::new();
    for _ in 0..3 {
        let names = ["up", "scrape_samples_scraped", "scrape_series_added"];
        let results = source.refresh(RefreshSpec::queries(names)).await;
        let value = |name: &str| results[name].as_ref().unwrap().values().next().unwrap().value;
        rows.push((
            value("up"),
            value("scrape_samples_scraped"),
            value("scrape_series_added"),
        ));
        let labels = lines(results["up"].as_ref().unwrap());
        assert!(
            labels[0].starts_with(r#"up{instance="i", job="test"}"#),
            "{labels:?}"
        );
    }
    assert_eq!(rows, [(1.0, 2.0, 2.0), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0)]);
    let of_all = source.refresh(RefreshSpec::all()).await;
    assert!(of_all.get("a").is_some() && of_all.get("all_metrics").is_none());
    let all = source.refresh(RefreshSpec::queries(["all_metrics"])).await;
    let all = lines(all["all_metrics"].as_ref().unwrap());
    let names: Vec<_> = all.iter().map(|line| line.split('{').next().unwrap()).collect();
    let expected = [
        "a",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_series_added",
        "up",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn requests_are_as_prometheus_sends_them() {
    let server = FaultyServer::start([Answer::text("a 1\n").gzipped()]).unwrap();
    let plain = start(config().with_param("x", "y z"), at(&server));
    let path = StaticTargets::default().with_target([
        ("__address__", server.addr().to_string().as_str()),
        ("__metrics_path__", "/custom/path"),
        ("__param_x", "ü"),
    ]);
    let gzip = start(
        config().with_gzip(true).with_timeout(Duration::from_millis(2500)),
        path,
    );
    // A page that comes compressed is read, asked for or not.
    assert_eq!(values(&plain, "a").await.len(), 1);
    assert_eq!(values(&gzip, "a").await.len(), 1);
    let requests = server.requests();
    assert_eq!(requests[0].target, "/metrics?x=y+z");
    assert_eq!(requests[1].target, "/custom/path?x=%C3%BC");
    let header = |at: usize, name: &str| requests[at].header(name).map(str::to_owned);
    assert_eq!(header(0, "host").unwrap(), server.addr().to_string());
    assert_eq!(header(0, "accept-encoding"), None);
    assert_eq!(header(1, "accept-encoding").as_deref(), Some("gzip"));
    let accept = header(0, "accept").unwrap();
    assert!(
        accept.starts_with("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,"),
        "{accept}"
    );
    assert!(accept.contains("text/plain;version=0.0.4"), "{accept}");
    assert_eq!(
        header(0, "x-prometheus-scrape-timeout-seconds").as_deref(),
        Some("10")
    );
    assert_eq!(
        header(1, "x-prometheus-scrape-timeout-seconds").as_deref(),
        Some("2.5")
    );
}

#[tokio::test]
async fn a_connection_that_the_target_closed_is_no_failure() {
    // Closed after each page, without having said so.
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n";
    let server = FaultyServer::start([Answer::raw(page)]).unwrap();
    let source = start(config(), at(&server));
    for _ in 0..3 {
        assert_eq!(values(&source, "a").await.len(), 1);
    }
    assert_eq!(source.scrape_stats().failures.values().sum::<u64>(), 0);
    assert_eq!(server.counters().connections, 3);
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_alone() {
    let server = FaultyServer::start([
        Answer::redirect(302, "/there"),
        Answer::text("a 1\n"),
        Answer::redirect(302, "http://elsewhere.test/metrics"),
    ])
    .unwrap();
    let source = start(config(), at(&server));
    assert_eq!(values(&source, "a").await.len(), 1);
    assert_eq!(server.requests()[1].target, "/there");
    refresh(&source, "a").await.unwrap();
    let error = source.targets()[0].last_error.clone().unwrap();
    assert_eq!(error.reason(), "rejected");
    assert!(error.to_string().contains("elsewhere.test"), "{error:?}");
}

#[tokio::test]
async fn targets_are_reached_over_ipv6() {
    let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = vec![0; 4096];
        let length = connection.read(&mut request).unwrap();
        let page = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 6\n";
        connection.write_all(page.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let source = start(config(), StaticTargets::new([address.clone()]));
    let expected = format!(r#"a{{instance="{address}", job="test"}} 6"#);
    assert_eq!(values(&source, "a").await, [expected]);
    let request = thread.join().unwrap();
    assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
}

#[tokio::test]
async fn targets_are_scraped_at_every_interval() {
    let server = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let source = start(config().with_interval(Duration::from_millis(200)), at(&server));
    server.until(|seen| seen.requests >= 5).await.unwrap();
    assert_eq!(server.counters().connections, 1);
    let read = source.get("a", &Params::new());
    assert!(
        read.is_none(),
        "nobody asked for a refresh, so nothing is in the cache"
    );
    assert!(source.scrape_stats().scrapes >= 4);
}

#[tokio::test]
async fn many_callers_and_queries_share_one_scrape() {
    let gate = Gate::new();
    let server = FaultyServer::start([
        Answer::text("a 1\nb 2\n"),
        Answer::text("a 3\nb 4\n").gated(&gate),
    ])
    .unwrap();
    let source = start(config(), at(&server));
    assert_eq!(values(&source, "a").await.len(), 1);
    let callers: Vec<_> = (0..60)
        .map(|i| {
            let (source, metric) = (source.clone(), ["a", "b", "up"][i % 3]);
            tokio::spawn(async move { values(&source, metric).await })
        })
        .collect();
    until("asked by all", || source.stats().queries == 61).await;
    server.until(|seen| seen.requests == 2).await.unwrap();
    gate.open();
    for (i, caller) in callers.into_iter().enumerate() {
        let expected = ["3", "4", "1"][i % 3];
        let values = caller.await.unwrap();
        assert!(values[0].ends_with(&format!(" {expected}")), "{values:?}");
    }
    assert_eq!(server.counters().requests, 2);
    // A batch of more queries than the pipeline runs at once is still one scrape.
    source.refresh(RefreshSpec::all()).await;
    assert_eq!(server.counters().requests, 3);
}

fn with_clock(targets: impl TargetDiscovery) -> (ScrapeSource, fleetgauge::time::ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp::from_secs_f64(NOW));
    let config = config();
    let window = Window::new(config.window.clone());
    let targets = Arc::new(targets) as Arc<dyn TargetDiscovery>;
    let config = config.with_stale_after(Duration::from_secs(10));
    let source = ScrapeSource::start_with(config, [targets], window, clock).unwrap();
    register(&source);
    (source, hand)
}

#[tokio::test]
async fn a_caller_may_be_content_with_a_scrape_that_is_young_enough() {
    let server = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let (source, hand) = with_clock(at(&server));
    let refreshed = async |max_age: Option<u64>| {
        let mut spec = RefreshSpec::queries(["a"]);
        if let Some(seconds) = max_age {
            spec = spec.max_age(Duration::from_secs(seconds));
        }
        assert!(source.refresh(spec).await.is_complete());
        server.counters().requests
    };
    assert_eq!(refreshed(Some(60)).await, 1);
    hand.advance(Duration::from_secs(5));
    assert_eq!(refreshed(Some(60)).await, 1);
    assert_eq!(refreshed(Some(6)).await, 1);
    assert_eq!(refreshed(Some(4)).await, 2);
    assert_eq!(refreshed(Some(4)).await, 2);
    assert_eq!(refreshed(Some(0)).await, 3);
    assert_eq!(refreshed(None).await, 4);
}

#[tokio::test]
async fn who_asks_for_what_comes_from_here_on_does_not_get_what_was_under_way() {
    let gate = Gate::new();
    let pages = [
        Answer::text("a 1\n").gated(&gate),
        Answer::text("a 2\n").gated(&gate),
    ];
    let server = FaultyServer::start(pages).unwrap();
    let source = start(config(), at(&server));
    let ask = |spec: RefreshSpec| {
        let source = source.clone();
        tokio::spawn(async move {
            source.refresh(spec).await["a"]
                .as_ref()
                .unwrap()
                .values()
                .next()
                .unwrap()
                .value
        })
    };
    let now = ask(RefreshSpec::queries(["a"]));
    server.until(|seen| seen.in_flight == 1).await.unwrap();
    let strict = ask(RefreshSpec::queries(["a"]).max_age(Duration::ZERO));
    until("both have asked", || source.stats().queries == 2).await;
    gate.pass(1);
    assert_eq!(now.await.unwrap(), 1.0);
    server.until(|seen| seen.requests == 2).await.unwrap();
    gate.open();
    assert_eq!(strict.await.unwrap(), 2.0);
}

#[tokio::test]
async fn a_failing_target_keeps_its_values_with_their_age_until_they_are_stale() {
    let server = FaultyServer::start([Answer::text("a 1\n"), Answer::status(503)]).unwrap();
    let (source, hand) = with_clock(at(&server));
    assert_eq!(values(&source, "a").await, [r#"a{instance="i", job="test"} 1"#]);

    hand.advance(Duration::from_secs(9));
    let kept = refresh(&source, "a").await.unwrap();
    let value = kept.values().next().unwrap();
    assert_eq!(
        (value.value, value.sampled_at()),
        (1.0, Some(Timestamp::from_secs_f64(NOW)))
    );
    let warnings: Vec<_> = kept.warnings().collect();
    assert_eq!(warnings.len(), 1);
    let expected = "0 of 1 reported; missing: i (backend unavailable (503): \"status 503\" (text/plain); its values are \
                    9.0 s old)";
    assert_eq!(warnings[0], expected);
    let target = &source.targets()[0];
    assert_eq!(
        (target.health, target.is_stale, target.consecutive_failures),
        (TargetHealth::Down, false, 1)
    );
    assert_eq!(target.last_success, Some(Timestamp::from_secs_f64(NOW)));
    assert_eq!(target.last_scrape, Some(Timestamp::from_secs_f64(NOW + 9.0)));
    assert_eq!(target.last_error.as_ref().unwrap().reason(), "unavailable");
    assert_eq!(values(&source, "up").await, [r#"up{instance="i", job="test"} 0"#]);

    // No data because everything fails is not "no data".
    hand.advance(Duration::from_secs(1));
    let error = refresh(&source, "a").await.unwrap_err();
    assert_eq!(error.reason(), "unavailable");
    let target = &source.targets()[0];
    assert_eq!((target.is_stale, target.consecutive_failures), (true, 3));
    // A metric that was never there has the same reason: nobody can say.
    assert_eq!(refresh(&source, "b").await.unwrap_err().reason(), "unavailable");
    assert_eq!(values(&source, "up").await, [r#"up{instance="i", job="test"} 0"#]);

    server.set_script([Answer::text("a 2\n")]).unwrap();
    hand.advance(Duration::from_secs(1));
    assert_eq!(values(&source, "a").await, [r#"a{instance="i", job="test"} 2"#]);
    assert!(refresh(&source, "b").await.unwrap().is_no_data());
    let target = &source.targets()[0];
    assert!(!target.is_stale && target.last_error.is_none());
}

#[tokio::test]
async fn values_go_stale_without_anybody_asking() {
    let server = FaultyServer::start([Answer::text("a 1\n"), Answer::status(503)]).unwrap();
    let source = start(config().with_stale_after(Duration::from_millis(50)), at(&server));
    values(&source, "a").await;
    refresh(&source, "up").await.unwrap();
    until("stale", || source.targets()[0].is_stale).await;
    assert_eq!(source.window().stats().stale_markers, 1);
}

#[tokio::test]
async fn a_target_that_does_not_answer_in_time_is_answered_for() {
    let good = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let slow = FaultyServer::start([Answer::text("a 2\n"), Answer::hang()]).unwrap();
    let targets = StaticTargets::new([good.addr().to_string(), slow.addr().to_string()]);
    let source = start(config().with_query_timeout(Duration::from_millis(500)), targets);
    assert_eq!(values(&source, "a").await.len(), 2);
    let late = refresh(&source, "a").await.unwrap();
    assert_eq!(late.len(), 2);
    let warnings: Vec<_> = late.warnings().collect();
    let expected = format!(
        "1 of 2 reported; missing: {} (not scraped in time; its values are",
        slow.addr()
    );
    assert!(
        warnings.len() == 1 && warnings[0].starts_with(&expected),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_target_that_went_takes_its_series_along() {
    let one = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let two = FaultyServer::start([Answer::text("a 2\n")]).unwrap();
    let both = [one.addr().to_string(), two.addr().to_string()];
    let told = Told::new(StaticTargets::new(both));
    let source = start(config(), told.clone());
    assert_eq!(values(&source, "a").await.len(), 2);
    assert_eq!(values(&source, "up").await.len(), 2);
    told.tell(StaticTargets::new([two.addr().to_string()]));
    until("gone", || source.targets().len() == 1).await;
    let (scrapes, expected) = (one.counters().requests, format!(r#"instance="{}""#, two.addr()));
    for metric in ["a", "up"] {
        let left = values(&source, metric).await;
        assert!(left.len() == 1 && left[0].contains(&expected), "{left:?}");
    }
    assert_eq!(one.counters().requests, scrapes);
    // The last one goes: that is no data, and says so.
    told.tell(StaticTargets::default());
    until("all gone", || source.targets().is_empty()).await;
    let none = refresh(&source, "a").await.unwrap();
    assert!(none.is_no_data());
    assert_eq!(
        none.warnings().collect::<Vec<_>>(),
        ["there are no targets: none was found by told"]
    );
}

#[tokio::test]
async fn a_pod_that_is_back_under_its_name_is_a_new_target_of_the_same_series() {
    let before = FaultyServer::start([Answer::text("a 10\n")]).unwrap();
    let after = FaultyServer::start([Answer::text("a 3\n")]).unwrap();
    let pod = |server: &FaultyServer| at(server).with_label("pod", "llama-0");
    let told = Told::new(pod(&before));
    let source = start(config(), told.clone());
    values(&source, "a").await;
    told.tell(pod(&after));
    let url = format!("http://{}/metrics", after.addr());
    until("moved", || {
        source.targets().iter().any(|target| target.url == url)
    })
    .await;
    assert_eq!(source.targets()[0].health, TargetHealth::Unknown);
    assert_eq!(
        values(&source, "a").await,
        [r#"a{instance="i", job="test", pod="llama-0"} 3"#]
    );
    let now = Timestamp::from_secs_f64(f64::from(u32::MAX));
    let series = source.window().select(&[], Timestamp::default(), now);
    let series: Vec<_> = series
        .iter()
        .filter(|s| s.labels().metric_name() == "a")
        .collect();
    assert_eq!(series.len(), 1);
    let samples = series[0].samples(Timestamp::default(), now);
    let samples: Vec<_> = samples
        .iter()
        .map(|s| {
            if s.is_stale() {
                "stale".into()
            } else {
                s.value.to_string()
            }
        })
        .collect();
    assert_eq!(samples, ["10", "stale", "3"]);
}

#[tokio::test]
async fn of_targets_with_the_same_labels_one_is_scraped_and_that_is_said_once() {
    let log = Log::begin();
    let one = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let two = FaultyServer::start([Answer::text("a 2\n")]).unwrap();
    let targets = StaticTargets::new([
        one.addr().to_string(),
        two.addr().to_string(),
        one.addr().to_string(),
    ]);
    let told = Told::new(targets.clone().with_label("instance", "i"));
    let source = start(config(), told.clone());
    assert_eq!(values(&source, "a").await, [r#"a{instance="i", job="test"} 1"#]);
    let stats = source.scrape_stats();
    assert_eq!((stats.targets, stats.targets_duplicate), (1, 2));
    // Another round, in which something else has changed.
    told.tell(
        targets
            .with_label("instance", "i")
            .with_target([("__address__", "127.0.0.1:1")]),
    );
    until("learned", || source.targets().len() == 2).await;
    let said = log.with("has the same labels as");
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(two.counters().requests, 0);
}

#[tokio::test]
async fn what_is_not_known_is_an_error() {
    let told = Told::new(StaticTargets::default());
    told.fail("the API server is away");
    let source = start(config(), told.clone());
    let error = refresh(&source, "a").await.unwrap_err();
    assert_eq!(error.reason(), "discovery");
    assert!(
        error
            .to_string()
            .ends_with("targets not known: told: the API server is away"),
        "{error}"
    );
    assert_eq!(source.discovery_errors().len(), 1);

    let (_sender, silent) = Pushed::new("silent");
    let source = start(config().with_query_timeout(Duration::from_secs(1)), silent);
    let error = refresh(&source, "a").await.unwrap_err().to_string();
    assert!(
        error.ends_with("targets not known: no answer yet from silent"),
        "{error}"
    );
}

#[tokio::test]
async fn a_discovery_that_fails_keeps_the_targets_and_says_so_once() {
    let log = Log::begin();
    let server = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let told = Told::new(at(&server));
    let source = start(config(), told.clone());
    values(&source, "a").await;
    told.fail("away");
    until("failed often", || source.scrape_stats().discovery_failures >= 3).await;
    let kept = refresh(&source, "a").await.unwrap();
    assert_eq!(kept.len(), 1);
    let warnings: Vec<_> = kept.warnings().collect();
    assert_eq!(warnings, ["told: away; the targets known before are used"]);
    assert_eq!(log.with("discovery failed").len(), 1);
    told.tell(at(&server));
    until("over", || source.discovery_errors().is_empty()).await;
    assert_eq!(log.with("discovery works again").len(), 1);
    assert_eq!(refresh(&source, "a").await.unwrap().warnings().len(), 0);
}

#[tokio::test]
async fn wanted_metrics_are_kept_alone() {
    let server = FaultyServer::start([Answer::text("a 1\nh_bucket{le=\"1\"} 2\nh_sum 3\nb 4\n")]).unwrap();
    let source = start(config().with_wanted(["a", "h"]), at(&server));
    assert_eq!(values(&source, "a").await.len(), 1);
    // That nothing is known of it is not "no data".
    let error = refresh(&source, "b").await.unwrap_err();
    assert_eq!(error.reason(), "incomplete");
    assert!(
        error
            .to_string()
            .contains(r#""b" is not among the metrics that are kept"#),
        "{error}"
    );
    assert_eq!(source.targets()[0].samples, 3);
}

#[tokio::test]
async fn nothing_is_left_of_a_source_that_is_dropped() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let server = FaultyServer::start([Answer::text("a 1\n"), Answer::hang()]).unwrap();
    let source = start(config(), at(&server));
    values(&source, "a").await;
    // One scrape is under way.
    let other = source.clone();
    let asking = tokio::spawn(async move { other.refresh(RefreshSpec::queries(["a"])).await });
    server.until(|seen| seen.in_flight == 1).await.unwrap();
    asking.abort();
    asking.await.unwrap_err();
    let window = source.window().clone();
    let kept = source.clone();
    source.shutdown().await;
    server.until(|seen| seen.abandoned == 1).await.unwrap();
    let error = refresh(&kept, "a").await.unwrap_err().to_string();
    assert!(error.ends_with("the source has been shut down"), "{error}");
    assert!(window.stats().series > 0);
    drop(kept);
    until("over", || alive() == 0).await;

    let source = start(config(), at(&server));
    let clone = source.clone();
    drop(source);
    until("running", || alive() > 0 && !clone.targets().is_empty()).await;
    drop(clone);
    until("over", || alive() == 0).await;
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused() {
    let check = |config: fleetgauge::scrape::ScrapeConfig, expected: &str| {
        let none: [Arc<dyn TargetDiscovery>; 0] = [];
        let error = ScrapeSource::start(config, none).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(
        config().with_interval(Duration::ZERO),
        "interval: must be at least 1 ms",
    );
    let long = config()
        .with_interval(Duration::from_secs(1))
        .with_timeout(Duration::from_secs(2));
    check(long, "timeout: 2s is longer than the interval of 1s");
    check(
        config().with_bearer_token_file("/nowhere/token"),
        "auth.bearer: the file that it names cannot be read",
    );
}

#[tokio::test]
async fn the_preset_reads_an_endpoint_picker() {
    use fleetgauge_sim::{EngineKind, Fleet, Variant};
    let pool = Variant::new("chat", "llama", EngineKind::Vllm { ranks: 1 }, "m");
    let picker = EngineKind::Epp { pool: "llama".into() };
    let fleet = Fleet::builder()
        .variant(pool)
        .variant(Variant::new("chat", "picker", picker, "m"))
        .stepped_by_hand();
    let fleet = fleet.start().await.unwrap();
    let picker = fleet
        .pods()
        .into_iter()
        .find(|pod| pod.variant == "picker")
        .unwrap();
    let targets = StaticTargets::new([picker.address.to_string()]);
    let config = fleetgauge::epp::scrape_config().with_interval(NEVER);
    let source = ScrapeSource::start(config, [Arc::new(targets) as Arc<dyn TargetDiscovery>]).unwrap();
    fleetgauge::epp::register_into(source.query_list()).unwrap();
    let results = source.refresh(RefreshSpec::all()).await;
    assert!(results.is_complete(), "{results:?}");
    assert_eq!(
        results["inference_pool_ready_pods"]
            .as_ref()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .value,
        1.0
    );
    assert!(
        !results["inference_extension_flow_control_queue_size"]
            .as_ref()
            .unwrap()
            .is_no_data()
    );
    // Nothing else is kept: no Go runtime, no histogram of the picker's.
    let names = fleetgauge::epp::metric_names();
    let young = RefreshSpec::queries(["all_metrics"]).max_age(NEVER);
    let results = source.refresh(young).await;
    let all = results["all_metrics"].as_ref().unwrap();
    let of_any_target = ["up", "process_start_time_seconds"];
    let known = |name: &str| {
        of_any_target.contains(&name) || name.starts_with("scrape_") || names.iter().any(|n| n == name)
    };
    assert!(
        all.values()
            .all(|value| known(value.labels.metric_name().unwrap()))
    );
    assert_eq!(source.scrape_stats().scrapes, 1);
}
