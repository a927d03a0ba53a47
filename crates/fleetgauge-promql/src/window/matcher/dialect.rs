//! From RE2's dialect of regular expressions to the crate's, where the same text means something else.

use std::fmt::Write;

/// The expression that means, of a whole text, what RE2 means by `pattern`.
///
/// *Errors*: what the crate would accept and RE2 does not.
pub(super) fn anchored(pattern: &str) -> Result<String, regex::Error> {
    let mut out = String::with_capacity(pattern.len() + 8);
    out.push_str("^(?:");
    let mut chars = pattern.chars().peekable();
    let mut depth = 0_usize;
    // RE2 takes a repetition of a repetition as an error.
    let mut repeated = false;
    while let Some(c) = chars.next() {
        let mut repetition = false;
        match c {
            '\\' => match chars.next() {
                Some('Q') => quote(&mut out, &mut chars),
                Some(escape) => push_escape(&mut out, escape)?,
                None => return Err(refused("trailing backslash")),
            },
            '[' => {
                out.push('[');
                push_class(&mut out, &mut chars)?;
            }
            '(' => {
                out.push('(');
                let open = chars.peek() != Some(&'?') || push_group_flags(&mut out, &mut chars)?;
                depth += usize::from(open);
            }
            ')' => {
                depth = depth.checked_sub(1).ok_or_else(|| refused("unopened group"))?;
                out.push(')');
            }
            '{' => repetition = push_braces(&mut out, &mut chars)?,
            '*' | '+' | '?' => {
                out.push(c);
                repetition = true;
            }
            c => out.push(c),
        }
        if repetition {
            if repeated {
                return Err(refused("repetition of a repetition"));
            }
            out.extend(chars.next_if_eq(&'?'));
        }
        repeated = repetition;
    }
    out.push_str(")$");
    Ok(out)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Everything up to `\E`, or to the end, is meant literally.
fn quote(out: &mut String, chars: &mut Chars<'_>) {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            break;
        }
        text.push(c);
    }
    out.push_str(&regex::escape(&text));
}

/// In the crate these are sets of Unicode, in RE2 of ASCII; a set stands in a class as well as outside.
fn push_escape(out: &mut String, escape: char) -> Result<(), regex::Error> {
    match escape {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        's' => out.push_str(r"[\t\n\f\r ]"),
        'S' => out.push_str(r"[^\t\n\f\r ]"),
        'b' => out.push_str(r"(?-u:\b)"),
        'B' => out.push_str(r"(?-u:\B)"),
        // Known to the crate alone.
        'u' | 'U' | '<' | '>' => return Err(refused("unknown escape")),
        escape => {
            out.push('\\');
            out.push(escape);
        }
    }
    Ok(())
}

/// After the `[`, to the `]`. In the crate, classes nest and have set operations: here every character that
/// is meant literally is escaped.
fn push_class(out: &mut String, chars: &mut Chars<'_>) -> Result<(), regex::Error> {
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                // `[:alpha:]`; what is none the crate refuses.
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            c => {
                push_class_item(out, c, chars)?;
                let mut ahead = chars.clone();
                if ahead.next() == Some('-') && ahead.next().is_some_and(|end| end != ']') {
                    chars.next();
                    out.push('-');
                    let end = chars.next().unwrap_or_default();
                    push_class_item(out, end, chars)?;
                }
            }
        }
        first = false;
    }
    Err(refused("unclosed class"))
}

fn push_class_item(out: &mut String, c: char, chars: &mut Chars<'_>) -> Result<(), regex::Error> {
    match c {
        '\\' => match chars.next() {
            Some('b' | 'B' | 'Q' | 'E') | None => Err(refused("unknown escape in a class")),
            Some('x') => {
                out.push_str(r"\x");
                if chars.peek() == Some(&'{') {
                    out.extend(chars.by_ref().take_while(|&c| c != '}'));
                    out.push('}');
                } else {
                    out.extend(chars.by_ref().take(2));
                }
                Ok(())
            }
            Some(escape) => push_escape(out, escape),
        },
        '[' | ']' | '&' | '~' | '-' | '^' => {
            out.push('\\');
            out.push(c);
            Ok(())
        }
        c => {
            out.push(c);
            Ok(())
        }
    }
}

/// `(?flags)`, `(?flags:…)`, `(?P<name>…)` and `(?<name>…)`; RE2 has no other flags than these. Returns
/// whether the group is still open: flags alone close theirs.
fn push_group_flags(out: &mut String, chars: &mut Chars<'_>) -> Result<bool, regex::Error> {
    out.extend(chars.next());
    if chars.peek().is_some_and(|c| matches!(c, 'P' | '<')) {
        return Ok(true);
    }
    for c in chars.by_ref() {
        out.push(c);
        match c {
            'i' | 'm' | 's' | 'U' | '-' => {}
            ':' => return Ok(true),
            ')' => return Ok(false),
            _ => return Err(refused("unknown flag")),
        }
    }
    Err(refused("unclosed group"))
}

/// RE2 takes `{` literally where no repetition follows, and repeats at most a thousand times. Returns
/// whether it was a repetition.
fn push_braces(out: &mut String, chars: &mut Chars<'_>) -> Result<bool, regex::Error> {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let bounds: String = chars
        .clone()
        .take_while(|&c| c.is_ascii_digit() || c == ',')
        .collect();
    let closed = chars.clone().nth(bounds.len()) == Some('}');
    let (min, max) = match bounds.split_once(',') {
        Some((min, max)) => (min, max),
        None => (&*bounds, ""),
    };
    if !closed || !digits(min) || !(max.is_empty() || digits(max)) {
        out.push_str(r"\{");
        return Ok(false);
    }
    let too_many = |bound: &str| bound.parse::<u32>().map_or(true, |n| n > 1000);
    if too_many(min) || (!max.is_empty() && too_many(max)) {
        return Err(refused("more than 1000 repetitions"));
    }
    let _ = write!(out, "{{{bounds}}}");
    chars.nth(bounds.len());
    Ok(true)
}

fn refused(why: &str) -> regex::Error {
    regex::Error::Syntax(why.to_owned())
}
