//! The steps of a range that have to be asked for, and the others, which are held already.

use std::collections::HashMap;
use std::time::Duration;

use fleetgauge_syntax::parse;

use crate::backend::Request;
use crate::cache::CachedValue;
use crate::error::FetchError;
use crate::query::QueryType;
use crate::range::Steps;
use crate::result::{Answer, AnswerBuilder, Series};
use crate::time::Timestamp;

/// How ranges are refreshed, and how large they may be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RangeConfig {
    /// How far before its last step a range that is refreshed is asked for anew, beside the steps that are new: as
    /// long as it takes until all samples of a time have arrived. Default: 1 minute, the scrape interval of a
    /// Prometheus that says nothing else.
    pub overlap: Duration,
    /// How many steps a range may have. Default: 11,000, as Prometheus's.
    pub max_steps: usize,
    /// How many series the answer to a range may have. Default: 100,000.
    pub max_series: usize,
    /// How much memory the answer to a range may take.
    ///
    /// *Unit*: bytes. Default: 256 MiB.
    pub max_bytes: usize,
}

/// What has to be asked for, since the rest is held.
pub(super) struct Delta {
    held: CachedValue,
    steps: Steps,
    wanted: Steps,
}

/// A series of the answer, with its steps from either side.
struct Joined<'a> {
    held: Option<Series<'a>>,
    new: Option<Series<'a>>,
}

// === impl RangeConfig ===

impl Default for RangeConfig {
    fn default() -> Self {
        Self {
            overlap: Duration::from_secs(60),
            max_steps: 11_000,
            max_series: 100_000,
            max_bytes: 256 << 20,
        }
    }
}

impl RangeConfig {
    pub(super) fn check_steps(&self, steps: Steps) -> Result<(), FetchError> {
        within(steps.count(), self.max_steps, "steps")
    }

    pub(super) fn check_size(&self, answer: &Answer) -> Result<(), FetchError> {
        within(answer.series().len(), self.max_series, "series")?;
        within(answer.heap_bytes(), self.max_bytes, "bytes")
    }
}

fn within(count: usize, limit: usize, unit: &'static str) -> Result<(), FetchError> {
    match count <= limit {
        true => Ok(()),
        false => Err(FetchError::TooLarge {
            limit: limit as u64,
            unit,
        }),
    }
}

// === impl Delta ===

impl Delta {
    /// What of `steps` has to be asked for by `request` where `held` is the answer before; `None` where that is all.
    pub(super) fn new(
        held: CachedValue,
        steps: Steps,
        config: &RangeConfig,
        request: &Request,
    ) -> Option<Self> {
        let before = held.result().steps()?;
        let answer = held.result().answer();
        // What was missing then may be there now.
        let is_sound = answer.is_complete() && answer.warnings().len() == 0;
        if !is_sound || before.step() != steps.step() || before.end() > steps.end() {
            return None;
        }
        // Steps up to here stay as they are.
        let settled = before.end().as_millis();
        let overlap = i64::try_from(config.overlap.as_millis()).unwrap_or(i64::MAX);
        let settled = settled.saturating_sub(overlap);
        let count = steps
            .iter()
            .take_while(|step| step.as_millis() <= settled)
            .count();
        let first = steps.start();
        if count == 0 || before.position(first).is_none() || !is_causal(request) {
            return None;
        }
        Some(Self {
            held,
            steps,
            wanted: steps.skip(count),
        })
    }

    /// The steps to ask for; at least one.
    pub(super) fn wanted(&self) -> Steps {
        self.wanted
    }

    /// The steps that are held, and those of `new`.
    ///
    /// *Errors*: [`FetchError::Malformed`] where `new` is not an answer to what was asked.
    pub(super) fn join(&self, new: &Answer) -> Result<Answer, FetchError> {
        let held = self.held.result().answer();
        let mut joined: Vec<Joined<'_>> = (held.series())
            .map(|series| Joined {
                held: Some(series),
                new: None,
            })
            .collect();
        let places: HashMap<_, _> = (held.series().enumerate())
            .map(|(place, series)| (series.labels(), place))
            .collect();
        let mut is_new = false;
        for series in new.series() {
            match places.get(&series.labels()) {
                Some(&place) if joined[place].new.is_some() => {
                    return Err(malformed(format!("two series {}", series.labels())));
                }
                Some(&place) => joined[place].new = Some(series),
                None => {
                    is_new = true;
                    joined.push(Joined {
                        held: None,
                        new: Some(series),
                    });
                }
            }
        }
        if is_new {
            // As the answer to the whole range would be.
            joined.sort_by(|a, b| a.labels().cmp(b.labels()));
        }
        self.built(&joined, new)
    }

    fn built(&self, joined: &[Joined<'_>], new: &Answer) -> Result<Answer, FetchError> {
        let mut answer = AnswerBuilder::new(new.stamp());
        answer.matrix();
        answer.reserve(joined.len(), self.steps.count());
        // The steps that are held before those that were asked for, and those.
        let (start, wanted) = (self.steps.start(), self.wanted.start());
        let after = Timestamp::from_millis(self.steps.end().as_millis().saturating_add(1));
        for series in joined {
            let held = series.held.map(|held| held.between(start, wanted));
            let new = series.new.map(|new| new.between(wanted, after));
            let mut count = 0;
            for (values, times) in held.into_iter().chain(new) {
                count += values.len();
                answer.points(values, times);
            }
            if count == 0 {
                continue;
            }
            for (name, value) in series.labels() {
                answer.label(name, value);
            }
            answer
                .end_points()
                .map_err(|error| malformed(error.to_string()))?;
        }
        answer.told_by(new);
        Ok(answer.build())
    }
}

// === impl Joined ===

impl<'a> Joined<'a> {
    fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let series = self.held.or(self.new);
        series.into_iter().flat_map(|series| series.labels().iter())
    }
}

/// Refuses an answer with a point that is at none of the steps.
pub(super) fn check_points(answer: &Answer, steps: Steps) -> Result<(), FetchError> {
    let mut points = answer.series().flat_map(|series| series.points());
    match points.find(|point| steps.position(point.timestamp).is_none()) {
        None => Ok(()),
        Some(point) => Err(malformed(format!(
            "a point at {}, which is not one of the steps asked for",
            point.timestamp
        ))),
    }
}

/// Whether each step of the query depends on its own past alone. What cannot be read, as a dialect of PromQL, may
/// depend on anything.
fn is_causal(request: &Request) -> bool {
    match request.query_type {
        QueryType::MetricName => true,
        QueryType::PromQl => parse(&request.text).is_ok_and(|query| query.is_causal()),
    }
}

fn malformed(detail: String) -> FetchError {
    FetchError::Malformed { detail, source: None }
}
