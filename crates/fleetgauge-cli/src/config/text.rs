//! Texts in lists and in mappings, as several sections have them.

use fleetgauge::document::{Node, Reader};
use fleetgauge_core::target::TargetLabels;

/// The texts of a list, of which there is at least one.
pub(super) fn texts<'n>(node: &'n Node, what: &str, reader: &mut Reader) -> Vec<&'n str> {
    let before = reader.problem_count();
    let nodes = reader.list(node, what);
    if nodes.is_empty() && reader.problem_count() == before {
        reader.problem(node.position(), format!("expected {what}, found none in it"));
    }
    nodes.iter().filter_map(|node| reader.text(node)).collect()
}

pub(super) fn read_labels(node: &Node, reader: &mut Reader) -> TargetLabels {
    let pairs = reader.pairs(node, "labels and values").unwrap_or_default();
    let read =
        |(_, name, value): (&Node, &str, &Node)| Some((name.to_owned(), reader.text(value)?.to_owned()));
    pairs.into_iter().filter_map(read).collect()
}
