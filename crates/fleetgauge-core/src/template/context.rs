//! Where in a PromQL query the text of a template has come to.
//!
//! A [`Context`] reads the constant text of a template by the lexer that queries are parsed with, and says at each
//! placeholder what fits there, as Go's `html/template` does for HTML. It knows what may follow a piece, not the
//! grammar: what Prometheus would refuse whatever the values are is left to Prometheus, unless it leaves a
//! placeholder's place in doubt.

mod string;

use fleetgauge_syntax::lexer::{LexError, Lexer, Piece, Within};
use fleetgauge_syntax::literal::Unit;
use fleetgauge_syntax::regex::RegexText;

use self::string::InString;
use super::check::joins;
use super::error::{Fault, Offset};
use super::place::{Fit, PlaceId, Places};

/// The state between two characters of the rendered query.
#[derive(Clone, Debug)]
pub(super) struct Context {
    lexer: Lexer,
    /// The whole query is a metric name, checked as a whole.
    is_metric_name: bool,
    /// What comes next in code, after the comment or string that the query is in.
    expect: Expect,
    /// The string that the query is in.
    string: Option<InString>,
    brackets: Vec<Bracket>,
    /// The query so far ends inside a word or number, which what follows would lengthen.
    glued: bool,
    /// Placed values that what follows may still decide about: whether a name or a number fits, whether a regex
    /// needs a group around it.
    open: Vec<PlaceId>,
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
        Self::new(false)
    }

    /// The beginning of a metric name.
    pub(super) fn metric_name() -> Self {
        Self::new(true)
    }

    fn new(is_metric_name: bool) -> Self {
        Self {
            lexer: Lexer::default(),
            is_metric_name,
            expect: Expect::Operand,
            string: None,
            brackets: Vec::new(),
            glued: false,
            open: Vec::new(),
        }
    }

    /// Reads constant text that stands at `at` in the source.
    pub(super) fn text(&mut self, text: &str, at: Offset, places: &mut Places) -> Result<(), Fault> {
        if self.is_metric_name {
            return match text.find("<<") {
                Some(found) => Err(Fault::new(at + found, of_prometheus_adapter(&text[found..]))),
                None => Ok(()),
            };
        }
        let mut rest = text;
        while let Some(first) = rest.bytes().next() {
            let here = at + (text.len() - rest.len());
            if self.lexer.within() == Within::Code {
                if rest.starts_with("<<") {
                    return Err(Fault::new(here, of_prometheus_adapter(rest)));
                }
                let is_start = rest.len() == text.len();
                let alone = first == b':' && self.inside() == Some(Kind::Range);
                if is_start && self.glued && joins(first) && !alone {
                    return Err(Fault::new(
                        here,
                        "this continues a name or number that stands before the action: a name or number in code \
                         cannot be made of pieces",
                    ));
                }
                self.glued = false;
            }
            let (piece, len) = match self.lexer.next(rest) {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(error) => return Err(self.misread(error, here)),
            };
            let (written, after) = rest.split_at(len);
            self.piece(piece, written, after.is_empty(), here, places)?;
            rest = after;
        }
        Ok(())
    }

    /// What fits at a placeholder that stands here.
    pub(super) fn fit(&self, at: Offset) -> Result<Fit, Fault> {
        let refuse = |message: &str| Err(Fault::new(at, message));
        if self.is_metric_name {
            return Ok(Fit::Part);
        }
        match (self.lexer.within(), &self.string) {
            (Within::Comment, _) => Ok(Fit::Comment),
            (
                Within::String(quote),
                Some(InString {
                    regex: Some(regex),
                    empty,
                    ..
                }),
            ) => match regex.refuses_value() {
                Some(reason) => refuse(&format!("a value cannot stand {reason}")),
                None => Ok(Fit::Regex { quote, group: !empty }),
            },
            (Within::String(quote), _) => Ok(Fit::Exact(quote)),
            (Within::Code, _) if self.glued => refuse(
                "a value cannot be a part of a name or number in code: let the parameter be the whole of it, or match on \
                 {__name__=\"…\"}",
            ),
            (Within::Code, _) => match self.expect {
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
        if self.is_metric_name {
            return;
        }
        match (self.lexer.within(), &mut self.string) {
            (Within::Code, _) => {
                if matches!(
                    self.expect,
                    Expect::Operand | Expect::LabelList | Expect::AfterLabelList
                ) {
                    self.open.push(id);
                }
                self.expect = self.expect.after_token();
                self.glued = true;
            }
            (Within::String(_), Some(string)) => {
                string.empty = false;
                if let Some(regex) = &mut string.regex {
                    for open in self.open.drain(..) {
                        places.followed(open, false);
                    }
                    *regex = RegexText::default();
                    self.open.push(id);
                }
            }
            _ => {}
        }
    }

    /// What both ways to get here have in common; `None` when they differ in what may come next.
    pub(super) fn join(&self, other: &Self) -> Option<Self> {
        if (&self.lexer, &self.string, &self.brackets) != (&other.lexer, &other.string, &other.brackets) {
            return None;
        }
        let mut joined = self.clone();
        joined.expect = self.expect.join(other.expect)?;
        if let (Some(a), Some(b)) = (&mut joined.string, &other.string) {
            a.empty &= b.empty;
        }
        joined.glued |= other.glued;
        joined
            .open
            .extend(other.open.iter().filter(|id| !self.open.contains(id)));
        Some(joined)
    }

    /// Whether `joined`, which is this context joined with another, says no less about what comes next.
    pub(super) fn is_unchanged_in(&self, joined: &Self) -> bool {
        let empty = |context: &Self| context.string.as_ref().is_some_and(|string| string.empty);
        self.expect == joined.expect
            && empty(self) == empty(joined)
            && self.glued == joined.glued
            && self.open.len() == joined.open.len()
    }

    /// Checks that the query may end here.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        if let Some(string) = &self.string {
            return Err(Fault::new(string.opened, "this string is not closed"));
        }
        if let Some(open) = self.brackets.last() {
            return Err(Fault::new(open.opened, "this bracket is not closed"));
        }
        Ok(())
    }

    /// What the context is, for people.
    pub(super) fn describe(&self) -> String {
        let what = match (self.lexer.within(), &self.string) {
            _ if self.is_metric_name => "in a metric name",
            (Within::Comment, _) => "in a comment",
            (Within::String(_), Some(InString { regex: Some(_), .. })) => "in the string of a regex matcher",
            (Within::String(_), _) => "in a string",
            (Within::Code, _) => match self.expect {
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

    fn inside(&self) -> Option<Kind> {
        self.brackets.last().map(|bracket| bracket.kind)
    }

    /// What the lexer does not read, in the words of templates.
    fn misread(&self, error: LexError, at: Offset) -> Fault {
        match (error, &self.string) {
            (LexError::Unterminated(_), Some(string)) => {
                Fault::new(string.opened, "this string is not closed on its line")
            }
            (LexError::Escape(why), _) => {
                let message =
                    format!("{why}: this escape is cut off by an action or is not an escape of PromQL");
                Fault::new(at, message)
            }
            (LexError::Unexpected('!' | '~', _), _) => Fault::new(at, NO_OPERATOR),
            (error, _) => Fault::new(at, error.to_string()),
        }
    }

    /// Steps over one piece; `is_last` where the text ends after it.
    fn piece(
        &mut self,
        piece: Piece,
        written: &str,
        is_last: bool,
        at: Offset,
        places: &mut Places,
    ) -> Result<(), Fault> {
        match piece {
            Piece::Space | Piece::Comment => return Ok(()),
            Piece::Open(_) => {
                let regex = (self.expect == Expect::MatcherValue { regex: true }).then(RegexText::default);
                self.expect = self.expect.after_token();
                self.string = Some(InString {
                    regex,
                    empty: true,
                    opened: at,
                });
            }
            Piece::Text | Piece::Escape(_) => {
                if let Some(string) = &mut self.string {
                    let mut read = |c| string.read(c, &mut self.open, places);
                    match piece {
                        Piece::Escape(Unit::Char(c)) => read(c),
                        // A byte that is not ASCII is a part of a character: no matter here, as it means nothing to
                        // a regex.
                        Piece::Escape(Unit::Byte(byte)) => read(char::from(byte)),
                        _ => written.chars().for_each(read),
                    }
                }
                return Ok(());
            }
            Piece::Close => {
                let string = self.string.take();
                let regex = string.and_then(|string| string.regex);
                if let Some(reason) = regex.as_ref().and_then(RegexText::unfinished) {
                    return Err(Fault::new(at, format!("the regex of this string ends {reason}")));
                }
            }
            Piece::Quantity => {
                self.glued = is_last;
                self.expect = self.expect.after_token();
            }
            Piece::Word => {
                self.glued = is_last;
                self.expect = self.word(&written.to_ascii_lowercase(), places);
            }
            Piece::Sign(sign) => self.expect = self.sign(sign, at, places)?,
        }
        self.open.clear();
        Ok(())
    }

    /// What comes after an operator or a bracket.
    fn sign(&mut self, sign: &str, at: Offset, places: &mut Places) -> Result<Expect, Fault> {
        let (expect, inside) = (self.expect, self.inside());
        let refuse = |message: &str| Err(Fault::new(at, message));
        Ok(match sign {
            "(" | "[" | "{" => {
                let kind = match sign {
                    "(" if expect == Expect::LabelList => Kind::Labels,
                    "(" if expect == Expect::With => Kind::With,
                    "(" => Kind::Paren,
                    "[" => Kind::Range,
                    _ => Kind::Matchers,
                };
                match sign {
                    "(" => self.forbid_call(places)?,
                    _ => self.settle(places),
                }
                self.brackets.push(Bracket { kind, opened: at });
                kind.first()
            }
            ")" | "]" | "}" => {
                let fits = matches!(
                    (inside, sign),
                    (Some(Kind::Paren | Kind::Labels | Kind::With), ")")
                        | (Some(Kind::Range), "]")
                        | (Some(Kind::Matchers), "}")
                );
                if !fits {
                    return refuse(&format!("this {sign} closes nothing"));
                }
                self.brackets.pop();
                match inside {
                    Some(Kind::Labels) => Expect::AfterLabelList,
                    Some(Kind::With) => Expect::Operand,
                    _ => Expect::Operator,
                }
            }
            "," => inside.map_or(Expect::Operand, Kind::first),
            ":" => Expect::Duration,
            "@" => {
                self.settle(places);
                Expect::At { signed: false }
            }
            "=~" | "!~" if inside == Some(Kind::Matchers) => Expect::MatcherValue { regex: true },
            "=" | "!=" if inside == Some(Kind::Matchers) => Expect::MatcherValue { regex: false },
            "==" | "<" | ">" | "<=" | ">=" if inside == Some(Kind::Matchers) => {
                return refuse("between braces, =, !=, =~ and !~ compare");
            }
            "=" if inside == Some(Kind::With) => Expect::Operand,
            "=" | "=~" | "!~" => return refuse(NO_OPERATOR),
            "-" | "+" if expect == Expect::Offset => expect,
            "-" | "+" if matches!(expect, Expect::At { .. }) => Expect::At { signed: true },
            _ => Expect::Operand,
        })
    }

    /// What comes after a word.
    fn word(&mut self, word: &str, places: &mut Places) -> Expect {
        let expect = self.expect;
        match (self.inside(), word) {
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

const NO_OPERATOR: &str = "this is not an operator of PromQL: == and != compare";

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
