//! The field `relabel_configs` of a scraped source.

use fleetgauge::document::{Node, Reader};
use fleetgauge::scrape::{RelabelConfig, Relabeling};

pub(super) fn read_relabeling(node: &Node, reader: &mut Reader) -> Relabeling {
    let nodes = reader.list(node, "a list of rules");
    let rule = |node| {
        let known = reader.problem_count();
        let rule = read_rule(node, reader);
        // What cannot be read is told as that, and not as what is missing then.
        rule.filter(|_| reader.problem_count() == known)
    };
    let rules: Vec<_> = nodes.iter().map(rule).collect();
    // Each by itself, so that every mistake is told.
    for (node, rule) in nodes.iter().zip(&rules) {
        if let Err((_, error)) = Relabeling::new(rule) {
            reader.problem(node.position(), error.to_string());
        }
    }
    Relabeling::new(rules.iter().flatten()).unwrap_or_default()
}

fn read_rule(node: &Node, reader: &mut Reader) -> Option<RelabelConfig> {
    let mut fields = reader.fields(node, "a rule of relabel_configs")?;
    let mut rule = RelabelConfig::default();
    if let Some(node) = fields.take("source_labels") {
        let labels = reader.list(node, "a list of label names").iter();
        let labels = labels.filter_map(|node| reader.text(node));
        rule.source_labels = labels.map(str::to_owned).collect();
    }
    let modulus = fields.take("modulus");
    rule.modulus = modulus.and_then(|node| reader.count(node));
    let mut text = |name| {
        let node = fields.take(name)?;
        reader.text(node).map(str::to_owned)
    };
    rule.separator = text("separator");
    rule.regex = text("regex");
    rule.target_label = text("target_label");
    rule.replacement = text("replacement");
    rule.action = text("action");
    fields.finish(reader);
    Some(rule)
}
