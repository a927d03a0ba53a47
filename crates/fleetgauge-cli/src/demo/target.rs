//! What a collector says of its targets: when each was last scraped, and what went wrong.

use std::collections::HashMap;

use fleetgauge_core::time::Timestamp;
use futures_util::future::BoxFuture;

/// Namespace and name.
pub(crate) type PodKey = (String, String);

/// What a collector says of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TargetState {
    /// When the newest page was had.
    pub(crate) scraped_at: Option<Timestamp>,
    /// Why the last scrape gave none.
    pub(crate) error: Option<String>,
}

/// A collector's view on its targets.
pub(crate) trait Targets: Send + Sync {
    /// By pod. *Errors*: why the collector does not say.
    fn states(&self) -> BoxFuture<'_, Result<HashMap<PodKey, TargetState>, String>>;
}

/// The error that Prometheus tells of a scrape, in few words: what went wrong, without the place, which stands beside
/// it.
pub(crate) fn in_few_words(error: &str) -> String {
    // Go's HTTP client, of Prometheus: `Get "http://…": dial tcp 127.0.0.1:1: connect: connection refused`.
    let error = match error
        .strip_prefix("Get \"")
        .and_then(|rest| rest.split_once("\": "))
    {
        Some((_, cause)) => cause,
        None => error,
    };
    if error.contains("unexpected EOF") {
        return "page cut off".to_owned();
    }
    if let Some(status) = error.strip_prefix("server returned HTTP status ") {
        return format!("HTTP {}", status.split(' ').next().unwrap_or(status));
    }
    match error.strip_prefix("dial tcp ") {
        Some(rest) => rest.rsplit(": ").next().unwrap_or(rest).to_owned(),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_few_words() {
        let check = |error: &str, expected: &str| {
            assert_eq!(in_few_words(error), expected);
        };
        check(
            "Get \"http://127.0.0.1:1/metrics\": dial tcp 127.0.0.1:1: connect: connection refused",
            "connection refused",
        );
        check("unexpected EOF", "page cut off");
        check(
            "server returned HTTP status 500 Internal Server Error",
            "HTTP 500",
        );
        check("expected a valid start token", "expected a valid start token");
    }
}
