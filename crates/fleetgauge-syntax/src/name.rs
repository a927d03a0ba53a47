//! Names of metrics and labels, and the words that PromQL reads as something else.

/// What the lexer of some version of Prometheus, or of a server that speaks its language, reads as something else than
/// a name, in any case of letters.
const KEYWORDS: [&str; 41] = [
    "and",
    "or",
    "unless",
    "atan2",
    "sum",
    "avg",
    "count",
    "min",
    "max",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "count_values",
    "quantile",
    "limitk",
    "limit_ratio",
    "offset",
    "smoothed",
    "anchored",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "fill",
    "fill_left",
    "fill_right",
    "bool",
    "start",
    "end",
    "step",
    "range",
    "inf",
    "nan",
    "default",
    "if",
    "ifnot",
    "with",
];

/// Whether a word is a keyword or a number somewhere.
fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// Whether a text is a metric name that can stand in code, without quotes.
///
/// *Errors*: why not.
pub fn metric_name(text: &str) -> Result<(), &'static str> {
    name(text, true)?;
    if is_keyword(text) {
        return Err("PromQL reads this word as a keyword or a number, not as a name");
    }
    Ok(())
}

/// Whether a text is a label name that can stand in code, without quotes.
///
/// *Errors*: why not.
pub fn label_name(text: &str) -> Result<(), &'static str> {
    name(text, false)?;
    if text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("nan") {
        return Err("PromQL reads this word as a number, not as a name");
    }
    Ok(())
}

/// Whether PromQL reads the name of a metric or of a label without quotes, where no keyword can stand.
///
/// *Source*: <https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels>.
pub fn is_plain(name: &str, is_metric: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || is_metric && c == ':';
    name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn name(text: &str, colons: bool) -> Result<(), &'static str> {
    let Some(first) = text.bytes().next() else {
        return Err("it is empty");
    };
    if first.is_ascii_digit() {
        return Err("a name cannot start with a digit");
    }
    for byte in text.bytes() {
        match byte {
            b'_' => {}
            b':' if colons => {}
            b':' => return Err("a label name has no colon"),
            byte if byte.is_ascii_alphanumeric() => {}
            _ if colons => return Err("a metric name in code has letters, digits, `_` and `:` only"),
            _ => return Err("a label name in code has letters, digits and `_` only"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(judge: fn(&str) -> Result<(), &'static str>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(judge(text), Ok(()), "{text:?}");
        }
        for text in bad {
            assert!(judge(text).is_err_and(|reason| !reason.is_empty()), "{text:?}");
        }
    }

    #[test]
    fn names() {
        check(
            metric_name,
            &["up", "vllm:kv_cache_usage_perc", "_x", ":a", "summary", "rate"],
            &[
                "", "1a", "a.b", "a b", "up{", "sum", "BY", "Inf", "nan", "offset", "é", "a\n", "up#",
            ],
        );
        check(
            label_name,
            &["pod", "_", "group", "on", "le"],
            &["", "a:b", "a-b", "9", "inf", "NaN", "pod,le", "\"a\""],
        );
    }
}
