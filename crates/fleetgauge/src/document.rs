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
mod node;
mod parse;
mod problem;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use fields::{Fields, Reader};
pub use node::Node;
pub use problem::{Position, Problem, Problems};

/// A file's tree of nodes.
#[derive(Clone, Debug)]
pub struct Document {
    file: Arc<str>,
    text: Arc<str>,
    root: Node,
}

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
