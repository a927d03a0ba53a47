//! Reads the commands of a script.

use std::collections::BTreeMap;
use std::iter::{Enumerate, Peekable};
use std::str::Lines;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;
use regex::Regex;

use super::classic;
use super::command::{
    Command, Eval, Expected, ExpectedSeries, Grid, Item, Load, Loaded, Pattern, Patterns, Unread, When,
};
use super::notation::{self, Line};
use crate::label::LabelSet;

/// The line, from 1, and what is wrong with it.
type Fault = (usize, String);

/// Lines with their numbers.
struct Reader<'a> {
    lines: Peekable<Enumerate<Lines<'a>>>,
    /// How many values may still come.
    budget: usize,
}

pub(super) fn commands(text: &str) -> Result<Vec<Command>, Fault> {
    let mut reader = Reader {
        lines: text.lines().enumerate().peekable(),
        budget: notation::budget(),
    };
    let mut commands = Vec::new();
    while let Some((number, line)) = reader.next() {
        if !line.is_empty() {
            let command = reader.command(number, line);
            commands.push(command?);
        }
    }
    Ok(commands)
}

/// `message` about a line of a block, where that looks like a command of its own.
fn with_hint(message: String, line: &str) -> String {
    match word(line).0 {
        "clear" | "load" | "eval" | "eval_fail" | "eval_warn" | "eval_info" | "eval_ordered" => {
            format!("{message}; a blank line must end the block before")
        }
        _ => message,
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The next line without indentation; a comment is an empty one.
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let (index, line) = self.lines.next()?;
        let line = line.trim();
        Some((index + 1, if line.starts_with('#') { "" } else { line }))
    }

    /// The next line of the block that the command began.
    fn next_of_block(&mut self) -> Option<(usize, &'a str)> {
        self.next().filter(|(_, line)| !line.is_empty())
    }

    fn command(&mut self, number: usize, line: &'a str) -> Result<Command, Fault> {
        let (first, rest) = word(line);
        match first {
            "clear" if rest.is_empty() => Ok(Command::Clear),
            "load" => self.load(number, rest, false).map(Command::Load),
            "load_with_nhcb" => self.load(number, rest, true).map(Command::Load),
            "eval" | "eval_fail" | "eval_warn" | "eval_info" | "eval_ordered" => {
                self.eval(number, line, &first["eval".len()..], rest)
            }
            _ => {
                let message = format!("expected load, eval or clear, found {line:?}");
                Err((number, message))
            }
        }
    }

    /// *`with_native`*: whether classic histograms are native ones, too.
    fn load(&mut self, number: usize, rest: &str, with_native: bool) -> Result<Load, Fault> {
        let step = notation::duration(rest, 1).map_err(|message| (number, message))?;
        // A series that comes twice counts as it came last, as in Prometheus.
        let mut all = BTreeMap::new();
        // Of the series that must come next.
        let mut pending: Option<(usize, LabelSet, Vec<Option<i64>>)> = None;
        let of_no_series = |number| Err((number, "no line with the samples follows".to_owned()));
        while let Some((number, line)) = self.next_of_block() {
            let read = notation::line(line, &mut self.budget);
            let read = read.map_err(|message| (number, with_hint(message, line)))?;
            match (read, pending.take()) {
                (Line::Starts(..), Some((number, ..))) => return of_no_series(number),
                (Line::Starts(labels, starts), None) => pending = Some((number, labels, starts)),
                (Line::Values(labels, values), starts) => {
                    let starts = match starts {
                        None => Vec::new(),
                        Some((number, of, starts)) if of != labels || starts.len() != values.len() => {
                            let message = format!(
                                "the samples that follow are {} of {labels}, and these {} starts of {of}",
                                values.len(),
                                starts.len()
                            );
                            return Err((number, message));
                        }
                        Some((_, _, starts)) => starts,
                    };
                    let samples = samples(values, starts, step);
                    let samples = samples.ok_or((number, "the series ends beyond all time".to_owned()))?;
                    all.insert(labels, samples);
                }
            }
        }
        if let Some((number, ..)) = pending {
            return of_no_series(number);
        }
        let mut unread = Vec::new();
        let converted = match with_native {
            true => classic::converted(&all),
            false => Ok(BTreeMap::new()),
        };
        let converted = converted.unwrap_or_else(|why| {
            unread.push(Unread { line: number, why });
            BTreeMap::new()
        });
        Ok(Load {
            line: number,
            series: all.into_iter().chain(converted).collect(),
            unread,
        })
    }

    fn eval(&mut self, number: usize, line: &str, suffix: &str, rest: &str) -> Result<Command, Fault> {
        let (when, query) = when(rest).map_err(|message| (number, message))?;
        let is_range = matches!(when, When::Range(_));
        if query.is_empty() {
            return Err((number, format!("the expression is missing: {line:?}")));
        }
        let mut expected = Expected::default();
        match suffix {
            "_fail" => expected.fail = Some(Patterns::default()),
            "_warn" => expected.warn = Some(Patterns::default()),
            "_info" => expected.info = Some(Patterns::default()),
            "_ordered" => expected.ordered = true,
            _ => {}
        }
        while let Some((number, line)) = self.next_of_block() {
            if let Err(message) = expected.read(line, is_range, &mut self.budget) {
                return Err((number, with_hint(message, line)));
            }
        }
        if is_range && expected.ordered {
            return Err((number, "the series of a range have no order".to_owned()));
        }
        Ok(Command::Eval(Box::new(Eval {
            line: number,
            query: query.to_owned(),
            when,
            expected,
        })))
    }
}

/// The values at 0, 1, 2 … steps after the epoch; `None` if a time is out of range.
fn samples(values: Vec<Option<Item>>, starts: Vec<Option<i64>>, step: Duration) -> Option<Vec<Loaded>> {
    let step = i64::try_from(step.as_millis()).ok()?;
    let mut samples = Vec::new();
    for (index, item) in values.into_iter().enumerate() {
        if let Some(item) = item {
            let at = step.checked_mul(i64::try_from(index).ok()?)?;
            let start = match starts.get(index).copied().flatten() {
                Some(since) => Some(Timestamp::from_millis(at.checked_add(since)?)),
                None => None,
            };
            samples.push(Loaded {
                at: Timestamp::from_millis(at),
                value: item.value,
                start,
            });
        }
    }
    Some(samples)
}

/// `instant at T EXPR`, `instant EXPR` or `range from A to B step S EXPR`.
fn when(text: &str) -> Result<(When, &str), String> {
    let (kind, rest) = word(text);
    match kind {
        "instant" => match word(rest) {
            ("at", rest) => {
                let (at, query) = word(rest);
                Ok((When::At(time(at)?), query))
            }
            _ => Ok((When::At(Timestamp::from_millis(0)), rest)),
        },
        "range" => {
            let (grid, query) = grid(rest)?;
            Ok((When::Range(grid), query))
        }
        _ => Err(format!(
            "expected `instant` or `range` behind eval, found {text:?}"
        )),
    }
}

/// `from A to B step S`, and what follows.
fn grid(text: &str) -> Result<(Grid, &str), String> {
    let mut rest = text;
    let mut part = |keyword: &str| {
        let (found, after) = word(rest);
        let (value, after) = word(after);
        rest = after;
        let fits = found == keyword && !value.is_empty();
        fits.then_some(value)
            .ok_or_else(|| format!("expected `from TIME to TIME step DURATION`, found {text:?}"))
    };
    let (start, end, step) = (part("from")?, part("to")?, part("step")?);
    let grid = Grid {
        start: time(start)?,
        end: time(end)?,
        step: notation::duration(step, 1)?,
    };
    if grid.end < grid.start {
        return Err(format!("the range ends before it starts: {text:?}"));
    }
    Ok((grid, rest))
}

fn time(text: &str) -> Result<Timestamp, String> {
    let millis = notation::millis(text);
    millis
        .map(Timestamp::from_millis)
        .ok_or_else(|| format!("expected a time such as 5m or 1h30m, found {text:?}"))
}

/// The first word, and what follows without the blanks before it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

// === impl Expected ===

impl Expected {
    /// Reads a line below an eval.
    fn read(&mut self, line: &str, is_range: bool, budget: &mut usize) -> Result<(), String> {
        let (first, rest) = word(line);
        match first {
            "expect" => return self.expect(rest, is_range),
            "expected_fail_message" => return self.add_fail(Pattern::Text(rest.to_owned())),
            "expected_fail_regexp" => return self.add_fail(Pattern::Regex(regex(rest)?)),
            _ => {}
        }
        if let Some(scalar) = notation::number(line) {
            if is_range {
                return Err("the answer of a range has series: write {} VALUE VALUE …".to_owned());
            }
            if self.scalar.replace(scalar).is_some() {
                return Err("the answer can be only one scalar".to_owned());
            }
            return Ok(());
        }
        let (labels, values) = notation::series(line, budget)?;
        if !is_range && self.grid.is_none() && values.len() != 1 {
            let message = "an instant answer has one value a series; say `expect range vector …` first";
            return Err(message.to_owned());
        }
        if self.series.iter().any(|series| series.labels == labels) {
            return Err(format!("{labels} is expected twice"));
        }
        self.series.push(ExpectedSeries { labels, values });
        Ok(())
    }

    /// Reads what stands behind `expect`.
    fn expect(&mut self, text: &str, is_range: bool) -> Result<(), String> {
        let (what, rest) = word(text);
        match (what, rest) {
            ("ordered", "") => self.ordered = true,
            ("no_warn", "") => self.no_warn = true,
            ("no_info", "") => self.no_info = true,
            ("fail", _) => add(&mut self.fail, rest)?,
            ("warn", _) => add(&mut self.warn, rest)?,
            ("info", _) => add(&mut self.info, rest)?,
            ("string", _) => match notation::unquote(rest)? {
                (text, "") => self.text = Some(text),
                (_, rest) => return Err(format!("expected nothing behind the text, found {rest:?}")),
            },
            ("range", _) if !is_range => match word(rest) {
                ("vector", rest) => match grid(rest)? {
                    (grid, "") => self.grid = Some(grid),
                    (_, rest) => return Err(format!("expected nothing behind the step, found {rest:?}")),
                },
                _ => return Err("expected `range vector from TIME to TIME step DURATION`".to_owned()),
            },
            _ => {
                let known = "ordered, fail, warn, no_warn, info, no_info, string or range vector";
                return Err(format!("expected {known}, found {text:?}"));
            }
        }
        Ok(())
    }

    fn add_fail(&mut self, pattern: Pattern) -> Result<(), String> {
        let fail = self.fail.as_mut();
        let fail = fail.ok_or("a message is expected of an evaluation that should not fail")?;
        fail.0.push(pattern);
        Ok(())
    }
}

/// Adds what stands behind `fail`, `warn` or `info`: nothing, `msg: TEXT` or `regex: PATTERN`.
fn add(patterns: &mut Option<Patterns>, text: &str) -> Result<(), String> {
    let patterns = patterns.get_or_insert_default();
    if let Some(text) = text.strip_prefix("msg:") {
        patterns.0.push(Pattern::Text(text.trim().to_owned()));
    } else if let Some(text) = text.strip_prefix("regex:") {
        patterns.0.push(Pattern::Regex(regex(text.trim())?));
    } else if !text.is_empty() {
        return Err(format!(
            "expected `msg: TEXT` or `regex: PATTERN`, found {text:?}"
        ));
    }
    Ok(())
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("not a regular expression: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line() {
        let check = |text: &str, line: usize, part: &str| {
            let (found, message) = commands(text).expect_err(text);
            assert!(
                found == line && message.contains(part),
                "{text}: {found}: {message}"
            );
        };
        check("lode 5m", 1, "expected load, eval or clear");
        check("clear all", 1, "expected load, eval or clear");
        check("load five", 1, "a duration such as");
        check("load 0", 1, "a duration such as");
        check("load 5m\n  a 1\n  b{ 1", 3, "expected a label");
        check(
            "load 5m\n a 1\neval instant at 0 a\n a 1",
            3,
            "a blank line must end the block",
        );
        check("eval at 5m up", 1, "`instant` or `range`");
        check("eval instant at soon up", 1, "a time such as");
        check("eval instant at 5m", 1, "the expression is missing");
        check("eval range from 0 to 5m up", 1, "expected `from TIME");
        check("eval range from 5m to 0 step 1m up", 1, "ends before it starts");
        check("eval range from 0 to 5m step 0 up", 1, "a duration such as");
        check("eval_ordered range from 0 to 5m step 1m up", 1, "have no order");
        check("eval instant up\n  a 1 2", 2, "one value a series");
        check("eval instant up\n  a 1\n  a 2", 3, "expected twice");
        check("eval instant 1\n  1\n  2", 3, "only one scalar");
        check("eval range from 0 to 1 step 1 1\n  1", 2, "has series");
        check("eval instant up\n  expect success", 2, "expected ordered, fail");
        check("eval instant up\n  expect fail because", 2, "expected `msg");
        check("eval instant up\n  expect fail regex: (", 2, "regular expression");
        check("eval instant up\n  expected_fail_message x", 2, "should not fail");
        check("eval instant up\n  expect string x", 2, "in quotes");
        check(
            "eval instant up\n  expect range from 0 to 1 step 1",
            2,
            "range vector",
        );
    }

    #[test]
    fn a_block_ends_at_a_blank_line_or_a_comment() {
        let text = "load 1m\n a 1\n b 2\n\nload 1m\n c 1\n# d\nclear\neval instant a\n a 1\n";
        let kinds: Vec<_> = commands(text)
            .expect("a script")
            .iter()
            .map(|command| match command {
                Command::Load(load) => load.series.len(),
                Command::Clear => 0,
                Command::Eval(eval) => 10 + eval.expected.series.len(),
            })
            .collect();
        assert_eq!(kinds, [2, 1, 0, 11]);
    }
}
