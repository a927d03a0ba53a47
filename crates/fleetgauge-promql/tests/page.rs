//! Holds `docs/promql.md`: its scripts are run, by us and by Prometheus 2.42, and its defaults are the code's.
//!
//! The tables of functions are held where they are, in `src/parse/page.rs`, the command lines by the binary's
//! own tests.
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Command;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Bound, Engine, EngineConfig, EvalError};
use fleetgauge_promql::script::{Runner, Script};
use fleetgauge_promql::store::MemoryStore;
use serde_json::{Value as Json, json};

const PAGE: &str = include_str!("../../../docs/promql.md");

/// The numbers of the page are written in full.
const TOLERANCE: f64 = 1e-9;

/// What an example says of Prometheus 2.42.
const OLD: &str = "# 2.42: ";

/// The examples in the script language.
fn scripts() -> Vec<&'static str> {
    let blocks = PAGE.split("```text\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn every_script_of_the_page_passes() {
    let runner = Runner::new(Engine::new(EngineConfig::default())).with_tolerance(TOLERANCE);
    let mut passed = 0;
    for (i, text) in scripts().into_iter().enumerate() {
        let script = Script::parse(&format!("script {}", i + 1), text).unwrap();
        let report = runner.run(&script);
        assert!(report.is_ok(), "{report}\n{text}");
        passed += report.passed;
    }
    assert!(passed >= 28, "only {passed} evaluations: are the scripts there?");
}

/// Tells `promtool` to expect what the page says of 2.42: the series are in the same notation there.
#[test]
fn prometheus_2_42_answers_as_the_page_says() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("promtool is not installed: nothing checked");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for script in scripts() {
        let (mut interval, mut series, mut in_load) = ("", Vec::new(), false);
        let (mut at, mut query) = ("", "");
        for line in script.lines() {
            if line == "clear" {
                series.clear();
            } else if let Some(step) = line.strip_prefix("load ") {
                (interval, in_load) = (step, true);
            } else if line.is_empty() {
                in_load = false;
            } else if in_load {
                let (labels, values) = series_and_values(line);
                series.push(json!({ "series": labels, "values": values }));
            } else if let Some(rest) = line.strip_prefix("eval instant at ") {
                (at, query) = rest.split_once(' ').unwrap();
            } else if let Some(expected) = line.strip_prefix(OLD) {
                let at = if at == "0" { "0s" } else { at };
                let test = json!({
                    "interval": interval,
                    "input_series": series,
                    "promql_expr_test": [{ "expr": query, "eval_time": at, "exp_samples": samples(expected) }],
                });
                let file = directory.path().join("test.yml");
                let all = json!({ "rule_files": [], "evaluation_interval": "1s", "tests": [test] });
                // JSON is YAML.
                std::fs::write(&file, all.to_string()).unwrap();
                let output = Command::new("promtool")
                    .args(["test", "rules"])
                    .arg(&file)
                    .output()
                    .unwrap();
                let says = [output.stdout, output.stderr].concat();
                let says = String::from_utf8_lossy(&says);
                let fails = says.contains(", err: ");
                let is_right = if expected == "fails" {
                    fails
                } else {
                    output.status.success()
                };
                assert!(is_right, "{query}: expected {expected}\n{says}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 10, "only {checked} answers of 2.42 were checked");
}

/// `x{a="b c"} 1 2` in its two parts.
fn series_and_values(line: &str) -> (&str, &str) {
    let line = line.trim();
    let end = line
        .find("} ")
        .map_or_else(|| line.find(' ').unwrap(), |at| at + 1);
    (&line[..end], line[end..].trim())
}

fn samples(expected: &str) -> Json {
    if ["fails", "nothing"].contains(&expected) {
        return json!([]);
    }
    let (labels, value) = series_and_values(expected);
    json!([{ "labels": labels, "value": value.parse::<f64>().unwrap() }])
}

#[test]
fn the_bounds_of_the_page_are_the_codes() {
    let config = EngineConfig::default();
    let limit = |bound, limit| EvalError::Bound { bound, limit }.to_string();
    let row = |field: &str, default: &str, error: &str| {
        let row = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("| `{field}`")));
        let row = row.unwrap_or_else(|| panic!("no row for {field}"));
        assert!(
            row.ends_with(&format!(" | {default} | `{error}` |")),
            "{row}: {error}"
        );
    };
    row(
        "max_samples",
        "50,000,000",
        &limit(Bound::Samples, config.max_samples),
    );
    row("max_series", "500,000", &limit(Bound::Series, config.max_series));
    row("max_steps", "11,000", &limit(Bound::Steps, config.max_steps));
    row(
        "timeout",
        "10 s",
        &EvalError::Timeout {
            limit: config.timeout,
        }
        .to_string(),
    );
    let query = format!("label_replace(vector(1), 'a', '{}', '', '')", "x".repeat(20_000));
    let engine = Engine::new(config.clone());
    let error = engine
        .instant(&MemoryStore::new(), &query, Timestamp::from_millis(0))
        .unwrap_err();
    assert!(PAGE.contains(&format!("| `{error}` |")), "{error}");
    assert_eq!(
        config.lookback,
        Duration::from_secs(5 * 60),
        "the page says 5 minutes"
    );
    assert_eq!(
        config.subquery_step,
        Duration::from_secs(60),
        "the page says a minute"
    );
    assert_eq!(Runner::DEFAULT_TOLERANCE, 1e-6, "the page says 1e-6");
}

/// The language says itself what it knows, to those who write something else.
#[test]
fn the_page_has_every_expect_line() {
    let error = Script::parse("t", "eval instant at 0 x\n  expect nonsense").unwrap_err();
    let (known, _) = error.message.split_once(", found").unwrap();
    let known = known.strip_prefix("expected ").unwrap().replace(" or ", ", ");
    let mut count = 0;
    for word in known.split(", ") {
        assert!(PAGE.contains(&format!("`expect {word}")), "{word}");
        count += 1;
    }
    assert_eq!(count, 8);
}
