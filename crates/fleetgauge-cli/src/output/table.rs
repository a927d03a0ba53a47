//! Tables without lines: columns that people read, and that `awk` can take apart.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Row, Table, presets};
use fleetgauge_core::age::{Age, AgeKind};
use fleetgauge_core::label::Labels;
use fleetgauge_core::printable::Printable;
use fleetgauge_core::result::{Answer, AnswerKind, Provenance};
use fleetgauge_core::sample::Number;

use super::json;
use crate::scraped::{SampleLine, Scraped};

/// A table with a header. On a terminal long cells are wrapped to the window.
pub(crate) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|title| text(title)));
    table
}

/// Lays the table out. The first column starts at the margin, two blanks separate the columns, and no line
/// ends in blanks.
pub(crate) fn render(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// An answer: a column for each label, the value last. Its rows are sorted by labels, unless their order means something.
pub(crate) fn answer(answer: &Answer, unit: &str, is_ordered: bool) -> String {
    if let Some(text) = answer.text() {
        return format!("{}\n", Printable(text));
    }
    if answer.is_no_data() {
        return "no data\n".to_owned();
    }
    let columns = Columns::of(label_names(answer));
    let value = if unit.is_empty() {
        "value".to_owned()
    } else {
        format!("value ({unit})")
    };
    let has_ages = answer.provenance().is_some_and(Provenance::has_ages);
    let age = has_ages.then_some("age");
    let header: Vec<_> = columns
        .titles()
        .iter()
        .copied()
        .chain([&*value])
        .chain(age)
        .collect();
    let mut table = new(&header);
    // Wrapping would break names that people copy.
    table.set_content_arrangement(ContentArrangement::Disabled);
    let mut rows: Vec<_> = answer.values().enumerate().collect();
    if !is_ordered {
        rows.sort_by_cached_key(|(_, series)| columns.key(series.labels));
    }
    for (at, series) in rows {
        let mut row = Row::from(columns.cells(series.labels.iter()));
        row.add_cell(Cell::new(shortened(series.sample())));
        if has_ages {
            row.add_cell(Cell::new(age_of(json::age(answer, at))));
        }
        table.add_row(row);
    }
    align_right(&mut table, columns.titles().len());
    if has_ages {
        align_right(&mut table, columns.titles().len() + 1);
    }
    render(&mut table)
}

/// `4s`, `≤ 4s` where it is that at most, `?` where nothing is known of it; `ended` where the series behind it has stopped.
pub(crate) fn age_of(age: Age) -> String {
    let sign = match age.kind() {
        AgeKind::AtMost => "≤ ",
        AgeKind::AtLeast => "≥ ",
        AgeKind::Around => "~ ",
        _ => "",
    };
    let length = match (age.duration(), age.kind()) {
        (Some(length), _) => format!("{sign}{}", printed_duration(length)),
        (None, AgeKind::Ageless) => "-".to_owned(),
        (None, _) => "?".to_owned(),
    };
    let ended = if age.is_ended() { ", ended" } else { "" };
    format!("{length}{ended}")
}

/// In whole milliseconds below a second, in tenths of seconds below ten, as `1m30s` above.
fn printed_duration(length: Duration) -> String {
    match length.as_millis() {
        millis @ 0..1_000 => format!("{millis}ms"),
        millis @ 1_000..10_000 => format!("{:.1}s", millis as f64 / 1000.0),
        _ => {
            let seconds = length.as_secs();
            let parts = [
                (seconds / 3600, "h"),
                (seconds / 60 % 60, "m"),
                (seconds % 60, "s"),
            ];
            let told = parts.iter().filter(|(count, _)| *count > 0);
            told.map(|(count, unit)| format!("{count}{unit}")).collect()
        }
    }
}

/// How labels are laid out.
pub(super) enum Columns<'a> {
    /// Each in a column of its own.
    Each(Vec<&'a str>),
    /// All in one: nobody reads hundreds of columns, and laying them out takes for ever.
    One,
}

/// So many columns of labels there are at most.
const MAX_COLUMNS: usize = 50;

impl<'a> Columns<'a> {
    pub(super) fn of(names: Vec<&'a str>) -> Self {
        if names.len() > MAX_COLUMNS {
            Self::One
        } else {
            Self::Each(names)
        }
    }

    pub(super) fn titles(&self) -> &[&'a str] {
        match self {
            Self::Each(names) => names,
            Self::One => &["labels"],
        }
    }

    /// What rows are sorted by.
    pub(super) fn key<'l>(&self, labels: Labels<'l>) -> Vec<(&'l str, &'l str)> {
        match self {
            Self::Each(names) => {
                let value = |name: &&str| ("", labels.get(name).unwrap_or_default());
                names.iter().map(value).collect()
            }
            Self::One => labels.iter().collect(),
        }
    }

    pub(super) fn cells<'l>(&self, labels: impl Iterator<Item = (&'l str, &'l str)>) -> Vec<Cell> {
        match self {
            Self::Each(names) => {
                let labels: HashMap<_, _> = labels.collect();
                let value = |name: &&str| text(labels.get(name).copied().unwrap_or_default());
                names.iter().map(value).collect()
            }
            Self::One => vec![Cell::new(in_one(labels))],
        }
    }
}

/// Labels in one cell.
fn in_one<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>) -> String {
    let labels: Vec<_> = labels
        .map(|(name, value)| format!("{}={value:?}", Printable(name)))
        .collect();
    labels.join(",")
}

/// What targets expose: a table each, under its URL where there are several. Labels come last: they are long.
pub(crate) fn scraped(targets: &[Scraped]) -> String {
    let mut text = String::new();
    for target in targets {
        if target.error.is_some() && target.samples.is_empty() {
            continue;
        }
        if targets.len() > 1 {
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{}\n", Printable(&target.url)));
        }
        text.push_str(&samples(&target.samples));
    }
    text
}

fn samples(samples: &[SampleLine]) -> String {
    if samples.is_empty() {
        return "no data\n".to_owned();
    }
    let dated = samples.iter().any(|sample| sample.timestamp.is_some());
    let header = if dated {
        &["metric", "value", "timestamp", "labels"][..]
    } else {
        &["metric", "value", "labels"]
    };
    let mut table = new(header);
    table.set_content_arrangement(ContentArrangement::Disabled);
    for sample in samples {
        let mut row = Row::from([text(&sample.name), Cell::new(Number(sample.value))]);
        if dated {
            let timestamp = sample.timestamp.map(|timestamp| timestamp.to_string());
            row.add_cell(Cell::new(timestamp.unwrap_or_default()));
        }
        let labels = sample.labels.iter().map(|(name, value)| (&**name, &**value));
        row.add_cell(Cell::new(in_one(labels)));
        table.add_row(row);
    }
    align_right(&mut table, 1);
    render(&mut table)
}

/// An evaluated expression: a column for each label, the value last; the time before it where a series has
/// several samples.
pub(crate) fn evaluated(answer: &Answer) -> String {
    if let Some(text) = answer.text() {
        return format!("{}\n", Printable(text));
    }
    if answer.is_empty() {
        return "no data\n".to_owned();
    }
    if answer.kind() == AnswerKind::Scalar {
        return answer
            .values()
            .map(|one| format!("{}\n", Number(one.value)))
            .collect();
    }
    let is_matrix = answer.kind() == AnswerKind::Matrix;
    let columns = Columns::of(sorted_names(
        answer.series().flat_map(|series| series.labels().iter()),
    ));
    let time = is_matrix.then_some("time");
    let header: Vec<_> = columns
        .titles()
        .iter()
        .copied()
        .chain(time)
        .chain(["value"])
        .collect();
    let mut table = new(&header);
    table.set_content_arrangement(ContentArrangement::Disabled);
    for one in answer.values() {
        let mut row = Row::from(columns.cells(one.labels.iter()));
        if is_matrix {
            row.add_cell(Cell::new(one.timestamp));
        }
        row.add_cell(Cell::new(shortened(one.sample())));
        table.add_row(row);
    }
    for column in columns.titles().len()..header.len() {
        align_right(&mut table, column);
    }
    render(&mut table)
}

/// So much is shown of a sample, which may be a native histogram with hundreds of buckets; the JSON has it whole. *Unit*:
/// characters.
const MAX_SAMPLE: usize = 80;

fn shortened(sample: impl fmt::Display) -> String {
    let mut text = sample.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_SAMPLE) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A cell of text that may come from elsewhere: a row is one line, and a terminal obeys some characters.
pub(crate) fn text(text: &str) -> Cell {
    Cell::new(Printable(text))
}

/// Aligns a column of numbers.
pub(crate) fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// The names of all labels in the answer.
pub(crate) fn label_names(answer: &Answer) -> Vec<&str> {
    sorted_names(answer.values().flat_map(|series| series.labels.iter()))
}

/// The names of labels: the metric's name and the place first, then by the alphabet.
pub(super) fn sorted_names<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<&'a str> {
    const FIRST: [&str; 3] = ["__name__", "namespace", "pod"];
    let names: BTreeSet<_> = labels.map(|(name, _)| name).collect();
    let first = FIRST.into_iter().filter(|name| names.contains(name));
    let rest = names.iter().copied().filter(|name| !FIRST.contains(name));
    first.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_sample_no_more_is_shown_than_fits_a_line() {
        assert_eq!(shortened("-1.7976931348623157e+308"), "-1.7976931348623157e+308");
        assert_eq!(shortened("é".repeat(80)), "é".repeat(80));
        assert_eq!(shortened("é".repeat(81)), "é".repeat(80) + "…");
    }
}
