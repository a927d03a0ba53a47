//! From the text of a query to an expression that can be evaluated: a tree of [`fleetgauge_syntax`] whose matchers are
//! compiled.

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests;

use std::fmt;

use fleetgauge_syntax::{Features, Function, Times, tree};

use crate::matcher::Matcher;

pub use fleetgauge_syntax::ParseError;
pub use fleetgauge_syntax::tree::ValueType;

pub(crate) use fleetgauge_syntax::tree::{
    AggregateOp, AggregatePlaces, At, BinaryOp, Group, Grouping, Matching, Shift,
};

pub(crate) type Aggregate = tree::Aggregate<Matcher>;
pub(crate) type Binary = tree::Binary<Matcher>;
pub(crate) type Call = tree::Call<Matcher>;
pub(crate) type Expr = tree::Expr<Matcher>;
pub(crate) type Selector = tree::Selector<Matcher>;
pub(crate) type Subquery = tree::Subquery<Matcher>;

/// A query that was parsed, checked and compiled. Prints as it was written.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Box<str>,
    root: Expr,
    is_timed: bool,
}

/// How many different regular expressions a query may have; each may take 1 MiB.
const MAX_REGEXES: usize = 100;

/// The names of the functions that can be evaluated, sorted.
pub fn functions() -> impl Iterator<Item = &'static str> {
    Function::evaluated().map(Function::name)
}

/// The names of the aggregations, all of which can be evaluated.
pub fn aggregations() -> impl Iterator<Item = &'static str> {
    AggregateOp::names()
}

/// The matchers of a selector that stands alone, as `match[]` of Prometheus's API has it: `up`, `{job="a"}`.
///
/// *Errors*: [`ParseError`], with the place; also where it is something else than a selector, or may select every series.
pub fn metric_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let tree = fleetgauge_syntax::parse(text)?;
    let fail = || {
        Err(ParseError::new(
            text,
            0,
            "expected a selector such as up or {job=\"a\"}",
        ))
    };
    match tree.unwrapped() {
        tree::Expr::Selector(selector)
            if selector.shift == tree::Shift::default() && !text.trim_start().starts_with('(') =>
        {
            let mut known = Vec::new();
            let matchers = selector.matchers.iter().cloned();
            matchers
                .map(|matcher| compiled(text, matcher, &mut known))
                .collect()
        }
        _ => fail(),
    }
}

/// The query on one line, as it is printed here: without the blanks and parentheses that it does not need. One with an expression of
/// durations is as it was written, since of that a tree has the result alone.
///
/// *Errors*: [`ParseError`], with the place.
pub fn format(query: &str) -> Result<String, ParseError> {
    let parsed = fleetgauge_syntax::parse_with(query, Features::default(), None)?;
    Ok(match parsed.has_durations {
        true => query.trim().to_owned(),
        false => parsed.expr.to_string(),
    })
}

// === impl Expression ===

impl Expression {
    /// Parses and checks a query.
    ///
    /// *Errors*: [`ParseError`], with the place.
    pub fn parse(query: &str) -> Result<Self, ParseError> {
        Self::parse_with(query, Features::default(), None)
    }

    /// As [`parse`](Self::parse), also with what is experimental. Without the times that it names
    /// ([`is_timed`](Self::is_timed)) it is not one to evaluate.
    ///
    /// *Errors*: [`ParseError`], with the place.
    pub(crate) fn parse_with(
        query: &str,
        features: Features,
        times: Option<Times>,
    ) -> Result<Self, ParseError> {
        let parsed = fleetgauge_syntax::parse_with(query, features, times)?;
        let mut regexes = Vec::new();
        let mut compile = |matcher| compiled(query, matcher, &mut regexes);
        Ok(Self {
            root: parsed.expr.try_map(&mut compile)?,
            is_timed: parsed.is_timed,
            text: query.into(),
        })
    }

    /// The query as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it evaluates to.
    pub fn value_type(&self) -> ValueType {
        self.root.value_type()
    }

    /// Whether the order of its series means something, as that of `sort` and `topk` does.
    pub fn is_ordered(&self) -> bool {
        self.root.is_ordered()
    }

    /// Whether it has `step()`, `range()`, `start()` or `end()`, and so differs by the steps that it is evaluated at.
    pub(crate) fn is_timed(&self) -> bool {
        self.is_timed
    }

    pub(crate) fn root(&self) -> &Expr {
        &self.root
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The matcher, taken from `known` if it is there: the same expression often stands in both operands.
fn compiled(query: &str, matcher: tree::Matcher, known: &mut Vec<Matcher>) -> Result<Matcher, ParseError> {
    let place = matcher.place;
    let fail = |why: String| ParseError::new(query, place, why);
    if !matcher.op.is_regex() {
        return Matcher::compile(matcher).map_err(|error| fail(error.to_string()));
    }
    let is_same = |m: &&Matcher| (m.op(), m.name(), m.value()) == (matcher.op, &matcher.name, &matcher.value);
    if let Some(known) = known.iter().find(is_same) {
        return Ok(known.clone());
    }
    if known.len() == MAX_REGEXES {
        return Err(fail(format!(
            "query has more than {MAX_REGEXES} different regular expressions"
        )));
    }
    let compiled = Matcher::compile(matcher).map_err(|error| fail(error.with_reason()))?;
    known.push(compiled.clone());
    Ok(compiled)
}
