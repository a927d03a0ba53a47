//! Which pods those are who are expected, so that it can be told of some of them how complete they are.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Absentee, Completeness, Report};
use crate::variant::PodIdentity;

/// What each of those expected has done, all of them pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pods(Vec<(Arc<PodIdentity>, Done)>);

/// What a pod has done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Done {
    Reported,
    Not(Kind, Arc<Absentee>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Starting,
    Short,
    Missing,
}

/// Of how many pods of one answer the reasons are kept apart: where more are missing, a fleet is down.
const MAX_REASONS: u64 = 100;

// === impl Completeness ===

impl Completeness {
    /// Adds what `who` has done, which is, or is in, a pod.
    pub fn add_pod(&mut self, pod: &Arc<PodIdentity>, who: &str, report: Report<'_>) {
        let pods = self.pods.take();
        self.add(who, report);
        let is_kept = self.missing.count + self.starting.count <= MAX_REASONS;
        self.pods = pods.map(|mut pods| {
            pods.0.push((Arc::clone(pod), Done::new(who, report, is_kept)));
            pods
        });
    }

    fn add_done(&mut self, pod: &Arc<PodIdentity>, done: &Done) {
        let pods = self.pods.take();
        let (who, report) = done.report();
        self.add(who, report);
        self.pods = pods.map(|mut pods| {
            pods.0.push((Arc::clone(pod), done.clone()));
            pods
        });
    }

    /// How complete those are of which `is_meant` says so, if all who are expected are known to be pods.
    pub fn of_pods(&self, mut is_meant: impl FnMut(&PodIdentity) -> bool) -> Option<Self> {
        let mut of_them = self.begin();
        for (pod, done) in &self.pods.as_ref()?.0 {
            if is_meant(pod) {
                of_them.add_done(pod, done);
            }
        }
        Some(of_them)
    }

    /// Both, where they have pods in common: of each of these the worse counts.
    pub(super) fn united(&self, other: &Self) -> Option<Self> {
        let (ours, others) = (&self.pods.as_ref()?.0, &other.pods.as_ref()?.0);
        let mut theirs: HashMap<_, _> = others
            .iter()
            .map(|(pod, done)| (Arc::as_ptr(pod), done))
            .collect();
        if !ours.iter().any(|(pod, _)| theirs.contains_key(&Arc::as_ptr(pod))) {
            return None;
        }
        let mut united = self.begin();
        united.is_known &= other.is_known;
        for (pod, done) in ours {
            let other = theirs.remove(&Arc::as_ptr(pod));
            let worse = other.filter(|other| other.rank() > done.rank()).unwrap_or(done);
            united.add_done(pod, worse);
        }
        for (pod, done) in others {
            if theirs.contains_key(&Arc::as_ptr(pod)) {
                united.add_done(pod, done);
            }
        }
        Some(united)
    }

    /// As this, with nobody in it.
    fn begin(&self) -> Self {
        Self {
            is_known: self.is_known,
            ..Self::known()
        }
    }
}

// === impl Pods ===

impl Pods {
    pub(super) fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().cloned());
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(Arc<PodIdentity>, Done)>()
    }
}

// === impl Done ===

impl Done {
    fn new(who: &str, report: Report<'_>, is_kept: bool) -> Self {
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

    fn report(&self) -> (&str, Report<'_>) {
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
