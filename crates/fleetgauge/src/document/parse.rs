//! From YAML's events to a tree.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle, options};

use super::node::{Kind, Node, Scalar, Style};
use super::problem::Position;

/// How many nodes a document may unfold to: far more than any real one, few enough that nested aliases
/// cannot fill the memory.
const MAX_NODES: usize = 1_000_000;
const MAX_DEPTH: usize = 64;

type Failure = (Position, String);

/// A list or mapping whose end has not been seen.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<Node>,
}

#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

pub(super) fn parse(text: &str) -> Result<Node, Failure> {
    let limits = options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut tree = Tree::default();
    for event in Parser::new_from_str_with_options(text, limits) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            let position = Position {
                line: mark.line(),
                column: mark.col() + 1,
            };
            // The parser's message ends with the place, which we print before it.
            let message = error.to_string();
            let message = message.split(" at char ").next().unwrap_or_default();
            (
                position,
                format!("not valid YAML: {message}{}", quoting_hint(text, position.line)),
            )
        })?;
        tree.event(event, span)?;
    }
    let empty = || (Position { line: 1, column: 1 }, "the file is empty".to_owned());
    tree.root.ok_or_else(empty)
}

/// The usual reason for broken YAML in our files: a placeholder at the start of an unquoted value.
fn quoting_hint(text: &str, line: usize) -> &'static str {
    let line = text.lines().nth(line - 1).unwrap_or_default();
    match line.split_once(": ") {
        Some((_, value)) if value.trim_start().starts_with("{{") => {
            "; a value that begins with {{ must be quoted: '{{…}}'"
        }
        _ => "",
    }
}

impl Tree {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Failure> {
        let position = Position {
            line: span.start.line(),
            column: span.start.col() + 1,
        };
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err((
                position,
                "a second document in one file; put it into a file of its own".to_owned(),
            )),
            Event::Scalar(text, style, anchor, tag) => {
                let style = match style {
                    ScalarStyle::Plain if tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str")) => {
                        Style::Quoted
                    }
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                };
                let source = span.byte_range().unwrap_or_default();
                let scalar = Scalar {
                    text: text.into_owned(),
                    style,
                    source,
                };
                self.add(
                    Node {
                        position,
                        kind: Kind::Scalar(scalar),
                    },
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(
                    Node {
                        position,
                        kind: Kind::List(Vec::new()),
                    },
                    anchor,
                );
                Ok(())
            }
            Event::MappingStart(style, anchor, _) => {
                let flow = style == StructureStyle::Flow;
                self.open(
                    Node {
                        position,
                        kind: Kind::Map {
                            entries: Vec::new(),
                            flow,
                        },
                    },
                    anchor,
                );
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.add(node, anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.add(node, 0),
                None => Err((position, "an alias inside the node that it names".to_owned())),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, node: Node, anchor: usize) {
        self.open.push(Open {
            node,
            anchor,
            key: None,
        });
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Failure> {
        self.nodes += node.count();
        if self.nodes > MAX_NODES {
            return Err((
                node.position,
                format!("the document unfolds to more than {MAX_NODES} nodes"),
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(open) => match &mut open.node.kind {
                Kind::List(items) => items.push(node),
                Kind::Map { entries, .. } => match open.key.take() {
                    Some(key) => entries.push((key, node)),
                    None => open.key = Some(node),
                },
                Kind::Scalar(_) => {}
            },
        }
        Ok(())
    }
}

impl Node {
    /// This node and all below it. Only what was not counted when it was added: the nodes inside a
    /// collection count again when it closes, which the bound has room for.
    fn count(&self) -> usize {
        match &self.kind {
            Kind::Scalar(_) => 1,
            Kind::List(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            Kind::Map { entries, .. } => {
                1 + entries
                    .iter()
                    .map(|(key, value)| key.count() + value.count())
                    .sum::<usize>()
            }
        }
    }
}
