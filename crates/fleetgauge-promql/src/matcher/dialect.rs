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
                Some(escape) => push_escape(&mut out, escape, &mut chars)?,
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
fn push_escape(out: &mut String, escape: char, chars: &mut Chars<'_>) -> Result<(), regex::Error> {
    match escape {
        'p' | 'P' => push_category(out, escape == 'P', chars)?,
        'x' => push_hex(out, chars)?,
        '0'..='7' => push_octal(out, escape, chars)?,
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

/// `\xe9` or `\x{e9}`: the digits belong to it, and the braces are no repetition.
fn push_hex(out: &mut String, chars: &mut Chars<'_>) -> Result<(), regex::Error> {
    out.push_str(r"\x");
    if chars.next_if_eq(&'{').is_some() {
        let _ = write!(out, "{{{}}}", in_braces(chars)?);
    } else {
        out.extend(chars.by_ref().take(2));
    }
    Ok(())
}

/// What stands before the `}`, which is taken too.
fn in_braces(chars: &mut Chars<'_>) -> Result<String, regex::Error> {
    let mut text = String::new();
    loop {
        match chars.next() {
            Some('}') => return Ok(text),
            Some(c) => text.push(c),
            None => return Err(refused("unclosed brace")),
        }
    }
}

/// `\0`, `\12`, `\123`; a single digit that is no zero would be a reference to a group, which RE2 has not.
fn push_octal(out: &mut String, first: char, chars: &mut Chars<'_>) -> Result<(), regex::Error> {
    let mut digits = String::from(first);
    while let Some(digit) = chars.next_if(|c| digits.len() < 3 && ('0'..='7').contains(c)) {
        digits.push(digit);
    }
    if digits.len() == 1 && first != '0' {
        return Err(refused("unknown escape"));
    }
    let code = u32::from_str_radix(&digits, 8).unwrap_or_default();
    let _ = write!(out, r"\x{{{code:x}}}");
    Ok(())
}

/// `\pL`, `\p{Lu}`, `\p{^Lu}`, of the general categories that RE2 knows; it reads their names exactly as they are.
fn push_category(out: &mut String, negated: bool, chars: &mut Chars<'_>) -> Result<(), regex::Error> {
    const CATEGORIES: [&str; 37] = [
        "C", "Cc", "Cf", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl",
        "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp",
        "Zs", "Any", "ASCII",
    ];
    let name: String = match chars.next() {
        Some('{') => in_braces(chars)?,
        single => single.into_iter().collect(),
    };
    let (is_not, name) = name
        .strip_prefix('^')
        .map_or((false, &*name), |name| (true, name));
    if !CATEGORIES.contains(&name) {
        return Err(refused("invalid Unicode character class"));
    }
    let not = if negated != is_not { "^" } else { "" };
    let _ = match name {
        // In the crate, also what is not assigned.
        "C" => write!(out, r"[{not}\p{{Cc}}\p{{Cf}}\p{{Co}}]"),
        name => write!(out, r"[{not}\p{{{name}}}]"),
    };
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
            Some(escape) => push_escape(out, escape, chars),
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
