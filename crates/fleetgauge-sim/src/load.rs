//! What the users of a variant do: how often they ask, and how much.

use std::time::Duration;

/// How often requests arrive: a Poisson process whose rate follows a profile.
///
/// *Unit*: requests per second and configured replica. When a replica is down, the others get its share.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Load {
    /// Nobody asks.
    Idle,
    /// The same rate always.
    Steady {
        /// Requests per second and replica.
        rate: f64,
    },
    /// `base`, and for the first `length` of every `period` `peak` instead.
    Burst {
        /// Requests per second and replica outside of bursts.
        base: f64,
        /// Requests per second and replica during a burst.
        peak: f64,
        /// From the start of one burst to the start of the next.
        period: Duration,
        /// How long a burst lasts.
        length: Duration,
    },
    /// From `from` to `to` in a straight line, and `to` from then on.
    Ramp {
        /// Requests per second and replica at the fleet's start.
        from: f64,
        /// Requests per second and replica at the end of the ramp.
        to: f64,
        /// How long the ramp takes.
        over: Duration,
    },
}

/// How lengths in tokens are distributed: lognormal, cut to `1..=max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    /// *Unit*: tokens.
    pub median: f64,
    /// Standard deviation of the natural logarithm of the length.
    pub sigma: f64,
    /// The longest there is. *Unit*: tokens.
    pub max: u32,
}

/// What a variant's requests look like; written `Shape { max_tokens: 64, ..Shape::default() }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The part of the prompt that is the request's own.
    pub prompt: Lengths,
    /// What is generated, if nothing ends it early.
    pub output: Lengths,
    /// The request's `max_tokens`: longer answers end there, with `finished_reason="length"`.
    pub max_tokens: u32,
    /// How many distinct prefixes (system prompts) the users share.
    pub prefixes: u16,
    /// Length of each of them. *Unit*: tokens.
    pub prefix_tokens: u32,
    /// The share of requests that begin with one of them. *Unit*: 0–1.
    pub prefixed_ratio: f64,
    /// The share of requests whose client goes away while they are served. *Unit*: 0–1.
    pub abort_ratio: f64,
    /// How long a client waits for a place in the batch before it goes away.
    pub patience: Duration,
}

// === impl Load ===

impl Load {
    /// The rate `at` this time after the fleet's start. *Unit*: requests per second and replica.
    pub fn rate_at(&self, at: Duration) -> f64 {
        let rate = match *self {
            Self::Idle => 0.0,
            Self::Steady { rate } => rate,
            Self::Burst {
                base,
                peak,
                period,
                length,
            } => {
                let phase = at.as_nanos().checked_rem(period.as_nanos()).unwrap_or(0);
                if phase < length.as_nanos() { peak } else { base }
            }
            Self::Ramp { from, to, over } => {
                let done = at.as_secs_f64() / over.as_secs_f64();
                // An empty ramp is over at once; 0/0 is.
                if done < 1.0 { from + (to - from) * done } else { to }
            }
        };
        sane(rate)
    }

    /// The highest rate there will be. *Unit*: requests per second and replica.
    pub fn peak_rate(&self) -> f64 {
        match *self {
            Self::Idle => 0.0,
            Self::Steady { rate } => sane(rate),
            Self::Burst { base, peak, .. } => sane(base).max(sane(peak)),
            Self::Ramp { from, to, .. } => sane(from).max(sane(to)),
        }
    }
}

/// What is not a rate (negative, NaN) is none; what would never let the time pass is cut.
fn sane(rate: f64) -> f64 {
    if rate > 0.0 { rate.min(10_000.0) } else { 0.0 }
}

impl Default for Load {
    fn default() -> Self {
        Self::Steady { rate: 3.0 }
    }
}

// === impl Lengths ===

impl Lengths {
    /// Lengths around `median` tokens, at most `max`.
    pub const fn new(median: f64, sigma: f64, max: u32) -> Self {
        Self { median, sigma, max }
    }
}

// === impl Shape ===

impl Default for Shape {
    /// A chat: some 400 tokens in, some 150 out, half of the requests with one of eight system prompts.
    fn default() -> Self {
        Self {
            prompt: Lengths::new(400.0, 0.9, 16_384),
            output: Lengths::new(150.0, 0.7, 4_096),
            max_tokens: 512,
            prefixes: 8,
            prefix_tokens: 512,
            prefixed_ratio: 0.5,
            abort_ratio: 0.01,
            patience: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(load: Load, expected: &[(u64, f64)]) {
        for &(second, rate) in expected {
            assert_eq!(
                load.rate_at(Duration::from_secs(second)),
                rate,
                "{load:?} at {second} s"
            );
            assert!(rate <= load.peak_rate());
        }
    }

    #[test]
    fn rates_follow_the_profile() {
        let seconds = Duration::from_secs;
        check(Load::Idle, &[(0, 0.0), (9, 0.0)]);
        check(Load::Steady { rate: 2.0 }, &[(0, 2.0), (9, 2.0)]);
        let burst = |period, length| Load::Burst {
            base: 1.0,
            peak: 9.0,
            period,
            length,
        };
        check(
            burst(seconds(10), seconds(2)),
            &[(0, 9.0), (1, 9.0), (2, 1.0), (9, 1.0), (10, 9.0)],
        );
        check(burst(seconds(0), seconds(2)), &[(0, 9.0), (5, 9.0)]);
        let ramp = |over| Load::Ramp {
            from: 0.0,
            to: 4.0,
            over,
        };
        check(ramp(seconds(4)), &[(0, 0.0), (1, 1.0), (4, 4.0), (99, 4.0)]);
        check(ramp(seconds(0)), &[(0, 4.0)]);
        check(Load::Steady { rate: f64::NAN }, &[(0, 0.0)]);
        check(Load::Steady { rate: -1.0 }, &[(0, 0.0)]);
    }
}
