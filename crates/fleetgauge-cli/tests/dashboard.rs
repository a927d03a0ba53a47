//! The dashboard as people see it, in Debian's Chromium.
//!
//! These tests are ignored where there is no browser: `cargo xtask test` installs it where it may, and says so.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fantoccini::key::Key;
use fleetgauge_testkit::{Answer, FaultyServer};
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::daemon::{Daemon, PAGE, QUEUE, config, until};

const WIDE: (u32, u32) = (1_400, 1_000);

/// Pods that all answer alike, as they are told.
struct Pods {
    server: FaultyServer,
    answer: Arc<Mutex<Answer>>,
}

impl Pods {
    fn start(answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let told = Arc::clone(&answer);
        let server = FaultyServer::start([Answer::choose(move |_| told.lock().unwrap().clone())]).unwrap();
        Self { server, answer }
    }

    fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn scrapes(&self) -> u64 {
        self.server.counters().requests
    }
}

/// A daemon over `pods` that all are the same server, and a metric of their rows.
fn fleet(pods: &Pods, names: &[String], interval: &str) -> (tempfile::TempDir, Daemon) {
    let directory = tempfile::tempdir().unwrap();
    let address = pods.server.url();
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    let group = |name: &String| {
        json!({
            "targets": [address],
            "labels": {"pod": name, "namespace": "chat", "instance": name},
        })
    };
    let groups: Vec<Value> = names.iter().map(group).collect();
    std::fs::write(
        directory.path().join("targets.json"),
        serde_json::to_string(&groups).unwrap(),
    )
    .unwrap();
    let file: PathBuf = directory.path().join("fleetgauge.yaml");
    let text = format!(
        "sources:\n  pods: {{scrape: {{interval: {interval}, stale_after: 30s, discovery: [{{files: [targets.json]}}]}}}}\n\
         queries:\n  - {{name: waiting, template: waiting, fold: {{pod: max, variant: sum}}}}\n\
         metrics:\n  - {{name: queue, query: waiting, every: {interval}, fold: none}}\n\
         \x20 - {{name: total, query: waiting, every: {interval}, fold: sum}}\n\
         \x20 - {{name: variant_queue, query: waiting, every: {interval}, for_each: variant}}\n\
         variants:\n  - {{name: llama, namespace: chat, workload: {{kind: StatefulSet, name: llama}}}}\n"
    );
    std::fs::write(&file, text).unwrap();
    (directory, Daemon::start(&file))
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("llama-{number}")).collect()
}

fn page(daemon: &Daemon, path: &str) -> String {
    format!("http://{}{path}", daemon.address)
}

/// Scripts, styles and requests: nothing has failed, and all of it is from here.
async fn is_sound(browser: &Browser, daemon: &Daemon) {
    let log = browser.log().await;
    assert!(log.is_empty(), "{log:#?}");
    let loaded = browser
        .run("return performance.getEntriesByType('resource').map(entry => entry.name)")
        .await;
    let origin = page(daemon, "/");
    let loaded = loaded.as_array().unwrap();
    assert!(!loaded.is_empty());
    assert!(
        loaded
            .iter()
            .all(|url| url.as_str().unwrap().starts_with(&origin)),
        "{loaded:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a browser"]
async fn a_pod_that_dies_shows_its_reason_within_two_scrapes_in_a_browser() {
    let pods = Pods::start(Answer::text("waiting 3\nvllm:kv_cache_usage_perc 0.72\n"));
    let (_directory, daemon) = fleet(&pods, &names(2), "1s");
    Browser::with(WIDE, false, async |browser| {
    browser.client.goto(&page(&daemon, "/")).await.unwrap();
    browser
        .until("return document.querySelectorAll('.grid .f7').length === 2")
        .await;
    browser
        .until("return document.body.dataset.state === 'live'")
        .await;
    let total = "return document.querySelector('#metrics').innerText.includes('no number')";
    // A page that is opened before the first readings has none yet.
    browser
        .until("return !document.querySelector('#metrics').innerText.includes('no number')")
        .await;
    pods.set(Answer::status(503));
    let before = pods.scrapes();
    let shown =
        "return [...document.querySelectorAll('.grid .failing')].some(cell => cell.title.includes('503'))";
    browser.until(shown).await;
    // Of two pods, each scraped twice at most since then, and once more while the browser was asked.
    assert!(pods.scrapes() - before <= 6, "{}", pods.scrapes() - before);
    // Nor is what lacks them shown as if nothing had happened.
    browser.until(total).await;
    browser
        .until("return document.querySelector('#health h1').innerText === 'Not all is well'")
        .await;
    browser
        .until("return document.querySelector('#variants .why')?.innerText.includes('503') === true")
        .await;
    is_sound(browser, &daemon).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a browser"]
async fn the_keyboard_alone_reaches_everything_in_a_browser() {
    let pods = Pods::start(Answer::text("waiting 3\n"));
    let (_directory, daemon) = fleet(&pods, &names(60), "1s");
    // Rows come with the first readings, and those that are not well move: each is known by its place here.
    until(|| daemon.get("/-/ready").0 == 200);
    until(|| {
        let readings = daemon.json("metrics/queue")["readings"].clone();
        let readings = readings.as_array().unwrap();
        readings.len() == 60 && readings.iter().all(|reading| reading["status"] == "value")
    });
    Browser::with(WIDE, false, async |browser| {
    browser.client.goto(&page(&daemon, "/")).await.unwrap();
    browser
        .until("return document.querySelectorAll('.grid a').length === 60 && document.body.dataset.state === 'live'")
        .await;
    // Marked as they are reached; what is within a grid is reached by arrows.
    let count = browser
        .run("return [...document.querySelectorAll('a, button, input')].filter(e => !e.closest('.grid')).length + 1")
        .await;
    let count = count.as_u64().unwrap();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..count * 2 {
        browser.press(Key::Tab).await;
        let at = browser
            .run(
                "const all = [...document.querySelectorAll('a, button, input')];
                 const here = document.activeElement;
                 return here.closest('.grid') ? 'grid' : String(all.indexOf(here))",
            )
            .await;
        let at = at.as_str().unwrap().to_owned();
        if at == "grid" {
            reached.insert(at);
            break;
        }
        reached.insert(at);
    }
    assert!(reached.contains("grid"), "{reached:?}");
    assert_eq!(reached.len() as u64, count, "{reached:?}");
    // To the last cell, over an update, and by Enter to its target.
    browser.press(Key::End).await;
    let focused = "return document.activeElement.title.split(':')[0]";
    let last = browser.run(focused).await;
    assert!(last.as_str().unwrap().starts_with("llama-"), "{last}");
    let heard = browser.run("return performance.now()").await;
    browser
        .until(&format!("return performance.now() - {heard} > 2500"))
        .await;
    assert_eq!(
        browser.run(focused).await,
        last,
        "an update must not take the focus away"
    );
    browser.press(Key::Left).await;
    assert_ne!(browser.run(focused).await, last);
    browser.press(Key::Enter).await;
    browser
        .until("return location.pathname === '/dashboard/targets'")
        .await;
    is_sound(browser, &daemon).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a browser"]
async fn names_and_labels_stay_text_in_a_browser() {
    let hostile = "</script><img src=x onerror=\"window.taken=1\">&amp;'\u{202e}";
    let label = hostile.replace('"', "\\\"");
    let pods = Pods::start(Answer::text(format!("waiting{{rank=\"{label}\"}} 3\n")));
    let (_directory, daemon) = fleet(&pods, &[hostile.to_owned()], "200ms");
    until(|| daemon.json("metrics/queue")["readings"][0]["status"] == "value");
    Browser::with(WIDE, true, async |browser| {
        for path in [
            "/",
            "/dashboard/targets",
            "/dashboard/metrics/queue",
            "/?q=%3Cscript%3Ewindow.taken%3D1%3C%2Fscript%3E",
            "/dashboard/metrics/%3Cimg%20src%3Dx%20onerror%3D%22window.taken%3D1%22%3E",
        ] {
            browser.client.goto(&page(&daemon, path)).await.unwrap();
            let state =
                "return Boolean(document.body.dataset.state) && document.body.dataset.state !== 'silent'";
            if !path.contains("metrics/%3C") {
                browser.until(state).await;
            }
            let found = browser
                .run("return [window.taken, document.images.length, document.scripts.length]")
                .await;
            assert_eq!(found, json!([null, 0, 1]), "{path}");
        }
        browser
            .client
            .goto(&page(&daemon, "/dashboard/metrics/queue"))
            .await
            .unwrap();
        browser
            .until("return document.body.innerText.includes('onerror=')")
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a browser"]
async fn a_thousand_pods_are_shown_and_kept_up_to_date_in_a_browser() {
    let pods = Pods::start(Answer::text("waiting 3\nvllm:kv_cache_usage_perc 0.21\n"));
    let (_directory, daemon) = fleet(&pods, &names(1_000), "2s");
    Browser::with((360, 800), true, async |browser| {
        browser.client.goto(&page(&daemon, "/")).await.unwrap();
        let with =
            |class: &str| format!("return document.querySelectorAll('.grid .{class}').length === 1000");
        browser.until(&with("f2")).await;
        let served = daemon.get("/dashboard").1;
        assert_eq!(served.matches("<a class=\"f2\"").count(), 1_000);
        assert!(served.len() < 200_000, "{}", served.len());
        pods.set(Answer::text("waiting 3\nvllm:kv_cache_usage_perc 1\n"));
        browser.until(&with("f10")).await;
        // Nothing is cut off on a phone.
        let width = "return document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.run(width).await, true);
        is_sound(browser, &daemon).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a browser"]
async fn a_page_that_hears_nothing_says_so_in_a_browser() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let daemon = Daemon::start(&config(directory.path(), &pod, QUEUE));
    Browser::with(WIDE, false, async |browser| {
    browser
        .client
        .goto(&page(&daemon, "/dashboard/metrics/queue"))
        .await
        .unwrap();
    browser
        .until("return document.body.dataset.state === 'live' && document.querySelector('#rows .number b') !== null")
        .await;
    // It stands still, and nothing tells so but the silence.
    daemon.signal(rustix::process::Signal::STOP);
    browser
        .until("return document.getElementById('live').innerText.includes('no word from the daemon')")
        .await;
    daemon.signal(rustix::process::Signal::CONT);
    browser
        .until("return document.body.dataset.state === 'live'")
        .await;
    drop(daemon);
    browser
        .until("return document.getElementById('live').innerText.includes('no word from the daemon')")
        .await;
    })
    .await;
}
