//! YAML as JSON.

use fleetgauge::document::{Document, Node};
use serde_json::Value;

/// All documents of a text.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("\n---").map(|part| part.trim_start_matches("---"));
    let parts = parts.filter(|part| {
        part.lines()
            .any(|line| !line.trim().is_empty() && !line.starts_with('#'))
    });
    parts.map(document).collect()
}

pub(crate) fn document(text: &str) -> Value {
    let document = Document::parse("rendered", text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    value(&document, document.root())
}

fn value(document: &Document, node: &Node) -> Value {
    let mut reader = document.reader();
    if let Some(items) = node.as_list() {
        return items.iter().map(|item| value(document, item)).collect();
    }
    if node.is_text() {
        return reader.text(node).into();
    }
    if let Some(number) = node.as_number() {
        let whole = reader.verbatim(node).and_then(|text| text.parse::<i64>().ok());
        return whole.map_or_else(|| number.into(), Value::from);
    }
    if let Some(truth) = reader.bool(node) {
        return truth.into();
    }
    let pairs = reader.pairs(node, "anything");
    pairs.map_or(Value::Null, |pairs| {
        let pairs = pairs.into_iter();
        let pairs = pairs.map(|(_, name, node)| (name.to_owned(), value(document, node)));
        Value::Object(pairs.collect())
    })
}
