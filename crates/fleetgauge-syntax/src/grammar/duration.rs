//! Expressions of durations: `[step() * 2]`, `offset (1h / 2)`. They are computed while they are read, so that the tree
//! has durations alone.

use super::cursor::{Parser, is_one_of};
use crate::error::ParseError;
use crate::limit::MAX_DEPTH;
use crate::token::Kind;

/// *Unit*: seconds. `None` is one that depends on the times of a query which are not known.
type Seconds = Option<f64>;

const SUM: u8 = 1;
const PRODUCT: u8 = 2;
const POWER: u8 = 3;

impl Parser<'_> {
    /// What stands in brackets. *Unit*: milliseconds.
    pub(super) fn expression_in_brackets(&mut self) -> Result<i64, ParseError> {
        self.has_durations = true;
        let start = self.start();
        let seconds = self.durations(SUM)?;
        if seconds.is_some_and(|seconds| seconds <= 0.0) {
            return Err(self.error(start, "duration must be greater than 0"));
        }
        self.millis(seconds, start)
    }

    /// What stands behind `offset` and its sign: operators belong to it in parentheses alone. *Unit*: milliseconds.
    pub(super) fn expression_as_offset(&mut self) -> Result<i64, ParseError> {
        self.has_durations = true;
        let start = self.start();
        let seconds = self.duration_operand()?;
        self.millis(seconds, start)
    }

    fn millis(&self, seconds: Seconds, start: usize) -> Result<i64, ParseError> {
        match seconds {
            // A stand-in.
            None => Ok(1),
            Some(seconds) if !seconds.is_finite() => Err(self.error(start, "duration is NaN or infinite")),
            // Prometheus counts nanoseconds in 64 bits.
            Some(seconds) if seconds.abs() >= 9_223_372_036.0 => {
                Err(self.error(start, "duration out of range"))
            }
            Some(seconds) => Ok((seconds * 1000.0) as i64),
        }
    }

    /// Durations whose operators all bind at least as tightly as `least`.
    fn durations(&mut self, least: u8) -> Result<Seconds, ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.too_deep());
        }
        let mut left = match self.kind() {
            Kind::Sign(sign @ ("+" | "-")) => {
                let is_negative = *sign == "-";
                self.at += 1;
                // As tightly as `*`: -2 * 3 is (-2) * 3, and -2 ^ 2 is -(2 ^ 2).
                let operand = self.durations(POWER)?;
                operand.map(|seconds| if is_negative { -seconds } else { seconds })
            }
            _ => self.duration_operand()?,
        };
        while let Kind::Sign(sign) = *self.kind() {
            let precedence = match sign {
                "+" | "-" => SUM,
                "*" | "/" | "%" => PRODUCT,
                "^" => POWER,
                _ => break,
            };
            if precedence < least {
                break;
            }
            let place = self.start();
            self.at += 1;
            self.count_operation(place)?;
            // `^` alone groups from the right.
            let right = self.durations(precedence + u8::from(sign != "^"))?;
            match (sign, right) {
                ("/", Some(0.0)) => return Err(self.error(place, "division by zero")),
                ("%", Some(0.0)) => return Err(self.error(place, "modulo by zero")),
                _ => {}
            }
            left = left.zip(right).map(|(left, right)| match sign {
                "+" => left + right,
                "-" => left - right,
                "*" => left * right,
                "/" => left / right,
                "%" => left % right,
                _ => left.powf(right),
            });
        }
        self.depth -= 1;
        Ok(left)
    }

    /// `5m`, `300`, `step()`, `range()`, `min_of(a, b)`, `max_of(a, b)` or an expression in parentheses.
    fn duration_operand(&mut self) -> Result<Seconds, ParseError> {
        let start = self.start();
        match *self.kind() {
            Kind::Number(seconds) | Kind::Duration(seconds) => {
                if seconds.is_nan() || seconds.abs() >= 9_223_372_036.0 {
                    return Err(self.error_here("duration out of range"));
                }
                self.at += 1;
                Ok(Some(seconds))
            }
            Kind::Sign("(") => {
                self.at += 1;
                let seconds = self.durations(SUM)?;
                self.close(")", start)?;
                Ok(seconds)
            }
            Kind::Word => self.duration_function(),
            _ => Err(self.unexpected(", expected duration")),
        }
    }

    fn duration_function(&mut self) -> Result<Seconds, ParseError> {
        let (start, word) = (self.start(), self.word());
        let is = |name: &str| is_one_of(word, &[name]);
        if !["step", "range", "min_of", "max_of"].iter().any(|name| is(name)) {
            return Err(self.unexpected(", expected duration, step(), range(), min_of() or max_of()"));
        }
        self.at += 1;
        let open = self.start();
        if !self.take("(") {
            return Err(self.unexpected(&format!(" behind {word:?}, expected \"(\"")));
        }
        let millis = match self.times {
            _ if is("min_of") || is("max_of") => {
                let left = self.durations(SUM)?;
                if !self.take(",") {
                    return Err(self.unexpected(", expected \",\""));
                }
                let right = self.durations(SUM)?;
                self.close(")", open)?;
                let both = left.zip(right);
                return Ok(both.map(|(a, b)| if is("min_of") { a.min(b) } else { a.max(b) }));
            }
            Some(times) if is("step") => Some(times.step),
            Some(times) => Some(times.range),
            None => {
                self.stand_in.get_or_insert(start);
                None
            }
        };
        self.is_timed = true;
        self.close(")", open)?;
        Ok(millis.map(|millis| millis as f64 / 1000.0))
    }
}
