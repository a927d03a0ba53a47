//! Names as they stand without quotes.
//!
//! *Source*: <https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels>.

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const COLON: u8 = 4;

static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        class[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => LETTER,
            b'0'..=b'9' => DIGIT,
            b':' => COLON,
            _ => 0,
        };
        byte += 1;
    }
    class
};

/// How many bytes at the start of `text` are a name, with colons (of a metric) or without (of a label);
/// 0 if it starts with none.
#[inline]
pub(super) fn name_length(text: &[u8], colons: bool) -> usize {
    let start = if colons { LETTER | COLON } else { LETTER };
    let is = |byte: &u8, classes| CLASS[usize::from(*byte)] & classes != 0;
    match text.first() {
        Some(first) if is(first, start) => text
            .iter()
            .position(|b| !is(b, start | DIGIT))
            .unwrap_or(text.len()),
        _ => 0,
    }
}

/// Whether a metric's name may go on with `byte`.
#[inline]
pub(super) fn is_name_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] != 0
}

/// Whether `name` can be written without quotes.
pub(super) fn is_plain(name: &str, colons: bool) -> bool {
    !name.is_empty() && name_length(name.as_bytes(), colons) == name.len()
}

/// Where the blanks and tabs that start at `at` end.
#[inline]
pub(super) fn skip_blanks(text: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(b' ' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}
