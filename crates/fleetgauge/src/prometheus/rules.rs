//! Which metrics a server records by rules: their samples are computed from older ones, so that their age is a lower
//! bound.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/api/#rules>.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::time::Moment;
use fleetgauge_syntax::tree::{Expr, MatchOp, Selector};
use serde::Deserialize;

use crate::client::failure::excerpt;

/// Rules change when somebody deploys them.
const ASK_EVERY: Duration = Duration::from_secs(300);

/// The form that asks for the rules.
pub(super) const FORM: &str = "type=record";

/// What alerting rules write.
const ALERTS: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

/// The names of the metrics that the server records.
pub(super) type Recorded = HashSet<String>;

/// What is known of a server's rules.
#[derive(Debug, Default)]
pub(super) struct Rules(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    asked: Option<Moment>,
    /// `None` where they could never be read.
    recorded: Option<Arc<Recorded>>,
    is_failing: bool,
}

/// Which metrics a query reads.
#[derive(Debug, Default)]
pub(super) struct Reads {
    names: BTreeSet<String>,
    /// A selector names no metric, or several by a regular expression.
    pub(super) may_be_any: bool,
}

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Decodes the body of an answer to `/api/v1/rules`.
///
/// *Errors*: [`FetchError::Malformed`].
pub(super) fn decode_rules(body: &[u8]) -> Result<Recorded, FetchError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| FetchError::Malformed {
        detail: excerpt(&error.to_string()),
        source: None,
    })?;
    let rules = body.data.groups.into_iter().flat_map(|group| group.rules);
    let recording = rules.filter(|rule| rule.kind == "recording");
    Ok(recording.map(|rule| rule.name).collect())
}

// === impl Rules ===

impl Rules {
    /// Whether it is time to ask for them; whoever is told so asks.
    pub(super) fn are_due(&self, now: Moment) -> bool {
        let mut state = self.state();
        let is_due = |asked: Moment| now.saturating_since(asked) >= ASK_EVERY;
        let are_due = state.asked.is_none_or(is_due);
        if are_due {
            state.asked = Some(now);
        }
        are_due
    }

    /// Keeps what was told. Where they cannot be read now, those known before stay.
    pub(super) fn learn(&self, told: Result<Recorded, String>) {
        let mut state = self.state();
        match told {
            Ok(recorded) => {
                state.recorded = Some(Arc::new(recorded));
                state.is_failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut state.is_failing, true) {
                    tracing::warn!(
                        %error,
                        "the recording rules of the server cannot be read: every age may be that of a recorded sample, and is told as a lower bound"
                    );
                }
            }
        }
    }

    /// Whether a query may read recorded samples. Where the rules are not known, it may.
    pub(super) fn may_be_read(&self, reads: &Reads) -> bool {
        let recorded = self.state().recorded.clone();
        let Some(recorded) = recorded else {
            return true;
        };
        reads.may_be_any && !recorded.is_empty()
            || reads
                .names
                .iter()
                .any(|name| recorded.contains(name) || ALERTS.contains(&&**name))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reads ===

impl Reads {
    pub(super) fn of(query: &Expr) -> Self {
        let mut reads = Self::default();
        for part in query.walk() {
            match part {
                Expr::Selector(selector) => reads.add(selector),
                Expr::Range(range) => reads.add(&range.selector),
                _ => {}
            }
        }
        reads
    }

    fn add(&mut self, selector: &Selector) {
        let named = selector.matchers.iter();
        let mut named = named.filter(|matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal);
        match named.next() {
            Some(matcher) => {
                self.names.insert(matcher.value.clone());
            }
            None => self.may_be_any = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(query: &str) -> Reads {
        Reads::of(&fleetgauge_syntax::parse(query).unwrap())
    }

    #[test]
    fn recorded_names_are_those_of_recording_rules() {
        let body = br#"{"status": "success", "data": {"groups": [
            {"name": "g", "interval": 30, "rules": [
                {"name": "job:up:sum", "query": "sum(up)", "type": "recording", "health": "ok"},
                {"name": "Down", "type": "alerting", "alerts": []}]},
            {"rules": []}]}}"#;
        let rules = Rules::default();
        // Until they are known.
        assert!(rules.may_be_read(&reads("up")));
        rules.learn(decode_rules(body).map_err(|error| error.to_string()));
        let check = |query: &str, expected| assert_eq!(rules.may_be_read(&reads(query)), expected, "{query}");
        check("sum(rate(job:up:sum[5m])) / up", true);
        check("up", false);
        check("Down", false);
        check("ALERTS", true);
        check("{__name__=~'job:.*'}", true);
        check("{job='a'}", true);
        check("{job='a', __name__='up'}", false);
        check("vector(1)", false);
        // They are not forgotten because they cannot be read for once.
        rules.learn(Err("404".to_owned()));
        check("up", false);
        rules.learn(Ok(Recorded::new()));
        check("{job='a'}", false);
    }

    #[test]
    fn they_are_asked_for_now_and_then() {
        let rules = Rules::default();
        let start = Moment::default();
        assert!(rules.are_due(start));
        assert!(!rules.are_due(start.saturating_add(ASK_EVERY - Duration::from_millis(1))));
        assert!(rules.are_due(start.saturating_add(ASK_EVERY)));
    }

    #[test]
    fn what_is_not_an_answer_about_rules_is_an_error() {
        for body in [
            "",
            "[]",
            r#"{"data": {}}"#,
            r#"{"data": {"groups": [{"rules": [{}]}]}}"#,
        ] {
            let error = decode_rules(body.as_bytes()).unwrap_err();
            assert!(matches!(error, FetchError::Malformed { .. }), "{body}: {error}");
        }
    }
}
