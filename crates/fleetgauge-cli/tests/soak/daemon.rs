//! The daemon as a process: what it is given, what it says, and what it takes of the machine.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleetgauge_testkit::http;
use rustix::process::{Pid, Signal, kill_process};

/// How long a loaded machine may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What a metric here may be as old as, and as which it may be held: of the configuration.
pub(super) const MAX_AGE: Duration = Duration::from_secs(2);
pub(super) const HOLD: Duration = Duration::from_secs(5);

/// How a configuration departs from the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    Plain,
    /// The pods are another source, with a window of its own.
    OtherSource,
    /// A metric more, and another text behind one of the others.
    More,
}

pub(super) struct Daemon {
    process: Mutex<Child>,
    pid: Pid,
    config: PathBuf,
    pub(super) server: SocketAddr,
    pub(super) keda: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
}

/// What the process holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) threads: usize,
    pub(super) descriptors: usize,
    pub(super) connections: usize,
    pub(super) streams: usize,
    pub(super) resident_kib: usize,
}

// === impl Daemon ===

impl Daemon {
    pub(super) fn start(directory: &Path) -> Self {
        let config = directory.join("fleetgauge.yaml");
        std::fs::write(&config, text(Variant::Plain)).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .env_clear()
            // Otherwise each thread that comes to be takes memory of its own, which it gives back to nobody, and a leak of a
            // few megabytes could not be told from it.
            .env("MALLOC_ARENA_MAX", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (kept, lines) = (
            Arc::clone(&log),
            BufReader::new(process.stderr.take().unwrap()).lines(),
        );
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_back(line);
                if kept.len() > 200 {
                    kept.pop_front();
                }
            }
        });
        let address = |after: &str| {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let log = log.lock().unwrap();
                if let Some((_, address)) = log.iter().find_map(|line| line.split_once(after)) {
                    return address.parse().unwrap();
                }
                assert!(Instant::now() < deadline, "{after:?} is not in {log:#?}");
                drop(log);
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        Self {
            pid: Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap(),
            server: address("serving at http://"),
            keda: address("serving KEDA at "),
            process: Mutex::new(process),
            config,
            log,
        }
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let log = self.log.lock().unwrap();
        log.iter()
            .rev()
            .take(60)
            .rev()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.process.lock().unwrap().try_wait().unwrap().is_some()
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Writes the configuration as one that replaces a file does.
    pub(super) fn configure(&self, variant: Variant) {
        let next = self.config.with_extension("next");
        std::fs::write(&next, text(variant)).unwrap();
        std::fs::rename(&next, &self.config).unwrap();
    }

    /// Leaves half of a configuration, or one that is wrong.
    pub(super) fn spoil(&self, is_half: bool) {
        let text = text(Variant::More);
        let text = if is_half {
            &text[..text.len() / 2]
        } else {
            "metrics: 5\n"
        };
        std::fs::write(&self.config, text).unwrap();
    }

    pub(super) fn reload(&self) -> u16 {
        http::post(self.server, "/-/reload", b"").unwrap().status
    }

    pub(super) fn usage(&self) -> Usage {
        let of_process = |what: &str| format!("/proc/{}/{what}", self.pid.as_raw_nonzero());
        let count = |what: &str| std::fs::read_dir(of_process(what)).unwrap().count();
        let status = std::fs::read_to_string(of_process("status")).unwrap();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let own = http::get(self.server, "/metrics").unwrap().text();
        let gauge = |name: &str| -> usize {
            let rows = own.lines().filter(|line| line.starts_with(name));
            let values = rows.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
            values.sum::<f64>() as usize
        };
        Usage {
            threads: count("task"),
            descriptors: count("fd"),
            connections: gauge("fleetgauge_door_connections_open{"),
            streams: gauge("fleetgauge_streams_open{"),
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        let _ = process.kill();
        let _ = process.wait();
    }
}

fn text(variant: Variant) -> String {
    let interval = if variant == Variant::OtherSource {
        "150ms"
    } else {
        "100ms"
    };
    let (sum, more) = match variant {
        Variant::More => (
            "sum(soak_page) + 0",
            "  - {name: more, source: pods, query: sum}\n",
        ),
        _ => ("sum(soak_page)", ""),
    };
    let (max_age, hold) = (MAX_AGE.as_secs(), HOLD.as_secs());
    format!(
        "sources:
  pods:
    scrape: {{interval: {interval}, timeout: 100ms, stale_after: 1s, discovery: [{{files: [targets.yaml]}}]}}
  composed:
    composed:
      inputs: {{pages: {{source: pods, query: pages}}}}
      queries: [{{name: of_input, template: sum(pages)}}]
queries:
  - {{name: pages, template: soak_page, fold: {{pod: max, variant: sum}}}}
  - {{name: sum, template: {sum}}}
defaults:
  every: 100ms
  policy: {{max_age: {max_age}s, on_error: hold, on_incomplete: hold, hold: {hold}s}}
metrics:
  - {{name: sum, source: pods, query: sum}}
  - {{name: rows, source: pods, query: pages, fold: none}}
  - {{name: folded, source: pods, query: pages, fold: sum}}
  - {{name: partial, source: pods, query: pages, fold: sum, policy: {{min_completeness: 0.5}}}}
  - {{name: composed, source: composed, query: of_input}}
{more}  - {{name: variants, source: pods, query: pages, for_each: variant}}
variants:
  - {{name: a, namespace: soak, workload: {{kind: Deployment, name: a}}}}
  - {{name: b, namespace: soak, workload: {{kind: Deployment, name: b}}}}
keda: {{listen: \"127.0.0.1:0\"}}
"
    )
}
