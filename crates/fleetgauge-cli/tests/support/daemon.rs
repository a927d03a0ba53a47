//! `fleetgauge serve` as a child process, over one pod.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fleetgauge_testkit::{FaultyServer, http};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a loaded machine may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const PAGE: &str = "waiting{pod=\"a\"} 3\nwaiting{pod=\"b\"} 4\n";

/// A daemon that is under way; a test that fails does not leave it behind.
pub(crate) struct Daemon {
    pub(crate) process: Child,
    pub(crate) address: SocketAddr,
    log: Receiver<String>,
}

impl Daemon {
    pub(crate) fn start(config: &Path) -> Self {
        Self::start_with(config, &["--listen", "127.0.0.1:0"], &[])
    }

    /// With flags and an environment of its own.
    pub(crate) fn start_with(config: &Path, flags: &[&str], environment: &[(&str, &Path)]) -> Self {
        let mut process = Command::new(binary())
            .arg("serve")
            .arg("--config")
            .arg(config)
            .args(flags)
            .env_clear()
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, log) = channel();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut daemon = Self {
            process,
            address: "127.0.0.1:0".parse().unwrap(),
            log,
        };
        let line = daemon.logged("serving at");
        daemon.address = line.rsplit('/').next().unwrap().parse().unwrap();
        daemon
    }

    /// The next line of the log that has `text` in it.
    pub(crate) fn logged(&self, text: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before.push(line),
                Err(_) => panic!("{text:?} was not logged, but {before:#?}"),
            }
        }
    }

    /// What has been logged since the last line that was asked for.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let response = http::get(self.address, path).unwrap();
        (response.status, response.text())
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, text) = self.get(&format!("/api/fleetgauge/v1/{path}"));
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The first reading of a metric, once `holds` of it.
    pub(crate) fn reading(&self, metric: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut reading = Value::Null;
        until(|| {
            reading = self.json(&format!("metrics/{metric}"))["readings"][0].take();
            holds(&reading)
        });
        reading
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// That of this build. An example is not told where it is, and has it in the folder above its own.
fn binary() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_fleetgauge") {
        Some(binary) => binary.into(),
        None => {
            let example = std::env::current_exe().unwrap();
            example.parent().unwrap().with_file_name("fleetgauge")
        }
    }
}

/// The lines of the event stream.
pub(crate) fn events(server: SocketAddr) -> Lines<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = b"GET /api/fleetgauge/v1/stream HTTP/1.0\r\nHost: a\r\n\r\n";
    stream.write_all(request).unwrap();
    BufReader::new(stream).lines()
}

/// Asks until it holds.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn config(directory: &Path, pod: &FaultyServer, metrics: &str) -> PathBuf {
    let file = directory.join("fleetgauge.yaml");
    let text = format!(
        "sources:\n  pods: {{scrape: {{interval: 100ms, discovery: [{{static: [\"{}\"]}}]}}}}\n\
         queries:\n  - {{name: waiting, template: waiting, fold: {{pod: max, variant: sum}}}}\nmetrics:\n{metrics}",
        pod.url().trim_start_matches("http://").trim_end_matches('/')
    );
    std::fs::write(&file, text).unwrap();
    file
}

pub(crate) const QUEUE: &str = "  - {name: queue, query: waiting, every: 100ms}\n";
