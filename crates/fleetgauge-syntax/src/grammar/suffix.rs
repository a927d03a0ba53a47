//! What follows an operand and says of which time: ranges, subqueries, `offset` and `@`.

use super::cursor::{Parser, is_one_of};
use super::node::Node;
use crate::check;
use crate::error::ParseError;
use crate::limit::MAX_DEPTH;
use crate::token::Kind;
use crate::tree::{At, Expr, Extended, RangeSelector, Shift, Subquery};

impl Parser<'_> {
    /// `[5m]`, `[5m:1m]`, `offset 5m` and `@ t`, any of them again and again.
    pub(super) fn suffixes(&mut self, mut node: Node) -> Result<Node, ParseError> {
        loop {
            node = match self.kind() {
                Kind::Sign("[") => self.brackets(node)?,
                Kind::Sign("@") => self.at_modifier(node)?,
                Kind::Word if is_one_of(self.word(), &["offset"]) => self.offset(node)?,
                Kind::Word if is_one_of(self.word(), &["anchored"]) => {
                    self.extended(node, Extended::Anchored)?
                }
                Kind::Word if is_one_of(self.word(), &["smoothed"]) => {
                    self.extended(node, Extended::Smoothed)?
                }
                _ => return Ok(node),
            };
        }
    }

    fn brackets(&mut self, node: Node) -> Result<Node, ParseError> {
        let open = self.start();
        self.at += 1;
        let range = self.positive_duration("range")?;
        let step = match self.take(":") {
            false => None,
            true if self.kind() == &Kind::Sign("]") => Some(None),
            true => Some(Some(self.positive_duration("step")?)),
        };
        self.close("]", open)?;
        if node.height >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        let (start, height) = (node.start, node.height + 1);
        let expr = match step {
            Some(step) => {
                check::subquery(&node).map_err(|why| self.error(node.start, why))?;
                Expr::Subquery(Box::new(Subquery {
                    expr: node.expr,
                    range,
                    // Less than a millisecond is as good as none.
                    step: step.map(|step| step.max(1)),
                    shift: Shift::default(),
                }))
            }
            None => {
                let why = match &node.expr {
                    Expr::Selector(selector) if !node.in_parentheses => {
                        match (node.has_offset, selector.shift.at) {
                            (true, _) => "no offset modifiers allowed before range",
                            (_, Some(_)) => "no @ modifiers allowed before range",
                            _ => "",
                        }
                    }
                    _ => "ranges only allowed for vector selectors; a subquery is written [range:step]",
                };
                match node.expr {
                    Expr::Selector(selector) if why.is_empty() => {
                        Expr::Range(RangeSelector { selector, range })
                    }
                    _ => return Err(self.error(open, why)),
                }
            }
        };
        Ok(Node::new(expr, start, height))
    }

    fn offset(&mut self, mut node: Node) -> Result<Node, ParseError> {
        let place = self.start();
        self.at += 1;
        let is_negative = match self.kind() {
            Kind::Sign("-") => true,
            Kind::Sign("+") => false,
            _ => {
                // Not a sign: nothing to pass over.
                self.at -= 1;
                false
            }
        };
        self.at += 1;
        let millis = self.duration("offset")?;
        if node.has_offset {
            return Err(self.error(place, "offset may not be set multiple times"));
        }
        let Some(shift) = node.shift() else {
            let why = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(self.error(place, why));
        };
        shift.offset = if is_negative { -millis } else { millis };
        node.has_offset = true;
        Ok(node)
    }

    fn at_modifier(&mut self, mut node: Node) -> Result<Node, ParseError> {
        let place = self.start();
        self.at += 1;
        let sign = match self.kind() {
            Kind::Sign("-") => -1.0,
            _ => 1.0,
        };
        if matches!(self.kind(), Kind::Sign("-" | "+")) {
            self.at += 1;
        }
        let at = match self.kind() {
            Kind::Number(seconds) | Kind::Duration(seconds) => {
                let millis = sign * seconds * 1000.0;
                if !(seconds.is_finite() && millis.abs() < 9.2e18) {
                    let why = format!("timestamp out of bounds for @ modifier: {}", sign * seconds);
                    return Err(self.error_here(why));
                }
                At::Time(millis.round() as i64)
            }
            Kind::Word if is_one_of(self.word(), &["start", "end"]) => {
                let at = if is_one_of(self.word(), &["start"]) {
                    At::Start
                } else {
                    At::End
                };
                self.at += 1;
                if self.kind() != &Kind::Sign("(") {
                    return Err(self.unexpected(" in @, expected \"()\""));
                }
                self.at += 1;
                if self.kind() != &Kind::Sign(")") {
                    return Err(self.unexpected(" in @, expected \")\""));
                }
                at
            }
            _ => return Err(self.unexpected(" in @, expected timestamp, start() or end()")),
        };
        self.at += 1;
        let Some(shift) = node.shift() else {
            let why = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(self.error(place, why));
        };
        if shift.at.is_some() {
            return Err(self.error(place, "@ <timestamp> may not be set multiple times"));
        }
        shift.at = Some(at);
        Ok(node)
    }

    /// `anchored` or `smoothed`. What a function does not take is said by [`check::call`].
    fn extended(&mut self, mut node: Node, by: Extended) -> Result<Node, ParseError> {
        let (place, name) = (self.start(), by.as_str().unwrap_or_default());
        self.at += 1;
        let selector = match &mut node.expr {
            Expr::Selector(selector) if !node.in_parentheses => selector,
            Expr::Range(range) if !node.in_parentheses => &mut range.selector,
            Expr::Subquery(_) if !node.in_parentheses => {
                return Err(self.error(place, format!("{name} modifier is not supported for subqueries")));
            }
            _ => return Err(self.error(place, format!("{name} modifier not implemented"))),
        };
        if ![Extended::No, by].contains(&selector.extended) {
            let why = "anchored and smoothed modifiers cannot be used together";
            return Err(self.error(place, why));
        }
        selector.extended = by;
        Ok(node)
    }

    /// Whether what follows is more than a duration, and may be.
    fn is_expression(&self) -> bool {
        let is_alone = matches!(self.kind(), Kind::Number(_) | Kind::Duration(_))
            && matches!(self.tokens[self.at + 1].kind, Kind::Sign("]" | ":") | Kind::End);
        !is_alone
    }

    /// *Unit*: milliseconds.
    fn duration(&mut self, place: &str) -> Result<i64, ParseError> {
        if place == "offset" && matches!(self.kind(), Kind::Sign("(") | Kind::Word) {
            return self.expression_as_offset();
        }
        let seconds = match self.kind() {
            Kind::Number(seconds) | Kind::Duration(seconds) => *seconds,
            _ => return Err(self.unexpected(&format!(" in {place}, expected duration"))),
        };
        // Prometheus counts nanoseconds in 64 bits.
        if seconds.is_nan() || seconds.abs() >= 9_223_372_036.0 {
            return Err(self.error_here("duration out of range"));
        }
        self.at += 1;
        Ok((seconds * 1000.0 + 1e-6) as i64)
    }

    fn positive_duration(&mut self, place: &str) -> Result<i64, ParseError> {
        if self.is_expression() {
            return self.expression_in_brackets();
        }
        let start = self.start();
        if let Kind::Number(seconds) | Kind::Duration(seconds) = self.kind()
            && *seconds <= 0.0
        {
            return Err(self.error(start, "duration must be greater than 0"));
        }
        self.duration(place)
    }
}
