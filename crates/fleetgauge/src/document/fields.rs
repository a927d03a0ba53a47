//! Taking from a document what is expected, and noting what is not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::time::parse_seconds;

use super::{Kind, Meaning, Node, Position, Problem, Problems};

/// Takes values from a document's nodes and notes a [`Problem`] wherever it finds something else.
///
/// ```
/// use fleetgauge::document::Document;
///
/// let document = Document::parse("fleet.yaml", "name: llama\nttl: soon\ntimout: 5s\n")?;
/// let mut reader = document.reader();
/// if let Some(mut fields) = reader.fields(document.root(), "a fleet") {
///     let name = fields.require("name", &mut reader);
///     assert_eq!(name.and_then(|name| reader.text(name)), Some("llama"));
///     if let Some(ttl) = fields.take("ttl") {
///         reader.duration(ttl);
///     }
///     fields.take("timeout");
///     fields.finish(&mut reader);
/// }
/// assert_eq!(
///     reader.finish().unwrap_err().to_string(),
///     "fleet.yaml:2:6: expected a duration such as 30s or 1m30s, or a number of seconds, found the text \"soon\"\n\
///      fleet.yaml:3:1: unknown field \"timout\" in a fleet; did you mean \"timeout\"?"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    file: Arc<str>,
    text: Arc<str>,
    problems: Vec<Problem>,
}

/// The fields of a mapping, of which each is to be asked for by name.
#[derive(Debug)]
pub struct Fields<'n> {
    what: &'static str,
    position: Position,
    entries: Vec<(&'n Node, &'n str, &'n Node)>,
    known: Vec<&'static str>,
}

/// Says what a node is, in a sentence.
struct Found<'n>(&'n Node);

// === impl Reader ===

impl Reader {
    pub(super) fn new(file: Arc<str>, text: Arc<str>) -> Self {
        Self {
            file,
            text,
            problems: Vec::new(),
        }
    }

    /// Notes a problem at a place.
    pub fn problem(&mut self, position: Position, message: impl Into<String>) {
        let file = Arc::clone(&self.file);
        self.problems.push(Problem {
            file,
            position,
            message: message.into(),
        });
    }

    /// Notes a problem at `line` and `column` of the text that `node` is. Where the way in which the text is
    /// written does not keep places, it is noted at the text's start and names line and column.
    pub fn problem_within(&mut self, node: &Node, line: usize, column: usize, message: impl fmt::Display) {
        match node.position_within(&self.text, line, column) {
            Some(position) => self.problem(position, message.to_string()),
            None => {
                self.problem(
                    node.position,
                    format!("{message} (line {line}, column {column} of this text)"),
                );
            }
        }
    }

    /// How many problems have been noted.
    pub fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// The problems, if there are any.
    ///
    /// *Errors*: what was noted, in the order of places.
    pub fn finish(mut self) -> Result<(), Problems> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_key(|problem| problem.position);
        // A node with an anchor is read once for each alias, and its problems are the same.
        self.problems.dedup();
        Err(Problems(self.problems))
    }

    /// The text that `node` must be. A number, truth value or null must be quoted to be one.
    pub fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        let Kind::Scalar(scalar) = &node.kind else {
            return self.expected(node, "a text");
        };
        match scalar.meaning() {
            Meaning::Text => Some(&scalar.text),
            Meaning::Null => self.expected(node, "a text"),
            Meaning::Bool(_) | Meaning::Number => {
                let text = &scalar.text;
                let found = Found(node);
                let message = format!("expected a text, found {found}; quote it to make it one: \"{text}\"");
                self.problem(node.position, message);
                None
            }
        }
    }

    /// The text that `node` is written with, be it a number or a truth value.
    pub fn verbatim<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.meaning() != Meaning::Null => Some(&scalar.text),
            _ => self.expected(node, "a text"),
        }
    }

    /// The duration that `node` must be, as `30s` or a number of seconds.
    pub fn duration(&mut self, node: &Node) -> Option<Duration> {
        const WANTED: &str = "a duration such as 30s or 1m30s, or a number of seconds";
        let Kind::Scalar(scalar) = &node.kind else {
            return self.expected(node, WANTED);
        };
        let duration = parse_seconds(&scalar.text).ok();
        duration.or_else(|| self.expected(node, WANTED))
    }

    /// The duration of more than zero that `node` must be.
    pub fn positive_duration(&mut self, node: &Node) -> Option<Duration> {
        let duration = self.duration(node)?;
        if duration.is_zero() {
            self.problem(node.position, "the duration must be more than zero");
            return None;
        }
        Some(duration)
    }

    /// The truth value that `node` must be.
    pub fn bool(&mut self, node: &Node) -> Option<bool> {
        match &node.kind {
            Kind::Scalar(scalar) => match scalar.meaning() {
                Meaning::Bool(value) => Some(value),
                _ => self.expected(node, "true or false"),
            },
            _ => self.expected(node, "true or false"),
        }
    }

    /// The whole number of at least 1 that `node` must be.
    pub fn count(&mut self, node: &Node) -> Option<u64> {
        let count = match &node.kind {
            Kind::Scalar(scalar) if scalar.meaning() == Meaning::Number => scalar.text.parse().ok(),
            _ => None,
        };
        match count {
            Some(1..) => count,
            _ => self.expected(node, "a whole number of at least 1"),
        }
    }

    /// The entries of the list that `node` must be; null is an empty one.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.kind {
            Kind::List(items) => items,
            Kind::Scalar(scalar) if scalar.meaning() == Meaning::Null => &[],
            _ => {
                self.expected::<()>(node, what);
                &[]
            }
        }
    }

    /// The fields of the mapping that `node` must be; `what` names it, with its article.
    pub fn fields<'n>(&mut self, node: &'n Node, what: &'static str) -> Option<Fields<'n>> {
        let pairs = self.pairs(node, what)?;
        Some(Fields {
            what,
            position: node.position,
            entries: pairs,
            known: Vec::new(),
        })
    }

    /// The pairs of text and node of the mapping that `node` must be, whose keys are the user's own.
    pub fn pairs<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<(&'n Node, &'n str, &'n Node)>> {
        let Kind::Map { entries, .. } = &node.kind else {
            return self.expected(node, &format!("{what}: a mapping of fields"));
        };
        let mut pairs: Vec<(&Node, &str, &Node)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Some(name) = self.text(key) else { continue };
            match pairs.iter().find(|(_, earlier, _)| *earlier == name) {
                Some((earlier, ..)) => {
                    let line = earlier.position.line;
                    self.problem(
                        key.position,
                        format!("field {name:?} is here twice; first on line {line}"),
                    );
                }
                None => pairs.push((key, name, value)),
            }
        }
        Some(pairs)
    }

    fn expected<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        let braces = if node.is_braces() {
            "; {{ begins a mapping in YAML, so quote the value: '{{…}}'"
        } else {
            ""
        };
        self.problem(
            node.position,
            format!("expected {wanted}, found {}{braces}", Found(node)),
        );
        None
    }
}

// === impl Fields ===

impl<'n> Fields<'n> {
    /// The field `name`, which may be absent.
    pub fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.push(name);
        let found = self.entries.iter().find(|(_, key, _)| *key == name);
        found.map(|(.., value)| *value)
    }

    /// The field `name`; its absence is a problem.
    pub fn require(&mut self, name: &'static str, reader: &mut Reader) -> Option<&'n Node> {
        let found = self.take(name);
        if found.is_none() {
            reader.problem(
                self.position,
                format!("field {name:?} is missing in {}", self.what),
            );
        }
        found
    }

    /// Notes each field that was never asked for.
    pub fn finish(self, reader: &mut Reader) {
        for (key, name, _) in &self.entries {
            if self.known.contains(name) {
                continue;
            }
            let what = self.what;
            let similar = similar(name, self.known.iter().copied());
            let remedy = match similar {
                Some(similar) => format!("did you mean {similar:?}?"),
                None => format!("it may have {}", self.known.join(", ")),
            };
            reader.problem(
                key.position,
                format!("unknown field {name:?} in {what}; {remedy}"),
            );
        }
    }
}

/// The candidate that `name` was likely meant to be.
pub(crate) fn similar<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let scored = candidates.map(|candidate| (strsim::jaro_winkler(name, candidate), candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.and_then(|(score, candidate)| (score > 0.8).then_some(candidate))
}

// === impl Node ===

impl Node {
    /// Whether the node is what YAML makes of an unquoted `{{.x}}`: a mapping whose only key is a mapping.
    fn is_braces(&self) -> bool {
        match &self.kind {
            Kind::Map { entries, flow: true } => match &**entries {
                [(key, _)] => matches!(key.kind, Kind::Map { flow: true, .. }),
                _ => false,
            },
            _ => false,
        }
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::List(_) => f.write_str("a list"),
            Kind::Map { .. } => f.write_str("a mapping"),
            Kind::Scalar(scalar) => {
                let text: String = scalar.text.chars().take(60).collect();
                match scalar.meaning() {
                    Meaning::Null => f.write_str("nothing"),
                    Meaning::Bool(_) => write!(f, "the truth value {text}"),
                    Meaning::Number => write!(f, "the number {text}"),
                    Meaning::Text => write!(f, "the text {text:?}"),
                }
            }
        }
    }
}
