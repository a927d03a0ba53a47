//! The demo as a process: what it prints, and that nothing is left of it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

/// How long a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LEAVE_ALTERNATE_SCREEN: &str = "\u{1b}[?1049l";

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetgauge"));
    command
        .arg("demo")
        .args(args)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap());
    command
}

fn run(args: &[&str]) -> Output {
    demo(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A demo that is under way; a test that fails does not leave it behind.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn interrupt(running: &Running) {
    let pid = Pid::from_raw(i32::try_from(running.0.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

fn is_open(address: &SocketAddr) -> bool {
    TcpStream::connect_timeout(address, Duration::from_secs(5)).is_ok()
}

/// The addresses of the URLs in a text.
fn addresses(text: &str) -> Vec<SocketAddr> {
    let urls = text.split("http://").skip(1);
    urls.filter_map(|url| {
        let end = url.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
        url[..end.unwrap_or(url.len())].parse().ok()
    })
    .collect()
}

#[test]
fn the_json_is_what_the_contract_says() {
    // A loaded machine is not to be taken for more pods that hang.
    let output = run(&["-o", "json", "--interval", "2s"]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), ""),
        "{}",
        text(&output.stdout)
    );
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let pods = json["pods"].as_array().unwrap();
    assert_eq!(pods.len(), 10);
    let mut failing = 0;
    for pod in pods {
        assert!(pod["namespace"].is_string() && pod["pod"].is_string() && pod["variant"].is_string());
        for metric in ["kv_cache_usage", "running_requests", "queue_length", "avg_ttft"] {
            let metric = &pod["metrics"][metric];
            let (status, value) = (metric["status"].as_str().unwrap(), &metric["value"]);
            match status {
                "value" => assert!(value.is_number() && metric["age_seconds"].is_number(), "{pod}"),
                "no_data" | "error" => assert!(value.is_null() && metric["reason"].is_string(), "{pod}"),
                other => panic!("{other} before anything could go stale: {pod}"),
            }
        }
        if pod["reason"].is_string() {
            failing += 1;
            assert_eq!(pod["reason"], "timeout after 2s");
            assert_eq!(pod["metrics"]["queue_length"]["status"], "error");
        }
    }
    assert_eq!(failing, 1, "{json}");
    let variants = json["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 4);
    let llama = &variants[0]["metrics"]["running_requests"];
    let own = pods.iter().filter(|pod| pod["variant"] == variants[0]["variant"]);
    let sum: f64 = own
        .filter_map(|pod| pod["metrics"]["running_requests"]["value"].as_f64())
        .sum();
    assert_eq!(llama["value"].as_f64(), Some(sum));
    assert_eq!(llama["reason"], "3 of 4 pods");
}

#[test]
fn the_number_of_pods_is_the_one_asked_for() {
    for (pods, variants) in [("1", 1), ("4", 4), ("23", 4)] {
        let output = run(&["-o", "json", "--pods", pods, "--interval", "500ms"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            json["pods"].as_array().unwrap().len(),
            pods.parse::<usize>().unwrap()
        );
        assert_eq!(json["variants"].as_array().unwrap().len(), variants);
    }
}

#[test]
fn a_pod_is_said_to_fail_where_one_does() {
    for (pods, fails) in [("1", false), ("2", false), ("4", false), ("5", true)] {
        let output = run(&["--pods", pods, "--interval", "2s"]);
        let table = text(&output.stdout);
        assert_eq!(table.contains("timeout after"), fails, "{pods}: {table}");
        assert_eq!(table.contains("a pod fails"), fails, "{pods}: {table}");
    }
}

#[test]
fn without_a_terminal_it_is_one_plain_table() {
    let output = run(&["--interval", "2s"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let table = text(&output.stdout);
    assert!(!table.contains('\u{1b}'), "{table}");
    assert!(
        table.contains("3 of 4 pods") && table.contains("timeout after 2s"),
        "{table}"
    );
}

#[test]
fn a_missing_prometheus_is_told_with_what_to_install() {
    let output = demo(&["--prometheus", "--once"])
        .env("PATH", "")
        .output()
        .unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    let error = text(&output.stderr);
    assert!(
        error.starts_with(
            "error: there is no `prometheus` on the PATH; install it (apt-get install prometheus"
        ),
        "{error}"
    );
}

#[test]
fn a_served_fleet_ends_with_its_ports_and_files() {
    let mut running = Running::start(demo(&["--serve-fleet-only", "-o", "json"]).stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let json: Value = serde_json::from_str(&line).unwrap();
    let ports = addresses(&line);
    assert_eq!(ports.len(), 10);
    assert!(ports.iter().all(is_open));
    let file = json["targets_file"].as_str().unwrap();
    let targets: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(targets.as_array().unwrap().len(), 10);

    interrupt(&running);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(!ports.iter().any(is_open));
    assert!(!Path::new(file).exists());
}

#[test]
fn interrupted_before_its_answer_it_says_so() {
    // A Prometheus does not get to know its targets for seconds.
    let mut running = Running::start(
        demo(&["--prometheus", "--once"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let children = format!("/proc/{0}/task/{0}/children", running.0.id());
    let deadline = Instant::now() + PATIENCE;
    // Its handlers stand before it has children.
    while std::fs::read_to_string(&children).unwrap().is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&running);
    let mut error = String::new();
    running
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(1));
    assert_eq!(error, "error: interrupted before there was an answer\n");
}

/// Reads the terminal until it shows `wanted`, or to its end.
fn read_until(terminal: &mut File, shown: &mut String, wanted: Option<&str>) {
    let mut buffer = [0; 4096];
    let deadline = Instant::now() + PATIENCE;
    while wanted.is_none_or(|wanted| !shown.contains(wanted)) {
        assert!(Instant::now() < deadline, "{wanted:?} did not come: {shown}");
        // Linux ends the reading with an error when nobody is left at the other side.
        match terminal.read(&mut buffer) {
            Ok(read) if read > 0 => shown.push_str(&String::from_utf8_lossy(&buffer[..read])),
            _ => break,
        }
    }
}

fn check_terminal(args: &[&str], wanted: &str, ports: usize) {
    // Closed in the child, which would otherwise keep its own terminal from hanging up.
    let leader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&leader).unwrap();
    unlockpt(&leader).unwrap();
    let name = ptsname(&leader, Vec::new()).unwrap();
    let follower = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut command = demo(args);
    command
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(follower.try_clone().unwrap())
        .stderr(follower);
    let mut running = Running::start(&mut command);
    // The command holds the other side as well.
    drop(command);
    let mut terminal = File::from(leader);
    // Its size is 0, so it is taken for one of 80 columns.
    let mut shown = String::new();
    read_until(&mut terminal, &mut shown, Some("no data yet"));
    read_until(&mut terminal, &mut shown, Some(wanted));
    read_until(&mut terminal, &mut shown, Some("ends the demo"));
    let mut open = addresses(&shown);
    open.sort();
    open.dedup();
    assert_eq!(open.len(), ports, "{shown}");
    assert!(open.iter().all(is_open), "{open:?}");
    assert!(!shown.contains(LEAVE_ALTERNATE_SCREEN));

    interrupt(&running);
    read_until(&mut terminal, &mut shown, None);
    assert_eq!(running.0.wait().unwrap().code(), Some(0), "{shown}");
    assert!(shown.ends_with(LEAVE_ALTERNATE_SCREEN), "{shown}");
    assert!(!open.iter().any(is_open), "{open:?}");
}

#[test]
fn on_a_terminal_it_is_live_until_it_is_interrupted() {
    // The bar of a measured value.
    check_terminal(&["--pods", "3"], " %", 1);
}

#[test]
fn a_prometheus_ends_with_the_demo() {
    check_terminal(&["--pods", "3", "--prometheus"], "no data yet", 2);
}
