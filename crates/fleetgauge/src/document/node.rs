//! The tree that a file is read into: what stands where, and how it was written.

use std::ops::Range;

use super::problem::Position;

/// A part of a document: a scalar, a list or a mapping.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) position: Position,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map { entries: Vec<(Node, Node)>, flow: bool },
}

#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) style: Style,
    /// The bytes of the document that the scalar was written with.
    pub(super) source: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: may be a number, a truth value or null.
    Plain,
    /// Quoted, or tagged as a string.
    Quoted,
    /// A block scalar that keeps its lines (`|`).
    Literal,
    /// A block scalar that joins its lines (`>`).
    Folded,
}

// === impl Node ===

impl Node {
    /// Where the node begins.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The entries, if the node is a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    /// Whether the node is a text: a scalar that is not a number, a truth value or null.
    pub fn is_text(&self) -> bool {
        self.as_text().is_some()
    }

    /// The text, if the node is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.meaning() == Meaning::Text => Some(&scalar.text),
            _ => None,
        }
    }

    /// The number, if the node is one.
    pub fn as_number(&self) -> Option<f64> {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.meaning() == Meaning::Number => scalar.text.parse().ok(),
            _ => None,
        }
    }

    /// The field `name`, if the node has it.
    pub fn field(&self, name: &str) -> Option<&Node> {
        let Kind::Map { entries, .. } = &self.kind else {
            return None;
        };
        let is_it = |key: &Node| matches!(&key.kind, Kind::Scalar(key) if key.text == name);
        let found = entries.iter().find(|(key, _)| is_it(key));
        found.map(|(_, value)| value)
    }

    /// Whether the node has the field `name`.
    pub fn has_field(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// What it says, whatever its place and layout: two nodes that say the same have the same content.
    pub fn content(&self) -> String {
        let mut content = String::new();
        self.write_content(&mut content);
        content
    }

    fn write_content(&self, into: &mut String) {
        match &self.kind {
            Kind::Scalar(scalar) => {
                let quoted = if scalar.meaning() == Meaning::Text {
                    "'"
                } else {
                    ""
                };
                into.push_str(quoted);
                into.push_str(&format!("{:?}", scalar.text));
            }
            Kind::List(items) => {
                into.push('[');
                for item in items {
                    item.write_content(into);
                    into.push(',');
                }
                into.push(']');
            }
            Kind::Map { entries, .. } => {
                into.push('{');
                for (key, value) in entries {
                    key.write_content(into);
                    into.push(':');
                    value.write_content(into);
                    into.push(',');
                }
                into.push('}');
            }
        }
    }

    /// Where the character at `line` and `column` of a text stands in the document `source`, if the text was
    /// written in a way that keeps places.
    pub(super) fn position_within(&self, source: &str, line: usize, column: usize) -> Option<Position> {
        let Kind::Scalar(scalar) = &self.kind else {
            return None;
        };
        let text = scalar.text.lines().nth(line - 1).unwrap_or_default();
        if scalar.style == Style::Literal {
            // The span starts at the first line that is not blank; blank lines before it are in the text.
            let blank = scalar
                .text
                .lines()
                .take_while(|line| line.trim().is_empty())
                .count();
            let line = (self.position.line + line).checked_sub(1 + blank)?;
            let written = source.lines().nth(line - 1)?;
            let indent = written.strip_suffix(text)?.chars().count();
            return Some(Position {
                line,
                column: indent + column,
            });
        }
        let before = source.get(scalar.source.clone())?.split_once(&scalar.text)?.0;
        (line == 1 && !before.contains('\n') && !scalar.text.contains('\n')).then(|| Position {
            line: self.position.line,
            column: self.position.column + before.chars().count() + column - 1,
        })
    }
}

// === impl Scalar ===

/// What a scalar means by YAML's core schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Null,
    Bool(bool),
    Number,
    Text,
}

impl Scalar {
    pub(super) fn meaning(&self) -> Meaning {
        if self.style != Style::Plain {
            return Meaning::Text;
        }
        match &*self.text {
            "" | "~" | "null" | "Null" | "NULL" => Meaning::Null,
            "true" | "True" | "TRUE" => Meaning::Bool(true),
            "false" | "False" | "FALSE" => Meaning::Bool(false),
            text if is_number(text) => Meaning::Number,
            _ => Meaning::Text,
        }
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    match digits.as_bytes() {
        [b'0', b'x' | b'o', rest @ ..] => !rest.is_empty() && rest.iter().all(u8::is_ascii_hexdigit),
        [b'0'..=b'9' | b'.', ..] => digits.parse::<f64>().is_ok() || [".inf", ".nan"].contains(&digits),
        _ => false,
    }
}
