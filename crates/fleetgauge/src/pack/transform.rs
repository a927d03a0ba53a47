//! What a query does with its answers, and how it folds, as it stands in a file.

use std::fmt;

use fleetgauge_core::policy::Fold;
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::{Folds, QueryName};
use fleetgauge_core::similar::similar;
use fleetgauge_core::transform::{LabelChange, TransformStep, VariantFold};

use crate::document::{Node, Reader};
use crate::transform;

/// How many steps a query may have.
const MAX_STEPS: usize = 20;

const STEPS: [&str; 4] = ["promql", "label_to_value", "labels", "by_variant"];
const CHANGES: [&str; 3] = ["keep", "drop", "rename"];
const FOLDS: [&str; 5] = ["sum", "max", "min", "mean", "weighted_by"];

/// A name that is not one of those known, and the one that was likely meant.
pub(super) struct Unknown<'a> {
    pub(super) what: &'a str,
    pub(super) name: &'a str,
    pub(super) known: &'a [&'a str],
}

// === impl Unknown ===

impl fmt::Display for Unknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, known } = self;
        write!(f, "unknown {what} {}", Excerpt(name))?;
        match similar(name, known.iter().copied()) {
            Some(similar) => write!(f, "; did you mean {similar:?}?"),
            None => write!(f, "; {} are known", known.join(", ")),
        }
    }
}

/// The steps of `transform:`.
pub(super) fn read_transform(node: &Node, reader: &mut Reader) -> Vec<TransformStep> {
    let nodes = reader.list(node, "a list of steps");
    if nodes.len() > MAX_STEPS {
        reader.problem(node.position(), format!("a query has at most {MAX_STEPS} steps"));
    }
    let steps = nodes.iter().take(MAX_STEPS);
    steps.filter_map(|step| read_step(step, reader)).collect()
}

fn read_step(node: &Node, reader: &mut Reader) -> Option<TransformStep> {
    let (key, name, value) = one_field(node, "a step", &STEPS, reader)?;
    match name {
        "promql" => {
            let text = reader.text(value)?;
            match transform::promql(text) {
                Ok(step) => Some(step),
                Err(error) => {
                    reader.problem_within(value, error.line(), error.column(), error.message());
                    None
                }
            }
        }
        "label_to_value" => read_label(value, reader).map(TransformStep::LabelToValue),
        "labels" => read_labels(value, reader).map(TransformStep::Labels),
        "by_variant" => read_variant_fold(value, reader).map(TransformStep::ByVariant),
        _ => {
            let what = "step";
            let unknown = Unknown {
                what,
                name,
                known: &STEPS,
            };
            reader.problem(key.position(), unknown.to_string());
            None
        }
    }
}

/// The only field of a mapping; what is not one is a problem.
fn one_field<'n>(
    node: &'n Node,
    what: &str,
    known: &[&str],
    reader: &mut Reader,
) -> Option<(&'n Node, &'n str, &'n Node)> {
    let pairs = reader.pairs(node, what)?;
    match *pairs {
        [pair] => Some(pair),
        _ => {
            let message = format!("{what} has one field, one of {}", known.join(", "));
            reader.problem(node.position(), message);
            None
        }
    }
}

fn read_labels(node: &Node, reader: &mut Reader) -> Option<LabelChange> {
    let (key, name, value) = one_field(node, "a change of labels", &CHANGES, reader)?;
    match name {
        "keep" => read_names(value, reader).map(LabelChange::Keep),
        "drop" => read_names(value, reader).map(LabelChange::Drop),
        "rename" => {
            let pairs = reader.pairs(value, "labels to be renamed")?;
            let mut renamed = Vec::with_capacity(pairs.len());
            for (from, _, to) in pairs {
                renamed.push((read_label(from, reader)?, read_label(to, reader)?));
            }
            if renamed.is_empty() {
                reader.problem(value.position(), "rename must name at least one label");
            }
            Some(LabelChange::Rename(renamed))
        }
        _ => {
            let what = "change of labels";
            let unknown = Unknown {
                what,
                name,
                known: &CHANGES,
            };
            reader.problem(key.position(), unknown.to_string());
            None
        }
    }
}

fn read_names(node: &Node, reader: &mut Reader) -> Option<Vec<String>> {
    let nodes = reader.list(node, "a list of labels");
    nodes.iter().map(|name| read_label(name, reader)).collect()
}

fn read_label(node: &Node, reader: &mut Reader) -> Option<String> {
    let name = reader.text(node)?;
    if !name.is_empty() && name.len() <= 200 {
        return Some(name.to_owned());
    }
    reader.problem(node.position(), "a label's name has 1 to 200 bytes");
    None
}

fn read_variant_fold(node: &Node, reader: &mut Reader) -> Option<VariantFold> {
    if node.is_text() {
        return read_fold(node, &FOLDS, reader).map(VariantFold::By);
    }
    let (key, name, value) = one_field(node, "how pods become one", &FOLDS[4..], reader)?;
    if name != "weighted_by" {
        let what = "field";
        let unknown = Unknown {
            what,
            name,
            known: &FOLDS[4..],
        };
        reader.problem(key.position(), unknown.to_string());
        return None;
    }
    let query = reader.text(value)?;
    match query.parse::<QueryName>() {
        Ok(_) => Some(VariantFold::WeightedBy(query.to_owned())),
        Err(error) => {
            reader.problem(value.position(), error.to_string());
            None
        }
    }
}

fn read_fold(node: &Node, known: &[&str], reader: &mut Reader) -> Option<Fold> {
    let name = reader.text(node)?;
    let fold = name.parse().ok();
    if fold.is_none() {
        let message = match name {
            "weighted_by" => "weighted_by takes the name of a query: {weighted_by: QUERY}".to_owned(),
            _ => Unknown {
                what: "fold",
                name,
                known,
            }
            .to_string(),
        };
        reader.problem(node.position(), message);
    }
    fold
}

/// How a query folds: `fold:`.
pub(super) fn read_folds(node: &Node, reader: &mut Reader) -> Option<Folds> {
    let mut fields = reader.fields(node, "how a query folds")?;
    let known = &FOLDS[..4];
    let pod = fields
        .require("pod", reader)
        .and_then(|node| read_fold(node, known, reader));
    let variant = fields.require("variant", reader);
    let variant = variant.and_then(|node| read_fold(node, known, reader));
    fields.finish(reader);
    Some(Folds::new(pod?, variant?))
}
