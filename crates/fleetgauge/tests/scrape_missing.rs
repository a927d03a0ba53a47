//! What a page, a limit or a discovery loses, the answers say that it touches, and no others.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetgauge::reading::{ReadingSpec, Readings};
use fleetgauge::scrape::{FileDiscovery, ScrapeConfig, ScrapeSource};
use fleetgauge::target::{
    Discovered, DiscoveryError, Snapshot, SnapshotStream, StaticTargets, TargetDiscovery,
};
use fleetgauge::time::Clock;
use fleetgauge::{MetricResult, MetricsSource, Params, QueryError, QueryTemplate, RefreshSpec};
use fleetgauge_promql::window::WindowConfig;
use fleetgauge_testkit::{Answer, FaultyServer};
use futures_util::{StreamExt, stream};

use crate::support::scrape as support;

use support::{Pushed, Told, at, config, known, until};

fn start(config: ScrapeConfig, discovery: impl TargetDiscovery) -> ScrapeSource {
    ScrapeSource::start(config, [Arc::new(discovery) as _]).unwrap()
}

async fn ask(source: &ScrapeSource, query: &str) -> Result<Arc<MetricResult>, QueryError> {
    let (list, name) = (source.query_list(), name_of(query));
    if list.get(&name).is_none() {
        list.must_register(QueryTemplate::promql(name.as_str(), query));
    }
    let results = source.refresh(RefreshSpec::queries([name.as_str()])).await;
    let outcome = results[name.as_str()].clone();
    assert_eq!(
        results.is_complete(),
        outcome.as_ref().is_ok_and(|result| result.is_complete())
    );
    outcome
}

/// A name for a query.
fn name_of(query: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("q_{}", query.chars().map(kept).collect::<String>())
}

/// The first value, if it is known to lack nothing; else the warnings.
async fn answer(source: &ScrapeSource, query: &str) -> Result<f64, String> {
    match ask(source, query).await {
        Ok(result) if result.is_complete() => match result.values().next() {
            Some(value) => Ok(value.value),
            None => Err("no data".to_owned()),
        },
        Ok(result) => Err(result.warnings().collect::<Vec<_>>().join("; ")),
        Err(error) => Err(error.to_string()),
    }
}

async fn says(source: &ScrapeSource, query: &str, expected: &str) {
    let found = answer(source, query).await;
    let is_said = found.as_ref().is_err_and(|why| why.contains(expected));
    assert!(is_said, "{query}: {found:?} instead of {expected:?}");
}

/// A query may ask for what is yet to come, also where it is asked for now.
#[tokio::test]
async fn what_has_no_samples_yet_is_no_silent_zero() {
    let server = FaultyServer::start([Answer::text("waiting 7\n")]).unwrap();
    let source = start(config(), at(&server));
    for query in [
        "sum(waiting offset -20m) or vector(0)",
        "sum(waiting @ 4e9) or vector(0)",
        "absent(waiting offset -20m)",
        "sum(waiting) - (sum(max_over_time(waiting[1m] offset -20m)) or vector(0))",
    ] {
        says(&source, query, "waiting is asked for at a time ").await;
    }
    for query in [
        "sum(waiting offset -1s) or vector(0)",
        "sum(waiting smoothed) + sum(waiting)",
    ] {
        let found = answer(&source, query).await;
        assert!(found.is_ok(), "{query}: {found:?}");
    }
}

#[tokio::test]
async fn a_target_over_its_limit_makes_no_silent_zero() {
    let page: String = (0..300).map(|i| format!("a{{i=\"{i}\"}} 1\n")).collect();
    let server = FaultyServer::start([Answer::text(page + "waiting 7\n")]).unwrap();
    let window = WindowConfig::default().with_max_series(1_000, 200);
    let source = start(config().with_window(window), at(&server));
    let limit = "the target has 200 series in the window, its limit";
    for query in ["sum(a)", "sum(waiting)", "waiting", "sum(waiting) or vector(0)"] {
        says(&source, query, limit).await;
    }
    let error = ask(&source, "waiting").await.unwrap_err();
    assert_eq!(error.reason(), "incomplete", "{error}");
    assert_eq!(answer(&source, "up").await, Ok(1.0));
}

#[tokio::test]
async fn series_that_changed_a_label_are_all_there() {
    let is_new = Arc::new(AtomicBool::new(false));
    let version = Arc::clone(&is_new);
    let server = FaultyServer::start([Answer::choose(move |_| {
        let version = if version.load(Ordering::Relaxed) { 2 } else { 1 };
        let page = (0..120).map(|i| format!("a{{i=\"{i}\",version=\"{version}\"}} 1\n"));
        Answer::text(page.collect::<String>())
    })])
    .unwrap();
    let window = WindowConfig::default().with_max_series(1_000, 200);
    let source = start(config().with_window(window), at(&server));
    assert_eq!(answer(&source, "sum(a)").await, Ok(120.0));
    is_new.store(true, Ordering::Relaxed);
    assert_eq!(answer(&source, "sum(a)").await, Ok(120.0));
    says(
        &source,
        "sum(count_over_time(a[1h]))",
        "made room for others at a limit",
    )
    .await;
}

#[tokio::test]
async fn lines_and_samples_that_are_lost_are_told_by_the_answers_that_they_touch() {
    let bucket = |le: &str, value: &str| format!("h_bucket{{le=\"{le}\"}} {value}\n");
    let page = [
        "a 1\n".to_owned(),
        "bad{x=\"1} 2\n".to_owned(),
        "big 1e999\n".to_owned(),
        "twice{x=\"1\",y=\"2\"} 3\ntwice{y=\"2\",x=\"1\"} 4\n".to_owned(),
        "old 5 1000\n".to_owned(),
        bucket("1", "1"),
        bucket("10", "one"),
        bucket("+Inf", "3"),
        "up 7\n".to_owned(),
    ];
    let server = FaultyServer::start([Answer::text(page.concat())]).unwrap();
    let source = start(config(), at(&server));
    assert_eq!(answer(&source, "sum(a)").await, Ok(1.0));
    for (query, expected) in [
        ("sum(bad)", "text without closing quote"),
        ("sum(bad) or vector(0)", "bad lines"),
        ("sum(big)", "bad lines"),
        ("sum(twice)", "another value for the same time"),
        ("sum(old)", "dated before the retention"),
        (
            "histogram_quantile(0.5, h_bucket)",
            "a bucket of the histogram is missing",
        ),
        ("sum(up)", "exposes up, which is the scraper's to say"),
        ("count({__name__=~\".+\"})", "bad lines"),
        ("sum({job=\"test\"})", "bad lines"),
        ("sum(max_over_time(big[1m]))", "bad lines"),
    ] {
        says(&source, query, expected).await;
    }
    let quantile = ask(&source, "histogram_quantile(0.5, h_bucket)").await;
    assert_eq!(quantile.unwrap_err().reason(), "incomplete");
    // No series of this target is of another job.
    says(&source, "sum({job=\"other\"})", "no data").await;
}

#[tokio::test]
async fn targets_that_are_left_out_are_told_by_the_answers_that_they_touch() {
    let server = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let pod = |name: &'static str| {
        let address = server.addr().to_string();
        [
            ("__address__", address),
            ("instance", name.to_owned()),
            ("pod", name.to_owned()),
        ]
    };
    // Too many.
    let targets = ["p", "q", "r"]
        .iter()
        .fold(StaticTargets::default(), |targets, name| {
            targets.with_target(pod(name).iter().map(|(n, v)| (*n, v.as_str())))
        });
    let mut limited = config();
    limited.max_targets = 2;
    let source = start(limited, targets);
    says(&source, "sum(a)", "there are more than 2 targets (max_targets)").await;
    says(&source, "sum(a{pod=\"r\"}) or vector(0)", "max_targets").await;
    assert_eq!(answer(&source, "sum(a{pod=\"p\"})").await, Ok(1.0));

    // Two with the same labels.
    let other = FaultyServer::start([Answer::text("a 2\n")]).unwrap();
    let both = StaticTargets::new([server.addr().to_string(), other.addr().to_string()]);
    let source = start(config(), both.with_label("instance", "i"));
    says(&source, "sum(a)", "has the same labels as").await;

    // An address that is a URL, in a file.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("targets.json");
    let targets = format!(
        r#"[{{"targets": ["{0}"], "labels": {{"zone": "a"}}}},
            {{"targets": ["http://{0}/metrics"], "labels": {{"zone": "b"}}}}]"#,
        server.addr()
    );
    std::fs::write(&file, targets).unwrap();
    let source = start(config(), FileDiscovery::new([file]));
    says(&source, "sum(a)", "http://").await;
    says(&source, "sum(a{zone=\"b\"})", "http://").await;
    assert_eq!(answer(&source, "sum(a{zone=\"a\"})").await, Ok(1.0));
}

#[tokio::test]
async fn a_target_that_fails_is_missing_from_its_own_answers_alone() {
    let good = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let bad = FaultyServer::start([Answer::status(500)]).unwrap();
    let targets = [(&good, "good"), (&bad, "bad")];
    let targets = targets
        .iter()
        .fold(StaticTargets::default(), |targets, (server, zone)| {
            targets.with_target([
                ("__address__", server.addr().to_string().as_str()),
                ("zone", zone),
            ])
        });
    let source = start(config(), targets);
    says(&source, "sum(a)", "backend unavailable (500)").await;
    says(&source, "sum(a) > 5", "backend unavailable (500)").await;
    says(&source, "sum(a{zone=\"bad\"})", "backend unavailable (500)").await;
    assert_eq!(answer(&source, "sum(a{zone=\"good\"})").await, Ok(1.0));
    says(&source, "a{zone=\"good\"} > 5", "no data").await;
    // That it is down is known.
    assert_eq!(answer(&source, "count(up == 0)").await, Ok(1.0));
}

#[tokio::test]
async fn where_exposed_labels_win_a_target_may_be_missing_from_any_answer() {
    let bad = FaultyServer::start([Answer::status(500)]).unwrap();
    let good = FaultyServer::start([Answer::text("a{zone=\"x\"} 1\nb{ 2\n")]).unwrap();
    let targets = [(&good, "good"), (&bad, "bad")];
    let targets = targets
        .iter()
        .fold(StaticTargets::default(), |targets, (server, zone)| {
            targets.with_target([
                ("__address__", server.addr().to_string().as_str()),
                ("zone", zone),
            ])
        });
    let source = start(config().with_honor_labels(true), targets);
    says(&source, "sum(a{zone=\"x\"})", "backend unavailable (500)").await;
    says(&source, "sum(b{zone=\"x\"})", "bad lines").await;
}

/// A page so large that it is read on a thread of its own, where the target goes while it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_goes_while_a_large_page_is_read_takes_its_series_along() {
    let long = "x".repeat(200);
    let page: String = (0..6_000)
        .map(|i| format!("a{{i=\"{i}\",x=\"{long}\"}} 1\n"))
        .collect();
    assert!(page.len() > 1 << 20);
    for _ in 0..3 {
        let server = FaultyServer::start([Answer::text(page.clone())]).unwrap();
        let told = Told::new(at(&server));
        let window = WindowConfig::default().with_max_series(100_000, 100_000);
        let source = start(config().with_window(window), told.clone());
        let asking = {
            let source = source.clone();
            tokio::spawn(async move { ask(&source, "count(a)").await })
        };
        until("being read", || source.window().stats().series > 100).await;
        told.tell(StaticTargets::default());
        until("gone", || source.targets().is_empty()).await;
        let _ = asking.await.unwrap();
        let left = ask(&source, "count(a)").await.unwrap();
        assert!(left.is_no_data(), "{:?} are left", left.values().next());
    }
}

/// Both discoveries have told at once; while the targets of the second are brought into effect on one thread, another must
/// not take those of the first for all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_answer_has_the_targets_of_all_discoveries() {
    let server = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let address = server.addr().to_string();
    let of = |name: &str, count: usize| {
        let with = |targets: StaticTargets, i| {
            targets.with_target([("__address__", &*address), ("instance", &*format!("{name}{i}"))])
        };
        Arc::new((0..count).fold(StaticTargets::default(), with)) as Arc<dyn TargetDiscovery>
    };
    for _ in 0..25 {
        let source = ScrapeSource::start(config(), [of("x", 1), of("y", 50)]).unwrap();
        assert_eq!(answer(&source, "count(a)").await, Ok(51.0));
    }
}

/// What the first answer may lack, it says: the targets of one discovery are there, those of the other are not.
#[tokio::test]
async fn the_first_answer_says_which_discovery_has_told_nothing_yet() {
    let server = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let (sender, late) = Pushed::new("late");
    let config = config().with_query_timeout(Duration::from_millis(300));
    let source = ScrapeSource::start(config, [Arc::new(at(&server)) as _, Arc::new(late) as _]).unwrap();
    until("scraped", || source.targets().len() == 1).await;
    says(&source, "sum(a)", "no answer yet from late").await;
    says(&source, "sum(b)", "no answer yet from late").await;
    sender.send_replace(Snapshot::Known(known(at(&server).with_label("instance", "j"))));
    until("in effect", || source.targets().len() == 2).await;
    assert_eq!(answer(&source, "sum(a)").await, Ok(2.0));
}

/// It is waited for from the start of the source, not by each request anew.
#[tokio::test(start_paused = true)]
async fn a_discovery_that_tells_nothing_is_waited_for_once() {
    let none: Arc<dyn TargetDiscovery> = Arc::new(StaticTargets::default());
    let (_sender, silent) = Pushed::new("silent");
    let config = config().with_query_timeout(Duration::from_secs(60));
    let source = ScrapeSource::start(config, [none, Arc::new(silent) as _]).unwrap();
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        let error = ask(&source, "sum(a)").await.unwrap_err().to_string();
        assert!(
            error.ends_with("targets not known: no answer yet from silent"),
            "{error}"
        );
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}

#[tokio::test]
async fn a_discovery_that_ends_or_panics_keeps_its_targets_and_is_told() {
    /// Tells one snapshot, and then panics, or panics at once.
    struct Panics(Option<Discovered>);
    impl TargetDiscovery for Panics {
        fn name(&self) -> &str {
            "brittle"
        }
        fn watch(self: Arc<Self>) -> SnapshotStream {
            let first = self.0.clone().expect("as the test wants");
            let panics = stream::once(async { panic!("as the test wants") });
            stream::iter([Snapshot::Known(first)]).chain(panics).boxed()
        }
    }

    let server = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let (sender, cluster) = Pushed::new("cluster");
    sender.send_replace(Snapshot::Known(known(at(&server))));
    drop(sender);
    let ended = start(config(), cluster);
    let panicked = start(config(), Panics(Some(known(at(&server)))));
    for (source, expected) in [
        (
            ended,
            "cluster: the discovery has ended; the targets known before are used",
        ),
        (
            panicked,
            "brittle: the discovery was aborted; the targets known before are used",
        ),
    ] {
        until("told", || !source.discovery_errors().is_empty()).await;
        assert_eq!(answer(&source, "sum(a)").await, Err(expected.to_owned()));
    }
    let source = start(config(), Panics(None));
    says(
        &source,
        "sum(a)",
        "targets not known: brittle: the discovery was aborted",
    )
    .await;
}

/// A cluster that changes all the time does not restart the work each time; the newest set wins.
#[tokio::test]
async fn changes_that_come_fast_take_effect_together() {
    let server = FaultyServer::start([Answer::text("a 1\n")]).unwrap();
    let named = |name: &str| Snapshot::Known(known(at(&server).with_label("instance", name)));
    let (sender, cluster) = Pushed::new("cluster");
    sender.send_replace(named("first"));
    let source = start(config(), cluster);
    let instances = || {
        let targets = source.targets().into_iter();
        targets
            .map(|target| target.labels["instance"].clone())
            .collect::<Vec<_>>()
    };
    until("first", || instances() == ["first"]).await;
    let mut seen = vec!["first".to_owned()];
    for i in 0..100 {
        sender.send_replace(named(&i.to_string()));
        tokio::task::yield_now().await;
        seen.extend(instances());
        seen.dedup();
    }
    until("last", || instances() == ["99"]).await;
    // As many as there are times of gathering, not as there are changes.
    assert!(seen.len() <= 10, "{seen:?}");
}

#[tokio::test]
async fn a_panic_in_a_scrape_is_a_failed_scrape() {
    // What panics is the program's own subscriber, when it is told of a page's bad lines.
    let pages = [
        Answer::text("a 1\n"),
        Answer::text("a 2\nPANIC! 1\n"),
        Answer::text("a 3\n"),
    ];
    let server = FaultyServer::start(pages).unwrap();
    let log = support::Log::begin();
    let source = start(config().with_stale_after(Duration::from_secs(60)), at(&server));
    assert_eq!(answer(&source, "sum(a)").await, Ok(1.0));
    says(&source, "sum(a)", "the fetch was aborted").await;
    let target = &source.targets()[0];
    assert_eq!(target.last_error.as_ref().unwrap().reason(), "aborted");
    assert_eq!(source.scrape_stats().failures.get("aborted"), Some(&1));
    assert_eq!(log.with("scrape failed").len(), 1);
    assert_eq!(answer(&source, "sum(a)").await, Ok(3.0));
    assert!(source.targets()[0].last_error.is_none());
    assert!(source.get(&name_of("sum(a)"), &Params::new()).is_some());
}

#[tokio::test]
async fn a_selector_that_may_mean_metrics_that_are_not_kept_says_so() {
    let server = FaultyServer::start([Answer::text("a 1\nb 4\nh_bucket{le=\"+Inf\"} 2\n")]).unwrap();
    let source = start(config().with_wanted(["a", "h"]), at(&server));
    let not_kept = r#""b" is not among the metrics that are kept (wanted)"#;
    let cases = [
        ("a", Ok(1.0)),
        (r#"sum({__name__=~"a|h_bucket"})"#, Ok(3.0)),
        (r#"sum({__name__=~"a|up"})"#, Ok(2.0)),
        (r#"sum({__name__=~"a|b",__name__!="b"})"#, Ok(1.0)),
        (r#"sum({__name__=~"a|b"})"#, Err(not_kept)),
        (r#"sum({__name__="b"}) or vector(0)"#, Err(not_kept)),
        (
            r#"sum({__name__=~"a|b.*"})"#,
            Err(r#"{__name__=~"a|b.*"} may mean others"#),
        ),
        (
            r#"sum({__name__!="a",job=~".+"})"#,
            Err(r#"job=~".+"} may mean others"#),
        ),
        (r#"sum({job="test"})"#, Err(r#"{job="test"} may mean others"#)),
    ];
    for (query, expected) in cases {
        match expected {
            Ok(value) => assert_eq!(answer(&source, query).await, Ok(value), "{query}"),
            Err(reason) => says(&source, query, reason).await,
        }
    }
    // What is kept is what this query asks for.
    let results = source.refresh(RefreshSpec::queries(["all_metrics"])).await;
    assert!(results.is_complete());
}

/// A queue of seven that its pod dates into the future is no queue of zero, and what is asked for the other pods is not their
/// sum.
#[tokio::test]
async fn a_sample_that_its_target_dates_so_that_nobody_sees_it_is_missed() {
    let server = FaultyServer::start([Answer::choose(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.unwrap().as_millis();
        let page = format!(
            "fresh 1\nago 2 {}\nahead 3 {}\nold 4 {}\nfuture 5 {}\n",
            now - 60_000,
            now + 1_000,
            now - 400_000,
            now + 20_000,
        );
        Answer::text(page)
    })])
    .unwrap();
    let source = start(config(), at(&server));
    assert_eq!(answer(&source, "sum(fresh)").await, Ok(1.0));
    assert_eq!(answer(&source, "sum(ago)").await, Ok(2.0));
    for query in [
        "sum(old)",
        "sum(future)",
        "sum(future) or vector(0)",
        "count({__name__=~\".+\"})",
    ] {
        says(&source, query, "are dated by their target").await;
    }
    assert!(
        source.targets()[0]
            .problem
            .as_deref()
            .unwrap()
            .contains("dated by their target")
    );
}

/// Guards against a sum without a pod that comes back just after it was read, and before anybody asks who has reported.
#[tokio::test]
async fn a_time_just_before_a_target_answers_lacks_it() {
    let well = FaultyServer::start([Answer::text("waiting 3\n")]).unwrap();
    let late = FaultyServer::start([Answer::status(500)]).unwrap();
    let targets = [&well, &late].map(|server| server.addr().to_string());
    let source = start(config(), StaticTargets::new(targets));
    says(&source, "sum(waiting)", "500").await;
    let clock = Clock::system();
    let before = clock.wall();
    until("a millisecond passed", || clock.wall() > before).await;
    late.set_script([Answer::text("waiting 4\n")]).unwrap();
    assert_eq!(answer(&source, "sum(waiting)").await, Ok(7.0));

    let name = name_of("sum(waiting)");
    let spec = RefreshSpec::queries([name.as_str()]).at(before);
    let results = source.refresh(spec).await;
    let result = results[name.as_str()].as_ref().unwrap();
    let warnings: Vec<_> = result.warnings().collect();
    assert!(!result.is_complete(), "{warnings:?}");
    assert!(warnings.join("; ").contains("short_window"), "{warnings:?}");
}

/// A pod that answers without its queue has no queue of zero.
#[tokio::test]
async fn a_metric_that_a_target_exposes_no_longer_is_missed() {
    let page = Arc::new(Mutex::new(Answer::text("")));
    let set = |answer: Answer| *page.lock().unwrap() = answer;
    let pages = Arc::clone(&page);
    let server = FaultyServer::start([Answer::choose(move |_| pages.lock().unwrap().clone())]).unwrap();
    let other = FaultyServer::start([Answer::text("queue 2\nother 3\n")]).unwrap();
    let pods = [&server, &other].map(|server| server.addr().to_string());
    let source = start(config(), StaticTargets::new(pods));

    set(Answer::text(
        "queue{rank=\"0\"} 1\nqueue{rank=\"1\"} 1\nother 1\n",
    ));
    assert_eq!(answer(&source, "sum(queue)").await, Ok(4.0));
    // Of series that come and go, as those of adapters do, some are left.
    set(Answer::text("queue{rank=\"0\"} 1\nother 1\n"));
    assert_eq!(answer(&source, "sum(queue)").await, Ok(3.0));
    set(Answer::text("other 1\n"));
    for query in [
        "sum(queue)",
        "sum(rate(queue[1m]))",
        "sum({__name__=~\"queue|other\"})",
    ] {
        says(&source, query, "it answers, and exposes queue no longer since").await;
    }
    assert_eq!(answer(&source, "sum(other)").await, Ok(4.0));
    set(Answer::text("queue{rank=\"2\"} 1\nother 1\n"));
    assert_eq!(answer(&source, "sum(queue)").await, Ok(3.0));

    // One of which lines were lost first, and then there are none.
    set(Answer::text("queue{rank=\"2} 1\nother 1\n"));
    says(&source, "sum(queue)", "bad lines").await;
    for _ in 0..2 {
        set(Answer::text("other 1\n"));
        says(&source, "sum(queue)", "exposes queue no longer since").await;
    }

    // A process that has just begun may not have anything to tell yet.
    let start = |at: u32| format!("process_start_time_seconds {at}\n");
    set(Answer::text(start(1_000) + "queue 1\n"));
    assert_eq!(answer(&source, "sum(queue)").await, Ok(3.0));
    set(Answer::text(start(2_000)));
    assert_eq!(answer(&source, "sum(queue)").await, Ok(2.0));
    set(Answer::text("queue 1\n"));
    assert_eq!(answer(&source, "sum(queue)").await, Ok(3.0));
    set(Answer::status(500));
    says(&source, "sum(queue)", "500").await;
    set(Answer::text("other 1\n"));
    assert_eq!(answer(&source, "sum(queue)").await, Ok(2.0));
}

/// Guards against a clean zero after a file of no targets was broken when it was first read.
#[tokio::test]
async fn that_there_are_no_targets_is_said_also_after_the_discovery_failed() {
    let (sender, pushed) = Pushed::new("pushed");
    let source = start(config(), pushed);
    let broken = DiscoveryError::Malformed {
        detail: "half a file".to_owned(),
    };
    sender.send_replace(Snapshot::Known(Discovered::default().with_problems([broken])));
    let query = "sum(waiting) or vector(0)";
    let said = async || {
        let result = ask(&source, query).await.unwrap();
        result.warnings().collect::<Vec<_>>().join("; ")
    };
    assert!(said().await.contains("half a file"), "{}", said().await);
    sender.send_replace(Snapshot::Known(Discovered::default()));
    until("it works again", || source.discovery_errors().is_empty()).await;
    let none = said().await;
    assert_eq!(none, "there are no targets: none was found by pushed");
}

/// Guards against a clean zero while the first pod loads its model.
#[tokio::test]
async fn where_all_targets_are_starting_that_is_said() {
    let server = FaultyServer::start([Answer::status(503)]).unwrap();
    let told = Told::new(StaticTargets::new(Vec::<String>::new()));
    let source = start(config(), told.clone());
    let query = "sum(waiting) or vector(0)";
    let result = ask(&source, query).await.unwrap();
    let warnings = |result: &MetricResult| result.warnings().collect::<Vec<_>>().join("; ");
    assert!(
        warnings(&result).contains("there are no targets"),
        "{}",
        warnings(&result)
    );

    told.tell(at(&server));
    until("discovered", || !source.targets().is_empty()).await;
    let result = ask(&source, query).await.unwrap();
    let said = warnings(&result);
    assert!(
        said.contains("no target has reported yet: 0 of 0 reported; starting: "),
        "{said}"
    );

    // It was starting at that time, though it has answered since, as where this process stood still meanwhile.
    let clock = Clock::system();
    let before = clock.wall();
    until("a millisecond passed", || clock.wall() > before).await;
    server.set_script([Answer::text("waiting 1\n")]).unwrap();
    assert_eq!(answer(&source, "sum(waiting)").await, Ok(1.0));
    let name = name_of(query);
    let results = source
        .refresh(RefreshSpec::queries([name.as_str()]).at(before))
        .await;
    let said = warnings(results[&*name].as_ref().unwrap());
    assert!(said.contains("it answered for the first time at"), "{said}");
    assert!(said.contains("no target has reported yet"), "{said}");
}

/// Guards against a query without data and without a cause where relabeling took a label away.
#[tokio::test]
async fn that_no_series_has_a_label_that_is_asked_for_is_said() {
    let server = FaultyServer::start([Answer::text("queue{model=\"m\"} 2\n")]).unwrap();
    let source = start(config(), at(&server));
    for (query, expected) in [
        (
            "queue{namespace=\"chat\"}",
            "no series of queue has the label namespace",
        ),
        (
            "sum(queue{model=\"m\", pod=~\"a.+\"}) or vector(0)",
            "no series of queue has the label pod",
        ),
        ("queue{model=\"other\"}", ""),
        ("queue{namespace=\"\"}", ""),
        ("waiting{namespace=\"chat\"}", ""),
    ] {
        let result = ask(&source, query).await.unwrap();
        let warnings = result.warnings().collect::<Vec<_>>().join("; ");
        assert!(
            warnings.contains(expected) && warnings.is_empty() == expected.is_empty(),
            "{query}: {warnings}"
        );
    }
    let name = name_of("queue{namespace=\"chat\"}");
    let spec = ReadingSpec::new("metric", name.parse().unwrap());
    let readings = Readings::new(spec, Clock::system()).unwrap();
    readings.update(&source.lookup(&name, &Params::new()), None);
    let mut reader = readings.reader();
    let reading = reader.get(&[]);
    let text = reading.reason().unwrap().text.to_string();
    assert!(
        text.contains("the query has no data: no series of queue has the label namespace"),
        "{text}"
    );
}
