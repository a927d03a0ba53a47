//! Selectors: a metric's name and matchers of labels.

use super::{Node, Parser};
use crate::label::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher};
use crate::parse::MAX_REGEXES;
use crate::parse::error::ParseError;
use crate::parse::expr::{Expr, Selector, Shift};
use crate::parse::lex::Kind;

impl Parser<'_> {
    pub(super) fn selector(&mut self, name: Option<(usize, &str)>) -> Result<Node, ParseError> {
        let start = name.map_or_else(|| self.start(), |(start, _)| start);
        let mut matchers = Vec::new();
        if self.kind() == &Kind::Sign("{") {
            self.matchers(&mut matchers)?;
        }
        if let Some((_, name)) = name {
            if let Some(other) = matchers.iter().find(|m| m.name() == METRIC_NAME) {
                let why = format!(
                    "metric name must not be set twice: {name:?} or {:?}",
                    other.value()
                );
                return Err(self.error(start, why));
            }
            matchers.insert(0, Matcher::equal(METRIC_NAME, name));
        }
        if matchers.iter().all(|m| m.matches_value("")) {
            let why = "vector selector must contain at least one non-empty matcher";
            return Err(self.error(start, why));
        }
        let shift = Shift::default();
        Ok(Node::new(Expr::Selector(Selector { matchers, shift }), start, 1))
    }

    /// The second argument of `info`: which info metrics, and which of their labels. It may be empty.
    pub(super) fn info_matchers(&mut self) -> Result<Node, ParseError> {
        let start = self.start();
        if self.kind() != &Kind::Sign("{") {
            return Err(self.error(
                start,
                "expected label selectors only, as in info(x, {version=~\".+\"})",
            ));
        }
        let mut matchers = Vec::new();
        self.matchers(&mut matchers)?;
        let shift = Shift::default();
        Ok(Node::new(Expr::Selector(Selector { matchers, shift }), start, 1))
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
                    if let Some(other) = matchers.iter().find(|m| m.name() == METRIC_NAME) {
                        let why = format!(
                            "metric name must not be set twice: {:?} or {name:?}",
                            other.value()
                        );
                        return Err(self.error(start, why));
                    }
                    matchers.push(Matcher::equal(METRIC_NAME, &name));
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
            matchers.push(self.matcher(&name, op, &value, place)?);
            if !self.take(",") && self.kind() != &Kind::Sign("}") {
                if self.kind() == &Kind::End {
                    return Err(self.error(open, "unclosed left brace"));
                }
                return Err(self.unexpected(" in label matching, expected \",\" or \"}\""));
            }
        }
        Ok(())
    }

    fn matcher(&mut self, name: &str, op: MatchOp, value: &str, place: usize) -> Result<Matcher, ParseError> {
        if matches!(op, MatchOp::Equal | MatchOp::NotEqual) {
            return Matcher::new(name, op, value).map_err(|error| self.error(place, error.to_string()));
        }
        let is_same = |m: &&Matcher| m.op() == op && m.name() == name && m.value() == value;
        if let Some(known) = self.regexes.iter().find(is_same) {
            return Ok(known.clone());
        }
        if self.regexes.len() == MAX_REGEXES {
            let why = format!("query has more than {MAX_REGEXES} different regular expressions");
            return Err(self.error(place, why));
        }
        let compiled = Matcher::new(name, op, value).map_err(|error| {
            let source = std::error::Error::source(&error).map_or(String::new(), ToString::to_string);
            // The crate draws a picture over several lines; its last one says what is wrong.
            let why = source
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            self.error(place, format!("{error}: {why}"))
        })?;
        self.regexes.push(compiled.clone());
        Ok(compiled)
    }
}
