//! Who was expected to report, who did, and who did not and why.

mod pods;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::pod::{PodIdentity, VariantPod};
use pods::{Done, Pods};

pub use report::{Absentee, Absentees, MAX_NAMED, Report};

/// Who an answer stands on: targets of discovery, pods of a variant, members of a federation, inputs of a composition.
///
/// *Shape*: counts, and the names of some of those that did not report. Every one that is expected has reported or is
/// missing; those that are starting are not expected yet.
///
/// ```
/// use fleetgauge_core::completeness::{Completeness, Report};
///
/// let mut queue = Completeness::known();
/// queue.add("pod a", Report::Reported);
/// queue.add("pod b", Report::Missing("connection refused"));
/// queue.add("pod c", Report::Starting("loads its model"));
/// assert_eq!((queue.expected(), queue.reported()), (Some(2), 1));
/// assert_eq!(queue.ratio(), Some(0.5));
/// assert_eq!(queue.to_string(), "1 of 2 reported; missing: pod b (connection refused); starting: pod c (loads its model)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// Whether it is known who is expected.
    is_known: bool,
    reported: u64,
    missing: Absentees,
    /// How many of the missing have reported, but not for all of the time that is asked for.
    short: u64,
    starting: Absentees,
    /// `None` where somebody is not known to be a pod.
    pods: Option<Pods>,
    /// Whether a row may stand on other pods than its own.
    is_mixed: bool,
    /// Whether there may be others of whom nobody has told.
    may_have_others: bool,
}

/// What a pod is to those whose completeness is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// One of them.
    Own,
    /// It may be one of them. Then it is missing, if it has not reported; that it has makes up for nobody.
    Perhaps,
    /// It counts as missing, whatever it has done, and this is why.
    Disputed(String),
    /// None of them.
    Other,
}

/// Of how many pods of one answer the reasons are kept apart: where more are missing, a fleet is down.
const MAX_REASONS: u64 = 100;

// === impl Completeness ===

impl Completeness {
    /// Where it is known who is expected: so far nobody, and all of them have reported.
    pub fn known() -> Self {
        Self {
            is_known: true,
            reported: 0,
            missing: Absentees::default(),
            short: 0,
            starting: Absentees::default(),
            pods: Some(Pods::default()),
            is_mixed: false,
            may_have_others: false,
        }
    }

    /// Where it is not known who is expected, as of a Prometheus that is asked over its API.
    pub fn unknown() -> Self {
        Self {
            is_known: false,
            ..Self::known()
        }
    }

    /// Adds what `who` has done.
    pub fn add(&mut self, who: &str, report: Report<'_>) {
        self.pods = None;
        match report {
            Report::Reported => self.reported += 1,
            Report::Missing(reason) => self.missing.add(who, reason),
            Report::Short(reason) => {
                self.missing.add(who, reason);
                self.short = self.short.saturating_add(1);
            }
            Report::Starting(reason) => self.starting.add(who, reason),
        }
    }

    /// Adds what `who` has done, which is, or is in, a pod.
    pub fn add_pod(&mut self, pod: &Arc<PodIdentity>, who: &str, report: Report<'_>) {
        let is_kept = self.missing.count() + self.starting.count() < MAX_REASONS;
        let done = Done::new(who, report, is_kept);
        self.add_done(pod, &done);
    }

    fn add_done(&mut self, pod: &Arc<PodIdentity>, done: &Done) {
        let mut pods = self.pods.take();
        let (who, report) = done.report();
        self.add(who, report);
        if let Some(pods) = &mut pods {
            pods.push(pod, done.clone());
        }
        self.pods = pods;
    }

    /// Where a row may stand on the series of other pods than its own, so that the pods of some rows are not all that these
    /// stand on.
    pub(crate) fn mixed(mut self) -> Self {
        self.is_mixed = true;
        self
    }

    /// Whether it can be told of some pods how complete they are, if rows stand on nothing else.
    pub(crate) fn is_by_pod(&self) -> bool {
        !self.is_mixed && self.pods.is_some()
    }

    /// The pods, where all who are expected are known to be pods.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &PodIdentity> {
        self.pods.iter().flat_map(Pods::iter).map(|(pod, _)| &**pod)
    }

    /// The pods that are there once more in `other`, by their namespace and name, and are others: they are in other places.
    /// Each with one of those.
    pub fn namesakes<'a>(&'a self, other: &'a Self) -> Vec<(&'a PodIdentity, &'a PodIdentity)> {
        let by_name = |pods: &'a Self| {
            let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for pod in pods.pods() {
                named.entry((pod.namespace(), pod.name())).or_default().push(pod);
            }
            named
        };
        let theirs = by_name(other);
        let both = by_name(self).into_iter().filter_map(|(name, ours)| {
            let theirs = theirs.get(&name)?;
            let is_elsewhere = |pod: &PodIdentity| {
                let of_other = theirs.iter().map(|other| other.place());
                let here = pod.place();
                here.is_some() && of_other.into_iter().all(|other| other.is_some() && other != here)
            };
            let is_another = ours.iter().all(|pod| is_elsewhere(pod));
            is_another.then(|| (ours[0], theirs[0]))
        });
        both.collect()
    }

    /// Whether a pod whose row has ended is known to be no more: it is known who there is, and it is none of them. One of its
    /// name at another place is not the same.
    pub(crate) fn has_lost(&self, namespace: Option<&str>, pod: &str, instance: Option<&str>) -> bool {
        let is_same =
            |one: Option<&str>, other: Option<&str>| one.zip(other).is_none_or(|(one, other)| one == other);
        let is_it = |one: &PodIdentity| {
            *one.name == *pod
                && is_same(one.namespace.as_deref(), namespace)
                && is_same(one.instance.as_deref(), instance)
        };
        self.is_known && self.is_by_pod() && !self.pods().any(is_it)
    }

    /// How complete those are that are meant, if all who are expected are known to be pods and each row stands on its own
    /// alone; and those of them that have not reported.
    pub(crate) fn of_pods(&self, meant: impl Fn(&PodIdentity) -> Meant) -> Option<(Self, Vec<&PodIdentity>)> {
        let pods = self.pods.as_ref().filter(|_| !self.is_mixed)?;
        let mut of_them = Self {
            is_known: self.is_known,
            ..Self::known()
        };
        let mut absent = Vec::new();
        for (pod, done) in pods.iter() {
            let has_reported = *done == Done::Reported;
            let has_reported = match meant(pod) {
                Meant::Other => continue,
                Meant::Perhaps if has_reported => continue,
                Meant::Own | Meant::Perhaps => {
                    of_them.add_done(pod, done);
                    has_reported
                }
                Meant::Disputed(why) => {
                    of_them.add_pod(pod, &pod.to_string(), Report::Missing(&why));
                    false
                }
            };
            if !has_reported {
                absent.push(&**pod);
            }
        }
        Some((of_them, absent))
    }

    /// How complete those are that `expected` are, by what is told here of them, if all who are expected here are known to be
    /// pods and each row stands on its own alone; and those of them that have not reported. Those here that are meant and not
    /// `expected` may have reported, and are not missed.
    pub(crate) fn of_expected(
        &self,
        expected: &[VariantPod<'_>],
        meant: impl Fn(&PodIdentity) -> Meant,
    ) -> Option<(Self, Vec<&PodIdentity>)> {
        let places = expected.iter().enumerate();
        let places: BTreeMap<_, _> = places
            .map(|(place, pod)| ((pod.namespace, pod.name), place))
            .collect();
        let place = |pod: &PodIdentity| {
            let namespace = pod.namespace.as_deref().unwrap_or_default();
            places.get(&(namespace, &*pod.name)).copied()
        };
        let pods = self.pods.as_ref().filter(|_| !self.is_mixed)?;
        let mut of_them = Self {
            is_known: self.is_known,
            ..Self::known()
        };
        let (mut absent, mut heard_of) = (Vec::new(), BTreeSet::new());
        for (pod, done) in pods.iter() {
            let meant = meant(pod);
            if meant == Meant::Other {
                continue;
            }
            let known = place(pod);
            heard_of.extend(known);
            let has_reported = *done == Done::Reported;
            match (meant, known.map(|place| expected[place].starting)) {
                (Meant::Disputed(why), _) => of_them.add_pod(pod, &pod.to_string(), Report::Missing(&why)),
                (Meant::Perhaps, _) if has_reported => continue,
                _ if has_reported => {
                    of_them.add_done(pod, done);
                    continue;
                }
                // It is leaving.
                (Meant::Own, None) => continue,
                (_, Some(Some(why))) => of_them.add_pod(pod, &pod.to_string(), Report::Starting(why)),
                _ => of_them.add_done(pod, done),
            }
            absent.push(&**pod);
        }
        let expected = expected.iter().enumerate();
        for (_, known) in expected.filter(|(place, _)| !heard_of.contains(place)) {
            let label = |label: &str| match label {
                "namespace" => Some(known.namespace),
                "pod" => Some(known.name),
                _ => None,
            };
            let report = match known.starting {
                Some(why) => Report::Starting(why),
                None => Report::Missing("the cluster has it, and the source has not heard of it"),
            };
            if let Some(pod) = PodIdentity::of(label).map(Arc::new) {
                of_them.add_pod(&pod, &pod.to_string(), report);
            }
        }
        Some((of_them, absent))
    }

    fn of<'a>(is_known: bool, pods: impl IntoIterator<Item = (&'a Arc<PodIdentity>, &'a Done)>) -> Self {
        let mut of_them = Self {
            is_known,
            ..Self::known()
        };
        pods.into_iter()
            .for_each(|(pod, done)| of_them.add_done(pod, done));
        of_them
    }

    /// Counts `who`, who is counted among those that have reported, as missing: what was reported cannot be used.
    pub fn lose(&mut self, who: &str, reason: &str) {
        self.pods = None;
        self.reported = self.reported.saturating_sub(1);
        self.missing.add(who, reason);
    }

    /// Adds all of `other`, another contributor's. Who is expected is known where both know it, and a target that both count
    /// is counted once, by the worse of what they tell.
    pub fn merge(&mut self, other: &Self) {
        let is_mixed = self.is_mixed || other.is_mixed;
        let may_have_others = self.may_have_others || other.may_have_others;
        self.unite(other);
        self.may_have_others = may_have_others;
        self.is_mixed = is_mixed;
    }

    fn unite(&mut self, other: &Self) {
        let pods = self.pods.as_ref().zip(other.pods.as_ref());
        if let Some(united) = pods.and_then(|(ours, theirs)| ours.united(theirs)) {
            *self = Self::of(self.is_known && other.is_known, united);
            return;
        }
        self.pods = (self.pods.take().zip(other.pods.as_ref())).map(|(mut pods, others)| {
            pods.extend(others);
            pods
        });
        self.is_known &= other.is_known;
        self.reported = self.reported.saturating_add(other.reported);
        self.missing.merge(&other.missing);
        self.short = self.short.saturating_add(other.short);
        self.starting.merge(&other.starting);
    }

    /// How many should have reported, if that is known. Those that are starting are not among them.
    pub fn expected(&self) -> Option<u64> {
        self.is_known
            .then(|| self.reported.saturating_add(self.missing.count()))
    }

    /// Whether it is known that there is nobody, and that nobody is starting.
    pub fn is_of_nobody(&self) -> bool {
        self.expected() == Some(0) && self.starting.count() == 0 && !self.may_have_others
    }

    /// Says that there may be others of whom nobody has told, so that none is not known to be none.
    #[must_use]
    pub fn with_others(mut self) -> Self {
        self.may_have_others = true;
        self
    }

    /// How many have reported.
    pub fn reported(&self) -> u64 {
        self.reported
    }

    /// Who should have reported and has not.
    pub fn missing(&self) -> &Absentees {
        &self.missing
    }

    /// How many of the missing have reported, but not for all of the time that is asked for: most often, not yet.
    pub fn short(&self) -> u64 {
        self.short
    }

    /// Who has not been ready yet.
    pub fn starting(&self) -> &Absentees {
        &self.starting
    }

    /// Whether nobody is known to be missing.
    pub fn is_whole(&self) -> bool {
        self.missing.count() == 0
    }

    /// Which part of those expected has reported, if it is known who is. Of none expected it is all.
    ///
    /// *Unit*: ratio, 0 to 1.
    pub fn ratio(&self) -> Option<f64> {
        self.expected().map(|expected| match expected {
            0 => 1.0,
            _ => self.reported as f64 / expected as f64,
        })
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let absentees = [&self.missing, &self.starting];
        let pods = self.pods.as_ref().map_or(0, Pods::heap_bytes);
        absentees.map(Absentees::heap_bytes).iter().sum::<usize>() + pods
    }
}

impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected() {
            Some(expected) => write!(f, "{} of {expected} reported", self.reported)?,
            None => write!(f, "{} reported, of an unknown number", self.reported)?,
        }
        if self.short > 0 {
            write!(f, ", and {} for a part of the time", self.short)?;
        }
        for (what, absentees) in [("missing", &self.missing), ("starting", &self.starting)] {
            if absentees.count() > 0 {
                write!(f, "; {what}: {absentees}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pod::PodIdentity;

    fn of(reported: u64, missing: u64, starting: u64) -> Completeness {
        let mut completeness = Completeness::known();
        for i in 0..reported {
            completeness.add(&format!("r{i}"), Report::Reported);
        }
        for i in 0..missing {
            completeness.add(&format!("m{i}"), Report::Missing("timeout"));
        }
        for i in 0..starting {
            completeness.add(&format!("s{i}"), Report::Starting("not ready"));
        }
        completeness
    }

    #[test]
    fn the_ratio_is_that_of_those_expected() {
        let check = |given: &Completeness, expected: (Option<u64>, Option<f64>, bool)| {
            assert_eq!((given.expected(), given.ratio(), given.is_whole()), expected);
        };
        check(&of(3, 1, 0), (Some(4), Some(0.75), false));
        check(&of(2, 0, 8), (Some(2), Some(1.0), true));
        check(&of(0, 0, 8), (Some(0), Some(1.0), true));
        check(&of(0, 0, 0), (Some(0), Some(1.0), true));
        check(&of(0, 2, 0), (Some(2), Some(0.0), false));
        check(&Completeness::unknown(), (None, None, true));
    }

    #[test]
    fn merging_adds_up_and_keeps_what_is_not_known() {
        let mut both = of(3, 1, 1);
        both.merge(&of(1, 4, 0));
        assert_eq!(
            (
                both.expected(),
                both.reported(),
                both.missing().count(),
                both.starting().count()
            ),
            (Some(9), 4, 5, 1)
        );
        both.merge(&Completeness::unknown());
        assert_eq!(
            (both.expected(), both.ratio(), both.is_whole()),
            (None, None, false)
        );
    }

    /// Two queries over the same pods stand on these, not on twice as many.
    #[test]
    fn a_pod_that_both_count_is_counted_once_by_the_worse() {
        let pods = ["a", "b", "c"].map(|name| {
            let pod = PodIdentity::of(|label| (label == "pod").then_some(name));
            Arc::new(pod.unwrap())
        });
        let told = |reports: &[(usize, Report<'_>)]| {
            let mut told = Completeness::known();
            for (pod, report) in reports {
                told.add_pod(&pods[*pod], &pods[*pod].to_string(), *report);
            }
            told
        };
        let starting = Report::Starting("loads");
        let one = told(&[(0, Report::Reported), (1, starting), (2, Report::Short("young"))]);
        let mut both = one.clone();
        both.merge(&told(&[(0, Report::Missing("fails")), (1, Report::Reported)]));
        assert_eq!(
            both.to_string(),
            "1 of 3 reported, and 1 for a part of the time; missing: a (fails), c (young)"
        );
        let mut three = told(&[(0, Report::Reported)]);
        three.merge(&told(&[(1, Report::Reported), (2, starting)]));
        assert_eq!(three.to_string(), "2 of 2 reported; starting: c (loads)");
        three.merge(&one);
        assert_eq!(
            three.to_string(),
            "2 of 3 reported, and 1 for a part of the time; missing: c (young)"
        );
        // Who is no pod is another.
        both.add("the member eu", Report::Reported);
        both.merge(&one);
        assert_eq!((both.reported(), both.missing().count()), (3, 3));
    }

    #[test]
    fn many_that_are_missing_are_some_names_and_a_count() {
        let mut many = of(0, 7, 0);
        many.merge(&of(0, 1_000, 0));
        assert_eq!(
            (many.missing().named().len(), many.missing().count()),
            (MAX_NAMED, 1_007)
        );
        let text = many.to_string();
        assert!(
            text.starts_with("0 of 1007 reported; missing: m0 (timeout), "),
            "{text}"
        );
        assert!(text.ends_with("m2 (timeout) and 997 more"), "{text}");
        let mut young = of(1, 0, 0);
        young.merge(&{
            let mut other = of(0, 1, 0);
            other.add("s", Report::Short("short_window"));
            other
        });
        assert_eq!(
            (young.expected(), young.short(), young.ratio()),
            (Some(3), 1, Some(1.0 / 3.0))
        );
        assert_eq!(
            young.to_string(),
            "1 of 3 reported, and 1 for a part of the time; missing: m0 (timeout), s (short_window)"
        );
        let mut long = Completeness::known();
        long.add("a\u{1b}[31m", Report::Missing(&"x".repeat(1_000_000)));
        assert!(long.to_string().len() < 1_000 && !long.to_string().contains('\u{1b}'));
    }
}
