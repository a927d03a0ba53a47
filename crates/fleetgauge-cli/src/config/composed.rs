//! A source of queries over queries of other sources.

use std::collections::BTreeMap;

use fleetgauge::composed::{ComposedConfig, ComposedError, Input};
use fleetgauge::document::{Node, Position, Reader};
use fleetgauge::pack::read_queries;
use fleetgauge_core::query::QueryTemplate;

use super::text::read_labels;

/// Queries over queries of other sources.
pub(crate) struct ComposedSection {
    pub(crate) config: ComposedConfig,
    /// Where each input stands in the file.
    inputs: BTreeMap<String, Position>,
    /// Where the template of each query stands.
    queries: BTreeMap<String, Position>,
}

// === impl ComposedSection ===

impl ComposedSection {
    /// Where the input stands that is not in order.
    pub(super) fn place_of(&self, error: &ComposedError) -> Option<&Position> {
        let input = match error {
            ComposedError::InputName { input, .. }
            | ComposedError::DuplicateInput { input, .. }
            | ComposedError::Step { input, .. }
            | ComposedError::UnknownSource { input, .. }
            | ComposedError::UnknownQuery { input, .. } => input,
            _ => return None,
        };
        self.inputs.get(input)
    }

    /// Where the template of the query `name` stands.
    pub(super) fn place_of_query(&self, name: &str) -> Option<&Position> {
        self.queries.get(name)
    }
}

pub(super) fn read_composed(name: &str, node: &Node, reader: &mut Reader) -> Option<ComposedSection> {
    let mut fields = reader.fields(node, "composed")?;
    let mut config = ComposedConfig::new(name);
    let (mut places, mut templates) = (BTreeMap::new(), BTreeMap::new());
    let inputs = fields.require("inputs", reader);
    let inputs = inputs.and_then(|node| reader.pairs(node, "names and inputs"));
    for (key, input, node) in inputs.unwrap_or_default() {
        places.insert(input.to_owned(), key.position());
        if let Some(input) = read_input(input, node, reader) {
            config.inputs.push(input);
        }
    }
    if let Some(node) = fields.take("queries") {
        config.queries = read_queries(node, None, reader);
        for query in node.as_list().unwrap_or_default() {
            if let Some(name) = query.field("name").and_then(Node::as_text) {
                let place = query.field("template").unwrap_or(query).position();
                templates.entry(name.to_owned()).or_insert(place);
            }
        }
    }
    let ttl = fields.positive_duration("ttl", reader);
    config.default_ttl = ttl.unwrap_or(config.default_ttl);
    let timeout = fields.positive_duration("timeout", reader);
    config.query_timeout = timeout.unwrap_or(config.query_timeout);
    fields.finish(reader);
    Some(ComposedSection {
        config,
        inputs: places,
        queries: templates,
    })
}

fn read_input(name: &str, node: &Node, reader: &mut Reader) -> Option<Input> {
    let mut fields = reader.fields(node, "an input")?;
    let source = fields
        .require("source", reader)
        .and_then(|node| reader.text(node));
    let (query, promql) = (fields.take("query"), fields.take("promql"));
    let params = fields.take("params").map(|node| read_labels(node, reader));
    let optional = fields.take("optional").and_then(|node| reader.bool(node));
    let step = fields.positive_duration("step", reader);
    fields.finish(reader);
    let source = source?;
    let mut input = match (query, promql) {
        (Some(query), None) => Input::new(name, source, reader.text(query)?),
        (None, Some(promql)) => Input::own(source, QueryTemplate::promql(name, reader.text(promql)?)),
        _ => {
            let message = "an input takes either query, the name of one that its source has, or promql";
            reader.problem(node.position(), message);
            return None;
        }
    };
    for (name, value) in params.unwrap_or_default() {
        input = input.with_param(name, value);
    }
    input.is_optional = optional.unwrap_or(false);
    input.step = step.unwrap_or(input.step);
    Some(input)
}
