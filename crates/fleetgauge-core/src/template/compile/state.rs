//! What is known at a place of a template: its parameters, its variables, and what `.` is.

use super::super::context::Context;
use super::super::error::{Fault, Offset};
use super::super::parse::{Define, Operand, Term};
use super::super::place::Places;
use crate::params::{ParamKind, ParamSpec};

/// The kind of parameter that a value comes from; `None` for constants and what is computed from them.
pub(super) type Origin = Option<ParamKind>;

/// What `.` is.
#[derive(Clone, Copy)]
pub(super) enum Dot {
    Params,
    Value(Origin),
    /// In a template that is called without a value.
    Nothing,
}

pub(super) struct Variable<'s> {
    pub(super) name: &'s str,
    pub(super) slot: usize,
    pub(super) origin: Origin,
}

pub(super) struct Compiler<'t, 's> {
    pub(super) specs: &'t [ParamSpec],
    pub(super) defines: &'t [Define<'s>],
    pub(super) used: Vec<bool>,
    pub(super) called: Vec<bool>,
    pub(super) places: Places,
    pub(super) variables: Vec<Variable<'s>>,
    pub(super) slots: usize,
    pub(super) nodes: usize,
    pub(super) depth: usize,
    /// The templates being called, and what `$` is in the innermost.
    pub(super) calls: Vec<&'t str>,
    pub(super) root: Dot,
    /// Per open loop, the contexts in which `{{break}}` and `{{continue}}` leave its body.
    pub(super) exits: Vec<Vec<Context>>,
}

// === impl Compiler ===

impl<'s> Compiler<'_, 's> {
    /// Whether an operand is the whole set of parameters: `.` or `$`.
    pub(super) fn is_params_operand(&self, operand: &Operand<'s>, dot: Dot) -> bool {
        operand.fields.is_empty()
            && match operand.term {
                Term::Dot => matches!(dot, Dot::Params),
                Term::Variable("$") => matches!(self.root, Dot::Params),
                _ => false,
            }
    }
}

/// Whether values of this kind are written otherwise than texts are.
pub(super) fn stays_apart(origin: Origin) -> bool {
    origin.is_some_and(|kind| kind == ParamKind::Regex || kind.is_list())
}

pub(super) fn undefined(at: Offset, name: &str) -> Fault {
    Fault::new(at, format!("variable {name} is not defined here"))
}

pub(super) fn nothing_passed(at: Offset) -> Fault {
    Fault::new(
        at,
        "no value is passed to this template: write {{template \"name\" .}} where it is called",
    )
}
