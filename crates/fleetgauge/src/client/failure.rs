//! What a server sent instead of what was asked for, as it may be told.
//!
//! Everything that a server sends may end up in a log or on a terminal, so it is bounded in length and
//! stripped of control characters here, and nothing else of it is kept.

use std::time::{Duration, SystemTime};

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::printable::{ExcerptBytes, is_printable};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, RETRY_AFTER};

/// No server is believed that wants to be left alone for longer.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What was found instead of an answer: its content type and how it begins.
pub(crate) fn found(headers: &HeaderMap, body: &[u8]) -> String {
    found_up_to(headers, body, 80)
}

/// As [`found`], of a body that refuses: at its end stands which permission is missing.
pub(crate) fn found_refusal(headers: &HeaderMap, body: &[u8]) -> String {
    found_up_to(headers, body, 300)
}

fn found_up_to(headers: &HeaderMap, body: &[u8], limit: usize) -> String {
    let media = excerpt_of(content_type(headers).unwrap_or("no content type"), 80);
    match body.trim_ascii() {
        b"" => format!("an empty body ({media})"),
        body => format!("{} ({media})", ExcerptBytes(body, limit)),
    }
}

pub(crate) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// In seconds or as a date.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(value).ok()?;
            at.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// `error` without `secrets`, in case the server's message repeats what it was sent. Those of less than four
/// characters stay: they would be found everywhere.
pub(crate) fn redacted<'a>(mut error: FetchError, secrets: impl Iterator<Item = &'a str>) -> FetchError {
    let (first, second) = match &mut error {
        FetchError::Rejected { kind, message } => (Some(kind), Some(message)),
        FetchError::Unauthorized { message, .. } | FetchError::Unavailable { message, .. } => {
            (Some(message), None)
        }
        FetchError::Unreachable { detail, .. }
        | FetchError::Tls { detail, .. }
        | FetchError::Malformed { detail, .. } => (Some(detail), None),
        FetchError::Unsupported { what } => (Some(what), None),
        _ => (None, None),
    };
    let mut texts = [first, second];
    for secret in secrets.filter(|secret| secret.len() >= 4) {
        let in_url: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for text in texts.iter_mut().flatten() {
            for form in [secret, &in_url] {
                if text.contains(form) {
                    **text = text.replace(form, "<secret>");
                }
            }
        }
    }
    error
}

/// `text` as it may be shown: at most 300 characters, without what a terminal obeys.
pub(crate) fn excerpt(text: &str) -> String {
    excerpt_of(text, 300)
}

/// As [`excerpt`], of at most `limit` characters.
pub(crate) fn excerpt_of(text: &str, limit: usize) -> String {
    let mut chars = text.trim().chars();
    let mut shortened: String = (&mut chars)
        .take(limit)
        .map(|c| if is_printable(c) { c } else { ' ' })
        .collect();
    if chars.next().is_some() {
        shortened.push('…');
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_sends_is_bounded_and_harmless() {
        assert_eq!(excerpt(" a\n\u{1b}[31mb\u{202e}c "), "a  [31mb c");
        let long = excerpt(&"ü".repeat(1000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (301, true));
    }

    #[test]
    fn what_is_no_text_is_told_in_escapes() {
        let check = |body: &[u8], expected: &str| {
            let found = found(&HeaderMap::new(), body);
            assert_eq!(found, format!("{expected} (no content type)"));
        };
        check(b" \r\n", "an empty body");
        check(b"\n<p>\n  Sign in", r#""<p>   Sign in""#);
        check(b"\x1f\x8b\x08\0\xff", r#""\x1f\x8b\x08\x00\xff""#);
    }

    #[test]
    fn retry_after_in_seconds_or_as_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let check = |value: &str, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(
                retry_after(&headers, now),
                expected.map(Duration::from_secs),
                "{value}"
            );
        };
        check("0", Some(0));
        check("7", Some(7));
        check("Sun, 06 Nov 1994 08:50:00 GMT", Some(23));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("18446744073709551615", Some(3600));
        check("99999999999999999999", None);
        check("-1", None);
        check("soon", None);
    }
}
