//! Taking from a document what is expected, and noting what is not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::similar::similar;
use fleetgauge_core::time::parse_seconds;

use super::node::{Kind, Meaning, Node};
use super::problem::{Position, Problem, Problems};

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
    /// The first [`MAX_PROBLEMS`] of them, and as many warnings.
    problems: Vec<Problem>,
    problem_count: usize,
    warning_count: usize,
}

/// How many problems, and how many warnings, of one file are told.
const MAX_PROBLEMS: usize = 1000;

/// The fields of a mapping, of which each is to be asked for by name.
#[derive(Debug)]
pub struct Fields<'n> {
    what: &'static str,
    position: Position,
    entries: Vec<(&'n Node, &'n str, &'n Node)>,
    known: Vec<&'static str>,
}

/// Says what a node is, in a sentence.
struct Found<'n> {
    node: &'n Node,
    /// Not what it holds, which may be secret.
    kind_only: bool,
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(file: Arc<str>, text: Arc<str>) -> Self {
        Self {
            file,
            text,
            problems: Vec::new(),
            problem_count: 0,
            warning_count: 0,
        }
    }

    /// Notes a problem at a place.
    pub fn problem(&mut self, position: Position, message: impl Into<String>) {
        self.problem_count += 1;
        if self.problem_count <= MAX_PROBLEMS {
            let problem = Problem::new(Arc::clone(&self.file), position, message);
            self.problems.push(problem);
        }
    }

    /// Notes a problem at `line` and `column` of the text that `node` is. Where the way in which the text is
    /// written does not keep places, it is noted at the text's start and names line and column.
    pub fn problem_within(&mut self, node: &Node, line: usize, column: usize, message: impl fmt::Display) {
        let (position, message) = self.within(node, line, column, message);
        self.problem(position, message);
    }

    /// As [`problem_within`](Self::problem_within), for what may be meant: it does not keep the file from being used.
    pub fn warning_within(&mut self, node: &Node, line: usize, column: usize, message: impl fmt::Display) {
        let (position, message) = self.within(node, line, column, message);
        self.warning(position, message);
    }

    /// Notes at a place what may be meant.
    pub fn warning(&mut self, position: Position, message: impl Into<String>) {
        self.warning_count += 1;
        if self.warning_count <= MAX_PROBLEMS {
            let problem = Problem::new(Arc::clone(&self.file), position, message);
            self.problems.push(Problem {
                is_warning: true,
                ..problem
            });
        }
    }

    /// The warnings so far, in the order of places.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut warnings = self.problems.clone();
        warnings.retain(|problem| problem.is_warning);
        sort(&mut warnings);
        warnings
    }

    fn within(
        &self,
        node: &Node,
        line: usize,
        column: usize,
        message: impl fmt::Display,
    ) -> (Position, String) {
        // To find a place reads the file: not for what is not told.
        let is_told = self.problem_count.max(self.warning_count) < MAX_PROBLEMS;
        match is_told
            .then(|| node.position_within(&self.text, line, column))
            .flatten()
        {
            Some(position) => (position, message.to_string()),
            None => (
                node.position,
                format!("{message} (line {line}, column {column} of this text)"),
            ),
        }
    }

    /// How many problems have been noted.
    pub fn problem_count(&self) -> usize {
        self.problem_count
    }

    /// The problems, if there are any.
    ///
    /// *Errors*: what was noted, warnings included, in the order of places.
    pub fn finish(mut self) -> Result<(), Problems> {
        if self.problem_count == 0 {
            return Ok(());
        }
        sort(&mut self.problems);
        if let (Some(last), true) = (self.problems.last(), self.problem_count > MAX_PROBLEMS) {
            let more = self.problem_count - MAX_PROBLEMS;
            let message = format!("{more} more problems are not told");
            self.problems
                .push(Problem::new(Arc::clone(&self.file), last.position, message));
        }
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
                let (text, found) = (Excerpt(&scalar.text), Found::new(node));
                let message = format!("expected a text, found {found}; quote it to make it one: {text}");
                self.problem(node.position, message);
                None
            }
        }
    }

    /// The text that `node` must be, which no problem may show: a password, say.
    pub fn secret<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.meaning() == Meaning::Text => Some(&scalar.text),
            _ => {
                let found = Found::kind_of(node);
                let hint = match &node.kind {
                    Kind::Scalar(scalar) if scalar.meaning() != Meaning::Null => "; quote it to make it one",
                    _ => "",
                };
                self.problem(node.position, format!("expected a text, found {found}{hint}"));
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
        if duration.is_none() {
            self.problem(
                node.position,
                format!("expected {WANTED}, found {}", Found::new(node)),
            );
        }
        duration
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

    /// The number that `node` must be.
    pub fn number(&mut self, node: &Node) -> Option<f64> {
        let number = node.as_number();
        match number {
            Some(_) => number,
            None => self.expected(node, "a number"),
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
                self.expected_parts::<()>(node, what);
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
            return self.expected_parts(node, &format!("{what}: a mapping of fields"));
        };
        let mut pairs: Vec<(&Node, &str, &Node)> = Vec::with_capacity(entries.len());
        let mut lines = HashMap::with_capacity(entries.len());
        for (key, value) in entries {
            let Some(name) = self.text(key) else { continue };
            match lines.entry(name) {
                Entry::Occupied(line) => {
                    // Who writes a whole header as a name writes its value, too.
                    let name = name.split(':').next().unwrap_or_default();
                    let message = format!(
                        "field {} is here twice; first on line {}",
                        Excerpt(name),
                        line.get()
                    );
                    self.problem(key.position, message);
                }
                Entry::Vacant(place) => {
                    place.insert(key.position.line);
                    pairs.push((key, name, value));
                }
            }
        }
        Some(pairs)
    }

    fn expected<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        self.unexpected(Found::new(node), wanted)
    }

    /// For a list or mapping. What stands there instead may be anything, as a line of another file, and is not shown.
    fn expected_parts<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        self.unexpected(Found::kind_of(node), wanted)
    }

    fn unexpected<T>(&mut self, found: Found<'_>, wanted: &str) -> Option<T> {
        let node = found.node;
        let braces = if node.is_braces() {
            "; {{ begins a mapping in YAML, so quote the value: '{{…}}'"
        } else {
            ""
        };
        self.problem(node.position, format!("expected {wanted}, found {found}{braces}"));
        None
    }
}

/// In the order of places.
fn sort(problems: &mut Vec<Problem>) {
    problems.sort_by_key(|problem| problem.position);
    // A node with an anchor is read once for each alias, and its problems are the same.
    problems.dedup();
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

    /// The duration of more than zero in the field `name`, which may be absent.
    pub fn positive_duration(&mut self, name: &'static str, reader: &mut Reader) -> Option<Duration> {
        reader.positive_duration(self.take(name)?)
    }

    /// Notes each field that was never asked for.
    pub fn finish(self, reader: &mut Reader) {
        for (key, name, _) in &self.entries {
            if self.known.contains(name) {
                continue;
            }
            let what = self.what;
            // `password:hunter2` is a key without a value: what follows the colon was meant to be one.
            if let Some((name, _)) = name.split_once(':') {
                let name = Excerpt(name);
                let problem =
                    format!("unknown field in {what}: a blank is missing after the colon of {name}");
                reader.problem(key.position, problem);
                continue;
            }
            let similar = similar(name, self.known.iter().copied());
            let remedy = match similar {
                Some(similar) => format!("did you mean {similar:?}?"),
                None => format!("it may have {}", self.known.join(", ")),
            };
            let name = Excerpt(name);
            reader.problem(key.position, format!("unknown field {name} in {what}; {remedy}"));
        }
    }
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

// === impl Found ===

impl<'n> Found<'n> {
    fn new(node: &'n Node) -> Self {
        Self {
            node,
            kind_only: false,
        }
    }

    fn kind_of(node: &'n Node) -> Self {
        Self {
            node,
            kind_only: true,
        }
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind::Scalar(scalar) = &self.node.kind else {
            return f.write_str(match self.node.kind {
                Kind::List(_) => "a list",
                _ => "a mapping",
            });
        };
        let text: String = scalar.text.chars().take(60).collect();
        match (scalar.meaning(), self.kind_only) {
            (Meaning::Null, _) => f.write_str("nothing"),
            (Meaning::Bool(_), true) => f.write_str("a truth value"),
            (Meaning::Bool(_), false) => write!(f, "the truth value {text}"),
            (Meaning::Number, true) => f.write_str("a number"),
            (Meaning::Number, false) => write!(f, "the number {text}"),
            (Meaning::Text, true) => f.write_str("a text"),
            (Meaning::Text, false) => write!(f, "the text {}", Excerpt(&scalar.text)),
        }
    }
}
