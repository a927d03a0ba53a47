//! Files that people write (query packs, configuration), read so that every mistake has a place and a remedy.
//!
//! YAML, and therefore JSON as well. The document is first read into a tree of [`Node`]s, each of which knows
//! where it stands; a [`Reader`] then takes from the tree what it expects, and notes a [`Problem`] wherever
//! it finds something else. Deserialising by serde derive would stop at the first mistake, word it in terms
//! of Rust types, and forget the style of a scalar, without which a mistake inside a template cannot be
//! placed in the file.
//!
//! It refuses what is ambiguous: unknown and repeated fields, a number where a text is meant (`name: 5`), a
//! second document in one file. Nesting, aliases and size are bounded.

mod fields;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use fleetgauge_core::printable::Printable;

pub use fields::{Fields, Reader};

/// A place in a file.
///
/// *Unit*: lines and columns count from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One mistake in a file: where it is, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{position}: {}{}", Printable(.file), if *.is_warning { "warning: " } else { "" }, Printable(.message))]
#[non_exhaustive]
pub struct Problem {
    /// The file, as the reader was told.
    pub file: Arc<str>,
    /// The place in it.
    pub position: Position,
    /// What is wrong, and what would be right.
    pub message: String,
    /// Whether it may be meant, and does not keep the file from being used.
    pub is_warning: bool,
}

/// All mistakes found in one file, in the order of their places; never empty.
///
/// *Shape*: prints as one line `file:line:column: message` a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// A file's tree of nodes.
#[derive(Clone, Debug)]
pub struct Document {
    file: Arc<str>,
    text: Arc<str>,
    root: Node,
}

/// A part of a document: a scalar, a list or a mapping.
#[derive(Clone, Debug)]
pub struct Node {
    position: Position,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map { entries: Vec<(Node, Node)>, flow: bool },
}

#[derive(Clone, Debug)]
struct Scalar {
    text: String,
    style: Style,
    /// The bytes of the document that the scalar was written with.
    source: std::ops::Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Without quotes: may be a number, a truth value or null.
    Plain,
    /// Quoted, or tagged as a string.
    Quoted,
    /// A block scalar that keeps its lines (`|`).
    Literal,
    /// A block scalar that joins its lines (`>`).
    Folded,
}

// === impl Position ===

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

// === impl Problem ===

impl Problem {
    /// A problem that was not found by a [`Reader`].
    pub fn new(file: impl Into<Arc<str>>, position: Position, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            position,
            message: message.into(),
            is_warning: false,
        }
    }
}

// === impl Problems ===

impl Problems {
    /// The problems, in the order of their places.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

// === impl Document ===

impl Document {
    /// Reads `text`; `file` is what problems are reported under.
    ///
    /// *Errors*: a text that is no YAML has one [`Problem`], its first.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let file = Arc::from(file);
        match parse::parse(text) {
            Ok(root) => Ok(Self {
                file,
                text: text.into(),
                root,
            }),
            Err((position, message)) => Err(Problem::new(file, position, message)),
        }
    }

    /// The whole document.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// A reader that notes problems of this document.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.file), Arc::clone(&self.text))
    }
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
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.meaning() == Meaning::Text)
    }

    /// Whether the node has the field `name`.
    pub fn has_field(&self, name: &str) -> bool {
        let Kind::Map { entries, .. } = &self.kind else {
            return false;
        };
        entries
            .iter()
            .any(|(key, _)| matches!(&key.kind, Kind::Scalar(key) if key.text == name))
    }

    /// Where the character at `line` and `column` of a text stands in the document `source`, if the text was
    /// written in a way that keeps places.
    fn position_within(&self, source: &str, line: usize, column: usize) -> Option<Position> {
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
enum Meaning {
    Null,
    Bool(bool),
    Number,
    Text,
}

impl Scalar {
    fn meaning(&self) -> Meaning {
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
