//! The tree of a query: what was written, with every name resolved and every type checked.

use std::fmt;
use std::sync::Arc;

use crate::matcher::Matcher;

use super::signature::Signature;

/// An expression. Its types fit; see [`super::check`].
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Number(f64),
    Text(Arc<str>),
    Selector(Selector),
    Range(RangeSelector),
    Subquery(Box<Subquery>),
    Call(Call),
    Aggregate(Box<Aggregate>),
    Negate(Box<Expr>),
    Binary(Box<Binary>),
    /// An expression that has the same value at every step, because `@` holds all of its selectors.
    Once(Box<Expr>),
}

/// `name{matchers} offset … @ …`
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) shift: Shift,
}

/// `selector[range]`
#[derive(Clone, Debug)]
pub(crate) struct RangeSelector {
    pub(crate) selector: Selector,
    /// *Unit*: milliseconds.
    pub(crate) range: i64,
}

/// `expr[range:step]`
#[derive(Clone, Debug)]
pub(crate) struct Subquery {
    pub(crate) expr: Expr,
    /// *Unit*: milliseconds.
    pub(crate) range: i64,
    /// *Unit*: milliseconds; `None` is the engine's default.
    pub(crate) step: Option<i64>,
    pub(crate) shift: Shift,
}

/// Where a selector or subquery looks, relative to the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    /// How far back. *Unit*: milliseconds.
    pub(crate) offset: i64,
    /// The time that stands in for the step's.
    pub(crate) at: Option<At>,
}

/// `@`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// *Unit*: milliseconds since the Unix epoch.
    Time(i64),
    /// The first step of the query.
    Start,
    /// The last step of the query.
    End,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Signature,
    pub(crate) args: Vec<Expr>,
    /// Where each argument begins. *Unit*: bytes.
    pub(crate) places: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) param: Option<Expr>,
    /// Where the first argument begins: the parameter, if there is one. *Unit*: bytes.
    pub(crate) place: usize,
    pub(crate) expr: Expr,
    pub(crate) grouping: Grouping,
}

/// `by (labels)` or `without (labels)`; neither is `by ()`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grouping {
    pub(crate) without: bool,
    pub(crate) labels: Vec<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    /// `bool`: a comparison gives 0 or 1 instead of filtering.
    pub(crate) returns_bool: bool,
    pub(crate) matching: Matching,
}

/// Which series of two vectors belong together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matching {
    /// `on` and not `ignoring`.
    pub(crate) on: bool,
    pub(crate) labels: Vec<Arc<str>>,
    pub(crate) group: Group,
    /// The labels in the parentheses of `group_left` or `group_right`.
    pub(crate) include: Vec<Arc<str>>,
}

/// Which side may have several series for one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Group {
    #[default]
    Neither,
    Left,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
}

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A number.
    Scalar,
    /// A string.
    Text,
    /// One sample a series.
    InstantVector,
    /// Several samples a series.
    RangeVector,
}

// === impl Expr ===

impl Expr {
    /// Without [`Once`](Self::Once) around it.
    pub(crate) fn unwrapped(&self) -> &Self {
        match self {
            Self::Once(inner) => inner.unwrapped(),
            other => other,
        }
    }

    /// Whether the order of the result means something (`sort`, `topk`).
    pub(crate) fn is_ordered(&self) -> bool {
        match self {
            Self::Call(call) => {
                call.function.name.starts_with("sort") || call.args.iter().any(Self::is_ordered)
            }
            Self::Aggregate(aggregate) => matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk),
            Self::Binary(binary) => binary.left.is_ordered() || binary.right.is_ordered(),
            Self::Negate(inner) | Self::Once(inner) => inner.is_ordered(),
            Self::Number(_) | Self::Text(_) | Self::Selector(_) | Self::Range(_) | Self::Subquery(_) => false,
        }
    }

    pub(crate) fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::Text(_) => ValueType::Text,
            Self::Selector(_) | Self::Aggregate(_) => ValueType::InstantVector,
            Self::Range(_) | Self::Subquery(_) => ValueType::RangeVector,
            Self::Call(call) => call.function.returns,
            Self::Negate(inner) | Self::Once(inner) => inner.value_type(),
            Self::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::InstantVector,
            },
        }
    }
}

// === impl operators ===

impl AggregateOp {
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        AGGREGATES.iter().map(|(name, _)| *name)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        let mut all = AGGREGATES.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|&(_, op)| op)
    }

    #[cfg(test)]
    pub(super) fn name(self) -> &'static str {
        let mut all = AGGREGATES.iter();
        all.find(|&&(_, op)| op == self).map_or("", |(name, _)| name)
    }

    /// What its parameter must be, if it takes one.
    pub(super) fn param(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => {
                Some(ValueType::Scalar)
            }
            Self::CountValues => Some(ValueType::Text),
            Self::Sum
            | Self::Avg
            | Self::Min
            | Self::Max
            | Self::Count
            | Self::Group
            | Self::Stddev
            | Self::Stdvar => None,
        }
    }
}

const AGGREGATES: [(&str, AggregateOp); 14] = [
    ("sum", AggregateOp::Sum),
    ("avg", AggregateOp::Avg),
    ("min", AggregateOp::Min),
    ("max", AggregateOp::Max),
    ("count", AggregateOp::Count),
    ("group", AggregateOp::Group),
    ("stddev", AggregateOp::Stddev),
    ("stdvar", AggregateOp::Stdvar),
    ("topk", AggregateOp::Topk),
    ("bottomk", AggregateOp::Bottomk),
    ("quantile", AggregateOp::Quantile),
    ("count_values", AggregateOp::CountValues),
    ("limitk", AggregateOp::Limitk),
    ("limit_ratio", AggregateOp::LimitRatio),
];

impl BinaryOp {
    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual
        )
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// How tightly it binds: tighter is more.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }
}

/// As Prometheus's messages name it.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Text => "string",
            Self::InstantVector => "instant vector",
            Self::RangeVector => "range vector",
        })
    }
}
