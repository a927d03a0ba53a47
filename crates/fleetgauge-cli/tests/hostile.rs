//! Text from elsewhere that a terminal would obey: each subcommand and each output shows it, and obeys nothing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

use crate::support::terminal;

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fleetgauge_testkit::{Answer, FaultyServer};
use terminal::Terminal;

/// Colour and title of the window, C1 controls, direction, no width, line and paragraph separators, a line break.
const HOSTILE: &str = "x\u{1b}[31m\u{1b}]0;y\u{7}\u{9b}31m\u{85}\u{202e}\u{2066}\u{200f}\u{61c}\u{200b}\u{2028}\u{2029}\u{feff}\r\nwarning: z";
/// What is a part of `HOSTILE`, and not its line break.
const HOSTILE_LINE: &str =
    "x\u{1b}[31m\u{1b}]0;y\u{7}\u{9b}31m\u{202e}\u{2066}\u{200f}\u{61c}\u{200b}\u{feff}";

/// Runs the program, and gives stdout and stderr together.
fn run(args: &[&str], directory: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
        .args(args)
        .env_clear()
        .current_dir(directory)
        .output()
        .unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// The same on a terminal.
fn run_on_terminal(args: &[&str], directory: &Path) -> String {
    let Terminal { mut leader, follower } = Terminal::open();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetgauge"));
    command
        .args(args)
        .env_clear()
        .env("TERM", "xterm")
        // The colours of the help are the program's own.
        .env("NO_COLOR", "1")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(follower.try_clone().unwrap())
        .stderr(follower);
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    // Linux ends the reading with an error when nobody is left at the other side.
    while let Ok(read @ 1..) = leader.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..read]);
    }
    child.wait().unwrap();
    // The terminal itself begins a line by both.
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

/// What of `text` a terminal would obey, line breaks and tabs aside.
fn obeyed(text: &str) -> String {
    let of_direction_or_no_width = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}');
    let obeyed = |c: &char| c.is_control() && !"\n\t".contains(*c) || of_direction_or_no_width(*c);
    text.chars().filter(obeyed).collect()
}

struct Hostile {
    directory: tempfile::TempDir,
    server: FaultyServer,
}

/// A server whose answers, errors and pages are hostile throughout, and files that are.
fn hostile() -> Hostile {
    let text = serde_json::to_string(HOSTILE).unwrap();
    let json = format!(
        r#"{{"status":"success","warnings":[{text}],"infos":[{text}],"data":{{"resultType":"vector","result":[
        {{"metric":{{{text}:"a","b":{text},"__name__":{text}}},"value":[1763930000,"3"]}}]}}}}"#
    );
    let in_page = HOSTILE.replace('\n', "\\n");
    let page = format!(
        "{{\"{in_page}\",\"{in_page}\"=\"a\",b=\"{in_page}\"}} 3\nbad{{\"{HOSTILE_LINE}\"=\"a\"}} {HOSTILE_LINE}\n"
    );
    let error = format!(r#"{{"status":"error","errorType":{text},"error":{text}}}"#);
    let script = format!(
        "load 1m\n  {{\"{in_page}\",\"{in_page}\"=\"a\",b=\"{in_page}\"}} 3\n\n\
         eval instant at 0 {{b=~\".+\"}}\n  {{}} 1\n\neval instant at 0 up{{b=\"{HOSTILE_LINE}\"}}\n  {{}} 1\n\n\
         eval instant at 0 {HOSTILE_LINE}\n  {{}} 1\n"
    );
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("page.prom", &page);
    write(
        "twice.prom",
        &format!("{{a=\"{in_page}\",\"__name__\"=\"x\"}} 1 1\n{{a=\"{in_page}\",\"__name__\"=\"x\"}} 2 1\n"),
    );
    write("rules.test", &script);
    write("bad.test", &format!("load 1m\n  up {HOSTILE_LINE}\n"));
    write(&format!("bad{HOSTILE}.test"), "load 1m\n  up x\n");
    write(&format!("no{HOSTILE}.prom"), "<html>\n");
    write(
        "pack.yaml",
        &format!("name: {text}\n{text}: 1\nqueries: [{{name: {text}, template: {text}}}]\n"),
    );
    write("odd.yaml", &format!("name: a{HOSTILE_LINE}\n"));
    let server = FaultyServer::start([Answer::choose(move |request| {
        let path = request.target.split('?').next().unwrap_or_default().to_owned();
        match &*path {
            "/metrics" => Answer::text(&page),
            "/markup" => Answer::text(format!("{HOSTILE}\n")),
            "/refuses/api/v1/query" => Answer::respond(422, &[("Content-Type", "application/json")], &error),
            "/odd/api/v1/query" => Answer::text(HOSTILE),
            "/text/api/v1/query" => Answer::json(format!(
                r#"{{"status":"success","data":{{"resultType":"string","result":[1763930000,{text}]}}}}"#
            )),
            _ => Answer::json(&json),
        }
    })])
    .unwrap();
    Hostile { directory, server }
}

#[test]
fn a_terminal_obeys_nothing_that_comes_from_elsewhere() {
    let Hostile { directory, server } = hostile();
    let url = |path: &str| format!("{}{path}", server.url());
    let (good, refuses, odd, text) = (url(""), url("/refuses"), url("/odd"), url("/text"));
    let (page, markup) = (url("/metrics"), url("/markup"));
    let (bad_script, no_page, missing) = (
        format!("bad{HOSTILE}.test"),
        format!("no{HOSTILE}.prom"),
        format!("missing{HOSTILE}"),
    );
    let param = format!("p={HOSTILE}");
    let named = format!("{HOSTILE}=1");
    let expression = format!("up{{a=\"{HOSTILE_LINE}\"}} + {HOSTILE_LINE}");
    let wrong = format!("http://a{HOSTILE}b");
    let typed = ["--promql", "up"];
    let query = |url, output| [&["query"], &typed[..], &["--prometheus", url, "-o", output]].concat();
    let mut cases: Vec<Vec<&str>> = Vec::new();
    for output in ["table", "csv", "json"] {
        cases.extend([good.as_str(), &refuses, &odd, &text].map(|url| query(url, output)));
    }
    for output in ["table", "json"] {
        cases.push(vec!["scrape", &page, "-o", output]);
        cases.push(vec!["scrape", &page, &markup, "--metric", HOSTILE, "-o", output]);
        let eval = |file, expr| vec!["promql", "eval", "--file", file, expr, "-o", output];
        cases.push(eval("page.prom", "{b=~\".+\"}"));
        cases.push(eval("page.prom", "{b=~\".+\"}[5m]"));
        cases.push(eval("page.prom", &expression));
        cases.push(eval("twice.prom", "up"));
        cases.push(eval(&no_page, "up"));
        cases.push(eval(&missing, "up"));
        cases.push(vec!["packs", HOSTILE, "-o", output]);
    }
    let in_query = |url, flag, value| vec!["query", "--promql", "up", "--prometheus", url, flag, value];
    cases.extend([
        vec!["scrape", &wrong],
        in_query(&good, "-p", &named),
        in_query(&good, "--header", &named),
        in_query(&good, "--ca-file", HOSTILE),
        in_query(&wrong, "--timeout", "1s"),
        vec!["query", HOSTILE, "--prometheus", &good],
        vec!["query", "--promql", &expression, "--prometheus", &good],
        vec!["query", "--promql", "up{{", "--config", &missing],
        vec!["promql", "test", "rules.test", "bad.test", &bad_script, &missing],
        vec!["check", "pack.yaml", "odd.yaml", &missing],
        vec!["render", "--template", "up{a=\"{{.p}}\"}", "-p", &param],
        vec!["render", "--template", "{{.p}}", "-p", &param],
        vec!["render", "--template", &expression],
        vec!["packs", "vllm/ttft", "--output", HOSTILE],
        vec!["man", HOSTILE],
        vec![HOSTILE],
        vec!["demo", "--pods", HOSTILE],
    ]);
    for args in &cases {
        let shown = run_on_terminal(args, directory.path());
        let is_json = args.ends_with(&["-o", "json"]);
        // JSON escapes the C0 controls, and leaves the rest: it is for programs.
        let obeyed: String = obeyed(&shown)
            .chars()
            .filter(|c| !is_json || c.is_ascii())
            .collect();
        assert_eq!(obeyed, "", "{args:?}: {shown}");
        assert!(!shown.is_empty(), "{args:?}");
        // In CSV a line break within quotes is none of a line.
        let is_csv = args.ends_with(&["-o", "csv"]);
        assert!(is_csv || !shown.contains("\nwarning: z"), "{args:?}: {shown}");
    }
    // It is there nevertheless, and told apart.
    let shown = run_on_terminal(&query(&good, "table"), directory.path());
    assert!(
        shown.contains(r"x\u{1b}[31m\u{1b}]0;y\u{7}\u{9b}31m\u{85}\u{202e}\u{2066}"),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), 4, "two notes, a header and a row: {shown}");
    let shown = run_on_terminal(&["promql", "test", "rules.test"], directory.path());
    assert!(
        shown.contains(r#""x\x1b[31m\x1b]0;y\x07\u009b31m\u0085\u202e"#),
        "{shown}"
    );
}

#[test]
fn data_for_programs_is_exact() {
    let Hostile { directory, server } = hostile();
    let url = server.url();
    let check = |args: &[&str], expected: &str| {
        let printed = run(args, directory.path());
        assert!(printed.contains(expected), "{args:?}: {printed}");
    };
    let query = |output| ["query", "--promql", "up", "--prometheus", &*url, "-o", output];
    check(
        &query("csv"),
        &format!("\"{HOSTILE}\",3,1763930000\n").replace("3,", "a,3,"),
    );
    let in_json = serde_json::to_string(HOSTILE).unwrap();
    check(&query("json"), &format!("\"b\":{in_json}"));
    let param = "p=a\u{202e}b";
    check(
        &["render", "--template", "up{a=\"{{.p}}\"}", "-p", param],
        "up{a=\"a\u{202e}b\"}\n",
    );
}
