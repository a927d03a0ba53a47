//! The dialect of regular expressions: that of RE2, as Prometheus uses it.
//!
//! An evaluator in Rust reads expressions with the `regex` crate, to which some of the same text means something else.
//! [`rewrite`] says what RE2 reads in the words of that crate; what RE2 refuses is refused here, with a reason, so
//! that whoever only wants to know uses [`check`]. Neither compiles anything.
//!
//! *Source*: Go's `regexp/syntax`, <https://github.com/google/re2/wiki/Syntax>;
//! <https://docs.rs/regex/latest/regex/#syntax>.

mod class;
mod error;
mod escape;
mod expression;
mod reader;
#[cfg(test)]
mod tests;
mod text;

use reader::Reader;

pub use error::RegexError;
pub use text::RegexText;

/// What is to be known of an expression besides that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Whether it names any of its groups.
    pub has_names: bool,
    /// Whether it fits an empty text.
    pub fits_empty: bool,
}

/// Whether a character means something in a regular expression. The set of Go's `regexp.QuoteMeta`.
pub fn is_meta(byte: u8) -> bool {
    matches!(
        byte,
        b'\\' | b'.' | b'+' | b'*' | b'?' | b'(' | b')' | b'|' | b'[' | b']' | b'{' | b'}' | b'^' | b'$'
    )
}

/// Whether RE2 reads a text as a regular expression.
///
/// *Errors*: why not.
pub fn check(pattern: &str) -> Result<Checked, RegexError> {
    let mut reader = Reader::new(pattern, None);
    reader.read()?;
    Ok(Checked {
        has_names: !reader.names.is_empty(),
        fits_empty: reader.group.fits_empty(),
    })
}

/// The expression of the `regex` crate that means what RE2 means by `pattern`, with `.` as any character.
///
/// *Errors*: why it is not an expression of RE2.
///
/// ```
/// use fleetgauge_syntax::regex::rewrite;
///
/// assert_eq!(rewrite(r"vllm-\d+").as_deref(), Ok("vllm-[0-9]+"));
/// assert_eq!(rewrite("a{,3}").as_deref(), Ok(r"a\{,3}"));
/// assert!(rewrite("a**").is_err());
/// ```
pub fn rewrite(pattern: &str) -> Result<String, RegexError> {
    let mut out = String::with_capacity(pattern.len() + 8);
    Reader::new(pattern, Some(&mut out)).read()?;
    Ok(out)
}

/// The scripts of Unicode that `\p{…}` may name.
pub fn scripts() -> impl Iterator<Item = &'static str> {
    escape::scripts()
}
