//! Regular expressions as matchers, `label_replace` and relabeling have them: RE2's, fitted to whole values.

mod expand;

use fleetgauge_syntax::regex::{RegexError, rewrite};
use regex::{Captures, Regex, RegexBuilder};

pub(crate) use expand::Template;

/// A regular expression of RE2 that must fit a whole value.
///
/// `.` is any character, and `\d`, `\s` and `\w` are ASCII. *Source*: <https://github.com/google/re2/wiki/Syntax>.
///
/// ```
/// use fleetgauge_promql::pattern::Pattern;
///
/// let pattern = Pattern::new("vllm-(.*)")?;
/// assert!(pattern.is_match("vllm-0"));
/// assert!(!pattern.is_match("my-vllm-0"));
/// assert_eq!(pattern.expand("vllm-0", "pod $1").as_deref(), Some("pod 0"));
/// assert_eq!(pattern.expand("sglang-0", "pod $1"), None);
/// # Ok::<(), fleetgauge_promql::pattern::PatternError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Why an expression cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// RE2 does not read it.
    #[error(transparent)]
    Syntax(#[from] RegexError),
    /// It cannot be compiled: mostly, it is too large.
    // The crate draws a picture over several lines; its last one says what is wrong.
    #[error("{}", last_line(.0))]
    Compile(#[from] regex::Error),
}

/// Compiled, an expression may take so much memory.
const MAX_REGEX_BYTES: usize = 1 << 20;

// === impl Pattern ===

impl Pattern {
    /// The expression that fits a whole value where RE2's `pattern` does.
    ///
    /// *Errors*: [`PatternError`] if it is malformed, or larger than 1 MiB when compiled.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let compiled = RegexBuilder::new(&format!("^(?:{})$", rewrite(pattern)?))
            .dot_matches_new_line(true)
            .size_limit(MAX_REGEX_BYTES)
            .build();
        Ok(Self(compiled?))
    }

    /// Whether it fits the whole of `value`.
    pub fn is_match(&self, value: &str) -> bool {
        self.0.is_match(value)
    }

    /// `template` with `$1` and `${name}` as what was captured, as Go's `Regexp.Expand` reads them; `None` where it does not
    /// fit the whole of `value`.
    pub fn expand(&self, value: &str, template: &str) -> Option<String> {
        let captures = self.captures(value)?;
        Some(self.template(template).texts(&captures).collect())
    }

    /// The first group that `template` refers to and that there is not: it would be empty.
    pub fn unknown_group<'t>(&self, template: &'t str) -> Option<&'t str> {
        self.template(template).unknown()
    }

    /// What its groups capture.
    pub(crate) fn captures<'v>(&self, value: &'v str) -> Option<Captures<'v>> {
        self.0.captures(value)
    }

    /// A replacement that refers to its groups.
    pub(crate) fn template<'t>(&self, text: &'t str) -> Template<'t> {
        Template::new(text, &self.0)
    }
}

fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}
