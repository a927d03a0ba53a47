//! Whatever happens in a cluster, in whatever order it is told: after each event the index says what its objects say, and who read
//! it before still has what was then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_core::variant::{Mapping, PodIndex, PodRef, PodVariants as _, UnmappedReason, VariantRef};
use fleetgauge_kube::cluster::ClusterIndex;
use fleetgauge_kube::object::{Kind, Object, Owner, PodState};
use fleetgauge_kube::owner::OwnerIndex;
use fleetgauge_kube::scaler::{Scaler, ScalerIndex, Workload};
use fleetgauge_kube::variant::ClusterVariants;
use fleetgauge_kube::watched::Failure;
use proptest::prelude::*;

/// What controls something, by number.
#[derive(Clone, Copy, Debug)]
enum Maker {
    Nothing,
    ReplicaSet(u8),
    Deployment(u8),
    /// The leader of a group.
    Pod(u8),
}

#[derive(Clone, Debug)]
enum Event {
    Pod(u8, Maker, Option<u8>),
    PodGone(u8),
    Pods(BTreeMap<u8, Maker>),
    PodsFail,
    Set(u8, Maker),
    SetGone(u8),
    Sets(BTreeMap<u8, Maker>),
    Scaler(u8, u8),
    ScalerGone(u8),
    Scalers(BTreeMap<u8, u8>),
}

/// The same without an index.
#[derive(Clone, Debug, Default)]
struct Model {
    pods: BTreeMap<u8, (Maker, Option<u8>)>,
    gone: BTreeSet<(String, String)>,
    fails: bool,
    sets: BTreeMap<u8, Maker>,
    scalers: BTreeMap<u8, u8>,
}

/// Each name is used in both namespaces, and by two pods in turns.
const PODS: u8 = 12;
const SETS: u8 = 4;
const DEPLOYMENTS: u8 = 2;
const SCALERS: u8 = 4;

fn namespace(number: u8) -> &'static str {
    ["left", "right"][usize::from(number % 2)]
}

fn pod_name(number: u8) -> String {
    format!("pod-{}", number / 2 % (PODS / 4))
}

fn variant(namespace: &str, name: &str) -> VariantRef {
    VariantRef::new(namespace, name).unwrap()
}

fn label(number: u8) -> String {
    format!("label-{number}")
}

/// There is a variant in the configuration for a Deployment in each namespace.
fn configured() -> [(VariantRef, Workload); 2] {
    [0, 1].map(|place| (variant(namespace(place), "configured"), deployment(1)))
}

fn deployment(number: u8) -> Workload {
    Workload {
        kind: Kind::DEPLOYMENT,
        name: format!("deployment-{number}").into(),
    }
}

fn owner(maker: Maker) -> Option<Owner> {
    let (kind, name, uid) = match maker {
        Maker::Nothing => return None,
        Maker::ReplicaSet(number) => (Kind::REPLICA_SET, format!("set-{number}"), format!("r{number}")),
        Maker::Deployment(number) => {
            let Workload { kind, name } = deployment(number);
            (kind, name.into(), format!("d{number}"))
        }
        Maker::Pod(number) => (Kind::POD, pod_name(number), format!("p{number}")),
    };
    Some(Owner {
        kind,
        name: name.into(),
        uid: uid.into(),
    })
}

fn object(uid: String, namespace: &str, name: String, maker: Maker) -> Object {
    Object {
        uid: uid.into(),
        namespace: namespace.into(),
        name: name.into(),
        controller: owner(maker),
        state: PodState::Serving,
        ready_since: None,
        variant: None,
        replicas: None,
    }
}

fn pod(number: u8, maker: Maker, labelled: Option<u8>) -> Object {
    Object {
        variant: labelled.map(|number| label(number).into()),
        ..object(format!("p{number}"), namespace(number), pod_name(number), maker)
    }
}

fn set(number: u8, maker: Maker) -> Object {
    object(
        format!("r{number}"),
        namespace(number),
        format!("set-{number}"),
        maker,
    )
}

fn scaler(number: u8, of: u8) -> (Box<str>, Scaler) {
    let scaler = Scaler {
        variant: variant(namespace(number), &format!("hpa-{number}")),
        workload: Some(deployment(of)),
        controller: None,
        models: Vec::new(),
    };
    (format!("s{number}").into(), scaler)
}

// === the index ===

fn index() -> ClusterIndex {
    let mut owners = OwnerIndex::new([Kind::REPLICA_SET]);
    owners.replace(&Kind::POD, []);
    owners.replace(&Kind::REPLICA_SET, []);
    let mut scalers = ScalerIndex::new([Kind::HORIZONTAL_POD_AUTOSCALER]);
    scalers.replace(&Kind::HORIZONTAL_POD_AUTOSCALER, []);
    ClusterIndex::new(owners, scalers)
}

fn tell(index: &mut ClusterIndex, event: &Event) {
    let (owners, scalers) = (&mut index.owners, &mut index.scalers);
    let hpa = &Kind::HORIZONTAL_POD_AUTOSCALER;
    match event {
        Event::Pod(number, maker, labelled) => {
            owners.apply(&Kind::POD, pod(*number, *maker, *labelled));
        }
        Event::PodGone(number) => owners.remove(&Kind::POD, &format!("p{number}")),
        Event::Pods(pods) => {
            let pods = pods.iter().map(|(number, maker)| pod(*number, *maker, None));
            owners.replace(&Kind::POD, pods);
        }
        Event::PodsFail => {
            let now = Clock::manual(Timestamp::from_secs_f64(0.0)).0.now();
            let detail = "reset".to_owned();
            owners.fail(&Kind::POD, Failure::Other { detail }, now);
        }
        Event::Set(number, maker) => {
            owners.apply(&Kind::REPLICA_SET, set(*number, *maker));
        }
        Event::SetGone(number) => owners.remove(&Kind::REPLICA_SET, &format!("r{number}")),
        Event::Sets(sets) => {
            let sets = sets.iter().map(|(number, maker)| set(*number, *maker));
            owners.replace(&Kind::REPLICA_SET, sets);
        }
        Event::Scaler(number, of) => {
            let (uid, scaler) = scaler(*number, *of);
            scalers.apply(hpa, &uid, scaler);
        }
        Event::ScalerGone(number) => scalers.remove(hpa, &format!("s{number}")),
        Event::Scalers(all) => scalers.replace(hpa, all.iter().map(|(number, of)| scaler(*number, *of))),
    }
}

// === impl Model ===

impl Model {
    fn tell(&mut self, event: &Event) {
        match event {
            Event::Pod(number, maker, labelled) => {
                let name = place(*number);
                self.pods
                    .retain(|other, _| other == number || place(*other) != name);
                self.pods.insert(*number, (*maker, *labelled));
                self.gone.remove(&name);
            }
            Event::PodGone(number) => {
                if self.pods.remove(number).is_some() {
                    self.gone.insert(place(*number));
                }
            }
            Event::Pods(pods) => {
                let before = std::mem::take(&mut self.pods);
                self.gone.extend(before.keys().map(|number| place(*number)));
                for (number, maker) in pods {
                    self.pods.insert(*number, (*maker, None));
                    self.gone.remove(&place(*number));
                }
                self.fails = false;
            }
            Event::PodsFail => self.fails = true,
            Event::Set(number, maker) => drop(self.sets.insert(*number, *maker)),
            Event::SetGone(number) => drop(self.sets.remove(number)),
            Event::Sets(sets) => self.sets.clone_from(sets),
            Event::Scaler(number, of) => drop(self.scalers.insert(*number, *of)),
            Event::ScalerGone(number) => drop(self.scalers.remove(number)),
            Event::Scalers(scalers) => self.scalers.clone_from(scalers),
        }
    }

    /// The owners of a pod: those of the Deployments among them, as all others scale nothing here.
    fn deployments(&self, namespace: &str, mut maker: Maker) -> Result<Vec<u8>, UnmappedReason> {
        let mut deployments = Vec::new();
        if matches!(maker, Maker::Nothing) {
            return Err(UnmappedReason::NoController);
        }
        for _ in 0..16 {
            let next = match maker {
                Maker::Nothing => return Ok(deployments),
                Maker::Deployment(number) => {
                    deployments.push(number);
                    return Ok(deployments);
                }
                Maker::ReplicaSet(number) => self
                    .sets
                    .get_key_value(&number)
                    .map(|(number, maker)| (number, *maker)),
                Maker::Pod(number) => self
                    .pods
                    .get_key_value(&number)
                    .map(|(number, (maker, _))| (number, *maker)),
            };
            maker = match next {
                Some((number, maker)) if self::namespace(*number) == namespace => maker,
                _ => return Err(UnmappedReason::OwnerNotSeen),
            };
        }
        match maker {
            Maker::Nothing => Ok(deployments),
            _ => Err(UnmappedReason::OwnersInACircle),
        }
    }

    fn variant_of(&self, namespace: &str, name: &str, labelled: Option<&VariantRef>) -> Mapping {
        let mut pods = self.pods.iter();
        let place = (namespace.to_owned(), name.to_owned());
        let Some((_, (maker, own))) = pods.find(|(number, _)| self::place(**number) == place) else {
            let is_gone = self.gone.contains(&place) && !self.fails;
            return Mapping::Unmapped(match is_gone {
                true => UnmappedReason::Gone,
                false => UnmappedReason::UnknownPod,
            });
        };
        let own = own.map(|number| variant(namespace, &label(number)));
        let labelled = labelled.cloned().or(own);
        let otherwise = |reason| {
            labelled
                .clone()
                .map_or(Mapping::Unmapped(reason), Mapping::Mapped)
        };
        let deployments = match self.deployments(namespace, *maker) {
            Ok(deployments) => deployments,
            Err(UnmappedReason::NoController) => return otherwise(UnmappedReason::NoController),
            Err(reason) => return Mapping::Unmapped(reason),
        };
        let scalers = self
            .scalers
            .iter()
            .filter(|(number, of)| self::namespace(**number) == namespace && deployments.contains(of));
        let scalers: Vec<_> = scalers
            .map(|(number, _)| variant(namespace, &format!("hpa-{number}")))
            .collect();
        if !scalers.is_empty() {
            return Mapping::ambiguous(scalers);
        }
        match labelled.is_none() && deployments.contains(&1) {
            true => Mapping::Mapped(variant(namespace, "configured")),
            false => otherwise(UnmappedReason::NoVariant),
        }
    }
}

/// The namespace and name of a pod.
fn place(number: u8) -> (String, String) {
    (namespace(number).to_owned(), pod_name(number))
}

/// All that can be asked, each with its answer.
type Answers = Vec<(String, String, bool, Mapping)>;

fn answers(ask: impl Fn(&str, &str, Option<&VariantRef>) -> Mapping) -> Answers {
    let places: BTreeSet<_> = (0..PODS).map(place).collect();
    let mut answers = Vec::new();
    for (namespace, name) in places {
        let labelled = variant(&namespace, "labelled");
        for labelled in [None, Some(&labelled)] {
            let mapping = ask(&namespace, &name, labelled);
            answers.push((namespace.clone(), name.clone(), labelled.is_some(), mapping));
        }
    }
    answers
}

fn told(index: &dyn PodIndex) -> Answers {
    answers(|namespace, name, labelled| index.variant_of(PodRef::new(name).in_namespace(namespace), labelled))
}

fn maker() -> impl Strategy<Value = Maker> {
    prop_oneof![
        1 => Just(Maker::Nothing),
        4 => (0..SETS).prop_map(Maker::ReplicaSet),
        1 => (0..DEPLOYMENTS).prop_map(Maker::Deployment),
        2 => (0..PODS).prop_map(Maker::Pod),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let pods = prop::collection::btree_map(0..PODS, maker(), 0..8).prop_map(|mut pods| {
        let mut names = BTreeSet::new();
        pods.retain(|number, _| names.insert(place(*number)));
        Event::Pods(pods)
    });
    prop_oneof![
        6 => (0..PODS, maker(), prop::option::of(0..2_u8)).prop_map(|(n, maker, own)| Event::Pod(n, maker, own)),
        3 => (0..PODS).prop_map(Event::PodGone),
        1 => pods,
        1 => Just(Event::PodsFail),
        4 => (0..SETS, maker()).prop_map(|(number, maker)| Event::Set(number, maker)),
        1 => (0..SETS).prop_map(Event::SetGone),
        1 => prop::collection::btree_map(0..SETS, maker(), 0..4).prop_map(Event::Sets),
        2 => (0..SCALERS, 0..DEPLOYMENTS).prop_map(|(number, of)| Event::Scaler(number, of)),
        1 => (0..SCALERS).prop_map(Event::ScalerGone),
        1 => prop::collection::btree_map(0..SCALERS, 0..DEPLOYMENTS, 0..4).prop_map(Event::Scalers),
    ]
}

proptest! {
    #[test]
    fn after_each_event_the_index_says_what_its_objects_say(
        events in prop::collection::vec((event(), prop::bool::weighted(0.2)), 1..60),
    ) {
        let (mut index, mut model) = (index(), Model::default());
        let now = Arc::new(ArcSwap::from_pointee(index.clone()));
        let variants = ClusterVariants::new(now.clone(), configured());
        let mut before = Vec::new();
        for (event, is_kept) in &events {
            tell(&mut index, event);
            model.tell(event);
            now.store(Arc::new(index.clone()));
            let expected = answers(|namespace, name, labelled| model.variant_of(namespace, name, labelled));
            let index = variants.snapshot();
            prop_assert_eq!(told(&*index), expected.clone(), "after {:?}", event);
            if *is_kept {
                before.push((index, expected));
            }
            // Old and new ones share what they have in common, whoever is asked first.
            if let Some((index, expected)) = before.first() {
                prop_assert_eq!(told(&**index), expected.clone());
            }
        }
        for (index, expected) in before {
            prop_assert_eq!(told(&*index), expected);
        }
    }
}
