//! What the program prints, judged by eye: `golden/*.txt` holds command lines and, below each, what a terminal
//! shows.
//!
//! A line `$ …` is run by `sh`, in the directory `golden`, with the binary under test first on the PATH. What
//! follows is its stdout and stderr together; `? N` before it is an exit status other than 0. Timestamps of
//! answers are replaced by `T`. The command lines of `query*.txt` ask a real Prometheus at `$PROMETHEUS`, those of
//! `scrape*.txt` a server at `$TARGET`.
//!
//! To write what the program prints now into the files: `UPDATE_GOLDEN=1 cargo test -p fleetgauge-cli --test it golden`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use fleetgauge_testkit::{Answer, FaultyServer, OpenMetrics, Prometheus};

/// Seconds since the epoch.
fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

/// The variable that names a server to the command lines, and its URL.
type Server<'a> = (&'static str, &'a str);

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Runs the command lines of a file, and gives the file as it should be.
fn play(text: &str, server: Server<'_>) -> String {
    let mut played = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if line.starts_with('#') {
            skipping = false;
        }
        let Some(command) = line.strip_prefix("$ ") else {
            if !skipping {
                played += &format!("{line}\n");
            }
            continue;
        };
        skipping = true;
        played += &format!("$ {command}\n{}\n", run(command, server));
    }
    played
}

fn run(command: &str, (variable, url): Server<'_>) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_fleetgauge"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(directory())
        .env_clear()
        .env("PATH", path)
        .env(variable, url)
        .output()
        .unwrap();
    let mut text = String::from_utf8(output.stdout)
        .unwrap()
        .replace(url, &format!("${variable}"));
    text = without_timestamps(&text);
    match output.status.code() {
        Some(0) => text,
        code => format!("? {}\n{text}", code.unwrap()),
    }
}

/// Puts `T` for the numbers that are times of this hour.
fn without_timestamps(text: &str) -> String {
    let now = now() as f64;
    let time = |word: &str| {
        word.parse::<f64>()
            .is_ok_and(|number| (number - now).abs() < 3600.0)
    };
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() || c == '.' {
            word.push(c);
            continue;
        }
        out += if time(&word) { "T" } else { &word };
        word.clear();
        out.push(c);
    }
    out.trim_end_matches('\0').to_owned()
}

/// Plays the files whose names start with `prefix`, or those that need no server.
fn check(prefix: &str, server: Server<'_>) {
    let mut files: Vec<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        let own = ["query", "scrape"]
            .into_iter()
            .find(|prefix| name.starts_with(prefix));
        name.ends_with(".txt") && own.unwrap_or_default() == prefix
    });
    assert!(!files.is_empty());
    for file in files {
        let expected = fs::read_to_string(&file).unwrap();
        let played = play(&expected, server);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &played).unwrap();
            continue;
        }
        let difference = expected
            .lines()
            .zip(played.lines())
            .find(|(expected, found)| expected != found);
        assert!(
            expected == played,
            "{}: {difference:?}\n--- printed now ---\n{played}",
            file.display()
        );
    }
}

#[test]
fn what_is_printed_without_a_server() {
    check("", ("PROMETHEUS", "http://127.0.0.1:1"));
}

#[test]
fn what_is_printed_of_a_real_prometheus() {
    let now = now();
    // Before and after now, so that the answers hold however long the test takes to get there.
    let times = (now - 900, now + 900, 15);
    let mut data = OpenMetrics::new();
    let engines = [("a-0", "0", 3.0), ("a-0", "1", 4.0), ("b-0", "0", 0.0)];
    for (pod, engine, waiting) in engines {
        let instance = format!("10.0.0.1:{}", if pod == "a-0" { 8000 } else { 8001 });
        let labels = [
            ("namespace", "llm"),
            ("pod", pod),
            ("instance", &*instance),
            ("model_name", "llama"),
            ("engine", engine),
        ];
        data = data.steady("vllm:num_requests_waiting", &labels, waiting, times);
    }
    data = data.steady("answer", &[("of", "life, \"universe\" and…\nall")], 42.5, times);
    let prometheus = Prometheus::builder().data(&data).start().unwrap();
    check("query", ("PROMETHEUS", &prometheus.url()));
}

const PAGE: &str = "\
# HELP ttft_seconds Time to first token.
# TYPE ttft_seconds histogram
ttft_seconds_bucket{le=\"0.5\"} 3
ttft_seconds_bucket{le=\"+Inf\"} 4
ttft_seconds_sum 1.25
ttft_seconds_count 4
# TYPE waiting gauge
waiting{model=\"a\\nb\",engine=\"0\"} NaN
up 1
";

#[test]
fn what_is_printed_of_targets() {
    let server = FaultyServer::start([Answer::choose(|request| match &*request.target {
        "/metrics" => Answer::text(PAGE),
        "/dated" => Answer::text("waiting 3 1763930000500\n"),
        "/bad" => Answer::text("waiting 3\nwaiting{engine=\"1\"} three\n{\n"),
        "/html" => Answer::html_page(),
        "/plain-html" => Answer::text("<html>\n<body>Sign in</body>\n</html>\n"),
        "/api/v1/query" => Answer::json(r#"{"status":"success"}"#),
        "/twice" => Answer::text(
            "waiting{pod=\"a\"} 3\nwaiting{pod=\"a\"} 4\nwaiting{pod=\"b\"} 1\nup 1 1000\nup 1 2000\n",
        ),
        probe if probe.starts_with("/probe?") => Answer::text("up 1\n"),
        "/marked" => Answer::text("\u{feff}up 1\nwaiting 3\n"),
        "/empty" => Answer::text(""),
        // Only the end of the connection says that this is all.
        "/unfinished" => Answer::raw(
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nwaiting{pod=\"x\"} 42\nwaiting{pod=\"y\"} 4",
        ),
        "/cut" => Answer::respond(
            200,
            &[("Content-Type", "application/openmetrics-text; version=1.0.0")],
            "waiting 3\n",
        ),
        _ => Answer::status(404),
    })])
    .unwrap();
    check("scrape", ("TARGET", &server.url()));
}
