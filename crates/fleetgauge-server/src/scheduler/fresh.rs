//! Pods that have become ready just now, of which a server that is asked can have no sample yet.
//!
//! A Prometheus scrapes a pod within an interval after it has heard of it. Until then the pod has no row, and a variant that scales out
//! would be incomplete each time it does. So such a pod is starting for a while, as a target is that has never answered; one that has
//! had a row before is missing at once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::pod::VariantPod;
use fleetgauge_core::result::Answer;
use fleetgauge_core::time::Moment;
use fleetgauge_core::variant::{Mapping, PodIndex, PodRef, Replicas, VariantRef};

/// For so long a pod may have no row: twice the interval at which a Prometheus scrapes where nothing is said.
pub(super) const GRACE: Duration = Duration::from_secs(120);

const WHY: &str = "it has become ready within the last two minutes, and the server has no sample of it yet";

/// Namespace and name of a pod.
type Name = (Box<str>, Box<str>);

/// The pods that have had a row.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    seen: Mutex<HashSet<Name>>,
}

/// An index in which those pods are starting that have become ready just now and have never had a row.
#[derive(Debug)]
pub(super) struct WithFresh<'a> {
    index: &'a dyn PodIndex,
    seen: HashSet<Name>,
    now: Moment,
}

// === impl Fresh ===

impl Fresh {
    /// The index, as of `now`. Of those that are no pods of `variant` any more it is forgotten that they had a row.
    pub(super) fn with<'a>(
        &self,
        index: &'a dyn PodIndex,
        variant: &VariantRef,
        now: Moment,
    ) -> WithFresh<'a> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pods) = index.pods_of(variant) {
            let pods: HashSet<_> = pods.iter().map(|pod| (pod.namespace, pod.name)).collect();
            seen.retain(|(namespace, name)| pods.contains(&(&**namespace, &**name)));
        }
        WithFresh {
            index,
            seen: seen.clone(),
            now,
        }
    }

    /// Remembers who has a row.
    pub(super) fn saw(&self, answer: &Answer) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = answer.series().filter_map(|series| {
            let labels = series.labels();
            Some((labels.get("namespace")?.into(), labels.get("pod")?.into()))
        });
        seen.extend(pods);
    }
}

// === impl WithFresh ===

impl PodIndex for WithFresh<'_> {
    fn variant_of(&self, pod: PodRef<'_>, labelled: Option<&VariantRef>) -> Mapping {
        self.index.variant_of(pod, labelled)
    }

    fn pods_of(&self, variant: &VariantRef) -> Option<Vec<VariantPod<'_>>> {
        let mut pods = self.index.pods_of(variant)?;
        for pod in &mut pods {
            let is_fresh = |since: Moment| self.now.saturating_since(since) < GRACE;
            let had_row = || self.seen.contains(&(pod.namespace.into(), pod.name.into()));
            if pod.starting.is_none() && pod.ready_since.is_some_and(is_fresh) && !had_row() {
                pod.starting = Some(WHY);
            }
        }
        Some(pods)
    }

    fn replicas_of(&self, variant: &VariantRef) -> Option<Replicas> {
        self.index.replicas_of(variant)
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::result::AnswerBuilder;
    use fleetgauge_core::sample::Stamp;
    use fleetgauge_core::time::{Clock, Timestamp};

    use super::*;

    /// Two pods, the second of which has become ready at that time.
    #[derive(Debug)]
    struct Two(Option<Moment>, bool);

    impl PodIndex for Two {
        fn variant_of(&self, _pod: PodRef<'_>, _labelled: Option<&VariantRef>) -> Mapping {
            unreachable!()
        }

        fn pods_of(&self, _variant: &VariantRef) -> Option<Vec<VariantPod<'_>>> {
            let pod = |name, ready_since| VariantPod {
                namespace: "chat",
                name,
                starting: None,
                ready_since,
            };
            let mut pods = vec![pod("a", None), pod("b", self.0)];
            pods.truncate(if self.1 { 2 } else { 1 });
            Some(pods)
        }
    }

    #[test]
    fn a_pod_is_starting_for_a_while_after_it_became_ready_unless_it_had_a_row() {
        let (clock, hand) = Clock::manual(Timestamp::from_secs_f64(0.0));
        let variant = VariantRef::new("chat", "llama").unwrap();
        let fresh = Fresh::default();
        let starting = |index: &Two| {
            let with = fresh.with(index, &variant, clock.now());
            let pods = with.pods_of(&variant).unwrap();
            let starting = pods.iter().filter(|pod| pod.starting.is_some());
            starting.map(|pod| pod.name.to_owned()).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        // Those that were there before we were are expected.
        assert_eq!(starting(&Two(None, true)), none);
        let two = Two(Some(clock.now()), true);
        assert_eq!(starting(&two), ["b"]);
        hand.advance(GRACE - Duration::from_millis(1));
        assert_eq!(starting(&two), ["b"]);
        hand.advance(Duration::from_millis(1));
        assert_eq!(starting(&two), none);

        let mut answer = AnswerBuilder::new(Stamp::Sampled);
        answer
            .series([("namespace", "chat"), ("pod", "b")], 1.0, clock.wall())
            .unwrap();
        fresh.saw(&answer.build());
        let again = Two(Some(clock.now()), true);
        assert_eq!(starting(&again), none);
        // Another one of its name comes later.
        starting(&Two(None, false));
        assert_eq!(starting(&again), ["b"]);
    }
}
