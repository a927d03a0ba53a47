//! What follows from how far samples are apart: which windows hold too few of them, and which ages and lifetimes are
//! shorter than that; and from how far the steps of a query are.
//!
//! Where a source scrapes by itself, the interval is known. Where it asks a server it is learnt, by counting. What is
//! learnt is not exact, and scrapes are not either: a tenth of the interval is let pass everywhere.

use std::fmt;
use std::time::Duration;

use fleetgauge_syntax::Function;
use fleetgauge_syntax::tree::{Call, Expr, Selector};

/// A range that holds fewer samples than its function needs.
///
/// ```
/// use std::time::Duration;
/// use fleetgauge_core::interval::short_windows;
///
/// let query = fleetgauge_syntax::parse("sum(rate(x[1m]))")?;
/// let short = short_windows(&query, |_| Some(Duration::from_secs(30)));
/// let expected = "rate(x[1m]) has fewer than 4 samples to compute from, as they are about 30s apart: make it [120s] or longer";
/// assert_eq!(short[0].to_string(), expected);
/// assert!(short_windows(&query, |_| Some(Duration::from_secs(15))).is_empty());
/// # Ok::<(), fleetgauge_syntax::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShortWindow {
    /// The function with its range, as it is written in PromQL.
    pub call: String,
    /// How long the range is.
    pub window: Duration,
    /// How far samples are apart.
    pub interval: Duration,
    /// How many samples the range should hold.
    pub needs: u32,
}

/// The ranges of `query` that are too short for samples that are as far apart as `interval` says of a selector; `None`:
/// nobody knows.
///
/// `rate`, `increase` and what else extrapolates needs four samples: then one lost scrape does no harm. What compares
/// neighbours needs two, and everything else one.
///
/// Source: <https://prometheus.io/docs/prometheus/latest/querying/functions/#rate>, and for the four scrapes
/// <https://www.robustperception.io/what-range-should-i-use-with-rate/>.
pub fn short_windows(
    query: &Expr,
    mut interval: impl FnMut(&Selector) -> Option<Duration>,
) -> Vec<ShortWindow> {
    let mut short: Vec<ShortWindow> = Vec::new();
    for part in query.walk() {
        let Expr::Call(call) = part else { continue };
        let ranges = call.args.iter().filter_map(|arg| match arg.unwrapped() {
            Expr::Range(range) => Some(range),
            _ => None,
        });
        for range in ranges {
            let window = Duration::from_millis(u64::try_from(range.range).unwrap_or_default());
            let (needs, interval) = (needs(call), interval(&range.selector));
            if let Some(interval) = interval
                && is_shorter(window, interval.saturating_mul(needs))
            {
                let one = ShortWindow {
                    call: part.to_string(),
                    window,
                    interval,
                    needs,
                };
                if !short.contains(&one) {
                    short.push(one);
                }
            }
        }
    }
    short
}

/// What is said of a query with `zero`, [`step()` or `range()`](fleetgauge_syntax::zero_at_one_time), where it is asked at one time.
pub fn told_at_one_time(zero: &str) -> String {
    format!(
        "{zero} is 0 where PromQL is asked at one time, as a metric is: what is multiplied by it is 0, too; write the duration itself"
    )
}

/// Whether `duration` is shorter than samples are apart, so that it asks for what cannot be.
pub fn is_shorter(duration: Duration, interval: Duration) -> bool {
    duration.saturating_add(duration / 10) < interval
}

/// How many samples a function needs in its range.
fn needs(call: &Call) -> u32 {
    use Function as F;
    match call.function {
        F::Rate | F::Increase | F::Delta | F::Deriv | F::PredictLinear | F::DoubleExponentialSmoothing => 4,
        F::Irate | F::Idelta | F::Changes | F::Resets => 2,
        _ => 1,
    }
}

// === impl ShortWindow ===

impl ShortWindow {
    /// Whether it holds fewer samples than it takes for a value at all: at times there is none.
    pub fn lacks_values(&self) -> bool {
        is_shorter(self.window, self.interval.saturating_mul(self.needs.min(2)))
    }
}

impl fmt::Display for ShortWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call,
            interval,
            needs,
            ..
        } = self;
        let whole = Duration::from_secs(interval.as_secs_f64().round().max(1.0) as u64);
        let at_least = (whole * *needs).as_secs();
        let apart = format!("as they are about {whole:?} apart");
        match self.lacks_values() {
            true => write!(f, "{call} has no value at times for lack of samples, {apart}")?,
            false => write!(
                f,
                "{call} has fewer than {needs} samples to compute from, {apart}"
            )?,
        }
        write!(f, ": make it [{at_least}s] or longer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_short_depends_on_the_function() {
        let check = |query: &str, interval: u64, expected: &[(&str, bool)]| {
            let query = fleetgauge_syntax::parse(query).unwrap();
            let short = short_windows(&query, |_| Some(Duration::from_secs(interval)));
            let told: Vec<_> = short
                .iter()
                .map(|short| (&*short.call, short.lacks_values()))
                .collect();
            assert_eq!(told, expected, "{query} every {interval} s");
        };
        check("rate(x[1m])", 15, &[]);
        // Scrapes that are counted are never exactly as many as they should be.
        check("rate(x[1m])", 16, &[]);
        check("rate(x[1m])", 17, &[("rate(x[1m])", false)]);
        check("rate(x[1m])", 30, &[("rate(x[1m])", false)]);
        check("rate(x[1m])", 60, &[("rate(x[1m])", true)]);
        check("irate(x[1m])", 30, &[]);
        check("irate(x[30s])", 30, &[("irate(x[30s])", true)]);
        check("max_over_time(x[1m])", 60, &[]);
        check("max_over_time(x[30s])", 60, &[("max_over_time(x[30s])", true)]);
        check(
            "increase(x[1m] @ 100) + x",
            30,
            &[("increase(x[1m] @ 100.000)", false)],
        );
        check("rate(x[1m]) / rate(x[1m])", 30, &[("rate(x[1m])", false)]);
        // Its steps are evaluated, whatever is scraped.
        check("max_over_time(x[1m:10s])", 60, &[]);
    }

    #[test]
    fn of_what_nobody_knows_nothing_is_said() {
        let query = fleetgauge_syntax::parse("rate(x[1s]) + rate(y[1m])").unwrap();
        let is_y = |selector: &Selector| selector.matchers[0].value == "y";
        let short = short_windows(&query, |selector| {
            is_y(selector).then_some(Duration::from_secs(60))
        });
        assert_eq!(
            short.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "rate(y[1m]) has no value at times for lack of samples, as they are about 60s apart: make it [240s] or longer"
            ]
        );
    }
}
