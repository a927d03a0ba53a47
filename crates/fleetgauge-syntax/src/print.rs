//! A tree as PromQL: text that parses to the same tree.
//!
//! Parentheses stand only where the tree needs them, so that no text is nested more deeply than the one that was
//! parsed. Everything is written in words that Prometheus 2.42 knows, where it knows what is meant at all.

use std::fmt;
use std::sync::Arc;

use crate::Function;
use crate::name::{is_plain, metric_name};
use crate::number::Number;
use crate::printable::Quoted;
use crate::tree::{
    Aggregate, At, Binary, BinaryOp, Call, Expr, Extended, Fill, Group, MatchOp, Matcher, Matching, Selector,
    Shift, Subquery,
};

/// The label that holds the name of the metric.
const METRIC_NAME: &str = "__name__";

/// How tightly a sign binds its operand: as `^`, whose left operand it cannot be.
const SIGN: u8 = 6;
/// What stands for itself.
const OPERAND: u8 = 7;

/// The units of durations, from large to small. *Unit* of the numbers: milliseconds.
const UNITS: [(i64, &str); 5] = [
    (86_400_000, "d"),
    (3_600_000, "h"),
    (60_000, "m"),
    (1_000, "s"),
    (1, "ms"),
];

/// A duration. *Unit*: milliseconds.
struct Span(i64);

/// The name of a label, in quotes if it needs them.
struct LabelName<'a>(&'a str);

/// Names of labels in parentheses.
struct LabelNames<'a>(&'a [Arc<str>]);

/// Matchers in braces.
struct Braces<'a>(&'a [Matcher]);

/// An operand of something that binds so tightly.
struct Within<'a>(&'a Expr, u8);

/// As PromQL writes it: [`parse`](crate::parse) reads the same tree.
///
/// ```
/// let tree = fleetgauge_syntax::parse("sum(rate(x{a='b'}[90s]))by(pod)>0 and -(y+1)")?;
/// assert_eq!(tree.to_string(), r#"sum by (pod) (rate(x{a="b"}[1m30s])) > 0 and -(y + 1)"#);
/// # Ok::<(), fleetgauge_syntax::ParseError>(())
/// ```
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) if *value == f64::INFINITY => f.write_str("Inf"),
            Self::Number(value) => Number(*value).fmt(f),
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Selector(selector) => selector.fmt(f),
            Self::Range(range) => {
                let selector = Named(&range.selector.matchers);
                write!(f, "{selector}[{}]", Span(range.range))?;
                range.selector.extended.fmt(f)?;
                range.selector.shift.fmt(f)
            }
            Self::Subquery(subquery) => subquery.fmt(f),
            Self::Call(call) => call.fmt(f),
            Self::Aggregate(aggregate) => aggregate.fmt(f),
            Self::Negate(inner) => match inner.unwrapped() {
                // Without parentheses it would be a negative number.
                Self::Number(_) => write!(f, "-({inner})"),
                _ => write!(f, "-{}", Within(inner, SIGN)),
            },
            Self::Binary(binary) => binary.fmt(f),
            Self::Once(inner) => inner.fmt(f),
        }
    }
}

fn tightness(expr: &Expr) -> u8 {
    match expr.unwrapped() {
        Expr::Negate(_) => SIGN,
        Expr::Number(value) if value.is_sign_negative() && !value.is_nan() => SIGN,
        Expr::Binary(binary) => binary.op.precedence(),
        _ => OPERAND,
    }
}

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self(expr, least) = self;
        match tightness(expr) < least {
            true => write!(f, "({expr})"),
            false => expr.fmt(f),
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.op.precedence();
        // `^` alone groups from the right.
        let (left, right) = match self.op {
            BinaryOp::Pow => (OPERAND, own),
            _ => (own, own + 1),
        };
        let op = self.op.as_str();
        let bool = if self.returns_bool { " bool" } else { "" };
        let (left, right) = (Within(&self.left, left), Within(&self.right, right));
        write!(f, "{left} {op}{bool}{} {right}", self.matching)
    }
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.group {
            Group::Neither if !self.on && self.labels.is_empty() => return self.fill.fmt(f),
            Group::Neither => None,
            Group::Left => Some("group_left"),
            Group::Right => Some("group_right"),
        };
        let clause = if self.on { "on" } else { "ignoring" };
        write!(f, " {clause} {}", LabelNames(&self.labels))?;
        if let Some(side) = side {
            // Also if there are none: what follows may be in parentheses.
            write!(f, " {side} {}", LabelNames(&self.include))?;
        }
        self.fill.fmt(f)
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in [("fill_left", self.left), ("fill_right", self.right)] {
            if let Some(value) = value {
                write!(f, " {name} ({})", Expr::<Matcher>::Number(value))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        match (self.grouping.without, &self.grouping.labels[..]) {
            (false, []) => {}
            (false, labels) => write!(f, " by {} ", LabelNames(labels))?,
            (true, labels) => write!(f, " without {} ", LabelNames(labels))?,
        }
        match &self.param {
            Some(param) => write!(f, "({param}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())?;
        f.write_str("(")?;
        for (i, arg) in self.args.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            match arg {
                // `info` takes matchers, and not a metric.
                Expr::Selector(selector) if i > 0 && self.function == Function::Info => {
                    Braces(&selector.matchers).fmt(f)?;
                }
                arg => arg.fmt(f)?,
            }
        }
        f.write_str(")")
    }
}

impl fmt::Display for Subquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expr.unwrapped() {
            // Two times side by side are hard to read.
            Expr::Selector(selector)
                if selector.shift != Shift::default() || selector.extended != Extended::No =>
            {
                write!(f, "({selector})")?;
            }
            _ => Within(&self.expr, OPERAND).fmt(f)?,
        }
        write!(f, "[{}:", Span(self.range))?;
        if let Some(step) = self.step {
            Span(step).fmt(f)?;
        }
        write!(f, "]{}", self.shift)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", Named(&self.matchers), self.extended, self.shift)
    }
}

/// Matchers, of which the first may be written as the name of the metric.
struct Named<'a>(&'a [Matcher]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return Braces(self.0).fmt(f);
        };
        let is_name = first.name == METRIC_NAME && first.op == MatchOp::Equal;
        let is_only = rest.iter().all(|matcher| matcher.name != METRIC_NAME);
        if !(is_name && is_only && metric_name(&first.value).is_ok()) {
            return Braces(self.0).fmt(f);
        }
        f.write_str(&first.value)?;
        match rest {
            [] => Ok(()),
            rest => Braces(rest).fmt(f),
        }
    }
}

impl fmt::Display for Braces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        list(f, self.0)?;
        f.write_str("}")
    }
}

/// As PromQL writes it.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op, value) = (self.op.as_str(), Quoted(&self.value));
        write!(f, "{}{op}{value}", LabelName(&self.name))
    }
}

impl fmt::Display for LabelName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match !self.0.is_empty() && is_plain(self.0, false) {
            true => f.write_str(self.0),
            false => Quoted(self.0).fmt(f),
        }
    }
}

impl fmt::Display for LabelNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        let names: Vec<_> = self.0.iter().map(|name| LabelName(name)).collect();
        list(f, &names)?;
        f.write_str(")")
    }
}

/// With a blank before it, as a [`Shift`].
impl fmt::Display for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            None => Ok(()),
            Some(name) => write!(f, " {name}"),
        }
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            None => {}
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            Some(At::Time(millis)) => {
                let (sign, millis) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
                write!(f, " @ {sign}{}.{:03}", millis / 1000, millis % 1000)?;
            }
        }
        match self.offset {
            0 => Ok(()),
            1.. => write!(f, " offset {}", Span(self.offset)),
            _ => write!(f, " offset -{}", Span(self.offset.saturating_neg())),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            // What is shorter than a millisecond; nothing at all cannot be written.
            return f.write_str("0.0001");
        }
        for (length, unit) in UNITS {
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, parts: &[impl fmt::Display]) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        f.write_str(if i > 0 { ", " } else { "" })?;
        part.fmt(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::parse;

    /// `query` is printed as `printed`, and both are the same tree.
    fn check(query: &str, printed: &str) {
        let tree = |query: &str| parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let bare = |query: &str| format!("{:?}", tree(query).without_places());
        assert_eq!(tree(query).to_string(), printed);
        assert_eq!(bare(query), bare(printed), "{printed}");
    }

    #[test]
    fn numbers_and_texts() {
        check("1 + 0x1F", "1 + 31");
        check("+Inf + -Inf", "Inf + -Inf");
        check("NaN", "NaN");
        check("1e300 * 1e-9 * -0", "1e+300 * 1e-09 * -0");
        check("5m", "300");
        check(r#"'a"\n\x07'"#, r#""a\"\n\x07""#);
    }

    #[test]
    fn parentheses_stand_where_they_are_needed() {
        check("(a + b) * c", "(a + b) * c");
        check("a + (b * c)", "a + b * c");
        check("a - (b - c) - d", "a - (b - c) - d");
        check("(a ^ b) ^ c ^ d", "(a ^ b) ^ c ^ d");
        check("a or (b and c) unless d", "a or b and c unless d");
        check("(a or b) and c", "(a or b) and c");
        check("-a ^ b", "-a ^ b");
        check("(-a) ^ -b ^ 2", "(-a) ^ -b ^ 2");
        check("(-1) ^ 2 + 2 ^ -1", "(-1) ^ 2 + 2 ^ -1");
        check("-1 ^ 2", "-1 ^ 2");
        check("-(1) * - -a - -(-2)", "-(1) * --a - -(-2)");
        check("-(a * b) * -c", "-(a * b) * -c");
        check("(a)[5m:]", "a[5m:]");
        check("(-a)[5m:1m]", "(-a)[5m:1m]");
        check("(a+b)[5m:]", "(a + b)[5m:]");
        check("sum(a)[5m:]", "sum(a)[5m:]");
        check("(a > bool 1) == bool (b)", "a > bool 1 == bool b");
    }

    #[test]
    fn operators_match_as_written() {
        check("a / on () b", "a / on () b");
        check("a / ignoring () b", "a / b");
        check("a * on(x,y) group_left b", "a * on (x, y) group_left () b");
        check("a * on(x) group_right (z) (b)", "a * on (x) group_right (z) b");
        check(
            "a * ignoring() group_left () (b + c)",
            "a * ignoring () group_left () (b + c)",
        );
    }

    #[test]
    fn times_are_those_of_selectors() {
        check("a offset 90s @ 1.5", "a @ 1.500 offset 1m30s");
        check("a @ -0.5 offset -1h1ms", "a @ -0.500 offset -1h1ms");
        check(
            "rate(a[1d2h] @ start() offset 1w)",
            "rate(a[1d2h] @ start() offset 7d)",
        );
        check("rate(a[0.0001])", "rate(a[0.0001])");
        check(
            "max_over_time((a offset 1m)[5m:1s] @ end())",
            "max_over_time((a offset 1m)[5m:1s] @ end())",
        );
        check(
            "max_over_time(rate(a[1m])[1h:])",
            "max_over_time(rate(a[1m])[1h:])",
        );
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        check(r#"{__name__="a", b!~"c"}"#, r#"a{b!~"c"}"#);
        check(r#"{"a.b", 'c d'=~`\d`}"#, r#"{__name__="a.b", "c d"=~"\\d"}"#);
        check(r#"{b="c", "a"}"#, r#"{b="c", __name__="a"}"#);
        check(
            r#"{__name__="a",__name__!="b"}"#,
            r#"{__name__="a", __name__!="b"}"#,
        );
        check(r#"sum{on="x", inf="y"}"#, r#"{__name__="sum", on="x", inf="y"}"#);
        check(r#"sum by ("x.y", on) (a)"#, r#"sum by ("x.y", on) (a)"#);
        check(
            "count_values without () ('v', a)",
            r#"count_values without () ("v", a)"#,
        );
        check("topk(3, a)", "topk(3, a)");
        check("info(a, {})", "info(a, {})");
        check("info(a, {__name__='b'})", r#"info(a, {__name__="b"})"#);
        check("histogram_quantile(0.9, a)", "histogram_quantile(0.9, a)");
    }

    #[test]
    fn what_was_parsed_is_not_too_deep_when_printed() {
        for query in [
            format!("{}a{}", "-(".repeat(60), ")".repeat(60)),
            format!("{}a", "- ".repeat(120)),
            format!("a{}", " ^ -a".repeat(60)),
            format!("{}a{}", "abs(".repeat(120), ")".repeat(120)),
            format!("a{}", " or b and c".repeat(120)),
        ] {
            let printed = parse(&query).unwrap().to_string();
            let again = parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
            assert_eq!(again.to_string(), printed);
        }
    }
}
