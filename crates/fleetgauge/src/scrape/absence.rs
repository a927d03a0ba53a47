//! Why a target has not reported, or not all that it is asked for.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::target::Target;
use fleetgauge_core::time::Timestamp;

use fleetgauge_promql::window::Lacked;
use httpdate::HttpDate;

use super::coverage::Gap;

/// Why what is asked of a target is not there, or not whole.
#[derive(Clone, Debug)]
pub(super) enum Absence {
    /// Its last scrape failed. `age` is that of its values, if it has any.
    Failed {
        error: Arc<FetchError>,
        age: Option<Duration>,
    },
    /// It was not scraped in time.
    Late { age: Option<Duration> },
    /// It was not there yet at the time that is asked for.
    NotYet { first: Timestamp },
    /// It went just now, and what comes in its place is not known yet.
    Gone,
    /// It answers, and exposes the metric no longer.
    Withdrawn {
        /// `None` if more have gone than are known by name.
        metric: Option<Box<str>>,
        since: Timestamp,
    },
    /// It exposes the metric again, and a time is asked for at which it did not.
    Lacked(Lacked),
    /// A range reaches back before its first scrape, or over a gap.
    ShortWindow { asked_since: Timestamp, gap: Gap },
    /// The newest scrape is of another time than what is asked for, by more than scrapes are apart.
    OtherTime(Gap),
}

/// A target with the reason, in words.
pub(super) struct Absent<'a> {
    pub(super) target: &'a Target,
    pub(super) why: &'a Absence,
}

// === impl Absence ===

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = match self {
            Self::Failed { error, age } => {
                write!(f, "{error}")?;
                age
            }
            Self::Late { age } => {
                f.write_str("not scraped in time")?;
                age
            }
            Self::OtherTime(Gap { from, to }) => {
                return write!(
                    f,
                    "short_window: there are no samples from {} to {}: this process stood still, or its clock was set",
                    Utc(*from),
                    Utc(*to)
                );
            }
            Self::NotYet { first } => {
                return write!(f, "it answered for the first time at {}", Utc(*first));
            }
            Self::Gone => {
                return f.write_str("it went just now, and what comes in its place is not known yet");
            }
            Self::Withdrawn { metric, since } => {
                let metric = metric.as_deref().unwrap_or("some of its metrics");
                return write!(
                    f,
                    "it answers, and exposes {metric} no longer since {}",
                    Utc(*since)
                );
            }
            Self::Lacked(Lacked { metric, from, to }) => {
                let metric = metric.as_deref().unwrap_or("some of its metrics");
                write!(f, "short_window: it did not expose {metric} from {}", Utc(*from))?;
                return match to {
                    Some(to) => write!(f, " to {}", Utc(*to)),
                    None => Ok(()),
                };
            }
            Self::ShortWindow { asked_since, gap } => {
                let Gap { from, to } = gap;
                let lacking = to.saturating_since((*from).max(*asked_since)).as_secs();
                let left = to.saturating_since(*asked_since).as_millis().div_ceil(1_000);
                return write!(
                    f,
                    "short_window: there are no samples of {lacking} s of what is asked for, up to {}; for a time \
                     {left} s later the query does not look back at that any more",
                    Utc(*to)
                );
            }
        };
        match age {
            Some(age) => write!(f, "; its values are {:.1} s old", age.as_secs_f64()),
            None => f.write_str("; it was never scraped with success"),
        }
    }
}

/// A time as people read it.
struct Utc(Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = u64::try_from(self.0.as_millis() / 1_000).ok();
        let time = seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        match time {
            // The year 9999 is the last one that it knows.
            Some(time) if seconds < Some(253_402_300_800) => write!(f, "{}", HttpDate::from(time)),
            _ => write!(f, "{}", self.0),
        }
    }
}

// === impl Absent ===

impl fmt::Display for Absent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, why } = self;
        write!(f, "target {target} ({}): {why}", target.url())
    }
}
