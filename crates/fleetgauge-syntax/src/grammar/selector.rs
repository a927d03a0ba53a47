//! Selectors: a metric's name and matchers of labels.

use super::cursor::Parser;
use super::node::Node;
use crate::error::ParseError;
use crate::token::Kind;
use crate::tree::{Expr, MatchOp, Matcher, Selector};

use crate::regex;

/// The label that holds the name of the metric.
const METRIC_NAME: &str = "__name__";

impl Parser<'_> {
    pub(super) fn selector(&mut self, name: Option<(usize, &str)>) -> Result<Node, ParseError> {
        let start = name.map_or_else(|| self.start(), |(start, _)| start);
        let mut matchers = Vec::new();
        if self.kind() == &Kind::Sign("{") {
            self.matchers(&mut matchers)?;
        }
        if let Some((_, name)) = name {
            if let Some(other) = matchers.iter().find(|m| m.name == METRIC_NAME) {
                let why = format!("metric name must not be set twice: {name:?} or {:?}", other.value);
                return Err(self.error(start, why));
            }
            matchers.insert(0, named(name, start));
        }
        if matchers.iter().all(fits_empty) {
            let why = "vector selector must contain at least one non-empty matcher";
            return Err(self.error(start, why));
        }
        let selector = Selector {
            place: start,
            ..Selector::new(matchers)
        };
        Ok(Node::new(Expr::Selector(selector), start, 1))
    }

    /// The second argument of `info`: which info metrics, and which of their labels. It may be empty. A time that it has means
    /// nothing, as in Prometheus, and is not kept.
    pub(super) fn info_matchers(&mut self) -> Result<Node, ParseError> {
        let start = self.start();
        let why = "expected label selectors only, as in info(x, {version=~\".+\"})";
        if self.kind() != &Kind::Sign("{") {
            return Err(self.error(start, why));
        }
        let mut matchers = Vec::new();
        self.matchers(&mut matchers)?;
        let selector = Selector {
            place: start,
            ..Selector::new(matchers)
        };
        let bare = Node::new(Expr::Selector(selector.clone()), start, 1);
        match self.suffixes(bare)?.expr {
            Expr::Selector(_) => Ok(Node::new(Expr::Selector(selector), start, 1)),
            _ => Err(self.error(start, why)),
        }
    }

    /// `{a="b", "c.d"!="e", "name"}`
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), ParseError> {
        let open = self.start();
        self.at += 1;
        while !self.take("}") {
            let start = self.start();
            let name = match self.kind().clone() {
                Kind::Number(_) | Kind::Word if self.is_name() => self.word().to_owned(),
                Kind::Text(name) => name,
                Kind::End => return Err(self.error(open, "unclosed left brace")),
                _ => return Err(self.unexpected(" in label matching, expected identifier or \"}\"")),
            };
            let is_quoted = self.kind() != &Kind::Word;
            self.at += 1;
            let op = match self.kind() {
                Kind::Sign("=") => MatchOp::Equal,
                Kind::Sign("!=") => MatchOp::NotEqual,
                Kind::Sign("=~") => MatchOp::Regex,
                Kind::Sign("!~") => MatchOp::NotRegex,
                Kind::Sign("," | "}") if is_quoted => {
                    if let Some(other) = matchers.iter().find(|m| m.name == METRIC_NAME) {
                        let why = format!("metric name must not be set twice: {:?} or {name:?}", other.value);
                        return Err(self.error(start, why));
                    }
                    matchers.push(named(&name, start));
                    self.take(",");
                    continue;
                }
                Kind::End => return Err(self.error(open, "unclosed left brace")),
                _ => return Err(self.unexpected(" in label matching, expected one of =, !=, =~, !~")),
            };
            self.at += 1;
            let Kind::Text(value) = self.kind().clone() else {
                return Err(self.unexpected(" in label matching, expected string"));
            };
            let place = self.start();
            self.at += 1;
            matchers.push(self.matcher(name, op, value, place)?);
            if !self.take(",") && self.kind() != &Kind::Sign("}") {
                if self.kind() == &Kind::End {
                    return Err(self.error(open, "unclosed left brace"));
                }
                return Err(self.unexpected(" in label matching, expected \",\" or \"}\""));
            }
        }
        Ok(())
    }

    fn matcher(&self, name: String, op: MatchOp, value: String, place: usize) -> Result<Matcher, ParseError> {
        if op.is_regex() {
            regex::check(&value).map_err(|why| {
                let what = format!("matcher of label {name:?} has an unusable regular expression");
                self.error(place, format!("{what} {value:?}: {why}"))
            })?;
        }
        Ok(Matcher {
            name,
            op,
            value,
            place,
        })
    }
}

fn named(metric: &str, place: usize) -> Matcher {
    Matcher {
        name: METRIC_NAME.to_owned(),
        op: MatchOp::Equal,
        value: metric.to_owned(),
        place,
    }
}

/// Whether series fit that lack the label.
fn fits_empty(matcher: &Matcher) -> bool {
    let fits = match matcher.op.is_regex() {
        true => regex::check(&matcher.value).is_ok_and(|checked| checked.fits_empty),
        false => matcher.value.is_empty(),
    };
    fits == matcher.op.is_positive()
}
