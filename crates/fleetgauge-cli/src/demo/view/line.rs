//! A line in parts, of which each has a meaning that a colour may show.

use std::fmt::Write as _;

use crossterm::style::{Attribute, Color, ResetColor, SetAttribute, SetForegroundColor};
use fleetgauge_core::printable::Printable;

/// A line of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Line(Vec<(String, Tone)>);

/// What a part of a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Warning,
    Bad,
}

/// What the reader's terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Text alone, as for a file.
    None,
    /// Bold and faint, as with `NO_COLOR`.
    Weights,
    Colors,
}

// === impl Line ===

impl Line {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        let mut line = Self::default();
        line.push(text, tone);
        line
    }

    /// Adds `text`; of it, and so of every line, what a terminal would obey is escaped: a reason may come from a
    /// server.
    pub(crate) fn push(&mut self, text: impl Into<String>, tone: Tone) {
        self.0.push((Printable(&text.into()).to_string(), tone));
    }

    /// Adds blanks until the line is this wide.
    pub(crate) fn pad_to(&mut self, column: usize) {
        let missing = column.saturating_sub(self.width());
        self.push(" ".repeat(missing), Tone::Plain);
    }

    /// Adds `text` so that it ends at this column.
    pub(crate) fn push_right(&mut self, text: impl Into<String>, tone: Tone, column: usize) {
        let text = text.into();
        self.pad_to(column.saturating_sub(width(&text)));
        self.push(text, tone);
    }

    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| width(text)).sum()
    }

    /// The line for the reader: at most `columns` wide, without blanks at its end.
    pub(crate) fn paint(&self, paint: Paint, columns: Option<usize>) -> String {
        let mut left = columns.unwrap_or(usize::MAX);
        let mut out = String::new();
        let last = self.0.iter().rposition(|(text, _)| !text.trim_end().is_empty());
        let parts = last.map_or(&[][..], |last| &self.0[..=last]);
        for (index, (text, tone)) in parts.iter().enumerate() {
            let text = if Some(index) == last {
                text.trim_end()
            } else {
                text
            };
            let text = cut(text, left);
            left -= width(&text);
            match tone.codes(paint) {
                Some(codes) => {
                    let _ = write!(out, "{codes}{text}{}{ResetColor}", SetAttribute(Attribute::Reset));
                }
                None => out.push_str(&text),
            }
        }
        out
    }
}

// === impl Tone ===

impl Tone {
    fn codes(self, paint: Paint) -> Option<String> {
        let weight = match self {
            Self::Strong => Some(Attribute::Bold),
            Self::Faint => Some(Attribute::Dim),
            _ => None,
        };
        let color = match self {
            Self::Good => Some(Color::Green),
            Self::Warning => Some(Color::Yellow),
            Self::Bad => Some(Color::Red),
            _ => None,
        };
        match (paint, weight, color) {
            (Paint::None, ..) => None,
            (_, Some(weight), _) => Some(SetAttribute(weight).to_string()),
            (Paint::Colors, _, Some(color)) => Some(SetForegroundColor(color).to_string()),
            _ => None,
        }
    }
}

/// Names of pods are ASCII, and so are nearly all reasons: a character takes one column.
pub(crate) fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text in at most `columns`, with `…` where it is cut.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.extend((columns > 0).then_some('…'));
    short
}

/// The text in at most `columns`, with `…` in its middle: pods of a variant differ at the end of their names.
pub(crate) fn cut_middle(text: &str, columns: usize) -> String {
    let all = width(text);
    if all <= columns || columns < 3 {
        return cut(text, columns);
    }
    let tail = (columns - 1).min(8).min((columns - 1) / 2);
    let head = columns - 1 - tail;
    let head: String = text.chars().take(head).collect();
    let tail: String = text.chars().skip(all - tail).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_terminal() {
        let mut line = Line::new("abc", Tone::Bad);
        line.push_right("12", Tone::Strong, 8);
        line.push("   ", Tone::Plain);
        assert_eq!(line.paint(Paint::None, None), "abc   12");
        assert_eq!(line.paint(Paint::None, Some(7)), "abc   …");
        assert_eq!(
            line.paint(Paint::Weights, None),
            "abc   \u{1b}[1m12\u{1b}[0m\u{1b}[0m"
        );
        assert!(line.paint(Paint::Colors, None).starts_with("\u{1b}[38;5;9mabc"));
        assert_eq!(
            cut_middle("vllm-llama-8b-5d8f9c7b4d-x2x9z", 20),
            "vllm-llama-…4d-x2x9z"
        );
        assert_eq!(cut_middle("short", 20), "short");
    }
}
