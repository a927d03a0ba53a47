//! What is older than what is in memory, from the engine that remote write fills.
//!
//! A range is cut in two at a step: each step is answered by one side, whole. What is in memory answers those for which it has
//! all that they read, and those that may not have come to the engine yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::prometheus::remote_write::RemoteWrite;
use fleetgauge_core::backend::Request;
use fleetgauge_core::query::{QueryType, Shape};
use fleetgauge_core::range::Steps;
use fleetgauge_core::result::{Answer, AnswerBuilder, Series};
use fleetgauge_core::source::MetricsSource;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::matcher::Matcher;
use fleetgauge_promql::queryable::Queryable;
use fleetgauge_promql::window::Window;
use fleetgauge_syntax::tree::{self, Expr};
use fleetgauge_syntax::{parse, rewrite};

/// How long after it was taken a sample may be read from an engine: VictoriaMetrics shows none that is younger.
const SHOWN_AFTER: Duration = Duration::from_secs(30);

/// An engine that is written to, and read.
#[derive(Clone)]
pub struct History {
    /// The name of the source.
    pub name: String,
    /// By which it is read.
    pub source: Arc<dyn MetricsSource>,
    /// What writes to it.
    pub remote: Arc<RemoteWrite>,
    /// What is written.
    pub windows: Vec<Window>,
}

/// A range in two.
pub(super) struct Cut {
    query: Expr,
    /// What the engine is asked.
    older: Steps,
    /// The first step that it is not asked, if there is one.
    pub(super) rest: Option<Timestamp>,
}

/// The labels of a series, and its points from both sides.
type Joined<'a> = BTreeMap<Vec<(&'a str, &'a str)>, [Option<Series<'a>>; 2]>;

// === impl History ===

impl History {
    /// Which part of the range is for the engine; `None` where none is.
    pub(super) fn cut(
        &self,
        query: &str,
        (start, end, step): (Timestamp, Timestamp, Duration),
        (now, lookback): (Timestamp, Duration),
    ) -> Option<Cut> {
        let query = parse(query).ok().filter(Expr::is_causal)?;
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let reach = rewrite::reach(&query, millis(lookback));
        if reach == 0 {
            // It reads no samples.
            return None;
        }
        let held = self.windows.iter().filter_map(Window::held_since).max();
        let held = held.unwrap_or(now).as_millis();
        let lag = self.remote.stats().lag.saturating_add(SHOWN_AFTER);
        let written = now.as_millis().saturating_sub(millis(lag));
        // Before it holds anything, there is nobody else to ask.
        let first = held.saturating_add(reach).min(written.max(held));
        let steps = Steps::until(end, end.saturating_since(start), step).ok()?;
        let count = steps.iter().take_while(|at| at.as_millis() < first).count();
        let further = u32::try_from(count.checked_sub(1)?).ok()?;
        let window = step.checked_mul(further)?;
        Some(Cut {
            query,
            older: Steps::until(steps.start().saturating_add(window), window, step).ok()?,
            rest: steps.iter().nth(count),
        })
    }

    /// Whose older part is not found by what the engine is asked: series have a label of the name of an external one themselves,
    /// with another value.
    pub(super) fn hidden(
        &self,
        cut: &Cut,
        data: &dyn Queryable,
        (start, end): (Timestamp, Timestamp),
    ) -> Option<String> {
        let selectors = cut.query.walk().into_iter().filter_map(|part| match part {
            Expr::Selector(selector) => Some(selector),
            Expr::Range(range) => Some(&range.selector),
            _ => None,
        });
        for selector in selectors {
            let compile = |written: &tree::Matcher| Matcher::new(&written.name, written.op, &written.value);
            let matchers: Vec<_> = selector
                .matchers
                .iter()
                .filter_map(|written| compile(written).ok())
                .collect();
            for (name, value) in &self.remote.config().external_labels {
                let own = data.label_values(name, &matchers, start, end, 2);
                if let Some(own) = own.texts.iter().find(|own| ***own != **value) {
                    return Some(format!(
                        "what is older than what is in memory is missing of series that have a label {name} of their own, as \
                         {own:?}: the history is asked for those of this daemon alone, by {name}={value:?}"
                    ));
                }
            }
        }
        None
    }

    /// The older part.
    ///
    /// *Errors*: why there is none.
    pub(super) fn ask(&self, cut: &Cut, timeout: Duration) -> Result<Answer, String> {
        let external = self.remote.config().external_labels.iter();
        let external = external.map(|(name, value)| (&**name, &**value));
        let text = rewrite::restricted(&cut.query, external).to_string();
        let name = "history".parse().map_err(|error| format!("{error}"))?;
        let mut request = Request::new(name, QueryType::PromQl, text, timeout);
        request.at = Some(cut.older.end());
        request.shape = Shape::Range {
            window: cut.older.window(),
            step: cut.older.step(),
        };
        let asked = async { tokio::time::timeout(timeout, self.source.ask(request)).await };
        match tokio::runtime::Handle::current().block_on(asked) {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("it did not answer in time".to_owned()),
        }
    }

    /// Both parts as one; each point is that of one of them.
    ///
    /// *Errors*: the engine has several series in the place of one.
    pub(super) fn join(&self, cut: &Cut, older: &Answer, newer: Option<&Answer>) -> Result<Answer, String> {
        let external = &self.remote.config().external_labels;
        let is_external =
            |(name, value): &(&str, &str)| external.iter().any(|label| label.0 == *name && label.1 == *value);
        let mut joined = Joined::new();
        for series in older.series() {
            let labels = series
                .labels()
                .iter()
                .filter(|label| !is_external(label))
                .collect();
            if joined.insert(labels, [Some(series), None]).is_some() {
                return Err(format!(
                    "it has several series in the place of {}",
                    series.labels()
                ));
            }
        }
        for series in newer.iter().flat_map(|newer| newer.series()) {
            joined.entry(series.labels().iter().collect()).or_default()[1] = Some(series);
        }
        let mut answer = AnswerBuilder::new(newer.unwrap_or(older).stamp());
        answer.matrix();
        for (labels, [older, newer]) in joined {
            let is_older = |at: Timestamp| cut.older.position(at).is_some();
            let older = older.into_iter().flat_map(|series| series.points());
            let newer = newer.into_iter().flat_map(|series| series.points());
            let points = older
                .filter(|point| is_older(point.timestamp))
                .chain(newer.filter(|point| !is_older(point.timestamp)));
            let mut count = 0;
            for point in points {
                answer.point(point.value, point.timestamp);
                count += 1;
            }
            if count == 0 {
                continue;
            }
            labels.iter().for_each(|(name, value)| answer.label(name, value));
            answer.end_points().map_err(|error| error.to_string())?;
        }
        answer.told_by(older);
        newer.iter().for_each(|newer| answer.told_by(newer));
        Ok(answer.build())
    }
}
