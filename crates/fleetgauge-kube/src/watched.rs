//! What is known of the objects of a kind, and how sure that is.
//!
//! Not knowing is never taken for none: until a kind has been listed once, nothing is known of it. An outage costs nothing
//! that was known; it is told beside it, with the time that it began.

use std::sync::Arc;

use fleetgauge_core::time::Moment;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::miss::Miss;
use crate::object::Kind;
use crate::trie::Trie;

pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// What is known of a kind, an entry an object, by UID.
#[derive(Clone, Debug)]
pub struct Watched<T> {
    kind: Kind,
    listing: Listing,
    fault: Option<Fault>,
    /// That it was known, and was said to be absent when it was asked for last.
    is_said_absent: bool,
    objects: Trie<(Arc<str>, Arc<T>)>,
}

/// Whether the objects of a kind are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// Nothing has been found out yet, which is not "there are none".
    #[default]
    NotYet,
    /// All of them were listed, and what changed since is known as far as there is no [`Fault`].
    Known,
    /// The cluster has no such kind, so that there are none.
    Absent,
    /// They may not be listed.
    Forbidden,
}

/// Why what is known of a kind may not be as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Since when: what is known is as of then.
    pub since: Moment,
    /// What was said last.
    pub detail: String,
}

/// Why objects of a kind cannot be listed or watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The cluster says that it has no such kind.
    Absent {
        /// What was said.
        detail: String,
    },
    /// It says that we may not.
    Forbidden {
        /// What was said, with the verb and the resource.
        detail: String,
    },
    /// It cannot be asked, or answered something else.
    Other {
        /// What was said.
        detail: String,
    },
}

// === impl Watched ===

impl<T> Watched<T> {
    /// Nothing is known of this kind yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            listing: Listing::NotYet,
            fault: None,
            is_said_absent: false,
            objects: Trie::default(),
        }
    }

    /// The kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether its objects are known.
    pub fn listing(&self) -> Listing {
        self.listing
    }

    /// Why it may not be as of now.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// The objects that are known, in no order.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &T> {
        self.objects.iter().map(|(_, object)| &**object)
    }

    /// The object by this UID.
    pub fn get(&self, uid: &str) -> Option<&T> {
        self.shared(uid).map(|object| &**object)
    }

    pub(crate) fn shared(&self, uid: &str) -> Option<&Arc<T>> {
        let (_, object) = self
            .objects
            .get(self.objects.hash(uid), |(known, _)| **known == *uid)?;
        Some(object)
    }

    /// *Errors*: the miss of whoever needs all of its objects.
    pub(crate) fn check(&self) -> Result<(), Miss> {
        match self.listing {
            Listing::NotYet => Err(Miss::NotListed(self.kind.clone())),
            Listing::Forbidden => Err(Miss::Forbidden(self.kind.clone())),
            Listing::Known | Listing::Absent => Ok(()),
        }
    }

    /// These are all objects. Whoever is not among them is gone.
    pub(crate) fn replace(&mut self, objects: impl IntoIterator<Item = (Box<str>, T)>) {
        self.listing = Listing::Known;
        self.fault = None;
        self.is_said_absent = false;
        self.objects = Trie::default();
        for (uid, object) in objects {
            self.apply(&uid, object);
        }
    }

    /// There is this object, new or changed.
    pub(crate) fn apply(&mut self, uid: &str, object: T) {
        let hash = self.objects.hash(uid);
        let entry = (uid.into(), Arc::new(object));
        self.objects.insert(hash, entry, |(known, _)| **known == *uid);
    }

    /// It is gone.
    pub(crate) fn remove(&mut self, uid: &str) -> Option<Arc<T>> {
        let hash = self.objects.hash(uid);
        let (_, object) = self.objects.remove(hash, |(known, _)| **known == *uid)?;
        Some(object)
    }

    /// The objects could not be listed, or not be watched any more. Gives whether that is news: what a cluster lacks is asked for
    /// again and again.
    ///
    /// What is known stays. That a known kind is absent is believed at the second time in a row, since an API server that
    /// starts says so of kinds that it has not looked up yet, and of a built-in one never: then it is not an API server
    /// that answers.
    pub(crate) fn fail(&mut self, failure: Failure, now: Moment) -> bool {
        let before = (self.listing, self.fault.clone());
        let is_known = self.listing == Listing::Known;
        let was_said_absent = std::mem::take(&mut self.is_said_absent);
        match &failure {
            Failure::Absent { .. } if self.kind.is_built_in() => {}
            Failure::Absent { .. } if is_known && !was_said_absent => self.is_said_absent = true,
            Failure::Absent { .. } => {
                self.listing = Listing::Absent;
                self.fault = None;
                self.objects = Trie::default();
                return before != (self.listing, None);
            }
            Failure::Forbidden { .. } if !is_known => self.listing = Listing::Forbidden,
            Failure::Forbidden { .. } | Failure::Other { .. } => {}
        }
        let (Failure::Absent { detail } | Failure::Forbidden { detail } | Failure::Other { detail }) =
            failure;
        let since = self.fault.as_ref().map_or(now, |fault| fault.since);
        self.fault = Some(Fault { since, detail });
        before != (self.listing, self.fault.clone())
    }
}
