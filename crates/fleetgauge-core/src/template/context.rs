//! Where in a PromQL query the text of a template has come to.
//!
//! A [`Context`] reads the constant text of a template piece by piece, and says at each placeholder what fits
//! there, as Go's `html/template` does for HTML. It knows PromQL's strings, comments, brackets and words, and what
//! may follow them, not its grammar: what Prometheus would refuse whatever the values are is left to Prometheus,
//! unless it leaves a placeholder's place in doubt.
//!
//! *Source*: `promql/parser/lex.go` and `util/strutil/quote.go` of Prometheus 3.

mod string;

use self::string::InString;
use super::error::{Fault, Offset};
use super::place::{Fit, PlaceId, Places, Quote};
use super::regex_text::RegexText;
use super::token;

/// The state of the scanner between two characters of the rendered query.
#[derive(Clone, Debug)]
pub(super) struct Context {
    state: State,
    brackets: Vec<Bracket>,
    /// The query so far ends inside a word or number, which what follows would lengthen.
    glued: bool,
    /// Placed values that what follows may still decide about: whether a name or a number fits, whether a regex
    /// needs a group around it.
    open: Vec<PlaceId>,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Code(Expect),
    Comment(Expect),
    String(InString),
    /// The whole query is a metric name, checked as a whole.
    MetricName,
}

#[derive(Clone, Copy, Debug)]
struct Bracket {
    kind: Kind,
    opened: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Paren,
    /// `by (…)` and its kin: a list of labels.
    Labels,
    /// `WITH (…)` of VictoriaMetrics: a list of definitions.
    With,
    /// `[…]`
    Range,
    /// `{…}`
    Matchers,
}

/// What may come next in code.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    Operand,
    Operator,
    /// After `by`, `on`, `group_left` …: a list of labels, or an operand.
    LabelList,
    /// After `WITH`.
    With,
    /// After the list: an operand after `sum by (pod)`, an operator after `sum(x) by (pod)`.
    AfterLabelList,
    Offset,
    At {
        signed: bool,
    },
    Duration,
    DurationEnd,
    Label,
    LabelEnd,
    MatcherName,
    MatcherOp,
    MatcherValue {
        regex: bool,
    },
    MatcherEnd,
}

// === impl Context ===

impl Context {
    /// The beginning of a query.
    pub(super) fn promql() -> Self {
        Self::new(State::Code(Expect::Operand))
    }

    /// The beginning of a metric name.
    pub(super) fn metric_name() -> Self {
        Self::new(State::MetricName)
    }

    fn new(state: State) -> Self {
        Self {
            state,
            brackets: Vec::new(),
            glued: false,
            open: Vec::new(),
        }
    }

    /// Reads constant text that stands at `at` in the source.
    pub(super) fn text(&mut self, text: &str, at: Offset, places: &mut Places) -> Result<(), Fault> {
        let mut rest = text;
        while !rest.is_empty() {
            let here = at + (text.len() - rest.len());
            let read = match &mut self.state {
                State::Code(_) | State::MetricName if rest.starts_with("<<") => {
                    return Err(Fault::new(here, of_prometheus_adapter(rest)));
                }
                State::MetricName => rest.find("<<").unwrap_or(rest.len()),
                State::Comment(expect) => {
                    let end = rest.find(['\n', '\r']);
                    if end.is_some() {
                        self.state = State::Code(*expect);
                    }
                    end.unwrap_or(rest.len())
                }
                State::String(string) => match string.read(rest, here, &mut self.open, places)? {
                    (read, false) => read,
                    (read, true) => {
                        self.state = State::Code(string.then);
                        self.open.clear();
                        read
                    }
                },
                State::Code(expect) => {
                    let expect = *expect;
                    self.code(expect, rest, here, rest.len() == text.len(), places)?
                }
            };
            rest = &rest[read..];
        }
        Ok(())
    }

    /// What fits at a placeholder that stands here.
    pub(super) fn fit(&self, at: Offset) -> Result<Fit, Fault> {
        let refuse = |message: &str| Err(Fault::new(at, message));
        match &self.state {
            State::MetricName => Ok(Fit::Part),
            State::Comment(_) => Ok(Fit::Comment),
            State::String(string) => match &string.regex {
                None => Ok(Fit::Exact(string.quote)),
                Some(regex) => match regex.refuses_value() {
                    Some(reason) => refuse(&format!("a value cannot stand {reason}")),
                    None => Ok(Fit::Regex {
                        quote: string.quote,
                        group: !string.empty,
                    }),
                },
            },
            State::Code(_) if self.glued => refuse(
                "a value cannot be a part of a name or number in code: let the parameter be the whole of it, or match on \
                 {__name__=\"…\"}",
            ),
            State::Code(expect) => match expect {
                Expect::Operand | Expect::AfterLabelList => Ok(Fit::Operand),
                // `group_left b`: a number in parentheses would be read as a list of labels.
                Expect::LabelList => Ok(Fit::MetricName),
                Expect::Offset | Expect::Duration => Ok(Fit::Duration),
                Expect::At { signed } => Ok(Fit::Timestamp { signed: !signed }),
                Expect::Label => Ok(Fit::Labels),
                Expect::MatcherName => Ok(Fit::Label),
                Expect::MatcherValue { .. } => {
                    refuse("put quotes around the placeholder: a matcher compares with a string")
                }
                Expect::MatcherOp | Expect::MatcherEnd => refuse(
                    "a value cannot stand here: between braces it can be a label's name or stand in a string",
                ),
                Expect::Operator | Expect::With | Expect::DurationEnd | Expect::LabelEnd => refuse(
                    "a value cannot stand here: an operator or a bracket is due, and a value is neither",
                ),
            },
        }
    }

    /// Steps over a value.
    pub(super) fn value(&mut self, id: PlaceId, places: &mut Places) {
        match &mut self.state {
            State::MetricName | State::Comment(_) => {}
            State::String(string) => {
                string.empty = false;
                if let Some(regex) = &mut string.regex {
                    for open in self.open.drain(..) {
                        places.followed(open, false);
                    }
                    *regex = RegexText::default();
                    self.open.push(id);
                }
            }
            State::Code(expect) => {
                if matches!(
                    expect,
                    Expect::Operand | Expect::LabelList | Expect::AfterLabelList
                ) {
                    self.open.push(id);
                }
                *expect = expect.after_token();
                self.glued = true;
            }
        }
    }

    /// What both ways to get here have in common; `None` when they differ in what may come next.
    pub(super) fn join(&self, other: &Self) -> Option<Self> {
        let mut joined = self.clone();
        match (&mut joined.state, &other.state) {
            (State::String(a), State::String(b)) if *a == *b => a.empty &= b.empty,
            (State::Code(a), State::Code(b)) => *a = a.join(*b)?,
            (State::Comment(a), State::Comment(b)) => *a = a.join(*b)?,
            (a, b) if a == b => {}
            _ => return None,
        }
        if self.brackets != other.brackets {
            return None;
        }
        joined.glued |= other.glued;
        joined
            .open
            .extend(other.open.iter().filter(|id| !self.open.contains(id)));
        Some(joined)
    }

    /// Whether `joined`, which is this context joined with another, says no less about what comes next.
    pub(super) fn is_unchanged_in(&self, joined: &Self) -> bool {
        let empty = |context: &Self| matches!(&context.state, State::String(string) if string.empty);
        self.state == joined.state
            && empty(self) == empty(joined)
            && self.glued == joined.glued
            && self.open.len() == joined.open.len()
    }

    /// Checks that the query may end here.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        if let State::String(string) = &self.state {
            return Err(Fault::new(string.opened, "this string is not closed"));
        }
        if let Some(open) = self.brackets.last() {
            return Err(Fault::new(open.opened, "this bracket is not closed"));
        }
        Ok(())
    }

    /// What the context is, for people.
    pub(super) fn describe(&self) -> String {
        let what = match &self.state {
            State::MetricName => "in a metric name",
            State::Comment(_) => "in a comment",
            State::String(InString { regex: Some(_), .. }) => "in the string of a regex matcher",
            State::String(_) => "in a string",
            State::Code(expect) => match expect {
                Expect::Operand => "before an operand",
                Expect::Operator => "after an operand",
                Expect::LabelList => "before a list of labels",
                Expect::With => "after WITH",
                Expect::AfterLabelList => "after a list of labels",
                Expect::Offset => "after offset",
                Expect::At { .. } => "after @",
                Expect::Duration => "before a duration",
                Expect::DurationEnd => "after a duration",
                Expect::Label | Expect::MatcherName => "before a label name",
                Expect::LabelEnd | Expect::MatcherOp => "after a label name",
                Expect::MatcherValue { regex: true } => "after =~ or !~",
                Expect::MatcherValue { regex: false } => "after = or !=",
                Expect::MatcherEnd => "after a matcher",
            },
        };
        match self.brackets.len() {
            0 => what.to_owned(),
            1 => format!("{what}, in 1 bracket"),
            n => format!("{what}, in {n} brackets"),
        }
    }

    /// Reads one token of code; answers its length.
    fn code(
        &mut self,
        expect: Expect,
        rest: &str,
        at: Offset,
        is_start: bool,
        places: &mut Places,
    ) -> Result<usize, Fault> {
        let bytes = rest.as_bytes();
        let refuse = |message: &str| Err(Fault::new(at, message));
        let inside = self.brackets.last().map(|bracket| bracket.kind);
        let next = bytes.get(1).copied();
        let joins = token::joins(bytes[0]) && !(bytes[0] == b':' && inside == Some(Kind::Range));
        if is_start && self.glued && joins {
            return refuse(
                "this continues a name or number that stands before the action: a name or number in code cannot be \
                 made of pieces",
            );
        }
        self.glued = false;
        let (expect, read) = match bytes[0] {
            b' ' | b'\t' | b'\n' | b'\r' => return Ok(1),
            b'#' => {
                self.state = State::Comment(expect);
                return Ok(1);
            }
            quote @ (b'"' | b'\'' | b'`') => {
                let regex = (expect == Expect::MatcherValue { regex: true }).then(RegexText::default);
                let (quote, then) = (Quote::from_byte(quote), expect.after_token());
                self.open.clear();
                self.state = State::String(InString {
                    quote,
                    regex,
                    empty: true,
                    opened: at,
                    then,
                });
                return Ok(1);
            }
            open @ (b'(' | b'[' | b'{') => {
                let kind = match open {
                    b'(' if expect == Expect::LabelList => Kind::Labels,
                    b'(' if expect == Expect::With => Kind::With,
                    b'(' => Kind::Paren,
                    b'[' => Kind::Range,
                    _ => Kind::Matchers,
                };
                if open == b'(' {
                    self.forbid_call(places)?;
                } else {
                    self.settle(places);
                }
                self.brackets.push(Bracket { kind, opened: at });
                (kind.first(), 1)
            }
            close @ (b')' | b']' | b'}') => {
                let fits = matches!(
                    (inside, close),
                    (Some(Kind::Paren | Kind::Labels | Kind::With), b')')
                        | (Some(Kind::Range), b']')
                        | (Some(Kind::Matchers), b'}')
                );
                if !fits {
                    return refuse(&format!("this {:?} closes nothing", char::from(close)));
                }
                self.brackets.pop();
                (
                    match inside {
                        Some(Kind::Labels) => Expect::AfterLabelList,
                        Some(Kind::With) => Expect::Operand,
                        _ => Expect::Operator,
                    },
                    1,
                )
            }
            b',' => (inside.map_or(Expect::Operand, Kind::first), 1),
            b':' if inside == Some(Kind::Range) => (Expect::Duration, 1),
            b'@' => {
                self.settle(places);
                (Expect::At { signed: false }, 1)
            }
            b'=' | b'!' | b'<' | b'>' if inside == Some(Kind::Matchers) => match (bytes[0], next) {
                (b'=' | b'!', Some(b'~')) => (Expect::MatcherValue { regex: true }, 2),
                (b'!', Some(b'=')) => (Expect::MatcherValue { regex: false }, 2),
                (b'=', next) if next != Some(b'=') => (Expect::MatcherValue { regex: false }, 1),
                _ => return refuse("between braces, =, !=, =~ and !~ compare"),
            },
            b'=' | b'!' if next == Some(b'=') => (Expect::Operand, 2),
            b'=' if inside == Some(Kind::With) => (Expect::Operand, 1),
            b'=' | b'!' | b'~' => return refuse("this is no operator of PromQL: == and != compare"),
            b'<' | b'>' => (Expect::Operand, if next == Some(b'=') { 2 } else { 1 }),
            b'-' | b'+' if expect == Expect::Offset => (expect, 1),
            b'-' | b'+' if matches!(expect, Expect::At { .. }) => (Expect::At { signed: true }, 1),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'^' => (Expect::Operand, 1),
            byte if byte.is_ascii_digit() || (byte == b'.' && next.is_some_and(|b| b.is_ascii_digit())) => {
                let read = number_len(bytes);
                self.glued = read == bytes.len();
                (expect.after_token(), read)
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' || byte == b':' => {
                let colons = inside != Some(Kind::Range);
                let part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || (colons && *b == b':');
                let read = bytes.iter().take_while(|b| part(b)).count();
                self.glued = read == bytes.len();
                let word = rest[..read].to_ascii_lowercase();
                (self.word(&word, expect, inside, places), read)
            }
            _ => {
                let c = rest.chars().next().unwrap_or_default();
                return refuse(&format!(
                    "{c:?} has no meaning in PromQL outside of strings and comments"
                ));
            }
        };
        self.open.clear();
        self.state = State::Code(expect);
        Ok(read)
    }

    /// What comes after a word.
    fn word(&mut self, word: &str, expect: Expect, inside: Option<Kind>, places: &mut Places) -> Expect {
        match (inside, word) {
            // Between braces and in label lists, keywords are names. VictoriaMetrics joins matchers with `or`.
            (Some(Kind::Matchers), "or") if expect == Expect::MatcherEnd => Expect::MatcherName,
            (Some(Kind::Matchers | Kind::Labels | Kind::Range), _) => expect.after_token(),
            (_, "by" | "without" | "on" | "ignoring" | "group_left" | "group_right") => Expect::LabelList,
            (_, "offset") => {
                self.settle(places);
                Expect::Offset
            }
            (_, "bool" | "and" | "or" | "unless" | "atan2") => Expect::Operand,
            // Of VictoriaMetrics.
            (_, "with") => Expect::With,
            (_, "default" | "if" | "ifnot") if expect == Expect::Operator => Expect::Operand,
            _ => expect.after_token(),
        }
    }

    /// A selector's bracket or modifier follows: the values placed just before can only be metric names.
    fn settle(&mut self, places: &mut Places) {
        for id in self.open.drain(..) {
            places.must_be_metric(id);
        }
    }

    /// A parenthesis follows: what was placed just before would be a function.
    fn forbid_call(&mut self, places: &Places) -> Result<(), Fault> {
        match self.open.first() {
            Some(id) => Err(Fault::new(
                places.offset(*id),
                "a value cannot name a function or an aggregation: write it in the template, chosen by {{if}}",
            )),
            None => Ok(()),
        }
    }
}

/// `<<` begins nothing in PromQL: what to write for the templates of prometheus-adapter, which begin with it.
fn of_prometheus_adapter(rest: &str) -> &'static str {
    match rest[2..].trim_start() {
        rest if rest.starts_with(".Series") => {
            "`<<.Series>>` is of prometheus-adapter: write the metric's name here, or {{.metric}} of a declared \
             parameter"
        }
        rest if rest.starts_with(".LabelMatchers") => {
            "`<<.LabelMatchers>>` is of prometheus-adapter: write the matchers here, as in \
             namespace=\"{{.namespace}}\""
        }
        rest if rest.starts_with(".GroupBy") => {
            "`<<.GroupBy>>` is of prometheus-adapter: write the labels here, as in by (namespace, pod), or {{.by}} of a \
             parameter of kind labels"
        }
        _ => "`<<` is of prometheus-adapter's templates: here a parameter is written {{.name}}",
    }
}

/// The length of a number or duration.
fn number_len(bytes: &[u8]) -> usize {
    let mut len = 1;
    let hex = bytes[0] == b'0' && matches!(bytes.get(1), Some(b'x' | b'X'));
    while let Some(b) = bytes.get(len) {
        let sign = matches!(b, b'+' | b'-') && !hex && matches!(bytes[len - 1], b'e' | b'E');
        if !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_') || sign) {
            break;
        }
        len += 1;
    }
    len
}

// === impl Expect ===

impl Expect {
    /// What comes after a name, number, duration, string or value.
    fn after_token(self) -> Self {
        match self {
            Self::Operand
            | Self::Operator
            | Self::LabelList
            | Self::With
            | Self::AfterLabelList
            | Self::Offset
            | Self::At { .. } => Self::Operator,
            Self::Duration | Self::DurationEnd => Self::DurationEnd,
            Self::Label | Self::LabelEnd => Self::LabelEnd,
            Self::MatcherName | Self::MatcherOp => Self::MatcherOp,
            Self::MatcherValue { .. } | Self::MatcherEnd => Self::MatcherEnd,
        }
    }

    fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a),
            // `@ {{if .before}}-{{end}}{{.at}}`
            (Self::At { .. }, Self::At { .. }) => Some(Self::At { signed: true }),
            // `sum {{if .by}}by (pod) {{end}}(up)`: no value may come next, as after `sum`.
            (Self::AfterLabelList, Self::Operator) | (Self::Operator, Self::AfterLabelList) => {
                Some(Self::Operator)
            }
            // `a * {{if .on}}on (pod) {{end}}b`
            (Self::AfterLabelList, Self::Operand) | (Self::Operand, Self::AfterLabelList) => {
                Some(Self::Operand)
            }
            // `{{{if .x}}a="b"{{end}}}`: what closes is all that fits both, and `}` is never a value.
            (Self::MatcherName, Self::MatcherEnd) | (Self::MatcherEnd, Self::MatcherName) => {
                Some(Self::MatcherEnd)
            }
            _ => None,
        }
    }
}

// === impl Kind ===

impl Kind {
    /// What comes first between these brackets, and after each comma.
    fn first(self) -> Expect {
        match self {
            Self::Paren | Self::With => Expect::Operand,
            Self::Labels => Expect::Label,
            Self::Range => Expect::Duration,
            Self::Matchers => Expect::MatcherName,
        }
    }
}

impl PartialEq for Bracket {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}
