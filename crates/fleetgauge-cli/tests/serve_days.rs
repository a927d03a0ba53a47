//! The bad days of the daemon: ports that are taken, sources that are down, and signals at any time.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fleetgauge_testkit::{Answer, FaultyServer, Gate, http};
use rustix::process::Signal;

use crate::support::daemon::{Daemon, PAGE, PATIENCE, QUEUE, config, events, until};

/// Runs a daemon that is to end by itself.
fn serve(config: &Path, listen: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
        .args(["serve", "--listen", listen, "--config"])
        .arg(config)
        .env_clear()
        .output()
        .unwrap()
}

#[test]
fn a_port_that_is_taken_is_told_with_its_section() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let keda = config(
        directory.path(),
        &pod,
        &format!("{QUEUE}keda: {{listen: \"{address}\"}}\n"),
    );
    for (listen, section) in [("127.0.0.1:0", "keda"), (&*address, "server")] {
        let output = serve(&keda, listen);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr);
        let told = format!("{section}: {address} is in use by another process");
        assert!(error.contains(&told), "{error}");
    }
    // An address that this machine does not have.
    let insecure = format!("{QUEUE}server: {{insecure: true}}\n");
    let output = serve(&config(directory.path(), &pod, &insecure), "192.0.2.1:9095");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("server: cannot listen at 192.0.2.1:9095"),
        "{error}"
    );
    // Two doors at one address.
    let both = format!("{QUEUE}server: {{listen: \"{address}\"}}\nkeda: {{listen: \"{address}\"}}\n");
    let output = serve(&config(directory.path(), &pod, &both), "127.0.0.1:0");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("server listens there"), "{error}");
}

#[test]
fn an_address_that_is_given_by_a_flag_is_guarded_as_one_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    for (section, listen) in [
        ("", "0.0.0.0:0"),
        ("server: {listen: \"127.0.0.1:0\"}\n", "[::]:0"),
    ] {
        let file = config(directory.path(), &pod, &format!("{QUEUE}{section}"));
        let output = serve(&file, listen);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr);
        for told in [
            "--listen",
            listen,
            "can be reached from elsewhere",
            "insecure: true",
        ] {
            assert!(error.contains(told), "{told}: {error}");
        }
    }
    let file = config(
        directory.path(),
        &pod,
        &format!("{QUEUE}server: {{insecure: true}}\n"),
    );
    let daemon = Daemon::start_with(&file, &["--listen", "0.0.0.0:0"], &[]);
    assert_eq!(daemon.get("/-/healthy").0, 200);
}

#[test]
fn while_all_sources_are_down_there_is_no_number_and_one_that_comes_back_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::reset_on_accept()]).unwrap();
    let prometheus = FaultyServer::start([Answer::status(503)]).unwrap();
    let metrics = "  - {name: queue, query: waiting, source: pods, every: 100ms}\n  \
        - {name: central, query: waiting, source: central, every: 100ms}\n";
    let file = config(directory.path(), &pod, metrics);
    let central = format!(
        "sources:\n  central: {{prometheus: {{url: \"{}\"}}}}\n",
        prometheus.url()
    );
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("sources:\n", &central);
    std::fs::write(&file, text).unwrap();
    let daemon = Daemon::start(&file);
    // All of them have failed, which is an answer, too.
    until(|| daemon.get("/-/ready").0 == 200);
    for metric in ["queue", "central"] {
        let reading = daemon.reading(metric, |reading| reading["status"] == "withheld");
        assert!(reading["value"].is_null(), "{reading}");
        assert_eq!(reading["reason"]["code"], "failed", "{reading}");
    }
    let (status, text) = daemon.get("/api/v1/query?query=sum(fleetgauge_reading)");
    assert!(status == 422 && text.contains("withheld"), "{text}");
    let (status, text) = daemon.get("/api/v1/query?query=sum(waiting)%20or%20vector(0)");
    assert!(status == 200 && text.contains("\"warnings\""), "{text}");

    pod.set_script([Answer::text(PAGE)]).unwrap();
    daemon.reading("queue", |reading| reading["value"] == 7);
    let reading = daemon.reading("central", |_| true);
    assert_eq!(reading["status"], "withheld", "{reading}");
}

/// What a policy holds is held no longer than it says, however long all of it is down.
#[test]
fn while_all_is_down_for_long_what_was_held_ends() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let policy = "policy: {max_age: 200ms, on_error: hold, hold: 1500ms}";
    let held = format!("  - {{name: queue, query: waiting, every: 100ms, {policy}}}\n");
    let daemon = Daemon::start(&config(directory.path(), &pod, &held));
    daemon.reading("queue", |reading| reading["value"] == 7);
    pod.set_script([Answer::status(503)]).unwrap();
    let reading = daemon.reading("queue", |reading| reading["status"] == "held");
    assert_eq!(reading["value"], 7, "{reading}");
    assert!(reading["reason"]["text"].is_string(), "{reading}");
    let reading = daemon.reading("queue", |reading| reading["status"] == "withheld");
    assert!(reading["value"].is_null(), "{reading}");
    // It stays so, refresh after refresh.
    let before = pod.counters().requests;
    until(|| pod.counters().requests > before + 10);
    let reading = daemon.reading("queue", |_| true);
    assert_eq!(reading["status"], "withheld", "{reading}");
    assert_eq!(daemon.get("/-/ready").0, 200);
    pod.set_script([Answer::text(PAGE)]).unwrap();
    daemon.reading("queue", |reading| {
        reading["status"] == "value" && reading["value"] == 7
    });
}

/// Has it end, and looks at how it does.
fn ends_well(daemon: &mut Daemon) {
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_ends_it_in_every_phase() {
    let directory = tempfile::tempdir().unwrap();
    let gate = Gate::new();
    let pod = FaultyServer::start([Answer::text(PAGE).gated(&gate)]).unwrap();
    let file = config(directory.path(), &pod, QUEUE);

    // Just when its doors are open.
    ends_well(&mut Daemon::start(&file));

    // Before it is ready, in the midst of a refresh.
    let mut daemon = Daemon::start(&file);
    pod.until_blocking(|seen| seen.in_flight > 0).unwrap();
    ends_well(&mut daemon);

    // While it reads its configuration again and again.
    gate.open();
    let mut daemon = Daemon::start(&file);
    daemon.reading("queue", |reading| reading["value"] == 7);
    for _ in 0..20 {
        daemon.signal(Signal::HUP);
    }
    ends_well(&mut daemon);

    // With half a request, which it waits for, and a second signal, which does not.
    let mut daemon = Daemon::start(&file);
    let half = "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
        Content-Length: 100\r\n\r\nquery=";
    let mut client = TcpStream::connect(daemon.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(half.as_bytes()).unwrap();
    let requests = "fleetgauge_door_connections_open{door=\"server\"} 2";
    until(|| daemon.get("/metrics").1.contains(requests));
    daemon.signal(Signal::TERM);
    daemon.logged("shutting down");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.process.wait().unwrap().code(), Some(1));
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));

    // The same with one signal: it is cut after its time.
    let mut daemon = Daemon::start(&file);
    let mut client = TcpStream::connect(daemon.address).unwrap();
    client.write_all(half.as_bytes()).unwrap();
    until(|| daemon.get("/metrics").1.contains(requests));
    ends_well(&mut daemon);
}

/// While it ends, nobody is told that it may be asked.
#[test]
fn a_stream_ends_with_the_daemon_and_readiness_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let mut daemon = Daemon::start(&config(directory.path(), &pod, QUEUE));
    daemon.reading("queue", |reading| reading["value"] == 7);
    let streams: Vec<_> = (0..20)
        .map(|_| {
            let mut lines = events(daemon.address);
            assert!(lines.any(|line| line.unwrap() == "event: metric"));
            lines
        })
        .collect();
    ends_well(&mut daemon);
    for mut lines in streams {
        assert!(lines.all(|line| line.is_ok()));
    }
    assert!(http::get(daemon.address, "/-/ready").is_err());
}

/// They take no place for long, and whoever asks something is answered meanwhile.
#[test]
fn ten_thousand_connections_are_bounded_and_make_room() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let daemon = Daemon::start(&config(directory.path(), &pod, QUEUE));
    daemon.reading("queue", |reading| reading["value"] == 7);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert!(
        limit.current.is_none_or(|files| files > 10_500),
        "too few open files are allowed: {limit:?}"
    );
    let said: [&[u8]; 3] = [
        b"",
        b"GET /metrics HT",
        b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    let address = daemon.address;
    let connect = |at: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        // Cut already, if it took long.
        let _ = stream.write_all(said[at % said.len()]);
        stream
    };
    let all: Vec<Vec<TcpStream>> = std::thread::scope(|scope| {
        let many: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..1_250).map(connect).collect()))
            .collect();
        while !many.iter().all(|one| one.is_finished()) {
            assert_eq!(daemon.get("/-/healthy").0, 200);
            // A scrape may be late meanwhile, as on any busy machine, and is told.
            let reading = daemon.reading("queue", |_| true);
            assert!(
                reading["value"] == 7 || reading["status"] == "withheld",
                "{reading}"
            );
        }
        many.into_iter().map(|one| one.join().unwrap()).collect()
    });
    daemon.reading("queue", |reading| reading["value"] == 7);
    let own = daemon.get("/metrics").1;
    let value = |name: &str| -> f64 {
        let line = own.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} is not in {own}"))
            .trim()
            .parse()
            .unwrap()
    };
    assert!(value("fleetgauge_door_connections_open{door=\"server\"}") <= 4_096.0);
    let cuts = |why: &str| {
        value(&format!(
            "fleetgauge_door_connection_cuts_total{{door=\"server\",reason=\"{why}\"}}"
        ))
    };
    // Two of three have asked for nothing, and most of these are no more.
    let cut = cuts("idle") + cuts("silent");
    assert!(cut > 2_000.0, "{cut}");
    drop(all);
}

/// While the pod has nothing new to say, each answer after a standstill tells so, the first one too.
#[test]
fn after_a_standstill_no_answer_is_that_of_before_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let pod = FaultyServer::start([Answer::text(PAGE)]).unwrap();
    let daemon = Daemon::start(&config(directory.path(), &pod, QUEUE));
    daemon.reading("queue", |reading| reading["value"] == 7);
    let ask = || daemon.get("/api/v1/query?query=sum(waiting)%20or%20vector(0)").1;
    until(|| !ask().contains("warnings"));
    for _ in 0..3 {
        daemon.signal(Signal::STOP);
        pod.set_script([Answer::hang()]).unwrap();
        // Longer than two scrapes are apart: an interval, a timeout and a second.
        let stopped = Instant::now();
        until(|| stopped.elapsed() > Duration::from_millis(1_500));
        daemon.signal(Signal::CONT);
        for _ in 0..20 {
            let answer = ask();
            assert!(answer.contains("warnings"), "{answer}");
        }
        pod.set_script([Answer::text(PAGE)]).unwrap();
        until(|| !ask().contains("warnings"));
    }
}
