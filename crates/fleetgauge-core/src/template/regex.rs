//! Regular expressions on their way into a matcher.
//!
//! Prometheus reads them as RE2 (Go); an evaluator in Rust reads them with the `regex` crate. A value is accepted
//! when it lies in the part of the language that both read, and read alike; it is then also known to stay in one
//! piece wherever it is placed. Everything else is refused with a reason. Only Unicode's idea of `\d`, `\s`, `\w`
//! and `\b` is left to the evaluator.
//!
//! *Source*: <https://github.com/google/re2/wiki/Syntax>, <https://docs.rs/regex/latest/regex/#syntax>.

use std::iter::Peekable;
use std::str::Chars;

/// RE2 refuses to repeat anything more often.
const MAX_REPEAT: u32 = 1000;
/// How deep groups may nest.
const MAX_GROUPS: usize = 50;

const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];
const CATEGORIES: [&str; 36] = [
    "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps",
    "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Co",
    "Greek",
];

type Check<T = ()> = Result<T, &'static str>;

/// Whether a text needs regex quoting, by byte. The set of Go's `regexp.QuoteMeta`.
pub(super) fn is_meta(byte: u8) -> bool {
    matches!(
        byte,
        b'\\' | b'.' | b'+' | b'*' | b'?' | b'(' | b')' | b'|' | b'[' | b']' | b'{' | b'}' | b'^' | b'$'
    )
}

/// Whether `regex` is a regular expression that Prometheus and the evaluator read alike.
pub(super) fn check(regex: &str) -> Check {
    let mut chars = regex.chars().peekable();
    // How often the atoms of each open group are repeated at most.
    let mut groups = vec![1_u32];
    // What stands before: nothing to repeat, an atom (and how often its inside repeats), a repetition.
    let mut before = Before::Nothing;
    while let Some(c) = chars.next() {
        before = match c {
            '\\' => escape(&mut chars, false)?.0,
            '[' => {
                class(&mut chars)?;
                Before::Atom(1)
            }
            '(' => {
                if chars.next_if_eq(&'?').is_some() {
                    group_head(&mut chars, &mut groups)?;
                } else {
                    groups.push(1);
                }
                if groups.len() > MAX_GROUPS {
                    return Err("its groups nest too deep");
                }
                Before::Nothing
            }
            ')' => {
                let inside = groups.pop().unwrap_or(1);
                let Some(outside) = groups.last_mut() else {
                    return Err("it closes a parenthesis that it does not open");
                };
                *outside = inside.max(*outside);
                Before::Atom(inside)
            }
            '|' | '^' | '$' => Before::Nothing,
            '*' | '+' | '?' | '{' => {
                let times = if c == '{' { counts(&mut chars)? } else { 1 };
                let Before::Atom(inside) = before else {
                    return Err("a repetition (`*`, `+`, `?`, `{…}`) has nothing before it to repeat");
                };
                let times = times
                    .max(1)
                    .checked_mul(inside)
                    .filter(|times| *times <= MAX_REPEAT);
                let times = times.ok_or("it repeats more than 1000 times")?;
                if let Some(group) = groups.last_mut() {
                    *group = times.max(*group);
                }
                chars.next_if_eq(&'?');
                Before::Nothing
            }
            _ => Before::Atom(1),
        };
    }
    if groups.len() > 1 {
        Err("it opens a parenthesis that it does not close")
    } else {
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Atom(u32),
}

/// The rest of `(?`: a group without capture, or flags.
fn group_head(chars: &mut Peekable<Chars<'_>>, groups: &mut Vec<u32>) -> Check {
    let (mut flags, mut negated) = (0, false);
    for c in chars.by_ref() {
        match c {
            ':' if !negated || flags > 0 => {
                groups.push(1);
                return Ok(());
            }
            ')' if flags > 0 => return Ok(()),
            'i' | 'm' | 's' | 'U' => flags += 1,
            '-' if !negated => (negated, flags) = (true, 0),
            'P' | '<' => return Err("a matcher has no use for named groups: write `(?:…)`"),
            '=' | '!' => return Err("RE2 has no look-around"),
            _ => return Err("only the flags i, m, s and U are common to RE2 and Rust"),
        }
    }
    Err("it ends in the middle of a group")
}

/// The rest of `{`: `n}`, `n,}` or `n,m}`.
fn counts(chars: &mut Peekable<Chars<'_>>) -> Check<u32> {
    const FORM: &str =
        "a `{` must begin a repetition such as {3}, {3,} or {3,5}; a literal one is written `\\{`";
    let number = |chars: &mut Peekable<Chars<'_>>| -> Check<Option<u32>> {
        let mut number = None;
        while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
            chars.next();
            let so_far = number.unwrap_or(0) * 10 + digit;
            if so_far > MAX_REPEAT {
                return Err("it repeats more than 1000 times");
            }
            number = Some(so_far);
        }
        Ok(number)
    };
    let least = number(chars)?.ok_or(FORM)?;
    let most = if chars.next_if_eq(&',').is_some() {
        number(chars)?
    } else {
        Some(least)
    };
    if chars.next() != Some('}') {
        return Err(FORM);
    }
    match most {
        Some(most) if most < least => Err("a repetition's bounds are in the wrong order"),
        most => Ok(most.unwrap_or(least)),
    }
}

/// The rest of a backslash; the character that it stands for, when it stands for one.
fn escape(chars: &mut Peekable<Chars<'_>>, in_class: bool) -> Check<(Before, Option<char>)> {
    const UNKNOWN: &str = "it has an escape that RE2 and Rust do not both know";
    let atom = Before::Atom(1);
    let c = chars.next().ok_or("it ends in a backslash")?;
    match c {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => Ok((atom, None)),
        'b' | 'B' | 'A' | 'z' if !in_class => Ok((Before::Nothing, None)),
        'a' => Ok((atom, Some('\x07'))),
        'f' => Ok((atom, Some('\x0c'))),
        'n' => Ok((atom, Some('\n'))),
        'r' => Ok((atom, Some('\r'))),
        't' => Ok((atom, Some('\t'))),
        'v' => Ok((atom, Some('\x0b'))),
        'p' | 'P' => {
            let name = match chars.next() {
                Some('{') => braced(chars).ok_or(UNKNOWN)?,
                Some(c) => c.to_string(),
                None => return Err(UNKNOWN),
            };
            if CATEGORIES.contains(&&*name) {
                Ok((atom, None))
            } else {
                Err("of \\p, only the general categories such as \\pL and \\p{Lu} are accepted")
            }
        }
        'x' => {
            let braces = chars.next_if_eq(&'{').is_some();
            let hex: String = if braces {
                braced(chars).ok_or(UNKNOWN)?
            } else {
                chars.by_ref().take(2).collect()
            };
            let digits = (if braces { 1..=6 } else { 2..=2 }).contains(&hex.len())
                && hex.bytes().all(|b| b.is_ascii_hexdigit());
            let code = if digits {
                u32::from_str_radix(&hex, 16).ok()
            } else {
                None
            };
            let c = code
                .and_then(char::from_u32)
                .ok_or("it has a \\x escape that is not a character")?;
            Ok((atom, Some(c)))
        }
        '<' | '>' => {
            Err("RE2 reads \\< and \\> as characters and Rust as word boundaries: drop the backslash")
        }
        'Q' | 'E' => Err("\\Q…\\E is unknown to Rust: escape each character"),
        'C' => Err("\\C splits characters"),
        c if c.is_ascii()
            && !c.is_ascii_alphanumeric()
            && c != '_'
            && !c.is_ascii_whitespace()
            && !c.is_ascii_control() =>
        {
            Ok((atom, Some(c)))
        }
        _ => Err(UNKNOWN),
    }
}

/// What stands up to a `}`.
fn braced(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut inside = String::new();
    loop {
        match chars.next()? {
            '}' => return Some(inside),
            c => inside.push(c),
        }
    }
}

/// The rest of `[`.
fn class(chars: &mut Peekable<Chars<'_>>) -> Check {
    chars.next_if_eq(&'^');
    let (mut first, mut range_from, mut in_range) = (true, None, false);
    loop {
        let c = chars
            .next()
            .ok_or("it opens a character class that it does not close")?;
        let item = match c {
            ']' if !first => {
                return if in_range {
                    Err("a `-` in a character class is written `\\-`")
                } else {
                    Ok(())
                };
            }
            '[' => {
                if chars.next_if_eq(&':').is_none() {
                    return Err(
                        "Rust reads a `[` inside of a character class as a nested class: write `\\[`",
                    );
                }
                chars.next_if_eq(&'^');
                let name: String = chars.by_ref().take_while(|c| *c != ':').collect();
                if !CLASSES.contains(&&*name) || chars.next() != Some(']') {
                    return Err("it names an unknown class in `[:…:]`");
                }
                None
            }
            '&' | '~' if chars.peek() == Some(&c) => {
                return Err(
                    "Rust reads && and ~~ inside of a character class as set operators: write `\\&`, `\\~`",
                );
            }
            '-' => {
                match chars.peek() {
                    // First and last, `-` is a character to both.
                    Some(']') if !in_range => {}
                    Some(next) if *next != '-' && *next != ']' && first => range_from = None,
                    Some(next) if *next != '-' && *next != ']' && range_from.is_some() && !in_range => {
                        in_range = true;
                        continue;
                    }
                    _ => return Err("a `-` in a character class is written `\\-`"),
                }
                first = false;
                // A literal `-` in first place must not begin a range.
                continue;
            }
            '\\' => escape(chars, true)?.1,
            ']' => return Err("a `]` in first place of a character class is written `\\]`"),
            c => Some(c),
        };
        first = false;
        if in_range {
            match (range_from, item) {
                (Some(from), Some(to)) if from <= to => {}
                _ => return Err("a range in a character class must rise from one character to another"),
            }
            (in_range, range_from) = (false, None);
        } else {
            range_from = item;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_read_is_accepted() {
        for regex in [
            "",
            "a|b",
            "vllm-.*",
            "(?:a|b)+?",
            "(?i)llama-[0-9a-f]{8,}",
            "(?i-s:x)",
            r"\d+\.\w*",
            r"[^\]a-z\d-]",
            "[-a]",
            "[[:alpha:]_]",
            r"\pL\p{Lu}[\x{1F600}-\x{1F64F}]\x41",
            "a{2,3}",
            "(a{10}){100}",
            "^a$",
            "a|",
            "()",
            "日本",
            "a]b}",
        ] {
            assert_eq!(check(regex), Ok(()), "{regex}");
        }
    }

    #[test]
    fn what_one_of_them_reads_otherwise_is_refused() {
        for regex in [
            "(",
            ")",
            "a)(b",
            "(?",
            "(?i",
            "(?:a",
            "[",
            "[]",
            "[a",
            "[]a]",
            "a\\",
            "*a",
            "a**",
            "a|*",
            "(*)",
            "^*",
            "a{2}{3}",
            "a{",
            "a{,3}",
            "{3}",
            "a{3",
            "a{1001}",
            "a{3,2}",
            "(a{100}){100}",
            "(?x) a",
            "(?R)a",
            "(?)",
            "(?-)",
            "(?P<n>a)",
            "(?<n>a)",
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            r"\<",
            r"\>",
            r"\h",
            r"\Z",
            r"\Qa\E",
            r"\C",
            r"\1",
            r"\012",
            r"\u{61}",
            r"\p{Foo}",
            r"\p{L",
            r"\x{41",
            r"\p",
            r"\x4",
            r"\x{110000}",
            r"\x{}",
            "[a&&b]",
            "[a--b]",
            "[a~~b]",
            "[[a]]",
            "[z-a]",
            r"[a-\d]",
            "[a-b-c]",
            r"[\b]",
            "[[:foo:]]",
            "[[:alpha:]",
            r"\é",
            r"\_",
        ] {
            assert!(check(regex).is_err_and(|reason| !reason.is_empty()), "{regex}");
        }
    }
}
