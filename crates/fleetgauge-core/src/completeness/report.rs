//! What somebody has done who is expected to report, and those who have not.

use std::fmt;

use crate::printable::Printable;

/// What one of those expected has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report<'a> {
    /// Its raw series are there and fresh, even if the query gives it no row.
    Reported,
    /// It should have reported and has not, for this reason.
    Missing(&'a str),
    /// It has reported, but not for all of the time that is asked for, for this reason. It counts as missing, too.
    Short(&'a str),
    /// It has not been ready yet, for this reason, and is not expected until it was.
    Starting(&'a str),
}

/// Those who have not reported: how many, and some of them by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absentees {
    count: u64,
    named: Vec<Absentee>,
}

/// One that has not reported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Absentee {
    /// Its name.
    pub who: Box<str>,
    /// Why it has not reported.
    pub reason: Box<str>,
}

/// How many are named of those that are missing, and of those that are starting.
pub const MAX_NAMED: usize = 10;

/// How much is kept of a name, and of a reason. *Unit*: characters.
const MAX_TEXT: usize = 200;

// === impl Absentee ===

impl Absentee {
    pub(super) fn new(who: &str, reason: &str) -> Self {
        let cut = |text: &str| text.chars().take(MAX_TEXT).collect();
        Self {
            who: cut(who),
            reason: cut(reason),
        }
    }
}

// === impl Absentees ===

impl Absentees {
    pub(super) fn add(&mut self, who: &str, reason: &str) {
        self.count = self.count.saturating_add(1);
        if self.named.len() < MAX_NAMED {
            self.named.push(Absentee::new(who, reason));
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        let room = MAX_NAMED - self.named.len();
        self.named.extend(other.named.iter().take(room).cloned());
    }

    /// How many they are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Some of them, at most [`MAX_NAMED`], in the order in which they were added.
    pub fn named(&self) -> &[Absentee] {
        &self.named
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let texts = self.named.iter().map(|one| one.who.len() + one.reason.len());
        texts.sum::<usize>() + self.named.capacity() * size_of::<Absentee>()
    }
}

/// `pod b (connection refused), pod c (timeout) and 7 more`.
impl fmt::Display for Absentees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Absentee { who, reason }) in self.named.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{} ({})", Printable(who), Printable(reason))?;
        }
        match self.count.saturating_sub(self.named.len() as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
