//! How old a value is: how long ago the newest sample of its oldest contributor was taken.
//!
//! An age is measured against the time that the query's selector asks for (`offset` and `@` taken off), never against
//! the evaluation alone, and told as of the moment when the answer was had. So it can grow by monotonic time from there,
//! whatever happens to the wall clock.

use std::time::Duration;

use crate::time::Timestamp;

/// How old a value was when its answer was had, as far as that is known.
///
/// ```
/// use std::time::Duration;
/// use fleetgauge_core::age::{Age, AgeKind};
///
/// let scraped = Age::exact(Duration::from_secs(4));
/// let recorded = Age::at_least(Duration::from_secs(20));
/// let sum = scraped.or_older(recorded);
/// assert_eq!(sum.duration(), Some(Duration::from_secs(20)));
/// assert_eq!(sum.kind(), AgeKind::AtLeast);
/// // What nothing is known of makes everything that is computed from it as unknown.
/// assert_eq!(sum.or_older(Age::UNKNOWN).duration(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    millis: u32,
    mark: Mark,
}

/// What is known of an age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgeKind {
    /// It is just that.
    Exact,
    /// It is that or less: the oldest of all series that the query reads, where one row's own are not known.
    AtMost,
    /// It is that or more: the age of a recorded sample, which was computed from older ones.
    AtLeast,
    /// Some contributors may be younger than that, and others older.
    Around,
    /// Nothing is known of it. It fails every `max_age`.
    Unknown,
    /// No sample contributes to the value, as to that of `vector(1)`: it is never too old.
    Ageless,
}

/// All of an age but its length; most answers have one for all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    kind: AgeKind,
    ended: bool,
}

/// The ages of an answer's rows, in as little room as they need.
#[derive(Clone, Debug)]
pub(crate) struct Ages {
    millis: Column<u32>,
    marks: Column<Mark>,
}

/// A value for each row, or one for all of them.
#[derive(Clone, Debug)]
pub(crate) struct Column<T>(Box<[T]>);

/// By how much a sample may be later than the time it is measured against, for clocks that differ a little. *Unit*:
/// milliseconds.
const CLOCKS_DIFFER_BY: i64 = 5_000;

// === impl Age ===

impl Age {
    /// Nothing is known of it.
    pub const UNKNOWN: Self = Self::of(0, AgeKind::Unknown);
    /// No sample contributes to the value.
    pub const AGELESS: Self = Self::of(0, AgeKind::Ageless);

    const fn of(millis: u32, kind: AgeKind) -> Self {
        let mark = Mark { kind, ended: false };
        Self { millis, mark }
    }

    /// That of a value whose contributors are all known.
    pub fn exact(age: Duration) -> Self {
        Self::known(age, AgeKind::Exact)
    }

    /// A bound: the value is as old as this at most.
    pub fn at_most(age: Duration) -> Self {
        Self::known(age, AgeKind::AtMost)
    }

    /// A bound: the value is as old as this at least.
    pub fn at_least(age: Duration) -> Self {
        Self::known(age, AgeKind::AtLeast)
    }

    /// A bound: some of the series that the query reads are younger than this, and recorded samples among them older.
    pub fn around(age: Duration) -> Self {
        Self::known(age, AgeKind::Around)
    }

    /// Rounded up to milliseconds, so that nothing looks younger than it is. What is older than 49 days is unknown.
    fn known(age: Duration, kind: AgeKind) -> Self {
        match u32::try_from(millis_up(age)) {
            Ok(millis) => Self::of(millis, kind),
            Err(_) => Self::UNKNOWN,
        }
    }

    /// The exact age at `asked_for` of a sample taken at `sampled_at`. It is unknown where the sample is more than five
    /// seconds later than that: two clocks differ, or one was set back.
    pub fn between(sampled_at: Timestamp, asked_for: Timestamp) -> Self {
        let ahead = sampled_at.as_millis().saturating_sub(asked_for.as_millis());
        match ahead > CLOCKS_DIFFER_BY {
            true => Self::UNKNOWN,
            false => Self::exact(asked_for.saturating_since(sampled_at)),
        }
    }

    /// Marks the value as one whose raw series has stopped, though a function over a range still answers from its past.
    #[must_use]
    pub fn with_ended(mut self) -> Self {
        self.mark.ended = true;
        self
    }

    /// What it is so much later.
    #[must_use]
    pub fn older_by(self, more: Duration) -> Self {
        if matches!(self.kind(), AgeKind::Unknown | AgeKind::Ageless) {
            return self;
        }
        let millis = u64::from(self.millis).saturating_add(millis_up(more));
        let mut older = match u32::try_from(millis) {
            Ok(millis) => Self::of(millis, self.kind()),
            Err(_) => Self::UNKNOWN,
        };
        older.mark.ended = self.mark.ended;
        older
    }

    /// What it was so much earlier, at least nothing.
    #[must_use]
    pub fn younger_by(mut self, less: Duration) -> Self {
        let less = u32::try_from(less.as_millis()).unwrap_or(u32::MAX);
        self.millis = self.millis.saturating_sub(less);
        self
    }

    /// That as a bound: it may as well be less.
    #[must_use]
    pub fn or_younger(mut self) -> Self {
        self.mark.kind = match self.mark.kind {
            AgeKind::Exact => AgeKind::AtMost,
            AgeKind::AtLeast => AgeKind::Around,
            kind => kind,
        };
        self
    }

    /// That as a bound: it may as well be more.
    #[must_use]
    pub fn or_more(mut self) -> Self {
        self.mark.kind = match self.mark.kind {
            AgeKind::Exact => AgeKind::AtLeast,
            AgeKind::AtMost => AgeKind::Around,
            kind => kind,
        };
        self
    }

    /// Whether the raw series of a contributor has stopped.
    pub fn is_ended(self) -> bool {
        self.mark.ended
    }

    /// What is known of it.
    pub fn kind(self) -> AgeKind {
        self.mark.kind
    }

    /// How long it is, or the bound that is known.
    pub fn duration(self) -> Option<Duration> {
        match self.kind() {
            AgeKind::Unknown | AgeKind::Ageless => None,
            _ => Some(Duration::from_millis(self.millis.into())),
        }
    }

    /// Whether [`duration`](Self::duration) is a bound.
    pub fn is_bound(self) -> bool {
        let kind = self.kind();
        matches!(kind, AgeKind::AtMost | AgeKind::AtLeast | AgeKind::Around)
    }

    /// That of a value to which both contribute: the older one. It has ended if one of them has.
    #[must_use]
    pub fn or_older(self, other: Self) -> Self {
        let ended = self.is_ended() || other.is_ended();
        let mut age = self.older(other);
        age.mark.ended = ended;
        age
    }

    fn older(self, other: Self) -> Self {
        use AgeKind::{Ageless, Around, AtLeast, AtMost, Exact, Unknown};
        match (self.kind(), other.kind()) {
            (Unknown, _) | (_, Unknown) => return Self::UNKNOWN,
            (Ageless, _) => return other,
            (_, Ageless) => return self,
            _ => {}
        }
        let may_be_older = |age: Self| matches!(age.kind(), AtLeast | Around);
        let may_be_younger = |age: Self| matches!(age.kind(), AtMost | Around);
        let (old, young) = if self.millis >= other.millis {
            (self, other)
        } else {
            (other, self)
        };
        // What is certainly as old as the older one's bound settles that nothing is younger.
        let is_settled = young.millis == old.millis && !may_be_younger(young);
        let kind = match (
            may_be_younger(old) && !is_settled,
            may_be_older(old) || may_be_older(young),
        ) {
            (false, false) => Exact,
            (true, false) => AtMost,
            (false, true) => AtLeast,
            (true, true) => Around,
        };
        Self::of(old.millis, kind)
    }

    /// That of what has been computed of the same contributors again and again, as by a subquery: the newest sample counts.
    /// Unknown where one of them is, since that may be the newest; ageless where all are.
    pub fn youngest(ages: impl IntoIterator<Item = Self>) -> Self {
        let mut youngest = Self::AGELESS;
        for age in ages {
            match age.kind() {
                AgeKind::Unknown => return age,
                AgeKind::Ageless => {}
                _ if youngest.kind() == AgeKind::Ageless || age.millis < youngest.millis => youngest = age,
                _ => {}
            }
        }
        youngest
    }

    /// That of a value to which all of these contribute; of none, ageless.
    pub fn oldest(ages: impl IntoIterator<Item = Self>) -> Self {
        ages.into_iter().fold(Self::AGELESS, Self::or_older)
    }
}

/// *Unit*: milliseconds, rounded up; as many as there can be where there are more.
fn millis_up(time: Duration) -> u64 {
    let part = time.subsec_nanos().div_ceil(1_000_000);
    time.as_secs().saturating_mul(1_000).saturating_add(part.into())
}

// === impl Ages ===

impl Ages {
    pub(crate) fn new(ages: &[Age]) -> Self {
        Self {
            millis: Column::new(ages.iter().map(|age| age.millis).collect()),
            marks: Column::new(ages.iter().map(|age| age.mark).collect()),
        }
    }

    pub(crate) fn at(&self, row: usize) -> Option<Age> {
        let (millis, mark) = (self.millis.at(row)?, self.marks.at(row)?);
        Some(Age { millis, mark })
    }

    /// *Unit*: bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.millis.heap_bytes() + self.marks.heap_bytes()
    }
}

// === impl Column ===

impl<T: Copy + PartialEq> Column<T> {
    pub(crate) fn new(mut values: Vec<T>) -> Self {
        if values.windows(2).all(|pair| pair[0] == pair[1]) {
            values.truncate(1);
        }
        Self(values.into_boxed_slice())
    }

    /// The value of a row that there is.
    pub(crate) fn at(&self, row: usize) -> Option<T> {
        match &*self.0 {
            [one] => Some(*one),
            each => each.get(row).copied(),
        }
    }

    /// *Unit*: bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_older_of_two() {
        let exact = |s| Age::exact(seconds(s));
        let at_most = |s| Age::at_most(seconds(s));
        let at_least = |s| Age::at_least(seconds(s));
        let check = |a: Age, b: Age, expected: (Option<u64>, AgeKind)| {
            for age in [a.or_older(b), b.or_older(a)] {
                assert_eq!(
                    (age.duration(), age.kind()),
                    (expected.0.map(seconds), expected.1)
                );
            }
        };
        check(exact(1), exact(2), (Some(2), AgeKind::Exact));
        check(exact(1), at_most(2), (Some(2), AgeKind::AtMost));
        check(exact(2), at_most(1), (Some(2), AgeKind::Exact));
        check(exact(2), at_most(2), (Some(2), AgeKind::Exact));
        check(exact(2), at_least(1), (Some(2), AgeKind::AtLeast));
        check(exact(1), at_least(2), (Some(2), AgeKind::AtLeast));
        check(at_most(1), at_least(2), (Some(2), AgeKind::AtLeast));
        check(at_most(2), at_least(1), (Some(2), AgeKind::Around));
        check(exact(9), Age::UNKNOWN, (None, AgeKind::Unknown));
        check(Age::AGELESS, Age::UNKNOWN, (None, AgeKind::Unknown));
        check(Age::AGELESS, at_most(3), (Some(3), AgeKind::AtMost));
        check(Age::AGELESS, Age::AGELESS, (None, AgeKind::Ageless));
    }

    #[test]
    fn what_one_contributor_has_ended_has_ended() {
        let ended = Age::exact(seconds(1)).with_ended();
        assert!(ended.or_older(Age::exact(seconds(5))).is_ended());
        assert!(Age::AGELESS.or_older(ended).is_ended());
        assert!(!Age::oldest([Age::exact(seconds(1)), Age::UNKNOWN]).is_ended());
        assert_eq!(Age::oldest([]), Age::AGELESS);
    }

    #[test]
    fn clocks_that_differ_do_not_make_a_sample_young() {
        let check = |sampled: i64, asked: i64, expected: Option<u64>| {
            let age = Age::between(Timestamp::from_millis(sampled), Timestamp::from_millis(asked));
            assert_eq!(age.duration(), expected.map(Duration::from_millis));
        };
        check(1_000, 4_500, Some(3_500));
        check(4_500, 4_500, Some(0));
        check(9_500, 4_500, Some(0));
        check(9_501, 4_500, None);
        check(i64::MAX, i64::MIN, None);
        // Longer than can be told.
        check(i64::MIN, i64::MAX, None);
    }

    #[test]
    fn an_age_is_never_rounded_down() {
        let age = Age::exact(Duration::from_nanos(1_000_001));
        assert_eq!(age.duration(), Some(Duration::from_millis(2)));
        for (more, expected) in [
            (Duration::ZERO, Some(Duration::from_millis(2))),
            (Duration::from_nanos(1), Some(Duration::from_millis(3))),
            (Duration::new(1, 999_000_001), Some(Duration::from_millis(2_002))),
            (Duration::MAX, None),
        ] {
            let older = age.with_ended().older_by(more);
            assert_eq!((older.duration(), older.is_ended()), (expected, true));
        }
    }

    fn any_age() -> impl Strategy<Value = Age> {
        let known = prop_oneof![
            Just(Age::exact as fn(Duration) -> Age),
            Just(Age::at_most as fn(Duration) -> Age),
            Just(Age::at_least as fn(Duration) -> Age),
        ];
        let known = (known, 0u64..4).prop_map(|(of, s)| of(seconds(s)));
        let ages = prop_oneof![6 => known, 1 => Just(Age::UNKNOWN), 1 => Just(Age::AGELESS)];
        (ages, any::<bool>()).prop_map(|(age, ended)| if ended { age.with_ended() } else { age })
    }

    proptest! {
        #[test]
        fn columns_give_back_each_row(ages in prop::collection::vec(any_age(), 0..6)) {
            let column = Ages::new(&ages);
            for (row, age) in ages.iter().enumerate() {
                prop_assert_eq!(column.at(row), Some(*age));
            }
        }

        /// Each kind, checked against all lengths that it admits.
        #[test]
        fn what_is_said_of_the_oldest_is_true(ages in prop::collection::vec((any_age(), 0u64..8), 1..5)) {
            let admits = |age: Age, s: u64| {
                let told = age.duration().map(|told| told.as_secs());
                match age.kind() {
                    AgeKind::Exact => told == Some(s),
                    AgeKind::AtMost => Some(s) <= told,
                    AgeKind::AtLeast => told.is_some_and(|told| s >= told),
                    AgeKind::Around | AgeKind::Unknown => true,
                    AgeKind::Ageless => false,
                }
            };
            let contributors = || ages.iter().filter(|(age, _)| age.kind() != AgeKind::Ageless);
            prop_assume!(contributors().all(|&(age, s)| admits(age, s)));
            let oldest = Age::oldest(ages.iter().map(|&(age, _)| age));
            match contributors().map(|&(_, s)| s).max() {
                Some(s) => prop_assert!(admits(oldest, s), "{:?}", oldest),
                None => prop_assert_eq!(oldest.kind(), AgeKind::Ageless),
            }
            // Nothing passes a max_age that one of its contributors fails.
            let told = ages.iter().filter_map(|(age, _)| age.duration()).max();
            prop_assert!(oldest.kind() == AgeKind::Unknown || oldest.duration() == told);
        }
    }
}
