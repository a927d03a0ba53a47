//! An answer as CSV (RFC 4180): a header, then a line for each series.

use std::collections::HashMap;

use fleetgauge_core::result::Answer;

use super::table::label_names;

/// The labels, `value` and `timestamp` (seconds since the epoch). Without data there is the header alone. Labels are
/// exact, and in quotes where they hold a quote, a comma or a line break. A native histogram is a text, as in a table.
pub(crate) fn answer(answer: &Answer) -> anyhow::Result<String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    if let Some(text) = answer.text() {
        csv.write_record(["value"])?;
        csv.write_record([text])?;
        return Ok(String::from_utf8(csv.into_inner()?)?);
    }
    let names = label_names(answer);
    csv.write_record(names.iter().copied().chain(["value", "timestamp"]))?;
    for series in answer.values() {
        let (value, timestamp) = (series.sample().to_string(), series.timestamp.to_string());
        // Looked up, since there may be very many names.
        let labels: HashMap<_, _> = series.labels.iter().collect();
        let labels = names
            .iter()
            .map(|name| labels.get(name).copied().unwrap_or_default());
        csv.write_record(labels.chain([&*value, &*timestamp]))?;
    }
    Ok(String::from_utf8(csv.into_inner()?)?)
}
