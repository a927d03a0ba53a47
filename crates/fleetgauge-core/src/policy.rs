//! What a consumer accepts of a query: how old and how incomplete its answer may be, and what is read where it is neither
//! fresh nor whole.
//!
//! A policy says only what it wants otherwise than what stands beneath it: a metric's overrides its query's, which
//! overrides the defaults. Where nobody says anything, everything fails and nothing is held.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::printable::Quoted;
use crate::query::name::QueryName;
use fleetgauge_syntax::number::Number;

/// What is accepted, as far as it is said here.
///
/// ```
/// use std::time::Duration;
/// use fleetgauge_core::policy::{OnIncomplete, Policy, PolicyFacts};
///
/// let defaults = Policy::default().max_age(Duration::from_secs(30));
/// let of_query = Policy::default().on_incomplete(OnIncomplete::Hold).hold(Duration::from_secs(300));
/// let of_metric = Policy::default().max_age(Duration::from_secs(10));
/// let policy = of_metric.over(&of_query).over(&defaults);
/// assert_eq!(policy.max_age, Some(Duration::from_secs(10)));
/// assert_eq!(policy.on_incomplete, Some(OnIncomplete::Hold));
/// assert!(policy.check(&PolicyFacts::default()).is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// How old a value may be. What is older, has ended, or has no known age counts as an error. Where nobody says it, any
    /// age is accepted.
    pub max_age: Option<Duration>,
    /// Which part of those expected must have reported. Where nobody says it, nobody may be known to be missing.
    ///
    /// *Unit*: ratio, 0 to 1.
    pub min_completeness: Option<f64>,
    /// What is read where the answer is incomplete.
    pub on_incomplete: Option<OnIncomplete>,
    /// What is read where there is no answer, or one that is too old.
    pub on_error: Option<OnError>,
    /// What is read where the answer has no such row.
    pub on_no_data: Option<OnNoData>,
    /// What is read where the number is NaN or ±Inf.
    pub on_undefined: Option<OnUndefined>,
    /// How long a value may be held, from the time of the sample of the last good reading. It outlasts `max_age`.
    pub hold: Option<Duration>,
}

/// What is read where an answer is incomplete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnIncomplete {
    /// Nothing.
    #[default]
    Fail,
    /// The last good value.
    Hold,
    /// The larger of the partial value and the last complete one, while that may be held.
    AtLeast,
}

/// What is read where there is no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// Nothing.
    #[default]
    Fail,
    /// The last good value.
    Hold,
}

/// What is read where an answer has no such row.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OnNoData {
    /// Nothing.
    #[default]
    Fail,
    /// The last good value.
    Hold,
    /// This number, where another query proves that it is right.
    Value {
        /// The number.
        value: f64,
        /// The query that must have a row with the same labels, complete and fresh.
        when: QueryName,
    },
}

/// What is read where a number is NaN or ±Inf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnUndefined {
    /// Nothing.
    #[default]
    Fail,
    /// The last good value.
    Hold,
}

/// How a query makes one number of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fold {
    /// It adds them up.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Their mean, weighted or not.
    Mean,
}

/// What is no [`Fold`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} does not say how values become one; sum, max, min and mean do", Quoted(.given))]
#[non_exhaustive]
pub struct UnknownFold {
    /// What was given.
    pub given: String,
}

/// What a policy is checked against.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PolicyFacts {
    /// The query, where it has a name.
    pub query: Option<QueryName>,
    /// Whether the query's source knows who should report, or `expected` tells it.
    pub knows_completeness: bool,
    /// How the query folds, where it says so.
    pub fold: Option<Fold>,
    /// How far the samples that the query reads are apart, where that is known.
    pub sample_interval: Option<Duration>,
}

/// Why a policy cannot be followed. Each says what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// `min_completeness` is not a ratio.
    #[error("min_completeness is {value}: give a number from 0 to 1, as 0.9")]
    MinCompleteness {
        /// What it is.
        value: f64,
    },
    /// `min_completeness` where nobody knows who should report.
    #[error(
        "min_completeness is set, but the query's source cannot know who should report: name a query that tells it with \
         `expected: PACK/NAME`, or leave min_completeness out"
    )]
    CompletenessUnknown,
    /// `at_least` where a part of the answer is no lower bound of it.
    #[error(
        "on_incomplete is at_least, but {}: only part of a sum or of a maximum is a lower bound. Use hold or fail, or say \
         how the query folds with `fold:`", Folds(*.fold)
    )]
    AtLeast {
        /// How the query folds, where it says so.
        fold: Option<Fold>,
    },
    /// Something is to be held, and for no time.
    #[error("{setting} holds the last value, but no time is given for it: add `hold`, as `hold: 5m`")]
    NoHold {
        /// What is to be held where.
        setting: &'static str,
    },
    /// No answer can be so young.
    #[error("max_age is {max_age:?}: no answer is that young. Leave max_age out to accept any age")]
    NoAge {
        /// What it is.
        max_age: Duration,
    },
    /// Samples come more seldom than they may be old.
    #[error(
        "max_age is {max_age:?}, but samples are taken only every {interval:?}: most readings would be too old. Set \
         max_age to at least {:?}, or scrape more often", .interval.saturating_mul(2)
    )]
    NeverFresh {
        /// What it is.
        max_age: Duration,
        /// How far samples are apart.
        interval: Duration,
    },
    /// The number for no data is none.
    #[error(
        "the value of on_no_data is {value}: give a finite number that is not negative, or `fail`. A number that stands \
         for \"no data\" would be acted on"
    )]
    NoDataValue {
        /// What it is.
        value: f64,
    },
    /// A query cannot prove its own absence.
    #[error(
        "on_no_data takes {} as the proof of its own absence: name another query after `when`, one that has a row where \
         this one may have none", Quoted(.when.as_str())
    )]
    OwnProof {
        /// The query.
        when: QueryName,
    },
}

/// All that is wrong with a policy, one a line.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyErrors(Vec<PolicyError>);

struct Folds(Option<Fold>);

// === impl Policy ===

impl Policy {
    /// Sets how old a value may be.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Sets which part of those expected must have reported.
    #[must_use]
    pub fn min_completeness(mut self, ratio: f64) -> Self {
        self.min_completeness = Some(ratio);
        self
    }

    /// Sets what is read where the answer is incomplete.
    #[must_use]
    pub fn on_incomplete(mut self, on_incomplete: OnIncomplete) -> Self {
        self.on_incomplete = Some(on_incomplete);
        self
    }

    /// Sets what is read where there is no answer.
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = Some(on_error);
        self
    }

    /// Sets what is read where the answer has no such row.
    #[must_use]
    pub fn on_no_data(mut self, on_no_data: OnNoData) -> Self {
        self.on_no_data = Some(on_no_data);
        self
    }

    /// Sets what is read where the number is NaN or ±Inf.
    #[must_use]
    pub fn on_undefined(mut self, on_undefined: OnUndefined) -> Self {
        self.on_undefined = Some(on_undefined);
        self
    }

    /// Sets how long a value may be held.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = Some(hold);
        self
    }

    /// This policy, and where it says nothing, `beneath`.
    #[must_use]
    pub fn over(self, beneath: &Self) -> Self {
        Self {
            max_age: self.max_age.or(beneath.max_age),
            min_completeness: self.min_completeness.or(beneath.min_completeness),
            on_incomplete: self.on_incomplete.or(beneath.on_incomplete),
            on_error: self.on_error.or(beneath.on_error),
            on_no_data: self.on_no_data.or_else(|| beneath.on_no_data.clone()),
            on_undefined: self.on_undefined.or(beneath.on_undefined),
            hold: self.hold.or(beneath.hold),
        }
    }

    /// Whether it can be followed for what `facts` tells of its query; to be asked of a policy that has been put over
    /// those beneath it.
    ///
    /// *Errors*: all that is wrong with it.
    pub fn check(&self, facts: &PolicyFacts) -> Result<(), PolicyErrors> {
        let mut errors = Vec::new();
        if let Some(value) = self.min_completeness {
            if !(0.0..=1.0).contains(&value) {
                errors.push(PolicyError::MinCompleteness { value });
            } else if !facts.knows_completeness {
                errors.push(PolicyError::CompletenessUnknown);
            }
        }
        let at_least = self.on_incomplete == Some(OnIncomplete::AtLeast);
        if at_least && !matches!(facts.fold, Some(Fold::Sum | Fold::Max)) {
            errors.push(PolicyError::AtLeast { fold: facts.fold });
        }
        if self.hold.unwrap_or_default().is_zero() {
            let on_incomplete = self.on_incomplete.unwrap_or_default() != OnIncomplete::Fail;
            let holds = [
                ("on_incomplete", on_incomplete),
                ("on_error", self.on_error == Some(OnError::Hold)),
                ("on_no_data", self.on_no_data == Some(OnNoData::Hold)),
                ("on_undefined", self.on_undefined == Some(OnUndefined::Hold)),
            ];
            let holds = holds.into_iter().filter(|(_, does)| *does);
            errors.extend(holds.map(|(setting, _)| PolicyError::NoHold { setting }));
        }
        match (self.max_age, facts.sample_interval) {
            (Some(max_age), _) if max_age.is_zero() => errors.push(PolicyError::NoAge { max_age }),
            (Some(max_age), Some(interval)) if max_age < interval => {
                errors.push(PolicyError::NeverFresh { max_age, interval });
            }
            _ => {}
        }
        if let Some(OnNoData::Value { value, when }) = &self.on_no_data {
            if !value.is_finite() || *value < 0.0 {
                errors.push(PolicyError::NoDataValue { value: *value });
            }
            if facts.query.as_ref() == Some(when) {
                errors.push(PolicyError::OwnProof { when: when.clone() });
            }
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(PolicyErrors(errors)),
        }
    }
}

// === impl OnIncomplete, OnError, OnNoData, OnUndefined ===

impl OnIncomplete {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fail, Self::Hold, Self::AtLeast];

    /// As it is called in packs and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Hold => "hold",
            Self::AtLeast => "at_least",
        }
    }
}

impl OnError {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Fail, Self::Hold];

    /// As it is called in packs and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Hold => "hold",
        }
    }
}

impl OnUndefined {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Fail, Self::Hold];

    /// As it is called in packs and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Hold => "hold",
        }
    }
}

/// As in packs and configuration.
impl fmt::Display for OnNoData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail => f.write_str("fail"),
            Self::Hold => f.write_str("hold"),
            Self::Value { value, when } => write!(f, "{{value: {}, when: {when}}}", Number(*value)),
        }
    }
}

// === impl PolicyError ===

impl PolicyError {
    /// The setting of the policy that it is about.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::MinCompleteness { .. } | Self::CompletenessUnknown => "min_completeness",
            Self::AtLeast { .. } => "on_incomplete",
            Self::NoHold { setting } => setting,
            Self::NoAge { .. } | Self::NeverFresh { .. } => "max_age",
            Self::NoDataValue { .. } | Self::OwnProof { .. } => "on_no_data",
        }
    }
}

// === impl PolicyErrors ===

impl PolicyErrors {
    /// Each of them; at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &PolicyError> {
        self.0.iter()
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

// === impl Fold ===

impl Fold {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sum, Self::Max, Self::Min, Self::Mean];

    /// As it is called in packs and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Max => "max",
            Self::Min => "min",
            Self::Mean => "mean",
        }
    }

    /// One value of `values`, which is NaN where one of them is: what is not known of a part is not known of the whole.
    /// `None` of none.
    pub fn of(self, values: impl IntoIterator<Item = f64>) -> Option<f64> {
        let (mut count, mut folded) = (0_u64, None);
        for value in values {
            count += 1;
            folded = Some(match (self, folded) {
                (_, None) => value,
                (Self::Sum | Self::Mean, Some(before)) => before + value,
                (_, Some(before)) if f64::is_nan(before) || value.is_nan() => f64::NAN,
                (Self::Max, Some(before)) => value.max(before),
                (Self::Min, Some(before)) => value.min(before),
            });
        }
        match self {
            Self::Mean => folded.map(|sum| sum / count as f64),
            _ => folded,
        }
    }
}

impl FromStr for Fold {
    type Err = UnknownFold;

    fn from_str(text: &str) -> Result<Self, UnknownFold> {
        let found = Self::ALL.into_iter().find(|fold| fold.as_str() == text);
        found.ok_or_else(|| UnknownFold {
            given: text.chars().take(200).collect(),
        })
    }
}

impl fmt::Display for Folds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "the query does not say how it folds",
            Some(fold) => return write!(f, "the query folds by {}", fold.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn zero_when(when: &str) -> OnNoData {
        let when = when.parse().unwrap();
        OnNoData::Value { value: 0.0, when }
    }

    #[test]
    fn what_is_above_overrides_what_is_beneath_setting_by_setting() {
        let full = Policy::default()
            .max_age(seconds(30))
            .min_completeness(0.9)
            .on_incomplete(OnIncomplete::AtLeast)
            .on_error(OnError::Hold)
            .on_no_data(zero_when("p/ready"))
            .on_undefined(OnUndefined::Hold)
            .hold(seconds(300));
        let other = Policy::default()
            .max_age(seconds(5))
            .min_completeness(0.5)
            .on_incomplete(OnIncomplete::Fail)
            .on_error(OnError::Fail)
            .on_no_data(OnNoData::Fail)
            .on_undefined(OnUndefined::Fail)
            .hold(seconds(7));
        assert_eq!(Policy::default().over(&full), full);
        assert_eq!(full.clone().over(&other), full);
        // One that says `fail` is not one that says nothing.
        assert_eq!(other.clone().over(&full), other);
        let mixed = Policy::default().hold(seconds(1)).over(&other).over(&full);
        assert_eq!((mixed.hold, mixed.max_age), (Some(seconds(1)), Some(seconds(5))));
    }

    #[test]
    fn what_cannot_be_followed_says_what_to_do() {
        let none = PolicyFacts::default;
        let knowing = |fold| PolicyFacts {
            knows_completeness: true,
            fold,
            ..none()
        };
        let policy = Policy::default;
        let at_least = policy().on_incomplete(OnIncomplete::AtLeast).hold(seconds(60));
        let value = |value, when: &str| OnNoData::Value {
            value,
            when: when.parse().unwrap(),
        };
        let named = |query: &str, interval| PolicyFacts {
            query: Some(query.parse().unwrap()),
            sample_interval: Some(seconds(interval)),
            ..none()
        };
        let cases: &[(Policy, PolicyFacts, &[&str])] = &[
            (policy(), none(), &[]),
            (policy().max_age(seconds(30)), named("q", 30), &[]),
            (
                policy().max_age(seconds(15)),
                named("q", 30),
                &["at least 60s, or scrape more often"],
            ),
            (
                policy().max_age(seconds(0)),
                named("q", 30),
                &["Leave max_age out"],
            ),
            (policy().min_completeness(0.9), knowing(None), &[]),
            (policy().min_completeness(0.9), none(), &["`expected: PACK/NAME`"]),
            (policy().min_completeness(1.1), none(), &["from 0 to 1"]),
            (
                policy().min_completeness(-0.1),
                knowing(None),
                &["min_completeness is -0.1"],
            ),
            (
                policy().min_completeness(f64::NAN),
                knowing(None),
                &["min_completeness is NaN"],
            ),
            (at_least.clone(), knowing(Some(Fold::Sum)), &[]),
            (at_least.clone(), knowing(Some(Fold::Max)), &[]),
            (at_least.clone(), knowing(Some(Fold::Min)), &["folds by min"]),
            (at_least.clone(), knowing(Some(Fold::Mean)), &["folds by mean"]),
            (at_least, knowing(None), &["does not say how it folds"]),
            (
                policy().on_error(OnError::Hold),
                none(),
                &["on_error holds the last value"],
            ),
            (
                policy()
                    .on_no_data(OnNoData::Hold)
                    .on_undefined(OnUndefined::Hold)
                    .hold(seconds(0)),
                none(),
                &["on_no_data holds", "on_undefined holds"],
            ),
            (
                policy().on_incomplete(OnIncomplete::Hold),
                none(),
                &["`hold: 5m`"],
            ),
            (
                policy().on_no_data(value(0.0, "p/ready")),
                named("p/queue", 15),
                &[],
            ),
            (
                policy().on_no_data(value(0.0, "q")),
                named("q", 15),
                &["name another query after `when`"],
            ),
            (
                policy().on_no_data(value(-1.0, "p/ready")),
                none(),
                &["is -1: give a finite number"],
            ),
            (
                policy().on_no_data(value(f64::NAN, "p/ready")),
                none(),
                &["is NaN"],
            ),
            (
                policy().on_no_data(value(f64::INFINITY, "p/ready")),
                none(),
                &["is inf"],
            ),
        ];
        for (policy, facts, expected) in cases {
            let errors = policy.check(facts).err();
            let errors: Vec<_> = errors
                .iter()
                .flat_map(|e| e.iter().map(|e| e.to_string()))
                .collect();
            assert_eq!(errors.len(), expected.len(), "{policy:?}: {errors:?}");
            for (error, expected) in errors.iter().zip(*expected) {
                assert!(error.contains(expected), "{error}");
            }
        }
    }
}
