//! The parameters that a query declares.

use fleetgauge_core::params::{ParamKind, ParamSpec};
use fleetgauge_core::printable::Excerpt;

use crate::document::{Node, Position, Reader};

/// How many parameters a query may have.
const MAX_PARAMS: usize = 100;

/// The parameters that a query declares.
pub(super) struct Declared {
    pub(super) params: Vec<(Position, ParamSpec)>,
    /// Whether the names of all of them could be read.
    pub(super) is_whole: bool,
}

// === impl Declared ===

impl Default for Declared {
    /// None, and none that could not be read.
    fn default() -> Self {
        Self {
            params: Vec::new(),
            is_whole: true,
        }
    }
}

pub(super) fn read_params(node: &Node, reader: &mut Reader) -> Declared {
    let mut declared = Declared::default();
    let nodes = reader.list(node, "a list of parameters");
    declared.is_whole = node.as_list().is_some();
    if nodes.len() > MAX_PARAMS {
        reader.problem(
            node.position(),
            format!("a query has at most {MAX_PARAMS} parameters"),
        );
    }
    for node in nodes.iter().take(MAX_PARAMS) {
        let Some((position, param)) = read_param(node, reader) else {
            declared.is_whole = false;
            continue;
        };
        let mut earlier = declared.params.iter().map(|(_, param)| param.name());
        if earlier.any(|name| name == param.name()) {
            reader.problem(
                position,
                format!("parameter {} is declared twice", Excerpt(param.name())),
            );
            continue;
        }
        declared.params.push((position, param));
    }
    declared.is_whole &= nodes.len() <= MAX_PARAMS;
    declared
}

/// `None` where its name could not be read.
fn read_param(node: &Node, reader: &mut Reader) -> Option<(Position, ParamSpec)> {
    if node.is_text() {
        let name = read_param_name(node, reader)?;
        let kind = ParamKind::default_for(&name);
        return Some((node.position(), ParamSpec::required(name, kind)));
    }
    let mut fields = reader.fields(node, "a parameter")?;
    let name_node = fields.require("name", reader);
    let name = name_node.and_then(|name| read_param_name(name, reader));
    let mut kind = name.as_deref().map_or(ParamKind::Text, ParamKind::default_for);
    if let Some(node) = fields.take("kind") {
        kind = match reader.text(node).map(str::parse) {
            Some(Ok(kind)) => kind,
            Some(Err(error)) => {
                reader.problem(node.position(), format!("{error}"));
                // It fits nearly everywhere, so that it does not look like another mistake.
                ParamKind::Text
            }
            None => ParamKind::Text,
        };
    }
    let required = fields
        .take("required")
        .is_none_or(|node| reader.bool(node).unwrap_or(true));
    fields.finish(reader);
    let name = name?;
    let param = if required {
        ParamSpec::required(name, kind)
    } else {
        ParamSpec::optional(name, kind)
    };
    Some((name_node?.position(), param))
}

/// A name that `{{.name}}` can ask for.
fn read_param_name(node: &Node, reader: &mut Reader) -> Option<String> {
    let name = reader.text(node)?;
    let first = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if first && name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Some(name.to_owned());
    }
    let message = format!(
        "{} is no parameter name: it takes letters, digits and _, and no digit first",
        Excerpt(name)
    );
    reader.problem(node.position(), message);
    None
}
