//! Which series a selector means: `name="value"`, `!=`, `=~` and `!~`.

use std::fmt;

use fleetgauge_syntax::tree;
pub use fleetgauge_syntax::tree::MatchOp;

use crate::label::LabelSet;
use crate::pattern::{Pattern, PatternError};

/// One condition on one label.
///
/// A label that a series lacks counts as empty, as everywhere in PromQL.
///
/// ```
/// use fleetgauge_promql::matcher::{MatchOp, Matcher};
///
/// let matcher = Matcher::new("pod", MatchOp::Regex, "vllm-.*")?;
/// assert!(matcher.matches_value("vllm-0"));
/// // The whole value must fit.
/// assert!(!matcher.matches_value("my-vllm-0"));
/// assert_eq!(matcher.to_string(), r#"pod=~"vllm-.*""#);
/// # Ok::<(), fleetgauge_promql::matcher::MatcherError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Matcher {
    written: tree::Matcher,
    regex: Option<Pattern>,
}

/// A regular expression that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("matcher of label {name:?} has an unusable regular expression {pattern:?}")]
pub struct MatcherError {
    name: String,
    pattern: String,
    #[source]
    source: PatternError,
}

// === impl Matcher ===

impl Matcher {
    /// The condition `name op value`.
    ///
    /// Regular expressions are those of RE2, which Prometheus uses: they must fit the whole value, `.` is
    /// any character, and `\d`, `\s` and `\w` are ASCII
    /// (<https://github.com/google/re2/wiki/Syntax>).
    ///
    /// *Errors*: [`MatcherError`] if the expression is malformed, or larger than 1 MiB when compiled.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, MatcherError> {
        Self::compile(written(name, op, value))
    }

    /// The condition as a query has it.
    pub(crate) fn compile(written: tree::Matcher) -> Result<Self, MatcherError> {
        let regex = match written.op.is_regex() {
            false => None,
            true => Some(Pattern::new(&written.value).map_err(|source| MatcherError {
                name: written.name.clone(),
                pattern: written.value.clone(),
                source,
            })?),
        };
        Ok(Self { written, regex })
    }

    /// The condition `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        Self {
            written: written(name, MatchOp::Equal, value),
            regex: None,
        }
    }

    /// The label it looks at.
    pub fn name(&self) -> &str {
        &self.written.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.written.op
    }

    /// What it compares with.
    pub fn value(&self) -> &str {
        &self.written.value
    }

    /// Whether a value fits; `""` is that of an absent label.
    pub fn matches_value(&self, value: &str) -> bool {
        let fits = match &self.regex {
            None => self.written.value == value,
            Some(regex) => regex.is_match(value),
        };
        fits == self.written.op.is_positive()
    }

    /// Whether a series fits.
    pub fn matches(&self, labels: &LabelSet) -> bool {
        self.matches_value(labels.get(self.name()).unwrap_or_default())
    }
}

/// As PromQL writes it.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

// === impl MatcherError ===

impl MatcherError {
    /// What cannot be used, and why.
    pub(crate) fn with_reason(&self) -> String {
        format!("{self}: {}", self.source)
    }
}

fn written(name: &str, op: MatchOp, value: &str) -> tree::Matcher {
    tree::Matcher {
        name: name.to_owned(),
        op,
        value: value.to_owned(),
        place: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_match_as_in_prometheus() {
        use MatchOp::{Equal, NotEqual, NotRegex, Regex};
        let check = |op, pattern: &str, fits: &[&str], others: &[&str]| {
            let matcher = Matcher::new("a", op, pattern).expect("valid");
            fits.iter()
                .for_each(|v| assert!(matcher.matches_value(v), "{matcher} and {v:?}"));
            others
                .iter()
                .for_each(|v| assert!(!matcher.matches_value(v), "{matcher} and {v:?}"));
        };
        check(Equal, "x", &["x"], &["", "xx"]);
        check(Equal, "", &[""], &["x"]);
        check(NotEqual, "x", &["", "y"], &["x"]);
        check(Regex, "a|b", &["a", "b"], &["ab", "ba", ""]);
        check(Regex, "", &[""], &["x"]);
        check(Regex, ".*", &["", "a\nb"], &[]);
        check(Regex, ".+", &["a\nb"], &[""]);
        check(NotRegex, "a.*", &["", "ba"], &["a", "ab"]);
        check(Regex, "(?i)AB", &["ab", "Ab"], &["abc"]);
        check(Regex, "a$", &["a"], &["a\n"]);
        // ASCII, where the crate would take any script.
        check(Regex, r"\d", &["5"], &["٥"]);
        check(Regex, r"\w", &["a", "_"], &["é", "ä"]);
        check(Regex, r"\s", &[" "], &["\u{a0}"]);
        check(Regex, r"[\d.]+\D", &["1.2é"], &["1.2"]);
        check(Regex, r"[^\w]", &["é", "-"], &["a"]);
        // Where the crate knows set operations and nested classes, RE2 has literals.
        check(Regex, "[a&&b]", &["a", "&", "b"], &["c"]);
        check(Regex, "[a[b]", &["a", "[", "b"], &["c"]);
        check(Regex, "[[:alpha:]~~]", &["a", "~"], &["1"]);
        check(Regex, "[+--]", &["+", ",", "-"], &["."]);
        check(Regex, "[--/]", &["-", ".", "/"], &["+"]);
        check(Regex, r"[\d-z]", &["1", "-", "z"], &["a"]);
        check(Regex, r"[\x41-C^]", &["A", "B", "^"], &["D"]);
        check(Regex, "[]a]", &["]", "a"], &["b"]);
        check(Regex, r"\Qa.b\E.", &["a.bc"], &["aXbc"]);
        check(Regex, "a{2}", &["aa"], &["a"]);
        check(Regex, "a{2}?b{1,}?", &["aabb"], &["ab"]);
        check(Regex, "a{,2}", &["a{,2}"], &["a"]);
        check(Regex, "a{x", &["a{x"], &["a"]);
        check(Regex, "(?i:a)(?P<n>b)(?s)c", &["Abc"], &["ABc"]);
        check(Regex, r"\Qa.b", &["a.b"], &["aXb"]);
        // Braces that belong to an escape repeat nothing.
        check(Regex, r"\x{e9}\x41{2}", &["éAA"], &["éA", "x"]);
        check(Regex, r"\pL\p{Nd}\P{Lu}", &["é٥e"], &["55e", "éée", "é٥E"]);
        check(Regex, r"[\p{^L}\x{41}]", &["5", "A"], &["B"]);
        // Without what has no meaning yet, which the crate counts as C.
        check(Regex, r"\pC", &["\u{1}", "\u{ad}"], &["a", "\u{378}"]);
        check(Regex, r"\p{Greek}+\P{Han}", &["αβx"], &["abx", "αβ漢"]);
        check(Regex, "{", &["{"], &[""]);
        check(Regex, "a{b", &["a{b"], &["ab"]);
        check(Regex, "x{,3}", &["x{,3}"], &["xxx"]);
        check(Regex, r"\<a\_", &["<a_"], &["a_"]);
        check(Regex, r"\101\0\1234", &["A\0S4"], &["A"]);
    }

    /// Whatever RE2 reads, the crate reads in its own words.
    #[test]
    fn every_script_is_known() {
        for script in fleetgauge_syntax::regex::scripts() {
            let pattern = format!(r"\p{{{script}}}");
            assert!(Matcher::new("a", MatchOp::Regex, &pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for pattern in [
            "(",
            "[",
            "a**",
            "a{2}*",
            "a{2}{3}",
            r"(?=a)",
            r"\1",
            r"\8",
            r"\p{lu}",
            r"\p{Lu",
            r"\x{e9",
            r"\x{110000}",
            "(?x) a",
            ")(",
            r"\C",
            "a{1,1001}",
            "((a{1000}){1000}){1000}",
        ] {
            assert!(Matcher::new("a", MatchOp::Regex, pattern).is_err(), "{pattern}");
        }
    }
}
