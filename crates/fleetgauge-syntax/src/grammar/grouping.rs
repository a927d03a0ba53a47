//! The labels by which series are grouped or matched.

use std::sync::Arc;

use super::cursor::{Parser, is_one_of};
use crate::error::ParseError;
use crate::token::Kind;
use crate::tree::Grouping;

impl Parser<'_> {
    /// `by (…)` or `without (…)`.
    pub(super) fn grouping(&mut self) -> Result<Option<Grouping>, ParseError> {
        let without = match self.kind() {
            Kind::Word if is_one_of(self.word(), &["by"]) => false,
            Kind::Word if is_one_of(self.word(), &["without"]) => true,
            _ => return Ok(None),
        };
        self.at += 1;
        let labels = self.label_names("grouping opts")?;
        Ok(Some(Grouping { without, labels }))
    }

    /// `(a, b)`
    pub(super) fn label_names(&mut self, place: &str) -> Result<Vec<Arc<str>>, ParseError> {
        let open = self.start();
        if !self.take("(") {
            return Err(self.unexpected(&format!(" in {place}, expected \"(\"")));
        }
        let mut names = Vec::new();
        while !self.take(")") {
            let name = match self.kind() {
                Kind::Word if !self.word().contains(':') => self.word().into(),
                Kind::Text(name) if !name.is_empty() => Arc::from(name.as_str()),
                Kind::End => return Err(self.error(open, "unclosed left parenthesis")),
                _ => return Err(self.unexpected(&format!(" in {place}, expected label"))),
            };
            self.at += 1;
            names.push(name);
            if !self.take(",") && self.kind() != &Kind::Sign(")") {
                if self.kind() == &Kind::End {
                    return Err(self.error(open, "unclosed left parenthesis"));
                }
                return Err(self.unexpected(&format!(" in {place}, expected \",\" or \")\"")));
            }
        }
        Ok(names)
    }
}
