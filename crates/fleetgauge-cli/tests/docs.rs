//! The files that the documentation shows are files that the program takes.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use fleetgauge_sim::Fleet;

/// The first YAML block of a document.
fn yaml(document: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = fs::read_to_string(docs.join(document)).unwrap();
    let (_, block) = text.split_once("```yaml\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_documented_configuration_and_pack_are_in_order() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("acme.yaml"), yaml("packs.md")).unwrap();
    fs::write(directory.path().join("fleetgauge.yaml"), yaml("command-line.md")).unwrap();
    fs::write(directory.path().join("expected.yaml"), yaml("readings.md")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
        .args(["check", "acme.yaml", "fleetgauge.yaml", "expected.yaml"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    // The files that a configuration names are not here, which is all there is to say of it.
    let stdout = String::from_utf8_lossy(&output.stdout);
    let (warnings, others): (Vec<_>, Vec<_>) = stdout.lines().partition(|line| line.contains(": warning: "));
    assert!(
        warnings
            .iter()
            .all(|line| line.contains(" cannot be read: No such file")),
        "{stdout}"
    );
    let expected = [
        "acme.yaml: ok, pack acme with 3 queries",
        "fleetgauge.yaml: ok, configuration with 1 file of queries and 1 query",
        "expected.yaml: ok, pack acme with 2 queries",
    ];
    assert_eq!(others, expected);
}

#[test]
fn the_documented_daemon_is_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleetgauge.yaml");
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/daemon.md")).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    let whole: String = blocks.filter_map(|block| block.split("```").next()).collect();
    fs::write(&file, whole).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
        .arg("check")
        .arg(&file)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let expected = format!(
        "{}: ok, configuration with 1 source and 1 metric\n",
        file.display()
    );
    assert_eq!(stdout, expected);
}

/// In a `console` block, `cat` shows a file that the commands below it read; `promql` commands print what stands
/// below them, whether to stdout or stderr. Others need a server.
#[test]
fn the_documented_promql_commands_print_what_is_documented() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/command-line.md");
    let text = fs::read_to_string(docs).unwrap();
    let mut run = 0;
    for block in text.split("```console\n").skip(1) {
        let directory = tempfile::tempdir().unwrap();
        for example in block.split("```").next().unwrap().split("$ ").skip(1) {
            let (command, expected) = example.split_once('\n').unwrap();
            if let Some(file) = command.strip_prefix("cat ") {
                fs::write(directory.path().join(file), expected).unwrap();
            }
            let Some(args) = command.strip_prefix("fleetgauge promql ") else {
                continue;
            };
            let script = format!("'{}' promql {args} 2>&1", env!("CARGO_BIN_EXE_fleetgauge"));
            let mut shell = Command::new("sh");
            let output = shell
                .args(["-c", &script])
                .current_dir(&directory)
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{command}");
            run += 1;
        }
    }
    assert_eq!(run, 6);
}

/// The page of a pod, as any client reads it.
fn page(url: &str) -> String {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Those that ask a Prometheus are run on the demo's fleet, which has one.
#[test]
fn the_commands_of_the_readme_answer() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let fleet = runtime.block_on(Fleet::demo(1).start()).unwrap();
    let url = fleet.pods()[0].url.clone();
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("page.prom"), page(&url)).unwrap();
    for (golden, name) in [
        ("passes.test", "my-rules.test"),
        ("good-pack.yaml", "my-pack.yaml"),
        ("query-config.yaml", "fleetgauge.yaml"),
        ("good-pack.yaml", "good-pack.yaml"),
    ] {
        fs::copy(own.join("tests/golden").join(golden), directory.path().join(name)).unwrap();
    }
    let readme = fs::read_to_string(own.join("../../README.md")).unwrap();
    let commands: Vec<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("$ fleetgauge "))
        .filter(|command| {
            !["query ", "explain ", "doctor "]
                .iter()
                .any(|asks| command.starts_with(asks))
        })
        // It does not end.
        .filter(|command| !command.starts_with("serve "))
        .collect();
    assert_eq!(commands.len(), 6, "{commands:#?}");
    for command in commands {
        let command = command.replace("10.0.0.7:8000", &url);
        let output = Command::new("sh")
            .args(["-c", &format!("'{}' {command}", env!("CARGO_BIN_EXE_fleetgauge"))])
            .current_dir(&directory)
            .output()
            .unwrap();
        let (answer, error) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{command}: {answer}{error}");
        assert_eq!(error, "", "{command}");
        assert!(!answer.is_empty() && answer != "no data\n", "{command}");
    }
    runtime.block_on(fleet.shutdown());
}
