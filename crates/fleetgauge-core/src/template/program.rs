//! A template as it is rendered: what a value cannot change is decided.

use super::error::Offset;
use super::func::Func;
use super::place::Place;
use crate::params::ParamSpec;

/// A compiled template.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) source: Box<str>,
    pub(super) params: Box<[ParamSpec]>,
    pub(super) steps: Vec<Step>,
    pub(super) places: Vec<Place>,
    /// How many variables it has.
    pub(super) slots: usize,
    /// The length of the constant text.
    pub(super) text_len: usize,
    /// Whether it renders to one metric name, rather than to a query.
    pub(super) is_metric_name: bool,
}

/// A compiled node.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Text {
        at: Offset,
        text: Box<str>,
    },
    Print {
        value: Expr,
        place: usize,
    },
    Set {
        slot: usize,
        value: Expr,
    },
    If(Branch),
    With(Branch),
    Range(Branch),
    /// `{{template}}`: its body, with its own dot.
    Body {
        dot: Option<Expr>,
        slot: usize,
        body: Vec<Step>,
    },
    Break,
    Continue,
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) at: Offset,
    pub(super) value: Expr,
    /// The variable that the pipeline sets; of a range, the one that each round sets.
    pub(super) slot: Option<usize>,
    pub(super) body: Vec<Step>,
    pub(super) otherwise: Vec<Step>,
}

/// A compiled pipeline or operand.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    /// A parameter, by its place in the declaration.
    Param(usize),
    Dot,
    Variable(usize),
    Text(Box<str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Call {
        func: Func,
        args: Vec<Expr>,
        at: Offset,
    },
}
