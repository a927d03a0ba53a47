//! What each fault of a target yields: the table in `docs/scraping.md`, held in step with the code; and what
//! the faults of some targets cost the others.
//!
//! Every row is produced here and compared with the document. To write its table anew:
//! `FLEETGAUGE_WRITE_DOCS=1 cargo test -p fleetgauge --test it scrape_faults`.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleetgauge::params::Params;
use fleetgauge::query::QueryTemplate;
use fleetgauge::reading::Found;
use fleetgauge::scrape::{ScrapeConfig, ScrapeSource, TargetHealth, TlsConfig};
use fleetgauge::target::{Scheme, StaticTargets};
use fleetgauge::{MetricsSource, RefreshSpec};
use fleetgauge_promql::exposition::Limits;
use fleetgauge_promql::window::WindowConfig;
use fleetgauge_testkit::tls::Server;
use fleetgauge_testkit::{Answer, Certificates, FaultyServer, Gate, Refused};

use crate::support::scrape as support;

use support::*;

const MIB: usize = 1 << 20;
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scraping.md");
const HEAD: &str = "| fault | `up` | reason | what the target's status says |\n|---|---|---|---|\n";

fn bounded() -> ScrapeConfig {
    config().with_limits(Limits::default().with_body_bytes(MIB).with_samples(1_000))
}

/// The row of a target that was scraped once.
async fn row(fault: &str, config: ScrapeConfig, targets: StaticTargets, address: String) -> String {
    let source = start(config, targets);
    let up = values(&source, "up").await;
    let target = &source.targets()[0];
    let (reason, says) = match (&target.last_error, &target.problem) {
        (Some(error), _) => (format!("`{}`", error.reason()), error.to_string()),
        (None, Some(problem)) => ("".to_owned(), problem.clone()),
        (None, None) => ("".to_owned(), "".to_owned()),
    };
    let up = up[0].rsplit(' ').next().unwrap();
    assert_eq!(up == "1", target.health == TargetHealth::Up, "{fault}");
    assert!(!says.contains("hunter2"), "{says}");
    let says = says.replace(&address, "HOST:PORT").replace('|', "\\|");
    let says = if says.is_empty() {
        says
    } else {
        format!("`{says}`")
    };
    format!("| {fault} | {up} | {reason} | {says} |\n").replace("  ", " ")
}

async fn answered(fault: &str, answer: Answer) -> String {
    let server = FaultyServer::start([answer]).unwrap();
    row(fault, bounded(), at(&server), server.addr().to_string()).await
}

async fn slow(fault: &str, answer: Answer) -> String {
    let server = FaultyServer::start([answer]).unwrap();
    let config = bounded().with_timeout(Duration::from_millis(300));
    row(fault, config, at(&server), server.addr().to_string()).await
}

async fn rows() -> String {
    let text = |body: String| Answer::text(body);
    let mut rows = String::from(HEAD);
    let refused = Refused::new().unwrap();
    let address = refused.addr().to_string();
    rows += &row(
        "nobody listens",
        bounded(),
        StaticTargets::new([address.clone()]),
        address,
    )
    .await;
    let named = StaticTargets::new(["nowhere.invalid:80"]);
    let unknown = row(
        "a name that does not resolve",
        bounded(),
        named,
        "nowhere.invalid:80".into(),
    )
    .await;
    assert!(unknown.contains("| 0 | `unreachable` |"), "{unknown}");
    rows += &answered("connection reset", Answer::reset()).await;
    rows += &answered("connection closed without an answer", Answer::close()).await;
    rows += &slow("accepts, and never answers", Answer::hang()).await;
    let drip = Answer::drip_forever(Duration::from_millis(1)).content_type("text/plain");
    rows += &slow("page that drips in for ever", drip).await;
    rows += &answered(
        "page that ends before its `Content-Length`",
        Answer::truncated("a 1\n").content_type("text/plain"),
    )
    .await;
    rows += &answered("no HTTP", Answer::malformed_http()).await;
    rows += &answered(
        "endless page",
        Answer::oversized(64 * MIB).content_type("text/plain"),
    )
    .await;
    rows += &answered(
        "decompression bomb",
        Answer::gzip_bomb(64 * MIB).content_type("text/plain"),
    )
    .await;
    rows += &answered(
        "compressed page that is broken",
        Answer::text("a 1\n").header("Content-Encoding", "gzip"),
    )
    .await;
    rows += &answered("login page", Answer::html_page()).await;
    rows += &answered(
        "other content type",
        Answer::text("a 1\n").content_type("application/x-protobuf"),
    )
    .await;
    rows += &answered(
        "HTML that calls itself text",
        text("<html>\n\u{0}\u{1} {{{\n".repeat(50)),
    )
    .await;
    rows += &answered("JSON, as at `/metrics` of trtllm-serve", Answer::json("[]")).await;
    rows += &answered("JSON that calls itself text", text("{\"a\": [1]}\n".into())).await;
    let gzip = Answer::text("a 1\n").gzipped().without_header("Content-Encoding");
    rows += &answered("compressed page that does not say so", gzip).await;
    rows += &answered("page of garbage", text("?\n\u{0}\u{1} {{{\n".repeat(50))).await;
    rows += &answered("page without a sample", text("# nothing yet\n".into())).await;
    rows += &answered("one bad line of three", text("a 1\nb{x=\"1} 2\nc 3\n".into())).await;
    rows += &answered("page that has `up` itself", text("a 1\nup 5\n".into())).await;
    rows += &answered("name of 1 MB", text(format!("a 1\n{} 2\n", "n".repeat(MIB - 10)))).await;
    rows += &answered(
        "more samples than allowed",
        text((0..2_000).map(|i| format!("a{{x=\"{i}\"}} 1\n")).collect()),
    )
    .await;
    let open_metrics = Answer::text("a 1\n").content_type("application/openmetrics-text; version=1.0.0");
    rows += &answered("OpenMetrics that ends without `# EOF`", open_metrics).await;
    rows += &answered(
        "page without its last line feed, of a known length",
        text("a 42\nb 4".into()),
    )
    .await;
    let until_closed = Answer::raw("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\na 42\nb 4");
    rows += &answered(
        "page without its last line feed, of no known length",
        until_closed,
    )
    .await;
    let old = "a 1 1000\n";
    rows += &answered("samples that the target dates decades back", text(old.into())).await;
    rows += &answered("redirects in a circle", Answer::redirect_loop()).await;
    rows += &answered(
        "redirect to another host",
        Answer::redirect(302, "https://login.example/"),
    )
    .await;
    for status in [401, 403, 404, 429, 500, 503] {
        rows += &answered(&status.to_string(), Answer::status(status)).await;
    }
    let server = FaultyServer::start([Answer::choose(|request| {
        Answer::respond(500, &[], request.header("authorization").unwrap_or_default())
    })])
    .unwrap();
    let auth = fleetgauge::scrape::Auth::Bearer {
        token: "hunter2".into(),
    };
    rows += &row(
        "error that repeats the token",
        bounded().with_auth(auth),
        at(&server),
        server.addr().to_string(),
    )
    .await;

    let certificates = Certificates::generate().unwrap();
    let mut tls = TlsConfig::default();
    tls.ca_file = Some(certificates.ca());
    let https = bounded().with_scheme(Scheme::Https).with_tls(tls);
    for (fault, kind) in [
        ("certificate by another authority", Server::WrongCa),
        ("certificate that has expired", Server::Expired),
    ] {
        let server =
            FaultyServer::start_tls([Answer::text("a 1\n")], certificates.server_config(kind).unwrap())
                .unwrap();
        rows += &row(fault, https.clone(), at(&server), server.addr().to_string()).await;
    }
    let wants_client = certificates.server_config_requiring_client().unwrap();
    let server = FaultyServer::start_tls([Answer::text("a 1\n")], wants_client).unwrap();
    rows += &row(
        "client certificate missing",
        https,
        at(&server),
        server.addr().to_string(),
    )
    .await;
    rows
}

#[tokio::test]
async fn the_document_says_what_each_fault_yields() {
    let rows = rows().await;
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let start = document.find(HEAD).unwrap();
    let end = document[start..]
        .find("\n\n")
        .map_or(document.len(), |end| start + end + 1);
    if std::env::var_os("FLEETGAUGE_WRITE_DOCS").is_some() {
        let written = format!("{}{rows}{}", &document[..start], &document[end..]);
        return std::fs::write(DOCUMENT, written).unwrap();
    }
    for (found, expected) in document[start..end].lines().zip(rows.lines()) {
        assert_eq!(found, expected, "docs/scraping.md is not in step with the code");
    }
    assert_eq!(document[start..end].lines().count(), rows.lines().count());
}

#[tokio::test]
async fn a_fault_is_said_when_it_begins_and_when_it_ends_and_counted_every_time() {
    let log = Log::begin();
    let bad = Answer::text("a 1\nb{ 2\n");
    let pages = [
        Answer::text("a 1\n"),
        Answer::status(500),
        Answer::html_page(),
        Answer::status(500),
        bad.clone(),
        bad,
    ];
    let server = FaultyServer::start(pages).unwrap();
    let source = start(config(), at(&server));
    for _ in 0..6 {
        refresh(&source, "up").await.unwrap();
    }
    let failed = log.with("scrape failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        failed[0].starts_with("WARN") && failed[0].contains("target=i"),
        "{failed:?}"
    );
    assert_eq!(log.with("scraped again").len(), 1);
    assert_eq!(log.with("1 bad lines").len(), 1);
    let stats = source.scrape_stats();
    assert_eq!(stats.failures.get("unavailable"), Some(&2));
    assert_eq!(stats.failures.get("malformed"), Some(&1));
    assert_eq!((stats.scrapes, stats.bad_lines), (6, 2));
}

#[tokio::test]
async fn labels_that_change_at_every_scrape_are_bounded_and_cost_the_series_that_stay_nothing() {
    let scrape = Arc::new(AtomicUsize::new(0));
    let explosion = Answer::choose(move |_| {
        let n = scrape.fetch_add(1, Ordering::Relaxed);
        let new = (0..100).map(|i| format!("b{{request=\"{n}-{i}\"}} 1\n"));
        Answer::text(format!("a {n}\n{}", new.collect::<String>()))
    });
    let exploding = FaultyServer::start([explosion]).unwrap();
    let good = FaultyServer::start([Answer::text("a 7\n")]).unwrap();
    let targets = StaticTargets::new([exploding.addr().to_string(), good.addr().to_string()]);
    let window = WindowConfig::default().with_max_series(10_000, 500);
    let source = start(config().with_window(window), targets);
    for n in 0..20 {
        let values = values(&source, "a").await;
        assert_eq!(values.len(), 2);
        assert!(
            values.iter().any(|line| line.ends_with(&format!(" {}", 2 * n))),
            "{values:?}"
        );
        assert!(values.iter().any(|line| line.ends_with(" 7")), "{values:?}");
        // Those that went make room for those that are there.
        let new = refresh(&source, "b").await.unwrap();
        assert_eq!((new.len(), new.is_complete()), (100, true));
    }
    let stats = source.scrape_stats();
    assert!(stats.window.series <= 520, "{stats:?}");
    assert!(stats.window.series_dropped_early > 0, "{stats:?}");
    assert_eq!(stats.samples_refused, 0);
    assert_eq!(source.targets()[0].problem, None);
}

fn many(server: &FaultyServer, count: usize, targets: StaticTargets) -> StaticTargets {
    (0..count).fold(targets, |targets, i| {
        let (address, instance) = (server.addr().to_string(), format!("{}-{i}", server.addr()));
        targets.with_target([("__address__", address.as_str()), ("instance", &instance)])
    })
}

#[tokio::test]
async fn five_hundred_targets_that_fail_at_once_are_said_once_each() {
    let log = Log::begin();
    let failing = FaultyServer::start([Answer::status(500)]).unwrap();
    let good = FaultyServer::start([Answer::text("a 7\n")]).unwrap();
    let targets = many(&failing, 500, StaticTargets::default());
    let source = start(config(), many(&good, 10, targets));
    for round in 1..=3 {
        let result = refresh(&source, "a").await.unwrap();
        assert_eq!(result.len(), 10);
        let warnings: Vec<_> = result.warnings().collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("10 of 510 reported; missing: "),
            "{warnings:?}"
        );
        assert!(warnings[0].ends_with(" and 490 more"), "{warnings:?}");
        assert_eq!(
            source.scrape_stats().failures.get("unavailable"),
            Some(&(500 * round))
        );
    }
    assert_eq!(log.with("scrape failed").len(), 500);
    let stats = source.scrape_stats();
    assert_eq!((stats.targets, stats.targets_up), (510, 10));
}

#[tokio::test]
async fn five_hundred_targets_that_hang_do_not_delay_the_others() {
    let gate = Gate::new();
    let hanging = FaultyServer::start([Answer::text("a 1\n").gated(&gate)]).unwrap();
    let good = FaultyServer::start([Answer::text("a 7\n")]).unwrap();
    let source = start(
        config(),
        many(&good, 10, many(&hanging, 500, StaticTargets::default())),
    );
    let asking = {
        let source = source.clone();
        tokio::spawn(async move { values(&source, "a").await })
    };
    hanging.until(|seen| seen.in_flight == 500).await.unwrap();
    // While all of them hang.
    until("scraped", || source.scrape_stats().targets_up == 10).await;
    assert_eq!(hanging.counters().in_flight, 500);
    assert!(!asking.is_finished());
    gate.open();
    assert_eq!(asking.await.unwrap().len(), 510);
}

#[tokio::test]
async fn a_target_that_hangs_delays_one_refresh_and_not_all_that_follow() {
    let hanging = FaultyServer::start([Answer::hang()]).unwrap();
    let good = FaultyServer::start([Answer::text("a 7\n")]).unwrap();
    let targets = many(&hanging, 1, many(&good, 1, StaticTargets::default()));
    let source = start(config().with_timeout(Duration::from_secs(3)), targets);
    let refreshed = async || {
        let result = refresh(&source, "a").await.unwrap();
        assert_eq!((result.len(), result.warnings().len()), (1, 1));
        hanging.counters()
    };
    // Waited for until its scrape has timed out.
    let seen = refreshed().await;
    assert_eq!(seen.requests, 1);
    // Another scrape is under way, and not waited for.
    hanging.until(|seen| seen.abandoned == 1).await.unwrap();
    let seen = refreshed().await;
    assert_eq!((seen.requests, seen.in_flight), (2, 1));
}

#[tokio::test]
async fn endless_pages_take_a_bounded_share_of_memory_and_none_of_the_others() {
    // What is unbounded here is how many pages are large; small ones never wait for a share.
    let mut config = config().with_limits(Limits::default().with_body_bytes(4 * MIB));
    config.max_bytes_in_flight = 4 * MIB;
    let endless = FaultyServer::start([Answer::oversized(64 * MIB).content_type("text/plain")]).unwrap();
    let good = FaultyServer::start([Answer::text("a 7\n")]).unwrap();
    let source = start(
        config,
        many(&good, 3, many(&endless, 8, StaticTargets::default())),
    );
    assert_eq!(values(&source, "a").await.len(), 3);
    let stats = source.scrape_stats();
    let failures: u64 = ["too_large", "timeout"]
        .iter()
        .filter_map(|reason| stats.failures.get(reason))
        .sum();
    assert_eq!(failures, 8, "{stats:?}");
}

#[tokio::test]
async fn all_targets_failing_is_an_error_that_names_them() {
    let failing = FaultyServer::start([Answer::status(500)]).unwrap();
    let source: ScrapeSource = start(config(), many(&failing, 7, StaticTargets::default()));
    let error = refresh(&source, "a").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("all 7 targets fail: target "), "{text}");
    assert!(text.ends_with("; and 2 more"), "{text}");
    assert_eq!(source.stats().no_data, 0);
}

/// What one that fails has taken away, all that fail do not bring back; nor is there an answer where all fail at once.
#[tokio::test]
async fn no_answer_from_before_holds_where_nobody_reports() {
    let failing = Arc::new(AtomicUsize::new(0));
    let mut targets = StaticTargets::default();
    let mut servers = Vec::new();
    for pod in 0..3 {
        let failing = Arc::clone(&failing);
        let server = FaultyServer::start([Answer::choose(move |_| {
            match failing.load(Ordering::Relaxed) > pod {
                true => Answer::status(500),
                false => Answer::text("a 7\n"),
            }
        })]);
        servers.push(server.unwrap());
        targets = many(&servers[pod], 1, targets);
    }
    let source = start(config(), targets);
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "sum(a > 100)"));
    let found = async |failed: usize| {
        failing.store(failed, Ordering::Relaxed);
        let _ = source.refresh(RefreshSpec::queries(["q"])).await;
        match Found::from(&source.lookup("q", &Params::new())) {
            Found::Answer { result, .. } => format!("{} rows", result.len()),
            Found::Absent { code, text } => format!("{}: {text}", code.as_str()),
        }
    };
    for failed in [&[1, 3][..], &[3]] {
        assert_eq!(found(0).await, "0 rows");
        for &failed in failed {
            let told = found(failed).await;
            assert!(told.contains("500") && !told.contains("rows"), "{failed}: {told}");
        }
    }
}
