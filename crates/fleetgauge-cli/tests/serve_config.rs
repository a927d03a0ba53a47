//! The bad days of a configuration: it is gone, broken, half written or replaced while it is read, and the one before goes on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fleetgauge_testkit::{Answer, FaultyServer, http};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{Daemon, PAGE, QUEUE, config, until};

/// What is told of the configuration.
fn told(daemon: &Daemon) -> Value {
    daemon.json("metrics")["configuration"].take()
}

fn error(daemon: &Daemon) -> String {
    told(daemon)["error"].as_str().unwrap_or_default().to_owned()
}

/// Removes whatever is there.
fn remove(path: &Path) {
    if fs::remove_file(path).is_err() {
        let _ = fs::remove_dir(path);
    }
}

type Spoil = fn(&Path);

/// Writes what is wrong, has it read, and looks at what is told; then has what was right before.
fn bad_day(spoil: Spoil, told: &str, is_watched: bool) {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let file = config(directory.path(), &pod, QUEUE);
    let right = fs::read(&file).unwrap();
    let daemon = Daemon::start(&file);
    daemon.reading("queue", |reading| reading["value"] == 7);
    let hang_up = || {
        if !is_watched {
            daemon.signal(Signal::HUP);
        }
    };
    remove(&file);
    spoil(&file);
    hang_up();
    let logged = daemon.logged("is not taken");
    assert!(logged.contains("the configuration is not valid"), "{logged}");
    let said = error(&daemon);
    assert!(said.contains(told), "{said} instead of {told}");
    daemon.reading("queue", |reading| reading["value"] == 7);
    assert_eq!(daemon.get("/-/ready").0, 200);

    remove(&file);
    fs::write(&file, right).unwrap();
    hang_up();
    until(|| error(&daemon).is_empty());
    daemon.reading("queue", |reading| reading["value"] == 7);
}

#[test]
fn a_configuration_that_cannot_be_taken_is_told_and_the_one_before_goes_on() {
    let gone: Spoil = |_| {};
    let a_directory: Spoil = |path| fs::create_dir(path).unwrap();
    let a_circle: Spoil = |path| symlink(path, path).unwrap();
    let a_pipe: Spoil = |path| {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
    };
    let empty: Spoil = |path| fs::write(path, "").unwrap();
    let broken: Spoil = |path| fs::write(path, "metrics: [{name: \"queue}\n").unwrap();
    let no_text: Spoil = |path| fs::write(path, b"metrics: \xff\n").unwrap();
    let large: Spoil = |path| fs::write(path, "#".repeat(5 << 20)).unwrap();
    std::thread::scope(|scope| {
        for (spoil, told, is_watched) in [
            (gone, "No such file", true),
            (a_directory, "is a directory", true),
            (a_circle, "symbolic link", false),
            (a_pipe, "not a regular file", false),
            (empty, "the file is empty", true),
            (broken, "not valid YAML", false),
            (no_text, "not UTF-8", false),
            (large, "larger than 4 MiB", false),
        ] {
            scope.spawn(move || bad_day(spoil, told, is_watched));
        }
    });
}

/// As a ConfigMap is mounted: a directory for each version, and a link to it that is swapped.
#[test]
fn a_link_that_is_swapped_is_read_as_one_version() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let at = |name: &str| directory.path().join(name);
    let write = |version: usize| {
        let path = at(&format!("..v{version}"));
        fs::create_dir(&path).unwrap();
        let metric = format!(
            "  - {{name: queue, query: acme/q{version}, every: 100ms, fold: sum}}\npacks: [pack.yaml]\n"
        );
        config(&path, &pod, &metric);
        let pack = format!("name: acme\nqueries: [{{name: q{version}, template: waiting + {version}}}]\n");
        fs::write(path.join("pack.yaml"), pack).unwrap();
        symlink(format!("..v{version}"), at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    write(0);
    for name in ["fleetgauge.yaml", "pack.yaml"] {
        symlink(format!("..data/{name}"), at(name)).unwrap();
    }
    let daemon = Daemon::start(&at("fleetgauge.yaml"));
    daemon.reading("queue", |reading| reading["value"] == 7);
    write(1);
    daemon.reading("queue", |reading| reading["value"] == 9);
    // While it is read again and again, no pack of one version is read with a configuration of another one.
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let reloaded = http::post(daemon.address, "/-/reload", b"").unwrap();
                assert_eq!(reloaded.status, 200, "{}", reloaded.text());
            }
        });
        for version in 2..8 {
            let before = told(&daemon)["reloads"].as_u64();
            write(version);
            until(|| told(&daemon)["reloads"].as_u64() > before);
        }
        daemon.reading("queue", |reading| reading["value"] == 7 + 2 * 7);
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(told(&daemon)["reloads_refused"], 0);
}

#[test]
fn a_file_that_changes_without_end_is_taken_now_and_then_and_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let file = config(directory.path(), &pod, QUEUE);
    let daemon = Daemon::start(&file);
    let right = fs::read_to_string(&file).unwrap();
    let mut written = 0_u64;
    until(|| {
        for _ in 0..20 {
            written += 1;
            let next = directory.path().join("next");
            fs::write(&next, format!("{right}# {written}\n")).unwrap();
            fs::rename(&next, &file).unwrap();
        }
        daemon.reading("queue", |reading| reading["value"] == 7);
        told(&daemon)["reloads"] == 1
    });
    assert!(written > 100, "{written}");
    assert_eq!(told(&daemon)["reloads_refused"], 0);
}

#[test]
fn a_configuration_that_is_refused_leaves_no_changed_query_behind() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let file = config(directory.path(), &pod, QUEUE);
    let right = fs::read_to_string(&file).unwrap();
    let daemon = Daemon::start(&file);
    daemon.reading("queue", |reading| reading["value"] == 7);
    let changed = right
        .replace("template: waiting", "template: waiting * 100")
        .replace("query: waiting,", "query: waiting, source: pods,");
    let other = "sources:\n  other: {prometheus: {url: \"https://127.0.0.1:1\", tls: {ca_file: none.pem}}}\n";
    let no_query = format!("{changed}  - {{name: more, query: nothing, source: pods}}\n");
    // A source that can't be made, though the file is valid; and a file that is not.
    for (wrong, told, is_valid) in [
        (changed.replace("sources:\n", other), "none.pem", true),
        (no_query, "nothing", false),
    ] {
        fs::write(&file, wrong).unwrap();
        let refused = http::post(daemon.address, "/-/reload", b"").unwrap();
        let text = refused.text();
        assert!(text.contains(told), "{text}");
        assert_eq!(!text.contains("is not valid"), is_valid, "{text}");
        assert_eq!(refused.status, 422);
        assert_eq!(daemon.json("explain/queue")["template"], "waiting");
        let refreshed = |daemon: &Daemon| {
            let sources = daemon.json("sources");
            let sources = sources["sources"].as_array().unwrap();
            let pods = sources.iter().find(|source| source["name"] == "pods");
            pods.unwrap()["flights"].as_u64().unwrap()
        };
        let before = refreshed(&daemon);
        until(|| refreshed(&daemon) > before + 2);
        daemon.reading("queue", |reading| {
            reading["status"] == "value" && reading["value"] == 7
        });
    }
    assert_eq!(daemon.json("metrics")["metrics"].as_array().unwrap().len(), 1);
}

#[test]
fn each_mistake_has_a_line_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let file = config(directory.path(), &pod, QUEUE);
    let daemon = Daemon::start(&file);
    fs::write(&file, "metrics: 5\nqueries: 6\n").unwrap();
    let refused = http::post(daemon.address, "/-/reload", b"").unwrap();
    let problem: Value = serde_json::from_str(&refused.text()).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.lines().count() >= 3 && !detail.contains("\\n"), "{detail}");
    // Who reads the log learns it as well, once, and each mistake with it.
    daemon.logged("(POST /-/reload) is not taken");
    for mistake in detail.lines().skip(1) {
        daemon.logged(mistake.trim());
    }
    let is_again = |line: &String| line.contains("is not taken");
    assert!(!daemon.log().iter().any(is_again));
}
