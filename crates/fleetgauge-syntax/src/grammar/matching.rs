//! Binary operators, and how they match the series of their sides.

use super::cursor::{Parser, is_one_of};
use crate::check;
use crate::error::ParseError;
use crate::token::Kind;
use crate::tree::{BinaryOp, Group, Matching};

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
            };
            modifier.matching = Some((place, matching));
        }
        let is_fill =
            self.kind() == &Kind::Word && is_one_of(self.word(), &["fill", "fill_left", "fill_right"]);
        if is_fill && self.tokens[self.at + 1].kind == Kind::Sign("(") {
            let why = format!("the modifier `{}` is not supported here", self.word());
            return Err(self.error_here(why));
        }
        Ok(modifier)
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
