//! Tables without lines: columns that people read, and that `awk` can take apart.

use std::borrow::Cow;
use std::collections::BTreeSet;

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Row, Table, presets};
use fleetgauge_core::result::Answer;
use fleetgauge_core::sample::Number;

/// A table with a header. On a terminal the header is bold, and long cells are wrapped to the window.
pub(crate) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(
        header
            .iter()
            .map(|title| Cell::new(title).add_attribute(Attribute::Bold)),
    );
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

/// An answer: a column for each label, the value last.
pub(crate) fn answer(answer: &Answer, unit: &str) -> String {
    if let Some(text) = answer.text() {
        return format!("{text}\n");
    }
    if answer.is_no_data() {
        return "no data\n".to_owned();
    }
    let names = label_names(answer);
    let value = if unit.is_empty() {
        "value".to_owned()
    } else {
        format!("value ({unit})")
    };
    let header: Vec<_> = names.iter().copied().chain([&*value]).collect();
    let mut table = new(&header);
    // Wrapping would break names that people copy.
    table.set_content_arrangement(ContentArrangement::Disabled);
    for series in answer.values() {
        let mut row = Row::from(names.iter().map(|name| printable(series.label(name))));
        row.add_cell(Cell::new(Number(series.value)));
        table.add_row(row);
    }
    align_right(&mut table, names.len());
    render(&mut table)
}

/// The text with control characters escaped: a label may hold anything, a row is one line, and a terminal obeys.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Aligns a column of numbers.
pub(crate) fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// The names of all labels in the answer: the metric's name and the place first, then by the alphabet.
pub(crate) fn label_names(answer: &Answer) -> Vec<&str> {
    const FIRST: [&str; 3] = ["__name__", "namespace", "pod"];
    let names: BTreeSet<_> = answer
        .values()
        .flat_map(|series| series.labels.iter())
        .map(|(name, _)| name)
        .collect();
    let first = FIRST.into_iter().filter(|name| names.contains(name));
    let rest = names.iter().copied().filter(|name| !FIRST.contains(name));
    first.chain(rest).collect()
}
