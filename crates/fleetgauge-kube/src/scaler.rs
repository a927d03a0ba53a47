//! What scales workloads: each such object is a variant, or names one.
//!
//! They are of several kinds, and one workload may be named by more than one: a ScaledObject of KEDA has a HorizontalPodAutoscaler
//! made for it, with its labels, which is none of its own. Where a workload is named by several kinds, the first in order counts;
//! where by several objects of one kind, nobody can tell which is meant.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetgauge_core::time::Moment;
use fleetgauge_core::variant::VariantRef;

use crate::miss::Miss;
use crate::object::{Kind, Owner};
use crate::version::Version;
use crate::watched::{Failure, Listing, Map, Watched};

/// An object that scales a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaler {
    /// What it is called, by which it is known as a variant.
    pub variant: VariantRef,
    /// What it scales, in its namespace; `None` if it does not say.
    pub workload: Option<Workload>,
    /// What made it and keeps it as it is.
    pub controller: Option<Owner>,
    /// The model that it serves, by each place that tells one; the first counts.
    pub models: Vec<ToldModel>,
}

/// What a place of an object tells of the model that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldModel {
    /// The place, such as `annotation llm-d.ai/model`.
    pub by: Box<str>,
    /// The model.
    pub model: Box<str>,
}

/// A variant, as what scales it names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaledVariant {
    /// Its name.
    pub variant: VariantRef,
    /// The kind of what scales it.
    pub scaled_by: Kind,
    /// What is scaled.
    pub workload: Workload,
    /// The model that it serves, by each place that tells one; the first counts.
    pub models: Vec<ToldModel>,
}

/// What is scaled, as what scales it names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: Box<str>,
}

/// The scalers of all kinds, as far as each is known.
///
/// Cheap to clone: a copy shares all that is the same.
#[derive(Clone, Debug)]
pub struct ScalerIndex {
    /// In the order in which they count.
    kinds: Vec<Watched<Scaler>>,
    /// Those that count, by namespace and workload.
    counted: Arc<Map<(Box<str>, Workload), Counted>>,
    /// Whose each name is, by the place of the kind: another kind's of the same name would be taken for it.
    names: Arc<Map<VariantRef, usize>>,
    version: Version,
}

/// The place of a kind, and those of it that name one workload.
type Counted = (usize, Vec<VariantRef>);

// === impl ScalerIndex ===

impl ScalerIndex {
    /// An index that knows nothing yet of `kinds`, the first of which counts before the others.
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            kinds: kinds.into_iter().map(Watched::new).collect(),
            counted: Arc::default(),
            names: Arc::default(),
            version: Version::default(),
        }
    }

    /// These are all objects of a kind, with their UIDs. Whoever is not among them is gone.
    pub fn replace(&mut self, kind: &Kind, scalers: impl IntoIterator<Item = (Box<str>, Scaler)>) {
        self.change(kind, |watched| watched.replace(scalers));
    }

    /// There is an object of a kind, new or changed. Gives whether it is another one than was known: of most changes, such as those
    /// of its status, nothing is kept.
    pub fn apply(&mut self, kind: &Kind, uid: &str, scaler: Scaler) -> bool {
        let is_news = self
            .watched(kind)
            .is_some_and(|watched| watched.get(uid) != Some(&scaler));
        if is_news {
            self.change(kind, |watched| watched.apply(uid, scaler));
        }
        is_news
    }

    /// An object of a kind is gone.
    pub fn remove(&mut self, kind: &Kind, uid: &str) {
        self.change(kind, |watched| drop(watched.remove(uid)));
    }

    /// A kind could not be listed, or not be watched any more. What is known of it stays, unless the kind itself is gone. Gives
    /// whether that is news.
    pub fn fail(&mut self, kind: &Kind, failure: Failure, now: Moment) -> bool {
        let mut kinds = self.kinds.iter_mut();
        let watched = kinds.find(|watched| watched.kind() == kind);
        let is_news = watched.is_some_and(|watched| watched.fail(failure, now));
        if is_news {
            self.count();
        }
        is_news
    }

    /// What is known of a kind, if it is watched.
    pub fn watched(&self, kind: &Kind) -> Option<&Watched<Scaler>> {
        self.kinds.iter().find(|watched| watched.kind() == kind)
    }

    /// Whether it is known of every kind what there is, or that it will not be known.
    pub fn is_ready(&self) -> bool {
        let mut kinds = self.kinds.iter();
        kinds.all(|watched| watched.listing() != Listing::NotYet)
    }

    /// The one variant that scales one of `owners`, which are in `namespace`.
    ///
    /// # Errors
    /// When there is none, or more than one, or that is not known.
    pub fn variant(&self, namespace: &str, owners: &[&Owner]) -> Result<&VariantRef, Miss> {
        // What is not listed yet could count before all others.
        if let Some(unlisted) = self.kinds.iter().find(|kind| kind.listing() == Listing::NotYet) {
            return Err(Miss::NotListed(unlisted.kind().clone()));
        }
        let found = owners.iter().filter_map(|owner| {
            let key = Key {
                namespace,
                kind: &owner.kind,
                name: &owner.name,
            };
            self.counted.get(&key)
        });
        let found: Vec<_> = found.flat_map(|(_, variants)| variants).collect();
        match found[..] {
            [variant] => Ok(variant),
            // It may be there, for all that is known.
            [] => {
                self.kinds.iter().try_for_each(Watched::check)?;
                Err(Miss::NoVariant)
            }
            _ => Err(Miss::SeveralVariants(found.into_iter().cloned().collect())),
        }
    }

    /// The variants that count, sorted, each name once: of two kinds that use one, the first counts.
    pub fn variants(&self) -> Vec<ScaledVariant> {
        let mut variants: BTreeMap<VariantRef, ScaledVariant> = BTreeMap::new();
        for watched in &self.kinds {
            for scaler in watched.objects().filter(|scaler| !scaler.is_made_by_another()) {
                let Some(workload) = &scaler.workload else {
                    continue;
                };
                let key = Key {
                    namespace: scaler.variant.namespace(),
                    kind: &workload.kind,
                    name: &workload.name,
                };
                let counted = self.counted.get(&key);
                if counted.is_some_and(|(_, variants)| variants.contains(&scaler.variant)) {
                    variants
                        .entry(scaler.variant.clone())
                        .or_insert_with(|| ScaledVariant {
                            variant: scaler.variant.clone(),
                            scaled_by: watched.kind().clone(),
                            workload: workload.clone(),
                            models: scaler.models.clone(),
                        });
                }
            }
        }
        variants.into_values().collect()
    }

    /// Whether something that scales a workload has this name.
    pub(crate) fn has(&self, variant: &VariantRef) -> bool {
        self.names.contains_key(variant)
    }

    /// Of all that says what scales what.
    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// What is not known yet, or not as of now, by kind.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Watched<Scaler>> {
        self.kinds.iter()
    }

    fn change(&mut self, kind: &Kind, change: impl FnOnce(&mut Watched<Scaler>)) {
        if let Some(watched) = self.kinds.iter_mut().find(|watched| watched.kind() == kind) {
            change(watched);
            self.count();
        }
    }

    /// Anew, for there are few of them, and they seldom change.
    fn count(&mut self) {
        let (mut counted, mut names) = (Map::default(), Map::default());
        for (place, watched) in self.kinds.iter().enumerate() {
            for scaler in watched.objects().filter(|scaler| !scaler.is_made_by_another()) {
                let Some(workload) = &scaler.workload else {
                    continue;
                };
                if *names.entry(scaler.variant.clone()).or_insert(place) != place {
                    continue;
                }
                let namespace: Box<str> = scaler.variant.namespace().into();
                let counted = counted.entry((namespace, workload.clone()));
                let (first, variants) = counted.or_insert((place, Vec::new()));
                if *first == place {
                    variants.push(scaler.variant.clone());
                }
            }
        }
        for (_, variants) in counted.values_mut() {
            variants.sort_unstable();
        }
        (self.counted, self.names) = (Arc::new(counted), Arc::new(names));
        self.version = Version::default();
    }
}

/// The key of a workload, without a copy of its names.
#[derive(Hash)]
struct Key<'a> {
    namespace: &'a str,
    kind: &'a Kind,
    name: &'a str,
}

impl hashbrown::Equivalent<(Box<str>, Workload)> for Key<'_> {
    fn equivalent(&self, (namespace, workload): &(Box<str>, Workload)) -> bool {
        self.namespace == &**namespace && *self.kind == workload.kind && self.name == &*workload.name
    }
}

// === impl Scaler ===

impl Scaler {
    /// KEDA makes a HorizontalPodAutoscaler for each ScaledObject, which is the one that people know.
    fn is_made_by_another(&self) -> bool {
        let controller = self.controller.as_ref();
        controller.is_some_and(|controller| controller.kind == Kind::SCALED_OBJECT)
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::time::{Clock, Timestamp};

    use super::*;

    const KINDS: [Kind; 3] = [
        Kind::SCALED_OBJECT,
        Kind::HORIZONTAL_POD_AUTOSCALER,
        Kind::VARIANT_AUTOSCALING,
    ];

    fn index() -> ScalerIndex {
        let mut index = ScalerIndex::new(KINDS);
        for kind in &KINDS {
            index.replace(kind, []);
        }
        index
    }

    fn owner(kind: Kind, name: &str) -> Owner {
        Owner {
            kind,
            name: name.into(),
            uid: format!("uid of {name}").into(),
        }
    }

    fn scaler(name: &str, workload: &str) -> Scaler {
        Scaler {
            variant: VariantRef::new("chat", name).unwrap(),
            workload: Some(Workload {
                kind: Kind::DEPLOYMENT,
                name: workload.into(),
            }),
            controller: None,
            models: Vec::new(),
        }
    }

    /// The variant of the pods of a Deployment, by name or reason.
    fn variant<'a>(index: &'a ScalerIndex, deployment: &str) -> Result<&'a str, &'static str> {
        let (set, deployment) = (
            owner(Kind::REPLICA_SET, "a-set"),
            owner(Kind::DEPLOYMENT, deployment),
        );
        let variant = index.variant("chat", &[&set, &deployment]);
        variant.map(VariantRef::name).map_err(|miss| miss.reason())
    }

    #[test]
    fn the_first_kind_that_names_a_workload_counts() {
        let [object, hpa, variant_autoscaling] = &KINDS;
        let mut index = index();
        assert_eq!(variant(&index, "llama"), Err("no_variant"));
        index.apply(variant_autoscaling, "1", scaler("llama-va", "llama"));
        assert_eq!(variant(&index, "llama"), Ok("llama-va"));
        index.apply(object, "2", scaler("llama-object", "llama"));
        assert_eq!(variant(&index, "llama"), Ok("llama-object"));
        index.apply(hpa, "3", scaler("llama-hpa", "llama"));
        assert_eq!(variant(&index, "llama"), Ok("llama-object"));
        index.remove(object, "2");
        assert_eq!(variant(&index, "llama"), Ok("llama-hpa"));
        index.replace(hpa, []);
        assert_eq!(variant(&index, "llama"), Ok("llama-va"));
        assert_eq!(variant(&index, "qwen"), Err("no_variant"));
    }

    #[test]
    fn of_two_kinds_that_use_one_name_the_first_counts_and_the_others_workload_is_nobodys() {
        let [object, hpa, _] = &KINDS;
        let mut index = index();
        index.apply(hpa, "1", scaler("chat", "qwen"));
        assert_eq!(variant(&index, "qwen"), Ok("chat"));
        index.apply(object, "2", scaler("chat", "llama"));
        assert_eq!(variant(&index, "llama"), Ok("chat"));
        assert_eq!(variant(&index, "qwen"), Err("no_variant"));
    }

    #[test]
    fn what_keda_makes_is_no_variant() {
        let mut index = index();
        let made = Scaler {
            controller: Some(owner(Kind::SCALED_OBJECT, "llama-object")),
            ..scaler("keda-hpa-llama-object", "llama")
        };
        index.apply(&Kind::HORIZONTAL_POD_AUTOSCALER, "1", made);
        assert_eq!(variant(&index, "llama"), Err("no_variant"));
        let object = scaler("llama-object", "llama");
        index.apply(&Kind::SCALED_OBJECT, "2", object);
        assert_eq!(variant(&index, "llama"), Ok("llama-object"));
    }

    #[test]
    fn two_of_a_kind_or_on_the_way_up_are_several() {
        let hpa = &Kind::HORIZONTAL_POD_AUTOSCALER;
        let mut index = index();
        index.apply(hpa, "1", scaler("b", "llama"));
        index.apply(hpa, "2", scaler("a", "llama"));
        let deployment = owner(Kind::DEPLOYMENT, "llama");
        let several = index.variant("chat", &[&deployment]).unwrap_err();
        assert_eq!(
            several.to_string(),
            "several variants scale the owners of the pod: chat/a, chat/b"
        );
        index.remove(hpa, "2");
        assert_eq!(variant(&index, "llama"), Ok("b"));
        let of_set = Scaler {
            workload: Some(Workload {
                kind: Kind::REPLICA_SET,
                name: "a-set".into(),
            }),
            ..scaler("set", "a-set")
        };
        index.apply(hpa, "3", of_set);
        assert_eq!(variant(&index, "llama"), Err("several_variants"));
    }

    #[test]
    fn the_same_name_in_another_namespace_or_of_another_kind_is_another_workload() {
        let mut index = index();
        let hpa = &Kind::HORIZONTAL_POD_AUTOSCALER;
        index.apply(hpa, "1", scaler("llama-hpa", "llama"));
        let deployment = owner(Kind::DEPLOYMENT, "llama");
        assert_eq!(index.variant("prod", &[&deployment]), Err(Miss::NoVariant));
        let set = owner(Kind::STATEFUL_SET, "llama");
        assert_eq!(index.variant("chat", &[&set]), Err(Miss::NoVariant));
    }

    #[test]
    fn what_cannot_be_known_is_never_no_variant() {
        let now = Clock::manual(Timestamp::from_secs_f64(0.0)).0.now();
        let [object, hpa, variant_autoscaling] = &KINDS;
        let mut index = ScalerIndex::new(KINDS);
        index.replace(hpa, [("1".into(), scaler("llama-hpa", "llama"))]);
        // A ScaledObject would count before it.
        assert_eq!(variant(&index, "llama"), Err("index_not_ready"));
        let detail = "not found".to_owned();
        index.fail(variant_autoscaling, Failure::Absent { detail }, now);
        let detail = "scaledobjects.keda.sh is forbidden".to_owned();
        index.fail(object, Failure::Forbidden { detail }, now);
        assert!(index.is_ready());
        assert_eq!(variant(&index, "llama"), Ok("llama-hpa"));
        assert_eq!(variant(&index, "qwen"), Err("forbidden"));
        let detail = "reset".to_owned();
        index.fail(hpa, Failure::Other { detail }, now);
        assert_eq!(variant(&index, "llama"), Ok("llama-hpa"));
    }
}
