//! Holds `docs/promql.md`: its scripts are run, by us, by Prometheus 3 where it is there, and by Prometheus 2.42
//! where the page says what that answers; and its defaults are the code's.
//!
//! The tables of functions are held where they are, in `src/parse/page.rs`, the command lines by the binary's
//! own tests.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Bound, Engine, EngineConfig, EvalError};
use fleetgauge_promql::script::{Runner, Script};
use fleetgauge_promql::store::MemoryStore;
use serde_json::{Value as Json, json};

use crate::support::prometheus_3;

const PAGE: &str = include_str!("../../../docs/promql.md");

/// The numbers of the page are written in full.
const TOLERANCE: f64 = 1e-9;

/// What an example says of Prometheus 2.42, and of 3.5 where that is not what is said of us.
const OLD: &str = "# 2.42: ";
const NEW: &str = "# 3.5: ";

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

#[test]
fn prometheus_2_42_answers_as_the_page_says() {
    let mut promtool = Promtool::new("promtool".into(), false);
    for script in scripts() {
        for example in Example::all(script) {
            if let Some(old) = example.old {
                let (expected, fails) = said(old);
                promtool.check(&example, &expected, fails);
            }
        }
    }
    assert!(
        promtool.checked >= 10,
        "only {} answers of 2.42 were checked",
        promtool.checked
    );
}

/// All examples that `promtool` has the means to check: it knows instant queries that give numbers, and no order.
#[test]
#[ignore = "needs Prometheus 3"]
fn prometheus_3_answers_as_the_page_says() {
    let mut promtool = Promtool::new(prometheus_3::program("FLEETGAUGE_PROMTOOL_3"), true);
    for script in scripts() {
        for example in Example::all(script) {
            let is_beyond =
                |line: &&str| line.starts_with("expect string") || line.starts_with("expect range");
            // No NaN is equal to another.
            let has_nan = |series: &[&str]| series.iter().any(|line| line.ends_with("NaN"));
            if let Some(new) = example.new {
                let (expected, fails) = said(new);
                if !has_nan(&expected) {
                    promtool.check(&example, &expected, fails);
                }
            } else if !has_nan(&example.series) && !example.expects.iter().any(is_beyond) {
                let fails = example.expects.iter().any(|line| line.starts_with("expect fail"));
                promtool.check(&example, &example.series, fails);
            }
        }
    }
    assert!(
        promtool.checked >= 24,
        "only {} answers of 3 were checked",
        promtool.checked
    );
}

/// An instant query of the page, with the data that it is asked of.
struct Example<'p> {
    interval: &'p str,
    data: Vec<Json>,
    at: &'p str,
    query: &'p str,
    expects: Vec<&'p str>,
    /// The series of the answer, with their values.
    series: Vec<&'p str>,
    /// What 2.42 answers.
    old: Option<&'p str>,
    /// What 3.5 answers.
    new: Option<&'p str>,
}

/// The series of an answer, and whether it is an error instead.
fn said(of: &str) -> (Vec<&str>, bool) {
    match of {
        "fails" => (Vec::new(), true),
        "nothing" => (Vec::new(), false),
        line => (vec![line], false),
    }
}

// === impl Example ===

impl<'p> Example<'p> {
    fn all(script: &'p str) -> Vec<Self> {
        let (mut interval, mut data, mut in_load) = ("", Vec::new(), false);
        let mut examples: Vec<Self> = Vec::new();
        for line in script.lines() {
            let text = line.trim();
            if line == "clear" {
                data.clear();
            } else if let Some(step) = line.strip_prefix("load ") {
                (interval, in_load) = (step, true);
            } else if let Some(rest) = line.strip_prefix("eval instant at ") {
                let (at, query) = rest.split_once(' ').unwrap();
                examples.push(Self {
                    interval,
                    data: data.clone(),
                    at: if at == "0" { "0s" } else { at },
                    query,
                    expects: Vec::new(),
                    series: Vec::new(),
                    old: None,
                    new: None,
                });
            } else if line.is_empty() || line.starts_with("eval ") {
                in_load = false;
            } else if in_load {
                let (labels, values) = series_and_values(text);
                data.push(json!({ "series": labels, "values": values }));
            } else if let Some(example) = examples.last_mut() {
                if let Some(old) = line.strip_prefix(OLD) {
                    example.old = Some(old);
                } else if let Some(new) = line.strip_prefix(NEW) {
                    example.new = Some(new);
                } else if text.starts_with("expect ") {
                    example.expects.push(text);
                } else if line.starts_with(' ') {
                    example.series.push(text);
                }
            }
        }
        examples
    }
}

/// A `promtool`, told what to expect: the series are in the same notation there.
struct Promtool {
    program: PathBuf,
    /// It knows experimental functions, and that last digits may differ.
    is_3: bool,
    directory: tempfile::TempDir,
    checked: usize,
}

// === impl Promtool ===

impl Promtool {
    fn new(program: PathBuf, is_3: bool) -> Self {
        Self {
            program,
            is_3,
            directory: tempfile::tempdir().unwrap(),
            checked: 0,
        }
    }

    fn check(&mut self, example: &Example<'_>, expected: &[&str], fails: bool) {
        let samples: Vec<_> = expected.iter().map(|line| sample(line)).collect();
        let test = json!({
            "interval": example.interval,
            "input_series": example.data,
            "promql_expr_test": [{ "expr": example.query, "eval_time": example.at, "exp_samples": samples }],
        });
        let file = self.directory.path().join("test.yml");
        let mut all = json!({ "rule_files": [], "evaluation_interval": "1s", "tests": [test] });
        if self.is_3 {
            all["fuzzy_compare"] = true.into();
        }
        // JSON is YAML, which has infinities.
        let text = all
            .to_string()
            .replace("\"+inf\"", ".inf")
            .replace("\"-inf\"", "-.inf");
        std::fs::write(&file, text).unwrap();
        let flags: &[&str] = match self.is_3 {
            true => &["--enable-feature=promql-experimental-functions"],
            false => &[],
        };
        let output = Command::new(&self.program)
            .args(flags)
            .args(["test", "rules"])
            .arg(&file)
            .output()
            .unwrap();
        let says = [output.stdout, output.stderr].concat();
        let says = String::from_utf8_lossy(&says);
        let is_right = if fails {
            says.contains(", err: ")
        } else {
            output.status.success()
        };
        let query = example.query;
        assert!(is_right, "{query}: expected {expected:?}, fails: {fails}\n{says}");
        self.checked += 1;
    }
}

/// `x{a="b c"} 1 2` in its two parts.
fn series_and_values(line: &str) -> (&str, &str) {
    let line = line.trim();
    let end = line
        .find("} ")
        .map_or_else(|| line.find(' ').unwrap(), |at| at + 1);
    (&line[..end], line[end..].trim())
}

/// A number alone is a scalar, which `promtool` takes as a series without labels.
fn sample(line: &str) -> Json {
    if let Ok(value) = line.parse::<f64>() {
        return json!({ "labels": "{}", "value": value });
    }
    let (labels, value) = series_and_values(line);
    let value: f64 = value.parse().unwrap();
    match value.is_infinite() {
        true => json!({ "labels": labels, "value": format!("{value:+}") }),
        false => json!({ "labels": labels, "value": value }),
    }
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
