//! Which series have ended that a range still reads.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::pod::PodIdentity;
use crate::printable::Printable;

/// Whose series have ended that the rows of an answer stand on, each with what is known of the one that is read for longest.
///
/// As text: `pod chat/a (3 s ago); the query looks back at it for 57 s more`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    who: BTreeMap<Who, Past>,
    /// Whether there are more than are known here.
    has_more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Pod {
        namespace: Option<Box<str>>,
        name: Box<str>,
    },
    Instance(Box<str>),
    Series(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Past {
    /// How long ago its newest sample was taken.
    age: Option<Duration>,
    /// For how long it is still read.
    left: Duration,
}

/// How many are known.
const MAX_KNOWN: usize = 100;

/// How many are named.
const MAX_NAMED: usize = 3;

// === impl Ended ===

impl Ended {
    /// Notes a series whose labels `get` gives, and which is called `series` where these name nobody. Its newest sample is so
    /// old, if that is known, and it is read for `left` yet.
    pub fn add<'a>(
        &mut self,
        get: impl Fn(&str) -> Option<&'a str>,
        series: impl FnOnce() -> String,
        age: Option<Duration>,
        left: Duration,
    ) {
        let who = match (PodIdentity::of(&get), get("instance")) {
            (Some(PodIdentity { namespace, name, .. }), _) => Who::Pod { namespace, name },
            (None, Some(instance)) => Who::Instance(instance.into()),
            (None, None) => Who::Series(series().into()),
        };
        if self.who.len() >= MAX_KNOWN && !self.who.contains_key(&who) {
            self.has_more = true;
            return;
        }
        let known = self.who.entry(who).or_insert(Past { age, left });
        if left > known.left {
            *known = Past { age, left };
        }
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.who.is_empty()
    }

    /// The pods among them that are meant, by their namespaces and names.
    #[must_use]
    pub fn of_pods(&self, is_meant: impl Fn(Option<&str>, &str) -> bool) -> Self {
        let of_pods = self.who.iter().filter(|(who, _)| match who {
            Who::Pod { namespace, name } => is_meant(namespace.as_deref(), name),
            Who::Instance(_) | Who::Series(_) => false,
        });
        Self {
            who: of_pods.map(|(who, past)| (who.clone(), *past)).collect(),
            has_more: false,
        }
    }

    /// *Unit*: bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let texts = self.who.keys().map(|who| match who {
            Who::Pod { namespace, name } => name.len() + namespace.as_ref().map_or(0, |one| one.len()),
            Who::Instance(text) | Who::Series(text) => text.len(),
        });
        texts.sum::<usize>() + self.who.len() * size_of::<(Who, Past)>()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut who: Vec<_> = self.who.iter().collect();
        who.sort_by_key(|(_, past)| Reverse(past.left));
        let Some((_, longest)) = who.first() else {
            return Ok(());
        };
        for (place, (who, past)) in who.iter().take(MAX_NAMED).enumerate() {
            write!(f, "{}{who}", if place == 0 { "" } else { ", " })?;
            if let Some(age) = past.age {
                write!(f, " ({} s ago)", age.as_secs())?;
            }
        }
        match who.len().saturating_sub(MAX_NAMED) {
            _ if self.has_more => f.write_str(" and many more")?,
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        let seconds = longest.left.as_millis().div_ceil(1_000);
        write!(f, "; the query looks back at it for {seconds} s more")
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { namespace, name } => {
                f.write_str("pod ")?;
                if let Some(namespace) = namespace {
                    write!(f, "{}/", Printable(namespace))?;
                }
                write!(f, "{}", Printable(name))
            }
            Self::Instance(instance) => write!(f, "instance {}", Printable(instance)),
            Self::Series(labels) => write!(f, "{}", Printable(labels)),
        }
    }
}
