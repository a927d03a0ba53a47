//! Binary operators, and how they match the series of their sides.

use super::cursor::{Parser, is_one_of};
use crate::check;
use crate::error::ParseError;
use crate::features::FILL_MODIFIERS;
use crate::token::Kind;
use crate::tree::{BinaryOp, Fill, Group, Matching};

impl Parser<'_> {
    /// `bool on (…) group_left (…)`
    pub(super) fn matching(&mut self, op: BinaryOp) -> Result<check::Modifier, ParseError> {
        let mut modifier = check::Modifier::default();
        if self.take_word("bool") {
            if !op.is_comparison() {
                self.at -= 1;
                return Err(self.error_here("bool modifier can only be used on comparison operators"));
            }
            modifier.returns_bool = true;
        }
        let clause = self.kind() == &Kind::Word && is_one_of(self.word(), &["on", "ignoring"]);
        if clause {
            let on = is_one_of(self.word(), &["on"]);
            self.at += 1;
            let labels = self.label_names("grouping opts")?;
            let place = self.start();
            let (mut group, mut include) = (Group::Neither, Vec::new());
            if self.take_word("group_left") {
                group = Group::Left;
            } else if self.take_word("group_right") {
                group = Group::Right;
            }
            if group != Group::Neither && self.kind() == &Kind::Sign("(") {
                include = self.label_names("grouping opts")?;
            }
            let matching = Matching {
                on,
                labels,
                group,
                include,
                fill: Fill::default(),
            };
            modifier.matching = Some((place, matching));
        }
        self.fill(&mut modifier)?;
        Ok(modifier)
    }

    /// `fill (0)`, or `fill_left (0)` and `fill_right (0)` in either order.
    fn fill(&mut self, modifier: &mut check::Modifier) -> Result<(), ParseError> {
        let (place, mut fill) = (self.start(), Fill::default());
        loop {
            let word = self.word();
            let is = |names: &[&str]| is_one_of(word, names);
            let (left, right) = (is(&["fill", "fill_left"]), is(&["fill", "fill_right"]));
            // Without parentheses it is a metric of that name.
            let is_modifier = self.kind() == &Kind::Word
                && (left || right)
                && self.tokens[self.at + 1].kind == Kind::Sign("(");
            if !is_modifier {
                break;
            }
            if !self.features.fill_modifiers {
                let why = format!("the modifier `{word}` is experimental and not enabled ({FILL_MODIFIERS})");
                return Err(self.error_here(why));
            }
            if left && fill.left.is_some() || right && fill.right.is_some() {
                return Err(self.unexpected(": what a side is filled with is set already"));
            }
            self.at += 1;
            let value = self.fill_value()?;
            if left {
                fill.left = Some(value);
            }
            if right {
                fill.right = Some(value);
            }
        }
        if fill.is_any() {
            modifier
                .matching
                .get_or_insert((place, Matching::default()))
                .1
                .fill = fill;
        }
        Ok(())
    }

    /// `(0)`
    fn fill_value(&mut self) -> Result<f64, ParseError> {
        let open = self.start();
        self.at += 1;
        let is_negative = self.take("-");
        if !is_negative {
            self.take("+");
        }
        let (Kind::Number(value) | Kind::Duration(value)) = *self.kind() else {
            return Err(self.unexpected(" in fill value, expected number"));
        };
        self.at += 1;
        self.close(")", open)?;
        Ok(if is_negative { -value } else { value })
    }

    pub(super) fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.kind() {
            Kind::Sign(sign) => match *sign {
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Sub,
                "*" => BinaryOp::Mul,
                "/" => BinaryOp::Div,
                "%" => BinaryOp::Mod,
                "^" => BinaryOp::Pow,
                "==" => BinaryOp::Equal,
                "!=" => BinaryOp::NotEqual,
                "<" => BinaryOp::Less,
                "<=" => BinaryOp::LessEqual,
                ">" => BinaryOp::Greater,
                ">=" => BinaryOp::GreaterEqual,
                "</" => BinaryOp::TrimAbove,
                ">/" => BinaryOp::TrimBelow,
                _ => return None,
            },
            Kind::Word => match &*self.word().to_ascii_lowercase() {
                "atan2" => BinaryOp::Atan2,
                "and" => BinaryOp::And,
                "or" => BinaryOp::Or,
                "unless" => BinaryOp::Unless,
                _ => return None,
            },
            _ => return None,
        })
    }
}
