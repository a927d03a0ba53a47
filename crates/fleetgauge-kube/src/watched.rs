//! What is known of the objects of a kind, and how sure that is.
//!
//! Not knowing is never taken for none: until a kind has been listed once, nothing is known of it. An outage costs nothing
//! that was known; it is told beside it, with the time that it began.

use fleetgauge_core::time::Moment;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::miss::Miss;
use crate::object::Kind;

pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// What is known of a kind, an entry an object, by UID.
#[derive(Clone, Debug)]
pub struct Watched<T> {
    kind: Kind,
    listing: Listing,
    fault: Option<Fault>,
    /// That it was known, and was said to be absent when it was asked for last.
    is_said_absent: bool,
    /// Boxed, since a table that has seen many come and go has room for several times as many.
    objects: Map<Box<str>, Box<T>>,
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
            objects: Map::default(),
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
        self.objects.values().map(|object| &**object)
    }

    /// The object by this UID.
    pub fn get(&self, uid: &str) -> Option<&T> {
        self.objects.get(uid).map(|object| &**object)
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
        let objects = objects.into_iter();
        self.objects = objects.map(|(uid, object)| (uid, Box::new(object))).collect();
    }

    /// There is this object, new or changed.
    pub(crate) fn apply(&mut self, uid: Box<str>, object: T) {
        self.objects.insert(uid, Box::new(object));
    }

    /// It is gone.
    pub(crate) fn remove(&mut self, uid: &str) -> Option<T> {
        self.objects.remove(uid).map(|object| *object)
    }

    /// The objects could not be listed, or not be watched any more.
    ///
    /// What is known stays. That a known kind is absent is believed at the second time in a row, since an API server that
    /// starts says so of kinds that it has not looked up yet, and of a built-in one never: then it is not an API server
    /// that answers.
    pub(crate) fn fail(&mut self, failure: Failure, now: Moment) {
        let is_known = self.listing == Listing::Known;
        let was_said_absent = std::mem::take(&mut self.is_said_absent);
        match &failure {
            Failure::Absent { .. } if self.kind.is_built_in() => {}
            Failure::Absent { .. } if is_known && !was_said_absent => self.is_said_absent = true,
            Failure::Absent { .. } => {
                self.listing = Listing::Absent;
                self.fault = None;
                self.objects.clear();
                return;
            }
            Failure::Forbidden { .. } if !is_known => self.listing = Listing::Forbidden,
            Failure::Forbidden { .. } | Failure::Other { .. } => {}
        }
        let (Failure::Absent { detail } | Failure::Forbidden { detail } | Failure::Other { detail }) =
            failure;
        let since = self.fault.as_ref().map_or(now, |fault| fault.since);
        self.fault = Some(Fault { since, detail });
    }
}
