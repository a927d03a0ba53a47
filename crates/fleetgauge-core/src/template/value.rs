//! The values that a template computes with while it renders.

use std::ops::Deref;
use std::rc::Rc;

/// What a pipeline gives.
#[derive(Clone, Debug)]
pub(super) enum Value<'v> {
    /// An optional parameter without a value.
    Absent(usize),
    Text(Text<'v>),
    /// The values of a parameter whose kind is a list; at least one.
    List(Values<'v>),
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// The values that a caller gave for one parameter, each with the parameter's name.
pub(super) type Values<'v> = &'v [(Box<str>, Box<str>)];

#[derive(Clone, Debug)]
pub(super) enum Text<'v> {
    Borrowed(&'v str),
    Owned(Rc<str>),
}

// === impl Value ===

impl Value<'_> {
    /// Go's truth: not absent, empty, zero or false.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Absent(_) => false,
            Self::Text(text) => !text.is_empty(),
            Self::List(values) => !values.is_empty(),
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Bool(value) => *value,
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Absent(_) => "an absent parameter",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a fractional number",
            Self::Bool(_) => "a truth value",
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}
