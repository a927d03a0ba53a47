//! What an evaluation has to say beside its answer.

use std::fmt;

use fleetgauge_core::printable::Printable;
use fleetgauge_syntax::remark::leaves_out;

/// A warning or an info: what is probably wrong with a query or its data, or worth a look.
///
/// Prints as Prometheus's API has it, with the place in the query: `PromQL warning: … (1:10)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    message: String,
    line: usize,
    column: usize,
}

/// Warnings and infos, each text once, in the order in which they arose. The texts are Prometheus's, and so is
/// that of the places of a text the last counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    warnings: Vec<Note>,
    infos: Vec<Note>,
    /// That values were left out for what they are: all by which a warning or an info says so, and those of which
    /// Prometheus says nothing.
    left_out: Vec<Note>,
    /// Where the arguments begin of what is evaluated. *Unit*: bytes.
    places: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    message: String,
    /// *Unit*: bytes.
    place: usize,
}

/// Warnings and infos on a query, and what was left out of its answer.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) warnings: Vec<Annotation>,
    pub(crate) infos: Vec<Annotation>,
    pub(crate) left_out: Vec<Annotation>,
}

/// More different texts than these would tell nobody more.
const MAX_TEXTS: usize = 50;

// === impl Annotation ===

impl Annotation {
    /// What it says, without the place: `PromQL warning: …`, `PromQL info: …`.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The line of the query that it is about, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, counted from 1. *Unit*: bytes, as Prometheus counts.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", Printable(&self.message), self.line, self.column)
    }
}

// === impl Annotations ===

impl Annotations {
    /// What follows is said by an operation whose arguments begin at `places`.
    pub(crate) fn enter(&mut self, places: &[usize]) {
        self.places.clear();
        self.places.extend_from_slice(places);
    }

    /// Something is probably wrong with the query or its data; it is about the first argument.
    pub(crate) fn warn(&mut self, text: impl fmt::Display) {
        self.warn_of(0, text);
    }

    /// Something is worth a look, and may be right; it is about the first argument.
    pub(crate) fn info(&mut self, text: impl fmt::Display) {
        self.info_of(0, text);
    }

    /// As [`warn`](Self::warn), about the argument with this index.
    pub(crate) fn warn_of(&mut self, arg: usize, text: impl fmt::Display) {
        self.warn_at(self.place(arg), text);
    }

    /// As [`info`](Self::info), about the argument with this index.
    pub(crate) fn info_of(&mut self, arg: usize, text: impl fmt::Display) {
        let place = self.place(arg);
        let message = format!("PromQL info: {text}");
        self.note_left_out(&message, place);
        push(&mut self.infos, message, place);
    }

    /// As [`warn`](Self::warn), about what begins at `place`.
    pub(crate) fn warn_at(&mut self, place: usize, text: impl fmt::Display) {
        let message = format!("PromQL warning: {text}");
        self.note_left_out(&message, place);
        push(&mut self.warnings, message, place);
    }

    /// Says that values of the first argument are left out for what they are, where Prometheus says nothing.
    pub(crate) fn leave_out(&mut self, text: impl fmt::Display) {
        let place = self.place(0);
        push(&mut self.left_out, text.to_string(), place);
    }

    fn note_left_out(&mut self, message: &str, place: usize) {
        if leaves_out(message) {
            push(&mut self.left_out, message.to_owned(), place);
        }
    }

    /// Without texts, said by the same operation.
    pub(crate) fn of_part(&self) -> Self {
        Self {
            places: self.places.clone(),
            ..Self::default()
        }
    }

    /// Adds the texts of a part after those before.
    pub(crate) fn add_part(&mut self, part: Self) {
        let add = |notes: &mut Vec<Note>, part: Vec<Note>| {
            part.into_iter()
                .for_each(|note| push(notes, note.message, note.place));
        };
        add(&mut self.warnings, part.warnings);
        add(&mut self.infos, part.infos);
        add(&mut self.left_out, part.left_out);
    }

    fn place(&self, arg: usize) -> usize {
        self.places.get(arg).copied().unwrap_or_default()
    }

    /// What there is to say of `query`.
    pub(crate) fn located(self, query: &str) -> Located {
        let locate = |notes: Vec<Note>| notes.into_iter().map(|note| note.located(query)).collect();
        Located {
            warnings: locate(self.warnings),
            infos: locate(self.infos),
            left_out: locate(self.left_out),
        }
    }

    /// The warnings and the infos, without places.
    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (Vec<String>, Vec<String>) {
        let messages = |notes: Vec<Note>| notes.into_iter().map(|note| note.message).collect();
        (messages(self.warnings), messages(self.infos))
    }
}

fn push(notes: &mut Vec<Note>, message: String, place: usize) {
    if let Some(same) = notes.iter_mut().find(|note| note.message == message) {
        same.place = place;
    } else if notes.len() < MAX_TEXTS {
        notes.push(Note { message, place });
    }
}

// === impl Note ===

impl Note {
    fn located(self, query: &str) -> Annotation {
        let before = &query.as_bytes()[..self.place.min(query.len())];
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n');
        Annotation {
            message: self.message,
            line: lines + 1,
            column: before.len() - line_start.map_or(0, |at| at + 1) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_comes_once_and_not_without_end() {
        let mut notes = Annotations::default();
        for i in 0..1000 {
            notes.info("same");
            notes.warn(i);
        }
        let (warnings, infos) = notes.into_parts();
        assert_eq!(infos, ["PromQL info: same"]);
        assert_eq!(warnings.len(), MAX_TEXTS);
        assert_eq!(warnings[1], "PromQL warning: 1");
    }

    #[test]
    fn a_place_is_a_line_and_a_column_in_bytes() {
        let check = |query: &str, place: usize, expected: &str| {
            let mut notes = Annotations::default();
            notes.enter(&[0, place]);
            notes.warn("odd");
            notes.warn_of(1, "odd");
            let Located { warnings, infos, .. } = notes.located(query);
            assert_eq!(
                warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
                [format!("PromQL warning: odd ({expected})")]
            );
            assert!(infos.is_empty());
        };
        check("quantile(2, x)", 9, "1:10");
        check("quantile(\n  2, x)", 12, "2:3");
        check("quantile(\n2, x)", 10, "2:1");
        check("quantile without(\"é\") (2, x)", 24, "1:25");
    }
}
