//! Lines that start with `#`: metadata, the end mark, and what only people read.

use std::borrow::Cow;

use memchr::memchr;

use super::event::Event;
use super::fault::{Fault, Reason};
use super::format::Format;
use super::label::{quoted, unescape};
use super::limits::Limits;
use super::metric_type::MetricType;
use super::name::{name_length, skip_blanks};

pub(super) enum Comment<'a> {
    Metadata(Event<'a>),
    Eof,
    Other,
}

enum Keyword {
    Type,
    Help,
    Unit,
}

/// Reads the comment whose `#` is at `at`.
pub(super) fn read<'a>(
    line: &'a str,
    at: usize,
    format: Format,
    limits: &Limits,
) -> Result<Comment<'a>, Fault> {
    let bytes = line.as_bytes();
    let word_start = skip_blanks(bytes, at + 1);
    let word_end = word_start + name_length(&bytes[word_start..], false);
    let is_open_metrics = format.is_open_metrics();
    let word = &line[word_start..word_end];
    if is_open_metrics && word == "EOF" && line[word_end..].trim_ascii().is_empty() {
        return Ok(Comment::Eof);
    }
    let name_start = skip_blanks(bytes, word_end);
    let keyword = match word {
        "TYPE" => Keyword::Type,
        "HELP" => Keyword::Help,
        "UNIT" if is_open_metrics => Keyword::Unit,
        _ => return Ok(Comment::Other),
    };
    // As in Prometheus, these words alone are a comment like any other, and so is `#TYPE`.
    if word_start == at + 1 || name_start == word_end {
        return Ok(Comment::Other);
    }

    let (family, name_end) = match bytes.get(name_start) {
        Some(b'"') => {
            let (place, end) = quoted(bytes, name_start, bytes.len())?;
            (place.text(line), end)
        }
        _ => {
            let end = name_start + name_length(&bytes[name_start..], true);
            (Cow::Borrowed(&line[name_start..end]), end)
        }
    };
    if family.is_empty() {
        return Err(Reason::ExpectedName.at(name_start));
    }
    if !matches!(bytes.get(name_end), None | Some(b' ' | b'\t')) {
        return Err(Reason::NameNeedsQuotes.at(name_end));
    }
    if name_end - name_start > limits.name_bytes {
        let (bytes, limit) = (name_end - name_start, limits.name_bytes);
        return Err(Reason::NameTooLong { bytes, limit }.at(name_start));
    }

    // The one blank that ends the name is not part of the text.
    let text = line.get(name_end + 1..).unwrap_or_default();
    Ok(Comment::Metadata(match keyword {
        Keyword::Help => Event::Help {
            family,
            text: match memchr(b'\\', text.as_bytes()) {
                None => Cow::Borrowed(text),
                // OpenMetrics escapes quotes in help texts, the text format does not.
                Some(_) => Cow::Owned(unescape(text, is_open_metrics)),
            },
        },
        Keyword::Type => Event::Type {
            family,
            metric_type: MetricType::from_name(text.trim_ascii())
                .ok_or_else(|| Reason::UnknownType.at(skip_blanks(bytes, name_end)))?,
        },
        Keyword::Unit => Event::Unit {
            family,
            unit: text.trim_ascii(),
        },
    }))
}
