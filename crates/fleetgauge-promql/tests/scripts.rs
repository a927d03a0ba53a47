//! Runs the scripts of `scripts/`, one per concern, and sees to it that they leave no part of the language out.
//!
//! Their numbers are written in full, so they are compared to 1e-9, where Prometheus's own tests have 1e-6.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::parse;
use fleetgauge_promql::script::{Runner, Script};

const TOLERANCE: f64 = 1e-9;

fn scripts() -> Vec<Script> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: &Path| {
        let name = format!("tests/scripts/{}", path.file_name().unwrap().display());
        Script::parse(&name, &fs::read_to_string(path).unwrap()).unwrap()
    };
    files.iter().map(|path| read(path)).collect()
}

#[test]
fn all_scripts_pass() {
    let runner = Runner::new(Engine::new(EngineConfig::default())).with_tolerance(TOLERANCE);
    let reports: Vec<_> = scripts().iter().map(|script| runner.run(script)).collect();
    let passed: usize = reports.iter().map(|report| report.passed).sum();
    let failures: Vec<_> = reports.iter().flat_map(|report| &report.failures).collect();
    let text: Vec<_> = failures.iter().map(|failure| failure.to_string()).collect();
    assert!(
        failures.is_empty(),
        "{passed} passed, {} failed\n{}",
        failures.len(),
        text.join("\n")
    );
    assert!(passed > 300, "only {passed} evaluations: are the scripts there?");
}

/// A function that no script names would be one that nobody judged.
#[test]
fn every_function_and_operator_is_in_some_script() {
    let scripts = scripts();
    let expressions: Vec<_> = scripts.iter().flat_map(Script::expressions).collect();
    let mut words = BTreeSet::new();
    for expression in &expressions {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        words.extend(expression.split(|c| !in_word(c)));
    }
    const KEYWORDS: &str = "and or unless atan2 bool on ignoring group_left group_right fill fill_left fill_right anchored smoothed \
                            by without offset step range start end Inf NaN";
    let mut missing: Vec<_> = parse::functions()
        .chain(parse::aggregations())
        .chain(KEYWORDS.split_whitespace())
        .filter(|word| !words.contains(word))
        .collect();
    const SYMBOLS: &str = "+ - * / % ^ == != > < >= <= = =~ !~ @ [ : { ( , -x +x";
    let symbols = SYMBOLS.split(' ').filter(|symbol| {
        let operator = format!(" {symbol} ");
        let spaced = [
            "+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "@",
        ]
        .contains(symbol);
        let wanted = if spaced { &*operator } else { *symbol };
        !expressions.iter().any(|expression| expression.contains(wanted))
    });
    missing.extend(symbols);
    assert!(missing.is_empty(), "no script evaluates {missing:?}");
}
