//! An expression under construction.

use crate::tree::{Expr, Shift};

/// An expression with what is to be known of its text.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) expr: Expr,
    /// Where it begins. *Unit*: bytes.
    pub(crate) start: usize,
    /// How deep the tree is.
    pub(super) height: usize,
    pub(super) in_parentheses: bool,
    pub(super) has_offset: bool,
}

// === impl Node ===

impl Node {
    pub(super) fn new(expr: Expr, start: usize, height: usize) -> Self {
        Self {
            expr,
            start,
            height,
            in_parentheses: false,
            has_offset: false,
        }
    }

    /// What `offset` and `@` change, if they may stand here.
    pub(super) fn shift(&mut self) -> Option<&mut Shift> {
        match &mut self.expr {
            _ if self.in_parentheses => None,
            Expr::Selector(selector) => Some(&mut selector.shift),
            Expr::Range(range) => Some(&mut range.selector.shift),
            Expr::Subquery(subquery) => Some(&mut subquery.shift),
            _ => None,
        }
    }
}
