//! What is older than what is in memory, from the engine that remote write fills.
//!
//! A range is cut in two at a step: each step is answered by one side, whole. What is in memory answers those for which it has
//! all that they read, and those that may not have come to the engine yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleetgauge::prometheus::remote_write::RemoteWrite;
use fleetgauge_core::backend::Request;
use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::printable::Quoted;
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

/// For how long an engine is waited for: whoever asks for a range waits as long, and so do others when there are many.
const PATIENCE: Duration = Duration::from_secs(3);

/// For how long one that did not answer is not asked again.
const PAUSE: Duration = Duration::from_secs(10);

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
    /// When it last did not answer in time.
    pub silent: Arc<Mutex<Option<Instant>>>,
}

/// A range in two.
pub(super) struct Cut {
    query: Expr,
    /// What the engine is asked.
    older: Steps,
    /// The first step that memory answers, if there is one.
    pub(super) rest: Option<Timestamp>,
    /// The steps that neither answers: memory does not reach back to them, and they may not have come to the engine yet, which would
    /// show what was before instead.
    between: Option<(Timestamp, Timestamp)>,
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
        let before = |end: i64| steps.iter().take_while(|at| at.as_millis() < end).count();
        let (count, shown) = (before(first), before(first.min(written)));
        let further = u32::try_from(shown.checked_sub(1)?).ok()?;
        let window = step.checked_mul(further)?;
        let between = steps.iter().nth(shown).zip(steps.iter().take(count).last());
        Some(Cut {
            query,
            older: Steps::until(steps.start().saturating_add(window), window, step).ok()?,
            rest: steps.iter().nth(count),
            between: between.filter(|(first, last)| first <= last),
        })
    }

    /// What is not known of the older part, in a text that every answer with one has: an engine has numbers alone, and not who was
    /// missing from them, nor that nobody was there to write any. So nothing is to be acted on by it.
    pub(super) fn told(&self, cut: &Cut, data: &dyn Queryable, range: (Timestamp, Timestamp)) -> String {
        let mut told = format!(
            "up to {} this is of the history {}, which does not tell who was missing, or whether anybody was there",
            cut.older.end(),
            Quoted(&self.name)
        );
        if let Some((first, last)) = cut.between {
            told += &format!(
                "; from {first} to {last} there is nothing: it is not in memory, and what was sent then may not be shown there yet"
            );
        }
        if let Some(hidden) = self.hidden(cut, data, range) {
            told += &format!("; {hidden}");
        }
        told
    }

    /// Whose older part is not found by what the engine is asked: series have a label of the name of an external one themselves,
    /// with another value.
    fn hidden(
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
    pub(super) fn ask(&self, cut: &Cut, left: Duration) -> Result<Answer, String> {
        let timeout = left.min(PATIENCE);
        let external = self.remote.config().external_labels.iter();
        let external = external.map(|(name, value)| (&**name, &**value));
        let text = rewrite::restricted(&cut.query, external).to_string();
        let name = "history".parse().map_err(|error| format!("{error}"))?;
        // Ours ends first, so that it is known which of both it was.
        let mut request = Request::new(name, QueryType::PromQl, text, timeout + Duration::from_secs(1));
        request.histograms = true;
        request.at = Some(cut.older.end());
        request.shape = Shape::Range {
            window: cut.older.window(),
            step: cut.older.step(),
        };
        let silent = || self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if silent().is_some_and(|since| since.elapsed() < PAUSE) {
            return Err("it did not answer in time a moment ago".to_owned());
        }
        let asked = async { tokio::time::timeout(timeout, self.source.ask(request)).await };
        match tokio::runtime::Handle::current().block_on(asked) {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => {
                *silent() = Some(Instant::now());
                Err("it did not answer in time".to_owned())
            }
        }
    }

    /// Both parts as one; each point is that of one of them.
    ///
    /// *Errors*: the engine has several series in the place of one.
    pub(super) fn join(&self, cut: &Cut, older: &Answer, newer: Option<&Answer>) -> Result<Answer, String> {
        let external = &self.remote.config().external_labels;
        let is_external =
            |(name, value): &(&str, &str)| external.iter().any(|label| label.0 == *name && label.1 == *value);
        // VictoriaMetrics keeps names of metrics that Prometheus does not keep, as those of `max_over_time`.
        let has_name = |series: Series<'_>| series.labels().get(METRIC_NAME).is_some();
        let drops_names =
            newer.is_some_and(|newer| newer.series().len() > 0 && !newer.series().any(has_name));
        let mut joined = Joined::new();
        for series in older.series() {
            let labels = series
                .labels()
                .iter()
                .filter(|label| !(is_external(label) || drops_names && label.0 == METRIC_NAME))
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
            let older = older.into_iter().flat_map(|series| series.samples());
            let newer = newer.into_iter().flat_map(|series| series.samples());
            let samples = older
                .filter(|(at, _)| is_older(*at))
                .chain(newer.filter(|(at, _)| !is_older(*at)));
            let mut count = 0;
            for (at, sample) in samples {
                answer.sample(sample, at);
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
