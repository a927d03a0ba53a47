//! Test scripts: series are loaded, expressions evaluated, and the answers compared with what should be.
//!
//! The language is that of Prometheus's own engine tests, so that anybody who knows PromQL can judge a
//! script without reading code, and scripts can be carried over in both directions
//! (*Source*: <https://github.com/prometheus/prometheus/tree/main/promql/promqltest>).
//!
//! ```text
//! # A sample a minute, the first at 0: 0 60 120 … 600 is a start, a step, and how many more; _ is a gap.
//! load 1m
//!   requests_total{pod="a"} 0+60x10
//!   requests_total{pod="b"} 1 _ 3 stale
//!
//! eval instant at 10m rate(requests_total{pod="a"}[5m])
//!   {pod="a"} 1
//!
//! eval range from 0 to 3m step 1m requests_total{pod="b"}
//!   requests_total{pod="b"} 1 1 3 _
//!
//! eval instant at 0 requests_total + on() requests_total
//!   expect fail
//!
//! clear
//! ```
//!
//! - A command is ended by a blank line, a comment or the end of the script.
//! - Values: `1.5`, `Inf`, `NaN`, `_` (no sample), `stale` (the series ended), `axn` (a, and n times a again),
//!   `a+bxn` (a, and n times b more), `_xn` (n times no sample). Instead of a number, `a` and `b` may be native
//!   histograms: `{{schema:0 count:3 sum:5 buckets:[1 2]}}`.
//! - A line `series@st` before that of a series has since when its samples are counted, each as a duration before or behind
//!   the sample's own time: `-1m`, `_` (not known), `axn` and `a-bxn` as with values.
//! - `load_with_nhcb` loads classic histograms also as native ones with custom buckets.
//! - Durations as in PromQL, or a number of seconds; times are durations after the Unix epoch.
//! - `eval instant [at T] EXPR` and `eval range from A to B step S EXPR`. Below it the answer: a bare number
//!   for a scalar, and a line of series notation for each series, where `_` says that there must be no
//!   sample. No line says that the answer is empty.
//! - `expect ordered`, `expect fail`, `expect warn`, `expect info`, the latter three also with `msg: TEXT` or
//!   `regex: PATTERN`, `expect no_warn`, `expect no_info`, `expect string "TEXT"`, and
//!   `expect range vector from A to B step S` for an instant query that has a range vector for an answer.
//! - As before those: `eval_ordered`, `eval_fail` (with `expected_fail_message TEXT` or
//!   `expected_fail_regexp PATTERN`), `eval_warn`, `eval_info`.
//!
//! As in Prometheus, an instant query is also evaluated as a range, and its answer must be the same there.
//! Other than there, an expression that cannot be parsed is a failed evaluation, which `expect fail` can
//! expect.

mod classic;
mod command;
mod compare;
mod notation;
mod parse;
mod report;
mod run;
mod show;

use fleetgauge_core::printable::Printable;

use command::Command;
pub use report::{Failure, Report};
pub use run::Runner;

/// A script that was read and can be run, with [`Runner::run`].
#[derive(Debug)]
pub struct Script {
    name: String,
    commands: Vec<Command>,
}

/// A line that is not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {}", Printable(.script), Printable(.message))]
#[non_exhaustive]
pub struct ScriptError {
    /// The script's name, as it was given.
    pub script: String,
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

// === impl Script ===

impl Script {
    /// Reads a script. The name is what errors and failures are shown under, usually that of its file.
    ///
    /// Expressions are not looked at: one that cannot be parsed fails when the script is run.
    ///
    /// *Errors*: the first line that is not understood.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScriptError> {
        let commands = parse::commands(text).map_err(|(line, message)| ScriptError {
            script: name.to_owned(),
            line,
            message,
        })?;
        Ok(Self {
            name: name.to_owned(),
            commands,
        })
    }

    /// The name it was read under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The expressions that it evaluates, in the order of the script.
    pub fn expressions(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().filter_map(|command| match command {
            Command::Eval(eval) => Some(&*eval.query),
            Command::Load(_) | Command::Clear => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use fleetgauge_core::time::Timestamp;

    use super::*;
    use crate::config::EngineConfig;
    use crate::engine::Engine;
    use crate::histogram::FloatHistogram;
    use crate::label::LabelSet;
    use crate::store::MemoryStore;

    fn run(text: &str) -> Report {
        let script = Script::parse("s.test", text).expect("a script");
        Runner::new(Engine::new(EngineConfig::default())).run(&script)
    }

    /// How many evaluations fail, and a part of what is said.
    fn check(text: &str, failed: usize, part: &str) {
        let report = run(text);
        let shown = report.to_string();
        assert!(
            report.failures.len() == failed && shown.contains(part),
            "{text}\n{shown}"
        );
    }

    #[test]
    fn the_script_in_the_documentation_passes() {
        let head = include_str!("script.rs");
        let lines = head
            .lines()
            .skip_while(|line| *line != "//! ```text")
            .skip(1)
            .take_while(|line| *line != "//! ```");
        let text: Vec<_> = lines
            .map(|line| line.strip_prefix("//!").unwrap_or_default())
            .collect();
        let report = run(&text.join("\n"));
        assert_eq!((report.passed, report.failures.len()), (3, 0), "{report}");
    }

    #[test]
    fn what_is_not_as_expected_is_told() {
        let load = "load 1m\n  x{a=\"1\"} 1 2\n  x{a=\"2\"} 3 4\n\n";
        let eval = |lines: &str, failed, part: &str| check(&format!("{load}eval {lines}"), failed, part);
        eval(
            "instant at 0 x\n  x{a=\"1\"} 1\n  x{a=\"2\"} 3",
            0,
            "s.test: 1 passed, 0 failed",
        );
        eval("instant at 0 x\n  x{a=\"1\"} 1", 1, "x{a=\"2\"} is not expected");
        eval("instant at 0 x{a=\"1\"}\n  x{a=\"1\"} 2", 1, "expected 2, got 1");
        eval(
            "instant at 0 x{a=\"1\"}\n  y 1\n  x{a=\"1\"} 1",
            1,
            "y is missing",
        );
        eval(
            "instant at 0 x{a=\"1\"}\n  1",
            1,
            "expected a scalar, got a vector",
        );
        eval("instant at 0 1\n  {} 1", 1, "got a scalar");
        eval("instant at 0 1\n  2", 1, "expected 2, got 1");
        eval("instant at 0 1", 1, "got a scalar");
        eval("instant at 0 \"a\"", 1, "got a string");
        eval(
            "instant at 0 \"a\"\n  expect string \"b\"",
            1,
            "expect string \"a\"",
        );
        eval("instant at 0 \"a\"\n  expect string \"a\"", 0, "");
        eval("instant at 0 x[5m]", 1, "got a range vector");
        eval(
            "instant at 1m x{a=\"1\"}[5m]\n  expect range vector from 0 to 1m step 1m\n  x{a=\"1\"} 1 2",
            0,
            "",
        );
        eval(
            "instant at 1m x{a=\"1\"}[5m]\n  expect range vector from 0 to 1m step 1m\n  x{a=\"1\"} 1 3",
            1,
            "x{a=\"1\"} at 60 s: expected 3, got 2",
        );
        eval(
            "instant at 1m x{a=\"1\"}[5m]\n  expect range vector from 0 to 1m step 40s\n  x{a=\"1\"} 1 2",
            1,
            "a sample between the steps",
        );
        eval(
            "instant at 0 sort(x)\n  expect ordered\n  x{a=\"1\"} 1\n  x{a=\"2\"} 3",
            0,
            "",
        );
        eval(
            "instant at 0 sort_desc(x)\n  expect ordered\n  x{a=\"1\"} 1\n  x{a=\"2\"} 3",
            1,
            "x{a=\"2\"} is expected at place 2, not 1",
        );
        eval("range from 0 to 1m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1 2", 0, "");
        eval(
            "range from 0 to 1m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1",
            1,
            "expected no sample, got 2",
        );
        eval(
            "range from 0 to 1m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1 _",
            1,
            "expected no sample, got 2",
        );
        eval(
            "range from 0 to 1m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1 2 3",
            1,
            "more values than there are steps",
        );
        eval(
            "range from 0 to 1m step 1m x{a=\"1\"} > 1\n  x{a=\"1\"} 1 2",
            1,
            "expected 1, got no sample",
        );
        eval("range from 0 to 1m step 1m nosuch\n  x 1", 1, "x is missing");
    }

    #[test]
    fn failures_and_remarks_are_compared() {
        let load = "load 1m\n  x 1 2\n\n";
        let eval = |lines: &str, failed, part: &str| check(&format!("{load}eval{lines}"), failed, part);
        eval(" instant at 0 x\n  expect fail\n  x 1", 1, "expected to fail");
        eval(" instant at 0 x +", 1, "got:\n    error: ");
        eval("_fail instant at 0 x +", 0, "");
        eval(" instant at 0 x +\n  expect fail regex: ^1:.*parse error", 0, "");
        eval(
            " instant at 0 x +\n  expect fail msg: parse",
            1,
            "expected to fail with \"parse\"",
        );
        eval("_fail instant at 0 x +\n  expected_fail_regexp parse", 0, "");
        eval(
            "_fail instant at 0 x +\n  expected_fail_message parse",
            1,
            "expected to fail with",
        );
        let quantile = " instant at 0 quantile(2, x)\n  {} Inf\n";
        let warning = "PromQL warning: quantile value should be between 0 and 1, got 2";
        // Nothing is said about them, so they are not looked at.
        eval(quantile, 0, "");
        eval(&format!("{quantile}  expect warn\n  expect no_info"), 0, "");
        eval(
            &format!("{quantile}  expect no_warn"),
            1,
            "expected no warning, got",
        );
        eval(
            &format!("{quantile}  expect info"),
            1,
            "expected an info, got none",
        );
        eval(&format!("{quantile}  expect warn msg: {warning}"), 0, "");
        eval(&format!("{quantile}  expect warn regex: quantile.*2$"), 0, "");
        eval(
            &format!("{quantile}  expect warn msg: quantile"),
            1,
            "unexpected warning",
        );
        eval(&format!("_warn{quantile}"), 0, "");
        eval(&format!("_info{quantile}"), 1, "expected an info, got none");
    }

    #[test]
    fn an_instant_must_be_the_same_as_a_step_of_a_range() {
        // At 2m the second series is there too, and the range of a minute around fails.
        let text = "load 1m\n  a{n=\"1\"} 1 2\n  b{n=\"1\"} _ _ 3\n\n\
                    eval instant at 1m {__name__=~\"a|b\"} + 0\n  {n=\"1\"} 2\n";
        check(
            text,
            1,
            "right as an instant query, but not as a step of a range query",
        );
        // What the ends of a range are, a single evaluation cannot know.
        check(
            "load 1m\n  x 1 2 3\n\neval instant at 1m x @ start()\n  x 2\n",
            0,
            "",
        );
    }

    #[test]
    fn since_when_samples_are_counted_is_read_with_its_mistakes() {
        let check = |lines: &str, expected: Result<usize, &str>| {
            let text = format!("load 1m\n{lines}\neval instant at 3m start_timestamp(x)\n  {{}} 170\n");
            match (Script::parse("a.test", &text), expected) {
                (Ok(script), Ok(failures)) => {
                    let report = Runner::new(Engine::default()).run(&script);
                    assert_eq!(report.failures.len(), failures, "{lines}: {report:?}");
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, expected) => panic!("{lines}: {found:?} and not {expected:?}"),
            }
        };
        check("  x@st _ -1m -20s -10s\n  x 1 2 3 4\n", Ok(0));
        check("  x@st _x2 -20s+10sx1\n  x 1 2 3 4\n", Ok(0));
        check("  x@st _x2 0s-10sx1\n  x 1 2 3 4\n", Ok(0));
        check("  x@st _ _ _ _\n  x 1 2 3 4\n", Ok(1));
        check("  x@st -1m\n  x 1 2\n", Err("are 2 of x"));
        check("  x@st -1m\n  y 1\n", Err("of y"));
        check("  x@st -1m\n", Err(":2: no line with the samples follows"));
        check("  x@st -1m\n  x@st -1m\n  x 1\n", Err(":2: no line"));
        check("  x@st soon\n  x 1\n", Err("\"soon\" is not a time"));
        check("  x@st -1mx\n  x 1\n", Err("\"-1mx\" is not a time"));
    }

    #[test]
    fn what_is_not_supported_fails_alone() {
        // Of two sets of samples, the one is loaded, and that the other is not is told.
        check(
            "load_with_nhcb 1m\n  x_bucket{le=\"1\"} 5\n  x_bucket{le=\"2\"} 4\n\n\
             eval instant at 0 x_bucket{le=\"1\"}\n  x_bucket{le=\"1\"} 5\n",
            1,
            "line 1: a bucket of a classic histogram counts less than the one below",
        );
    }

    #[test]
    fn histograms_are_loaded_and_compared() {
        let load = "load 1m\n  h{a=\"1\"} {{count:3 sum:5 buckets:[1 2]}}+{{count:1 sum:1 buckets:[0 1]}}x2\n  \
                    h{a=\"2\"} 7 {{count:1 buckets:[1]}} stale\n\n";
        let eval = |lines: &str, failed, part: &str| check(&format!("{load}eval {lines}"), failed, part);
        let first = "h{a=\"1\"} {{count:4 sum:6 buckets:[1 3]}}";
        eval(&format!("instant at 1m h{{a=\"1\"}}\n  {first}"), 0, "");
        eval(&format!("instant at 1m h{{a=\"1\"}} @ 1m\n  {first}"), 0, "");
        eval(
            &format!("instant at 0 h{{a=\"1\"}}\n  {first}"),
            1,
            "expected {{count:4 sum:6 buckets:[1 3]}}, got {{count:3 sum:5 buckets:[1 2]}}",
        );
        // What is known of resets counts where it is asked for.
        let told = |hint: &str| {
            format!(
                "instant at 1m h{{a=\"1\"}}\n  h{{a=\"1\"}} {{{{count:4 sum:6 counter_reset_hint:{hint} buckets:[1 3]}}}}"
            )
        };
        eval(&told("not_reset"), 0, "");
        eval(&told("reset"), 1, "counter_reset_hint:reset");
        eval(
            "instant at 1m h{a=\"2\"}\n  h{a=\"2\"} 1",
            1,
            "expected 1, got {{count:1 buckets:[1]}}",
        );
        let second = "h{a=\"2\"} 7 {{count:1 buckets:[1]}}";
        eval(
            &format!("range from 0 to 2m step 1m h{{a=\"2\"}}\n  {second}"),
            0,
            "",
        );
        eval(
            &format!(
                "instant at 2m h{{a=\"2\"}}[5m]\n  expect range vector from 0 to 2m step 1m\n  {second}"
            ),
            0,
            "",
        );
    }

    #[test]
    fn classic_histograms_are_loaded_as_native_ones_too() {
        let text = "load_with_nhcb 1m\n  x_bucket{le=\"1\", a=\"b\"} 2 2\n  x_bucket{le=\"2.0\", a=\"b\"} 5 _\n  \
                    x_bucket{le=\"+Inf\", a=\"b\"} 6 4\n  x_sum{a=\"b\"} 9 9\n  x_count{a=\"b\"} 6 _\n  y_count 3\n\n\
                    eval instant at 0 x\n  x{a=\"b\"} {{schema:-53 count:6 sum:9 custom_values:[1 2] buckets:[2 3 1]}}\n\n\
                    eval instant at 1m x\n  x{a=\"b\"} {{schema:-53 count:4 sum:9 custom_values:[1] buckets:[2 2]}}\n\n\
                    eval instant at 0 y\n  y {{schema:-53 count:3 custom_values:[] buckets:[3]}}\n\n\
                    eval instant at 0 x_count\n  x_count{a=\"b\"} 6\n";
        check(text, 0, "4 passed");
    }

    #[test]
    fn an_answer_has_histograms_where_they_are_asked_for() {
        let mut store = MemoryStore::new();
        let at = Timestamp::from_millis(0);
        let histogram = FloatHistogram::from_notation("{{count:3}}").expect("a histogram");
        let labels = LabelSet::from_pairs([("__name__", "h")]);
        let appended = store.append_histogram(&labels, at, Arc::new(histogram));
        appended.expect("no conflict");
        let engine = Engine::new(EngineConfig::default());
        let range = engine.range(&store, "h", at, at, Duration::from_secs(1));
        for outcome in [
            engine.instant(&store, "h", at),
            engine.instant(&store, "h[5m]", at),
            range,
        ] {
            let error = outcome.expect_err("refused").to_string();
            assert!(error.starts_with("the answer has native histograms"), "{error}");
        }
        let config = EngineConfig::default().with_histograms(true);
        let engine = engine.with_config(config);
        let range = engine.range(&store, "h", at, at, Duration::from_secs(1));
        for outcome in [
            engine.instant(&store, "h", at),
            engine.instant(&store, "h[5m]", at),
            range,
        ] {
            let answer = outcome.expect("an answer").answer;
            let value = answer.values().next().expect("a value");
            let count = value.histogram.map(|histogram| histogram.count);
            assert!(count == Some(3.0) && value.value.is_nan());
        }
    }

    #[test]
    fn what_histograms_take_counts_against_the_limit_of_memory() {
        let mut store = MemoryStore::new();
        let at = Timestamp::from_millis(0);
        let buckets = "1 ".repeat(200);
        let text = format!("{{{{count:200 buckets:[{buckets}]}}}}");
        let histogram = FloatHistogram::from_notation(&text).expect("a histogram");
        let labels = LabelSet::from_pairs([("__name__", "h")]);
        let appended = store.append_histogram(&labels, at, Arc::new(histogram));
        appended.expect("no conflict");
        let run = |query: &str| {
            let config = EngineConfig::default().with_max_bytes(60_000);
            let end = at.saturating_add(Duration::from_secs(50));
            Engine::new(config).range(&store, query, at, end, Duration::from_secs(1))
        };
        // A histogram of 2.6 KB is read once, and made anew at each step.
        assert!(run("histogram_count(h)").is_ok());
        let error = run("histogram_count(h * 2)").expect_err("too much");
        assert_eq!(error.reason(), "bytes");
    }

    #[test]
    fn samples_that_contradict_each_other_are_a_failure() {
        let text = "load 1m\n  x 1 2\n\nload 1m\n  x 1 3\n\neval instant at 0 x\n  x 1\n";
        check(text, 1, "s.test:4: load\n  x has two values at 60: 2 and 3");
        check(&text.replacen("\n\nload", "\n\nclear\nload", 1), 0, "");
        // Within one load, the last line holds.
        check("load 1m\n  x 1 2\n  x 3\n\neval instant at 1m x\n  x 3\n", 0, "");
    }
}
