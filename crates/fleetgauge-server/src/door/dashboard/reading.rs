//! One reading, as it is shown.

use std::collections::HashMap;

use fleetgauge_core::completeness::{Absentee, Completeness};
use fleetgauge_core::printable::Printable;
use fleetgauge_core::reading::Status;
use fleetgauge_core::result::Answer;
use maud::{Markup, html};

use super::chart::{Point, Span, spark};
use super::page::{metric_address, targets_address};
use super::words::{Lasting, Quantity};
use crate::store::Row;

/// The numbers of readings over time, by what identifies them.
#[derive(Default)]
pub(super) struct History {
    points: HashMap<String, Vec<Point>>,
}

/// How many of those who are missing are named.
const NAMED: usize = 5;

// === impl History ===

impl History {
    /// That of an answer over a range of times.
    pub(super) fn of(answer: &Answer) -> Self {
        let series = answer.series().map(|series| {
            let points = series.points().map(|point| (point.timestamp, point.value));
            let labels = series.labels();
            (key(labels.iter()), points.collect())
        });
        Self {
            points: series.collect(),
        }
    }

    /// The numbers of a row of `metric`.
    pub(super) fn of_row(&self, metric: &str, row: Row<'_>) -> &[Point] {
        let own = row.labels().map(|(name, value)| match name {
            "metric" => ("exported_metric", value),
            "reason" => ("exported_reason", value),
            name => (name, value),
        });
        let key = key(own.chain([("metric", metric)]));
        self.points.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// What identifies a series, whatever the order of its labels.
fn key<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut labels: Vec<_> = labels.filter(|(name, _)| *name != "__name__").collect();
    labels.sort_unstable();
    let mut key = String::new();
    for (name, value) in labels {
        // No label's name has this character, and a value of another length is another one.
        key.push_str(name);
        key.push('\n');
        key.push_str(&value.len().to_string());
        key.push('\n');
        key.push_str(value);
    }
    key
}

// === what is shown ===

/// How good a reading is, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    /// Measured, of everybody.
    Whole,
    /// Measured, and somebody has not reported.
    Partial,
    /// The last good number, held.
    Held,
    /// There is none.
    Withheld,
}

impl Grade {
    pub(super) fn of(row: Row<'_>) -> Self {
        let reading = row.reading();
        let lacks = |completeness: &Completeness| completeness.missing().count() > 0;
        match reading.status() {
            Status::Withheld => Self::Withheld,
            Status::Held => Self::Held,
            _ if reading.completeness().is_some_and(|one| lacks(one)) => Self::Partial,
            _ => Self::Whole,
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Held => "held",
            Self::Withheld => "withheld",
        }
    }
}

/// The rows of a table that show one reading; `who` is what it is called there.
pub(super) fn table_row(metric: &str, who: &Markup, row: Row<'_>, history: &History, span: Span) -> Markup {
    let (reading, grade) = (row.reading(), Grade::of(row));
    html! {
        tr class=(grade.class()) {
            th scope="row" { (who) }
            td .number { (number(row)) }
            td .drawn { @if let Some(line) = spark(history.of_row(metric, row), span) { (line) } }
            td .age {
                @if let Some(age) = reading.age() {
                    @if reading.age_is_bound() { "≥ " }
                    (Lasting(age))
                }
            }
            td .pods { @if let Some(completeness) = reading.completeness() { (counted(completeness)) } }
        }
        @if let Some(why) = why(row) {
            tr class={ "why " (grade.class()) } { td colspan="5" { (why) } }
        }
    }
}

/// The head of such a table.
pub(super) fn table_head(who: &str) -> Markup {
    html! {
        thead { tr {
            th scope="col" { (who) }
            th scope="col" .number { "Now" }
            th scope="col" { "15 min" }
            th scope="col" .age { "Age" }
            th scope="col" .pods { "Pods" }
        } }
    }
}

/// The number, or what stands in its place.
pub(super) fn number(row: Row<'_>) -> Markup {
    let reading = row.reading();
    let shown = reading.value().map(|value| {
        let unit = reading.unit();
        (Quantity { value, unit }.parts(), value)
    });
    html! {
        @match shown {
            Some(((number, unit), value)) => {
                b title=(value) { (number) }
                @if !unit.is_empty() { " " small { (unit) } }
            }
            None => b .none { "no number" },
        }
    }
}

/// `3/4`, of those who were expected.
fn counted(completeness: &Completeness) -> Markup {
    html! {
        @match completeness.expected() {
            Some(expected) => { (completeness.reported()) "/" (expected) },
            None => { (completeness.reported()) "/?" },
        }
        @if completeness.starting().count() > 0 { " +" (completeness.starting().count()) " starting" }
    }
}

/// Why it is not a whole number of now, if it is not.
pub(super) fn why(row: Row<'_>) -> Option<Markup> {
    let (reading, grade) = (row.reading(), Grade::of(row));
    let reason = match row.refusal() {
        Some((code, text)) => Some((code.as_str(), text)),
        None => reading
            .reason()
            .map(|reason| (reason.code.as_str(), &*reason.text)),
    };
    let missing = reading.completeness().map(|one| one.missing());
    let missing = missing.filter(|missing| missing.count() > 0);
    // What the reason tells of them is not told again.
    let is_told = |one: &Absentee| reason.is_some_and(|(_, text)| text.contains(&*one.who));
    if reason.is_none() && missing.is_none() {
        return None;
    }
    let badge = match grade {
        Grade::Whole => "note",
        Grade::Partial => "partial",
        Grade::Held => "held",
        Grade::Withheld => "withheld",
    };
    Some(html! {
        span class={ "badge " (grade.class()) } { (badge) }
        @if let Some((code, text)) = reason {
            " " code { (code) } " " (Printable(text))
        }
        @if let Some(missing) = missing {
            @let named = missing.named();
            @let untold = named.iter().filter(|one| !is_told(one)).collect::<Vec<_>>();
            ul .missing {
                @for one in named.iter().filter(|one| is_told(one)) { li { (target_of(one)) } }
                @for one in untold.iter().take(NAMED) { li { (target_of(one)) ": " (Printable(&one.reason)) } }
                @let shown = named.len() - untold.len() + untold.len().min(NAMED);
                @let more = missing.count().saturating_sub(shown as u64);
                @if more > 0 { li { "and " (more) " more" } }
            }
        }
    })
}

/// Whoever is missing, with a link to its target.
fn target_of(one: &Absentee) -> Markup {
    let who = one.who.rsplit('/').next().unwrap_or_default();
    html! { a href=(targets_address(who)) { (Printable(&one.who)) } }
}

/// A link to the page of a metric.
pub(super) fn metric_link(name: &str) -> Markup {
    html! { a href=(metric_address(name)) { (name) } }
}
