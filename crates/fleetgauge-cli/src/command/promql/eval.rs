//! `fleetgauge promql eval`: an expression over the samples of an exposition.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{anyhow, bail};
use fleetgauge_core::printable::Printable;
use fleetgauge_core::result::Answer;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig, EvalError, Features};
use fleetgauge_promql::exposition::{Cut, Event, Format, Limits, Parser, Report};
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::Sample;
use fleetgauge_promql::store::MemoryStore;

use crate::cli::{ExpositionFormat, OutputFormat, PromqlEval};
use crate::command::render;
use crate::failure::Usage;
use crate::input;
use crate::output::{self, api, json, table};

use super::features::features;

/// What a file says: samples, and those that say no time.
struct Page {
    dated: Vec<(LabelSet, Sample)>,
    undated: Vec<(LabelSet, f64)>,
    /// What may be missing. Said already, as the evaluation may fail.
    warnings: Vec<String>,
}

/// A page of this length takes some times as much memory.
const MAX_BYTES: u64 = 1 << 30;
/// As long as the file itself: whoever names it wants it read.
const MAX_SAMPLES: usize = 100_000_000;

pub(super) fn run(args: &PromqlEval) -> anyhow::Result<()> {
    if let (Some(start), Some(end)) = (args.start, args.end)
        && end < start
    {
        bail!(Usage("--end is before --start".to_owned()));
    }
    let features = features(Features::default(), &args.features)?;
    let engine = Engine::new(
        EngineConfig::default()
            .with_features(features)
            .with_histograms(true),
    );
    // What is wrong with the expression shows before a large file is read.
    engine
        .parse(&args.expr)
        .map_err(|error| unparsed(args, &error.into()))?;
    let mut page = read(&args.file, args.format)?;
    let warnings = std::mem::take(&mut page.warnings);
    let newest = page.dated.iter().map(|(_, sample)| sample.timestamp).max();
    let at = args
        .time
        .or(args.start)
        .or(newest)
        .unwrap_or_else(|| SystemTime::now().into());
    let store = page.into_store(at)?;
    let answer = match (args.start, args.end, args.step) {
        (Some(start), Some(end), Some(step)) => engine.range(&store, &args.expr, start, end, step),
        _ => engine.instant(&store, &args.expr, at),
    };
    let answer = answer.map_err(|error| unparsed(args, &error))?.answer;
    let is_whole = warnings.is_empty();
    print(&answer, &warnings, args.output)?;
    if !is_whole {
        let name = args.file.to_string_lossy();
        bail!(
            "{}: not all of it can be read, so the answer may lack samples",
            Printable(&name)
        );
    }
    Ok(())
}

/// What is earlier is hardly a time that somebody measured.
const EARLY: Timestamp = Timestamp::from_millis(31 * 24 * 3_600_000);

/// Reads a file. Bad lines cost themselves alone, save that a histogram needs all of its buckets, and are told.
fn read(path: &Path, args_format: Option<ExpositionFormat>) -> anyhow::Result<Page> {
    let name = path.to_string_lossy();
    let name = Printable(&name);
    let body = input::read(path, MAX_BYTES)?;
    let limits = Limits::default()
        .with_body_bytes(usize::MAX)
        .with_samples(MAX_SAMPLES);
    let mut parser = Parser::new().with_limits(limits);
    let format = match args_format {
        Some(ExpositionFormat::Text) => Format::Text,
        Some(ExpositionFormat::Openmetrics) => Format::OpenMetrics,
        None => format_of(&body).map_err(|why| anyhow!("{name}: {why}"))?,
    };
    let mut reader = parser.page(format, &body);
    let mut page = Page {
        dated: Vec::new(),
        undated: Vec::new(),
        warnings: Vec::new(),
    };
    while let Some(event) = reader.next() {
        let Event::Sample(sample) = event else { continue };
        let Some(labels) = reader.labels() else { continue };
        let labels = sample
            .kept(labels)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .chain([("__name__".to_owned(), sample.name().to_owned())]);
        let labels = LabelSet::from_pairs(labels);
        match sample.timestamp {
            Some(millis) => page.dated.push((
                labels,
                Sample {
                    timestamp: Timestamp::from_millis(millis),
                    value: sample.value,
                },
            )),
            None => page.undated.push((labels, sample.value)),
        }
    }
    let report = reader.finish();
    if let Some(cut) = report.cut {
        let advice = match cut {
            Cut::UnfinishedLine => "; if the file is whole, end it with one",
            _ => "",
        };
        bail!("{name} was not read to its end: {cut}{advice}");
    }
    page.leave_out(&report);
    for warning in &mut page.warnings {
        *warning = format!("{name}: {warning}");
        output::note(&format!("warning: {warning}"));
    }
    let is_guessed = args_format.is_none() && format == Format::Text;
    let is_early = |(_, sample): &(LabelSet, Sample)| sample.timestamp < EARLY;
    if is_guessed && !page.dated.is_empty() && page.dated.iter().all(is_early) {
        let what = "its times, read as milliseconds, are all of January 1970; if they are seconds, it is OpenMetrics";
        output::note(&format!("warning: {name}: {what} (--format)"));
    }
    if report.samples == 0 && report.errors > 0 {
        bail!("{name}: no line of it is a sample that can be read");
    }
    if report.samples == 0 {
        output::note(&format!("warning: {name}: there are no samples in it"));
    }
    Ok(page)
}

/// Only OpenMetrics has an end mark, and must. Without it a file is in the text format, whose times are of another
/// unit: where it may be the beginning of OpenMetrics, nothing is guessed.
fn format_of(body: &[u8]) -> Result<Format, String> {
    if body.trim_ascii_end().ends_with(b"# EOF") {
        return Ok(Format::OpenMetrics);
    }
    let advice = "say which it is with --format text or --format openmetrics";
    let (lines, mut counter) = (body.split(|&byte| byte == b'\n'), None);
    for (line, number) in lines.zip(1..) {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        // Of an exemplar, which the text format may have here, the time says nothing.
        let sample = line.split(" # ").next().unwrap_or_default();
        let sign = match *sample.split_ascii_whitespace().collect::<Vec<_>>() {
            ["#", "UNIT", ..] => "a unit",
            ["#", "TYPE", _, "unknown" | "info" | "stateset" | "gaugehistogram"] => "a type",
            ["#", "TYPE", family, kind] => {
                counter = (kind == "counter").then_some(family);
                continue;
            }
            ["#", ..] | [] => continue,
            _ if is_suffixed(name, counter) => "a counter whose samples have a suffix that its type lacks",
            [_, .., value, time] if value.parse::<f64>().is_ok() && is_in_seconds(time) => {
                "a time in seconds"
            }
            _ => continue,
        };
        return Err(format!(
            "line {number} has {sign}, as only OpenMetrics has it, but there is no # EOF at the end: the file may be \
             cut; {advice}"
        ));
    }
    Ok(Format::Text)
}

fn is_suffixed(name: &str, counter: Option<&str>) -> bool {
    let suffix = counter.and_then(|family| name.strip_prefix(family));
    matches!(suffix, Some("_total" | "_created"))
}

/// Whether a timestamp is one of this century in seconds; in milliseconds it would be of early 1970.
fn is_in_seconds(time: &str) -> bool {
    time.parse().is_ok_and(|time: f64| (9.4e8..4.2e9).contains(&time))
}

// === impl Page ===

impl Page {
    /// Says what was lost, and leaves out the buckets of histograms of which others may be: quantiles over the rest
    /// would be wrong, and not only less exact.
    fn leave_out(&mut self, report: &Report) {
        let errors = report.first_errors.iter().map(ToString::to_string);
        self.warnings.extend(errors);
        let untold = report.errors - report.first_errors.len();
        if untold > 0 {
            self.warnings.push(format!("{untold} more lines are bad"));
        }
        let mut histograms = BTreeSet::new();
        let mut is_kept = |labels: &LabelSet| {
            let is_torn = labels.get("le").is_some() && report.lost.may_include(labels.metric_name());
            if is_torn && !histograms.contains(labels.metric_name()) {
                histograms.insert(labels.metric_name().to_owned());
            }
            !is_torn
        };
        self.dated.retain(|(labels, _)| is_kept(labels));
        self.undated.retain(|(labels, _)| is_kept(labels));
        self.warnings.extend(
            histograms
                .iter()
                .map(|histogram| format!("{histogram} is left out, as some of its buckets may be missing")),
        );
    }

    /// The samples in a store; those without a time are taken at `at`.
    fn into_store(self, at: Timestamp) -> anyhow::Result<MemoryStore> {
        let mut store = MemoryStore::new();
        for (labels, sample) in &self.dated {
            store.append(labels, *sample)?;
        }
        for (labels, value) in self.undated {
            let sample = Sample { timestamp: at, value };
            store.append(&labels, sample)?;
        }
        Ok(store)
    }
}

/// A fault of the expression is shown where it is.
fn unparsed(args: &PromqlEval, error: &EvalError) -> anyhow::Error {
    match error {
        EvalError::Parse(error) => render::pointing_in(
            "expression",
            &args.expr,
            error.line(),
            error.column(),
            error.message(),
        ),
        error => anyhow!("{error}"),
    }
}

/// `warnings` are those of the file, which were said before.
fn print(answer: &Answer, warnings: &[String], format: OutputFormat) -> anyhow::Result<()> {
    for warning in answer.warnings() {
        output::note(&format!("warning: {warning}"));
    }
    for info in answer.infos() {
        output::note(&format!("info: {info}"));
    }
    match format {
        OutputFormat::Table => output::print_line(&table::evaluated(answer)),
        OutputFormat::Json => output::print(&json::to_line(&api::Data::new(answer, warnings))?),
    }
}
