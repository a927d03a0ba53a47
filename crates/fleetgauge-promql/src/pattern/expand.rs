//! `$1` and `${name}` in a replacement, as Go's `Regexp.Expand` reads them.
//!
//! *Source*: <https://pkg.go.dev/regexp#Regexp.Expand>.

use regex::{Captures, Regex};

/// A replacement, taken apart.
#[derive(Debug)]
pub(crate) struct Template<'a> {
    parts: Vec<Part<'a>>,
    /// The first reference to a group that there is not.
    unknown: Option<&'a str>,
}

#[derive(Debug, PartialEq)]
enum Part<'a> {
    Text(&'a str),
    /// What a group of the expression captured.
    Group(usize),
}

// === impl Template ===

impl<'a> Template<'a> {
    /// `regex` says which groups there are; others are empty.
    pub(super) fn new(mut text: &'a str, regex: &Regex) -> Self {
        let mut parts = Vec::new();
        let mut unknown = None;
        while let Some(at) = text.find('$') {
            parts.push(Part::Text(&text[..at]));
            let after = &text[at + 1..];
            if let Some(rest) = after.strip_prefix('$') {
                parts.push(Part::Text("$"));
                text = rest;
            } else if let Some((name, rest)) = reference(after) {
                match group(name, regex) {
                    Some(group) => parts.push(Part::Group(group)),
                    None => unknown = unknown.or(Some(name)),
                }
                text = rest;
            } else {
                // No reference, so the sign itself.
                parts.push(Part::Text("$"));
                text = after;
            }
        }
        parts.push(Part::Text(text));
        Self { parts, unknown }
    }

    /// The first group that is referred to and that the expression does not have.
    pub(super) fn unknown(&self) -> Option<&'a str> {
        self.unknown
    }

    /// What the replacement is made of, one after the other.
    pub(crate) fn texts<'c>(&'c self, captures: &'c Captures<'c>) -> impl Iterator<Item = &'c str> {
        self.parts.iter().map(|part| match *part {
            Part::Text(text) => text,
            Part::Group(group) => captures.get(group).map_or("", |m| m.as_str()),
        })
    }
}

/// The name after a `$`, as long as it can be, and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (text, in_braces) = text
        .strip_prefix('{')
        .map_or((text, false), |inner| (inner, true));
    let (name, rest) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    if name.is_empty() {
        return None;
    }
    let rest = if in_braces { rest.strip_prefix('}')? } else { rest };
    Some((name, rest))
}

/// The group of this name or number.
fn group(name: &str, regex: &Regex) -> Option<usize> {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let at = if is_number {
        name.parse().ok()
    } else {
        regex.capture_names().position(|known| known == Some(name))
    };
    at.filter(|&at| at < regex.captures_len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_go_reads_them() {
        let regex = Regex::new(r"^(?P<first>\w)(?P<näme>\w)(x)?$").expect("valid");
        let captures = regex.captures("ab").expect("fits");
        let check = |template: &str, expected: &str| {
            let expanded: String = Template::new(template, &regex).texts(&captures).collect();
            assert_eq!(expanded, expected, "{template}");
        };
        check("", "");
        check("plain", "plain");
        check("$1$2", "ab");
        check("$0", "ab");
        check("<${1}>", "<a>");
        check("$first-$näme", "a-b");
        // The longest name.
        check("$1x", "");
        check("${1}x", "ax");
        check("$1_", "");
        check("$1-", "a-");
        // Not captured, and not there.
        check("[$3]", "[]");
        check("[$4]", "[]");
        check("[$99999999999999999999]", "[]");
        check("[$other]", "[]");
        check("[$01]", "[]");
        check("$$1", "$1");
        check("$", "$");
        check("a$", "a$");
        check("$-", "$-");
        check("${", "${");
        check("${}", "${}");
        check("${1", "${1");
        check("${1-2}", "${1-2}");
        check("$ 1", "$ 1");
    }
}
