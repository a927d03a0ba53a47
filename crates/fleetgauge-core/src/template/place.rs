//! The places where values land, and how a value is written there.
//!
//! Everything that is decided about a place (what fits, which quotes, whether a group is needed) is decided once,
//! when the template is compiled; here is only the work that is left for each value.

use fleetgauge_syntax::lexer::Quote;
use fleetgauge_syntax::name::{label_name, metric_name};
use fleetgauge_syntax::regex::is_meta;

use super::check;
use super::error::{Fault, Offset, RenderError, position};
use crate::params::ParamKind;
use crate::printable::Excerpt;

/// Why a text is not what must stand at a place.
type Check = fn(&str) -> Result<(), &'static str>;

/// Index of a place in its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlaceId(usize);

/// What fits at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Any text, in a string.
    Exact(Quote),
    /// Any text or a regular expression, in the string of a regex matcher; with a group around it so that what
    /// stands beside it applies to all of it.
    Regex {
        quote: Quote,
        group: bool,
    },
    /// Any text, in a comment.
    Comment,
    /// A metric name or a number.
    Operand,
    MetricName,
    /// The name of a matcher's label.
    Label,
    /// One label name of a list, or several.
    Labels,
    Duration,
    /// After `@`, where a sign may stand unless there is one already.
    Timestamp {
        signed: bool,
    },
    /// A part of a metric name that is checked when it is whole.
    Part,
}

/// One place.
#[derive(Clone, Debug)]
pub(super) struct Place {
    kind: ParamKind,
    fit: Fit,
    /// The check that the value must pass, if any: of its kind, or of what fits.
    check: Option<Check>,
    at: Offset,
    /// The parameter's name, or the source of the action that computes the value.
    what: Box<str>,
}

/// The places of a template, in the order of the source.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    next: usize,
}

// === impl Fit ===

impl Fit {
    fn describe(self, kind: ParamKind) -> &'static str {
        match (kind, self) {
            (ParamKind::MetricName, _) | (_, Self::MetricName) => "a metric name",
            (ParamKind::LabelNames, _) => "a list of label names",
            (ParamKind::LabelName, _) | (_, Self::Label | Self::Labels) => "a label name",
            (ParamKind::Duration, _) | (_, Self::Duration) => "a duration",
            (_, Self::Timestamp { .. }) => "a timestamp in seconds",
            (ParamKind::Number, _) => "a number",
            (ParamKind::Quantile, _) => "a number from 0 to 1",
            (_, Self::Operand) => "a metric name or a number",
            (
                ParamKind::Texts,
                Self::Regex {
                    quote: Quote::Raw, ..
                },
            ) => "a list of texts that are not empty, without backticks",
            (ParamKind::Texts, _) => "a list of texts that are not empty",
            (
                ParamKind::Regex,
                Self::Regex {
                    quote: Quote::Raw, ..
                },
            ) => "a regular expression without backticks",
            (ParamKind::Regex, _) => "a regular expression",
            (
                _,
                Self::Exact(Quote::Raw)
                | Self::Regex {
                    quote: Quote::Raw, ..
                },
            ) => "a text without backticks",
            (_, Self::Exact(_) | Self::Regex { .. } | Self::Comment) => "a text",
            (_, Self::Part) => "a part of a metric name",
        }
    }

    /// The check for a value of that kind, or why such a kind never fits.
    fn check_for(self, kind: ParamKind) -> Result<Option<Check>, String> {
        let of_kind: Option<Check> = match kind {
            ParamKind::Text => None,
            ParamKind::Regex => Some(check::regex),
            ParamKind::MetricName => Some(metric_name),
            ParamKind::LabelName => Some(label_name),
            ParamKind::Duration => Some(check::duration),
            ParamKind::Number => Some(check::number),
            ParamKind::Quantile => Some(check::quantile),
            // An empty text would match all series that lack the label.
            ParamKind::Texts => Some(|text| {
                if text.is_empty() {
                    Err("it is empty")
                } else {
                    Ok(())
                }
            }),
            ParamKind::LabelNames => Some(label_name),
        };
        let in_code: Check = match (self, kind) {
            (Self::Part | Self::Exact(_), ParamKind::Regex) => {
                return Err("a regular expression belongs in the string of =~ or !~: compare with =~, or declare the \
                            parameter as text"
                    .to_owned());
            }
            (Self::Regex { .. } | Self::Comment, ParamKind::Texts) => return Ok(of_kind),
            (_, ParamKind::Texts) => {
                return Err(
                    "a list of texts belongs in the string of =~ or !~, where it matches each of them"
                        .to_owned(),
                );
            }
            (Self::Exact(_) | Self::Regex { .. } | Self::Part, ParamKind::LabelNames) => {
                return Err(
                    "a list of label names belongs in by (…), without (…), on (…) and their kin".to_owned(),
                );
            }
            (Self::Exact(_) | Self::Regex { .. } | Self::Comment | Self::Part, _) => return Ok(of_kind),
            (Self::Operand, ParamKind::Text) => check::operand,
            (Self::Operand | Self::MetricName, ParamKind::MetricName)
            | (Self::MetricName, ParamKind::Text) => metric_name,
            (Self::Operand, ParamKind::Number) => check::number,
            (Self::Operand, ParamKind::Quantile) => check::quantile,
            (Self::Label | Self::Labels, ParamKind::Text | ParamKind::LabelName)
            | (Self::Labels, ParamKind::LabelNames) => label_name,
            (Self::Duration, ParamKind::Text | ParamKind::Duration) => check::duration,
            (Self::Timestamp { signed: true }, ParamKind::Text | ParamKind::Number) => check::timestamp,
            (Self::Timestamp { signed: false }, ParamKind::Text | ParamKind::Number) => {
                check::unsigned_timestamp
            }
            (fit, kind) => {
                let fits = fit.describe(ParamKind::Text);
                return Err(format!(
                    "a parameter of kind {kind} cannot stand here: {fits} fits"
                ));
            }
        };
        Ok(Some(in_code))
    }
}

// === impl PlaceId ===

impl PlaceId {
    pub(super) fn index(self) -> usize {
        self.0
    }
}

// === impl Places ===

impl Places {
    /// Adds a place, or meets it again when the body of a loop is read a second time.
    pub(super) fn add(&mut self, kind: ParamKind, fit: Fit, at: Offset, what: &str) -> PlaceId {
        let id = PlaceId(self.next);
        self.next += 1;
        // What stands before a quoted text takes nothing from it: only a regex needs a group for that.
        let fit = match fit {
            Fit::Regex { quote, .. } if !alternates(kind) => Fit::Regex { quote, group: false },
            fit => fit,
        };
        match (self.places.get_mut(id.0), fit) {
            (None, fit) => self.places.push(Place {
                kind,
                fit,
                check: None,
                at,
                what: what.into(),
            }),
            (
                Some(Place {
                    fit: Fit::Regex { group, .. },
                    ..
                }),
                Fit::Regex { group: again, .. },
            ) => *group |= again,
            (Some(_), _) => {}
        }
        id
    }

    /// Where the next place will be, to come [back](Self::rewind) to.
    pub(super) fn mark(&self) -> usize {
        self.next
    }

    pub(super) fn rewind(&mut self, mark: usize) {
        self.next = mark;
    }

    pub(super) fn offset(&self, id: PlaceId) -> Offset {
        self.places[id.0].at
    }

    /// What follows the operand makes it a selector.
    pub(super) fn must_be_metric(&mut self, id: PlaceId) {
        self.places[id.0].fit = Fit::MetricName;
    }

    /// Something follows the value in the regex of its string: a repetition, or anything else.
    pub(super) fn followed(&mut self, id: PlaceId, repeats: bool) {
        let place = &mut self.places[id.0];
        if let Fit::Regex { group, .. } = &mut place.fit {
            // A quoted text only needs a group where a repetition would take its last character alone.
            *group |= repeats || alternates(place.kind);
        }
    }

    /// The places for good, each with its check; or the first whose kind does not fit.
    pub(super) fn finish(mut self) -> Result<Vec<Place>, Fault> {
        for place in &mut self.places {
            place.check = place
                .fit
                .check_for(place.kind)
                .map_err(|message| Fault::new(place.at, message))?;
        }
        Ok(self.places)
    }
}

// === impl Place ===

impl Place {
    pub(super) fn at(&self) -> Offset {
        self.at
    }

    /// The parameter's name, or the source of the action.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// Whether a value here may be a metric name as well as a number.
    pub(super) fn is_any_operand(&self) -> bool {
        self.fit == Fit::Operand && self.kind == ParamKind::Text
    }

    /// What can stand for any value here; a name is `name`.
    pub(super) fn stand_in<'n>(&self, name: &'n str) -> &'n str {
        match (self.fit, self.kind) {
            (Fit::Duration, _) | (_, ParamKind::Duration) => "5m",
            (Fit::Timestamp { .. }, _) | (_, ParamKind::Number | ParamKind::Quantile) => "1",
            _ => name,
        }
    }

    /// Writes a value as it must be written here; or why it cannot stand here.
    #[inline]
    pub(super) fn write(&self, value: &str, out: &mut String) -> Result<(), &'static str> {
        self.write_all(std::iter::once(value), out)
            .map_err(|(_, reason)| reason)
    }

    /// Writes the values of a list, of which each counts once; or which of them cannot stand here, and why.
    #[inline]
    pub(super) fn write_all<'v>(
        &self,
        values: impl Iterator<Item = &'v str>,
        out: &mut String,
    ) -> Result<(), (&'v str, &'static str)> {
        let group = matches!(self.fit, Fit::Regex { group: true, .. });
        out.push_str(if group { "(?:" } else { "" });
        for (i, value) in values.enumerate() {
            if i > 0 {
                out.push_str(if matches!(self.fit, Fit::Regex { .. }) {
                    "|"
                } else {
                    ", "
                });
            }
            self.write_one(value, out).map_err(|reason| (value, reason))?;
        }
        out.push_str(if group { ")" } else { "" });
        Ok(())
    }

    #[inline]
    fn write_one(&self, value: &str, out: &mut String) -> Result<(), &'static str> {
        if let Some(check) = self.check {
            check(value)?;
        }
        match self.fit {
            Fit::Exact(quote) => write_string(value, quote, out),
            Fit::Regex { quote, .. } if self.kind == ParamKind::Regex => write_string(value, quote, out),
            Fit::Regex { quote, .. } => write_quoted_regex(value, quote, out),
            Fit::Comment => {
                out.extend(
                    value
                        .chars()
                        .map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }),
                );
                Ok(())
            }
            // `2 ^ -3` and `-3 ^ 2` bind otherwise than a number does.
            Fit::Operand => {
                match check::signed(value) {
                    (true, number) => out.extend(["(-", number, ")"]),
                    (false, operand) => out.push_str(operand),
                }
                Ok(())
            }
            // Checked above: one token.
            Fit::MetricName
            | Fit::Label
            | Fit::Labels
            | Fit::Duration
            | Fit::Timestamp { .. }
            | Fit::Part => {
                out.push_str(value);
                Ok(())
            }
        }
    }

    /// The error for a value that [`write`](Self::write) refused.
    #[cold]
    pub(super) fn refusal(&self, value: &str, reason: &'static str, source: &str) -> RenderError {
        let (line, column) = position(source, self.at);
        RenderError::Unplaceable {
            param: self.what.to_string(),
            value: Excerpt(value).to_string(),
            line,
            column,
            fits: self.fit.describe(self.kind),
            reason,
        }
    }
}

/// Whether a value of this kind may be several alternatives of a regex.
fn alternates(kind: ParamKind) -> bool {
    matches!(kind, ParamKind::Regex | ParamKind::Texts)
}

/// The bytes that cannot stand for themselves. `0xEF` begins U+FFFD, which Prometheus's lexer takes for bad UTF-8
/// when it stands in a string, and reads when it is escaped.
fn is_special(byte: u8, quote: Quote) -> bool {
    match quote {
        Quote::Double => matches!(byte, b'"' | b'\\' | b'\n' | 0xEF),
        Quote::Single => matches!(byte, b'\'' | b'\\' | b'\n' | 0xEF),
        Quote::Raw => matches!(byte, b'`' | 0xEF),
    }
}

fn write_string(value: &str, quote: Quote, out: &mut String) -> Result<(), &'static str> {
    if !value.bytes().any(|byte| is_special(byte, quote)) {
        out.push_str(value);
        return Ok(());
    }
    value.chars().try_for_each(|c| write_char(c, quote, out))
}

fn write_quoted_regex(value: &str, quote: Quote, out: &mut String) -> Result<(), &'static str> {
    if !value.bytes().any(|byte| is_special(byte, quote) || is_meta(byte)) {
        out.push_str(value);
        return Ok(());
    }
    for c in value.chars() {
        if c.is_ascii() && is_meta(c as u8) {
            write_char('\\', quote, out)?;
        }
        write_char(c, quote, out)?;
    }
    Ok(())
}

fn write_char(c: char, quote: Quote, out: &mut String) -> Result<(), &'static str> {
    match (c, quote) {
        ('`', Quote::Raw) => return Err("a raw string cannot hold a backtick"),
        (char::REPLACEMENT_CHARACTER, Quote::Raw) => return Err("a raw string cannot hold U+FFFD"),
        (c, Quote::Raw) => out.push(c),
        ('\n', _) => out.push_str("\\n"),
        (char::REPLACEMENT_CHARACTER, _) => out.push_str("\\ufffd"),
        (c, quote) => {
            if c == '\\' || c == quote.char() {
                out.push('\\');
            }
            out.push(c);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ParamKind, fit: Fit, value: &str, expected: Result<&str, &str>) {
        let mut places = Places::default();
        let id = places.add(kind, fit, 0, "x");
        if matches!(fit, Fit::Regex { group: true, .. }) {
            places.followed(id, true);
        }
        let place = places.finish().unwrap().remove(0);
        let mut out = String::new();
        assert_eq!(
            place.write(value, &mut out).map(|()| &*out),
            expected,
            "{value:?} as {kind} in {fit:?}"
        );
    }

    #[test]
    fn strings_escape_for_their_quotes() {
        let text = |quote, value, expected| check(ParamKind::Text, Fit::Exact(quote), value, expected);
        text(Quote::Double, "a'`\"\\\n\r\té", Ok("a'`\\\"\\\\\\n\r\té"));
        text(Quote::Single, "a'`\"\\\n", Ok("a\\'`\"\\\\\\n"));
        text(Quote::Raw, "a'\"\\\n\r", Ok("a'\"\\\n\r"));
        text(Quote::Raw, "a`b", Err("a raw string cannot hold a backtick"));
        text(Quote::Double, "\u{fffd}\u{fffc}", Ok("\\ufffd\u{fffc}"));
        text(Quote::Raw, "\u{fffd}", Err("a raw string cannot hold U+FFFD"));
    }

    #[test]
    fn text_in_a_regex_is_quoted_and_a_regex_is_not() {
        let fit = |quote, group| Fit::Regex { quote, group };
        check(
            ParamKind::Text,
            fit(Quote::Double, false),
            "a.b|\"",
            Ok(r#"a\\.b\\|\""#),
        );
        check(ParamKind::Text, fit(Quote::Raw, true), "a.b", Ok(r"(?:a\.b)"));
        check(
            ParamKind::Regex,
            fit(Quote::Double, false),
            r"a\.b|c",
            Ok(r"a\\.b|c"),
        );
        check(
            ParamKind::Regex,
            fit(Quote::Raw, true),
            r"a\.b|c",
            Ok(r"(?:a\.b|c)"),
        );
        check(
            ParamKind::Regex,
            fit(Quote::Raw, true),
            "a)(b",
            Err("it closes a parenthesis that it does not open"),
        );
        check(ParamKind::Number, fit(Quote::Double, false), "0.5", Ok(r"0\\.5"));
    }

    #[test]
    fn code_and_comments() {
        check(ParamKind::Text, Fit::Comment, "a\nup\r#", Ok("a up #"));
        check(ParamKind::Text, Fit::Operand, "up", Ok("up"));
        check(ParamKind::Number, Fit::Operand, "-.5", Ok("(-.5)"));
        for good in ["0", "1", "0.99", ".5", "5e-1", "1.0"] {
            check(ParamKind::Quantile, Fit::Operand, good, Ok(good));
        }
        for bad in ["-3", "99", "1.0000001", "-1e-9", "NaN", "Inf", "-Inf", "0x1"] {
            check(
                ParamKind::Quantile,
                Fit::Operand,
                bad,
                Err("it is not from 0 to 1"),
            );
        }
        check(ParamKind::Text, Fit::Operand, "+Inf", Ok("Inf"));
        check(ParamKind::Number, Fit::Exact(Quote::Double), "+Inf", Ok("+Inf"));
        check(ParamKind::Number, Fit::Timestamp { signed: true }, "-5", Ok("-5"));
        check(
            ParamKind::Number,
            Fit::Timestamp { signed: false },
            "-5",
            Err("a number has one sign"),
        );
        check(ParamKind::Text, Fit::Duration, "5m", Ok("5m"));
        check(
            ParamKind::Text,
            Fit::MetricName,
            "5",
            Err("a name cannot start with a digit"),
        );
    }
}
