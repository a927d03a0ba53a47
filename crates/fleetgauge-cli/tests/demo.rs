//! The demo as a process: what it prints, and that nothing is left of it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

use crate::support::terminal;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use terminal::Terminal;

/// How long a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What runs until it is ended has done what it was asked for.
const ENDED: i32 = 0;
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
    send(running.0.id(), Signal::INT);
}

fn send(process: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The processes that a process has started.
fn children(process: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    children
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

/// Asks until it holds.
fn until(event: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{event} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
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
    assert_eq!(running.0.wait().unwrap().code(), Some(ENDED));
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
    // Its handlers stand before it has children.
    until("a child", || !children(running.0.id()).is_empty());
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

/// The demo on a terminal of this size.
fn on_terminal(args: &[&str], size: (u16, u16)) -> (Running, Terminal) {
    let terminal = Terminal::open();
    terminal.resize(size.0, size.1);
    let mut command = demo(args);
    command
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(terminal.follower.try_clone().unwrap())
        .stderr(terminal.follower.try_clone().unwrap());
    (Running::start(&mut command), terminal)
}

fn check_terminal(args: &[&str], wanted: &str, ports: usize) {
    let (
        mut running,
        Terminal {
            leader: mut terminal,
            follower,
        },
    ) = on_terminal(args, (0, 0));
    drop(follower);
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
    assert_eq!(running.0.wait().unwrap().code(), Some(ENDED), "{shown}");
    assert!(shown.ends_with(LEAVE_ALTERNATE_SCREEN), "{shown}");
    assert!(!open.iter().any(is_open), "{open:?}");
}

#[test]
fn on_a_terminal_it_is_live_until_it_is_interrupted() {
    // The bar of a measured value; a pod and the dashboard.
    check_terminal(&["--pods", "3"], " %", 2);
}

#[test]
fn a_prometheus_ends_with_the_demo() {
    check_terminal(&["--pods", "3", "--prometheus"], "no data yet", 2);
}

/// A terminal that is not read takes what fits into its buffer, and then nothing.
#[test]
fn a_terminal_that_does_not_read_keeps_nothing_waiting() {
    let often = ["--pods", "50", "--interval", "200ms"];
    for (args, signal) in [
        (&often[..], Signal::INT),
        (&often, Signal::TERM),
        (&[&often[..], &["--prometheus"]].concat(), Signal::TERM),
        (&["--pods", "1000", "--serve-fleet-only"], Signal::INT),
    ] {
        let (mut running, Terminal { leader, follower }) = on_terminal(args, (200, 60));
        until("a full terminal", || is_full(&follower));
        let children = children(running.0.id());
        send(running.0.id(), signal);
        let ended = Instant::now();
        assert_eq!(running.0.wait().unwrap().code(), Some(ENDED), "{args:?}");
        assert!(
            ended.elapsed() < Duration::from_secs(10),
            "{args:?}: {:?}",
            ended.elapsed()
        );
        let is_gone = |id: &u32| !Path::new(&format!("/proc/{id}")).exists();
        until("the end of the children", || children.iter().all(is_gone));
        drop(leader);
    }
}

/// Whether a terminal takes nothing more: its buffer is full, or whoever writes to it waits.
fn is_full(follower: &File) -> bool {
    // A write that is just under way looks the same.
    (0..20).all(|_| {
        std::thread::sleep(Duration::from_millis(5));
        let mut asked = [PollFd::new(follower, PollFlags::OUT)];
        poll(&mut asked, Some(&Timespec::default())).unwrap() == 0
    })
}

#[test]
fn a_small_terminal_shows_values_and_a_larger_one_more() {
    let (
        running,
        Terminal {
            leader: mut terminal,
            follower: _follower,
        },
    ) = on_terminal(&["--pods", "10"], (20, 5));
    let mut shown = String::new();
    read_until(&mut terminal, &mut shown, Some(" %"));
    assert!(shown.contains("KV cache") && shown.contains('…'), "{shown}");
    assert!(!shown.contains("running"), "{shown}");
    terminal::resize(&terminal, 120, 40);
    read_until(&mut terminal, &mut shown, Some("running"));
    read_until(&mut terminal, &mut shown, Some("ends the demo"));
    drop(running);
}

/// What a newcomer pastes: the commands that a served demo prints.
#[test]
fn the_commands_of_a_daemon_over_the_fleet_answer() {
    let mut running = Running::start(demo(&["--serve"]).stdout(Stdio::piped()));
    let mut lines = BufReader::new(running.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let head: Vec<_> = lines.by_ref().take_while(|line| line != "try:").collect();
    let commands: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let ports = addresses(&format!("{head:?}"));
    assert_eq!(ports.len(), 1, "{head:?}");
    let binary = Path::new(env!("CARGO_BIN_EXE_fleetgauge"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut seen = Vec::new();
    for command in &commands {
        let command = command.trim();
        let program = command.split(' ').next().unwrap();
        seen.push(
            Path::new(program)
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
        );
        let wanted = match command {
            _ if program == "grpcurl" => continue,
            // It does not end by itself.
            stream if stream.contains("/stream") => "event: metric",
            json if json.contains("/api/fleetgauge/") => "\"status\":\"value\"",
            promtool if program == "promtool" && promtool.contains("fleetgauge_reading") => {
                "fleetgauge_reading{"
            }
            _ if program == "promtool" => "=> ",
            _ => "chat",
        };
        until(command, || {
            let script = match wanted {
                "event: metric" => format!("timeout 2 {command} || true"),
                _ => command.to_owned(),
            };
            let output = Command::new("sh")
                .args(["-c", &script])
                .env_clear()
                .env("PATH", &path)
                .output()
                .unwrap();
            text(&output.stdout).contains(wanted)
        });
    }
    assert_eq!(
        seen,
        [
            "curl",
            "curl",
            "curl",
            "promtool",
            "promtool",
            "fleetgauge",
            "grpcurl"
        ],
        "{commands:?}"
    );
    let file = head
        .iter()
        .find_map(|line| line.split_once("when it changes: "))
        .unwrap()
        .1;
    assert!(Path::new(file).exists());
    interrupt(&running);
    assert_eq!(running.0.wait().unwrap().code(), Some(ENDED));
    assert!(!ports.iter().any(is_open));
    assert!(!Path::new(file).exists());
}

/// What a newcomer pastes: the commands that a served fleet prints, then those of the README, of the documentation and
/// of the help.
#[test]
fn the_commands_that_are_shown_answer_on_the_demo_fleet() {
    let mut running = Running::start(demo(&["--serve-fleet-only"]).stdout(Stdio::piped()));
    let mut lines = BufReader::new(running.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let table: Vec<_> = lines.by_ref().take_while(|line| line != "try:").collect();
    let tried: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    assert_eq!(tried.len(), 3, "{tried:?}");
    let is_row = |line: &String| line.contains("chat") && line.contains("meta-llama/Llama-3.1-8B-Instruct");
    assert!(table.iter().any(is_row), "{table:?}");
    let is_said = |what: &str| table.iter().any(|line| line.contains(what));
    assert!(is_said(
        "-h5jwh fails in a new way every 24 s, and after a while has another name"
    ));
    assert!(is_said("wait a few seconds"), "{table:?}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let binary = Path::new(env!("CARGO_BIN_EXE_fleetgauge"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let shell = |command: &str| {
        let mut shell = Command::new("sh");
        // The port of the documentation may be taken.
        shell.args(["-c", &command.replace("localhost:9090", &address)]);
        shell
            .env_clear()
            .env("PATH", &path)
            .env("PROMETHEUS_BASE_URL", &address);
        shell
    };
    let scraped = shell(&tried[0]).output().unwrap();
    assert!(
        text(&scraped.stdout).starts_with("metric "),
        "{}",
        text(&scraped.stderr)
    );
    let prometheus = format!("exec {} --web.listen-address={address}", tried[1].trim());
    let _prometheus = Running::start(shell(&prometheus).stderr(Stdio::null()));

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let documents = [read("README.md"), read("docs/command-line.md")].concat();
    let help = shell("fleetgauge query --help").output().unwrap();
    let help = text(&help.stdout).replace("\\\n", "");
    let queries: Vec<_> = documents
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .chain(help.lines().map(str::trim))
        .filter(|command| {
            let asks = [
                "fleetgauge query ",
                "fleetgauge explain ",
                "fleetgauge doctor inference",
            ];
            asks.iter().any(|asks| command.starts_with(asks)) && !command.contains("OPTIONS")
        })
        .chain([&*tried[2]])
        .collect();
    assert!(queries.len() >= 10, "{queries:#?}");
    for query in queries {
        // Prometheus gets to know its targets after five seconds, and two scrapes make a rate.
        until(query, || {
            let output = shell(query).output().unwrap();
            let answer = text(&output.stdout);
            let has_values = answer.contains("\"status\":\"value\"") || answer.lines().count() > 1;
            output.status.success() && has_values
        });
    }
}
