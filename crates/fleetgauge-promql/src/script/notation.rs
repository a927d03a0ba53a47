//! The notation of series: `name{label="value"} 1 2+1x3 _ stale`.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::label::METRIC_NAME;

use super::command::Item;
use crate::histogram::FloatHistogram;
use crate::label::LabelSet;
use crate::sample::{STALE_MARKER, SampleValue};
use fleetgauge_syntax::literal::duration_millis;

/// More in one script is a slip of the pen, `x100000000`.
const MAX_VALUES: usize = 5_000_000;

/// What a line of a `load` says.
#[derive(Debug)]
pub(super) enum Line {
    /// `series value …`
    Values(LabelSet, Vec<Option<Item>>),
    /// `series@st duration …`: since when its samples are counted, before or behind their own times. *Unit*:
    /// milliseconds.
    Starts(LabelSet, Vec<Option<i64>>),
}

/// Reads a line: the labels, and a value or none for each step.
///
/// `left` is how many values the script may still have.
pub(super) fn series(line: &str, left: &mut usize) -> Result<(LabelSet, Vec<Option<Item>>), String> {
    match self::line(line, left)? {
        Line::Values(labels, values) => Ok((labels, values)),
        Line::Starts(..) => Err("start timestamps are loaded, and not expected".to_owned()),
    }
}

/// Reads a line of a `load`, as [`series`].
pub(super) fn line(line: &str, left: &mut usize) -> Result<Line, String> {
    let (labels, rest) = metric(line)?;
    if let Some(rest) = rest.strip_prefix("@st") {
        let mut starts = Vec::new();
        for item in rest.split_whitespace() {
            read_start(item, &mut starts, left)?;
        }
        return Ok(Line::Starts(labels, starts));
    }
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(format!("expected a blank after the series, found {rest:?}"));
    }
    let mut values = Vec::new();
    let mut rest = rest.trim_start();
    while !rest.is_empty() {
        let (item, after) = rest.split_at(end_of_item(rest)?);
        read_item(item, &mut values, left)?;
        rest = after.trim_start();
    }
    Ok(Line::Values(labels, values))
}

/// `_`, `_x2`, `-1m`, `-1mx2`, `-30s-1mx2`
fn read_start(item: &str, starts: &mut Vec<Option<i64>>, left: &mut usize) -> Result<(), String> {
    let bad = || format!("{item:?} is not a time since when samples are counted, such as -1m or -30s-1mx2");
    let (first, times) = match item.split_once('x') {
        Some((first, times)) => (first, Some(times.parse::<usize>().map_err(|_| bad())?)),
        None => (item, None),
    };
    let count = match (first, times) {
        ("_", times) => times.unwrap_or(1),
        (_, times) => times.unwrap_or(0).saturating_add(1),
    };
    *left = left
        .checked_sub(count)
        .ok_or_else(|| format!("a script may have {MAX_VALUES} values in all, {item:?} is beyond it"))?;
    if first == "_" {
        starts.extend(std::iter::repeat_n(None, count));
        return Ok(());
    }
    let signed = |text: &str| {
        let (is_negative, bare) = match text.strip_prefix('-') {
            Some(bare) => (true, bare),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let millis = millis(bare)?;
        Some(if is_negative { -millis } else { millis })
    };
    // The sign of the step is the second one.
    let step = first
        .get(1..)
        .and_then(|rest| rest.find(['+', '-']))
        .map(|at| at + 1);
    let (base, step) = match step {
        Some(at) => (&first[..at], signed(&first[at..]).ok_or_else(bad)?),
        None => (first, 0),
    };
    let mut start = signed(base).ok_or_else(bad)?;
    for _ in 0..count {
        starts.push(Some(start));
        start = start.checked_add(step).ok_or_else(bad)?;
    }
    Ok(())
}

/// Where the first item ends: at a blank that is not within the braces of a histogram.
fn end_of_item(text: &str) -> Result<usize, String> {
    let mut end = 0;
    loop {
        let rest = &text[end..];
        let blank = rest.find(char::is_whitespace).unwrap_or(rest.len());
        match rest.find("{{").filter(|open| *open < blank) {
            None => return Ok(end + blank),
            Some(open) => {
                let close = rest[open..].find("}}");
                end += open + 2 + close.ok_or_else(|| format!("the braces are not closed: {text}"))?;
            }
        }
    }
}

/// How many values a script may have.
pub(super) const fn budget() -> usize {
    MAX_VALUES
}

/// Whether a name has it without quotes: also where queries need a switch for it, since series are no queries.
fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.' || !c.is_ascii() && c.is_alphabetic()
}

fn is_behind_first(c: char) -> bool {
    c.is_ascii_digit() || c == '.'
}

/// Reads `name{label="value"}`, and gives what follows.
fn metric(line: &str) -> Result<(LabelSet, &str), String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let name_end = line
        .find(|c: char| !(is_of_name(c) || c == ':'))
        .unwrap_or(line.len());
    let (name, mut rest) = line.split_at(name_end);
    if name.starts_with(is_behind_first) {
        return Err(format!(
            "a metric name cannot start with a digit or a dot: {line:?}"
        ));
    }
    if !name.is_empty() {
        pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
    }
    // Behind a name, two braces are its first value.
    let is_value = !name.is_empty() && rest.trim_start().starts_with("{{");
    if let Some(inside) = rest.trim_start().strip_prefix('{').filter(|_| !is_value) {
        rest = labels(inside, &mut pairs)?;
    } else if name.is_empty() {
        return Err(format!("expected a series or a number, found {line:?}"));
    }
    pairs.sort();
    if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
        return Err(format!("label {} is given twice", twice[0].0));
    }
    let labels = LabelSet::from_pairs(pairs.iter().map(|(name, value)| (&**name, &**value)));
    Ok((labels, rest))
}

/// Reads the labels up to and with the closing brace.
fn labels<'a>(mut rest: &'a str, pairs: &mut Vec<(String, String)>) -> Result<&'a str, String> {
    if rest.starts_with('{') {
        return Err(format!("expected a series before the histogram, found {{{rest}"));
    }
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let is_quoted = rest.starts_with(['"', '\'', '`']);
        let name;
        (name, rest) = if is_quoted {
            unquote(rest)?
        } else {
            let end = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        if name.is_empty() || !is_quoted && name.starts_with(is_behind_first) {
            return Err(format!("expected a label or }}, found {name}{rest}"));
        }
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('=') {
            let (value, after) = unquote(after.trim_start())?;
            pairs.push((name, value));
            rest = after.trim_start();
        } else if !is_quoted {
            return Err(format!("expected = behind the label {name}, found {rest:?}"));
        } else {
            // A quoted name alone is the metric's: {"http.requests"}.
            pairs.push((METRIC_NAME.to_owned(), name));
        }
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err(format!("expected , or }} after a label, found {rest:?}")),
        }
    }
}

fn read_item(item: &str, values: &mut Vec<Option<Item>>, left: &mut usize) -> Result<(), String> {
    let bad = || format!("{item:?} is no value of a series");
    let times = |text: &str| -> Result<usize, String> {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let times = text.parse().ok().filter(|_| is_number);
        times.ok_or_else(|| format!("{item:?} has no whole number behind its x"))
    };
    let mut take = |count: usize| -> Result<(), String> {
        *left = left
            .checked_sub(count)
            .ok_or_else(|| format!("a script may have {MAX_VALUES} values in all, {item:?} is beyond it"))?;
        Ok(())
    };
    if let Some(rest) = item.strip_prefix('_') {
        let times = match rest.strip_prefix('x') {
            Some(text) => times(text)?,
            None if rest.is_empty() => 1,
            None => return Err(bad()),
        };
        take(times)?;
        values.extend(std::iter::repeat_n(None, times));
        return Ok(());
    }
    if item.starts_with("{{") {
        let (mut value, mut tells_resets, rest) = leading_histogram(item)?;
        if rest.is_empty() {
            take(1)?;
            values.push(Some(histogram_item(value, tells_resets)));
            return Ok(());
        }
        let (step, rest) = match rest.strip_prefix(['+', '-']) {
            Some(inside) => {
                let (step, tells, after) = leading_histogram(inside)?;
                tells_resets = tells;
                (Some((step, rest.starts_with('-'))), after)
            }
            None => (None, rest),
        };
        let times = times(rest.strip_prefix('x').ok_or_else(bad)?)?;
        take(times.saturating_add(1))?;
        for place in 0..=times {
            values.push(Some(histogram_item(value.clone(), tells_resets)));
            if let Some((step, is_less)) = step.as_ref().filter(|_| place < times) {
                let moved = match is_less {
                    true => value.subtract(step),
                    false => value.add(step),
                };
                moved.map_err(|error| format!("{item:?}: {error}"))?;
            }
        }
        return Ok(());
    }
    let (mut value, rest) = leading_number(item).ok_or_else(bad)?;
    if rest.is_empty() {
        take(1)?;
        values.push(Some(value.into()));
        return Ok(());
    }
    let (step, rest) = if rest.starts_with(['+', '-']) {
        let (step, rest) = leading_number(rest).ok_or_else(bad)?;
        (Some(step), rest)
    } else {
        (None, rest)
    };
    let times = times(rest.strip_prefix('x').ok_or_else(bad)?)?;
    take(times.saturating_add(1))?;
    for _ in 0..=times {
        values.push(Some(value.into()));
        // Added up as Prometheus does, so that 0+0.1x3 ends in the same bits.
        value = step.map_or(value, |step| value + step);
    }
    Ok(())
}

/// A histogram at the start of a text, whether it tells of counter resets, and the rest.
fn leading_histogram(text: &str) -> Result<(FloatHistogram, bool, &str), String> {
    let end = text.find("}}").map_or(text.len(), |close| close + 2);
    let (histogram, rest) = text.split_at(end);
    let tells_resets = histogram.contains("counter_reset_hint:");
    let histogram = FloatHistogram::from_notation(histogram).map_err(|error| error.to_string())?;
    Ok((histogram, tells_resets, rest))
}

fn histogram_item(histogram: FloatHistogram, tells_resets: bool) -> Item {
    Item {
        value: SampleValue::Histogram(Arc::new(histogram)),
        tells_resets,
    }
}

/// A number at the start of a text, and the rest. Hexadecimal ones do not exist here: `0x3` is four zeros.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    for (word, value) in [
        ("stale", f64::from_bits(STALE_MARKER)),
        ("nan", f64::NAN),
        ("inf", f64::INFINITY),
    ] {
        let is_word = unsigned
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word));
        if is_word {
            let rest = &unsigned[word.len()..];
            let signed = if value.is_nan() { value } else { sign * value };
            let fits = word != "stale" || unsigned.len() == text.len();
            return fits.then_some((signed, rest));
        }
    }
    let bytes = unsigned.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    let mut seen = end;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        seen += fraction;
        end += 1 + fraction;
    }
    if seen == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signs = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + signs).min(bytes.len()));
        if exponent > 0 {
            end += 1 + signs + exponent;
        }
    }
    let value: f64 = unsigned[..end].parse().ok()?;
    Some((sign * value, &unsigned[end..]))
}

/// A number alone, as the expected value of a scalar.
pub(super) fn number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(digits) = unsigned.strip_prefix("0x").or(unsigned.strip_prefix("0X")) {
        let value = u64::from_str_radix(digits, 16).ok()? as f64;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    leading_number(text)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(value, _)| value)
        .filter(|value| value.to_bits() != STALE_MARKER)
}

/// A duration as in PromQL (`1h30m`, `500ms`), or a number of seconds; with a sign. *Unit*: milliseconds.
pub(super) fn millis(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1000.0).round();
        return (millis.abs() < 1e15).then_some(millis as i64);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let millis = duration_millis(rest).ok().flatten()?;
    (!rest.is_empty()).then_some(sign * millis)
}

/// [`millis`] that are no less than `least`.
pub(super) fn duration(text: &str, least: i64) -> Result<Duration, String> {
    let millis = millis(text).filter(|millis| *millis >= least);
    millis
        .and_then(|millis| u64::try_from(millis).ok())
        .map(Duration::from_millis)
        .ok_or_else(|| format!("expected a duration such as 30s or 1m30s, found {text:?}"))
}

/// A string as PromQL writes it, in any of the three quotes, at the start of a text; and the rest.
pub(super) fn unquote(text: &str) -> Result<(String, &str), String> {
    let open = text.chars().next().filter(|c| ['"', '\'', '`'].contains(c));
    let quote = open.ok_or_else(|| format!("expected a text in quotes, found {text:?}"))?;
    let mut out = String::new();
    let mut rest = &text[1..];
    loop {
        let c = rest
            .chars()
            .next()
            .ok_or_else(|| format!("the quote is not closed: {text}"))?;
        rest = &rest[c.len_utf8()..];
        if c == quote {
            return Ok((out, rest));
        }
        if c == '\\' && quote != '`' {
            let (unescaped, after) =
                unescape(rest).ok_or_else(|| format!("unknown escape sequence in {text}"))?;
            out.push(unescaped);
            rest = after;
        } else {
            out.push(c);
        }
    }
}

/// What stands behind a backslash.
fn unescape(rest: &str) -> Option<(char, &str)> {
    let c = rest.chars().next()?;
    let after = &rest[c.len_utf8()..];
    let coded = |start: usize, digits: usize, radix: u32| {
        let code = u32::from_str_radix(rest.get(start..start + digits)?, radix).ok()?;
        // A byte beyond ASCII would be half a character.
        let ascii_only = radix == 8 || digits == 2;
        let c = char::from_u32(code).filter(|c| c.is_ascii() || !ascii_only)?;
        Some((c, &rest[start + digits..]))
    };
    match c {
        'a' => Some(('\x07', after)),
        'b' => Some(('\x08', after)),
        'f' => Some(('\x0c', after)),
        'n' => Some(('\n', after)),
        'r' => Some(('\r', after)),
        't' => Some(('\t', after)),
        'v' => Some(('\x0b', after)),
        '\\' | '"' | '\'' => Some((c, after)),
        'x' => coded(1, 2, 16),
        'u' => coded(1, 4, 16),
        'U' => coded(1, 8, 16),
        '0'..='7' => coded(0, 3, 8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<String, String> {
        let (labels, values) = series(line, &mut 1000)?;
        let values = values.iter().map(|value| match value {
            None => " _".to_owned(),
            Some(item) => match &item.value {
                SampleValue::Float(value) if value.to_bits() == STALE_MARKER => " stale".to_owned(),
                SampleValue::Float(value) => format!(" {value}"),
                SampleValue::Histogram(histogram) => format!(" {}", histogram.notation()),
            },
        });
        Ok(format!("{labels}{}", values.collect::<String>()))
    }

    #[test]
    fn series_are_expanded_as_in_prometheus() {
        let check = |line: &str, expected: &str| assert_eq!(read(line).as_deref(), Ok(expected), "{line}");
        check("a 1 2 _ 3x4", "a 1 2 _ 3 3 3 3 3");
        check("a 1+2x3", "a 1 3 5 7");
        check("a 1-2x3 -1-1x1", "a 1 -1 -3 -5 -1 -2");
        check("a 5x0 5+1x0", "a 5 5");
        check("a _x3 0x2", "a _ _ _ 0 0 0");
        check(
            "a stale NaN Inf -Inf +Inf nanx1 -infx1",
            "a stale NaN inf -inf inf NaN NaN -inf -inf",
        );
        check("a stalex1", "a stale stale");
        check("a 1e3 1.5e-1 .5 2. 1e1x1 -0", "a 1000 0.15 0.5 2 10 10 -0");
        // Added up, not multiplied.
        check("a 0+0.1x3", "a 0 0.1 0.2 0.30000000000000004");
        check("a 1+Infx1", "a 1 inf");
        check(r#"{a="b", c='d',} 1"#, r#"{a="b", c="d"} 1"#);
        check(r#"x:y{a="\"\n\u00e9\x41\101"}"#, r#"x:y{a="\"\néAA"}"#);
        check(r#"{"a",b=`\n`,"c"="d"}	1"#, r#"a{b="\\n", c="d"} 1"#);
        check("{} 1", "{} 1");
        check(
            "a {{count:1 buckets:[1]}}x1 _ {{ sum:1 }}",
            "a {{count:1 buckets:[1]}} {{count:1 buckets:[1]}} _ {{sum:1}}",
        );
        check(
            "a {{count:1 buckets:[1]}}+{{count:2 buckets:[0 2]}}x2 5",
            "a {{count:1 buckets:[1]}} {{count:3 buckets:[1 2]}} {{count:5 buckets:[1 4]}} 5",
        );
        check("a {{count:3}}-{{count:1}}x1", "a {{count:3}} {{count:2}}");
        check(r#"a{b=""} 1"#, "a 1");
    }

    #[test]
    fn what_is_no_series_is_refused() {
        for line in [
            "1a 1",
            "a{b} 1",
            "a{b=\"c\" 1",
            "a{b=c} 1",
            "a{b=\"c} 1",
            "a{b=\"\\q\"} 1",
            "a{b=\"c\"d=\"e\"} 1",
            "a{b=\"1\",b=\"2\"} 1",
            "a{b=\"c\"}1",
            "a 1x",
            "a 1xx3",
            "a 1x-3",
            "a 1+x3",
            "a 1+2",
            "a 1+-2x3",
            "a _y",
            "a 1e",
            "a one",
            "a -stale",
            "a .",
            "a 1x100000000000000000000",
            "a 1x2000",
            "a _x2000",
            "a {{schema:0}",
            "a {{schema:0}}y",
            "a {{schema:0}}+1x2",
            "a {{schema:9}}",
            "a {{}}+{{schema:-53 custom_values:[1]}}x2",
            "{{schema:0}}",
            "",
            "+ 1",
        ] {
            assert!(read(line).is_err(), "{line}: {:?}", read(line));
        }
    }

    #[test]
    fn durations_are_those_of_promql() {
        let check = |text: &str, expected| assert_eq!(millis(text), expected, "{text}");
        check("1h30m", Some(5_400_000));
        check("500ms", Some(500));
        check("1y2w3d4h5m6s7ms", Some(33_019_506_007));
        check("0", Some(0));
        check("-5m", Some(-300_000));
        check("1.5", Some(1_500));
        check("30m1h", None);
        check("5", Some(5_000));
        check("5m5m", None);
        check("", None);
        check("-", None);
        check("m", None);
        check("1e300", None);
        check("NaN", None);
        check("99999999999999y", None);
    }
}
