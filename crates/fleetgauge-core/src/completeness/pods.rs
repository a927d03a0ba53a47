//! Which pods those are who are expected, so that it can be told of some of them how complete they are.

use std::collections::HashMap;
use std::sync::Arc;

use super::report::{Absentee, Report};
use crate::pod::PodIdentity;

/// What each of those expected has done, all of them pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pods(Vec<(Arc<PodIdentity>, Done)>);

/// What a pod has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Reported,
    Not(Kind, Arc<Absentee>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Starting,
    Short,
    Missing,
}

// === impl Pods ===

impl Pods {
    pub(super) fn push(&mut self, pod: &Arc<PodIdentity>, done: Done) {
        self.0.push((Arc::clone(pod), done));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Arc<PodIdentity>, Done)> {
        self.0.iter()
    }

    /// Both, if they have pods in common: of each of these the worse.
    pub(super) fn united<'a>(&'a self, other: &'a Self) -> Option<Vec<(&'a Arc<PodIdentity>, &'a Done)>> {
        let key = |pod: &Arc<PodIdentity>| Arc::as_ptr(pod);
        let mut theirs: HashMap<_, _> = other.iter().map(|(pod, done)| (key(pod), done)).collect();
        if !self.iter().any(|(pod, _)| theirs.contains_key(&key(pod))) {
            return None;
        }
        let ours = self.iter().map(|(pod, done)| {
            let other = theirs.remove(&key(pod));
            (
                pod,
                other.filter(|other| other.rank() > done.rank()).unwrap_or(done),
            )
        });
        let mut united: Vec<_> = ours.collect();
        let alone = other.iter().filter(|(pod, _)| theirs.contains_key(&key(pod)));
        united.extend(alone.map(|(pod, done)| (pod, done)));
        Some(united)
    }

    pub(super) fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().cloned());
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(Arc<PodIdentity>, Done)>()
    }
}

// === impl Done ===

impl Done {
    pub(super) fn new(who: &str, report: Report<'_>, is_kept: bool) -> Self {
        let not = |kind, reason| {
            let reason = match is_kept {
                true => reason,
                false => "one of very many, whose reasons are not kept",
            };
            Self::Not(kind, Arc::new(Absentee::new(who, reason)))
        };
        match report {
            Report::Reported => Self::Reported,
            Report::Missing(reason) => not(Kind::Missing, reason),
            Report::Short(reason) => not(Kind::Short, reason),
            Report::Starting(reason) => not(Kind::Starting, reason),
        }
    }

    pub(super) fn report(&self) -> (&str, Report<'_>) {
        let Self::Not(kind, absentee) = self else {
            return ("", Report::Reported);
        };
        let reason = &absentee.reason;
        let report = match kind {
            Kind::Missing => Report::Missing(reason),
            Kind::Short => Report::Short(reason),
            Kind::Starting => Report::Starting(reason),
        };
        (&absentee.who, report)
    }

    /// What is worse ranks higher. Who was starting at one time, and had reported at another, has reported.
    fn rank(&self) -> u8 {
        match self {
            Self::Not(Kind::Starting, _) => 0,
            Self::Reported => 1,
            Self::Not(Kind::Short, _) => 2,
            Self::Not(Kind::Missing, _) => 3,
        }
    }
}
